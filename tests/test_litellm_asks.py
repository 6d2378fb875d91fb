"""What LiteLLM is asked with: nothing that steers it, no retries of its own, no parameter lost on the way."""

from __future__ import annotations

import asyncio
import json

import pytest
from omni_bridge import _litellm
from omni_bridge._translate import request_kwargs
from omni_bridge._translate_mend import Mender
from omni_bridge.errors import OmniError, UnsupportedError
from omni_bridge.testing import HttpServer


class Broken(HttpServer):
    async def answer(self, exchange):
        await exchange.reply(500, {"error": {"message": "it broke"}})


class Silent:
    def emit(self, _):
        return False

    async def drain(self):
        pass


def ask(model, *, base=None, **more):
    """The error of the call."""
    request = {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}
    if base:
        request.update(api_base=base, api_key="k")

    async def main():
        try:
            await _litellm.chat({"op": "chat", "request": request, "config": {}}, Silent())
        finally:
            await _litellm.aclose()

    with pytest.raises(OmniError) as caught:
        asyncio.run(main())
    return caught.value


@pytest.mark.parametrize(
    "model",
    [
        "openai/gpt-4o",
        "openai/responses/gpt-5",
        "azure/x",
        "groq/x",
        "ai21/x",
        "deepinfra/x",
        "nvidia_nim/x",
        "sambanova/x",
        "huggingface/org/x",
        "gradient_ai/x",
    ],
)
def test_a_failed_call_is_asked_once_and_without_litellms_own_words(model):
    with Broken() as server:
        error = ask(model, base=server.url + "/v1")
        assert len(server.requests) == 1, error
        assert "max_retries" not in json.loads(server.last.body)
    assert (error.code, error.status) == ("provider", 500)


@pytest.mark.parametrize("model", ["openai/not-in-any-list", "openai/gpt-4o", "groq/x", "openrouter/a/b"])
def test_user_is_sent_for_models_that_litellm_does_not_know(model):
    with Broken() as server:
        ask(model, base=server.url + "/v1", user="someone")
        assert json.loads(server.last.body)["user"] == "someone"


@pytest.mark.parametrize("model", ["openai/gpt-4o", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash"])
def test_a_missing_key_is_a_matter_of_authentication(model):
    error = ask(model)
    assert error.code == "authentication"
    assert not error.retryable


def signed(options):
    request = {
        "model": "bedrock/anthropic.claude-3-haiku-20240307-v1:0",
        "messages": [{"role": "user", "content": "hi"}],
        "provider_options": {"bedrock": options},
    }
    return request_kwargs(request, Mender(request, "bedrock", lambda: "n"), markers=False)


@pytest.mark.parametrize(
    "name", ["default_headers", "tools", "functions", "mcp_servers", "api_base", "proxy", "something_new"]
)
def test_no_option_of_a_signed_provider_steers_litellm(name):
    with pytest.raises(UnsupportedError, match=name):
        signed({name: "x"})


def test_options_that_are_fields_of_a_signed_body_go_in():
    kwargs = signed({"guardrailConfig": {"guardrailIdentifier": "g"}, "top_k": 5})
    assert (kwargs["guardrailConfig"], kwargs["top_k"]) == ({"guardrailIdentifier": "g"}, 5)
