"""Cancelling a native call at each point of its life closes the socket and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import threading
from pathlib import Path

import omni_bridge
import pytest
from omni_bridge.testing import FaultServer, HttpServer, _shapes

HI = [{"role": "user", "content": "hi"}]
WIRES = {
    "openai/gpt-4o": "/v1",
    "openai/responses/gpt-5": "/v1",
    "anthropic/claude-sonnet-4-5": "",
    "gemini/gemini-2.5-flash": "/v1beta",
}
wires = pytest.mark.parametrize("model", WIRES)
HOW = ["cancel", "close", "leave", "drop"]


class Flood(HttpServer):
    """Streams text on each wire for as long as somebody reads it."""

    async def answer(self, exchange):
        shape = _shapes.shape_of(exchange.request.target)
        begun, _, _ = _shapes.stream_events(shape, ["x" * 8192])
        await exchange.start(200, {"content-type": "text/event-stream"})
        await exchange.send_all(begun)
        while True:
            await exchange.send(begun[-1])


@pytest.fixture
def faults():
    with FaultServer() as server:
        yield server
        nothing_left(server)


def where(server, model, fault="ok"):
    base = server.url_of(fault) if isinstance(server, FaultServer) else server.url
    return {
        "model": model,
        "api_base": base + WIRES[model],
        "api_key": "k",
        "engine": "native",
        "retry": 0,
        "max_tokens": 50,
    }


def nothing_left(server):
    """The server has seen every one of its sockets close, and no call has finished of itself."""
    server.wait_for(lambda server: not server.open_sockets and not server.open_streams)
    assert [request for request in server.requests if not request.left] == []
    assert server.failures == []


async def cancelled(server, task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 30)
    await server.await_for(lambda server: server.last.left)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def read(stream):
    return [event async for event in stream]


@wires
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", ["silent", "never"])
def test_a_task_is_cancelled_before_anything_came(faults, fault, streamed, model):
    async def main():
        options = where(faults, model, fault)
        call = read(omni_bridge.stream(HI, **options)) if streamed else omni_bridge.achat(HI, **options)
        task = asyncio.ensure_future(call)
        await faults.await_for(lambda server: server.requests)
        if fault == "never":
            await faults.await_for(lambda server: server.last.status == 200)
        await cancelled(faults, task)

    asyncio.run(main())


@wires
def test_a_task_is_cancelled_in_the_middle_of_an_answer_that_is_not_streamed(faults, model):
    async def main():
        task = asyncio.ensure_future(omni_bridge.achat(HI, **where(faults, model, "stall")))
        await faults.await_for(lambda server: server.requests and server.last.chunks)
        await cancelled(faults, task)

    asyncio.run(main())


@wires
def test_a_task_is_cancelled_in_the_middle_of_a_stream(faults, model):
    async def main():
        begun = asyncio.Event()

        async def follow():
            async for event in omni_bridge.stream(HI, **where(faults, model, "stall")):
                if event.type == "text_delta":
                    begun.set()

        task = asyncio.ensure_future(follow())
        await asyncio.wait_for(begun.wait(), 30)
        await cancelled(faults, task)

    asyncio.run(main())


def stop(stream, how):
    """Ends a stream in one of the ways; gives what it still says."""
    if how == "cancel":
        stream.cancel()
        return list(stream)
    if how == "close":
        stream.close()
    elif how == "leave":
        with stream:
            pass
    return []


@wires
@pytest.mark.parametrize("how", HOW)
def test_a_sync_stream_is_stopped_in_the_middle(faults, how, model):
    stream = omni_bridge.stream_sync(HI, **where(faults, model, "stall"))
    first = next(event for event in stream if event.type == "text_delta")
    rest = stop(stream, how)
    if how == "drop":  # in the other ways it still lives when the server looks
        del stream
    faults.wait_for(lambda server: server.last.left)
    if how == "cancel":
        assert rest[-1].type == "cancelled"
        assert rest[-1].reply.engine == "native"
        assert rest[-1].reply.content == first.text + "".join(
            event.text for event in rest if event.type == "text_delta"
        )


@wires
@pytest.mark.parametrize("fault", ["silent", "never"])
def test_a_sync_stream_is_cancelled_from_another_thread_before_anything_came(faults, fault, model):
    events = []
    with omni_bridge.stream_sync(HI, **where(faults, model, fault)) as stream:
        reader = threading.Thread(target=lambda: events.extend(stream))
        reader.start()
        faults.wait_for(lambda server: server.requests)
        stream.cancel()
        reader.join(30)
        assert not reader.is_alive()
        faults.wait_for(lambda server: server.last.left)
        with pytest.raises(omni_bridge.CancelledError):
            stream.reply()
    assert events[-1].type == "cancelled"
    assert events[-1].reply.content == ""


@wires
@pytest.mark.parametrize("how", HOW)
def test_a_stream_held_back_by_its_slow_reader_is_stopped(how, model):
    with Flood() as server:
        stream = omni_bridge.stream_sync(HI, **where(server, model))
        next(stream)
        server.wait_for(lambda server: server.last.paused)
        stop(stream, how)
        if how == "drop":
            del stream
        server.wait_for(lambda server: server.last.left)
        nothing_left(server)


@wires
def test_a_slow_reader_slows_the_provider(model):
    with Flood() as server, omni_bridge.stream_sync(HI, **where(server, model)) as stream:
        next(stream)
        server.wait_for(lambda server: server.last.paused)
        held_at = server.last.accepted
        assert held_at < 32 * 1024 * 1024  # the kernel's buffers on both sides and ours, and no more
        # And it goes on when it is read.
        assert next(event for event in stream if server.last.accepted > 2 * held_at).type == "text_delta"


def test_a_call_that_was_cancelled_before_it_began_sends_nothing(faults):
    stream = omni_bridge.stream_sync(HI, **where(faults, "openai/gpt-4o"))
    stream.cancel()
    (event,) = list(stream)
    assert event.type == "cancelled"
    assert faults.connections_total == 0


@wires
def test_while_it_is_being_prepared(faults, model):
    async def main():
        for turns in range(40):  # so many turns of the loop after its start
            options = where(faults, model, "silent")
            call = read(omni_bridge.stream(HI, **options)) if turns % 2 else omni_bridge.achat(HI, **options)
            task = asyncio.ensure_future(call)
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 30)

    asyncio.run(main())


def test_many_streams_some_cancelled_leave_no_socket_thread_or_object_behind():
    def counts():
        gc.collect()
        files = Path("/proc/self/fd")
        open_files = len(list(files.iterdir())) if files.is_dir() else 0
        return open_files, threading.active_count(), len(gc.get_objects())

    async def one(server, number):
        fault = "stall" if number % 3 == 0 else "ok"
        async with omni_bridge.stream(HI, **where(server, "openai/gpt-4o", fault)) as stream:
            async for event in stream:
                last = event.type
                if fault == "stall" and last == "text_delta":
                    return "left"
        return last

    async def main():
        with FaultServer() as server:
            sizes = []
            for _ in range(3):
                ended = await asyncio.gather(*(one(server, number) for number in range(60)))
                assert (ended.count("left"), ended.count("done")) == (20, 40)
                await server.await_for(lambda server: server.open_streams == 0)
                server.forget()
                sizes.append(counts())
            (fds, threads, objects), (later_fds, later_threads, later_objects) = sizes[1], sizes[2]
            assert later_fds <= fds + 30  # pooled connections come and go
            assert later_threads <= threads
            assert later_objects <= objects + 2000
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
