"""The OpenAI chat completions wire: what a provider sent → contract events.

Spoken by OpenAI, Azure, Mistral, DeepSeek, Groq, OpenRouter, xAI, Perplexity, vLLM, llama.cpp and many more;
the
differences between them are fields, and every field that one of them uses is read for all. Pure.
Source: recorded traffic, and https://platform.openai.com/docs/api-reference/chat.
"""

from __future__ import annotations

from typing import Any

from ._translate_parts import (
    Decoder,
    WireError,
    add,
    as_cost,
    as_dict,
    as_int,
    as_list,
    as_str,
    dumps,
    is_list,
    is_object,
    objects,
    split_data_url,
)

FINISH = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "pause": "pause",
}
_TOP = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "service_tier", "error", "obfuscation", "p"}
)
_CHOICE = frozenset(
    {"index", "message", "delta", "finish_reason", "logprobs", "text", "native_finish_reason", "error"}
)
_MESSAGE = frozenset(
    {
        "role",
        "content",
        "refusal",
        "tool_calls",
        "function_call",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "annotations",
        "images",
        "audio",
        "padding",
        "token_id",
    }
)


class _Call:
    __slots__ = ("arguments", "custom", "extra", "id", "index", "name", "signature")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments = ""
        self.custom = False
        self.index = -1
        self.signature: str | None = None
        self.extra: dict[str, Any] = {}


class ChatDecoder(Decoder):
    """Decodes one answer, streamed (`chunk` for each ``data:``) or whole (`body`)."""

    def __init__(self, provider: str, context: dict[str, Any] | None = None) -> None:
        super().__init__(provider, context)
        self._calls: dict[Any, _Call] = {}
        self._latest: _Call | None = None
        self._annotations: list[Any] = []
        self._details: list[dict[str, Any]] = []
        self._logprobs: dict[str, Any] = {}
        self._audio: dict[str, Any] = {}
        self._data: dict[str, Any] = {}
        self._usage_seen: Any = None
        self._signed = False

    # -- documents --

    def chunk(self, event: str, doc: Any) -> None:
        if doc == "[DONE]":
            self.last_seen = True
            return
        if not is_object(doc):
            raise WireError("protocol", "the provider sent an event that is not an object")
        error = doc.get("error")
        if error or event == "error":
            raise WireError("stream", "the provider reported an error in its stream", error or doc)
        self._top(doc)
        choices = doc.get("choices")
        if choices:
            for choice in objects(choices):
                if choice.get("index"):  # n is 1 for us; other choices are not asked for
                    continue
                self._choice(choice, as_dict(choice.get("delta")) or as_dict(choice.get("message")))

    def body(self, doc: Any) -> None:
        doc = as_dict(doc)
        error = doc.get("error")
        choices = doc.get("choices")
        if error and not choices:
            raise WireError("stream", "the provider answered with an error", error)
        if not is_list(choices):
            raise WireError("protocol", "the provider's answer has no choices")
        self._top(doc)
        for choice in objects(choices):
            if not choice.get("index"):
                self._choice(choice, as_dict(choice.get("message")) or as_dict(choice.get("delta")))
                break
        self.last_seen = True

    def end(self) -> None:
        if not self.last_seen and "finish_reason" not in self.finish:
            raise WireError("protocol", "the provider's stream ended before its last event")
        self.parts.close(annotations=self._annotations)
        for call in self._calls.values():
            self._begin(call)
            self.parts.call_end(call.index, call.signature, call.extra and {self.provider: call.extra})
        if self._audio.get("data"):
            self.parts.media(
                "audio/" + as_str(self.context.get("audio_format") or "wav"), self._audio.pop("data")
            )
        own: dict[str, Any] = {}
        if self._details:
            own["reasoning_details"] = self._details
        if self._signed:  # whose it is, for no other provider takes it
            own["extra"] = {self.provider: {}}
        if own:
            self.finish["message_extra"] = own
        if self._audio:
            self._data["audio"] = self._audio
        if self._logprobs:
            self.finish["logprobs"] = self._logprobs
        if self._data:
            self.finish["provider_data"] = self._data
        if "finish_reason" not in self.finish:
            # The whole answer came, without a word on why it stopped.
            self.finish["finish_reason"] = "tool_calls" if self.parts.calls else "other"
        self.settle()

    # -- pieces --

    def _top(self, doc: dict[str, Any]) -> None:
        meta = self.meta
        if not meta:
            for key in ("id", "model"):
                if isinstance(doc.get(key), str) and doc[key]:
                    meta[key] = doc[key]
                    self.finish[key] = doc[key]
            created = as_int(doc.get("created"))
            if created and created > 0:
                self.finish["created"] = created
        if isinstance(doc.get("service_tier"), str) and doc["service_tier"]:
            self.finish["service_tier"] = doc["service_tier"]
        usage = doc.get("usage") or as_dict(doc.get("x_groq")).get("usage")
        if usage and usage != self._usage_seen:
            self._usage_seen = usage
            self.parts.usage(read_usage(usage))
        if not _TOP.issuperset(doc):
            for key, value in doc.items():
                if key not in _TOP and value is not None and value not in ("", [], {}):
                    self._data[key] = value

    def _choice(self, choice: dict[str, Any], message: dict[str, Any]) -> None:
        if choice.get("error"):
            raise WireError("stream", "the provider reported an error in its stream", choice["error"])
        if message:
            content = message.get("content")
            if len(message) == 1 and isinstance(content, str):  # the common chunk
                if content:
                    self._text(content)
            else:
                self._message(message)
        elif choice.get("text"):
            self._text(as_str(choice["text"]))
        finish = choice.get("finish_reason")
        if finish:
            self.set_finish(finish, FINISH)
        logprobs = choice.get("logprobs")
        if logprobs:
            for key, value in as_dict(logprobs).items():
                if is_list(value):
                    self._logprobs.setdefault(key, []).extend(value)
                elif value is not None:
                    self._logprobs[key] = value
        if not _CHOICE.issuperset(choice):
            for key, value in choice.items():
                if key not in _CHOICE and value is not None and value not in ("", [], {}):
                    self._data[key] = value

    def _text(self, text: str) -> None:
        if self.parts.open_kind == "reasoning":
            self.parts.close()
        self.parts.text(text)

    def _message(self, message: dict[str, Any]) -> None:
        details = message.get("reasoning_details")
        if is_list(details):
            self._merge_details(details)
        reasoning = as_str(message.get("reasoning_content")) or as_str(message.get("reasoning"))
        if reasoning:
            if self.parts.open_kind == "text":
                self._close_text()
            self.parts.reasoning(reasoning)
        content = message.get("content")
        if isinstance(content, str):
            if content:
                self._text(content)
        else:
            for part in objects(content):
                self._part(part)
        self.parts.refusal(as_str(message.get("refusal")))
        self._annotations.extend(as_list(message.get("annotations")))
        for image in objects(message.get("images")):
            self._image(image)
        calls = message.get("tool_calls")
        if calls:
            for position, call in enumerate(objects(calls)):
                self._call(call, position)
        elif as_dict(message.get("function_call")).get("name"):
            self._call({"function": message["function_call"]}, 0)
        if not _MESSAGE.issuperset(message) or message.get("audio"):
            self._rest(message)

    def _rest(self, message: dict[str, Any]) -> None:
        """Audio, and what only this provider has."""
        for key, value in as_dict(message.get("audio")).items():
            if key in ("data", "transcript") and isinstance(value, str):
                self._audio[key] = self._audio.get(key, "") + value
            elif value is not None:
                self._audio[key] = value
        for key, value in message.items():
            if key not in _MESSAGE and value is not None and value not in ("", [], {}):
                self._data.setdefault("message", {})[key] = value

    def _part(self, part: dict[str, Any]) -> None:
        kind = part.get("type")
        if kind in ("text", "output_text"):
            self._text(as_str(part.get("text")))
        elif kind == "thinking":
            thinking = part.get("thinking")
            text = (
                "".join(as_str(as_dict(p).get("text")) for p in thinking) if is_list(thinking) else thinking
            )
            if self.parts.open_kind == "text":
                self._close_text()
            if text:
                self.parts.reasoning(as_str(text))
            if part.get("signature"):
                self._signed = True
                self.parts.reasoning("")
                self.parts.close(signature=as_str(part["signature"]))
        elif kind == "refusal":
            self.parts.refusal(as_str(part.get("refusal")))
        elif kind == "image_url":
            self._image(part)
        elif kind:
            if self.parts.open_kind == "text":
                self._close_text()
            self.parts.provider(self.provider, kind, part)

    def _close_text(self) -> None:
        self.parts.close(annotations=self._annotations)
        self._annotations = []

    def _image(self, part: dict[str, Any]) -> None:
        url = part.get("image_url")
        url = as_str(as_dict(url).get("url")) if is_object(url) else as_str(url)
        media = split_data_url(url)
        if media:
            self._close_text()
            self.parts.media(*media)
        elif url:
            self._data.setdefault("images", []).append(url)

    def _call(self, piece: dict[str, Any], position: int) -> None:
        key = piece.get("index")
        call_id = as_str(piece.get("id"))
        custom = as_dict(piece.get("custom"))
        function = custom if piece.get("type") == "custom" and custom else as_dict(piece.get("function"))
        if key is None:
            # Without an index a piece with an id begins a call, and one without goes on with the newest.
            key = call_id or (self._latest and id(self._latest)) or position
        call = self._calls.get(key)
        name = as_str(function.get("name"))
        if call is not None and call_id and call.id and call_id != call.id and name:
            # Some servers number every call 0: another id with a name is another call.
            key = call_id
            call = self._calls.get(key)
        if (
            call is None
            and self._latest is not None
            and not call_id
            and not name
            and piece.get("index") is None
        ):
            call = self._latest
        if call is None:
            call = self._calls[key] = _Call()
            call.custom = piece.get("type") == "custom" and is_object(piece.get("custom"))
        self._latest = call
        call.id = call.id or call_id
        call.name = call.name or name
        arguments = function.get("arguments", function.get("input"))
        if isinstance(arguments, (dict, list)):
            arguments = dumps(arguments)
        if isinstance(arguments, str):
            call.arguments += arguments
        extra = piece.get("extra_content")
        if is_object(extra):
            signature = as_dict(extra.get("google")).get("thought_signature")
            if isinstance(signature, str):
                call.signature = signature
            call.extra["extra_content"] = extra
        if call.name and (call.id or call.arguments):
            self._begin(call)
            if call.arguments:
                self.parts.call_delta(call.index, call.arguments)
                call.arguments = ""

    def _begin(self, call: _Call) -> None:
        if call.index >= 0:
            return
        if self.parts.open_kind == "text":
            self._close_text()
        if not call.id:
            call.id = f"call_{len(self._calls)}_{as_str(self.meta.get('id'))[-12:]}"
        call.index = self.parts.call_start(call.id, call.name, custom=call.custom)
        if call.arguments:
            self.parts.call_delta(call.index, call.arguments)
            call.arguments = ""

    def _merge_details(self, details: list[Any]) -> None:
        """OpenRouter's reasoning_details, the pieces of one entry joined: so they go back in one message."""
        for piece in details:
            if not is_object(piece):
                continue
            last = self._details[-1] if self._details else None
            if (
                last is not None
                and piece.get("index") is not None
                and last.get("index") == piece.get("index")
                and last.get("type") == piece.get("type")
            ):
                for key, value in piece.items():
                    if (
                        key in ("text", "summary", "data")
                        and isinstance(value, str)
                        and isinstance(last.get(key), str)
                    ):
                        last[key] += value
                    elif value is not None:
                        last[key] = value
            else:
                self._details.append(dict(piece))


def read_usage(usage: Any) -> dict[str, Any]:
    """A chat completions usage object in the contract's words."""
    usage = as_dict(usage)
    prompt = as_int(usage.get("prompt_tokens"))
    completion = as_int(usage.get("completion_tokens"))
    total = as_int(usage.get("total_tokens"))
    incoming = as_dict(usage.get("prompt_tokens_details"))
    outgoing = as_dict(usage.get("completion_tokens_details"))
    reasoning = as_int(outgoing.get("reasoning_tokens"))
    if reasoning is None:
        reasoning = as_int(usage.get("reasoning_tokens"))
    if (
        reasoning
        and prompt is not None
        and completion is not None
        and total is not None
        and total == prompt + completion + reasoning
    ):
        completion += reasoning  # xAI counts reasoning beside the completion; the contract counts it in
    cached = as_int(incoming.get("cached_tokens"))
    if cached is None:
        cached = as_int(usage.get("prompt_cache_hit_tokens"))
    if cached is None:
        cached = as_int(usage.get("cached_tokens"))
    if cached is None:
        cached = as_int(usage.get("num_cached_tokens"))
    out: dict[str, Any] = {"raw": usage}
    if prompt is not None:
        out["input_tokens"] = prompt
    if completion is not None:
        out["output_tokens"] = completion
    total = total if total is not None else add(prompt, completion)
    if total is not None:
        out["total_tokens"] = total
    if cached is not None:
        out["cached_input_tokens"] = cached
    if reasoning is not None:
        out["reasoning_tokens"] = reasoning
    cost = usage.get("cost")
    cost = as_dict(cost).get("total_cost") if is_object(cost) else cost
    cost = as_cost(cost)
    ticks = as_cost(usage.get("cost_in_usd_ticks"))
    if cost is None and ticks is not None:
        cost = ticks / 1e10  # xAI
    if cost is not None:
        out["cost_usd"] = cost
    written = _cache_creation(usage, incoming)
    if written:
        out["cache_creation_input_tokens"] = written
    tools = as_dict(usage.get("server_tool_use")) or as_int(usage.get("num_search_queries"))
    if tools is not None:
        out["server_tool_calls"] = tools
    return out


def _cache_creation(usage: dict[str, Any], incoming: dict[str, Any]) -> dict[str, int]:
    """Who does not say for how long tokens are cached means Anthropic's five minutes."""
    apart = as_dict(incoming.get("cache_creation"))
    out = {
        name: number
        for name in ("5m", "1h")
        if (number := as_int(apart.get(f"ephemeral_{name}_input_tokens"))) is not None
    }
    key = "cache_creation_input_tokens"
    for given in (incoming.get("cache_write_tokens"), incoming.get(key), usage.get(key)):
        number = as_int(given)
        if not out and number is not None:
            out["5m"] = number
    return out
