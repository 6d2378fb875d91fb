"""The golden streams of the contract as plain data; the other kinds are in vectors_data.py."""

from __future__ import annotations

from typing import Any

from vectors_data import (
    ENCRYPTED,
    PNG,
    ROUND_TRIP,
    SIGNATURE,
    UNICODE,
    VECTORS,
    Doc,
    error,
    reply,
    usage,
    vector,
)

__all__ = ["VECTORS"]

START: Doc = {
    "type": "start",
    "id": "msg_1",
    "request_id": "req_1",
    "model": "m-1",
    "provider": "openai",
    "engine": "litellm",
}
SAID: Doc = {"id": "msg_1", "request_id": "req_1", "model": "m-1", "provider": "openai", "engine": "litellm"}


def text(index: int, *deltas: str, **end: Any) -> list[Doc]:
    return [
        {"type": "text_start", "index": index},
        *({"type": "text_delta", "index": index, "text": delta} for delta in deltas),
        {"type": "text_end", "index": index, **end},
    ]


def reasoning(index: int, *deltas: str, id: str | None = None, **end: Any) -> list[Doc]:  # noqa: A002 - the contract's word
    return [
        {"type": "reasoning_start", "index": index, **({} if id is None else {"id": id})},
        *({"type": "reasoning_delta", "index": index, "text": delta} for delta in deltas),
        {"type": "reasoning_end", "index": index, **end},
    ]


def call(index: int, id: str, name: str, *deltas: str, kind: str | None = None, **end: Any) -> list[Doc]:  # noqa: A002 - the contract's word
    return [
        {
            "type": "tool_call_start",
            "index": index,
            "id": id,
            "name": name,
            **({} if kind is None else {"kind": kind}),
        },
        *({"type": "tool_call_delta", "index": index, "arguments": delta} for delta in deltas),
        {"type": "tool_call_end", "index": index, **end},
    ]


def called(id: str, name: str, arguments: str, **more: Any) -> Doc:  # noqa: A002 - the contract's word
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def events(
    name: str,
    about: str,
    middle: list[Doc],
    expect: Doc,
    *,
    start: bool = True,
    last: Doc | None = None,
    **rest: Any,
) -> None:
    """A stream that ends well unless `last` (an engine's last document) says otherwise."""
    if last is None:
        finish: Doc = {"type": "finish"}
        for key in (
            "finish_reason",
            "finish_reason_raw",
            "created",
            "service_tier",
            "logprobs",
            "provider_data",
        ):
            if expect[key] is not None:
                finish[key] = expect[key]
        end: Doc = {"type": "done", "reply": expect}
    else:
        finish = last
        end = {"type": last["type"], **{k: v for k, v in last.items() if k == "error"}, "reply": expect}
        if last["type"] == "cancelled":
            end["closed_ms"] = last["closed_ms"]
    finish.update(rest.pop("finish_more", {}))
    documents = [*([START] if start else []), *middle, end]
    vector(f"events-{name}", "events", about, documents=documents, finish=finish, expect=expect, **rest)


def done(content: str = "", **known: Any) -> Doc:
    """A reply to START that stopped normally; the message is the plain text unless given."""
    known.setdefault("finish_reason", "stop")
    message: Doc = {"role": "assistant", "content": known.pop("parts", content)}
    if known.get("refusal") is not None:
        message["refusal"] = known["refusal"]
    if known.get("tool_calls"):
        message["tool_calls"] = known["tool_calls"]
    known.setdefault("message", message)
    return reply(content=content, **SAID, **known)


events(
    "plain", "plain text in several deltas", text(0, "Hel", "lo", ""), done("Hello", finish_reason_raw="stop")
)
events("empty", "an answer of nothing", [], done())
events("empty-part", "a text part that begins and ends says nothing", text(0), done())
for reason in ("stop", "length", "content_filter", "pause", "other"):
    events(
        f"finish-{reason.replace('_', '-')}",
        f"the finish reason {reason}",
        text(0, "x"),
        done("x", finish_reason=reason),
    )
events(
    "finish-tool-calls",
    "a normal stop with calls is tool_calls, whatever the provider's word is",
    call(0, "c1", "f", "{}"),
    done(finish_reason="tool_calls", finish_reason_raw="STOP", tool_calls=[called("c1", "f", "{}")]),
    finish_more={"finish_reason": "stop"},
)
events(
    "several-texts",
    "two text parts stay two, and the content joins them",
    text(0, "one") + text(1, " two"),
    done("one two", parts=[{"type": "text", "text": "one"}, {"type": "text", "text": " two"}]),
)
SIGNED: Doc = {"type": "reasoning", "text": "Let me think.", "signature": SIGNATURE}
events(
    "reasoning-signed",
    "reasoning with its signature, then text",
    reasoning(0, "Let me ", "think.", signature=SIGNATURE) + text(1, "42"),
    done("42", reasoning=[SIGNED], parts=[SIGNED, {"type": "text", "text": "42"}]),
)
REDACTED: Doc = {"type": "reasoning", "text": "", "encrypted": ENCRYPTED}
SUMMARY: Doc = {"type": "reasoning", "text": "Sum", "id": "rs_1", "encrypted": ENCRYPTED}
events(
    "reasoning-encrypted",
    "reasoning of which only the encrypted form is given, and one with id, summary and encrypted form",
    reasoning(0, encrypted=ENCRYPTED) + reasoning(1, "Sum", id="rs_1", encrypted=ENCRYPTED) + text(2, "x"),
    done("x", reasoning=[REDACTED, SUMMARY], parts=[REDACTED, SUMMARY, {"type": "text", "text": "x"}]),
)
events(
    "calls-interleaved",
    "two calls whose arguments come in turns, one of them no valid JSON",
    [
        *text(0, "I look."),
        {"type": "tool_call_start", "index": 1, "id": "c1", "name": "get_weather"},
        {"type": "tool_call_start", "index": 2, "id": "c2", "name": "get_weather"},
        {"type": "tool_call_delta", "index": 1, "arguments": '{"pla'},
        {"type": "tool_call_delta", "index": 2, "arguments": '{"place": "Ro'},
        {"type": "tool_call_delta", "index": 1, "arguments": 'ce":  "Par\\u0069s"'},
        {"type": "tool_call_delta", "index": 2, "arguments": 'me", '},
        {"type": "tool_call_delta", "index": 1, "arguments": "}"},
        {"type": "tool_call_end", "index": 2},
        {"type": "tool_call_end", "index": 1},
    ],
    done(
        "I look.",
        finish_reason="tool_calls",
        tool_calls=[
            called("c1", "get_weather", '{"place":  "Par\\u0069s"}'),
            called("c2", "get_weather", '{"place": "Rome", '),
        ],
    ),
)
events(
    "call-without-arguments",
    "a call whose arguments never came has none",
    call(0, "c1", "now"),
    done(finish_reason="tool_calls", tool_calls=[called("c1", "now", "")]),
)
events(
    "call-custom",
    "a custom tool's input is text",
    call(0, "c1", "sql", "SELECT ", "1;\n", kind="custom"),
    done(
        finish_reason="tool_calls",
        tool_calls=[{"id": "c1", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1;\n"}}],
    ),
)
events(
    "call-between-texts",
    "where a call stood among the parts is marked when it was not last",
    text(0, "a") + call(1, "c1", "f", "{}") + text(2, "b"),
    done(
        "ab",
        finish_reason="tool_calls",
        tool_calls=[called("c1", "f", "{}")],
        parts=[
            {"type": "text", "text": "a"},
            {"type": "tool_call", "id": "c1"},
            {"type": "text", "text": "b"},
        ],
    ),
)
events(
    "signatures",
    "signatures on calls, on text and on an empty text, and what else must go back with a call",
    [
        *text(0, "Hm", signature=SIGNATURE),
        *call(1, "c1", "f", "{}", signature=SIGNATURE, extra={"gemini": {"x": 1}}),
        *call(2, "c2", "f", "{}"),
        *text(3, signature="after"),
    ],
    done(
        "Hm",
        finish_reason="tool_calls",
        tool_calls=[
            called("c1", "f", "{}", signature=SIGNATURE, extra={"gemini": {"x": 1}}),
            called("c2", "f", "{}"),
        ],
        parts=[
            {"type": "text", "text": "Hm", "signature": SIGNATURE},
            {"type": "tool_call", "id": "c1"},
            {"type": "tool_call", "id": "c2"},
            {"type": "text", "text": "", "signature": "after"},
        ],
    ),
)
CITED: Doc = {
    "type": "text",
    "text": "It rains.",
    "annotations": [{"type": "url_citation", "url_citation": {"url": "https://example.com"}}],
}
SEARCH: list[Doc] = [
    {key: part[key] for key in ("provider", "kind", "data")} for part in ROUND_TRIP["content"][3:5]
]
events(
    "server-tools",
    "server-side tools asked for and answered stay whole and in place, and are no call to run; citations",
    [
        *text(0, "I search. "),
        {"type": "provider_part", "index": 1, **SEARCH[0]},
        {"type": "provider_part", "index": 2, **SEARCH[1], "signature": SIGNATURE},
        *text(3, "It ", "rains.", annotations=CITED["annotations"]),
        {"type": "usage", "usage": usage(input_tokens=9, server_tool_calls={"web_search": 1})},
    ],
    done(
        "I search. It rains.",
        finish_reason="pause",
        usage=usage(input_tokens=9, server_tool_calls={"web_search": 1}),
        provider_data={"container": {"id": "c_1"}},
        parts=[
            {"type": "text", "text": "I search. "},
            {"type": "provider", **SEARCH[0]},
            {"type": "provider", **SEARCH[1], "signature": SIGNATURE},
            CITED,
        ],
    ),
)
events(
    "refusal",
    "a refusal in deltas, and no text",
    [{"type": "refusal_delta", "text": "I can"}, {"type": "refusal_delta", "text": "not."}],
    done(refusal="I cannot.", finish_reason="content_filter"),
)
events(
    "media",
    "pictures, sound and other media that a model made",
    [
        {"type": "media_start", "index": 0, "mime": "image/png"},
        {"type": "media_delta", "index": 0, "base64": PNG[:10]},
        {"type": "media_delta", "index": 0, "base64": PNG[10:]},
        {"type": "media_end", "index": 0, "signature": SIGNATURE},
        {"type": "media_start", "index": 1, "mime": "audio/wav"},
        {"type": "media_delta", "index": 1, "base64": "UklGRg=="},
        {"type": "media_end", "index": 1},
        {"type": "media_start", "index": 2, "mime": "video/mp4"},
        {"type": "media_delta", "index": 2, "base64": "AAAA"},
        {"type": "media_end", "index": 2},
    ],
    done(
        parts=[
            {
                "type": "image_url",
                "image_url": {"url": f"data:image/png;base64,{PNG}"},
                "signature": SIGNATURE,
            },
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
            {"type": "file", "file": {"file_data": "data:video/mp4;base64,AAAA", "format": "video/mp4"}},
        ]
    ),
)
events(
    "usage",
    "usage is cumulative: the last one counts, and unknown is null, never 0",
    [
        {"type": "usage", "usage": usage(input_tokens=5, output_tokens=0)},
        *text(0, "x"),
        {"type": "usage", "usage": usage(input_tokens=5, output_tokens=1, cost_usd=0.5, raw={"a": None})},
    ],
    done("x", usage=usage(input_tokens=5, output_tokens=1, cost_usd=0.5, raw={"a": None})),
)
events(
    "everything-known",
    "what an engine knows at the end stands in the reply, and unknown keys of its message in the message",
    text(0, "x"),
    done(
        "x",
        finish_reason_raw="stop",
        created=1700000000,
        service_tier="flex",
        logprobs={"content": []},
        provider_data={"system_fingerprint": "fp"},
        message={"role": "assistant", "content": "x", "reasoning_details": [{"type": "reasoning.text"}]},
    ),
    finish_more={"message_extra": {"reasoning_details": [{"type": "reasoning.text"}]}},
)
events(
    "unicode",
    "all of Unicode that breaks things, each character a delta of its own: also inside of joined emoji",
    text(0, *UNICODE) + reasoning(1, *UNICODE) + call(2, "c1", "f", *UNICODE),
    done(
        UNICODE,
        finish_reason="tool_calls",
        reasoning=[{"type": "reasoning", "text": UNICODE}],
        tool_calls=[called("c1", "f", UNICODE)],
        parts=[{"type": "text", "text": UNICODE}, {"type": "reasoning", "text": UNICODE}],
    ),
)
events(
    "surrogates",
    "a pair that was cut between two deltas is two lone surrogates: each becomes U+FFFD",
    text(0, "a\ud83d", "\ude00b"),
    done("a\ufffd\ufffdb"),
    expect_documents=[
        START,
        *text(0, "a\ufffd", "\ufffdb"),
        {"type": "done", "reply": done("a\ufffd\ufffdb")},
    ],
)
events(
    "megabyte",
    "a delta of a megabyte",
    [
        {"type": "text_start", "index": 0},
        {"type": "text_delta", "index": 0, "text": {"$repeat": ["a\u00e9\u20ac\U0001f600\n", 100000]}},
        {"type": "text_end", "index": 0},
    ],
    done(
        content={"$repeat": ["a\u00e9\u20ac\U0001f600\n", 100000]},  # type: ignore[arg-type]
    ),
)
LATE = error("overloaded", "the provider is overloaded", provider="openai", model="openai/gpt-5", status=200)
events(
    "error-late",
    "an error inside a stream comes with what had come before",
    [{"type": "text_start", "index": 0}, {"type": "text_delta", "index": 0, "text": "Hel"}],
    done("Hel", finish_reason=None),
    last={"type": "error", "error": LATE},
)
EARLY = error("authentication", "no key", provider="openai", model="openai/gpt-5", status=401)
events(
    "error-first",
    "a call that fails before its first event still gives a stream with one last event",
    [],
    reply(),
    start=False,
    last={"type": "error", "error": EARLY},
)
events(
    "cancelled",
    "a cancelled call gives what had come, and how long the socket took to close",
    [{"type": "text_start", "index": 0}, {"type": "text_delta", "index": 0, "text": "Hel"}],
    done("Hel", finish_reason=None),
    last={"type": "cancelled", "closed_ms": 3},
)
events(
    "fallback",
    "another model goes on: what is discarded does not count, nor does the first one's usage",
    [
        *text(0, "gone"),
        {"type": "usage", "usage": usage(input_tokens=5)},
        {"type": "fallback", "from": "openai/gpt-5", "to": "groq/llama", "error": LATE, "discarded": [0]},
        {"type": "start", "model": "llama", "provider": "groq", "engine": "native"},
        *text(1, "kept"),
    ],
    {
        **done("kept"),
        "id": None,
        "request_id": None,
        "model": "llama",
        "provider": "groq",
        "engine": "native",
    },
)
