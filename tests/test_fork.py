"""fork: free before the first call; after it the child is told, and the parent goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAD = """
import multiprocessing, os, sys
sys.path.insert(0, sys.argv[1])
import omni_bridge
from omni_bridge import _engine
from test_engine import ASK, answer, Held
_engine.HANDLERS["chat"] = answer

def ask():
    return omni_bridge.chat(**ASK).content

def child(function):
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = function()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def refused():
    try:
        ask()
    except omni_bridge.EngineUnavailableError as error:
        return 5 if "spawn" in str(error) and "forkserver" in str(error) else 6
    return 7
"""


def run(body: str) -> None:
    program = HEAD + body
    here = str(Path(__file__).parent)
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, here], capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_before_the_first_call_fork_is_free():
    run("""
assert child(lambda: 5 if ask() == "Go." else 6) == 5
assert ask() == "Go."
""")


def test_after_it_the_child_is_told_and_the_parent_goes_on():
    run("""
assert ask() == "Go."
for _ in range(3):
    assert child(refused) == 5
    assert ask() == "Go."
""")


def test_a_stream_that_came_along_ends_in_the_child_and_goes_on_in_the_parent():
    run("""
held = Held()
_engine.HANDLERS["chat"] = held
stream = omni_bridge.stream_sync(**ASK)
while next(stream).type != "text_delta":
    pass

def read_on():
    try:
        last = [event.type for event in stream][-1:]
    except omni_bridge.EngineUnavailableError:
        last = ["error"]
    stream.close()
    return 5 if last == ["error"] else 6

assert child(read_on) == 5
_engine.HANDLERS["chat"] = answer
assert ask() == "Go."
assert omni_bridge._native.engine_open_calls() == 1, "the child ended a call of the parent"
stream.close()
assert held.closed.acquire(timeout=60)
""")


def test_a_child_exits_in_the_ordinary_way():
    """Exit hooks run in it too: they may not wait for threads that are gone, nor stop the parent's loop."""
    run("""
assert ask() == "Go."
pid = os.fork()
if pid == 0:
    sys.exit(5)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
assert ask() == "Go."
""")


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_the_methods_that_the_error_names_work(method: str, tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text(
        f"""
import multiprocessing, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import omni_bridge
from omni_bridge import _engine
from test_engine import ASK, answer

def work(n):
    _engine.HANDLERS["chat"] = answer
    return omni_bridge.chat(**ASK).content

if __name__ == "__main__":
    assert work(0) == "Go."
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        assert pool.map(work, range(4)) == ["Go."] * 4
"""
    )
    ran = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr


def test_subprocesses_are_not_forks_in_this_sense():
    run("""
import subprocess
assert ask() == "Go."
subprocess.run([sys.executable, "-c", "pass"], check=True)
subprocess.run([sys.executable, "-c", "pass"], check=True, preexec_fn=lambda: None)
assert os.system("true") == 0
assert ask() == "Go."
""")
