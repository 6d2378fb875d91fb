"""The C door from C: the programs of tests/c, compiled, run, and run again under valgrind."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from omni_bridge.testing import DemoServer

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "tests/c"
HEADER = ROOT / "rust/capi/include/omni_bridge.h"
FLAGS = ["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Werror", "-g", "-pthread"]

# Without an engine: they hold the library to its word on every machine, valgrind included.
SCRIPTED = ["basics", "streams", "callbacks", "threads", "forks"]

Compile = Callable[..., Path]


@pytest.fixture(scope="session")
def library(release_dir: Path) -> Path:
    path = release_dir / "libomni_bridge.so"
    assert path.is_file(), f"{path} is missing; build it with: make build"
    return path


@pytest.fixture(scope="session")
def compiled(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """`compiled("basics")` gives the program of tests/c/basics.c, linked with the library or with `link`."""
    folder = tmp_path_factory.mktemp("c")
    done: dict[tuple[str, ...], Path] = {}
    shared = [f"-L{library.parent}", f"-Wl,-rpath,{library.parent}", "-lomni_bridge"]

    def compile_one(name: str, *link: str) -> Path:
        key = (name, *link)
        if key not in done:
            program = folder / f"{name}{len(done)}"
            source = SOURCES / f"{name}.c"
            built = subprocess.run(
                ["cc", *FLAGS, f"-I{HEADER.parent}", str(source), "-o", str(program), *(link or shared)],
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert built.returncode == 0, built.stderr
            done[key] = program
        return done[key]

    return compile_one


@pytest.fixture
def demo() -> Iterator[DemoServer]:
    with DemoServer() as server:
        yield server


def environment(server: DemoServer | None = None) -> dict[str, str]:
    env = {**os.environ, "OMNI_BRIDGE_PYTHON": sys.executable, "RUST_BACKTRACE": "1"}
    if server is not None:
        env |= {"OPENAI_API_KEY": "test-key", "OPENAI_API_BASE": server.api_base}
    return env


def run(
    argv: list[str | Path], *, code: int = 0, server: DemoServer | None = None, timeout: float = 240
) -> str:
    done = subprocess.run(argv, env=environment(server), capture_output=True, text=True, timeout=timeout)
    said = f"{argv} ended with {done.returncode}, not {code}:\n{done.stdout}\n{done.stderr}"
    assert done.returncode == code, said
    return done.stdout


def asking(text: str, model: str = "openai/demo") -> str:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}]})


@pytest.mark.parametrize("name", SCRIPTED)
def test_program(compiled: Compile, name: str) -> None:
    out = run([compiled(name)])
    cases = re.findall(r"^    RUN\((\w+)\);", (SOURCES / f"{name}.c").read_text(), re.MULTILINE)
    assert out.split() == cases


def valgrind(need: Callable[[str], str], *, leaks: bool = True) -> list[str]:
    """No invalid access, no use of what was never set, nothing lost."""
    return [
        need("valgrind"),
        "--quiet",
        "--error-exitcode=99",
        f"--leak-check={'full' if leaks else 'no'}",
        "--errors-for-leak-kinds=definite,indirect",
        "--show-leak-kinds=definite,indirect",
        f"--suppressions={SOURCES / 'valgrind.supp'}",
    ]


@pytest.mark.parametrize("name", SCRIPTED)
def test_program_under_valgrind(compiled: Compile, need: Callable[[str], str], name: str) -> None:
    # A child that leaves by _exit while its runtime starts threads loses what is under way: access counts.
    run([*valgrind(need, leaks=name != "forks"), compiled(name)], timeout=600)


def test_the_static_library_links(compiled: Compile, library: Path) -> None:
    archive = str(library.with_suffix(".a"))
    assert (
        run([compiled("basics", archive, "-ldl", "-lm")]).split()[-1]
        == "a_client_that_was_shut_down_is_refused"
    )


def test_header_is_valid_c_of_every_age_and_cpp() -> None:
    text = f'#include "{HEADER}"\n' * 2 + "int main(void) { return omni_version() == 0; }\n"
    compilers = [["cc", "-x", "c", f"-std={std}", "-pedantic-errors"] for std in ("c99", "c11", "c17")]
    if shutil.which("c++"):
        compilers += [["c++", "-x", "c++", f"-std={std}", "-pedantic-errors"] for std in ("c++11", "c++17")]
    for compiler in compilers:
        done = subprocess.run(
            [*compiler, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-"],
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{compiler}: {done.stderr}"


def declared() -> dict[str, str]:
    """The functions of the header, each with its comment."""
    found = re.findall(r"((?:^//.*\n)+)^[\w ]+\*? ?\**(omni_\w+)\(", HEADER.read_text(), re.MULTILINE)
    return {name: comment for comment, name in found}


def test_exported_symbols_are_those_of_the_header(library: Path) -> None:
    listed = run(["nm", "-D", "--defined-only", library])
    exported = {line.split()[-1] for line in listed.splitlines()}
    assert exported == declared().keys(), "nm -D and omni_bridge.h differ"


def test_every_function_says_who_frees_what_and_what_threads_and_callbacks_may_do() -> None:
    functions = declared()
    assert len(functions) >= 16
    for name, comment in functions.items():
        ends_something = name.endswith(("_free", "_shutdown"))
        for word in ("threads", "callbacks") if ends_something else ("frees", "threads", "callbacks"):
            assert word in comment.lower(), f"{name} says nothing of {word}"


def test_every_exported_function_goes_through_the_door() -> None:
    source = "".join(path.read_text() for path in sorted((ROOT / "rust/capi/src").glob("*.rs")))
    exported = re.findall(r'extern "C" fn (omni_\w+)\(', source)
    assert sorted(exported) == sorted(declared())
    assert all(f"door!({name}, " in source for name in exported), "a panic would leave the others"


def check_the_whole_way(argv: list[str | Path], config: str, demo: DemoServer, exits_within: float) -> None:
    slow = asking("x", "openai/demo-chunks-100000-pace-20")
    *said, ended = run([*argv, config, asking("Hello"), slow], code=7, server=demo).splitlines()
    exit_took = time.monotonic() - int(ended)
    answer = "You said: Hello. (This is the offline demo provider; no model was asked.)"
    once = [f"chat: {answer}", f"stream: {answer}", "cancelled after 1"]
    assert said == [*once, *once]
    demo.wait_for(lambda server: server.open_streams == 0)
    left = [request.left for request in demo.requests if b"chunks" in request.body]
    assert left == [True, True, True], "a cancel closes the provider's socket, and so does the exit"
    assert exit_took < exits_within, "the exit waited for the stream"


def test_a_program_embeds_python_streams_cancels_and_exits_in_the_middle(
    compiled: Compile, demo: DemoServer
) -> None:
    check_the_whole_way(
        [compiled("whole")], "{}", demo, exits_within=6
    )  # 5, and one for the cut of the clock


def test_a_program_uses_a_bridge_service_under_valgrind(
    compiled: Compile, need: Callable[[str], str], demo: DemoServer
) -> None:
    """No Python in the process: so its real sockets can be watched by valgrind."""
    service = subprocess.Popen(
        [sys.executable, "-m", "omni_bridge", "serve", "--port", "0", "--json"],
        env=environment(demo),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert service.stdout is not None
        config = json.dumps({"bridge_url": json.loads(service.stdout.readline())["url"]})
        check_the_whole_way([*valgrind(need), compiled("whole")], config, demo, exits_within=60)
    finally:
        service.terminate()
        assert service.wait(60) == 0
        assert service.stdout is not None
        service.stdout.close()


def test_a_host_that_loads_the_library_locally_still_embeds_python(
    compiled: Compile, library: Path, demo: DemoServer
) -> None:
    host = compiled("local", "-ldl")
    assert run([host, library, asking("Hello"), '{"bridge": "scripted"}']) == "Hello\n"
    assert run([host, library, asking("Hello"), "{}"], server=demo).startswith("You said: Hello.")


@pytest.mark.parametrize("python", ["no-such-python", "/dev/null"])
def test_a_missing_interpreter_is_an_error_that_names_it(
    compiled: Compile, library: Path, python: str
) -> None:
    config = json.dumps({"python": python})
    done = subprocess.run(
        [compiled("local", "-ldl"), library, asking("Hello"), config],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    error = json.loads(done.stderr)
    assert error["code"] == "engine_unavailable"
    assert python in error["message"]


def test_the_example_streams_a_chat_with_a_tool_call(library: Path, demo: DemoServer, tmp_path: Path) -> None:
    program = tmp_path / "chat"
    source = ROOT / "examples/c/chat.c"
    link = [f"-I{HEADER.parent}", f"-L{library.parent}", f"-Wl,-rpath,{library.parent}", "-lomni_bridge"]
    subprocess.run(
        ["cc", "-Wall", "-Wextra", "-Werror", source, "-o", program, *link], check=True, timeout=120
    )
    says = "calling get_weather for Paris\nThe tool says: 18 °C and sunny.\n"
    assert run([program], server=demo) == says
    # Without the variable that this module sets, natively: no Python is needed for it.
    env = {**environment(server=demo), "OMNI_BRIDGE_PYTHON": "/dev/null"}
    through_litellm = subprocess.run([program], env=env, capture_output=True, text=True, timeout=120)
    assert through_litellm.returncode != 0
    assert "engine_unavailable" in through_litellm.stdout + through_litellm.stderr
    del env["OMNI_BRIDGE_ENGINE"]
    natively = subprocess.run([program], env=env, capture_output=True, text=True, timeout=120)
    assert natively.stdout == says, natively.stderr
