"""The blocking door and its asynchronous twin: one call, one reply."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import weakref
from collections import UserList
from pathlib import Path
from typing import Any

import omni_bridge
import pydantic
import pytest
from omni_bridge import _aio, _native, types
from omni_bridge.testing import DemoServer

HI = [{"role": "user", "content": "hi"}]
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds.",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer", "default": None}}},
    },
}


@pytest.fixture(scope="module")
def server():
    with DemoServer() as demo:
        yield demo


@pytest.fixture
def here(server: DemoServer):
    server.forget()
    server.release()
    return {"model": "openai/demo", "api_base": server.api_base, "api_key": "none"}


@pytest.fixture
def defaults():
    yield
    omni_bridge.configure()


def run(code: str, *, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=timeout
    )


WAITING = """
        import signal, sys, threading, omni_bridge
        from omni_bridge import _api, _native

        # A shell that puts the tests into the background has them ignore SIGINT.
        signal.signal(signal.SIGINT, signal.default_int_handler)

        def tell():
            while not _native.engine_open_calls():
                pass
            print("waiting", flush=True)

        threading.Thread(target=tell, daemon=True).start()
        """


def start(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_chat(here: dict[str, Any]):
    reply = omni_bridge.chat(HI, **here)
    assert isinstance(reply, omni_bridge.ChatReply)
    assert reply.content.startswith("You said: hi.")
    assert (reply.finish_reason, reply.engine, reply.provider) == ("stop", "native", "openai")
    assert reply.tool_calls == []
    assert reply.usage.input_tokens
    assert [attempt.error for attempt in reply.attempts] == [None]


def test_achat(here: dict[str, Any]):
    assert asyncio.run(omni_bridge.achat(HI, **here)).content.startswith("You said: hi.")


def test_model_and_tools_may_be_positional(here: dict[str, Any], server: DemoServer):
    model = here.pop("model")
    reply = omni_bridge.chat([{"role": "user", "content": "add 1"}], model, [ADD], **here)
    assert [call.function.name for call in reply.tool_calls] == ["add"]
    assert reply.finish_reason == "tool_calls"
    sent = server.last.json()["tools"][0]["function"]["parameters"]["properties"]
    assert sent["a"]["default"] is None, "a null inside a schema is the user's and is sent"


def test_every_kind_of_message_in_one_list(here: dict[str, Any], server: DemoServer):
    first = omni_bridge.chat([{"role": "user", "content": "please add"}], tools=[ADD], **here)
    messages = (
        types.Message(role="system", content=[types.TextPart(text="Be brief.")]),
        {"role": "user", "content": "please add"},
        first.message,
        {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "3"},
    )
    tool = types.FunctionTool(function=ADD["function"])
    again = omni_bridge.chat(UserList(messages), tools=(tool,), **here)
    assert "3" in again.content
    sent = server.last.json()["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "tool"]
    assert sent[2]["tool_calls"][0]["id"] == first.tool_calls[0].id
    assert "cache_control" not in str(sent), "fields of a model that nobody set are not sent"


def test_parts_and_calls_of_a_reply_can_be_sent_on(here: dict[str, Any], server: DemoServer):
    first = omni_bridge.chat([{"role": "user", "content": "please add"}], tools=[ADD], **here)
    said = {"role": "assistant", "content": None, "tool_calls": first.tool_calls}
    answered = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "4"}
    omni_bridge.chat([*HI, said, answered], tools=[ADD], **here)
    call = server.last.json()["messages"][1]["tool_calls"][0]
    assert call["function"]["name"] == "add"


def test_models_of_the_user(here: dict[str, Any], server: DemoServer):
    class Mine(pydantic.BaseModel):
        role: str = "user"
        content: str

    omni_bridge.chat([Mine(content="from a model")], **here)
    assert server.last.json()["messages"] == [{"role": "user", "content": "from a model"}]


def test_a_generator_of_messages(here: dict[str, Any]):
    assert omni_bridge.chat((message for message in HI), **here).content


def test_none_is_the_same_as_absent(here: dict[str, Any], server: DemoServer):
    omni_bridge.chat(HI, tools=None, temperature=None, **here)
    assert {"tools", "temperature"}.isdisjoint(server.last.json())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"temprature": 1}, r'^temprature: no such field; did you mean "temperature"'),
        ({"temperature": "hot"}, "^temperature: "),
        ({"tools": [{"type": "function"}]}, r"^tools\[0\]"),
        ({"stop": {1: 2}}, r"^stop: .*keys of JSON objects are strings"),
        ({"metadata": {"a": [1, object()]}}, r"^metadata\.a\[1\]: object is not JSON"),
        ({"temperature": float("nan")}, "^temperature: NaN is not JSON"),
        ({"engine": "other"}, "^engine: "),
        ({"model": ""}, "^model: "),
        ({"model": None}, "^model"),
    ],
)
@pytest.mark.parametrize("door", ["chat", "achat", "stream", "stream_sync"])
def test_a_wrong_field(door: str, wrong: dict[str, Any], says: str):
    asked = {"messages": HI, "model": "openai/demo", **wrong}
    doors = {"achat": lambda **asked: asyncio.run(omni_bridge.achat(**asked))}
    with pytest.raises(omni_bridge.InvalidRequestError, match=says):
        doors.get(door, getattr(omni_bridge, door))(**asked)


@pytest.mark.parametrize(
    "messages", [[], "hi", {"role": "user", "content": "hi"}, None, [{"role": "usr"}], [1]]
)
def test_wrong_messages(messages: Any):
    with pytest.raises(omni_bridge.InvalidRequestError, match=r"^messages"):
        omni_bridge.chat(messages, "openai/demo")


def test_what_a_wrong_field_says_shows_no_key():
    with pytest.raises(omni_bridge.InvalidRequestError) as caught:
        omni_bridge.chat(HI, "openai/demo", api_key="sk-very-secret", headers={"x": "y-secret"}, nonsense=1)
    assert "secret" not in f"{caught.value!r} {caught.value}"


def test_an_error_of_the_provider_is_an_exception_of_its_class(here: dict[str, Any]):
    here["model"] = "openai/demo-error-429"
    with pytest.raises(omni_bridge.RateLimitError) as caught:
        omni_bridge.chat(HI, retry=0, **here)
    error = caught.value
    assert (error.provider, error.status, error.retryable) == ("openai", 429, True)
    assert isinstance(error, omni_bridge.OmniError)


def test_configured_defaults_hold_until_they_are_configured_away(here: dict[str, Any], defaults: None):
    here["model"] = "openai/demo-error-503"
    omni_bridge.configure(retry=0, fallbacks=["openai/demo"], timeout={"total": 30})
    reply = omni_bridge.chat(HI, **here)
    assert [attempt.model for attempt in reply.attempts] == ["openai/demo-error-503", "openai/demo"]
    assert isinstance(reply.attempts[0].error, omni_bridge.OverloadedError)
    omni_bridge.configure(retry=0)
    with pytest.raises(omni_bridge.OverloadedError):
        omni_bridge.chat(HI, **here)


@pytest.mark.parametrize(
    "wrong", [{"timeout": -1}, {"retry": "often"}, {"fallbacks": [1]}, {"bridge_url": "no address"}]
)
def test_a_wrong_configuration(wrong: dict[str, Any], defaults: None):
    with pytest.raises(omni_bridge.InvalidRequestError):
        omni_bridge.configure(**wrong)


def test_allow_endpoints_can_be_forbidden(here: dict[str, Any], defaults: None):
    omni_bridge.configure(allow_endpoints=False)
    with pytest.raises(omni_bridge.PermissionDeniedError, match="api_base, api_key"):
        omni_bridge.chat(HI, **here)


def test_a_time_limit(here: dict[str, Any], server: DemoServer):
    server.hold("answer")
    with pytest.raises(omni_bridge.RequestTimeoutError):
        omni_bridge.chat(HI, timeout=0.2, retry=0, **here)
    server.wait_for(lambda server: server.last.left)


# ------------------------------------------------------------------------------------ threads and loops


def test_many_threads(here: dict[str, Any]):
    replies: list[str] = []
    threads = [
        threading.Thread(target=lambda: replies.append(omni_bridge.chat(HI, **here).content))
        for _ in range(32)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(replies) == 32
    assert len(set(replies)) == 1


def test_other_threads_run_while_one_waits(here: dict[str, Any], server: DemoServer):
    server.hold("answer")

    def let_go() -> None:
        server.wait_for(lambda server: server.requests_total > before)
        server.release()

    before = server.requests_total
    thread = threading.Thread(target=let_go)
    thread.start()
    assert omni_bridge.chat(HI, **here).content
    thread.join(30)


def test_blocking_chat_inside_a_running_loop_blocks_that_loop_and_answers(here: dict[str, Any]):
    async def main() -> str:
        return omni_bridge.chat(HI, **here).content

    assert asyncio.run(asyncio.wait_for(main(), 90))


def test_many_calls_at_once_in_one_loop(here: dict[str, Any], server: DemoServer):
    async def main() -> int:
        server.hold("answer")
        calls = [asyncio.create_task(omni_bridge.achat(HI, **here)) for _ in range(100)]
        await server.await_for(lambda server: len(server.requests) >= 100)
        server.release()
        return len(await asyncio.gather(*calls))

    assert asyncio.run(asyncio.wait_for(main(), 90)) == 100


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_one_descriptor_of_a_loop_serves_all_its_calls(here: dict[str, Any]):
    async def main() -> None:
        await omni_bridge.achat(HI, **here)
        channel = _aio._channels[id(asyncio.get_running_loop())]()
        before = descriptors()
        for _ in range(20):
            assert await _aio.result(_native.op_call("echo", {"data": 1})) == 1
        assert _aio._channels[id(asyncio.get_running_loop())]() is channel
        assert descriptors() == before

    asyncio.run(asyncio.wait_for(main(), 90))


def test_an_answer_of_null_is_an_answer():
    async def main() -> None:
        assert await _aio.result(_native.op_call("echo", {"data": None})) is None

    asyncio.run(asyncio.wait_for(main(), 90))


def test_several_loops_in_several_threads(here: dict[str, Any]):
    async def main() -> None:
        for _ in range(5):
            replies = await asyncio.gather(*(omni_bridge.achat(HI, **here) for _ in range(4)))
            said.extend(reply.content for reply in replies)

    said: list[str] = []
    threads = [threading.Thread(target=lambda: asyncio.run(asyncio.wait_for(main(), 90))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(said) == 120


def test_a_closed_loop_is_survived_and_another_takes_its_place(here: dict[str, Any], server: DemoServer):
    server.hold("answer")
    loop = asyncio.new_event_loop()
    before = server.requests_total
    left = loop.create_task(omni_bridge.achat(HI, **here))
    loop.run_until_complete(server.await_for(lambda server: server.requests_total > before))
    loop.close()
    server.release()
    # The answer comes to a loop that is closed; nothing is heard of it.
    server.wait_for(lambda server: server.open_streams == 0)
    for _ in range(3):
        assert asyncio.run(omni_bridge.achat(HI, **here)).content
    assert not left.done()
    left._log_destroy_pending = False  # what asyncio would say about a task whose loop was closed under it
    del left


def test_loops_are_not_kept_alive(here: dict[str, Any]):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(omni_bridge.achat(HI, **here))
    gone = weakref.ref(loop)
    loop.close()
    del loop
    gc.collect()
    assert gone() is None
    assert all(channel() is not None for channel in _aio._channels.values())


def test_descriptors_do_not_pile_up_with_loops(here: dict[str, Any]):
    asyncio.run(omni_bridge.achat(HI, **here))
    gc.collect()
    before = descriptors()
    for _ in range(20):
        asyncio.run(omni_bridge.achat(HI, **here))
    gc.collect()
    assert descriptors() <= before + 4, "the server's and the engine's sockets may come and go"


def test_uvloop(here: dict[str, Any]):
    uvloop = pytest.importorskip("uvloop")

    async def main() -> list[str]:
        replies = await asyncio.gather(*(omni_bridge.achat(HI, **here) for _ in range(20)))
        async with omni_bridge.stream(HI, **here) as events:
            return [reply.content for reply in replies] + [(await events.reply()).content]

    assert len(set(uvloop.run(main()))) == 1


def test_on_the_engines_own_thread_a_blocking_call_raises():
    ran = run(
        """
        import omni_bridge
        from omni_bridge import _engine, _native

        async def handler(document, sink):
            said = []
            for ask in (omni_bridge.chat, omni_bridge.stream_sync):
                try:
                    next(iter(ask([{"role": "user", "content": "hi"}], "openai/demo")))
                except omni_bridge.UnsupportedError as error:
                    said.append(str(error))
            sink.emit({"type": "result", "data": said})

        _engine.HANDLERS["blocking"] = handler
        print(*_native.op_call("blocking", {}).next(), sep="\\n")
        """
    )
    assert ran.stdout.count("a blocking call on the engine's own thread") == 2, ran


# ------------------------------------------------------------------------------------------ signals, panics


def test_ctrl_c_ends_a_blocking_call_and_cancels_it():
    child = start(
        f"""
        {WAITING}
        try:
            omni_bridge._api._wait(_native.op_call("debug", {{"do": "hold"}}))
        finally:
            while _native.engine_open_calls():
                pass
            print("cancelled", flush=True)
        """
    )
    assert child.stdout.readline() == "waiting\n"
    child.send_signal(signal.SIGINT)
    out, said = child.communicate(timeout=60)
    assert out == "cancelled\n", (out, said, child.returncode)
    assert "KeyboardInterrupt" in said
    assert child.returncode != 0


def test_a_signal_handler_of_the_user_runs_while_a_call_waits(here: dict[str, Any], server: DemoServer):
    server.hold("answer")
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: (seen.append(number), server.release()))
    try:
        total = server.requests_total

        def send() -> None:
            server.wait_for(lambda server: server.requests_total > total)
            os.kill(os.getpid(), signal.SIGUSR1)

        threading.Thread(target=send).start()
        assert omni_bridge.chat(HI, **here).content
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [signal.SIGUSR1]


@pytest.mark.parametrize("place", ["here", "elsewhere"])
def test_a_panic_in_our_rust_is_an_internal_error_and_the_next_call_works(
    place: str, here: dict[str, Any], capfd: pytest.CaptureFixture[str]
):
    with pytest.raises(omni_bridge.InternalError, match="panicked"):
        _native.panicking_call(place).next()
    assert "a deliberate panic" in capfd.readouterr().err
    assert omni_bridge.chat(HI, **here).content


def test_a_child_forked_after_first_use_gets_an_error_and_the_parent_goes_on():
    ran = run(
        """
        import os, sys, omni_bridge
        from omni_bridge import _native
        question = [{"role": "user", "content": "hi"}]
        held = _native.op_call("debug", {"do": "hold"})
        held.pop()
        _native.op_call("echo", {"data": 1}).next()
        child = os.fork()
        if child == 0:
            said = []
            for ask in (
                lambda: omni_bridge.chat(question, "openai/demo"),
                lambda: next(omni_bridge.stream_sync(question, "openai/demo")),
                lambda: held.next(),
                omni_bridge.models,
                omni_bridge.configure,
            ):
                try:
                    ask()
                except omni_bridge.EngineUnavailableError as error:
                    said.append("spawn" in str(error) and "forkserver" in str(error))
            held.cancel()
            held.close()
            del held
            print(said, flush=True)
            sys.exit(7)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), _native.op_call("echo", {"data": 2}).next())
        """
    )
    assert ran.stdout.splitlines() == [str([True] * 5), "7 2"], ran


def test_fork_before_first_use_is_free():
    ran = run(
        """
        import os, omni_bridge
        from omni_bridge import _native
        omni_bridge.ChatReply, omni_bridge.chat
        child = os.fork()
        print(_native.op_call("echo", {"data": "echo"}).next(), flush=True)
        if child:
            os.waitpid(child, 0)
        """
    )
    assert ran.stdout.split() == ["echo", "echo"], ran


@pytest.mark.parametrize("way", ["main thread", "daemon thread", "asyncio"])
def test_a_process_exits_in_the_middle_of_a_call(way: str):
    held = '_native.op_call("debug", {"do": "hold"})'
    waits = {
        "main thread": f"held = {held}; held.pop()",
        "daemon thread": f"threading.Thread(target={held}.next, daemon=True).start()",
        "asyncio": f"""
        import asyncio
        from omni_bridge import _aio
        held = {held}
        held.pop()
        loop = asyncio.new_event_loop()
        task = loop.create_task(_aio.ready(held))
        loop.run_until_complete(asyncio.sleep(0))
        task._log_destroy_pending = False
        """,
    }
    child = start(f"{WAITING}{waits[way]}\n        sys.stdin.readline()\n        sys.exit(3)")
    assert child.stdout.readline() == "waiting\n"
    out, said = child.communicate("\n", timeout=20)
    assert (child.returncode, out, said) == (3, "", "")


def test_models():
    known = omni_bridge.models()
    assert len(known) > 1000
    assert all(model["id"] for model in known)


def test_shutdown_and_again(here: dict[str, Any]):
    omni_bridge.warm_up()
    assert omni_bridge.shutdown() is True
    assert omni_bridge.chat(HI, **here).content
