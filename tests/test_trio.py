"""The same doors under trio, and under anyio on both of its back ends."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import anyio
import omni_bridge
import pytest
import trio
from omni_bridge import _native
from omni_bridge.testing import DemoServer

HI = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def server():
    with DemoServer() as demo:
        yield demo


@pytest.fixture(params=["native", "litellm"])
def here(request: pytest.FixtureRequest, server: DemoServer):
    server.forget()
    server.release()
    yield {
        "model": "openai/demo-chunks-10",
        "api_base": server.api_base,
        "api_key": "none",
        "engine": request.param,
    }
    server.wait_for(lambda server: server.open_streams == 0)
    deadline = time.monotonic() + 30
    while _native.engine_open_calls():  # the engine has no event for it
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_achat(here: dict[str, Any]):
    async def main() -> omni_bridge.ChatReply:
        return await omni_bridge.achat(HI, **here)

    assert trio.run(main).finish_reason == "stop"


def test_stream(here: dict[str, Any]):
    async def main() -> None:
        async with omni_bridge.stream(HI, **here) as stream:
            events = [event async for event in stream]
            assert [events[0].type, events[-1].type] == ["start", "done"]
            assert await stream.reply() == events[-1].reply

    trio.run(main)


def test_many_at_once(here: dict[str, Any], server: DemoServer):
    async def main() -> list[str]:
        server.hold("answer")
        said: list[str] = []

        async def one() -> None:
            said.append((await omni_bridge.achat(HI, **here)).content)

        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(one)
            await trio.to_thread.run_sync(server.wait_for, lambda server: len(server.requests) == 30)
            server.release()
        return said

    assert len(set(trio.run(main))) == 1


@pytest.mark.parametrize("at", ["answer", "head", 3])
@pytest.mark.parametrize("backend", ["trio", "asyncio"])
@pytest.mark.parametrize("door", ["achat", "stream"])
def test_a_cancelled_scope_cancels_the_call(
    door: str, backend: str, at: Any, here: dict[str, Any], server: DemoServer
):
    async def call() -> None:
        if door == "achat":
            await omni_bridge.achat(HI, **here)
        else:
            async for _ in omni_bridge.stream(HI, **here):
                pass

    async def main() -> None:
        server.hold("answer" if door == "achat" else at)
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await anyio.to_thread.run_sync(server.wait_for, lambda server: bool(server.requests))
            group.cancel_scope.cancel()

    anyio.run(main, backend=backend)
    server.wait_for(lambda server: server.last.left)


def test_a_time_limit_of_trio(here: dict[str, Any], server: DemoServer):
    async def main() -> bool:
        server.hold("answer")
        with trio.move_on_after(0.2) as scope:
            await omni_bridge.achat(HI, **here)
        return scope.cancelled_caught

    assert trio.run(main)
    server.wait_for(lambda server: server.last.left)


def test_asyncio_does_not_bring_anyio_in():
    code = """
import asyncio, sys, omni_bridge
from omni_bridge import _aio, _native
call = _native.op_call("echo", {"data": 1})
call.pop()
asyncio.run(_aio.ready(call))
print(call.pop(), [name for name in ("anyio", "sniffio", "trio") if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.stdout == "1 []\n", ran


def test_without_any_event_loop_the_error_says_so():
    coroutine = omni_bridge.achat(HI, "openai/demo", api_base="http://127.0.0.1:9/v1", api_key="none")
    with pytest.raises(RuntimeError, match=r"event loop|async"):
        coroutine.send(None)
