"""Answers and errors in the shapes of the providers' wires: plain data, no I/O."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._json import Json

__all__ = [
    "CREATED",
    "Shape",
    "error_body",
    "error_event",
    "shape_of",
    "sse",
    "stream_events",
    "whole_answer",
]

Shape = Literal["openai", "responses", "anthropic", "gemini"]
CREATED = 1_700_000_000  # fixed, so that two runs answer alike
MODEL = "demo"

ERRORS: dict[int, tuple[str, str | None, str, str, str]] = {
    # status: (OpenAI's type, OpenAI's code, Anthropic's type, Gemini's status, message)
    400: ("invalid_request_error", None, "invalid_request_error", "INVALID_ARGUMENT", "not a valid request"),
    401: (
        "authentication_error",
        "invalid_api_key",
        "authentication_error",
        "UNAUTHENTICATED",
        "wrong API key",
    ),
    402: (
        "insufficient_quota",
        "insufficient_quota",
        "billing_error",
        "FAILED_PRECONDITION",
        "no credit left",
    ),
    403: ("permission_error", "permission_denied", "permission_error", "PERMISSION_DENIED", "not allowed"),
    404: (
        "invalid_request_error",
        "model_not_found",
        "not_found_error",
        "NOT_FOUND",
        "there is no such model",
    ),
    408: ("timeout", "timeout", "timeout_error", "DEADLINE_EXCEEDED", "the request timed out"),
    413: (
        "invalid_request_error",
        "too_large",
        "request_too_large",
        "INVALID_ARGUMENT",
        "too large a request",
    ),
    429: (
        "rate_limit_error",
        "rate_limit_exceeded",
        "rate_limit_error",
        "RESOURCE_EXHAUSTED",
        "too many requests",
    ),
    500: ("server_error", None, "api_error", "INTERNAL", "the provider failed"),
    502: ("server_error", None, "api_error", "UNAVAILABLE", "bad gateway"),
    503: ("server_error", "overloaded", "overloaded_error", "UNAVAILABLE", "the provider is not available"),
    529: ("server_error", "overloaded", "overloaded_error", "UNAVAILABLE", "the provider is overloaded"),
}

CONTEXT_LENGTH = (
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens. "
    "Please reduce the length of the messages."
)
KINDS: dict[str, tuple[int, str, str, str]] = {
    # name: (status, OpenAI's type, OpenAI's code, message as the real provider words it: clients go by its
    # words)
    "context_length": (400, "invalid_request_error", "context_length_exceeded", CONTEXT_LENGTH),
    "content_filter": (
        400,
        "invalid_request_error",
        "content_policy_violation",
        "Your request was rejected as a result of our safety system.",
    ),
    "quota": (
        429,
        "insufficient_quota",
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
}


def shape_of(target: str) -> Shape:
    """The wire that a request's URL belongs to.

    >>> shape_of("/f/429/v1beta/models/m:streamGenerateContent?alt=sse")
    'gemini'
    """
    path = urlsplit(target).path
    if "enerateContent" in path:
        return "gemini"
    if path.endswith("/messages"):
        return "anthropic"
    return "responses" if path.endswith("/responses") else "openai"


def sse(data: object, event: str | None = None) -> bytes:
    """One server-sent event."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return (f"event: {event}\n" if event else "").encode() + f"data: {text}\n\n".encode()


def error_body(shape: Shape, status: int, kind: str | None = None, message: str | None = None) -> Json:
    """The body of an error answer.

    Args:
        shape: whose wire.
        status: the HTTP status; one that no provider uses is shown as a 500 is.
        kind: a special case of `KINDS`, in OpenAI's words.
        message: the text, instead of the usual one.
    """
    openai_type, openai_code, anthropic_type, gemini_status, usual = ERRORS.get(status, ERRORS[500])
    if kind is not None:
        _, openai_type, openai_code, usual = KINDS[kind]
    text = message or usual
    if shape == "anthropic":
        return {"type": "error", "error": {"type": anthropic_type, "message": text}, "request_id": "req_demo"}
    if shape == "gemini":
        return {"error": {"code": status, "message": text, "status": gemini_status}}
    return {"error": {"message": text, "type": openai_type, "param": None, "code": openai_code}}


def error_event(shape: Shape, status: int = 529) -> bytes:
    """The error that a provider sends inside a stream that began with 200."""
    body = error_body(shape, status)
    if shape == "anthropic":
        return sse({key: body[key] for key in ("type", "error")}, "error")
    if shape == "responses":
        error = body["error"]
        return sse(
            {"type": "error", "code": error["code"], "message": error["message"], "param": None}, "error"
        )
    return sse(body)


def whole_answer(shape: Shape, text: str) -> Json:
    """An unstreamed answer of 3 tokens in and 5 out."""
    if shape == "anthropic":
        return {**_anthropic_message([{"type": "text", "text": text}], "end_turn"),
                "usage": {"input_tokens": 3, "output_tokens": 5}}  # fmt: skip
    if shape == "gemini":
        return _gemini(text, "STOP")
    if shape == "responses":
        return _response(text, "completed")
    return {
        "id": "chatcmpl-demo", "object": "chat.completion", "created": CREATED, "model": MODEL,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": _openai_usage(),
    }  # fmt: skip


def stream_events(shape: Shape, parts: Sequence[str]) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """A streamed answer as (what begins it and carries text, what finishes it, the last event)."""
    if shape == "anthropic":
        start = {**_anthropic_message([], None), "usage": {"input_tokens": 3, "output_tokens": 1}}
        head = [
            _typed({"type": "message_start", "message": start}),
            _typed(
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
            ),
        ]
        body = [
            _typed({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": part}})
            for part in parts
        ]
        end = {"stop_reason": "end_turn", "stop_sequence": None}
        finish = [
            _typed({"type": "content_block_stop", "index": 0}),
            _typed({"type": "message_delta", "delta": end, "usage": {"output_tokens": 5}}),
        ]
        return head + body, finish, [_typed({"type": "message_stop"})]
    if shape == "gemini":
        return [sse(_gemini(part, None)) for part in parts], [sse(_gemini("", "STOP"))], []
    if shape == "responses":
        item: Json = {
            "type": "message",
            "id": "msg_demo",
            "role": "assistant",
            "status": "in_progress",
            "content": [],
        }
        place = {"item_id": "msg_demo", "output_index": 0, "content_index": 0}
        text = "".join(parts)
        part_whole: Json = {"type": "output_text", "text": text, "annotations": []}
        events: list[Json] = [
            {"type": "response.created", "response": _response(None, "in_progress")},
            {"type": "response.output_item.added", "output_index": 0, "item": item},
            {"type": "response.content_part.added", **place, "part": {**part_whole, "text": ""}},
            *({"type": "response.output_text.delta", **place, "delta": part} for part in parts),
        ]
        finish_events: list[Json] = [
            {"type": "response.output_text.done", **place, "text": text},
            {"type": "response.content_part.done", **place, "part": part_whole},
            {"type": "response.output_item.done", "output_index": 0,
             "item": {**item, "status": "completed", "content": [part_whole]}},
        ]  # fmt: skip
        last: Json = {"type": "response.completed", "response": _response(text, "completed")}
        numbered = [
            {**event, "sequence_number": number}
            for number, event in enumerate([*events, *finish_events, last])
        ]
        sent = [_typed(event) for event in numbered]
        return sent[: len(events)], sent[len(events) : -1], sent[-1:]
    deltas: list[Json] = [{"role": "assistant", "content": ""}, *({"content": part} for part in parts)]
    usage_chunk: Json = {**_openai_chunk({}, None), "choices": [], "usage": _openai_usage()}
    return (
        [sse(_openai_chunk(delta, None)) for delta in deltas],
        [sse(_openai_chunk({}, "stop")), sse(usage_chunk)],
        [sse("[DONE]")],
    )


def _typed(data: Json) -> bytes:
    return sse(data, data["type"])


def _openai_usage() -> Json:
    return {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


def _openai_chunk(delta: Json, finish: str | None) -> Json:
    return {
        "id": "chatcmpl-demo", "object": "chat.completion.chunk", "created": CREATED, "model": MODEL,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }  # fmt: skip


def _anthropic_message(content: list[Json], stop_reason: str | None) -> Json:
    return {
        "id": "msg_demo", "type": "message", "role": "assistant", "model": MODEL, "content": content,
        "stop_reason": stop_reason, "stop_sequence": None,
    }  # fmt: skip


def _gemini(text: str, finish: str | None) -> Json:
    candidate: Json = {"index": 0, "content": {"role": "model", "parts": [{"text": text}]}}
    if finish is not None:
        candidate["finishReason"] = finish
    usage = {"promptTokenCount": 3, "candidatesTokenCount": 5, "totalTokenCount": 8}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": MODEL, "responseId": "demo"}


def _response(text: str | None, status: str) -> Json:
    output: list[Json] = []
    if text is not None:
        part: Json = {"type": "output_text", "text": text, "annotations": []}
        output = [
            {"type": "message", "id": "msg_demo", "role": "assistant", "status": status, "content": [part]}
        ]
    usage = None if text is None else {
        "input_tokens": 3, "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 8,
    }  # fmt: skip
    return {
        "id": "resp_demo", "object": "response", "created_at": CREATED, "model": MODEL, "status": status,
        "error": None, "incomplete_details": None, "instructions": None, "metadata": {}, "output": output,
        "parallel_tool_calls": True, "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0,
        "max_output_tokens": None, "previous_response_id": None, "text": {"format": {"type": "text"}},
        "truncation": "disabled", "usage": usage,
    }  # fmt: skip
