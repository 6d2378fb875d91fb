"""A stream that nobody holds any more is cancelled: its provider's socket is closed."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Any

import omni_bridge
import pytest
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
    server.hold(3)
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


def test_a_sync_stream(here: dict[str, Any], server: DemoServer):
    stream = omni_bridge.stream_sync(HI, **here)
    next(stream)
    del stream
    server.wait_for(lambda server: server.last.left)


def test_an_async_stream(here: dict[str, Any], server: DemoServer):
    async def main() -> None:
        stream = omni_bridge.stream(HI, **here)
        await anext(stream)
        del stream
        await server.await_for(lambda server: server.last.left)

    asyncio.run(asyncio.wait_for(main(), 90))


def test_a_loop_that_is_left_by_break(here: dict[str, Any], server: DemoServer):
    async def main() -> None:
        async for _ in omni_bridge.stream(HI, **here):
            break
        await server.await_for(lambda server: server.last.left)

    asyncio.run(asyncio.wait_for(main(), 90))


def test_an_exception_in_the_body_of_the_loop(here: dict[str, Any], server: DemoServer):
    async def main() -> None:
        async with omni_bridge.stream(HI, **here) as stream:
            async for _ in stream:
                raise ValueError("of the user")

    with pytest.raises(ValueError, match="of the user"):
        asyncio.run(asyncio.wait_for(main(), 90))
    server.wait_for(lambda server: server.last.left)


def test_a_stream_in_a_cycle_of_garbage(here: dict[str, Any], server: DemoServer):
    class Holder:
        pass

    holder = Holder()
    holder.stream, holder.itself = omni_bridge.stream_sync(HI, **here), holder
    next(holder.stream)
    del holder
    gc.collect()
    server.wait_for(lambda server: server.last.left)


def test_a_generator_around_a_stream_that_is_dropped(here: dict[str, Any], server: DemoServer):
    async def texts():
        async with omni_bridge.stream(HI, **here) as stream:
            async for event in stream:
                yield event.type

    async def main() -> None:
        async for _ in texts():
            break
        gc.collect()
        await server.await_for(lambda server: server.last.left)

    asyncio.run(asyncio.wait_for(main(), 90))


def test_a_loop_that_ends_with_a_stream_in_its_hands(here: dict[str, Any], server: DemoServer):
    async def main() -> None:
        stream = omni_bridge.stream(HI, **here)
        await anext(stream)
        server.kept = asyncio.create_task(anext(stream))
        await asyncio.sleep(0)

    # asyncio.run cancels the tasks that are left.
    asyncio.run(asyncio.wait_for(main(), 90))
    del server.kept
    server.wait_for(lambda server: server.last.left)


def test_a_coroutine_that_is_closed_while_it_waits(here: dict[str, Any], server: DemoServer):
    server.hold("answer")
    loop = asyncio.new_event_loop()

    async def main() -> None:
        coroutine = omni_bridge.achat(HI, **here)
        coroutine.send(None)
        await server.await_for(lambda server: bool(server.requests))
        coroutine.close()

    loop.run_until_complete(main())
    loop.close()
    server.wait_for(lambda server: server.last.left)
