"""Answers of wires that we do not read: LiteLLM's decoding of them, forced on wires that both can read."""

from __future__ import annotations

import asyncio
import json

import pytest
from omni_bridge import _litellm, _litellm_call
from omni_bridge.testing import HttpServer

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


class Provider(HttpServer):
    """Answers with one document, or with events."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    async def answer(self, exchange):
        if isinstance(self.body, dict):
            await exchange.reply(200, self.body)
            return
        await exchange.start(200, {"content-type": "text/event-stream"})
        for event in self.body:
            name = f"event: {event['type']}\n" if "type" in event else ""
            await exchange.send(f"{name}data: {json.dumps(event)}\n\n".encode())
        if self.body and "choices" in self.body[0]:
            await exchange.send(b"data: [DONE]\n\n")
        await exchange.end()


class Events(list):
    def emit(self, event):
        self.append(event)
        return len(self) % 3 == 0

    async def drain(self):
        await asyncio.sleep(0)


@pytest.fixture
def events(monkeypatch):
    """The events of a call whose answer LiteLLM alone decodes."""
    monkeypatch.setattr(_litellm_call, "wire_of_path", lambda _: None)
    monkeypatch.setattr(_litellm_call, "looks_textual", lambda *_: False)

    def ask(model, body):
        stream = isinstance(body, list)
        suffix = {"openai": "/v1", "gemini": "/v1beta"}.get(model.split("/")[0], "")
        found = Events()

        async def main():
            with Provider(body) as server:
                request = {
                    "model": model,
                    "messages": [{"role": "user", "content": "hi"}],
                    "tools": [TOOL],
                    "api_base": server.url + suffix,
                    "api_key": "k",
                    "max_tokens": 100,
                }
                document = {"op": "chat", "stream": stream, "request": request, "config": {}}
                await asyncio.wait_for(_litellm.chat(document, found), 60)
                await _litellm.aclose()

        asyncio.run(main())
        return found

    return ask


def said(events):
    """What the events say: text, reasoning, calls, finish reason, tokens."""
    calls: dict[int, list[str]] = {}
    for event in events:
        if event["type"] == "tool_call_start":
            calls[event["index"]] = [event["name"], ""]
        elif event["type"] == "tool_call_delta":
            calls[event["index"]][1] += event["arguments"]
    usage = [event["usage"] for event in events if event["type"] == "usage"][-1]
    return (
        "".join(event["text"] for event in events if event["type"] == "text_delta"),
        "".join(event["text"] for event in events if event["type"] == "reasoning_delta"),
        [(name, json.loads(text)) for name, text in calls.values()],
        events[-1]["finish_reason"],
        (usage["input_tokens"], usage["output_tokens"]),
    )


def bracketed(events):
    """Every part begins, goes on and ends, under a number of its own that grows."""
    assert events[0]["type"] == "start"
    assert events[-1]["type"] == "finish"
    starts = [event["index"] for event in events if event["type"].endswith("_start")]
    ends = [event["index"] for event in events if event["type"].endswith("_end")]
    assert starts == sorted(set(starts)) == sorted(ends)


CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Ulm"}'}}
OPENAI = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": {
                "role": "assistant",
                "content": "Let me see.",
                "reasoning_content": "hm",
                "tool_calls": [CALL],
            },
        }
    ],
    "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
}


def chunk(delta, finish=None):
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


OPENAI_STREAM = [
    chunk({"role": "assistant", "reasoning_content": "h"}),
    chunk({"reasoning_content": "m"}),
    chunk({"content": "Let me "}),
    chunk({"content": "see."}),
    chunk({"tool_calls": [{"index": 0, **CALL, "function": {"name": "weather", "arguments": ""}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"Ulm"}'}}]}),
    chunk({}, "tool_calls"),
    {**chunk({}), "choices": [], "usage": OPENAI["usage"]},
]
ANTHROPIC = {
    "id": "msg",
    "type": "message",
    "role": "assistant",
    "model": "c",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Ulm"}},
    ],
    "stop_reason": "tool_use",
    "usage": {"input_tokens": 11, "output_tokens": 7},
}


def block(index, start, *deltas):
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


ANTHROPIC_STREAM = [
    {"type": "message_start", "message": {**ANTHROPIC, "content": [], "stop_reason": None}},
    *block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "hm"},
        {"type": "signature_delta", "signature": "c2ln"},
    ),
    *block(
        1,
        {"type": "text", "text": ""},
        {"type": "text_delta", "text": "Let me "},
        {"type": "text_delta", "text": "see."},
    ),
    *block(
        2,
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
        {"type": "input_json_delta", "partial_json": '{"city":'},
        {"type": "input_json_delta", "partial_json": '"Ulm"}'},
    ),
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}},
    {"type": "message_stop"},
]
PARTS = [
    {"text": "hm", "thought": True},
    {"text": "Let me see."},
    {"functionCall": {"name": "weather", "args": {"city": "Ulm"}}},
]
COUNTS = {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18}


def candidate(parts, **more):
    return {"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0, **more}]}


GEMINI = {**candidate(PARTS, finishReason="STOP"), "usageMetadata": COUNTS}
GEMINI_STREAM = [
    *(candidate([part]) for part in PARTS),
    {**candidate([], finishReason="STOP"), "usageMetadata": COUNTS},
]
ANSWERS = {
    "openai": ("openai/gpt-4o", OPENAI, OPENAI_STREAM),
    "anthropic": ("anthropic/claude-sonnet-4-5", ANTHROPIC, ANTHROPIC_STREAM),
    "gemini": ("gemini/gemini-2.5-flash", GEMINI, GEMINI_STREAM),
}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", ANSWERS)
def test_text_reasoning_calls_and_usage_come_through_litellms_own_decoding(events, name, streamed):
    model, whole, stream = ANSWERS[name]
    found = events(model, stream if streamed else whole)
    bracketed(found)
    assert said(found) == ("Let me see.", "hm", [("weather", {"city": "Ulm"})], "tool_calls", (11, 7))


@pytest.mark.parametrize("body", [ANTHROPIC, ANTHROPIC_STREAM], ids=["whole", "streamed"])
def test_signatures_of_reasoning_come_along(events, body):
    found = events("anthropic/claude-sonnet-4-5", body)
    assert [event.get("signature") for event in found if event["type"] == "reasoning_end"] == ["c2ln"]


def test_nothing_of_a_stream_that_litellm_reads_is_kept(events, monkeypatch):
    kept = []
    drive = _litellm_call.Call._drive

    async def watched(self, result):
        await drive(self, result)
        kept.append(self.exchange.stream.seen)

    monkeypatch.setattr(_litellm_call.Call, "_drive", watched)
    events("openai/gpt-4o", OPENAI_STREAM)
    assert kept == [[]]
