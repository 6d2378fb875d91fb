"""Contract ↔ LiteLLM. Pure: documents in, documents out; nothing here imports litellm or does I/O.

Requests: `request_kwargs` gives the keyword arguments for ``litellm.acompletion``.
Answers: `decoder_for` gives the decoder of a wire that we read ourselves from the bytes that LiteLLM
received;
`ChunkDecoder` reads LiteLLM's own chunks, for every other wire.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ._translate_anthropic import MessagesDecoder
from ._translate_gemini import GenerateDecoder
from ._translate_openai import ChatDecoder
from ._translate_others import CohereDecoder, OllamaDecoder
from ._translate_parts import MAX_LINE, Decoder, Sse, WireError, as_dict, is_list, is_object, loads
from ._translate_responses import ResponsesDecoder
from .errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ._translate_mend import Mender

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


# LiteLLM maps these providers' parameters itself and would send an unmapped one as it is; all others speak
# the OpenAI
# chat protocol, where what the caller asked for is sent and the provider decides.
_OTHER_PROTOCOLS = frozenset(
    {
        "anthropic",
        "anthropic_text",
        "gemini",
        "vertex_ai",
        "vertex_ai_beta",
        "bedrock",
        "bedrock_converse",
        "sagemaker",
        "cohere",
        "cohere_chat",
        "ollama",
        "ollama_chat",
        "replicate",
        "huggingface",
        "watsonx",
        "watsonx_text",
        "snowflake",
        "oci",
        "predibase",
        "cloudflare",
        "nlp_cloud",
        "triton",
        "clarifai",
        "gigachat",
        "bytez",
        "langgraph",
        "langflow",
        "gradient_ai",
        "sap",
        "databricks",
        "maritalk",
        "oobabooga",
        "a2a",
        "ragflow",
        "fal_ai",
    }
)
_SIGNED_FIELDS = frozenset(
    {
        # Bedrock: of its converse and invoke bodies, and of the models' own
        "additionalModelRequestFields",
        "additionalModelResponseFieldPaths",
        "anthropic_beta",
        "context_management",
        "guardrailConfig",
        "inferenceConfig",
        "output_config",
        "performanceConfig",
        "promptVariables",
        "reasoningConfig",
        "reasoning_config",
        "requestMetadata",
        "thinking",
        "topK",
        "top_k",
        # SageMaker: parameters of its text generation servers
        "best_of",
        "decoder_input_details",
        "details",
        "do_sample",
        "max_new_tokens",
        "repetition_penalty",
        "return_full_text",
        "truncate",
        "typical_p",
        "watermark",
        # OCI
        "isEcho",
        "logProbs",
        "numGenerations",
        "safetyMode",
        "verbosity",
    }
)
"""What a body that LiteLLM signs may get from ``provider_options``: they go as arguments, among which
any other name could steer LiteLLM itself (headers, hosts, tools that it runs)."""
_USERS = frozenset(
    {
        "openai",
        "azure",
        "azure_ai",
        "custom_openai",
        "aiohttp_openai",
        "openrouter",
        "hosted_vllm",
        "groq",
        "together_ai",
        "fireworks_ai",
        "litellm_proxy",
    }
)
"""Who takes ``user`` for any model; LiteLLM knows that of models in its list alone."""
_USUAL = frozenset({"temperature", "top_p", "max_tokens", "stop"})
_HINTS = frozenset(
    {"user", "seed", "service_tier", "parallel_tool_calls", "frequency_penalty", "presence_penalty"}
)
"""What may be left out where a provider has no such field: the answer is still the one asked for."""


def request_kwargs(
    request: dict[str, Any],
    mender: Mender,
    *,
    markers: bool = True,
    supported: Callable[[], Collection[str] | None] = lambda: None,
) -> dict[str, Any]:
    """Keyword arguments for ``litellm.acompletion`` of one contract request.

    ``supported`` gives the OpenAI parameters that LiteLLM maps for the model.
    ``metadata`` is the caller's own and goes nowhere; ``engine``, ``retry`` and ``fallbacks`` were dealt
    with above us.
    """
    provider = mender.provider
    if request.get("n") not in (None, 1):
        raise UnsupportedError(
            "n: only one answer a call is supported; call again for another", provider=provider
        )
    mender.speaks_chat = provider not in _OTHER_PROTOCOLS
    kwargs: dict[str, Any] = {"model": request["model"], "messages": mender.messages(markers=markers)}
    asked = [key for key in _SAME if request.get(key) is not None]
    for key in asked:
        kwargs[key] = request[key]
    tools = mender.function_tools()
    _check_tools(mender, markers=markers)
    if tools:
        kwargs["tools"] = tools
    else:
        choice = kwargs.pop("tool_choice", None)
        kwargs.pop("parallel_tool_calls", None)
        if choice is not None and mender.tools:
            mender.forced["tool_choice"] = choice
    if request.get("top_k") is not None:
        kwargs["top_k"] = request["top_k"]
    if request.get("reasoning_budget_tokens") is not None:
        kwargs["thinking"] = {"type": "enabled", "budget_tokens": request["reasoning_budget_tokens"]}
    if request.get("labels") and provider in ("vertex_ai", "vertex_ai_beta", "gemini"):
        kwargs["labels"] = request["labels"]
    if request.get("headers"):
        kwargs["extra_headers"] = {name: str(value) for name, value in request["headers"].items()}
    for key in ("api_base", "api_key"):
        if request.get(key):
            kwargs[key] = request[key]
    _settle_unusual(kwargs, [key for key in asked if key in kwargs and key not in _USUAL], mender, supported)
    if not markers:  # a signed body: LiteLLM puts unknown arguments into it itself
        foreign = sorted(key for key in mender.options if key not in _SIGNED_FIELDS)
        if foreign:
            raise UnsupportedError(
                f"provider_options.{provider}: {', '.join(foreign)[:200]} cannot be put into a body that "
                f"LiteLLM signs; it takes {', '.join(sorted(_SIGNED_FIELDS))}",
                provider=provider,
            )
        kwargs.update({key: value for key, value in mender.options.items() if key not in kwargs})
    return kwargs


def _settle_unusual(
    kwargs: dict[str, Any],
    unusual: list[str],
    mender: Mender,
    supported: Callable[[], Collection[str] | None],
) -> None:
    """Parameters that LiteLLM may not know for the model: left out, sent all the same, or refused."""
    known = supported() if unusual else None
    if known is None:
        return
    for key in unusual:
        if key in known:
            continue
        if key == "user" and mender.provider in _USERS:
            kwargs.setdefault("allowed_openai_params", []).append(key)
        elif key in _HINTS:
            kwargs.pop(key)
        elif mender.speaks_chat:
            # LiteLLM's list is short of models that it does not know: the provider shall decide.
            kwargs.setdefault("allowed_openai_params", []).append(key)


def _check_tools(mender: Mender, *, markers: bool) -> None:
    """Refuse a tool that would silently be missing from the call."""
    for _, tool in mender.tools:
        if tool.get("type") == "custom" and not mender.speaks_chat:
            name = as_dict(tool.get("custom")).get("name")
            raise UnsupportedError(
                f"{mender.provider} has no custom tools: offer {name!r} as a function",
                provider=mender.provider,
            )
        if tool.get("type") == "provider" and tool.get("provider") == mender.provider and not markers:
            raise UnsupportedError(
                f"server-side tools of {mender.provider} cannot be asked for through LiteLLM: it signs the "
                f"body that it "
                f"wrote itself",
                provider=mender.provider,
            )


def remote_images(request: dict[str, Any]) -> set[tuple[str, int]]:
    """Host and port of every address in the messages that LiteLLM may want to fetch."""
    found: set[tuple[str, int]] = set()
    for message in request["messages"]:
        content = message.get("content") if is_object(message) else None
        for part in content if is_list(content) else ():
            if not is_object(part):
                continue
            holder = part.get("image_url") or part.get("file")
            url = (holder.get("url") or holder.get("file_id")) if is_object(holder) else holder
            if isinstance(url, str) and url.startswith(("http://", "https://")):
                with contextlib.suppress(ValueError):
                    parts = urlsplit(url)
                    if parts.hostname:
                        found.add((parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)))
    return found


MAX_BODY = 256 * 1024 * 1024
"""Bytes of an answer that is not streamed."""
WIRES: dict[str, type[Decoder]] = {
    "openai_chat": ChatDecoder,
    "anthropic": MessagesDecoder,
    "gemini": GenerateDecoder,
    "openai_responses": ResponsesDecoder,
    "cohere": CohereDecoder,
    "ollama": OllamaDecoder,
}


def wire_of_path(path: str) -> str | None:
    """The wire that a request path names, None for one that we do not know by its path."""
    if path.endswith("/chat/completions"):
        return "openai_chat"
    if path.endswith("/messages"):
        return "anthropic"
    if path.endswith((":generateContent", ":streamGenerateContent")):
        return "gemini"
    if path.endswith("/responses"):
        return "openai_responses"
    if path.endswith("/v2/chat"):
        return "cohere"
    if path.endswith(("/api/chat", "/api/generate")):
        return "ollama"
    return None


def wire_of_request(path: str, body: dict[str, Any]) -> str | None:
    """The wire of a request, by its path or else by its body."""
    wire = wire_of_path(path)
    if wire is None and "messages" in body and "anthropic_version" in body:
        return "anthropic"
    if wire is None and "contents" in body:
        return "gemini"
    return wire


def wire_of_document(doc: Any) -> str | None:
    """The wire that an answer's first document shows, None if it does not show one."""
    if is_list(doc) and doc:
        doc = doc[0]
    if not is_object(doc):
        return None
    kind = doc.get("type")
    if is_list(doc.get("choices")):
        return "openai_chat"
    if kind in ("message_start", "content_block_start", "ping") or (kind == "message" and "content" in doc):
        return "anthropic"
    if "candidates" in doc or "usageMetadata" in doc or "promptFeedback" in doc:
        return "gemini"
    if (isinstance(kind, str) and kind.startswith("response.")) or doc.get("object") == "response":
        return "openai_responses"
    return None


class Answer:
    """Feeds the bytes of one answer, streamed or not, to the decoder of its wire.

    The wire is what the first document shows, else what the request's path named; `decoder` is None until
    the first
    document came. An answer of a wire that we do not know raises `UnknownWireError` before any event.
    """

    def __init__(self, wire: str | None, provider: str, context: dict[str, Any]) -> None:
        self.decoder: Decoder | None = None
        self._wire = wire
        self._provider = provider
        self._context = context
        self._sse: Sse | None = None
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._kind = ""

    def feed(self, chunk: bytes) -> list[dict[str, Any]]:
        if not self._kind:
            chunk = chunk.lstrip(b"\xef\xbb\xbf \t\r\n")  # some servers drip blanks while they work
            if not chunk:
                return []
            if chunk[:1] in b"{[":
                self._kind = "lines" if self._wire == "ollama" else "json"
            elif chunk[:1] == b"<":
                raise WireError("protocol", "the provider answered with HTML")
            else:
                self._kind = "sse"
                self._sse = Sse()
        if self._kind == "lines":
            return self._lines(chunk)
        if self._sse is None:
            self._hold(chunk, MAX_BODY)
            return []
        return self._events(self._sse.feed(chunk))

    def _hold(self, piece: bytes, bound: int) -> None:
        self._held.append(piece)
        self._held_bytes += len(piece)
        if self._held_bytes > bound:
            self._held = []
            raise WireError("protocol", f"the provider's answer is larger than {bound >> 20} MiB")

    def _lines(self, chunk: bytes) -> list[dict[str, Any]]:
        if self.decoder is None:
            self.decoder = WIRES["ollama"](self._provider, self._context)
        if b"\n" not in chunk:
            self._hold(chunk, MAX_LINE)
            return []
        *lines, rest = b"".join((*self._held, chunk)).split(b"\n")
        self._held, self._held_bytes = [], 0
        self._hold(rest, MAX_LINE)
        for line in lines:
            if line.strip():
                self.decoder.chunk("", loads(line))
        return self.decoder.parts.take()

    def _choose(self, doc: Any) -> Decoder:
        wire = wire_of_document(doc) or self._wire
        if wire is None:
            raise UnknownWireError
        self.decoder = WIRES[wire](self._provider, self._context)
        return self.decoder

    def _events(self, documents: list[tuple[str, str]]) -> list[dict[str, Any]]:
        decoder = self.decoder
        for event, data in documents:
            if data[:1] == "{":
                doc = loads(data)
            elif data.strip() == "[DONE]":
                doc = "[DONE]"
            elif data.strip():
                doc = loads(data)
            else:
                continue
            if decoder is None:
                decoder = self._choose(doc)
            decoder.chunk(event, doc)
        return decoder.parts.take() if decoder is not None else []

    def end(self) -> list[dict[str, Any]]:
        """After the last byte; raises `WireError` for an answer that is not whole."""
        if self._sse is not None:
            if self._sse.torn and not (self.decoder and self.decoder.last_seen):
                raise WireError("protocol", "the provider's stream was cut in the middle of an event")
            self._events(self._sse.close())
        elif self._kind == "lines":
            rest = b"".join(self._held)
            if rest.strip() and self.decoder is not None:
                self.decoder.chunk("", loads(rest))
        elif self._kind == "json":
            doc = loads(b"".join(self._held))
            self._choose(doc).body(doc)
        if self.decoder is None:
            raise WireError("protocol", "the provider's answer is empty")
        self.decoder.end()
        return self.decoder.parts.take()


def looks_textual(head: bytes, content_type: str) -> bool:
    """Whether an answer of unknown path may be JSON or server-sent events."""
    if content_type.startswith("application/vnd.amazon.eventstream"):
        return False
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[", b"d", b"e", b":", b"i", b"")


class UnknownWireError(Exception):
    """The answer is of a wire that LiteLLM alone reads."""
