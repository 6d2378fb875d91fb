"""The engine in a Python process, with handlers of the tests' own in LiteLLM's place."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import omni_bridge
import pytest
from omni_bridge import _engine, _native

if TYPE_CHECKING:
    from collections.abc import Iterator

ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Go."}], "model": "openai/none"}
LONG = 60.0
"""Seconds; reached only when something hangs."""

START = {"type": "start", "model": "none", "provider": "openai", "engine": "litellm"}
FINISH = {"type": "finish", "finish_reason": "stop"}


async def answer(document: dict[str, Any], sink: Any) -> None:
    """A handler that answers with the last message's text."""
    text = document["request"]["messages"][-1]["content"]
    for event in (
        START,
        {"type": "text_start", "index": 0},
        {"type": "text_delta", "index": 0, "text": text},
    ):
        sink.emit(event)
    await asyncio.sleep(0)
    sink.emit({"type": "text_end", "index": 0})
    sink.emit(FINISH)


class Held:
    """A handler that begins a text, then waits; counts what becomes of its calls."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.closed = threading.Semaphore(0)

    async def __call__(self, document: dict[str, Any], sink: Any) -> None:
        try:
            sink.emit(START)
            sink.emit({"type": "text_start", "index": 0})
            sink.emit({"type": "text_delta", "index": 0, "text": "held"})
            self.begun.release()
            await asyncio.get_running_loop().create_future()
        finally:
            self.closed.release()


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`handler(function)` puts it in LiteLLM's place; afterwards nothing of its calls is left."""
    yield lambda function: monkeypatch.setitem(_engine.HANDLERS, "chat", function)
    gc.collect()
    settled()


def settled() -> None:
    """Waits until no call is open; every step is a turn of the loop, not a time."""
    deadline = time.monotonic() + LONG
    turn: Any = answer
    while _native.engine_open_calls() > 0:
        assert time.monotonic() < deadline, f"{_native.engine_open_calls()} calls are left"
        before = _engine.HANDLERS.get("chat")
        _engine.HANDLERS["chat"] = turn
        try:
            omni_bridge.chat(**ASK)
        finally:
            if before is not None:
                _engine.HANDLERS["chat"] = before


def run(program: str, *arguments: str, timeout: float = LONG) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=timeout
    )


def test_64_threads_start_one_loop():
    program = """
import json, sys, threading
sys.path.insert(0, sys.argv[1])
import omni_bridge
from omni_bridge import _engine
from test_engine import ASK, answer
_engine.HANDLERS["chat"] = answer
gate = threading.Barrier(64)
replies = []
def one(n):
    gate.wait()
    replies.append(omni_bridge.chat([{"role": "user", "content": str(n)}], ASK["model"]).content)
threads = [threading.Thread(target=one, args=(n,)) for n in range(64)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert sorted(replies, key=int) == [str(n) for n in range(64)]
names = [thread.name for thread in threading.enumerate()]
print(json.dumps({"loops": names.count("omni-engine"), "litellm": "litellm" in sys.modules}))
"""
    ran = run(program, __file__.rpartition("/")[0])
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {"loops": 1, "litellm": False}


class Loud(BaseException):
    pass


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, Loud])
def test_a_handler_that_raises_ends_its_own_call_alone(handler: Any, kind: type[BaseException]):
    async def raises(document: dict[str, Any], sink: Any) -> None:
        sink.emit(START)
        await asyncio.sleep(0)
        raise kind("sk-secret in the text")

    handler(raises)
    with pytest.raises(omni_bridge.InternalError) as raised:
        omni_bridge.chat(**ASK)
    assert kind.__name__ in str(raised.value)
    assert "secret" not in str(raised.value)
    handler(answer)
    assert omni_bridge.chat(**ASK).content == "Go."


def test_an_error_of_the_contract_comes_out_as_it_was_raised(handler: Any):
    async def raises(document: dict[str, Any], sink: Any) -> None:
        raise omni_bridge.RateLimitError("slow down", provider="openai", status=429, retry_after=0.0)

    handler(raises)
    with pytest.raises(omni_bridge.RateLimitError, match="slow down") as raised:
        omni_bridge.chat(**ASK, retry=0)
    assert (raised.value.provider, raised.value.status, raised.value.retry_after) == ("openai", 429, 0.0)


def test_a_panic_in_rust_is_an_internal_error_and_the_next_call_works(handler: Any, capfd: Any):
    async def panics(document: dict[str, Any], sink: Any) -> None:
        sink._panic()

    handler(panics)
    with pytest.raises(omni_bridge.InternalError):
        omni_bridge.chat(**ASK)
    handler(answer)
    assert omni_bridge.chat(**ASK).content == "Go."
    assert "panicked" in capfd.readouterr().err  # Rust says where; nothing of the call is in it


def test_an_event_that_is_not_json_is_an_internal_error(handler: Any):
    async def wrong(document: dict[str, Any], sink: Any) -> None:
        sink.emit(START)
        sink.emit({"type": "text_delta", "index": 0, "text": object()})

    handler(wrong)
    with pytest.raises(omni_bridge.InternalError, match="TypeError"):
        omni_bridge.chat(**ASK)


def test_a_blocking_call_on_the_engines_own_thread_raises(handler: Any):
    told: list[BaseException] = []

    async def asks_again(document: dict[str, Any], sink: Any) -> None:
        try:
            omni_bridge.chat(**ASK)
        except omni_bridge.OmniError as error:
            told.append(error)
        await answer(document, sink)

    handler(asks_again)
    assert omni_bridge.chat(**ASK).content == "Go."
    assert isinstance(told[0], omni_bridge.UnsupportedError)
    assert "own thread" in str(told[0])


def test_calls_from_several_loops_and_after_one_was_closed(handler: Any):
    handler(answer)

    async def some(name: str) -> list[str]:
        asked = [
            omni_bridge.achat([{"role": "user", "content": f"{name}{n}"}], "openai/none") for n in range(10)
        ]
        return [reply.content for reply in await asyncio.gather(*asked)]

    with ThreadPoolExecutor(4) as threads:
        ran = list(threads.map(lambda name: asyncio.run(some(name)), "abcd"))
    assert ran == [[f"{name}{n}" for n in range(10)] for name in "abcd"]
    assert asyncio.run(some("e")) == [f"e{n}" for n in range(10)]


def test_a_loop_that_is_closed_with_streams_open_leaves_none_behind(handler: Any):
    held = Held()
    handler(held)

    async def leave() -> None:
        for _ in range(5):
            events = aiter(omni_bridge.stream(**ASK))
            while (await anext(events)).type != "text_delta":
                pass

    asyncio.run(leave())
    gc.collect()
    for _ in range(5):
        assert held.closed.acquire(timeout=LONG)
    handler(answer)
    assert omni_bridge.chat(**ASK).content == "Go."


def test_shutdown_cancels_what_runs_and_the_next_call_starts_again(handler: Any):
    held = Held()
    for _ in range(3):
        handler(held)
        ends: list[str] = []

        def read(ends: list[str] = ends) -> None:
            ends.extend(event.type for event in omni_bridge.stream_sync(**ASK))

        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        for _ in readers:
            assert held.begun.acquire(timeout=LONG)
        omni_bridge.shutdown()
        for reader in readers:
            reader.join(LONG)
        assert ends.count("cancelled") == len(readers)
        assert "omni-engine" not in [thread.name for thread in threading.enumerate() if thread.is_alive()]
        handler(answer)
        assert omni_bridge.chat(**ASK).content == "Go."


def test_a_slow_reader_holds_the_handler_back_and_loses_nothing(handler: Any):
    sent = 0
    count = 20_000

    async def floods(document: dict[str, Any], sink: Any) -> None:
        nonlocal sent
        sink.emit(START)
        sink.emit({"type": "text_start", "index": 0})
        for n in range(count):
            sent = n + 1
            if sink.emit({"type": "text_delta", "index": 0, "text": f"{n:015} "}):
                await sink.drain()
            if n % 20 == 0:
                await asyncio.sleep(0)
        sink.emit({"type": "text_end", "index": 0})
        sink.emit(FINISH)

    handler(floods)
    events = omni_bridge.stream_sync(**ASK)
    while next(events).type != "text_delta":
        pass
    # Each call is a few turns of the loop, in which the flood could have gone on.
    handler(answer)
    for _ in range(300):
        omni_bridge.chat(**ASK)
    assert sent < count / 2, f"{sent} events were made that nobody reads"
    text = "".join(event.text for event in events if event.type == "text_delta")
    assert text.split() == [f"{n:015}" for n in range(1, count)]


def test_large_parts_of_a_provider_are_held_back_too(handler: Any):
    """Not the number of events bounds the memory, but their size, whatever kind they are of."""
    sent, count = 0, 100

    async def floods(document: dict[str, Any], sink: Any) -> None:
        nonlocal sent
        sink.emit(START)
        for n in range(count):
            sent = n + 1
            data = {"n": n, "text": "x" * 100_000}
            part = {"type": "provider_part", "index": n, "provider": "openai", "kind": "k", "data": data}
            if sink.emit(part):
                await sink.drain()
        sink.emit(FINISH)

    handler(floods)
    events = omni_bridge.stream_sync(**ASK)
    assert next(events).type == "start"
    handler(answer)
    for _ in range(300):
        omni_bridge.chat(**ASK)
    assert sent < 20, f"{sent} parts of 100 kB were made that nobody reads"
    assert [event.data["n"] for event in events if event.type == "provider_part"] == list(range(count))


def test_a_call_held_back_by_its_reader_can_be_cancelled(handler: Any):
    held_back = threading.Event()
    closed = threading.Event()

    async def floods(document: dict[str, Any], sink: Any) -> None:
        sink.emit(START)
        sink.emit({"type": "text_start", "index": 0})
        try:
            while True:
                if sink.emit({"type": "text_delta", "index": 0, "text": "x" * 100}):
                    asyncio.get_running_loop().call_soon(held_back.set)
                    await sink.drain()
        finally:
            closed.set()

    handler(floods)
    stream = omni_bridge.stream_sync(**ASK)
    next(stream)
    assert held_back.wait(LONG)
    stream.close()
    assert closed.wait(LONG)


def test_the_standard_ways_of_slow_work_leave_the_loop_free(handler: Any):
    """A name look-up or an import on the engine's threads holds up no other call."""
    gate = threading.Event()

    async def slow(document: dict[str, Any], sink: Any) -> None:
        if document["request"]["messages"][-1]["content"] == "slow":
            await asyncio.get_running_loop().run_in_executor(None, gate.wait)
        await answer(document, sink)

    handler(slow)
    with ThreadPoolExecutor(40) as threads:
        waiting = [
            threads.submit(omni_bridge.chat, [{"role": "user", "content": "slow"}], "openai/none")
            for _ in range(40)
        ]
        assert omni_bridge.chat(**ASK).content == "Go."
        gate.set()
        assert [call.result(LONG).content for call in waiting] == ["slow"] * 40


def test_what_goes_wrong_outside_of_calls_is_logged_without_its_text(handler: Any, caplog: Any):
    async def leaves_a_mess(document: dict[str, Any], sink: Any) -> None:
        def callback() -> None:
            raise ValueError("sk-secret")

        asyncio.get_running_loop().call_soon(callback)
        await asyncio.sleep(0)
        await answer(document, sink)

    handler(leaves_a_mess)
    assert omni_bridge.chat(**ASK).content == "Go."
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text


def test_what_the_program_prints_while_litellm_is_imported_is_not_lost():
    program = """
import sys, threading, time
import omni_bridge
warming = threading.Thread(target=omni_bridge.warm_up)
warming.start()
lines = 0
while warming.is_alive():
    if "litellm" in sys.modules:
        print("line")
        lines += 1
    time.sleep(0.01)  # leaves the interpreter to the import
print(lines)
"""
    ran = run(program, timeout=120)
    assert ran.returncode == 0, ran.stderr
    *lines, count = ran.stdout.splitlines()
    assert int(count) > 0
    assert lines == ["line"] * int(count)
