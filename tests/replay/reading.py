"""A plain reading of recorded answers: what a careful person would say stands in the body.

Shares no code with the package. Each reader takes the body's text and gives an `Answer`; `None` in usage is
unknown.
`Refused` stands for an answer that reports an error or is not an answer at all.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Answer:
    text: str = ""
    refusal: str = ""
    reasoning: list[str] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    finish: str | None = None
    usage: tuple[int | None, int | None] = (None, None)
    also: list[tuple[int | None, int | None]] = field(default_factory=list)
    """Other usages that are right as well (a provider that leaves room for two readings)."""


@dataclass
class Refused:
    code: str
    """"protocol" for an answer that is none, "provider" for one that reports an error."""


STOP = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "eos": "stop",
    "STOP": "stop",
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "length": "length",
    "max_tokens": "length",
    "MAX_TOKENS": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "TOOL_CALL": "tool_calls",
    "content_filter": "content_filter",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
    "refusal": "content_filter",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "BLOCKLIST": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "pause_turn": "pause",
    "compaction": "pause",
}


def finish_of(raw: Any, calls: list[Any]) -> str | None:
    if raw is None:
        return None
    reason = STOP.get(raw, "other")
    if reason == "stop" and calls:
        return "tool_calls"
    if reason == "tool_calls" and not calls:
        return "stop"
    return reason


def events(body: str) -> list[Any]:
    out = []
    for block in re.split(r"\r\n\r\n|\n\n|\r\r", body):
        lines = [
            line[5:].removeprefix(" ") for line in re.split(r"\r\n|\n|\r", block) if line.startswith("data:")
        ]
        text = "\n".join(lines)
        if text and text.strip() != "[DONE]":
            out.append(json.loads(text))
    return out


def arguments(value: Any) -> Any:
    if not isinstance(value, str):
        return value if value is not None else {}
    if not value.strip():
        return {}
    try:
        return json.loads(value)
    except ValueError:
        return value


def _sum(*numbers: Any) -> int | None:
    there = [number for number in numbers if number is not None]
    return sum(there) if there else None


def chat(body: str, stream: bool) -> Answer | Refused:  # noqa: C901 - plain from top to bottom
    documents = events(body) if stream else [json.loads(body)]
    answer, calls, order, raw = Answer(), {}, [], None
    seen = False
    for document in documents:
        choices = document.get("choices")
        if document.get("error"):
            return Refused("provider")
        usage = document.get("usage") or (document.get("x_groq") or {}).get("usage")
        if usage:
            incoming, outgoing = usage.get("prompt_tokens"), usage.get("completion_tokens")
            thought = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
            answer.usage = (incoming, outgoing)
            answer.also = [(incoming, _sum(outgoing, thought))]
        if choices is None and not stream:
            return Refused("protocol")
        for choice in choices or []:
            if choice.get("index"):
                continue
            if choice.get("error"):
                return Refused("provider")
            seen = True
            message = choice.get("delta" if stream else "message") or choice.get("message") or {}
            content = message.get("content")
            if isinstance(content, str):
                answer.text += content
            for part in content if isinstance(content, list) else []:
                if part["type"] in ("text", "output_text"):
                    answer.text += part["text"]
                elif part["type"] == "thinking":
                    answer.reasoning += [one.get("text", "") for one in part["thinking"]]
            answer.refusal += message.get("refusal") or ""
            thought = message.get("reasoning_content") or message.get("reasoning") or ""
            if isinstance(thought, str):
                answer.reasoning.append(thought)
            for place, call in enumerate(message.get("tool_calls") or []):
                key = call.get("index", place) if stream else place
                if key not in calls:
                    calls[key] = ["", ""]
                    order.append(key)
                function = call.get("function") or call.get("custom") or {}
                calls[key][0] = calls[key][0] or function.get("name") or ""
                piece = function.get("arguments", function.get("input"))
                calls[key][1] += (
                    piece if isinstance(piece, str) else json.dumps(piece) if piece is not None else ""
                )
            raw = choice.get("finish_reason") or raw
    if not seen and not documents:
        return Refused("protocol")
    answer.calls = [(calls[key][0], arguments(calls[key][1])) for key in order if calls[key][0]]
    answer.finish = finish_of(raw, answer.calls)
    return answer


def messages(body: str, stream: bool) -> Answer | Refused:  # noqa: C901, PLR0912 - plain from top to bottom
    usage: dict[str, Any] = {}
    raw = None
    if stream:
        blocks: dict[int, dict[str, Any]] = {}
        for event in events(body):
            kind = event.get("type")
            if kind == "error":
                return Refused("provider")
            if kind == "message_start":
                usage.update(event["message"].get("usage") or {})
            elif kind == "content_block_start":
                blocks[event["index"]] = {**event["content_block"], "json": ""}
            elif kind == "content_block_delta":
                block, delta = blocks[event["index"]], event["delta"]
                for name in ("text", "thinking", "signature"):
                    if name in delta:
                        block[name] = (block.get(name) or "") + delta[name]
                block["json"] += delta.get("partial_json", "")
            elif kind == "message_delta":
                raw = event["delta"].get("stop_reason")
                usage.update({k: v for k, v in (event.get("usage") or {}).items() if v is not None})
        content = [blocks[key] for key in sorted(blocks)]
    else:
        document = json.loads(body)
        if document.get("type") == "error":
            return Refused("provider")
        if "content" not in document:
            return Refused("protocol")
        content, raw, usage = document["content"], document.get("stop_reason"), document.get("usage") or {}
    answer = Answer()
    for block in content:
        if block["type"] == "text":
            answer.text += block["text"]
        elif block["type"] == "thinking":
            answer.reasoning.append(block["thinking"])
            if block.get("signature"):
                answer.signatures.append(block["signature"])
        elif block["type"] == "redacted_thinking":
            answer.signatures.append(block["data"])
        elif block["type"] == "tool_use":
            answer.calls.append(
                (block["name"], arguments(block["json"]) if block.get("json") else block.get("input") or {})
            )
    answer.finish = finish_of(raw, answer.calls)
    cached = (usage.get("cache_creation_input_tokens"), usage.get("cache_read_input_tokens"))
    answer.usage = (_sum(usage.get("input_tokens"), *cached), usage.get("output_tokens"))
    return answer


def generate(body: str, stream: bool) -> Answer | Refused:
    documents = events(body) if stream else json.loads(body)
    answer, raw = Answer(), None
    for document in documents if isinstance(documents, list) else [documents]:
        if "error" in document:
            return Refused("provider")
        for candidate in (document.get("candidates") or [])[:1]:
            for part in (candidate.get("content") or {}).get("parts") or []:
                if part.get("thoughtSignature"):
                    answer.signatures.append(part["thoughtSignature"])
                if "text" in part and part.get("thought"):
                    answer.reasoning.append(part["text"])
                elif "text" in part:
                    answer.text += part["text"]
                elif "functionCall" in part:
                    answer.calls.append(
                        (part["functionCall"]["name"], part["functionCall"].get("args") or {})
                    )
            raw = candidate.get("finishReason") or raw
        raw = raw or ("SAFETY" if (document.get("promptFeedback") or {}).get("blockReason") else None)
        usage = document.get("usageMetadata")
        if usage:
            incoming, tools = usage.get("promptTokenCount", 0), usage.get("toolUsePromptTokenCount", 0)
            answer.usage = (
                incoming + tools,
                usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0),
            )
    answer.finish = finish_of(raw, answer.calls)
    return answer


def responses(body: str, stream: bool) -> Answer | Refused:  # noqa: C901, PLR0912 - plain from top to bottom
    if stream:
        document = None
        items: dict[int, Any] = {}
        for event in events(body):
            kind = event.get("type", "")
            if kind in ("error", "response.failed"):
                return Refused("provider")
            if kind == "response.output_item.done":
                items[event["output_index"]] = event["item"]
            if kind in ("response.completed", "response.incomplete"):
                document = event["response"]
        if document is None:
            return Refused("protocol")
        output = [items[key] for key in sorted(items)] or document.get("output") or []
    else:
        document = json.loads(body)
        if document.get("error"):
            return Refused("provider")
        if "output" not in document:
            return Refused("protocol")
        output = document["output"]
    answer = Answer()
    for item in output:
        if item["type"] == "message":
            for part in item["content"]:
                answer.text += part.get("text") or ""
                answer.refusal += part.get("refusal") or ""
        elif item["type"] == "reasoning":
            answer.reasoning += [
                part.get("text", "") for part in [*(item.get("summary") or []), *(item.get("content") or [])]
            ]
            if item.get("encrypted_content"):
                answer.signatures.append(item["encrypted_content"])
        elif item["type"] in ("function_call", "custom_tool_call"):
            answer.calls.append((item["name"], arguments(item.get("arguments", item.get("input")))))
    usage = document.get("usage") or {}
    answer.usage = (usage.get("input_tokens"), usage.get("output_tokens"))
    why = (document.get("incomplete_details") or {}).get("reason")
    if why:
        answer.finish = "length" if why == "max_output_tokens" else "content_filter"
    elif document.get("status") == "completed":
        answer.finish = "tool_calls" if answer.calls else "stop"
    else:
        answer.finish = "other"
    return answer


def cohere(body: str, stream: bool) -> Answer | Refused:
    answer, raw, usage = Answer(), None, {}
    if stream:
        calls: dict[int, list[str]] = {}
        for event in events(body):
            delta = event.get("delta") or {}
            message = delta.get("message") or {}
            kind = event["type"]
            if kind == "tool-plan-delta":
                answer.reasoning.append(message["tool_plan"])
            elif kind == "content-delta":
                answer.text += message["content"].get("text", "")
                if message["content"].get("thinking"):
                    answer.reasoning.append(message["content"]["thinking"])
            elif kind == "tool-call-start":
                function = message["tool_calls"]["function"]
                calls[event["index"]] = [function["name"], function.get("arguments", "")]
            elif kind == "tool-call-delta":
                calls[event["index"]][1] += message["tool_calls"]["function"]["arguments"]
            elif kind == "message-end":
                raw, usage = delta.get("finish_reason"), delta.get("usage") or {}
        answer.calls = [(name, arguments(text)) for _, (name, text) in sorted(calls.items())]
    else:
        document = json.loads(body)
        if "message" not in document or isinstance(document["message"], str):
            return Refused("provider")
        answer.reasoning.append(document["message"].get("tool_plan") or "")
        for part in document["message"].get("content") or []:
            answer.text += part.get("text", "")
            if part.get("thinking"):
                answer.reasoning.append(part["thinking"])
        for call in document["message"].get("tool_calls") or []:
            answer.calls.append((call["function"]["name"], arguments(call["function"]["arguments"])))
        raw, usage = document.get("finish_reason"), document.get("usage") or {}
    tokens, billed = usage.get("tokens") or {}, usage.get("billed_units") or {}
    answer.usage = (tokens.get("input_tokens"), tokens.get("output_tokens"))
    answer.also = [(billed.get("input_tokens"), billed.get("output_tokens"))]
    answer.finish = finish_of(raw, answer.calls)
    return answer


def ollama(body: str, stream: bool) -> Answer | Refused:
    answer, raw = Answer(), None
    for line in body.splitlines():
        if not line.strip():
            continue
        document = json.loads(line)
        if document.get("error"):
            return Refused("provider")
        message = document.get("message") or {}
        answer.text += message.get("content") or ""
        answer.reasoning.append(message.get("thinking") or "")
        for call in message.get("tool_calls") or []:
            answer.calls.append((call["function"]["name"], arguments(call["function"].get("arguments"))))
        if document.get("done"):
            raw = document.get("done_reason") or "stop"
            answer.usage = (document.get("prompt_eval_count"), document.get("eval_count"))
    answer.finish = finish_of(raw, answer.calls)
    return answer


def converse(body: str, stream: bool) -> Answer | Refused:
    document = json.loads(body)
    if "output" not in document:
        return Refused("provider")
    answer = Answer()
    for block in document["output"]["message"]["content"]:
        answer.text += block.get("text", "")
        if "toolUse" in block and block["toolUse"].get("type") != "server_tool_use":
            answer.calls.append((block["toolUse"]["name"], block["toolUse"].get("input") or {}))
        thought = (block.get("reasoningContent") or {}).get("reasoningText")
        if thought:
            answer.reasoning.append(thought.get("text", ""))
            if thought.get("signature"):
                answer.signatures.append(thought["signature"])
        hidden = (block.get("reasoningContent") or {}).get("redactedContent")
        if hidden:
            answer.signatures.append(hidden)
    usage = document.get("usage") or {}
    cached = (usage.get("cacheReadInputTokens"), usage.get("cacheWriteInputTokens"))
    answer.usage = (_sum(usage.get("inputTokens"), *cached), usage.get("outputTokens"))
    answer.finish = finish_of(document.get("stopReason"), answer.calls)
    return answer


READERS = {
    "chat/completions": chat,
    "messages": messages,
    "invoke": messages,
    "generateContent": generate,
    "streamGenerateContent": generate,
    "responses": responses,
    "v2/chat": cohere,
    "api/chat": ollama,
    "converse": converse,
}
