"""The streaming doors: events one by one, the reply at the end, and a reader that may be slow."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import omni_bridge
import pytest
from omni_bridge.testing import DemoServer, FaultServer

HI = [{"role": "user", "content": "hi"}]
ADD = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def server():
    with DemoServer() as demo:
        yield demo


@pytest.fixture
def here(server: DemoServer):
    server.forget()
    server.release()
    return {"model": "openai/demo", "api_base": server.api_base, "api_key": "none"}


def joined(events: list[Any]) -> str:
    return "".join(event.text for event in events if event.type == "text_delta")


async def collected(stream: omni_bridge.Stream) -> list[Any]:
    return [event async for event in stream]


def test_stream(here: dict[str, Any]):
    async def main() -> None:
        async with omni_bridge.stream(HI, **here) as stream:
            events = await collected(stream)
            assert isinstance(events[0], omni_bridge.StartEvent)
            assert isinstance(events[-1], omni_bridge.DoneEvent)
            assert all(isinstance(event, omni_bridge.Event) for event in events)
            assert joined(events).startswith("You said: hi.")
            reply = await stream.reply()
            assert reply == events[-1].reply
            assert reply.content == joined(events)
            with pytest.raises(StopAsyncIteration):
                await anext(stream)

    asyncio.run(asyncio.wait_for(main(), 90))


def test_stream_sync(here: dict[str, Any]):
    with omni_bridge.stream_sync(HI, **here) as stream:
        events = list(stream)
        assert [events[0].type, events[-1].type] == ["start", "done"]
        assert stream.reply() == events[-1].reply
        assert joined(events) == stream.reply().content
        with pytest.raises(StopIteration):
            next(stream)


def test_reply_reads_what_is_left(here: dict[str, Any]):
    async def main() -> omni_bridge.ChatReply:
        stream = omni_bridge.stream(HI, **here)
        assert (await anext(stream)).type == "start"
        return await stream.reply()

    assert asyncio.run(asyncio.wait_for(main(), 90)).content.startswith("You said: hi.")
    stream = omni_bridge.stream_sync(HI, **here)
    assert next(stream).type == "start"
    assert stream.reply().content.startswith("You said: hi.")


def test_tool_calls_in_a_stream(here: dict[str, Any]):
    stream = omni_bridge.stream_sync([{"role": "user", "content": "please add"}], tools=[ADD], **here)
    starts = [event for event in stream if event.type == "tool_call_start"]
    assert [start.name for start in starts] == ["add"]
    assert stream.reply().tool_calls[0].id == starts[0].id


def test_nothing_is_sent_before_somebody_reads(here: dict[str, Any], server: DemoServer):
    before = server.requests_total
    streams = [omni_bridge.stream(HI, **here), omni_bridge.stream_sync(HI, **here)]
    streams[0].cancel()
    for stream in streams:
        del stream
    assert omni_bridge.chat(HI, **here).content
    assert server.requests_total == before + 1


def test_what_fails_is_the_last_event_and_is_raised_by_reply(here: dict[str, Any]):
    here["model"] = "openai/demo-error-500"

    async def main() -> None:
        async with omni_bridge.stream(HI, retry=0, **here) as stream:
            (event,) = await collected(stream)
            assert event.type == "error"
            assert isinstance(event.error, omni_bridge.ProviderError)
            assert event.reply.finish_reason is None
            with pytest.raises(omni_bridge.ProviderError):
                await stream.reply()

    asyncio.run(asyncio.wait_for(main(), 90))
    with pytest.raises(omni_bridge.ProviderError):
        omni_bridge.stream_sync(HI, retry=0, **here).reply()


def test_an_error_inside_a_stream_keeps_what_had_come(here: dict[str, Any]):
    here["model"] = "openai/demo-error-stream"
    events = list(omni_bridge.stream_sync(HI, **here))
    assert events[-1].type == "error"
    assert events[-1].reply.content == joined(events)


def test_cut_off_answers_end_in_an_error_event():
    with FaultServer() as faults:
        base = {"api_base": f"{faults.url}/cut/v1", "api_key": "none"}
        events = list(omni_bridge.stream_sync(HI, "openai/demo", retry=0, **base))
    assert [event.type for event in events if event.type in {"done", "error", "cancelled"}] == [
        events[-1].type
    ]
    assert events[-1].type == "error"


def test_many_streams_in_one_loop(here: dict[str, Any], server: DemoServer):
    here["model"] = "openai/demo-chunks-50"

    async def main() -> None:
        server.hold(25)
        tasks = [asyncio.create_task(collected(omni_bridge.stream(HI, **here))) for _ in range(100)]
        await server.await_for(lambda server: server.open_streams == 100)
        server.release()
        texts = {joined(events) for events in await asyncio.gather(*tasks)}
        assert len(texts) == 1

    asyncio.run(asyncio.wait_for(main(), 90))


def test_events_come_as_they_come_and_not_at_the_end(here: dict[str, Any], server: DemoServer):
    here["model"] = "openai/demo-chunks-4"

    async def main() -> None:
        server.hold(2)
        async with omni_bridge.stream(HI, **here) as stream:
            seen: list[Any] = []
            async for event in stream:
                seen.append(event)
                if len([event for event in seen if event.type == "text_delta"]) == 2:
                    assert server.open_streams == 1
                    server.release()
            assert seen[-1].type == "done"

    asyncio.run(asyncio.wait_for(main(), 90))


@pytest.mark.parametrize("door", ["stream", "stream_sync"])
def test_a_slow_reader_stops_the_provider_and_gets_everything(
    door: str, here: dict[str, Any], server: DemoServer
):
    # 26 MB: more than sockets and our bounded buffers hold. A second call, read to its end, is the clock: as
    # much could have come to the first one meanwhile.
    here["model"] = "openai/demo-chunks-400-size-65536"
    loop = asyncio.new_event_loop()
    stream = getattr(omni_bridge, door)(HI, **here)

    async def rest() -> int:
        return sum([len(event.text) async for event in stream if event.type == "text_delta"])

    first = loop.run_until_complete(anext(stream)) if door == "stream" else next(stream)
    assert first.type == "start"
    assert len(omni_bridge.stream_sync(HI, **here).reply().content) == 400 * 65536
    slow = server.requests[-2]
    assert slow.finished is None
    assert slow.chunks < 300
    if door == "stream":
        size = loop.run_until_complete(rest())
    else:
        size = sum(len(event.text) for event in stream if event.type == "text_delta")
    assert size == 400 * 65536
    loop.close()


def test_a_second_reader_of_the_same_stream_is_an_error(here: dict[str, Any], server: DemoServer):
    async def main() -> None:
        server.hold("answer")
        stream = omni_bridge.stream(HI, **here)
        first = asyncio.create_task(anext(stream))
        await server.await_for(lambda server: bool(server.requests))
        with pytest.raises(RuntimeError, match="one reader at a time"):
            await anext(stream)
        server.release()
        assert (await first).type == "start", "the first reader is not disturbed"

    asyncio.run(asyncio.wait_for(main(), 90))


def test_a_stream_can_be_begun_in_one_loop_and_read_in_another(here: dict[str, Any]):
    stream = omni_bridge.stream(HI, **here)

    async def one() -> Any:
        return await anext(stream)

    assert asyncio.run(one()).type == "start"
    events = asyncio.run(collected(stream))
    assert events[-1].type == "done"


def test_a_sync_stream_read_by_another_thread(here: dict[str, Any]):
    stream = omni_bridge.stream_sync(HI, **here)
    events: list[Any] = [next(stream)]
    thread = threading.Thread(target=lambda: events.extend(stream))
    thread.start()
    thread.join(30)
    assert events[-1].type == "done"


def test_the_documents_of_the_events_are_the_contracts(here: dict[str, Any]):
    from omni_bridge import types

    for event in omni_bridge.stream_sync(HI, **here):
        assert types.event(event.to_dict()).type == event.type
