"""The frozen classes are equal to the models of `types.py`: attributes, documents, copies, pickles."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any, get_args

import omni_bridge
import pytest
from omni_bridge import _native, errors, types


def expanded(value: Any) -> Any:
    """Vectors write long texts as `{"$repeat": [text, times]}`."""
    if isinstance(value, dict):
        if "$repeat" in value:
            text, times = value["$repeat"]
            return text * times
        return {key: expanded(item) for key, item in value.items()}
    return [expanded(item) for item in value] if isinstance(value, list) else value


FILES = sorted((Path(__file__).parent / "vectors").glob("*.json"))
VECTORS = [expanded(json.loads(path.read_text())) for path in FILES]
REPLIES = [vector["document"] for vector in VECTORS if vector["kind"] == "reply"]
EVENTS = [event for vector in VECTORS if vector["kind"] == "events" for event in vector["documents"]]
EVENT_MODELS = list(get_args(get_args(types.Event)[0]))
SAME = [
    (_native.ChatReply, types.Reply),
    (_native.Message, types.Message),
    (_native.ToolCall, types.ToolCall),
    (_native.Function, types.Function),
    (_native.Custom, types.Custom),
    (_native.Usage, types.Usage),
    (_native.CacheCreation, types.CacheCreation),
    (_native.Attempt, types.Attempt),
    *((getattr(_native, model.__name__), model) for model in EVENT_MODELS),
]
PARTS = [types.TextPart, types.ImagePart, types.AudioPart, types.FilePart, types.ReasoningPart]
PARTS += [types.ProviderPart, types.ToolCallMark]


def attributes(native: type) -> set[str]:
    shared = {"from_json", "from_dict", "to_json", "to_dict", "model_dump"}
    return {name for name in dir(native) if not name.startswith("_")} - shared - {"model_extra"}


def looked_at(value: Any) -> Any:
    """The document again, from attributes alone."""
    if isinstance(value, errors.OmniError):
        return value.to_dict()
    if isinstance(value, list):
        return [looked_at(item) for item in value]
    if type(value).__module__ != "omni_bridge._native":
        return value
    names = {"from_": "from", "five_minutes": "5m", "one_hour": "1h"}
    fields = attributes(type(value))
    seen = {names.get(name, name): looked_at(getattr(value, name)) for name in fields}
    return seen | getattr(value, "model_extra", {})


def without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    return [without_none(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("native", "model"), SAME, ids=lambda kind: kind.__name__)
def test_attributes_are_those_of_the_model(native: type, model: Any):
    assert attributes(native) == set(model.model_fields)


def test_a_part_has_the_attributes_of_every_kind_of_part():
    assert attributes(_native.Part) == {name for model in PARTS for name in model.model_fields}


@pytest.mark.parametrize("document", REPLIES, ids=lambda document: str(document["finish_reason"]))
def test_a_reply_is_equal_to_its_model(document: dict[str, Any]):
    reply = omni_bridge.ChatReply.from_dict(document)
    assert reply.to_dict() == document == json.loads(reply.to_json())
    model = types.Reply.model_validate(document)
    assert without_none(reply.model_dump()) == without_none(model.model_dump())
    assert reply.model_dump(exclude_none=True) == model.model_dump(exclude_none=True)
    assert without_none(looked_at(reply)) == without_none(document)


def test_every_event_is_equal_to_its_model():
    assert {event["type"] for event in EVENTS} == set(get_args(types.EventType)), "a vector for each type"
    for document in EVENTS:
        event = _native.Event.from_dict(document)
        model = types.event(json.loads(json.dumps(document)))
        assert type(event).__name__ == type(model).__name__
        assert isinstance(event, omni_bridge.Event)
        assert event.type == model.type
        assert without_none(event.to_dict()) == without_none(model.model_dump())
        assert event.model_dump(exclude_none=True) == model.model_dump(exclude_none=True)
        assert without_none(looked_at(event)) == without_none(event.to_dict())


def test_model_dump_without_none():
    message = omni_bridge.ChatReply.from_dict(REPLIES[0]).message
    assert message.model_dump(mode="json", exclude_none=True) == without_none(message.to_dict())
    usage = _native.Usage.from_dict({"input_tokens": 1, "raw": {"a": None, "b": [None, {"c": None}]}})
    left = usage.model_dump(exclude_none=True)
    assert left == {"input_tokens": 1, "raw": {"a": None, "b": [None, {"c": None}]}}, (
        "a null of the provider stays"
    )


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_and_pickles_are_equal(again: Any):
    reply = omni_bridge.ChatReply.from_dict(REPLIES[0])
    values = [reply, reply.message, reply.usage, *reply.reasoning, *reply.tool_calls, *reply.attempts]
    values += [_native.Event.from_dict(event) for event in EVENTS]
    for value in values:
        twin = again(value)
        assert twin == value
        assert type(twin) is type(value)


def test_values_that_differ_are_not_equal():
    one, other = (_native.Event.from_dict({"type": "text_delta", "index": 0, "text": text}) for text in "ab")
    assert one != other
    assert one != one.to_dict()
    assert _native.Usage.from_dict({"input_tokens": 0}) != _native.Usage.from_dict({})


def test_they_are_frozen():
    event = _native.Event.from_dict({"type": "text_delta", "index": 0, "text": "a"})
    with pytest.raises(AttributeError):
        event.text = "b"
    with pytest.raises(AttributeError):
        event.more = 1
    reply = omni_bridge.ChatReply.from_dict(REPLIES[0])
    reply.tool_calls.append(None)
    assert None not in reply.tool_calls, "what is handed out is a copy"


def test_match_by_class():
    match _native.Event.from_dict({"type": "tool_call_start", "index": 1, "id": "c", "name": "add"}):
        case omni_bridge.ToolCallStartEvent(type="tool_call_start", index=index, name=name):
            assert (index, name) == (1, "add")
        case _:
            pytest.fail("no match")


def test_unknown_keys_are_kept():
    document = {"role": "user", "content": [{"type": "text", "text": "a", "new": 1}], "later": {"x": [1]}}
    message = _native.Message.from_dict(document)
    assert message.model_extra == {"later": {"x": [1]}}
    assert message.content[0].model_extra == {"new": 1}
    assert message.to_dict() == document


def test_surrogates_are_mended():
    event = _native.Event.from_dict({"type": "text_delta", "index": 0, "text": "a\ud800b"})
    assert event.text == "a\ufffdb"
    assert (
        _native.Event.from_json('{"type":"text_delta","index":0,"text":"\\ud83d\\ude00\\udc00"}').text
        == "😀\ufffd"
    )


@pytest.mark.parametrize("text", ["", "{", "[]", '{"type":"nothing"}', b"\xff", "null"])
def test_what_is_no_event_is_an_invalid_request(text: Any):
    with pytest.raises(errors.InvalidRequestError, match="no event of the contract"):
        _native.Event.from_json(text)


def test_reprs_are_bounded_and_show_no_prompt():
    long = "Zebra" * 10_000
    message = _native.Message.from_dict({"role": "user", "content": "my secret prompt"})
    assert repr(message) == "Message(role='user', content=<16 characters>)"
    event = _native.Event.from_dict({"type": "text_delta", "index": 0, "text": long})
    assert repr(event).startswith("TextDeltaEvent(index=0, text='ZebraZebra")
    shown = [repr(_native.Event.from_dict(document)) for document in EVENTS]
    shown += [repr(omni_bridge.ChatReply.from_dict(document)) for document in REPLIES]
    shown += [repr(event), repr(_native.Part.from_dict({"type": "text", "text": long}))]
    assert max(map(len, shown)) < 400
    request = _native.Request([{"role": "user", "content": long}], "openai/x", None, {"api_key": "sk-secret"})
    assert repr(request) == "Request(model='openai/x', messages=<1>)"
    assert repr(_native.Event.from_dict({"type": "text_delta", "index": 1, "text": "a'\n\\\x07"})) == (
        'TextDeltaEvent(index=1, text="a\'\\n\\\\\\u{7}")'
    )


def test_errors_in_events_are_exceptions_of_their_class():
    document = next(event for event in EVENTS if event["type"] == "error")
    event = _native.Event.from_dict(document)
    assert type(event.error) is errors.error_for(document["error"]["code"])
    assert event.error.to_dict() == document["error"]


@pytest.mark.parametrize(
    "vector", [v for v in VECTORS if v["kind"] == "error"], ids=lambda v: v["document"]["code"]
)
def test_every_code_becomes_its_class(vector: dict[str, Any]):
    attempt = _native.Attempt.from_dict({"model": "m", "engine": None, "error": vector["document"]})
    assert type(attempt.error).__name__ == vector["traits"]["python"]
    assert attempt.error.to_dict() == vector["document"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("roles", get_args(types.Role)),
        ("finish_reasons", get_args(types.FinishReason)),
        ("codes", get_args(types.ErrorCode)),
        ("event_types", get_args(types.EventType)),
        ("request_fields", tuple(types.Request.model_fields)),
    ],
)
def test_closed_sets_are_the_same_in_rust_and_python(name: str, words: tuple[str, ...]):
    rust = dict(_native.closed_sets())[name]
    assert rust == list(words), f"types.py is stale; write Literal{rust}"


def test_the_parameters_of_chat_are_the_fields_of_a_request():
    fields = set(dict(_native.closed_sets())["request_fields"]) - {"model", "messages", "tools"}
    assert set(omni_bridge.ChatParams.__annotations__) == fields
