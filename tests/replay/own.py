"""Exchanges of our own, written by hand from the providers' documentation: held also where no recordings are.

Each answer stands here once, as what it means, and once for each wire, as what the provider sends.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from omni_bridge.testing import Interaction

from . import reading, rebuild
from .cases import Case

Json = dict[str, Any]

HARD = 'Grüße 👩‍👩‍👧, "quoted"\r\nnext\tline \u2028 end'
USAGE = (7, 5)
TOOL: Json = {"name": "weather", "description": "…", "parameters": {"type": "object", "properties": {}}}


@dataclass(frozen=True)
class Said:
    """What an answer means."""

    name: str
    text: str = ""
    thought: str = ""
    calls: list[tuple[str, Json]] = field(default_factory=list)
    short: bool = False


ANSWERS = (
    Said("text", text=HARD),
    Said("thought", text="Four.", thought="Two and two 🤔"),
    Said("call", calls=[("weather", {"city": "Zürich", "days": [1, 2], "deep": {"a": None}})]),
    Said("calls", text="I look.", calls=[("weather", {"city": "Rom"}), ("weather", {"city": "東京"})]),
    Said("short", text="It was a dark and", short=True),
)


def halves(text: str) -> list[str]:
    middle = len(text) // 2
    return [half for half in (text[:middle], text[middle:]) if half]


def sse(events: list[Json], named: bool, done: bool = False) -> str:
    frames = [
        (f"event: {one['type']}\n" if named else "") + f"data: {json.dumps(one, ensure_ascii=False)}\n\n"
        for one in events
    ]
    return "".join(frames) + ("data: [DONE]\n\n" if done else "")


# --------------------------------------------------------------------------------------- OpenAI, chat


def chat(said: Said, stream: bool) -> str:
    finish = "length" if said.short else "tool_calls" if said.calls else "stop"
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    head = {"id": "chatcmpl-1", "created": 1, "model": "some-model"}
    calls = [
        {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
        for n, (name, given) in enumerate(said.calls)
    ]
    if not stream:
        message: Json = {"role": "assistant", "content": said.text or None}
        if said.thought:
            message["reasoning_content"] = said.thought
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "finish_reason": finish, "message": message}
        return json.dumps({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": half} for half in halves(said.thought)]
    deltas += [{"content": half} for half in halves(said.text)]
    for index, call in enumerate(calls):
        function = {"name": call["function"]["name"], "arguments": ""}
        deltas.append({"tool_calls": [{**call, "index": index, "function": function}]})
        for half in halves(call["function"]["arguments"]):
            deltas.append({"tool_calls": [{"index": index, "function": {"arguments": half}}]})
    head["object"] = "chat.completion.chunk"
    chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    chunks.append({**head, "choices": [], "usage": usage})
    return sse(chunks, named=False, done=True)


# ---------------------------------------------------------------------------------- OpenAI, responses


def responses(said: Said, stream: bool) -> str:
    output: list[Json] = []
    if said.thought:
        summary = [{"type": "summary_text", "text": said.thought}]
        output.append({"type": "reasoning", "id": "rs_1", "summary": summary})
    if said.text:
        text = {"type": "output_text", "text": said.text, "annotations": []}
        output.append(
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "status": "completed",
                "content": [text],
            }
        )
    for n, (name, given) in enumerate(said.calls):
        output.append(
            {
                "type": "function_call",
                "id": f"fc_{n}",
                "call_id": f"call_{n}",
                "name": name,
                "arguments": json.dumps(given),
                "status": "completed",
            }
        )
    whole: Json = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "some-model",
        "status": "incomplete" if said.short else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if said.short else None,
        "error": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "output": output,
        "usage": {
            "input_tokens": 7,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 12,
        },
    }
    if not stream:
        return json.dumps(whole)
    begun = {**whole, "status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
    events: list[Json] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(output):
        events += _item_events(index, item)
    last = "response.incomplete" if said.short else "response.completed"
    events.append({"type": last, "response": whole})
    return sse([{**one, "sequence_number": n} for n, one in enumerate(events)], named=True)


def _item_events(index: int, item: Json) -> list[Json]:
    where = {"item_id": item["id"], "output_index": index}
    if item["type"] == "reasoning":
        begun, part = {**item, "summary": []}, item["summary"][0]
        at = {**where, "summary_index": 0}
        empty = {"type": "summary_text", "text": ""}
        inner: list[Json] = [{"type": "response.reasoning_summary_part.added", **at, "part": empty}]
        kind = "response.reasoning_summary_text.delta"
        inner += [{"type": kind, **at, "delta": half} for half in halves(part["text"])]
        inner.append({"type": "response.reasoning_summary_text.done", **at, "text": part["text"]})
        inner.append({"type": "response.reasoning_summary_part.done", **at, "part": part})
    elif item["type"] == "message":
        begun, part = {**item, "status": "in_progress", "content": []}, item["content"][0]
        at = {**where, "content_index": 0}
        inner = [{"type": "response.content_part.added", **at, "part": {**part, "text": ""}}]
        kind = "response.output_text.delta"
        inner += [{"type": kind, **at, "delta": half} for half in halves(part["text"])]
        inner.append({"type": "response.output_text.done", **at, "text": part["text"]})
        inner.append({"type": "response.content_part.done", **at, "part": part})
    else:
        begun = {**item, "status": "in_progress", "arguments": ""}
        kind = "response.function_call_arguments"
        inner = [{"type": f"{kind}.delta", **where, "delta": half} for half in halves(item["arguments"])]
        inner.append({"type": f"{kind}.done", **where, "arguments": item["arguments"]})
    added = {"type": "response.output_item.added", "output_index": index, "item": begun}
    return [added, *inner, {"type": "response.output_item.done", "output_index": index, "item": item}]


# ------------------------------------------------------------------------------------------ Anthropic


def messages(said: Said, stream: bool) -> str:
    blocks: list[Json] = []
    if said.thought:
        blocks.append({"type": "thinking", "thinking": said.thought, "signature": "c2lnbmVk"})
    if said.text:
        blocks.append({"type": "text", "text": said.text})
    for n, (name, given) in enumerate(said.calls):
        blocks.append({"type": "tool_use", "id": f"toolu_{n}", "name": name, "input": given})
    stop = "max_tokens" if said.short else "tool_use" if said.calls else "end_turn"
    whole: Json = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "some-model",
        "content": blocks,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": 5},
    }
    if not stream:
        return json.dumps(whole)
    begun = {**whole, "content": [], "stop_reason": None, "usage": {"input_tokens": 7, "output_tokens": 1}}
    events: list[Json] = [{"type": "message_start", "message": begun}, {"type": "ping"}]
    for index, block in enumerate(blocks):
        if block["type"] == "text":
            empty: Json = {**block, "text": ""}
            deltas = [{"type": "text_delta", "text": half} for half in halves(block["text"])]
        elif block["type"] == "thinking":
            empty = {**block, "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": half} for half in halves(block["thinking"])]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        else:
            empty = {**block, "input": {}}
            pieces = ["", *halves(json.dumps(block["input"]))]
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    end = {"stop_reason": stop, "stop_sequence": None}
    events.append({"type": "message_delta", "delta": end, "usage": {"output_tokens": 5}})
    events.append({"type": "message_stop"})
    return sse(events, named=True)


# --------------------------------------------------------------------------------------------- Gemini


def generate(said: Said, stream: bool) -> str:
    def chunk(parts: list[Json], last: bool) -> Json:
        candidate: Json = {"index": 0, "content": {"role": "model", "parts": parts}}
        if last:
            candidate["finishReason"] = "MAX_TOKENS" if said.short else "STOP"
        usage = {"promptTokenCount": 7, "candidatesTokenCount": 5, "totalTokenCount": 12}
        return {
            "candidates": [candidate],
            "usageMetadata": usage,
            "modelVersion": "some-model",
            "responseId": "r1",
        }

    calls = [{"functionCall": {"name": name, "args": given}} for name, given in said.calls]
    if not stream:
        parts = [{"text": said.thought, "thought": True}] if said.thought else []
        parts += [{"text": said.text}] if said.text else []
        return json.dumps(chunk([*parts, *calls], last=True))
    pieces: list[Json] = [{"text": half, "thought": True} for half in halves(said.thought)]
    pieces += [{"text": half} for half in halves(said.text)]
    pieces += calls
    chunks = [chunk([piece], last=number == len(pieces) - 1) for number, piece in enumerate(pieces)]
    return sse(chunks, named=False).replace("\n", "\r\n")


# -------------------------------------------------------------------------------------------- requests

ASKED = "What is it like?"


def _chat_request(stream: bool) -> Json:
    tools = [{"type": "function", "function": TOOL}]
    return {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": ASKED}],
        "tools": tools,
        "stream": stream,
    }


def _responses_request(stream: bool) -> Json:
    return {"model": "gpt-4o", "input": ASKED, "tools": [{"type": "function", **TOOL}], "stream": stream}


def _messages_request(stream: bool) -> Json:
    tool = {"name": TOOL["name"], "description": "…", "input_schema": TOOL["parameters"]}
    asked = [{"role": "user", "content": ASKED}]
    return {
        "model": "claude-sonnet-4-5",
        "max_tokens": 100,
        "messages": asked,
        "tools": [tool],
        "stream": stream,
    }


def _generate_request(stream: bool) -> Json:  # the address says whether it is streamed
    contents = [{"role": "user", "parts": [{"text": ASKED}]}]
    return {"contents": contents, "tools": [{"functionDeclarations": [TOOL]}]}


WIRES = {
    "chat/completions": (chat, _chat_request),
    "responses": (responses, _responses_request),
    "messages": (messages, _messages_request),
    "generateContent": (generate, _generate_request),
}
FILES = {
    "chat/completions": "openai",
    "responses": "openai",
    "messages": "anthropic",
    "generateContent": "gemini",
}


def meaning(said: Said, endpoint: str) -> reading.Answer:
    """What must come out, whoever reads the wire."""
    return reading.Answer(
        text=said.text,
        refusal="",
        reasoning=[said.thought] if said.thought else [],
        signatures=["c2lnbmVk"] if said.thought and endpoint == "messages" else [],
        calls=[(name, given) for name, given in said.calls],
        finish="length" if said.short else "tool_calls" if said.calls else "stop",
        usage=USAGE,
    )


def own_cases() -> list[Case]:
    """Every answer on every wire, streamed and not."""
    found: list[Case] = []
    for kind, (body_of, request_of) in WIRES.items():
        for said in ANSWERS:
            for stream in (False, True):
                endpoint = "streamGenerateContent" if stream and kind == "generateContent" else kind
                # OpenAI's own chat wire has no words for reasoning; DeepSeek's has.
                file = "deepseek" if said.thought and kind == "chat/completions" else FILES[kind]
                url = f"https://provider.invalid/v1/models/gemini-2.5-flash:{endpoint}"
                asked = json.dumps(request_of(stream))
                headers = {"content-type": "text/event-stream" if stream else "application/json"}
                name = f"{endpoint} {said.name}{' streamed' if stream else ''}"
                interaction = Interaction(endpoint, 200, body_of(said, stream), headers, "POST", url, asked)
                request = rebuild.request_of(file, endpoint, url, asked)
                found.append(Case("own", file, endpoint, name, interaction, request, meaning(said, endpoint)))
    return found
