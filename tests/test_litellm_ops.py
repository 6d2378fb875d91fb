"""The ops beside chat: models, model_info, count_tokens, doctor, warm_up."""

from __future__ import annotations

import asyncio

import pytest
from omni_bridge import _litellm
from omni_bridge.errors import NotFoundError, OmniError


def op(name, **document):
    events = []

    class Sink:
        def emit(self, event):
            events.append(event)
            return False

        async def drain(self):
            pass

    async def main():
        try:
            await _litellm.HANDLERS[name]({"op": name, **document}, Sink())
        finally:
            await _litellm.aclose()

    asyncio.run(main())
    assert [event["type"] for event in events] == ["result"]
    return events[0]["data"]


def test_models_come_from_litellms_own_catalogue():
    models = op("models")
    ids = [model["id"] for model in models]
    assert len(models) > 500
    assert len(ids) == len(set(ids))
    assert "openai/gpt-4o" in ids
    assert all(model["id"].startswith(f"{model['provider']}/") for model in models if model["provider"])
    assert {model["provider"] for model in op("models", provider="anthropic")} == {"anthropic"}


def test_model_info_of_one_model():
    info = op("model_info", model="anthropic/claude-sonnet-4-5")
    assert (info["id"], info["provider"]) == ("anthropic/claude-sonnet-4-5", "anthropic")
    assert info["max_input_tokens"] >= 200_000
    assert info["input_cost_per_token"] > 0
    assert info["supports_tools"] is True
    assert op("model_info", model="openai/responses/gpt-5")["id"] == "openai/responses/gpt-5"
    with pytest.raises(NotFoundError):
        op("model_info", model="openai/no-such-model")


def test_tokens_are_counted_without_asking_anybody():
    def count(messages, **more):
        return op("count_tokens", request={"model": "openai/gpt-4o", "messages": messages, **more})[
            "input_tokens"
        ]

    short = count([{"role": "user", "content": "hello"}])
    assert 0 < short < count([{"role": "user", "content": "hello " * 50}])
    tool = {
        "type": "function",
        "function": {"name": "f", "description": "d", "parameters": {"type": "object"}},
    }
    assert short < count([{"role": "user", "content": "hello"}], tools=[tool])
    picture = {"type": "image_url", "image_url": {"url": "http://10.0.0.1/never-fetched.png"}}
    assert short < count([{"role": "user", "content": [{"type": "text", "text": "hello"}, picture]}])


def test_doctor_names_keys_and_never_shows_them(monkeypatch):
    monkeypatch.setenv("MADE_UP_API_KEY", "canary-value-0123456789")
    told = op("doctor")
    assert "MADE_UP_API_KEY" in told["keys"]
    assert "canary-value" not in repr(told)
    assert told["litellm"].count(".") == 2
    assert told["mcp"]


def test_warm_up_asks_nobody():
    assert op("warm_up") == {"ready": True}


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"model": "no-such-provider/x"}, "not_found"),
        ({"model": "openai/gpt-4o", "n": 2}, "unsupported"),
    ],
)
def test_what_cannot_be_asked(request_, code):
    with pytest.raises(OmniError) as caught:
        op("chat", request={"messages": [{"role": "user", "content": "hi"}], "api_key": "k", **request_})
    assert caught.value.code == code
