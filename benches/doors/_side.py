"""What the Python sides of the comparison share: a command a line on stdin, an answer a line on stdout.

The harness (run.py) measures CPU and memory from outside, by process id. A side measures only what must be
seen from inside: how long each call took, when its first text came, when it was cancelled.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

MODEL = "openai/gpt-4o"
QUESTION = "What flies, and what do fruit flies like? Answer in one sentence."
KEY = "test-key"


class Side(Protocol):
    """One way to make the same call."""

    async def call(self, base: str) -> str:
        """Unstreamed: the text of the answer."""
        ...

    def texts(self, base: str, user: str | None) -> AsyncIterator[str]:
        """Streamed: the text deltas. Closing the iterator must cancel the call."""
        ...


@dataclass
class Took:
    """The times of one command's calls, in microseconds."""

    us: list[float] = field(default_factory=list)
    first_us: list[float] = field(default_factory=list)
    texts: int = 0


async def one_call(side: Side, base: str, expect: str, took: Took) -> None:
    begin = time.perf_counter_ns()
    text = await side.call(base)
    took.us.append((time.perf_counter_ns() - begin) / 1000)
    check(text, expect)


async def one_stream(side: Side, base: str, expect: str, took: Took) -> None:
    begin = time.perf_counter_ns()
    first = None
    texts: list[str] = []
    async for text in side.texts(base, None):
        if first is None:
            first = time.perf_counter_ns()
        texts.append(text)
    end = time.perf_counter_ns()
    took.us.append((end - begin) / 1000)
    took.first_us.append(((first or end) - begin) / 1000)
    took.texts += len(texts)
    check("".join(texts), expect)


def check(text: str, expect: str) -> None:
    if text != expect:
        raise AssertionError(
            f"wrong answer: {text[:80]!r} ({len(text)}), not {expect[:80]!r} ({len(expect)})"
        )


async def many(
    command: dict[str, Any], one: Callable[[Side, str, str, Took], Awaitable[None]], side: Side
) -> dict[str, Any]:
    """`n` calls by `at_once` workers: each begins its next one when its last has ended."""
    took = Took()
    left = iter(range(command["n"]))

    async def worker() -> None:
        for _ in left:
            await one(side, command["base"], command["expect"], took)

    begin = time.perf_counter_ns()
    await asyncio.gather(*[worker() for _ in range(command["at_once"])])
    wall = (time.perf_counter_ns() - begin) / 1000
    return {"us": took.us, "first_us": took.first_us, "texts": took.texts, "wall_us": wall}


async def cancel(command: dict[str, Any], side: Side) -> dict[str, Any]:
    """Opens one stream a name at once, and breaks each off after its number of texts: when was that?"""
    cancelled: dict[str, int] = {}

    async def one(name: str, after: int) -> None:
        texts = side.texts(command["base"], name)
        seen = 0
        async for _ in texts:
            seen += 1
            if seen >= after:
                break
        cancelled[name] = time.time_ns()
        await texts.aclose()  # type: ignore[attr-defined]  # every side gives an async generator

    await asyncio.gather(*[one(n, a) for n, a in zip(command["names"], command["after"], strict=True)])
    return {"cancelled_ns": cancelled}


async def serve(side: Side) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    say({"ready": True})
    while line := await reader.readline():
        command = json.loads(line)
        match command["do"]:
            case "calls":
                answer = await many(command, one_call, side)
            case "streams":
                answer = await many(command, one_stream, side)
            case "cancel":
                answer = await cancel(command, side)
            case other:
                raise ValueError(f"no such command: {other}")
        say(answer)


def say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
