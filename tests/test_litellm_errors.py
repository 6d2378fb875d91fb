"""LiteLLM's exceptions, each through our map; and what may stand in a message."""

from __future__ import annotations

import importlib
import inspect

import pytest
from omni_bridge import _litellm
from omni_bridge._litellm_call import Call
from omni_bridge._litellm_errors import (
    BY_CLASS,
    BY_STATUS,
    BY_WORD,
    MAX_MESSAGE,
    by_class,
    chain,
    classify,
    clean,
)
from omni_bridge.errors import OmniError, error_for


def litellm_exceptions():
    _litellm._litellm()
    module = importlib.import_module("litellm.exceptions")
    return [
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, BaseException) and kind.__module__ == "litellm.exceptions"
    ]


def made(kind):
    """An exception of this class, its required arguments made up by name."""
    import httpx

    request = httpx.Request("POST", "https://provider.example/v1")
    values = {
        "response": httpx.Response(400, request=request),
        "request": request,
        "status_code": 500,
        "current_cost": 2.0,
        "max_budget": 1.0,
        "original_exception": None,
        "failures": [{"vector_store_id": "v", "error": "gone"}],
    }
    given = {
        name: values.get(name, "said the-key-0123456789")
        for name, parameter in inspect.signature(kind.__init__).parameters.items()
        if name != "self"
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and (parameter.default is parameter.empty or name == "message")
    }
    return kind(**given)


@pytest.fixture
def call():
    request = {
        "model": "openai/gpt-4o",
        "messages": [{"role": "user", "content": "hi"}],
        "api_key": "the-key-0123456789",
    }
    return Call(_litellm._litellm(), {"request": request}, None, None)


def test_every_exception_of_litellm_has_a_code_of_its_own_in_the_table(call):
    kinds = litellm_exceptions()
    assert len(kinds) > 25
    for kind in kinds:
        problem = made(kind)
        assert kind.__name__ in BY_CLASS, f"add {kind.__name__} to BY_CLASS in _litellm_errors.py"
        assert by_class(problem) == BY_CLASS[kind.__name__]
        call.exchange.asked = 1
        call.exchange.answered = 1
        error = call._error(problem)
        assert isinstance(error, OmniError)
        assert error.code == BY_CLASS[kind.__name__], kind
        assert "the-key-0123456789" not in repr(error)


def test_an_unknown_subclass_takes_the_code_of_its_nearest_ancestor():
    module = importlib.import_module("litellm.exceptions")
    kind = type("SomethingNew", (module.RateLimitError,), {})
    assert by_class(kind.__new__(kind)) == "rate_limit"
    assert by_class(ValueError()) is None


def test_our_own_error_inside_theirs_comes_out():
    from omni_bridge.errors import AuthenticationError

    ours = AuthenticationError("no")
    outer = RuntimeError("wrapped")
    outer.__cause__ = ours
    assert chain(outer) == [outer, ours]


def test_the_tables_name_codes_of_the_contract():
    for table in (BY_CLASS, BY_STATUS, BY_WORD):
        for code in table.values():
            error_for(code)


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (
            429,
            {"error": {"code": "insufficient_quota", "message": "You exceeded your current quota"}},
            "quota",
        ),
        (429, {"error": {"type": "rate_limit_error", "message": "slow"}}, "rate_limit"),
        (400, {"error": {"message": "Your credit balance is too low to access the API"}}, "quota"),
        (400, {"error": {"message": "prompt is too long: 210000 tokens > 200000 maximum"}}, "context_length"),
        (
            400,
            {"error": {"message": "The input token count (9) exceeds the maximum number of tokens allowed"}},
            "context_length",
        ),
        (400, [{"error": {"status": "INVALID_ARGUMENT", "message": "API key not valid."}}], "authentication"),
        (400, {"error": {"code": "content_filter", "message": "no"}}, "content_filter"),
        (418, {"error": "teapot"}, "invalid_request"),
        (599, b"", "provider"),
        (None, {"type": "overloaded_error", "message": "Overloaded"}, "overloaded"),
        (None, {"code": 429, "message": "upstream"}, "rate_limit"),
        (None, {"message": "who knows"}, None),
    ],
)
def test_what_a_provider_says_of_its_failure(status, body, code):
    assert classify(status, body)[0] == code


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdefghijklmnop",
        "Bearer abc.def-ghi_jkl",
        "AIzaSyA1234567890abcdef",
        "ya29.a0AfH6SMBx-longtoken",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
        "gsk_abcdefghijklmnop",
        "xai-abcdefghijklmnop",
        "the plain value of a header",
    ],
)
def test_what_looks_like_a_key_does_not_stand_in_a_message(secret):
    message = clean(
        f"Incorrect key provided: {secret}. Find yours at …", secrets=["the plain value of a header"]
    )
    assert secret.removeprefix("Bearer ") not in message
    assert message.startswith("Incorrect key provided: ")


def test_messages_are_bounded_and_do_not_repeat_the_prompt():
    prompt = "tell me everything about the plan " * 10
    assert prompt not in clean(f"bad input: {prompt}", prompts=[prompt])
    assert len(clean("x" * 1_000_000)) <= MAX_MESSAGE
    assert clean("a\x00b\n\tc\ud800") == "a b c?"
