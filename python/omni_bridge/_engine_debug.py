"""Op `debug`: a handler that misbehaves as told, for tests of hosts without Python code of their own."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._native import EngineSink

_never = threading.Event()


async def debug(document: dict[str, Any], sink: EngineSink) -> None:
    """Does `do`, one of the words below; anything else tells what the loop has."""
    do = document.get("do")
    if do == "panic":
        sink._panic()  # pyright: ignore[reportPrivateUsage] - it is there for this op
    elif do == "raise":
        raise ValueError(document.get("text", "as asked"))
    elif do == "exit":
        raise SystemExit(3)
    elif do == "exit_callback":
        # As a callback of a library would: not in the call's own task.
        asyncio.get_running_loop().call_soon(_raise_exit)
        await asyncio.sleep(0)
        sink.emit({"type": "result", "data": "survived"})
    elif do == "block":
        # The whole loop stands, as when a callback of LiteLLM waits for something without awaiting it.
        sink.emit({"type": "result", "data": "blocking"})
        asyncio.get_running_loop().call_soon(_never.wait, document.get("seconds"))
    elif do == "hold":
        await asyncio.get_running_loop().create_future()
    elif do == "ignore_cancel":
        while True:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:  # noqa: PERF203 - goes round only then
                sink.emit({"type": "result", "data": "not yet"})
    elif do == "flood":
        # Without ever looking whether the reader follows.
        for n in range(document["events"]):
            sink.emit({"type": "echo", "n": n, "data": document.get("data")})
    else:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        threads = [thread.name for thread in threading.enumerate()]
        sink.emit({"type": "result", "data": {"tasks": len(tasks), "threads": threads}})


def _raise_exit() -> None:
    raise SystemExit(4)


HANDLERS = {"debug": debug}
