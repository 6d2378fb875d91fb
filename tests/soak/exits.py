"""Process exits in the middle of a stream: the exit code is as asked, and the process is gone within seconds.

Run as a program by `measure`:

    python tests/soak/exits.py API_BASE WAY ENGINE
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from omni_bridge.testing import DemoServer

LIMIT_SECONDS = 5.0
CODE = 7
# How a program may end: by itself from asyncio, from a plain stream, with a stream open on another thread, by
# an uncaught error (1 is Python's own code for that), and without Python's clean-up.
WAYS = {"asyncio": CODE, "sync": CODE, "thread": CODE, "error": 1, "hard": CODE}


@dataclass(frozen=True)
class Exits:
    """What came of a run; seconds are from the child's word that it ends now to its end."""

    exits: int
    wrong_codes: list[str]
    seconds: list[float]

    def check(self) -> None:
        """Raises AssertionError if one hung or ended with another code."""
        assert not self.wrong_codes, self.wrong_codes
        assert max(self.seconds) < LIMIT_SECONDS, f"the slowest exit took {max(self.seconds):.1f} s"


def measure(
    exits: int,
    at_once: int = 2,
    engine: str = "litellm",
    tell: Callable[[str], None] = lambda line: None,
) -> Exits:
    """Lets `exits` child processes exit while the offline provider holds their stream open."""
    wrong: list[str] = []
    seconds: list[float] = []
    ways = list(WAYS.items())

    with DemoServer() as server:

        def one(n: int) -> None:
            way, code = ways[n % len(ways)]
            argv = [sys.executable, __file__, f"{server.url}/v1", way, engine]
            with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
                assert child.stdout is not None
                said = child.stdout.readline()
                begin = time.monotonic()
                try:
                    _, noise = child.communicate(timeout=60)
                except subprocess.TimeoutExpired:
                    child.kill()
                    _, noise = child.communicate()
                    wrong.append(f"{way}: hung")
            seconds.append(time.monotonic() - begin)
            if said.strip() != "now" or child.returncode != code:
                wrong.append(f"{way}: exit code {child.returncode}, not {code}; {said!r} {noise[-400:]!r}")
            if n % 50 == 49:
                server.forget()
                tell(f"exits: {n + 1}, the slowest {max(seconds):.2f} s, {len(wrong)} wrong")

        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(one, range(exits)))
    return Exits(exits=exits, wrong_codes=wrong, seconds=seconds)


# ------------------------------------------------------------------------------------- the child process


def request(base: str, engine: str) -> dict[str, object]:
    messages = [{"role": "user", "content": "Go on."}]
    return {
        "messages": messages,
        "model": "openai/demo-chunks-5000-pace-20",
        "api_base": base,
        "api_key": "test-key",
        "engine": engine,
    }


def say_now() -> None:
    sys.stdout.write("now\n")
    sys.stdout.flush()


async def leave_asyncio(base: str, engine: str) -> None:
    import omni_bridge

    async for event in omni_bridge.stream(**request(base, engine)):
        if event.type == "text_delta":
            say_now()
            sys.exit(CODE)


def leave_sync(base: str, way: str, engine: str) -> None:
    import omni_bridge

    for event in omni_bridge.stream_sync(**request(base, engine)):
        if event.type == "text_delta":
            say_now()
            if way == "hard":
                os._exit(CODE)
            if way == "error":
                raise RuntimeError("as asked")
            sys.exit(CODE)


def leave_thread(base: str, engine: str) -> None:
    import omni_bridge

    begun = threading.Event()

    def read() -> None:
        for event in omni_bridge.stream_sync(**request(base, engine)):
            if event.type == "text_delta":
                begun.set()
        if not begun.is_set():
            os._exit(99)  # it ended by itself, with an error: nobody would ever say "now"

    threading.Thread(target=read, daemon=True).start()
    begun.wait()
    say_now()
    sys.exit(CODE)


if __name__ == "__main__":
    url, how, which = sys.argv[1:]
    if how == "asyncio":
        asyncio.run(leave_asyncio(url, which))
    elif how == "thread":
        leave_thread(url, which)
    else:
        leave_sync(url, how, which)
