"""Micro benchmarks of the Python door: `make bench-micro` times them, plain pytest runs them as tests.

The provider is the offline one, on a thread of this process: these show what changed between two commits, and
benches/doors what a call costs beside others.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import omni_bridge
import pytest
from omni_bridge.testing import DemoServer

MESSAGES = [{"role": "user", "content": "Say hello."}]


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with DemoServer() as server:
        yield f"{server.url}/v1"


def ask(base: str, model: str = "openai/demo") -> Any:
    return omni_bridge.chat(MESSAGES, model, api_base=base, api_key="test-key")


def test_chat(benchmark: Any, base: str) -> None:
    """One blocking call."""
    assert ask(base).finish_reason == "stop"
    benchmark(ask, base)


def test_stream_of_200_chunks(benchmark: Any, base: str) -> None:
    """One stream, read to its end on the caller's own asyncio loop."""

    async def read() -> int:
        texts = 0
        async with omni_bridge.stream(
            MESSAGES, "openai/demo-chunks-200", api_base=base, api_key="test-key"
        ) as events:
            async for event in events:
                texts += event.type == "text_delta"
        return texts

    assert asyncio.run(read()) >= 1
    benchmark(lambda: asyncio.run(read()))


def test_reply_to_dict(benchmark: Any, base: str) -> None:
    """The whole reply as plain Python objects."""
    reply = ask(base, "openai/demo-chunks-200")
    assert reply.to_dict()["content"] == reply.content
    benchmark(reply.to_dict)


def test_import(benchmark: Any) -> None:
    """`import omni_bridge` in a fresh interpreter, its start included."""

    def start() -> None:
        subprocess.run([sys.executable, "-c", "import omni_bridge"], check=True)

    benchmark.pedantic(start, rounds=5, warmup_rounds=1)
