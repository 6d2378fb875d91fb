"""Many streams in a row through the Python door, a third cancelled: memory, threads and handles stay flat.

Run as a program by `measure` so that what is measured is a process that does nothing else:

    python tests/soak/streams.py API_BASE STREAMS AT_ONCE ENGINE
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omni_bridge.testing import DemoServer

CHECKPOINTS = 20
# What Python, LiteLLM and the allocator may still take for themselves between the first and the last
# checkpoint (the first stands after a tenth of the streams, when every cache and pool has been filled).
ROOM_MB = 12.0
# And in the second half alone, when nothing is new any more (measured: 0.1 MB with 2,000 streams): a leak of
# 4 kB a stream shows there. The allocator's fragments grow a little with the number of streams.
LATE_ROOM_MB, LATE_ROOM_BYTES_PER_STREAM = 3.0, 50


@dataclass(frozen=True)
class State:
    """What a process holds at one moment."""

    streams: int
    resident_mb: float
    threads: int
    descriptors: int


@dataclass(frozen=True)
class Streams:
    """What came of a run."""

    streams: int
    cancelled: int
    seconds: float
    first: State
    middle: State
    last: State
    open_calls: int

    @property
    def grown_mb(self) -> float:
        return self.last.resident_mb - self.first.resident_mb

    def check(self) -> None:
        """Raises AssertionError if something was left behind."""
        assert self.open_calls == 0, f"{self.open_calls} calls are still open"
        assert self.grown_mb <= ROOM_MB, f"grew by {self.grown_mb:.1f} MB: {self.first} → {self.last}"
        late = self.last.resident_mb - self.middle.resident_mb
        room = LATE_ROOM_MB + self.streams * LATE_ROOM_BYTES_PER_STREAM / 1e6
        assert late <= room, f"still grew by {late:.1f} MB: {self.middle} → {self.last}"
        assert self.last.threads <= self.first.threads + 1, f"threads: {self.first} → {self.last}"
        assert self.last.descriptors <= self.first.descriptors + 8, f"handles: {self.first} → {self.last}"


def measure(
    streams: int,
    at_once: int = 25,
    engine: str = "litellm",
    tell: Callable[[str], None] = lambda line: None,
) -> Streams:
    """Runs `streams` streams of three chunks in a child process, against the offline provider in this one."""
    with DemoServer() as server:
        argv = [sys.executable, __file__, f"{server.url}/v1", str(streams), str(at_once), engine]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            states: list[State] = []
            end: dict[str, Any] = {}
            for line in child.stdout:
                document = json.loads(line)
                server.forget()
                if "seconds" in document:
                    end = document
                    continue
                states.append(State(**document))
                tell(f"streams: {states[-1]}")
        if child.returncode != 0 or not end:
            raise AssertionError(f"the streams' process ended with exit code {child.returncode}")
        server.wait_for(lambda s: s.open_streams == 0)
    return Streams(
        streams=streams,
        first=states[len(states) // 10],
        middle=states[len(states) // 2],
        last=states[-1],
        **end,
    )


# ------------------------------------------------------------------------------------- the child process


def state(streams: int) -> State:
    gc.collect()
    status = Path("/proc/self/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return State(
        streams=streams,
        resident_mb=round(int(fields["VmRSS"].split()[0]) / 1024, 1),
        threads=int(fields["Threads"]),
        descriptors=sum(1 for _ in Path("/proc/self/fd").iterdir()),
    )


async def run(base: str, streams: int, at_once: int, engine: str) -> None:
    import omni_bridge

    loop = asyncio.get_running_loop()
    begin = loop.time()
    cancelled = 0

    async def one(n: int) -> None:
        nonlocal cancelled
        # Those to be cancelled would go on for long; the others are whole after three chunks.
        cancel = n % 3 == 2
        model = "openai/demo-chunks-500-pace-20" if cancel else "openai/demo-chunks-3"
        messages = [{"role": "user", "content": "Go on."}]
        begun = omni_bridge.stream(messages, model, api_base=base, api_key="test-key", engine=engine)
        async with begun as events:
            async for event in events:
                if cancel and event.type == "text_delta":
                    break
        if cancel:
            cancelled += 1
        else:
            assert event.type == "done", event
            assert event.reply.engine == engine, event.reply.engine

    done = 0
    for size in sizes(streams):
        left = iter(range(done, done + size))

        async def worker(left: Any = left) -> None:
            for n in left:
                await one(n)

        await asyncio.gather(*[worker() for _ in range(at_once)])
        done += size
        print(json.dumps(state(done).__dict__), flush=True)
    end = {
        "cancelled": cancelled,
        "seconds": round(loop.time() - begin, 1),
        "open_calls": await left_calls(engine),
    }
    print(json.dumps(end), flush=True)


async def left_calls(engine: str, within: float = 10.0) -> int:
    """The calls that still run when nothing changes any more; with LiteLLM, what still runs on its loop too.

    A cancelled call's stream ends before its task does, which then still closes the socket: so this asks
    until nothing runs, or until `within` seconds have passed.
    """
    from omni_bridge import _native

    def left() -> int:
        if engine == "native":
            return _native.engine_open_calls()
        return _native.op_call("debug", {}).next()["tasks"]  # beside the call that asks

    loop = asyncio.get_running_loop()
    until = loop.time() + within
    while (tasks := left()) and loop.time() < until:  # noqa: ASYNC110 - the engine has no event for it
        await asyncio.sleep(0.02)
    return tasks


def sizes(streams: int) -> list[int]:
    """As many checkpoints of about the same size as there are streams for."""
    count = min(CHECKPOINTS, max(2, streams // 100))
    return [streams // count + (1 if n < streams % count else 0) for n in range(count)]


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
