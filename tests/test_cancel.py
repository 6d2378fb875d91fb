"""Cancelling, at each point of a call's life: the provider's socket is closed and nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import omni_bridge
import pytest
from omni_bridge import _aio, _native
from omni_bridge.testing import DemoServer

HI = [{"role": "user", "content": "hi"}]
POINTS = ["answer", "head", 3]


@pytest.fixture(scope="module")
def server():
    with DemoServer() as demo:
        yield demo


@pytest.fixture
def here(server: DemoServer):
    server.forget()
    server.release()
    yield {"model": "openai/demo-chunks-10", "api_base": server.api_base, "api_key": "none"}
    nothing_left(server)


def nothing_left(server: DemoServer) -> None:
    server.wait_for(lambda server: server.open_streams == 0)
    deadline = time.monotonic() + 30
    while _native.engine_open_calls():  # the engine has no event for it
        assert time.monotonic() < deadline
        time.sleep(0.001)


def held(server: DemoServer, at: Any) -> Callable[[DemoServer], bool]:
    """The provider has got the request and answered as far as `at`."""
    server.hold(at)
    chunks = at if isinstance(at, int) else 0
    return lambda server: bool(server.requests) and server.last.chunks >= chunks


@pytest.mark.parametrize("at", ["answer"])
@pytest.mark.parametrize("how", ["cancel", "timeout", "group"])
def test_a_cancelled_task_cancels_its_achat(how: str, at: Any, here: dict[str, Any], server: DemoServer):
    async def main() -> None:
        there = held(server, at)
        task = asyncio.create_task(omni_bridge.achat(HI, **here))
        await server.await_for(there)
        if how == "cancel":
            task.cancel()
        elif how == "timeout":
            with pytest.raises(TimeoutError if hasattr(asyncio, "timeout") else asyncio.TimeoutError):
                await asyncio.wait_for(task, 0.01)
        else:
            gathered = asyncio.gather(task, asyncio.sleep(100))
            gathered.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gathered
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.await_for(lambda server: server.last.left)

    asyncio.run(asyncio.wait_for(main(), 90))


@pytest.mark.parametrize("at", POINTS)
@pytest.mark.parametrize("how", ["task", "aclose", "leave", "cancel", "cancel from a thread"])
def test_a_stream_is_cancelled(how: str, at: Any, here: dict[str, Any], server: DemoServer):
    async def read(stream: omni_bridge.Stream) -> list[Any]:
        return [event async for event in stream]

    async def main() -> None:
        there = held(server, at)
        async with omni_bridge.stream(HI, **here) as stream:
            reader = asyncio.create_task(read(stream))
            await server.await_for(there)
            if how == "task":
                reader.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reader
            elif how == "aclose":
                await stream.aclose()
                await reader
            elif how == "cancel":
                stream.cancel()
            elif how == "cancel from a thread":
                await asyncio.get_running_loop().run_in_executor(None, stream.cancel)
            if how.startswith("cancel"):
                events = await reader
                assert events[-1].type == "cancelled"
                assert events[-1].closed_ms is None or events[-1].closed_ms < 5000
                with pytest.raises(omni_bridge.CancelledError):
                    await stream.reply()
        if how == "leave":
            await reader
        await server.await_for(lambda server: server.last.left)

    asyncio.run(asyncio.wait_for(main(), 90))


@pytest.mark.parametrize("at", POINTS)
@pytest.mark.parametrize("how", ["close", "leave", "cancel"])
def test_a_sync_stream_is_cancelled(how: str, at: Any, here: dict[str, Any], server: DemoServer):
    there = held(server, at)
    with omni_bridge.stream_sync(HI, **here) as stream:
        events: list[Any] = []
        reader = threading.Thread(target=lambda: events.extend(stream))
        reader.start()
        server.wait_for(there)
        if how == "close":
            stream.close()
        elif how == "cancel":
            stream.cancel()
            reader.join(30)
            assert events[-1].type == "cancelled"
    reader.join(30)
    assert not reader.is_alive()
    server.wait_for(lambda server: server.last.left)


@pytest.mark.parametrize("door", ["stream", "stream_sync"])
def test_a_stream_held_back_by_its_slow_reader_is_cancelled(
    door: str, here: dict[str, Any], server: DemoServer
):
    here["model"] = "openai/demo-chunks-1000-size-65536"
    stream = getattr(omni_bridge, door)(HI, **here)
    if door == "stream":
        asyncio.run(_first(stream))
    else:
        next(stream)
    server.wait_for(lambda server: server.last.paused)
    stream.cancel()
    server.wait_for(lambda server: server.last.left)
    stream._call.close()


async def _first(stream: omni_bridge.Stream) -> Any:
    return await anext(stream)


def test_a_stream_cancelled_before_it_began_says_so(here: dict[str, Any], server: DemoServer):
    stream = omni_bridge.stream_sync(HI, **here)
    stream.cancel()
    (event,) = list(stream)
    assert (event.type, event.closed_ms, event.reply.content) == ("cancelled", None, "")
    with pytest.raises(omni_bridge.CancelledError):
        stream.reply()
    assert not server.requests


def test_cancelling_twice_or_after_the_end_does_nothing(here: dict[str, Any]):
    stream = omni_bridge.stream_sync(HI, **here)
    events = list(stream)
    for _ in range(2):
        stream.cancel()
    assert events[-1].type == "done"
    assert stream.reply() == events[-1].reply
    stream.close()
    stream.close()
    assert list(stream) == []


def test_what_a_closed_stream_brought_is_forgotten(here: dict[str, Any], server: DemoServer):
    with omni_bridge.stream_sync(HI, **here) as stream:
        next(stream)
        nothing_left(server)  # the answer is whole, and waits to be read
    assert list(stream) == []
    with pytest.raises(omni_bridge.CancelledError):
        stream.reply()


def test_a_cancelled_wait_for_the_next_event_cancels_the_stream(here: dict[str, Any], server: DemoServer):
    async def main() -> None:
        there = held(server, 3)
        stream = omni_bridge.stream(HI, **here)

        async def read_on() -> None:
            while True:
                await asyncio.wait_for(anext(stream), 0.2)

        await anext(stream)
        await server.await_for(there)
        with pytest.raises((TimeoutError, asyncio.TimeoutError)):
            await read_on()
        assert [event async for event in stream] == []

    asyncio.run(asyncio.wait_for(main(), 90))
    server.wait_for(lambda server: server.last.left)


def test_a_thousand_races_between_the_answer_and_the_cancel():
    async def main() -> None:
        for round_ in range(1000):
            call = _native.op_call("echo", {"data": round_})
            task = asyncio.create_task(_result(call))
            for _ in range(round_ % 7):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                assert await task == round_
        channel = _aio._channels[id(asyncio.get_running_loop())]()
        assert await _result(_native.op_call("echo", {"data": "alive"})) == "alive"
        while channel.waiting or _native.engine_open_calls():  # noqa: ASYNC110 - neither has an event for it
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(main(), 90))


async def _result(call: _native.Call) -> Any:
    while (found := call.pop()) is None:
        await _aio.ready(call)
    return found


def test_many_streams_a_third_of_them_cancelled(here: dict[str, Any], server: DemoServer):
    async def one(number: int) -> str:
        async with omni_bridge.stream(HI, **here) as stream:
            async for event in stream:
                if number % 3 == 0 and event.type == "text_delta":
                    return "left"
                last = event.type
        return last

    async def main() -> None:
        for _ in range(4):
            ended = await asyncio.gather(*(one(number) for number in range(60)))
            assert (ended.count("left"), ended.count("done")) == (20, 40)

    asyncio.run(asyncio.wait_for(main(), 90))


def test_no_thread_is_left_by_calls(here: dict[str, Any]):
    omni_bridge.chat(HI, **here)
    before = threading.active_count()
    for _ in range(20):
        list(omni_bridge.stream_sync(HI, **here))
    assert threading.active_count() <= before + 1
