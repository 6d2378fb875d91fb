"""The Anthropic messages wire: what the provider sent → contract events. Pure.

Server-side tool calls and their results, compaction and every block that we do not know become provider
parts:
whole, in place, and never shown as a call to run.
Source: recorded traffic, and https://docs.anthropic.com/en/api/messages-streaming.
"""

from __future__ import annotations

from typing import Any

from ._translate_parts import (
    Decoder,
    WireError,
    add,
    as_dict,
    as_int,
    as_list,
    as_str,
    dumps,
    is_list,
    is_object,
    loads,
)

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "pause_turn": "pause",
    "compaction": "pause",
    "refusal": "content_filter",
}
# LiteLLM asks older models for a response_format through a tool of this name; its input is then the text.
FORMAT_TOOL = "json_tool_call"


class MessagesDecoder(Decoder):
    """Decodes one answer, streamed or whole."""

    def __init__(self, provider: str, context: dict[str, Any] | None = None) -> None:
        super().__init__(provider, context)
        self._blocks: dict[int, dict[str, Any]] = {}
        self._calls: dict[int, int] = {}
        self._json: dict[int, list[str]] = {}
        self._as_text: set[int] = set()
        self._usage: dict[str, Any] = {}
        self._data: dict[str, Any] = {}

    def chunk(self, event: str, doc: Any) -> None:
        if doc == "[DONE]":
            return
        doc = as_dict(doc)
        kind = doc.get("type") or event
        if kind == "content_block_delta":
            self._delta(doc.get("index", 0), as_dict(doc.get("delta")))
        elif kind == "content_block_start":
            self._start(doc.get("index", 0), as_dict(doc.get("content_block")))
        elif kind == "content_block_stop":
            self._stop(doc.get("index", 0))
        elif kind == "message_start":
            message = as_dict(doc.get("message"))
            self._top(message)
            # A proxy may put whole blocks into the first event.
            for position, block in enumerate(as_list(message.get("content"))):
                self._start(-1 - position, as_dict(block))
                self._stop(-1 - position)
        elif kind == "message_delta":
            delta = as_dict(doc.get("delta"))
            self._reason(delta)
            self._merge_usage(doc.get("usage"))
            for key in ("context_management", "container"):
                value = doc.get(key) or delta.get(key)
                if value:
                    self._data[key] = value
        elif kind == "message_stop":
            self.last_seen = True
        elif kind == "error" or doc.get("error"):
            raise WireError("stream", "the provider reported an error in its stream", doc.get("error") or doc)

    def body(self, doc: Any) -> None:
        doc = as_dict(doc)
        if doc.get("type") == "error" or (doc.get("error") and "content" not in doc):
            raise WireError("stream", "the provider answered with an error", doc.get("error") or doc)
        if not is_list(doc.get("content")):
            raise WireError("protocol", "the provider's answer has no content")
        self._top(doc)
        for index, block in enumerate(doc["content"]):
            self._start(index, as_dict(block))
            self._stop(index)
        self._reason(doc)
        for key in ("context_management", "container"):
            if doc.get(key):
                self._data[key] = doc[key]
        self.last_seen = True

    def end(self) -> None:
        if not self.last_seen:
            raise WireError("protocol", "the provider's stream ended before its last event")
        for index in list(self._blocks):
            self._stop(index)
        self.parts.close()
        if self._usage:
            self.parts.usage(read_usage(self._usage))
        if self._data:
            self.finish["provider_data"] = self._data
        if self._as_text and self.finish.get("finish_reason") == "tool_calls" and not self.parts.calls:
            self.finish["finish_reason"] = "stop"
        self.settle()

    def _top(self, message: dict[str, Any]) -> None:
        for key in ("id", "model"):
            if isinstance(message.get(key), str):
                self.meta[key] = message[key]
                self.finish[key] = message[key]
        self._merge_usage(message.get("usage"))
        if message.get("container"):
            self._data["container"] = message["container"]

    def _reason(self, holder: dict[str, Any]) -> None:
        self.set_finish(holder.get("stop_reason"), FINISH)
        for key in ("stop_sequence", "stop_details"):
            if holder.get(key):
                self._data[key] = holder[key]

    def _merge_usage(self, usage: Any) -> None:
        for key, value in as_dict(usage).items():
            if value is not None:
                self._usage[key] = value
        tier = self._usage.get("service_tier")
        if isinstance(tier, str):
            self.finish["service_tier"] = tier

    def _start(self, index: int, block: dict[str, Any]) -> None:
        kind = block.get("type")
        if index in self._blocks:
            self._stop(index)
        self._blocks[index] = dict(block)
        if kind == "text":
            self.parts.begin_text()
            self.parts.text(as_str(block.get("text")))
        elif kind == "thinking":
            self.parts.begin_reasoning()
            self.parts.reasoning(as_str(block.get("thinking")))
        elif kind == "redacted_thinking":
            self.parts.begin_reasoning()
        elif kind == "tool_use":
            if block.get("name") == FORMAT_TOOL and self.context.get("format_tool"):
                self._as_text.add(index)
                self.parts.begin_text()
            else:
                self._calls[index] = self.parts.call_start(as_str(block.get("id")), as_str(block.get("name")))

    def _delta(self, index: int, delta: dict[str, Any]) -> None:
        kind = delta.get("type")
        block = self._blocks.setdefault(index, {"type": "text"})
        if kind == "text_delta":
            self.parts.text(as_str(delta.get("text")))
        elif kind == "thinking_delta":
            self.parts.reasoning(as_str(delta.get("thinking")))
        elif kind == "signature_delta":
            block["signature"] = as_str(block.get("signature")) + as_str(delta.get("signature"))
        elif kind == "input_json_delta":
            piece = as_str(delta.get("partial_json"))
            self._json.setdefault(index, []).append(piece)
            if index in self._calls:
                self.parts.call_delta(self._calls[index], piece)
        elif kind == "citations_delta":
            citations = block.get("citations")
            block["citations"] = [*(citations if is_list(citations) else []), delta.get("citation")]
        else:
            for key, value in delta.items():
                if key == "type":
                    continue
                if isinstance(value, str) and isinstance(block.get(key), str):
                    block[key] += value
                elif value is not None:
                    block[key] = value

    def _stop(self, index: int) -> None:
        block = self._blocks.pop(index, None)
        if block is None:
            return
        kind = block.get("type")
        pieces = self._json.pop(index, None)
        if kind == "text":
            self.parts.close(annotations=block.get("citations"))
        elif kind == "thinking":
            self.parts.close(signature=block.get("signature"))
        elif kind == "redacted_thinking":
            self.parts.close(encrypted=block.get("data"))
        elif kind == "tool_use":
            self._end_call(index, block, "".join(pieces or ()))
        else:
            if pieces:
                text = "".join(pieces)
                try:
                    block["input"] = loads(text) if text else {}
                except WireError:
                    block["input"] = {"_raw": text}
            self.parts.provider("anthropic", as_str(kind), block)

    def _end_call(self, index: int, block: dict[str, Any], text: str) -> None:
        given = block.get("input")
        if index in self._as_text:
            whole = loads(text) if text else given
            # LiteLLM's tool wraps what is not an object into {"values": …}
            if is_object(whole) and set(whole) == {"values"}:
                whole = whole["values"]
            self.parts.text(dumps(whole))
            self.parts.close()
            return
        call = self._calls.pop(index)
        if not text:
            self.parts.call_delta(call, dumps(given) if given is not None else "{}")
        extra = {key: value for key, value in block.items() if key == "caller" and value}
        self.parts.call_end(call, None, extra and {"anthropic": extra})


def read_usage(usage: dict[str, Any]) -> dict[str, Any]:
    """An Anthropic usage object in the contract's words: cache reads and writes are input."""
    read = as_int(usage.get("cache_read_input_tokens"))
    written = as_int(usage.get("cache_creation_input_tokens"))
    incoming = add(usage.get("input_tokens"), written, read)
    outgoing = as_int(usage.get("output_tokens"))
    out: dict[str, Any] = {"raw": usage}
    if incoming is not None:
        out["input_tokens"] = incoming
    if outgoing is not None:
        out["output_tokens"] = outgoing
    if incoming is not None and outgoing is not None:
        out["total_tokens"] = incoming + outgoing
    if read is not None:
        out["cached_input_tokens"] = read
    creation = as_dict(usage.get("cache_creation"))
    if creation:
        out["cache_creation_input_tokens"] = {
            "5m": as_int(creation.get("ephemeral_5m_input_tokens")),
            "1h": as_int(creation.get("ephemeral_1h_input_tokens")),
        }
    elif written is not None:
        out["cache_creation_input_tokens"] = {"5m": written, "1h": None}
    thinking = as_int(as_dict(usage.get("output_tokens_details")).get("thinking_tokens"))
    if thinking is not None:
        out["reasoning_tokens"] = thinking
    tools = as_dict(usage.get("server_tool_use"))
    if tools:
        out["server_tool_calls"] = tools
    return out
