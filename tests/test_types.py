"""The models: what they refuse Rust refuses, what they keep Rust keeps."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from omni_bridge import errors, types
from omni_bridge._native import Request
from pydantic import ValidationError

USER: dict[str, Any] = {"role": "user", "content": "Hello"}


def test_a_chat_needs_no_models(root):
    program = (
        "import sys, omni_bridge; omni_bridge.chat; omni_bridge.ChatReply; print('pydantic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_models_may_stand_where_dicts_may():
    message = types.Message(
        role="assistant",
        content=[types.TextPart(text="a"), types.ToolCallMark(id="c")],
        tool_calls=[types.ToolCall(id="c", function=types.Function(name="f", arguments="{"))],
    )
    tool = types.FunctionTool(function={"name": "f"})
    request = Request([message], "a/b", [tool], {"timeout": types.Timeouts(idle=1.0).model_dump()})
    assert request.get("messages") == [
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "a"}, {"type": "tool_call", "id": "c"}],
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{"}}],
        }
    ]


def test_the_repr_of_a_request_shows_no_key():
    request = types.Request(
        model="a/b",
        messages=[types.Message(role="user", content="x")],
        api_key="secret",
        headers={"Authorization": "secret"},
        provider_options={"a": {"key": "secret"}},
    )
    assert "secret" not in repr(request)


def test_an_event_document_finds_its_model():
    event = types.event({"type": "text_delta", "index": 0, "text": "x"})
    assert isinstance(event, types.TextDeltaEvent)
    with pytest.raises(ValidationError):
        types.event({"type": "novel"})


# What the contract says is wrong both must refuse: the models in an editor, Rust at the door.
WRONG: list[tuple[str, Any]] = [
    ("temprature", 1),
    ("temperature", "warm"),
    ("temperature", True),
    ("max_tokens", 1.5),
    ("max_tokens", -1),
    ("parallel_tool_calls", 1),
    ("stop", [1]),
    ("timeout", 0),
    ("timeout", {"conect": 1}),
    ("timeout", {"idle": -1}),
    ("retry", {"max_wait": -1}),
    ("retry", "often"),
    ("engine", "nativ"),
    ("tool_choice", "whatever"),
    ("headers", {"X": 1}),
    ("provider_options", {"store": True}),
    ("fallbacks", [1]),
    ("messages", []),
    ("messages", [{"role": "robot"}]),
    ("messages", [{"content": "x"}]),
    ("messages", [{"role": "user", "content": 1}]),
    ("messages", [{"role": "user", "content": [{"text": "no type"}]}]),
    ("messages", [{"role": "user", "content": [{"type": "text"}]}]),
    ("messages", [{"role": "user", "content": [{"type": "provider", "provider": "p", "kind": "k"}]}]),
    ("messages", [{"role": "assistant", "tool_calls": [{"id": "1"}]}]),
    (
        "messages",
        [{"role": "assistant", "tool_calls": [{"id": "1", "type": "x", "function": {"name": "f"}}]}],
    ),
    (
        "messages",
        [{"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {}}}]}],
    ),
    ("tools", [{"type": "web_search"}]),
    ("tools", [{"type": "function"}]),
    ("tools", [{"type": "provider", "provider": "p"}]),
]


@pytest.mark.parametrize(("field", "value"), WRONG, ids=lambda it: str(it)[:50])
def test_models_and_rust_refuse_the_same(field: str, value: Any):
    document = {"model": "a/b", "messages": [USER], field: value}
    with pytest.raises(ValidationError):
        types.Request.model_validate(document)
    fields = dict(document)
    with pytest.raises(errors.InvalidRequestError) as caught:
        Request(fields.pop("messages"), fields.pop("model"), fields.pop("tools", None), fields)
    assert caught.value.message.startswith(field)


RIGHT: list[tuple[str, Any]] = [
    ("temperature", 1),
    ("timeout", 3),
    ("retry", {}),
    ("stop", []),
    ("tool_choice", {"type": "function", "function": {"name": "f"}}),
    ("fallbacks", ["c/d", {"model": "e/f"}]),
    ("messages", [{"role": "user"}]),
    ("messages", [{"role": "user", "content": [{"type": "hologram"}]}]),
    (
        "messages",
        [
            {
                "role": "assistant",
                "content": [{"type": "provider", "provider": "p", "kind": "k", "data": None}],
            }
        ],
    ),
    ("messages", [{"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f"}}]}]),
]


@pytest.mark.parametrize(("field", "value"), RIGHT, ids=lambda it: str(it)[:50])
def test_models_and_rust_take_the_same(field: str, value: Any):
    document = {"model": "a/b", "messages": [USER], field: value}
    types.Request.model_validate(document)
    fields = dict(document)
    Request(fields.pop("messages"), fields.pop("model"), fields.pop("tools", None), fields)


def test_lone_surrogates_become_the_replacement_character_at_every_depth():
    message = types.Message.model_validate(
        {
            "role": "user",
            "content": [{"type": "text", "text": "a\ud83d", "x\udc00": ["\ud800", "\ud83d\ude00"]}],
        }
    )
    assert message.to_dict()["content"] == [
        {"type": "text", "text": "a\ufffd", "x\ufffd": ["\ufffd", "\U0001f600"]}
    ]
