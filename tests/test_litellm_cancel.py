"""Cancelling a LiteLLM call at each point of its life closes the socket and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import warnings
from pathlib import Path

import pytest
from omni_bridge import _litellm
from omni_bridge.testing import FaultServer

WIRES = {
    "openai/gpt-4o": "/v1",
    "openai/responses/gpt-5": "/v1",
    "anthropic/claude-sonnet-4-5": "",
    "gemini/gemini-2.5-flash": "/v1beta",
    "ollama_chat/llama3": "",
}


class Slow:
    """A reader that takes one event and then none: the handler waits in `drain`."""

    def __init__(self) -> None:
        self.held = asyncio.Event()
        self.events = []

    def emit(self, event):
        self.events.append(event)
        return event["type"].endswith("_delta")

    async def drain(self):
        self.held.set()
        await asyncio.Event().wait()


class Fast(Slow):
    def emit(self, event):
        self.events.append(event)
        if event["type"].endswith("_delta"):
            self.held.set()
        return False


def call(server, fault, model, sink, stream):
    request = {
        "model": model,
        "messages": [{"role": "user", "content": "hi"}],
        "api_base": server.url_of(fault) + WIRES[model],
        "api_key": "k",
        "max_tokens": 10,
    }
    return asyncio.ensure_future(
        _litellm.chat({"op": "chat", "stream": stream, "request": request, "config": {}}, sink)
    )


async def cancelled(server, task):
    """Cancel the task and wait until the server has seen the socket go."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 30)
    await server.await_for(lambda s: s.last.closed is not None)
    assert server.last.left
    others = [one for one in asyncio.all_tasks() if one is not asyncio.current_task() and not one.done()]
    assert others == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", WIRES)
@pytest.mark.parametrize("fault", ["silent", "never"])
def test_before_anything_came(fault, model, stream):
    async def main():
        async with FaultServer() as server:
            task = call(server, fault, model, Fast(), stream)
            await server.await_for(lambda s: s.requests_total > 0)
            await cancelled(server, task)
        await _litellm.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("model", [model for model in WIRES if "ollama" not in model])
def test_in_the_middle_of_a_stream(model):
    async def main():
        async with FaultServer() as server:
            sink = Fast()
            task = call(server, "stall", model, sink, stream=True)
            await asyncio.wait_for(sink.held.wait(), 30)
            await cancelled(server, task)
        await _litellm.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("model", [model for model in WIRES if "ollama" not in model])
def test_while_a_slow_reader_holds_it_back(model):
    async def main():
        async with FaultServer() as server:
            sink = Slow()
            task = call(server, "stall", model, sink, stream=True)
            await asyncio.wait_for(sink.held.wait(), 30)
            await cancelled(server, task)
        await _litellm.aclose()

    asyncio.run(main())


def test_a_whole_stream_gives_its_connection_back():
    async def main():
        async with FaultServer() as server:
            for _ in range(5):
                await asyncio.wait_for(call(server, "ok", "openai/gpt-4o", Fast(), stream=True), 30)
            assert server.connections_total == 1
        await _litellm.aclose()

    asyncio.run(main())


def test_many_streams_some_cancelled_leave_nothing_behind():
    async def main():
        def handles():
            gc.collect()
            open_files = Path("/proc/self/fd")
            return len(list(open_files.iterdir())) if open_files.is_dir() else 0

        async def one(number):
            fault = "stall" if number % 3 == 0 else "ok"
            sink = Fast()
            task = call(server, fault, "openai/gpt-4o", sink, stream=True)
            if fault == "stall":
                await asyncio.wait_for(sink.held.wait(), 60)
                task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                assert fault == "stall"
            else:
                assert sink.events[-1]["type"] == "finish"

        async with FaultServer() as server:
            sizes = []
            for _ in range(3):
                gate = asyncio.Semaphore(30)

                async def bounded(number, gate=gate):
                    async with gate:
                        await one(number)

                await asyncio.gather(*(bounded(number) for number in range(150)))
                server.forget()
                sizes.append((handles(), len(gc.get_objects())))
            assert len(asyncio.all_tasks()) == 1
            (fds, objects), (later_fds, later_objects) = sizes[1], sizes[2]
            assert later_fds <= fds + 30  # pooled connections come and go
            assert later_objects <= objects + 5000
        await _litellm.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("model", WIRES)
def test_while_it_is_being_prepared(model):
    async def main():
        async with FaultServer() as server:
            for turns in range(30):  # so many turns of the loop after its start
                task = call(server, "silent", model, Fast(), stream=turns % 2 == 0)
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.wait_for(task, 30)
            await server.await_for(lambda s: s.open_sockets == 0)
        await _litellm.aclose()
        # LiteLLM prepares calls on a thread: its last answers come after the calls are gone.
        await asyncio.get_running_loop().shutdown_default_executor()

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        asyncio.run(main())
        gc.collect()
    assert [str(one.message) for one in said if "never awaited" in str(one.message)] == []
