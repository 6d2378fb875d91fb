"""The reader of server-sent events and the bracketing of parts: the same however the bytes are cut."""

from __future__ import annotations

import contextlib
import itertools
import json

import pytest
from omni_bridge._translate import Answer
from omni_bridge._translate_parts import Parts, Sse, WireError

STREAM = (
    ': a comment\r\n\r\nevent: one\r\ndata: {"a":\r\ndata:  "ü"}\r\n\r\n'
    "data:x\n\nid: 3\ndata: 🌍\r\rdata: [DONE]\n\n"
).encode()
EVENTS = [("one", '{"a":\n "ü"}'), ("", "x"), ("", "🌍"), ("", "[DONE]")]


def decode(wire, body):
    answer = Answer(wire, "p", {})
    return [*answer.feed(body), *answer.end()]


def read(pieces):
    reader = Sse()
    found = list(itertools.chain.from_iterable(reader.feed(piece) for piece in pieces))
    return [*found, *reader.close()]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000])
def test_events_do_not_depend_on_the_cut(size):
    assert read([STREAM[at : at + size] for at in range(0, len(STREAM), size)]) == EVENTS


def test_every_cut_in_two():
    for at in range(len(STREAM)):
        assert read([STREAM[:at], STREAM[at:]]) == EVENTS


def test_a_last_event_without_its_blank_line_is_read():
    assert read([b"data: a\n\ndata: b"]) == [("", "a"), ("", "b")]


def test_a_line_without_end_is_bounded(monkeypatch):
    import omni_bridge._translate_parts as parts

    monkeypatch.setattr(parts, "MAX_LINE", 1000)
    with pytest.raises(WireError):
        read([b"x" * 10] * 200)


def test_an_event_of_many_lines_is_bounded(monkeypatch):
    import omni_bridge._translate_parts as parts

    monkeypatch.setattr(parts, "MAX_LINE", 1000)
    for line in (b"data: 0123456789\n", b"data:\n"):
        with pytest.raises(WireError, match="event"):
            read([line] * 300)
    assert len(read([b"data: 0123456789\n\n"] * 300)) == 300


@pytest.mark.parametrize("wire", ["openai_chat", "ollama"])
def test_a_whole_answer_is_bounded(monkeypatch, wire):
    import omni_bridge._translate as translate

    monkeypatch.setattr(translate, "MAX_BODY", 1000)
    monkeypatch.setattr(translate, "MAX_LINE", 1000)
    answer = Answer(wire, "p", {})
    answer.feed(b'{"a": "')
    for _ in range(99):
        answer.feed(b"0123456789")
    with pytest.raises(WireError, match="larger"):
        answer.feed(b"0123456789")


def test_dripped_blanks_are_not_held():
    answer = Answer("openai_chat", "p", {})
    for _ in range(1000):
        assert answer.feed(b" \n" * 100) == []
    assert answer._held == []
    answer.feed(b'{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}')
    assert any(event.get("text") == "a" for event in answer.end())


def test_lines_of_ollama_do_not_depend_on_the_cut():
    lines = [
        {"message": {"content": "a"}, "done": False},
        {"message": {"content": "ü"}, "done": False},
        {"message": {"content": ""}, "done": True, "done_reason": "stop", "eval_count": 3},
    ]
    body = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines).encode()
    whole = decode("ollama", body)
    assert "".join(event.get("text", "") for event in whole) == "aü"
    for at in range(len(body)):
        answer = Answer("ollama", "p", {})
        assert [*answer.feed(body[:at]), *answer.feed(body[at:]), *answer.end()] == whole


def test_numbers_that_are_none_become_null():
    body = (
        b'{"choices":[{"message":{"content":"a"},"finish_reason":"stop","logprobs":{"content":[{"token":"a",'
        b'"logprob":-Infinity,"top":[NaN,1e999,0.5]}]}}],"usage":{"prompt_tokens":-1,"completion_tokens":NaN,'
        b'"total_tokens":1e30,"cost":1e999}}'
    )
    answer = Answer("openai_chat", "p", {})
    events = [*answer.feed(body), *answer.end()]
    assert answer.decoder is not None
    assert answer.decoder.finish["logprobs"]["content"][0] == {
        "token": "a",
        "logprob": None,
        "top": [None, None, 0.5],
    }
    usage = next(event["usage"] for event in events if event["type"] == "usage")
    assert {key for key, value in usage.items() if value is not None} == {"raw"}
    json.dumps([events, answer.decoder.finish], allow_nan=False)


def test_counts_are_whole_and_not_negative():
    from omni_bridge._translate_parts import as_cost, as_int, finite

    odd = (-1, float("nan"), float("inf"), 1e30, 10**400, True, "3", None)
    assert [as_int(value) for value in odd] == [None] * 8
    assert [as_cost(value) for value in odd] == [None] * 8
    assert (as_int(0), as_int(3.0), as_cost(0.25)) == (0, 3, 0.25)
    assert finite({"a": [float("nan"), 1.5, {"b": float("-inf")}]}) == {"a": [None, 1.5, {"b": None}]}


def test_a_long_line_in_many_pieces_costs_in_proportion():
    reader = Sse()
    for _ in range(20_000):
        assert reader.feed(b"0123456789" * 10) == []
    assert reader.feed(b"\n\n") == []  # no field of ours


def test_parts_are_bracketed_and_counted_in_the_order_of_the_message():
    parts = Parts()
    parts.reasoning("a")
    parts.close(signature="s")
    parts.text("b")
    call = parts.call_start("1", "f")
    parts.call_delta(call, "{}")
    parts.call_end(call)
    parts.provider("p", "k", {})
    parts.text("c")
    parts.close()
    assert [(event["type"], event["index"]) for event in parts.take()] == [
        ("reasoning_start", 0),
        ("reasoning_delta", 0),
        ("reasoning_end", 0),
        ("text_start", 1),
        ("text_delta", 1),
        ("text_end", 1),
        ("tool_call_start", 2),
        ("tool_call_delta", 2),
        ("tool_call_end", 2),
        ("provider_part", 3),
        ("text_start", 4),
        ("text_delta", 4),
        ("text_end", 4),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   \n",
        b"<html>",
        b"{",
        b"[]",
        b"data: {\n\n",
        b'data: {"choices": []}\n\n',
        b'data: {"type": "message_start", "message": {}}\n\n',
        b'{"choices": 3}',
        b'{"candidates": []}',
        b'data: "text"\n\n',
        b"\xff\xfe\x00",
        b'{"choices": [{"message": {"content": ' + b"[" * 5000,
    ],
)
def test_garbage_is_a_protocol_error_whatever_it_is(body):
    with pytest.raises(WireError) as caught:
        decode("openai_chat", body)
    assert caught.value.kind == "protocol"


@pytest.mark.parametrize(
    "wire", ["openai_chat", "anthropic", "gemini", "openai_responses", "cohere", "ollama"]
)
def test_documents_of_odd_shapes_never_raise_anything_else(wire):
    odd = [None, 0, "", [], {}, [[]], [{}], {"index": "x"}, True]
    keys = [
        "choices",
        "delta",
        "message",
        "content",
        "usage",
        "type",
        "candidates",
        "output",
        "item",
        "error",
        "response",
    ]
    for key, value in itertools.product(keys, odd):
        for document in (
            {key: value},
            {"choices": [{key: value}]},
            {"type": "content_block_start", key: value},
        ):
            with contextlib.suppress(WireError):
                decode(wire, b"data: " + json.dumps(document).encode() + b"\n\n")
