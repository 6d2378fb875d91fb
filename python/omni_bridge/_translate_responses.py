"""The OpenAI responses wire: what the provider sent → contract events. Pure.

Items that only the provider understands (web search, code interpreter, MCP, images, …) become provider
parts, whole
and in place. Reasoning items keep id, summaries and encrypted content, so that they go back as they came.
Source: recorded traffic, and https://platform.openai.com/docs/api-reference/responses-streaming.
"""

from __future__ import annotations

from typing import Any

from ._translate_parts import (
    Decoder,
    WireError,
    as_cost,
    as_dict,
    as_int,
    as_list,
    as_str,
    is_list,
    is_object,
    objects,
)

_TOP_DATA = (
    "incomplete_details",
    "metadata",
    "conversation",
    "background",
    "safety_identifier",
    "prompt_cache_key",
)


class ResponsesDecoder(Decoder):
    """Decodes one answer, streamed or whole."""

    def __init__(self, provider: str, context: dict[str, Any] | None = None) -> None:
        super().__init__(provider, context)
        self._items: dict[int, dict[str, Any]] = {}
        self._done: set[int] = set()
        self._ids: set[str] = set()
        self._call: dict[int, int] = {}
        self._sent: dict[Any, int] = {}
        self._reasoned: set[int] = set()
        self._extra: dict[str, Any] = {}

    def chunk(self, event: str, doc: Any) -> None:
        if doc == "[DONE]":
            return
        doc = as_dict(doc)
        kind = doc.get("type") or event
        index = doc.get("output_index", 0)
        if kind == "response.output_text.delta":
            self._piece(index, doc.get("content_index", 0), as_str(doc.get("delta")))
        elif kind in ("response.function_call_arguments.delta", "response.custom_tool_call_input.delta"):
            if index in self._call:
                piece = as_str(doc.get("delta"))
                self._sent[index] = self._sent.get(index, 0) + len(piece)
                self.parts.call_delta(self._call[index], piece)
        elif kind in ("response.reasoning_summary_text.delta", "response.reasoning_text.delta"):
            number = doc.get("summary_index" if "summary" in kind else "content_index", 0)
            self._reasoning_piece(index, ("summary" in kind, number), as_str(doc.get("delta")))
        elif kind == "response.refusal.delta":
            piece = as_str(doc.get("delta"))
            key = (index, doc.get("content_index", 0))
            self._sent[key] = self._sent.get(key, 0) + len(piece)
            self.parts.refusal(piece)
        elif kind == "response.output_item.added":
            self._added(index, as_dict(doc.get("item")))
        elif kind == "response.output_item.done":
            self._item(index, as_dict(doc.get("item")))
        elif kind in ("response.completed", "response.incomplete", "response.done"):
            self._final(as_dict(doc.get("response")))
        elif kind == "response.created":
            self._top(as_dict(doc.get("response")))
        elif kind == "response.failed":
            response = as_dict(doc.get("response"))
            raise WireError(
                "stream", "the provider reported a failed response", response.get("error") or response
            )
        elif kind == "error" or (doc.get("error") and "response" not in doc):
            raise WireError("stream", "the provider reported an error in its stream", doc.get("error") or doc)

    def body(self, doc: Any) -> None:
        doc = as_dict(doc)
        if doc.get("error"):
            raise WireError("stream", "the provider answered with an error", doc["error"])
        if not is_list(doc.get("output")):
            raise WireError("protocol", "the provider's answer has no output")
        self._final(doc)

    def end(self) -> None:
        if not self.last_seen:
            raise WireError("protocol", "the provider's stream ended before its last event")
        self.parts.close()
        if self._extra:
            self.finish["message_extra"] = {"extra": {"openai": self._extra}}
        self.settle()

    # -- items --

    def _top(self, response: dict[str, Any]) -> None:
        for key in ("id", "model"):
            if isinstance(response.get(key), str):
                self.meta[key] = self.finish[key] = response[key]
        created = as_int(response.get("created_at"))
        if created:
            self.finish["created"] = created
        if isinstance(response.get("service_tier"), str):
            self.finish["service_tier"] = response["service_tier"]

    def _final(self, response: dict[str, Any]) -> None:
        self._top(response)
        for index, item in enumerate(objects(response.get("output"))):
            # Items are matched by id, where they have one: some servers leave the last event's output short.
            if item.get("id") in self._ids and item.get("id"):
                continue
            if index not in self._done:
                self._item(index, item)
        usage = response.get("usage")
        if is_object(usage):
            self.parts.usage(read_usage(usage))
        status = as_str(response.get("status"))
        reason = as_str(as_dict(response.get("incomplete_details")).get("reason"))
        self.finish["finish_reason_raw"] = reason or status or None
        if reason:
            self.finish["finish_reason"] = "length" if "max" in reason else "content_filter"
        elif status in ("completed", ""):
            self.finish["finish_reason"] = "stop"
        else:
            self.finish["finish_reason"] = "other"
        data = {key: response[key] for key in _TOP_DATA if response.get(key)}
        if data:
            self.finish["provider_data"] = data
        self.last_seen = True

    def _added(self, index: int, item: dict[str, Any]) -> None:
        kind = item.get("type")
        self._items[index] = item
        if kind == "reasoning":
            pass  # begins with its first summary, or when the whole item comes
        elif kind in ("function_call", "custom_tool_call"):
            call_id = as_str(item.get("call_id")) or as_str(item.get("id"))
            self._call[index] = self.parts.call_start(
                call_id, as_str(item.get("name")), custom=kind == "custom_tool_call"
            )

    def _piece(self, index: int, content: Any, text: str) -> None:
        key = (index, content)
        if key not in self._sent:
            self.parts.begin_text()
            self._sent[key] = 0
        self._sent[key] += len(text)
        self.parts.text(text)

    def _reasoning_piece(self, index: int, number: Any, text: str) -> None:
        key = (index, "reasoning", number)
        self._reasoned.add(index)
        if key not in self._sent:
            self.parts.begin_reasoning(as_str(self._items.get(index, {}).get("id")) or None)
            self._sent[key] = 0
        self._sent[key] += len(text)
        self.parts.reasoning(text)

    def _item(self, index: int, item: dict[str, Any]) -> None:
        """A whole item; what was streamed of it already is not repeated."""
        if index in self._done:
            return
        self._done.add(index)
        if item.get("id"):
            self._ids.add(item["id"])
        kind = item.get("type")
        if kind == "message":
            self._message(index, item)
        elif kind == "reasoning":
            self._reasoning(index, item)
        elif kind in ("function_call", "custom_tool_call"):
            if index not in self._call:
                self._added(index, item)
            text = as_str(item.get("arguments", item.get("input")))
            sent = self._sent.get(index, 0)
            if len(text) > sent:
                self.parts.call_delta(self._call[index], text[sent:])
            extra = {key: item[key] for key in ("id", "namespace", "caller") if item.get(key)}
            self.parts.call_end(self._call.pop(index), None, extra and {"openai": extra})
        elif kind:
            self.parts.provider("openai", kind, item)

    def _message(self, index: int, item: dict[str, Any]) -> None:
        for number, part in enumerate(objects(item.get("content"))):
            sent = self._sent.get((index, number))
            if part.get("type") == "refusal":
                self.parts.refusal(as_str(part.get("refusal"))[sent or 0 :])
                continue
            text = as_str(part.get("text"))
            if sent is None:
                self.parts.begin_text()
                self.parts.text(text)
            elif len(text) > sent:
                self.parts.text(text[sent:])
            self.parts.close(annotations=as_list(part.get("annotations")))
            if part.get("logprobs"):
                self.finish.setdefault("logprobs", {"content": []})["content"].extend(
                    as_list(part["logprobs"])
                )
        if item.get("phase"):
            self._extra["phase"] = item["phase"]

    def _reasoning(self, index: int, item: dict[str, Any]) -> None:
        """One reasoning part a summary, all with the item's id; the last has the encrypted content."""
        item_id = as_str(item.get("id")) or None
        pieces = [*objects(item.get("summary")), *objects(item.get("content"))]
        streamed = index in self._reasoned
        if not streamed:
            for part in pieces:
                self.parts.begin_reasoning(item_id)
                self.parts.reasoning(as_str(part.get("text")))
            if not pieces:
                self.parts.begin_reasoning(item_id)
        elif self.parts.open_kind != "reasoning":
            self.parts.begin_reasoning(item_id)
        signature = item.get("signature")
        self.parts.close(
            encrypted=as_str(item.get("encrypted_content")) or None, signature=as_str(signature) or None
        )


def read_usage(usage: dict[str, Any]) -> dict[str, Any]:
    """A responses usage object in the contract's words."""
    out: dict[str, Any] = {"raw": usage}
    for key in ("input_tokens", "output_tokens", "total_tokens"):
        number = as_int(usage.get(key))
        if number is not None:
            out[key] = number
    cached = as_int(as_dict(usage.get("input_tokens_details")).get("cached_tokens"))
    if cached is not None:
        out["cached_input_tokens"] = cached
    reasoning = as_int(as_dict(usage.get("output_tokens_details")).get("reasoning_tokens"))
    if reasoning is not None:
        out["reasoning_tokens"] = reasoning
    cost = usage.get("cost")
    cost = as_cost(cost)
    if cost is not None:
        out["cost_usd"] = cost
    return out
