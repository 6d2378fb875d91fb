"""The C door from a Python program: it uses the interpreter that is there, and waits without its lock."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
VECTORS = sorted((ROOT / "tests/vectors").glob("*.json"))


def interpreters() -> dict[str, str]:
    """This one, and the others of this machine that are new enough; CI has at least this one."""
    beside = Path(sys.base_prefix).parent.glob("3.1[0-9]*/bin/python3")  # version managers keep them so
    on_path = [shutil.which(f"python3.{minor}") for minor in range(10, 16)]
    found: dict[str, str] = {}
    for python in [sys.executable, *map(str, beside), *filter(None, on_path)]:
        asked = [python, "-c", "import platform, sys; print(platform.python_version(), sys.executable)"]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=60)
        if said.returncode == 0:  # a version manager's shim may stand for nothing
            version, path = said.stdout.split(maxsplit=1)
            found.setdefault(version, path.strip())
    return found


def run(release_dir: Path, argv: list[str | Path], code: int = 0, python: str = sys.executable) -> str:
    library = release_dir / "libomni_bridge.so"
    assert library.is_file(), f"{library} is missing; build it with: make build"
    done = subprocess.run(
        [python, *argv],
        env={**os.environ, "OMNI_LIBRARY": str(library)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == code, f"ended with {done.returncode}, not {code}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_golden_document_comes_back_equal(release_dir: Path) -> None:
    assert len(VECTORS) >= 60
    assert run(release_dir, [ROOT / "tests/c/vectors.py", *VECTORS]) == f"{len(VECTORS)} equal\n"


@pytest.mark.parametrize(
    ("case", "protects"),
    [
        ("detached", "ctypes.CDLL: chat, streams, callbacks, many threads, cancel, free, init again"),
        ("attached", "ctypes.PyDLL: the same without a deadlock, because a wait lets go of the lock"),
        ("beside", "the Python door and the C door of one process share one engine"),
        ("loop", "a wait on the engine's own thread, which would wait for itself, is refused"),
    ],
)
def test_a_python_program(release_dir: Path, case: str, protects: str) -> None:
    assert run(release_dir, [ROOT / "tests/c/host.py", case]) == "well\n", protects


def test_a_program_brings_a_provider_of_its_own(
    release_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "omni.toml").write_text("")
    monkeypatch.setenv("OMNI_CONFIG", str(tmp_path / "omni.toml"))
    assert run(release_dir, [ROOT / "tests/c/host.py", "provider"]) == "well\n"


INTERPRETERS = interpreters()


@pytest.mark.parametrize("python", INTERPRETERS.values(), ids=INTERPRETERS)
def test_a_wait_lets_go_of_the_lock_of_every_interpreter(release_dir: Path, python: str) -> None:
    """How a thread is known to hold it differs between the versions of CPython."""
    assert run(release_dir, [ROOT / "tests/c/attached.py"], python=python) == "well\n"


def test_a_python_program_exits_in_the_middle_of_a_stream(release_dir: Path) -> None:
    asked = float(run(release_dir, [ROOT / "tests/c/host.py", "exit"], code=7))
    assert time.monotonic() - asked < 5, "the exit waited for the stream"
