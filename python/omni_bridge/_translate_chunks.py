"""LiteLLM's own answers (a response, or a stream's chunks) → contract events, for wires we do not read.

LiteLLM gives them in the OpenAI chat shape, with reasoning signatures in ``thinking_blocks``. Pure: dicts in.
"""

from __future__ import annotations

from typing import Any

from ._translate_openai import ChatDecoder
from ._translate_parts import as_dict, as_str, finite, is_object, objects


class ChunkDecoder(ChatDecoder):
    """Decodes LiteLLM's documents; the last one of a stream is known by its finish reason."""

    def chunk(self, event: str, doc: Any) -> None:
        super().chunk(event, _tidy(doc))

    def body(self, doc: Any) -> None:
        super().body(_tidy(doc))

    def end(self) -> None:
        self.last_seen = True  # LiteLLM raises where a stream of its own is cut
        super().end()

    def _message(self, message: dict[str, Any]) -> None:
        blocks = message.pop("thinking_blocks", None)
        fields = as_dict(message.pop("provider_specific_fields", None))
        if blocks:
            message.pop("reasoning_content", None)
            for block in objects(blocks):
                if block.get("type") == "redacted_thinking":
                    self.parts.begin_reasoning()
                    self.parts.close(encrypted=as_str(block.get("data")))
                    continue
                if self.parts.open_kind == "text":
                    self._close_text()
                self.parts.reasoning(as_str(block.get("thinking")))
                if block.get("signature"):
                    self.parts.close(signature=as_str(block["signature"]))
        refusal = fields.get("refusal")
        if refusal and not message.get("refusal"):
            message["refusal"] = refusal
        super()._message(message)


def _tidy(doc: Any) -> Any:
    """Without what LiteLLM adds of its own."""
    doc = as_dict(finite(doc))
    for key in ("provider_specific_fields", "citations", "system_fingerprint"):
        if not doc.get(key):
            doc.pop(key, None)
    if as_str(doc.get("id")).startswith("chatcmpl-"):
        doc.pop("id")  # made up where the provider gave none
    usage = doc.get("usage")
    if is_object(usage):
        usage = {key: value for key, value in usage.items() if value is not None}
        details = as_dict(usage.get("prompt_tokens_details"))
        creation = as_dict(details.get("cache_creation_token_details"))
        if creation:
            usage["cache_creation"] = creation
        doc["usage"] = usage
    return doc
