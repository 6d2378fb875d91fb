"""Contract ↔ LiteLLM. Pure: documents in, documents out; nothing here imports litellm or does I/O.

Requests: `request_kwargs` gives the keyword arguments for ``litellm.acompletion``.
Answers: `decoder_for` gives the decoder of a wire that we read ourselves from the bytes that LiteLLM received;
`ChunkDecoder` reads LiteLLM's own chunks, for every other wire.
"""

from __future__ import annotations

from typing import Any

from ._translate_anthropic import MessagesDecoder
from ._translate_gemini import GenerateDecoder
from ._translate_openai import ChatDecoder
from ._translate_parts import Decoder, Sse, WireError, loads
from ._translate_responses import ResponsesDecoder

_SAME = (
    "temperature",
    "top_p",
    "max_tokens",
    "stop",
    "seed",
    "logprobs",
    "top_logprobs",
    "frequency_penalty",
    "presence_penalty",
    "response_format",
    "modalities",
    "service_tier",
    "user",
    "reasoning_effort",
    "tool_choice",
    "parallel_tool_calls",
)


def request_kwargs(request: dict[str, Any], provider: str) -> dict[str, Any]:
    """Keyword arguments for ``litellm.acompletion`` of one contract request."""
    kwargs: dict[str, Any] = {"model": request["model"], "messages": request["messages"]}
    for key in _SAME:
        if request.get(key) is not None:
            kwargs[key] = request[key]
    if request.get("tools"):
        kwargs["tools"] = request["tools"]
    if request.get("headers"):
        kwargs["extra_headers"] = request["headers"]
    for key in ("api_base", "api_key"):
        if request.get(key):
            kwargs[key] = request[key]
    return kwargs


def decoder_for(path: str, provider: str, context: dict[str, Any]) -> Decoder | None:
    """The decoder of the wire that a request path names, None for wires that LiteLLM alone reads."""
    if path.endswith("/chat/completions"):
        return ChatDecoder(provider, context)
    if path.endswith("/messages"):
        return MessagesDecoder(provider, context)
    if path.endswith((":generateContent", ":streamGenerateContent")):
        return GenerateDecoder(provider, context)
    if path.endswith("/responses"):
        return ResponsesDecoder(provider, context)
    return None


class Answer:
    """Feeds the bytes of one answer, streamed or not, to its wire's decoder."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self._sse: Sse | None = None
        self._whole: list[bytes] = []
        self._kind = ""

    def feed(self, chunk: bytes) -> list[dict[str, Any]]:
        if not self._kind:
            self._whole.append(chunk)
            head = b"".join(self._whole).lstrip(b"\xef\xbb\xbf \t\r\n")
            if not head:
                return []
            if head[:1] in b"{[":
                self._kind = "json"
                return []
            if head[:1] == b"<":
                raise WireError("protocol", "the provider answered with HTML")
            self._kind = "sse"
            self._sse = Sse()
            chunk = b"".join(self._whole)
            self._whole = []
        if self._sse is None:
            self._whole.append(chunk)
            return []
        return self._events(self._sse.feed(chunk))

    def _events(self, documents: list[tuple[str, str]]) -> list[dict[str, Any]]:
        decoder = self.decoder
        for event, data in documents:
            if data[:1] == "{":
                decoder.chunk(event, loads(data))
            elif data.strip() == "[DONE]":
                decoder.chunk(event, "[DONE]")
            elif data.strip():
                decoder.chunk(event, loads(data))
        return decoder.parts.take()

    def end(self) -> list[dict[str, Any]]:
        """After the last byte; raises `WireError` for an answer that is not whole."""
        if self._sse is not None:
            if self._sse.torn and not self.decoder.last_seen:
                raise WireError("protocol", "the provider's stream was cut in the middle of an event")
            self._events(self._sse.close())
        elif self._kind == "json":
            self.decoder.body(loads(b"".join(self._whole)))
        else:
            raise WireError("protocol", "the provider's answer is empty")
        self.decoder.end()
        return self.decoder.parts.take()
