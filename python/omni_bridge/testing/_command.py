"""``omni demo-server``: the offline provider as a command."""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
from typing import TYPE_CHECKING

from .demo import DemoServer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

__all__ = ["main"]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="omni demo-server",
        description="An offline provider on loopback that speaks OpenAI's chat completions.",
    )
    add = found.add_argument
    add("--port", type=int, default=8412, help="port; 0 takes a free one (default: 8412)")
    add(
        "--pace",
        type=float,
        default=40,
        metavar="N",
        help="chunks per second; 0: at once (default: 40)",
    )
    add("--chunks", type=int, metavar="N", help="answer with so many chunks instead of a sentence")
    add("--size", type=int, metavar="BYTES", help="bytes of each of these chunks")
    add("--text", help="answer with this text")
    add("--api-key", metavar="KEY", help="the only key that is taken (default: any)")
    add("--json", action="store_true", help="say where it serves as one line of JSON")
    return found


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM or Ctrl-C; gives the exit code, 2 when it cannot listen."""
    options = parser().parse_args(arguments)
    server = DemoServer(
        port=options.port,
        pace=options.pace or None,
        chunks=options.chunks,
        size=options.size,
        text=options.text,
        api_key=options.api_key,
        keep=1000,
    )
    stop = threading.Event()

    def asked(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # signal's own signature
        stop.set()

    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, asked)
    try:
        server.start()
    except OSError as error:
        parser().exit(
            2, f"omni demo-server: port {options.port}: {error.strerror}; choose another with --port\n"
        )
    try:
        where = {"url": server.url, "api_base": server.api_base, "pid": os.getpid()}
        print(json.dumps(where) if options.json else how_to_use(server), flush=True)  # noqa: T201  # the output
        stop.wait()
    finally:
        server.stop()
    return 0


def how_to_use(server: DemoServer) -> str:
    """What to do with it, for people."""
    return (
        f"omni demo-server: {server.url} (an offline provider with OpenAI's wire; Ctrl-C stops it)\n"
        f"  export OPENAI_API_BASE={server.api_base} OPENAI_API_KEY=demo\n"
        '  omni chat "What is the weather in Paris?" -m openai/demo\n'
        f"  curl {server.url}   more of what it can do"
    )
