"""The golden documents of tests/vectors through the models, the schema and the native classes.

Through whole calls of each door: test_vectors_doors.py. Through the Rust types: rust/core/tests/vectors.rs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from omni_bridge import _native, errors, types

FOLDER = Path(__file__).parent / "vectors"
KINDS = ("request", "reply", "events", "error")


def expanded(document: Any) -> Any:
    """The document with the text in place of each {"$repeat": [text, times]}."""
    if isinstance(document, dict):
        if document.keys() == {"$repeat"}:
            text, times = document["$repeat"]
            return text * times
        return {key: expanded(value) for key, value in document.items()}
    if isinstance(document, list):
        return [expanded(value) for value in document]
    return document


def load(path: Path) -> dict[str, Any]:
    return expanded(json.loads(path.read_text(encoding="ascii")))


VECTORS = {path.stem: load(path) for path in sorted(FOLDER.glob("*.json"))}


def of(*kinds: str) -> Any:
    names = [name for name, vector in VECTORS.items() if vector["kind"] in kinds]
    return pytest.mark.parametrize("name", names)


@pytest.fixture(scope="module")
def schema(root: Path) -> dict[str, Any]:
    return json.loads((root / "python/omni_bridge/schema.json").read_text(encoding="utf-8"))


def check(schema: dict[str, Any], model: str, document: Any) -> None:
    wanted = {"$ref": f"#/$defs/{model}", "$defs": schema["$defs"]}
    jsonschema.Draft202012Validator(wanted).validate(document)


def same(have: Any, want: Any) -> None:
    """Equal as JSON values, and of the same kind where Python's `==` is too kind: True is 1 and 1 is 1.0."""
    assert have == want
    assert json.loads(json.dumps(have), parse_float=repr) == json.loads(json.dumps(want), parse_float=repr)


def test_the_vectors_cover_what_the_contract_lists(schema: dict[str, Any]):
    jsonschema.Draft202012Validator.check_schema(schema)
    assert {vector["kind"] for vector in VECTORS.values()} == set(KINDS)
    text = json.dumps(list(VECTORS.values()))
    for word in (*get_args(types.ErrorCode), *get_args(types.EventType), *get_args(types.FinishReason)):
        assert f'"{word}"' in text, word
    for kind in ("request", "events"):
        largest = max(
            len(json.dumps(v, ensure_ascii=False).encode("utf-8", "replace"))
            for v in VECTORS.values()
            if v["kind"] == kind
        )
        assert largest > 1_000_000, kind


# ------------------------------------------------------------------------------------------------ requests


@of("request")
def test_a_request_through_models_schema_and_rust(name: str, schema: dict[str, Any]):
    vector = VECTORS[name]
    document = vector["document"]
    if "refused" in vector:
        refused = vector["refused"]
        with pytest.raises(errors.error_for(refused["code"])) as caught:
            _native.Request.from_json(json.dumps(document))
        assert caught.value.message.startswith(refused["starts"])
        if refused["code"] == "invalid_request":
            with pytest.raises(ValueError, match="validation error"):
                types.Request.model_validate(document)
            with pytest.raises(jsonschema.ValidationError):
                check(schema, "Request", document)
        return
    want = vector.get("expect", document)
    check(schema, "Request", document)
    same(_native.Request.from_json(json.dumps(document)).to_dict(), want)
    same(
        _native.Request.from_json(json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")).model,
        "openai/gpt-5",
    )
    # As users write it: the fields by name, dicts or models inside.
    model = types.Request.model_validate(document)
    same(model.to_dict(), want)
    for fields in (
        dict(document),
        model.model_dump(),
        model.to_dict(),
        {key: getattr(model, key) for key in types.Request.model_fields},
    ):
        made = _native.Request(fields.pop("messages"), fields.pop("model"), fields.pop("tools", None), fields)
        same(made.to_dict(), want)


# --------------------------------------------------------------------------------- replies, errors and events


@of("reply")
def test_a_reply_through_models_schema_and_native_classes(name: str, schema: dict[str, Any]):
    document = VECTORS[name]["document"]
    check(schema, "Reply", document)
    model = types.Reply.model_validate(document)
    same(model.to_dict(), document)
    for reply in (
        _native.ChatReply.from_json(json.dumps(document)),
        _native.ChatReply.from_dict(document),
        _native.ChatReply.from_dict(model),
    ):
        same(reply.to_dict(), document)
        same(reply.model_dump(), document)
        same(json.loads(reply.to_json()), document)
    # What is appended and sent again is the message as it stands.
    request = _native.Request([reply.message], "a/b", None, {})
    same(request.get("messages"), [document["message"]])


@of("error")
def test_an_error_through_models_schema_and_exceptions(name: str, schema: dict[str, Any]):
    document, traits = VECTORS[name]["document"], VECTORS[name]["traits"]
    check(schema, "Error", document)
    same(types.Error.model_validate(document).to_dict(), document)
    error = errors.OmniError.from_dict(document)
    same(error.to_dict(), document)
    assert {
        "number": error.number,
        "http_status": error.http_status,
        "python": type(error).__name__,
    } == traits


@of("events")
def test_events_through_models_schema_and_native_classes(name: str, schema: dict[str, Any]):
    vector = VECTORS[name]
    wanted = vector.get("expect_documents", vector["documents"])
    for document, want in zip(vector["documents"], wanted, strict=True):
        check(schema, "Event", document)
        model = types.event(document)
        same(model.to_dict(), want)
        for event in (
            _native.Event.from_json(json.dumps(document)),
            _native.Event.from_dict(document),
            _native.Event.from_dict(model),
        ):
            same(event.to_dict(), want)
            same(json.loads(event.to_json()), want)
            assert type(event).__name__ == type(model).__name__
            assert event.type == want["type"]
    same(wanted[-1]["reply"], vector["expect"])
    check(schema, "Reply", vector["expect"])
