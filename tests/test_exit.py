"""The process ends while calls run: with the exit code that was asked for, soon, and without a word."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HEAD = """
import asyncio, os, signal, sys, threading, time
sys.path.insert(0, sys.argv[1])
import omni_bridge
from omni_bridge import _engine
from test_engine import ASK, answer, Held
held = Held()
_engine.HANDLERS["chat"] = held

def begin(count=4):
    streams = [omni_bridge.stream_sync(**ASK) for _ in range(count)]
    for stream in streams:
        while next(stream).type != "text_delta":
            pass
    return streams

def now():
    print("now", flush=True)
"""
LIMIT = 5.0


def ends(body: str, code: int, send: signal.Signals | None = None, quiet: bool = True) -> float:
    """Runs a program to its word "now"; seconds from there to its end."""
    argv = [sys.executable, "-c", HEAD + body, str(Path(__file__).parent)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout
        said = child.stdout.readline()
        begin = time.monotonic()
        if send is not None:
            child.send_signal(send)
        try:
            _, noise = child.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            child.kill()
            raise
    took = time.monotonic() - begin
    assert said == "now\n", noise
    assert child.returncode == code, noise
    if quiet:
        assert noise == ""
    assert took < LIMIT, f"{took:.1f} s"
    return took


def test_the_program_comes_to_its_end():
    ends("streams = begin()\nnow()", 0)


def test_sys_exit():
    ends("streams = begin()\nnow()\nsys.exit(7)", 7)


def test_an_uncaught_error():
    ends("streams = begin()\nnow()\nraise RuntimeError('as asked')", 1, quiet=False)


def test_without_python_s_clean_up():
    ends("streams = begin()\nnow()\nos._exit(7)", 7)


def test_in_the_middle_of_asyncio():
    ends(
        """
async def main():
    streams = [omni_bridge.stream(**ASK) for _ in range(4)]
    for stream in streams:
        async for event in stream:
            if event.type == "text_delta":
                break
    now()
    sys.exit(7)
asyncio.run(main())
""",
        7,
    )


def test_while_other_threads_wait_for_calls():
    ends(
        """
def wait():
    try:
        omni_bridge.chat(**ASK)
    except omni_bridge.OmniError:
        pass
for _ in range(8):
    threading.Thread(target=wait, daemon=True).start()
for _ in range(8):
    held.begun.acquire()
now()
sys.exit(7)
""",
        7,
    )


def test_while_the_loop_is_blocked():
    """As by a LiteLLM callback that waits without awaiting: the exit does not wait for it for ever."""
    ends(
        """
blocked = threading.Event()
async def blocks(document, sink):
    blocked.set()
    time.sleep(1000)
_engine.HANDLERS["chat"] = blocks
stream = omni_bridge.stream_sync(**ASK)
threading.Thread(target=lambda: list(stream), daemon=True).start()
blocked.wait()
now()
sys.exit(7)
""",
        7,
    )


def test_while_a_handler_ignores_its_cancel():
    ends(
        """
async def stubborn(document, sink):
    held.begun.release()
    while True:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            pass
_engine.HANDLERS["chat"] = stubborn
threading.Thread(target=lambda: list(omni_bridge.stream_sync(**ASK)), daemon=True).start()
held.begun.acquire()
now()
sys.exit(7)
""",
        7,
    )


def test_while_a_thread_of_the_engine_runs_python_code():
    """As the import of LiteLLM: the interpreter may not meet it while it is being finalised."""
    ends(
        """
def busy():
    held.begun.release()
    while True:
        pass
async def imports(document, sink):
    await asyncio.get_running_loop().run_in_executor(None, busy)
_engine.HANDLERS["chat"] = imports
threading.Thread(target=lambda: list(omni_bridge.stream_sync(**ASK)), daemon=True).start()
held.begun.acquire()
now()
sys.exit(7)
""",
        7,
    )


def test_while_litellm_is_being_imported():
    ends(
        """
del _engine.HANDLERS["chat"]
def warm_up():
    try:
        omni_bridge.warm_up()
    except omni_bridge.OmniError:
        pass
inside = threading.Event()
class Noted:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("litellm."):
            inside.set()  # a module of its own is looked for: it is in the middle of its import
sys.meta_path.insert(0, Noted())
threading.Thread(target=warm_up, daemon=True).start()
assert inside.wait(60)
now()
sys.exit(7)
""",
        7,
    )


def test_calls_at_exit_are_refused_not_hung():
    ends(
        """
import atexit
def late():
    # Registered before the package was used, so that it runs after the engine's own hook.
    try:
        omni_bridge.chat(**ASK)
    except omni_bridge.EngineUnavailableError as error:
        assert "exiting" in str(error), error
        os._exit(7)
import omni_bridge._native
_native_hook = omni_bridge._native.engine_at_exit
atexit.unregister(_native_hook)
atexit.register(late)
atexit.register(_native_hook)
_engine.HANDLERS["chat"] = answer
assert omni_bridge.chat(**ASK).content == "Go."
now()
""",
        7,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_the_program_s_own_handlers(number: signal.Signals):
    ends(
        f"""
signal.signal({int(number)}, lambda number, frame: sys.exit(40 + number))
streams = begin()
now()
for event in streams[0]:
    pass
""",
        40 + number,
        send=number,
    )


def test_sigterm_without_a_handler_ends_the_process():
    ends(
        "signal.signal(signal.SIGTERM, signal.SIG_DFL)\nstreams = begin()\nnow()\nlist(streams[0])",
        -signal.SIGTERM,
        send=signal.SIGTERM,
    )


def test_ctrl_c_without_a_handler_is_a_keyboard_interrupt():
    body = (
        "signal.signal(signal.SIGINT, signal.default_int_handler)\nstreams = begin()\nnow()\nlist(streams[0])"
    )
    ends(body, -signal.SIGINT, send=signal.SIGINT, quiet=False)
