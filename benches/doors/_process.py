"""A side as a process: ask it something, and see from outside what CPU and memory it took."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


class SideError(Exception):
    """A side died or answered wrongly: the comparison is void."""


class Process:
    """One child that speaks a JSON document a line, on stdin and stdout."""

    def __init__(self, name: str, argv: Sequence[str | Path], env: Mapping[str, str]) -> None:
        self.name = name
        self._child = subprocess.Popen(
            [str(part) for part in argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(env),
            text=True,
            bufsize=1,
        )
        self.pid = self._child.pid
        self.hello = self.read()

    def read(self) -> Any:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            code = self._child.wait()
            raise SideError(f"{self.name} ended with exit code {code}: its own message stands above")
        return json.loads(line)

    def ask(self, **command: Any) -> Any:
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(command) + "\n")
        self._child.stdin.flush()
        return self.read()

    def stop(self) -> None:
        """End of input is a side's signal to leave; a server is told by SIGTERM."""
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(1)
        self._child.terminate()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


def cpu_seconds(pid: int) -> float:
    """User and system time of a whole process, to the nanosecond (Linux: another process's CPU clock)."""
    return time.clock_gettime((~pid << 3) | 2)


def memory_mb(pid: int, what: str = "VmRSS") -> float:
    """Resident memory now (`VmRSS`) or at most (`VmHWM`), in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) / 1024
    raise SideError(f"process {pid} has no {what}")


@contextlib.contextmanager
def started(name: str, argv: Sequence[str | Path], env: Mapping[str, str]) -> Iterator[Process]:
    process = Process(name, argv, env)
    try:
        yield process
    finally:
        process.stop()


def clean_environment(**more: str) -> dict[str, str]:
    """The caller's environment without what would change where calls go or what they print."""
    kept = {
        k: v
        for k, v in os.environ.items()
        if not k.endswith(("_API_KEY", "_API_BASE", "_BASE_URL", "_PROXY"))
    }
    kept = {k: v for k, v in kept.items() if k.lower() not in {"http_proxy", "https_proxy", "all_proxy"}}
    return {
        **kept,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_RUST": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        **more,
    }
