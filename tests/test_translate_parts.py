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
