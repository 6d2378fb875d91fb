"""The native engine through the public doors: which calls it takes, and that it answers as LiteLLM does."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import omni_bridge
import pytest
from omni_bridge.testing import DemoServer, FaultServer

HI = [{"role": "user", "content": "hi"}]
SAID = "You said: hi. (This is the offline demo provider; no model was asked.)"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
WIRES = {
    "openai/gpt-4o-mini": "/v1",
    "openai/responses/gpt-5": "/v1",
    "anthropic/claude-sonnet-4-5": "",
    "gemini/gemini-2.5-flash": "/v1beta",
}
wires = pytest.mark.parametrize("model", WIRES)
streams = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


@pytest.fixture
def demo():
    with DemoServer() as server:
        yield server


@pytest.fixture
def right():
    with FaultServer() as server:  # all four wires
        yield server


def ask(model, base, streamed=False, messages=HI, **options):
    options = {"api_base": base, "api_key": "k", "timeout": 60, **options}
    if streamed:
        return omni_bridge.stream_sync(messages, model, **options).reply()
    return omni_bridge.chat(messages, model, **options)


def base_of(server, model):
    return server.url_of("ok") + WIRES[model]


def meaning(reply):
    """What a reply says, without what is each engine's own."""
    calls = [(call.function.name, json.loads(call.function.arguments)) for call in reply.tool_calls or []]
    usage = (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.cost_usd)
    return reply.content, reply.finish_reason, calls, usage, reply.provider


@wires
@streams
def test_every_engine_gives_the_same_answer_and_says_which_it_was(right, model, streamed):
    replies = {
        engine: ask(model, base_of(right, model), streamed, engine=engine)
        for engine in ("native", "litellm", "auto")
    }
    assert {asked: reply.engine for asked, reply in replies.items()} == {
        "native": "native",
        "litellm": "litellm",
        "auto": "native",
    }
    assert meaning(replies["native"]) == meaning(replies["litellm"]) == meaning(replies["auto"])
    for reply in replies.values():
        assert [attempt.engine for attempt in reply.attempts] == [reply.engine]


@wires
def test_the_door_without_an_engine_goes_native_and_its_events_say_so(right, model):
    options = {"api_base": base_of(right, model), "api_key": "k"}
    events = list(omni_bridge.stream_sync(HI, model, **options))
    assert (events[0].type, events[0].engine) == ("start", "native")
    assert (events[-1].type, events[-1].reply.engine) == ("done", "native")
    assert asyncio.run(omni_bridge.achat(HI, model, **options)).engine == "native"


@streams
def test_a_provider_that_speaks_none_of_the_protocols_goes_to_litellm(demo, streamed):
    assert ask("snowflake/llama3", demo.api_base, streamed).engine == "litellm"
    demo.forget()
    with pytest.raises(omni_bridge.UnsupportedError, match="native engine does not take this call") as caught:
        ask("snowflake/llama3", demo.api_base, streamed, engine="native")
    assert "snowflake" in caught.value.message
    assert demo.requests == []


@streams
def test_a_field_that_the_protocol_has_not_goes_to_litellm(right, streamed):
    model = "openai/responses/gpt-5"
    assert ask(model, base_of(right, model), streamed, stop="x").engine == "litellm"
    right.forget()
    with pytest.raises(omni_bridge.UnsupportedError, match="stop: "):
        ask(model, base_of(right, model), streamed, stop="x", engine="native")
    assert right.requests == []
    assert ask(model, base_of(right, model), streamed).engine == "native"


@streams
@pytest.mark.parametrize("engine", ["native", "litellm"])
def test_a_tool_is_called_and_its_result_is_used(demo, engine, streamed):
    messages = [{"role": "user", "content": "Please get_weather for the city of Paris."}]
    options = {"tools": [WEATHER], "engine": engine}
    first = ask("openai/gpt-4o-mini", demo.api_base, streamed, messages, **options)
    assert (first.engine, first.finish_reason) == (engine, "tool_calls")
    (call,) = first.tool_calls
    assert call.function.name == "get_weather"
    assert "city" in json.loads(call.function.arguments)
    messages += [
        first.message,
        {"role": "tool", "tool_call_id": call.id, "content": "18 degrees"},
    ]
    second = ask("openai/gpt-4o-mini", demo.api_base, streamed, messages, **options)
    assert (second.content, second.finish_reason) == ("The tool says: 18 degrees.", "stop")
    sent = demo.last.json()["messages"]
    assert [one["role"] for one in sent] == ["user", "assistant", "tool"]
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] == call.id
    assert sent[1]["tool_calls"][0]["function"]["arguments"] == call.function.arguments


PROGRAM = """
import json, sys
import omni_bridge
base, model, streamed = sys.argv[1:]
where = {"api_base": base, "api_key": "k", "timeout": 60}
hi = [{"role": "user", "content": "hi"}]
def ask(**more):
    if streamed == "True":
        return omni_bridge.stream_sync(hi, model, **where, **more).reply()
    return omni_bridge.chat(hi, model, **where, **more)
def loaded():
    return sorted({"litellm", "pydantic", "openai", "httpx", "aiohttp"} & set(sys.modules))
engine = ask().engine
print(json.dumps([engine, loaded(), ask(engine="litellm").engine, loaded()]))
"""


@streams
@pytest.mark.parametrize("model", ["openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5"])
def test_a_native_call_loads_neither_litellm_nor_what_comes_with_it(right, model, streamed):
    arguments = [base_of(right, model), model, str(streamed)]
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, *arguments],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    engine, loaded, other, later = json.loads(ran.stdout)
    assert (engine, loaded) == ("native", [])
    assert other == "litellm"
    assert "litellm" in later  # so the first half can fail


@streams
def test_a_registered_provider_is_asked_natively(demo, streamed, monkeypatch):
    monkeypatch.setenv("NDOORS_ACME_API_KEY", "the-key-of-acme-0123456789")
    omni_bridge.register_provider(
        "ndoors_acme",
        "openai_chat",
        demo.api_base,
        key_env="NDOORS_ACME_API_KEY",
        headers={"x-team": "blue"},
        replace=True,
    )
    model = "ndoors_acme/x"
    reply = omni_bridge.stream_sync(HI, model).reply() if streamed else omni_bridge.chat(HI, model)
    assert (reply.content, reply.engine, reply.provider) == (SAID, "native", "ndoors_acme")
    assert demo.last.json()["model"] == "x"
    assert demo.last.headers["authorization"] == "Bearer the-key-of-acme-0123456789"
    assert demo.last.headers["x-team"] == "blue"


def test_a_field_of_a_provider_that_cannot_be_is_named_with_what_was_meant(demo):
    with pytest.raises(omni_bridge.InvalidRequestError, match=r"protocol.*did you mean \"openai_chat\""):
        omni_bridge.register_provider("ndoors_bad", "openai_chatt", demo.api_base)
    with pytest.raises(omni_bridge.InvalidRequestError, match=r"key_envs.*key_env\b"):
        omni_bridge.register_provider("ndoors_bad", "openai_chat", demo.api_base, key_envs="X_API_KEY")
    with pytest.raises(omni_bridge.InvalidRequestError, match="replace"):
        omni_bridge.register_provider("openai", "openai_chat", demo.api_base)


def test_the_cost_follows_from_usage_and_price(demo):
    usage = ask("openai/gpt-4o-mini", demo.api_base, engine="native").usage
    assert (usage.input_tokens, usage.output_tokens) == (2, 13)
    assert usage.cost_usd == pytest.approx(2 * 0.15e-6 + 13 * 0.60e-6)
    assert ask("openai/no-such-model-of-theirs", demo.api_base, engine="native").usage.cost_usd is None


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_burst_of_50_calls_ten_times_opens_50_connections(streamed):
    async def one(server):
        options = {"api_base": server.api_base, "api_key": "k", "engine": "native"}
        if not streamed:
            return await omni_bridge.achat(HI, "openai/gpt-4o-mini", **options)
        async with omni_bridge.stream(HI, "openai/gpt-4o-mini", **options) as stream:
            return await stream.reply()

    async def main():
        with DemoServer() as server:
            for _ in range(10):
                server.hold("answer")  # all 50 are open at the same moment
                server.forget()
                calls = [asyncio.ensure_future(one(server)) for _ in range(50)]
                await server.await_for(lambda server: len(server.requests) == 50)
                server.release()
                replies = await asyncio.gather(*calls)
                assert {(reply.content, reply.engine) for reply in replies} == {(SAID, "native")}
            assert (server.requests_total, server.connections_total) == (500, 50)

    asyncio.run(main())
