"""The Gemini generateContent wire (AI Studio and Vertex): what the provider sent → contract events. Pure.

Parts stay apart where the provider kept them apart and a signature is involved: a signature belongs to its
own part.
Source: recorded traffic, and https://ai.google.dev/api/generate-content.
"""

from __future__ import annotations

import uuid
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
    objects,
)

FINISH = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
}
# Gemini often gives no id. An id that begins so is ours and never goes back to it.
OWN_ID = "omni_call_"
_CANDIDATE_DATA = (
    "groundingMetadata",
    "citationMetadata",
    "urlContextMetadata",
    "safetyRatings",
    "avgLogprobs",
    "finishMessage",
    "groundingAttributions",
)


class GenerateDecoder(Decoder):
    """Decodes one answer, streamed or whole."""

    def __init__(self, provider: str, context: dict[str, Any] | None = None) -> None:
        super().__init__(provider, context)
        self._usage: dict[str, Any] | None = None
        self._data: dict[str, Any] = {}
        self._seen = False
        self._signed = False

    def chunk(self, event: str, doc: Any) -> None:
        if doc == "[DONE]":
            return
        if is_list(doc):
            for one in doc:
                self.chunk(event, one)
            return
        self._document(as_dict(doc), whole=False)

    def body(self, doc: Any) -> None:
        if is_list(doc):  # a stream that was asked for without SSE
            for one in doc:
                self._document(as_dict(one), whole=False)
        else:
            self._document(as_dict(doc), whole=True)

    def end(self) -> None:
        if not self._seen:
            raise WireError("protocol", "the provider's answer has no candidates")
        if "finish_reason" not in self.finish:
            raise WireError("protocol", "the provider's stream ended before its last event")
        self.parts.close()
        if self._usage is not None:
            self.parts.usage(read_usage(self._usage))
        if self._data:
            self.finish["provider_data"] = self._data
        if self._signed:  # whose it is, for no other provider takes it
            self.finish["message_extra"] = {"extra": {"gemini": {}}}
        self.settle()

    def _document(self, doc: dict[str, Any], *, whole: bool) -> None:
        if doc.get("error"):
            raise WireError("stream", "the provider reported an error", doc["error"])
        if is_object(doc.get("response")) and "candidates" not in doc:
            doc = doc["response"]
        for ours, theirs in (("id", "responseId"), ("model", "modelVersion")):
            if isinstance(doc.get(theirs), str) and ours not in self.meta:
                self.meta[ours] = self.finish[ours] = doc[theirs]
        usage = doc.get("usageMetadata")
        if is_object(usage):
            self._usage = usage  # cumulative: the last one counts
            tier = usage.get("serviceTier")
            if isinstance(tier, str):
                self.finish["service_tier"] = tier
        feedback = doc.get("promptFeedback")
        if is_object(feedback):
            self._data["promptFeedback"] = feedback
            if feedback.get("blockReason"):
                self._seen = True
                self.finish["finish_reason"] = "content_filter"
                self.finish["finish_reason_raw"] = str(feedback["blockReason"])
        for candidate in objects(doc.get("candidates"))[:1]:
            self._candidate(candidate, whole=whole)

    def _candidate(self, candidate: dict[str, Any], *, whole: bool) -> None:
        self._seen = True
        for part in objects(as_dict(candidate.get("content")).get("parts")):
            self._part(part, whole=whole)
        reason = candidate.get("finishReason")
        if reason:
            self.set_finish(reason, FINISH)
        elif whole:
            self.finish.setdefault("finish_reason", "other")
        for key in _CANDIDATE_DATA:
            if candidate.get(key):
                self._data[key] = candidate[key]
        if candidate.get("logprobsResult"):
            self.finish["logprobs"] = _logprobs(candidate["logprobsResult"])

    def _part(self, part: dict[str, Any], *, whole: bool) -> None:
        signature = part.get("thoughtSignature")
        signature = signature if isinstance(signature, str) and signature else None
        if is_object(part.get("functionCall")):
            call = part["functionCall"]
            call_id = as_str(call.get("id")) or OWN_ID + uuid.uuid4().hex
            index = self.parts.call_start(call_id, as_str(call.get("name")))
            self.parts.call_delta(index, dumps(call.get("args") or {}))
            self.parts.call_end(index, signature)
        elif is_object(part.get("inlineData")):
            data = part["inlineData"]
            mime = as_str(data.get("mimeType")) or "application/octet-stream"
            self.parts.media(mime, as_str(data.get("data")), signature)
        elif isinstance(part.get("text"), str):
            thought = bool(part.get("thought"))
            self._signed = self._signed or (thought and signature is not None)
            kind = "reasoning" if thought else "text"
            fresh = whole or signature is not None or self.parts.open_kind != kind
            if (
                fresh
                and signature is not None
                and not part["text"]
                and self.parts.open_kind == kind
                and not whole
            ):
                # An empty last piece that only carries the signature of what streamed before it.
                self.parts.close(signature=signature)
                return
            if fresh:
                if thought:
                    self.parts.begin_reasoning()
                else:
                    self.parts.begin_text()
            if thought:
                self.parts.reasoning(part["text"])
            else:
                self.parts.text(part["text"])
            if signature is not None:
                self.parts.close(signature=signature)
        else:
            kinds = [key for key in part if key not in ("thoughtSignature", "thought")]
            if kinds or signature:
                self.parts.provider("gemini", kinds[0] if kinds else "thoughtSignature", part)


def _logprobs(result: Any) -> Any:
    """Gemini's logprobsResult in the OpenAI shape."""
    result = as_dict(result)
    top = as_list(result.get("topCandidates"))
    content: list[dict[str, Any]] = []
    for position, chosen in enumerate(objects(result.get("chosenCandidates"))):
        rivals = as_list(as_dict(top[position]).get("candidates")) if position < len(top) else []
        content.append(
            {
                "token": chosen.get("token"),
                "logprob": chosen.get("logProbability"),
                "top_logprobs": [
                    {"token": as_dict(r).get("token"), "logprob": as_dict(r).get("logProbability")}
                    for r in rivals
                ],
            }
        )
    return {"content": content}


def read_usage(usage: dict[str, Any]) -> dict[str, Any]:
    """A usageMetadata object in the contract's words."""
    out: dict[str, Any] = {"raw": usage}
    incoming = add(usage.get("promptTokenCount"), usage.get("toolUsePromptTokenCount"))
    outgoing = add(usage.get("candidatesTokenCount"), usage.get("thoughtsTokenCount"))
    total = as_int(usage.get("totalTokenCount"))
    if usage:  # Gemini leaves out the counts that are 0
        incoming, outgoing = incoming or 0, outgoing or 0
    if incoming is not None:
        out["input_tokens"] = incoming
    if outgoing is not None:
        out["output_tokens"] = outgoing
    if total is not None:
        out["total_tokens"] = total
    cached = as_int(usage.get("cachedContentTokenCount"))
    if cached is not None:
        out["cached_input_tokens"] = cached
    thoughts = as_int(usage.get("thoughtsTokenCount"))
    if thoughts is not None:
        out["reasoning_tokens"] = thoughts
    return out
