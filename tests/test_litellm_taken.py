"""LiteLLM's part of a call ends when the answer is there, if we read it: it would read it a second time."""

from __future__ import annotations

import asyncio
import gc
import weakref

import httpx
import pytest
from omni_bridge import _litellm
from omni_bridge import _litellm_http as http
from omni_bridge.errors import OmniError, UnsupportedError
from omni_bridge.testing import DemoServer, FaultServer, HttpServer

WAYS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


class Events(list):
    def emit(self, event):
        self.append(event)
        return False

    async def drain(self):
        pass

    @property
    def text(self):
        return "".join(event["text"] for event in self if event["type"] == "text_delta")


def ask(base, stream, model="openai/demo", times=1):
    request = {
        "model": model,
        "messages": [{"role": "user", "content": "hi"}],
        "api_base": base,
        "api_key": "k",
        "timeout": 30,
    }
    found = [Events() for _ in range(times)]

    async def main():
        try:
            for events in found:
                document = {"op": "chat", "stream": stream, "request": request, "config": {}}
                await _litellm.chat(document, events)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"{len(left)} tasks outlive their call"
        finally:
            await _litellm.aclose()

    asyncio.run(main())
    return found[-1]


@pytest.fixture
def outcomes(monkeypatch):
    """How each of LiteLLM's calls ended: the name of what it raised, or "returned"."""
    litellm = _litellm._litellm()
    original = litellm.acompletion
    seen: list[str] = []

    async def spied(**kwargs):
        try:
            result = await original(**kwargs)
        except BaseException as problem:
            seen.append(type(problem).__name__)
            raise
        seen.append("returned")
        return result

    monkeypatch.setattr(litellm, "acompletion", spied)
    return seen


@WAYS
def test_litellm_does_not_read_what_we_read(outcomes, stream):
    with DemoServer(text="Four.") as server:
        events = ask(server.url + "/v1", stream)
    assert events.text == "Four."
    assert events[-1]["type"] == "finish"
    assert outcomes == ["Taken"]


@WAYS
def test_the_connection_of_a_taken_answer_is_used_again(stream):
    with DemoServer(text="Four.") as server:
        ask(server.url + "/v1", stream, times=3)
        assert len(server.requests) == 3
        assert server.connections_total == 1


@WAYS
def test_a_failure_stays_with_litellm(outcomes, stream):
    with FaultServer() as server, pytest.raises(OmniError) as caught:
        ask(server.url_of(429) + "/v1", stream)
    assert caught.value.code == "rate_limit"
    assert outcomes == ["RateLimitError"]


@WAYS
def test_what_a_task_of_its_own_asks_is_read_by_litellm(monkeypatch, outcomes, stream):
    litellm = _litellm._litellm()
    inner = litellm.acompletion

    async def elsewhere(**kwargs):
        return await asyncio.create_task(inner(**kwargs))

    monkeypatch.setattr(litellm, "acompletion", elsewhere)
    with DemoServer(text="Four.") as server:
        assert ask(server.url + "/v1", stream).text == "Four."
    assert outcomes == ["returned"]


@pytest.fixture
def ended(monkeypatch):
    """Calls that have ended, weakly, and what stood for them on the wire; no garbage is collected."""
    calls: list[tuple[weakref.ref[_litellm.Call], http.Exchange]] = []

    class Watched(_litellm.Call):
        def __init__(self, *given):
            super().__init__(*given)
            calls.append((weakref.ref(self), self.exchange))

    monkeypatch.setattr(_litellm, "Call", Watched)
    gc.disable()
    yield calls
    gc.enable()


@WAYS
def test_the_messages_of_a_call_are_let_go_at_its_end(ended, stream):
    with DemoServer(text="Four.") as server:
        assert ask(server.url + "/v1", stream).text == "Four."
    assert [call() for call, _ in ended] == [None]


def test_nothing_leaves_in_the_name_of_a_call_that_has_ended(ended):
    with DemoServer(text="Four.") as server:
        ask(server.url + "/v1", stream=False)
        late = httpx.Request("POST", server.url + "/v1/chat/completions")
        with pytest.raises(UnsupportedError, match="ended"):
            ended[0][1].outgoing(late)


class Agents(HttpServer):
    """An assistant of Azure's: a thread is made, messages are put into it, it runs, its messages are read."""

    async def answer(self, exchange):
        step = exchange.request.method, exchange.request.path.partition("?")[0].rpartition("/")[2]
        answers = {
            ("POST", "threads"): {"id": "t"},
            ("POST", "messages"): {"id": "m", "object": "thread.message", "role": "user", "content": []},
            ("POST", "runs"): {"id": "r", "status": "queued"},
            ("GET", "r"): {"id": "r", "status": "completed"},
            ("GET", "messages"): {
                "data": [{"role": "assistant", "content": [{"type": "text", "text": {"value": "Four."}}]}]
            },
        }
        await exchange.reply(200, answers[step])


def test_a_first_request_of_several_is_not_taken_for_the_last(outcomes):
    with Agents() as server:
        events = ask(server.url + "/api/projects/p", stream=False, model="azure_ai/agents/a")
        steps = [one.path.partition("?")[0].rpartition("/")[2] for one in server.requests]
    assert events.text == "Four."
    assert steps == ["threads", "messages", "runs", "r", "messages"]
    assert outcomes == ["returned"]


def test_a_provider_of_the_hosts_own_making_may_ask_twice(monkeypatch):
    litellm = _litellm._litellm()

    class Twice(litellm.CustomLLM):
        """Asks for a draft, and then for the answer."""

        async def acompletion(self, *given, **options):
            self.client = litellm.AsyncHTTPHandler()
            for text in ("draft", "answer"):
                body = {"model": "demo", "messages": [{"role": "user", "content": text}]}
                await self.client.post(options["api_base"] + "/chat/completions", json=body)
            return litellm.ModelResponse()

    own = [{"provider": "twice", "custom_handler": Twice()}]
    monkeypatch.setattr(litellm, "custom_provider_map", own)
    monkeypatch.setattr(litellm, "provider_list", [*litellm.provider_list, "twice"])
    monkeypatch.setattr(litellm, "_custom_providers", [*litellm._custom_providers, "twice"])
    with DemoServer(text="Four.") as server:
        assert ask(server.url + "/v1", stream=False, model="twice/demo").text == "Four."
        assert len(server.requests) == 2
