"""The HTTP door as OpenAPI, from the pydantic models of `types`: documentation that validates nothing."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast, get_args, get_type_hints

from pydantic import TypeAdapter

from . import agent_types, types

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


@lru_cache(maxsize=2)
def openapi(version: str, *, sessions: bool = False) -> str:
    """The OpenAPI document as JSON text; with an agent's sessions if the server has one."""
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
    if sessions:
        schemas.update(_session_schemas())
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
            **(_session_paths() if sessions else {}),
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


def _errors(**other: str) -> Json:
    return {
        status: {"description": text, **_content("application/json", _ref("ErrorAnswer"))}
        for status, text in {**STATUSES, **other}.items()
    }


def _call(summary: str, kind: str, schema: Json) -> Json:
    return {
        "summary": summary,
        "requestBody": {"required": True, **_content("application/json", _ref("Request"))},
        "responses": {"200": {"description": "the answer", **_content(kind, schema)}, **_errors()},
    }


def _get(summary: str, schema: Json) -> Json:
    return {
        "summary": summary,
        "responses": {"200": {"description": "the answer", **_content("application/json", schema)}},
    }


def _session_schemas() -> Json:
    text, count = {"type": "string"}, {"type": "integer", "minimum": 0}
    kinds = [get_args(get_type_hints(event)["event_type"])[0] for event in get_args(agent_types.AgentEvent)]
    return {
        "AgentEvent": {
            "type": "object",
            "description": "One fact of a session: durable with a `seq`, or ephemeral with an `after_seq`.",
            "properties": {
                "v": {"const": 1},
                "seq": count,
                "after_seq": count,
                "timestamp_ms": count,
                "session_id": text,
                "turn_id": text,
                "call_id": text,
                "parent": text,
                "event_type": {"enum": kinds},
                "payload": {"type": "object"},
            },
            "required": ["v", "timestamp_ms", "session_id", "event_type", "payload"],
        },
        "Run": {
            "type": "object",
            "properties": {
                "input": {"anyOf": [text, {"type": "object"}], "description": "A text, or a message."},
                "edit": {**text, "description": "The message whose place the input takes."},
                "regenerate": {
                    **text,
                    "description": "Without an input: the message to answer again; empty for the last.",
                },
                "title": {**text, "description": "Of a new session; none is made then."},
            },
            "additionalProperties": False,
        },
        "Decision": {
            "type": "object",
            "properties": {
                "call_id": {**text, "description": "That of `tool.execution.proposed`."},
                "decision": {"enum": ["approve", "deny"]},
                "scope": {"enum": ["once", "session", "always"], "description": "With approve."},
                "reason": {**text, "description": "With deny: why, for the model."},
            },
            "required": ["call_id", "decision"],
            "additionalProperties": False,
        },
    }


def _session_paths() -> Json:
    text, number, flag = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
    session = {"name": "session_id", "in": "path", "required": True, "schema": text}

    def route(
        method: str, summary: str, body: Json | None = None, ok: str = "200", **parameters: Json
    ) -> Json:
        stream = "server-sent events" in summary
        answer = (
            _content("text/event-stream", _ref("AgentEvent"))
            if stream
            else _content("application/json", {"type": "object"})
        )
        given = [{"name": name, "in": "query", "schema": schema} for name, schema in parameters.items()]
        asks = {"requestBody": {"required": True, **_content("application/json", body)}} if body else {}
        return {
            method: {
                "summary": summary,
                "parameters": given,
                **asks,
                "responses": {
                    ok: {"description": "the answer", **answer},
                    **_errors(**{"404": "no such session, or none of its turns runs here"}),
                },
            }
        }

    return {
        "/sessions": route("get", "The sessions, the newest first.", limit=number, after=text),
        "/sessions/{session_id}": {
            "parameters": [session],
            **route("get", "What is known of a session, and the messages up to its leaf.", last=number),
        },
        "/sessions/{session_id}/run": {
            "parameters": [session],
            **route(
                "post",
                "A turn as server-sent events: `event: <event_type>`, `id: <seq>` if it is durable, "
                "`data: <event>`. The session `new` is a new one. A client that leaves cancels the turn, "
                "unless `detach` is true.",
                _ref("Run"),
                detach=flag,
            ),
        },
        "/sessions/{session_id}/cancel": {
            "parameters": [session],
            **route("post", "Stops the turn; its last event tells when it has.", ok="202"),
        },
        "/sessions/{session_id}/approve": {
            "parameters": [session],
            **route("post", "Decides about a tool call that waits for it.", _ref("Decision")),
        },
        "/sessions/{session_id}/events": {
            "parameters": [session],
            **route(
                "get",
                "The events after a `seq` (or after `Last-Event-ID`) as server-sent events, and those that "
                "follow, unless `follow` is false.",
                after=number,
                follow=flag,
            ),
        },
    }
