"""The HTTP door as OpenAPI, from the pydantic models of `types`: documentation that validates nothing."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from pydantic import TypeAdapter

from . import types

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaMode

__all__ = ["openapi"]

Json = dict[str, Any]

REF = "#/components/schemas/{model}"
STATUSES = {
    "400": "the request is not valid, or this server does not take it",
    "401": "the server's token, or the provider's key, is missing or wrong",
    "402": "the provider's account has no credit left",
    "403": "Host, Origin or a field is not allowed here; or the provider forbids it",
    "404": "no such model",
    "408": "a time limit passed",
    "413": "the body is too large",
    "429": "too many requests; see Retry-After",
    "500": "a fault in the server",
    "502": "the provider failed, or could not be reached",
    "503": "overloaded; or the engine cannot run",
}


@lru_cache(maxsize=1)
def openapi(version: str) -> str:
    """The OpenAPI document as JSON text."""
    parts: list[tuple[str, JsonSchemaMode, TypeAdapter[Any]]] = [
        (name, "validation", TypeAdapter(cast("type[Any]", kind)))
        for name, kind in (
            ("Request", types.Request),
            ("Reply", types.Reply),
            ("Event", types.Event),
            ("Error", types.Error),
        )
    ]
    found, definitions = TypeAdapter.json_schemas(parts, ref_template=REF)
    schemas: Json = dict(definitions.get("$defs", {}))
    for (name, _), schema in found.items():
        if schema != {"$ref": REF.format(model=name)}:
            schemas[str(name)] = schema
    schemas["ErrorAnswer"] = {
        "type": "object",
        "properties": {"error": _ref("Error")},
        "required": ["error"],
    }
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "omni_bridge",
            "version": version,
            "description": "One LLM call, for every provider.",
        },
        "paths": {
            "/chat": {
                "post": _call("One call, answered when it is done.", "application/json", _ref("Reply"))
            },
            "/chat/stream": {
                "post": _call(
                    "One call, its events as they come: `event: <type>`, `data: <event>`; last is `done`, "
                    "`error` or `cancelled`.",
                    "text/event-stream",
                    _ref("Event"),
                )
            },
            "/models": {"get": _get("What is known of models.", {"type": "object"})},
            "/health": {
                "get": _get("That the server is up, and which contract it speaks.", {"type": "object"})
            },
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        # Both with and without: which of them holds depends on how the server was started.
        "security": [{}, {"token": []}],
    }
    return json.dumps(document, ensure_ascii=False)


def _ref(name: str) -> Json:
    return {"$ref": REF.format(model=name)}


def _content(kind: str, schema: Json) -> Json:
    return {"content": {kind: {"schema": schema}}}


def _call(summary: str, kind: str, schema: Json) -> Json:
    errors = {
        status: {"description": text, **_content("application/json", _ref("ErrorAnswer"))}
        for status, text in STATUSES.items()
    }
    return {
        "summary": summary,
        "requestBody": {"required": True, **_content("application/json", _ref("Request"))},
        "responses": {"200": {"description": "the answer", **_content(kind, schema)}, **errors},
    }


def _get(summary: str, schema: Json) -> Json:
    return {
        "summary": summary,
        "responses": {"200": {"description": "the answer", **_content("application/json", schema)}},
    }
