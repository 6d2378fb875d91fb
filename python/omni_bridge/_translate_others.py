"""Cohere's v2 chat wire and Ollama's own: what the provider sent → contract events. Pure.

Source: recorded traffic; https://docs.cohere.com/reference/chat-stream;
https://github.com/ollama/ollama/blob/main/docs/api.md.
"""

from __future__ import annotations

import uuid
from typing import Any

from ._translate_gemini import OWN_ID
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
)

COHERE_FINISH = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
}
OLLAMA_FINISH = {"stop": "stop", "length": "length", "load": "other", "unload": "other"}


class CohereDecoder(Decoder):
    """Decodes one v2 chat answer, streamed or whole. A tool plan is reasoning."""

    def __init__(self, provider: str, context: dict[str, Any] | None = None) -> None:
        super().__init__(provider, context)
        self._calls: dict[Any, int] = {}
        self._citations: list[Any] = []

    def chunk(self, event: str, doc: Any) -> None:
        if doc == "[DONE]":
            return
        doc = as_dict(doc)
        kind = doc.get("type") or event
        delta = as_dict(doc.get("delta"))
        message = as_dict(delta.get("message"))
        if kind in ("content-delta", "content-start"):
            self._content(as_dict(message.get("content")), fresh=kind == "content-start")
        elif kind == "content-end":
            pass  # citations of this text may still come
        elif kind == "tool-plan-delta":
            self._reasoning(as_str(message.get("tool_plan")))
        elif kind == "tool-call-start":
            self._call(doc.get("index"), as_dict(message.get("tool_calls")))
        elif kind == "tool-call-delta":
            piece = as_str(as_dict(as_dict(message.get("tool_calls")).get("function")).get("arguments"))
            if doc.get("index") in self._calls:
                self.parts.call_delta(self._calls[doc.get("index")], piece)
        elif kind == "tool-call-end":
            index = self._calls.pop(doc.get("index"), None)
            if index is not None:
                self.parts.call_end(index)
        elif kind == "citation-start":
            citations = message.get("citations")
            self._citations.extend(citations if is_list(citations) else [citations])
        elif kind == "message-start":
            self._id(doc.get("id"))
        elif kind == "message-end":
            self._finish(delta)
        elif kind == "error" or doc.get("error"):
            raise WireError("stream", "the provider reported an error in its stream", doc)

    def body(self, doc: Any) -> None:
        doc = as_dict(doc)
        message = doc.get("message")
        if not is_object(message):
            raise WireError("protocol", "the provider's answer has no message")
        self._id(doc.get("id"))
        self._reasoning(as_str(message.get("tool_plan")))
        for part in as_list(message.get("content")):
            self._content(as_dict(part), fresh=True)
        self._citations = as_list(message.get("citations"))
        for number, call in enumerate(as_list(message.get("tool_calls"))):
            self._call(number, as_dict(call))
        for index in self._calls.values():
            self.parts.call_end(index)
        self._calls.clear()
        self._finish(doc)

    def end(self) -> None:
        if not self.last_seen:
            raise WireError("protocol", "the provider's stream ended before its last event")
        self.parts.close(annotations=self._citations if self.parts.open_kind == "text" else None)
        self.settle()

    def _id(self, value: Any) -> None:
        if isinstance(value, str):
            self.meta["id"] = self.finish["id"] = value

    def _content(self, part: dict[str, Any], *, fresh: bool) -> None:
        if "thinking" in part:
            self._reasoning(as_str(part["thinking"]))
        elif fresh and self.parts.open_kind != "text":
            self.parts.close()
            if part.get("text"):
                self.parts.text(as_str(part["text"]))
        elif part.get("text"):
            self.parts.text(as_str(part["text"]))

    def _reasoning(self, text: str) -> None:
        if text:
            self.parts.reasoning(text)

    def _call(self, key: Any, call: dict[str, Any]) -> None:
        function = as_dict(call.get("function"))
        self.parts.close(annotations=self._citations if self.parts.open_kind == "text" else None)
        index = self.parts.call_start(
            as_str(call.get("id")) or OWN_ID + uuid.uuid4().hex, as_str(function.get("name"))
        )
        self._calls[key] = index
        self.parts.call_delta(index, as_str(function.get("arguments")))

    def _finish(self, holder: dict[str, Any]) -> None:
        reason = holder.get("finish_reason")
        if reason in ("ERROR", "TIMEOUT"):
            raise WireError(
                "stream", f"the provider stopped with {reason}", {"message": holder.get("error") or reason}
            )
        self.set_finish(reason, COHERE_FINISH)
        usage = as_dict(holder.get("usage"))
        if usage:
            tokens = as_dict(usage.get("tokens")) or as_dict(usage.get("billed_units"))
            incoming, outgoing = as_int(tokens.get("input_tokens")), as_int(tokens.get("output_tokens"))
            self.parts.usage(
                _usage(usage, incoming, outgoing, usage.get("cached_tokens"), tokens.get("reasoning_tokens"))
            )
        self.last_seen = True


class OllamaDecoder(Decoder):
    """Decodes one answer of ``/api/chat`` or ``/api/generate``: JSON lines, or one object."""

    def chunk(self, event: str, doc: Any) -> None:  # noqa: ARG002 - JSON lines have no event names
        doc = as_dict(doc)
        if doc.get("error"):
            raise WireError("stream", "the provider reported an error", {"message": as_str(doc["error"])})
        message = as_dict(doc.get("message"))
        if isinstance(doc.get("model"), str):
            self.meta["model"] = self.finish["model"] = doc["model"]
        thinking = message.get("thinking") or doc.get("thinking")
        if thinking:
            self.parts.reasoning(as_str(thinking))
        text = message.get("content") or doc.get("response")
        if text:
            self.parts.text(as_str(text))
        for call in as_list(message.get("tool_calls")):
            function = as_dict(as_dict(call).get("function"))
            index = self.parts.call_start(
                as_str(as_dict(call).get("id")) or OWN_ID + uuid.uuid4().hex, as_str(function.get("name"))
            )
            arguments = function.get("arguments")
            self.parts.call_delta(index, arguments if isinstance(arguments, str) else dumps(arguments or {}))
            self.parts.call_end(index)
        for url in as_list(message.get("images")):
            self.parts.media("image/png", as_str(url))
        if doc.get("logprobs"):
            self.finish.setdefault("logprobs", {"content": []})["content"].extend(as_list(doc["logprobs"]))
        if doc.get("done"):
            self.set_finish(doc.get("done_reason") or "stop", OLLAMA_FINISH)
            incoming, outgoing = as_int(doc.get("prompt_eval_count")), as_int(doc.get("eval_count"))
            raw = {key: value for key, value in doc.items() if key.endswith(("_count", "_duration"))}
            self.parts.usage(_usage(raw, incoming, outgoing, None, None))
            self.last_seen = True

    def body(self, doc: Any) -> None:
        if not is_object(doc) or not ("message" in doc or "response" in doc or "error" in doc):
            raise WireError("protocol", "the provider's answer has no message")
        self.chunk("", doc)
        self.last_seen = True

    def end(self) -> None:
        if not self.last_seen:
            raise WireError("protocol", "the provider's stream ended before its last line")
        self.parts.close()
        self.settle()


def _usage(
    raw: Any, incoming: int | None, outgoing: int | None, cached: Any, reasoning: Any
) -> dict[str, Any]:
    found = {
        "input_tokens": incoming,
        "output_tokens": outgoing,
        "total_tokens": add(incoming, outgoing),
        "cached_input_tokens": as_int(cached),
        "reasoning_tokens": as_int(reasoning),
    }
    return {"raw": raw, **{key: value for key, value in found.items() if value is not None}}
