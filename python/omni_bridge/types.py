"""The contract as pydantic models: the source of ``schema.json``, and what users may build requests of.

Nothing here is needed to make a call: `chat` takes dicts as well, only Rust validates, and what it hands out
are the frozen classes of ``omni_bridge`` (`ChatReply`, `Event`, …), which tests hold equal to these models.
Importing this module imports pydantic.

One rule for keys: unknown keys inside messages, parts, tools and calls are kept; unknown keys of a request, a
reply, an event or an error are an error. None is the same as absent, but for `Reply`, `Usage`, `Attempt` and
`Error`, where every key is there and unknown is None.

Source: the contract, version 1. Messages and tools have the shape of OpenAI's chat completions; the parts
``reasoning``, ``provider`` and ``tool_call`` and the keys ``signature``, ``is_error`` and ``extra`` are ours.

>>> message = Message(role="user", content=[TextPart(text="What is this?")])
>>> Request(model="openai/gpt-5", messages=[message]).to_dict()["messages"]
[{'role': 'user', 'content': [{'type': 'text', 'text': 'What is this?'}]}]
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, Union, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    Tag,
    TypeAdapter,
    model_serializer,
    model_validator,
)

__all__ = [
    "Attempt",
    "AudioPart",
    "Budget",
    "CacheCreation",
    "CancelledEvent",
    "Content",
    "Custom",
    "CustomTool",
    "DoneEvent",
    "EngineChoice",
    "EngineName",
    "Error",
    "ErrorCode",
    "ErrorEvent",
    "Event",
    "EventType",
    "FallbackEvent",
    "FilePart",
    "FinishReason",
    "Function",
    "FunctionTool",
    "ImagePart",
    "MediaDeltaEvent",
    "MediaEndEvent",
    "MediaStartEvent",
    "Message",
    "Part",
    "ProviderPart",
    "ProviderPartEvent",
    "ProviderTool",
    "ReasoningDeltaEvent",
    "ReasoningEndEvent",
    "ReasoningPart",
    "ReasoningStartEvent",
    "RefusalDeltaEvent",
    "Reply",
    "Request",
    "RetryPolicy",
    "Role",
    "StartEvent",
    "TextDeltaEvent",
    "TextEndEvent",
    "TextPart",
    "TextStartEvent",
    "Timeouts",
    "Tool",
    "ToolCall",
    "ToolCallDeltaEvent",
    "ToolCallEndEvent",
    "ToolCallMark",
    "ToolCallStartEvent",
    "ToolChoice",
    "UnknownPart",
    "Usage",
    "UsageEvent",
]

CONTRACT = 1
"""The version of the contract."""

Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool"]
"""Who speaks."""

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "pause", "other"]
"""Why the model stopped. ``pause``: append the message and call again; ``other``: see the raw word."""

EngineName: TypeAlias = Literal["native", "litellm"]
"""Who asked the provider: our Rust protocols, or LiteLLM."""

EngineChoice: TypeAlias = Literal["auto", "native", "litellm"]
"""Which engine is to ask; ``auto`` is native where it can, else LiteLLM."""

ErrorCode: TypeAlias = Literal[
    "invalid_request",
    "authentication",
    "quota",
    "permission",
    "not_found",
    "timeout",
    "context_length",
    "content_filter",
    "rate_limit",
    "budget",
    "provider",
    "protocol",
    "connection",
    "overloaded",
    "engine_unavailable",
    "unsupported",
    "cancelled",
    "internal",
]
"""What went wrong; `omni_bridge.errors` has a class for each."""

ToolChoiceMode: TypeAlias = Literal["auto", "none", "required"]
"""The words for ``tool_choice``."""

Count: TypeAlias = Annotated[int, Field(ge=0)]
"""A number of things: 0 or more."""


def _mended(value: object) -> object:
    """The same value, where lone surrogates have become U+FFFD: so the contract says for every door."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return value
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {_mended(key): _mended(item) for key, item in items}
    if isinstance(value, list):
        return [_mended(item) for item in cast("list[Any]", value)]
    return value


def _tidy(schema: dict[str, Any]) -> None:
    """In the schema ``type`` is required: the models' default is for those who build them. And no doctest."""
    properties: dict[str, dict[str, Any]] = schema.get("properties", {})
    kind = properties.get("type", {})
    if "const" in kind:
        kind.pop("default", None)
        schema["required"] = ["type", *(name for name in schema.get("required", []) if name != "type")]
    if "description" in schema:
        schema["description"] = schema["description"].partition("\n\n>>>")[0]
    if schema.get("title") == "ToolCall":
        schema["anyOf"] = [
            {"properties": {"type": {"const": "function"}}, "required": ["function"]},
            {"properties": {"type": {"const": "custom"}}, "required": ["type", "custom"]},
        ]


class _Document(BaseModel):
    """What all models share: strict as Rust is, field docs in the schema, surrogates mended."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra=_tidy,
        use_attribute_docstrings=True,
        serialize_by_alias=True,
        validate_by_name=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _mend(cls, document: object) -> object:
        return _mended(document)

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # What may be absent and is None is left out; None stays where it is a value, and in keys of others.
        document: dict[str, Any] = handler(self)
        for name, field in type(self).model_fields.items():
            key = field.alias or name
            if not field.is_required() and document.get(key, ...) is None:
                del document[key]
        return document

    def to_dict(self) -> dict[str, Any]:
        """The document of the contract, as the doors take and give it."""
        return self.model_dump(mode="json")


class _Open(_Document):
    """A document inside a message or a tool: keys that it does not name are kept."""

    model_config = ConfigDict(extra="allow")


# ---------------------------------------------------------------------------------------------------- parts


class _Part(_Open):
    signature: str | None = None
    """The provider's opaque proof (on parts of the assistant), to be sent back byte for byte."""
    cache_control: JsonValue = None
    """A mark for the provider's prompt cache, for example ``{"type": "ephemeral"}``."""
    extra: dict[str, JsonValue] | None = None
    """Per provider, what is merged into the wire object of this part."""


class TextPart(_Part):
    """Text.

    >>> TextPart(text="Hello").type
    'text'
    """

    type: Literal["text"] = "text"
    text: str
    """The text."""
    annotations: list[JsonValue] | None = None
    """Citations and links, as the provider gives them."""


class ImagePart(_Part):
    """An image, by web address or as a data URL. Source: OpenAI chat completions."""

    type: Literal["image_url"] = "image_url"
    image_url: JsonValue
    """``{url, detail?, format?}``."""


class AudioPart(_Part):
    """Sound. Source: OpenAI chat completions."""

    type: Literal["input_audio"] = "input_audio"
    input_audio: JsonValue
    """``{data, format}``, data in base64."""


class FilePart(_Part):
    """A file. Source: OpenAI chat completions."""

    type: Literal["file"] = "file"
    file: JsonValue
    """``{file_id?, file_data?, filename?, format?}``."""


class ReasoningPart(_Part):
    """What the model thought, with what its provider needs to take it back."""

    type: Literal["reasoning"] = "reasoning"
    text: str = ""
    """The readable text, "" if only the encrypted form is given."""
    encrypted: str | None = None
    """The provider's encrypted form, to be sent back byte for byte."""
    id: str | None = None
    """The provider's id of it."""


class ProviderPart(_Part):
    """What only one provider understands and must get back whole and in place.

    Server-side tool calls and their results, code execution, search results: never a call for you to run.
    """

    type: Literal["provider"] = "provider"
    provider: str
    """Whose it is."""
    kind: str
    """Its type on that provider's wire."""
    data: JsonValue
    """The wire object."""


class ToolCallMark(_Part):
    """A mark for where among the parts a tool call stood; without marks calls come last."""

    type: Literal["tool_call"] = "tool_call"
    id: str
    """The id of the call in ``tool_calls``."""


_KNOWN_PARTS = ("text", "image_url", "input_audio", "file", "reasoning", "provider", "tool_call")


class UnknownPart(_Open):
    """A part of a type that the contract does not know: kept whole, sent by the OpenAI chat protocol only."""

    type: Annotated[str, Field(json_schema_extra={"not": {"enum": list(_KNOWN_PARTS)}})]


def _part_type(part: object) -> str:
    if isinstance(part, dict):
        kind: object = cast("dict[str, object]", part).get("type")
    else:
        kind = getattr(part, "type", None)
    return kind if isinstance(kind, str) and kind in _KNOWN_PARTS else "unknown"


Part: TypeAlias = Annotated[
    Union[  # noqa: UP007 - the members are annotated, which `|` cannot join on Python 3.10
        Annotated[TextPart, Tag("text")],
        Annotated[ImagePart, Tag("image_url")],
        Annotated[AudioPart, Tag("input_audio")],
        Annotated[FilePart, Tag("file")],
        Annotated[ReasoningPart, Tag("reasoning")],
        Annotated[ProviderPart, Tag("provider")],
        Annotated[ToolCallMark, Tag("tool_call")],
        Annotated[UnknownPart, Tag("unknown")],
    ],
    Discriminator(_part_type),
]
"""One typed piece of a message."""

Content: TypeAlias = Union[str, list[Part]]  # noqa: UP007 - as above
"""What a message says: a string, or parts in order."""

# ------------------------------------------------------------------------------------------ tools and calls


class FunctionTool(_Open):
    """A function whose arguments are a JSON object. Source: OpenAI chat completions."""

    type: Literal["function"] = "function"
    function: dict[str, JsonValue]
    """Name, description, parameters (a JSON schema), strict; unknown keys are kept."""
    cache_control: JsonValue = None
    """A mark for the provider's prompt cache."""
    extra: dict[str, JsonValue] | None = None
    """Per provider, what is merged into the wire object of this tool."""


class CustomTool(_Open):
    """A tool whose input is free text. Source: OpenAI chat completions."""

    type: Literal["custom"] = "custom"
    custom: dict[str, JsonValue]
    """Name, description, format."""
    cache_control: JsonValue = None
    """A mark for the provider's prompt cache."""
    extra: dict[str, JsonValue] | None = None
    """Per provider, what is merged into the wire object of this tool."""


class ProviderTool(_Open):
    """A tool that the provider runs itself.

    >>> ProviderTool(provider="anthropic", data={"type": "web_search_20250305", "name": "web_search"}).type
    'provider'
    """

    type: Literal["provider"] = "provider"
    provider: str
    """Whose tool it is."""
    data: JsonValue
    """The provider's own wire object, kept whole."""


Tool: TypeAlias = Annotated[
    Union[FunctionTool, CustomTool, ProviderTool],  # noqa: UP007 - as above
    Field(discriminator="type"),
]
"""A tool offered to the model."""

ToolChoice: TypeAlias = Union[ToolChoiceMode, dict[str, JsonValue]]  # noqa: UP007 - as above
"""Which tool the model must use: a word, or the OpenAI object that names one."""


class Function(_Open):
    """The function that a model wants called."""

    name: str
    """The tool's name."""
    arguments: str = ""
    """The arguments as the text received, whether or not it is valid JSON."""


class Custom(_Open):
    """The custom tool that a model wants called."""

    name: str
    """The tool's name."""
    input: str = ""
    """The free text input."""


class ToolCall(_Open):
    """A model's request to run a tool.

    >>> ToolCall(id="call_1", function=Function(name="add", arguments='{"a": 1}')).type
    'function'
    """

    id: str
    """The id that the tool result names."""
    type: Literal["function", "custom"] = "function"
    """Which of the two fields that follow is set."""
    function: Function | None = None
    """Set when ``type`` is "function"."""
    custom: Custom | None = None
    """Set when ``type`` is "custom"."""
    signature: str | None = None
    """The provider's opaque proof, to be sent back byte for byte."""
    extra: dict[str, JsonValue] | None = None
    """Per provider, what is merged into the wire object of this call."""

    @model_validator(mode="after")
    def _has_its_kind(self) -> ToolCall:
        if (self.function if self.type == "function" else self.custom) is None:
            raise ValueError(f"{self.type}: missing, though the call's type is {self.type!r}")
        return self


# ------------------------------------------------------------------------------------- messages and request


class Message(_Open):
    """One entry of a conversation. Source: OpenAI chat completions.

    >>> Message(role="user", content="Hello").content
    'Hello'
    """

    role: Role
    """Who speaks."""
    content: Content | None = None
    """What is said."""
    name: str | None = None
    """The speaker's name."""
    tool_calls: list[ToolCall] | None = None
    """Calls that the assistant asked for."""
    tool_call_id: str | None = None
    """In a tool message: the call that it answers."""
    is_error: bool | None = None
    """In a tool message: whether the tool failed."""
    refusal: str | None = None
    """The assistant's refusal."""
    prefix: bool | None = None
    """In the last assistant message: the model goes on from this text."""
    cache_control: JsonValue = None
    """A mark for the provider's prompt cache."""
    extra: dict[str, JsonValue] | None = None
    """Per provider, what is merged into the wire object of this message."""


class Timeouts(_Document):
    """Seconds for each wait; None means the limit that the client has."""

    connect: Annotated[float, Field(gt=0)] | None = None
    """Until the connection stands."""
    first_event: Annotated[float, Field(gt=0)] | None = None
    """Until the first event."""
    idle: Annotated[float, Field(gt=0)] | None = None
    """Between two events."""
    total: Annotated[float, Field(gt=0)] | None = None
    """In all."""


class RetryPolicy(_Document):
    """A bound in count and time on trying again."""

    max_retries: Count | None = None
    """Tries after the first."""
    max_wait: Annotated[float, Field(ge=0)] | None = None
    """Seconds of waiting at the most, over all tries."""


class Budget(_Document):
    """What a call may spend over all its tries. Both, if both are given."""

    tokens: Count | None = None
    """Tokens, input and output."""
    usd: Annotated[float, Field(ge=0)] | None = None
    """Dollars."""


class Request(_Document):
    """One call of a model.

    >>> Request(model="anthropic/claude-sonnet-4-5", messages=[Message(role="user", content="Hello")]).model
    'anthropic/claude-sonnet-4-5'
    """

    model: Annotated[str, Field(min_length=1)]
    """The model id, ``provider/model`` in LiteLLM's spelling."""
    messages: Annotated[list[Message], Field(min_length=1)]
    """The conversation."""
    tools: list[Tool] | None = None
    """Tools offered to the model."""
    tool_choice: ToolChoice | None = None
    """Which of them it must use: "auto", "none", "required", or the OpenAI object that names one."""
    parallel_tool_calls: bool | None = None
    """Whether it may ask for several calls in one answer."""
    temperature: float | None = None
    """Sampling temperature."""
    top_p: float | None = None
    """Nucleus sampling: the share of probability that is sampled from, 0 to 1."""
    top_k: Count | None = None
    """Sampling among the k likeliest tokens."""
    max_tokens: Count | None = None
    """Bound on the output's tokens, reasoning included."""
    stop: str | list[str] | None = None
    """Texts at which the model stops."""
    seed: int | None = None
    """For repeatable sampling, where the provider has it."""
    n: Count | None = None
    """Answers wanted; only 1 is supported."""
    logprobs: bool | None = None
    """Whether log probabilities are wanted."""
    top_logprobs: Count | None = None
    """How many alternatives for each token."""
    frequency_penalty: float | None = None
    """Penalty on repetition by count."""
    presence_penalty: float | None = None
    """Penalty on repetition at all."""
    response_format: dict[str, JsonValue] | None = None
    """``{"type": "json_object"}``, ``{"type": "json_schema", …}`` or ``{"type": "text"}``."""
    modalities: list[str] | None = None
    """"text", "audio", "image"."""
    service_tier: str | None = None
    """The provider's service tier."""
    user: str | None = None
    """The end user, as an opaque id."""
    reasoning_effort: str | None = None
    """"none", "minimal", "low", "medium", "high", … as the provider names it."""
    reasoning_budget_tokens: Count | None = None
    """Tokens that may be spent on reasoning."""
    timeout: Annotated[float, Field(gt=0)] | Timeouts | None = None
    """Seconds in all, or for each wait."""
    fallbacks: list[str | dict[str, JsonValue]] | None = None
    """What to try in turn when a model fails before its first event: model ids, or objects with the fields to
    change."""
    fallback_mid_stream: bool | None = None
    """Whether a fallback may also take over in the middle of an answer; the ``fallback`` event then says what
    does not count any more."""
    retry: Count | RetryPolicy | None = None
    """How often to try again, before the first event only."""
    budget: Budget | None = None
    """What the call may spend over all its tries."""
    api_base: str | None = None
    """Another base URL for the provider."""
    api_key: str | None = Field(default=None, repr=False)
    """The key for this call."""
    headers: dict[str, str] | None = Field(default=None, repr=False)
    """HTTP headers for the provider."""
    provider_options: dict[str, dict[str, JsonValue]] | None = Field(default=None, repr=False)
    """Per provider, what is deep-merged into its wire body; entries for other providers are ignored."""
    metadata: dict[str, JsonValue] | None = None
    """What the provider stores with the call."""
    labels: dict[str, JsonValue] | None = None
    """What our own telemetry carries; never sent to a provider."""
    engine: EngineChoice | None = None
    """Which engine is to answer; None is "auto"."""


# ---------------------------------------------------------------------------------------------------- reply


class Error(_Document):
    """What went wrong. `omni_bridge.errors` raises it."""

    code: ErrorCode
    """What kind of failure it is."""
    message: str
    """What happened, where, and what to do next; for people."""
    provider: str | None
    """The provider that was asked, if the call got that far."""
    model: str | None
    """The model id that was asked for."""
    status: Annotated[int, Field(ge=0, le=65535)] | None
    """The provider's own HTTP status."""
    retryable: bool
    """Whether the same call may succeed later."""
    retry_after: float | None
    """Seconds to wait before the next try, as the provider asked."""
    request_id: str | None
    """The provider's id of the failed request, for its support."""


class CacheCreation(_Document):
    """Tokens written to the provider's prompt cache, by how long it keeps them."""

    five_minutes: Count | None = Field(alias="5m")
    """Tokens kept for five minutes."""
    one_hour: Count | None = Field(alias="1h")
    """Tokens kept for one hour."""


class Usage(_Document):
    """What a call consumed. Unknown is None, never 0."""

    input_tokens: Count | None
    """Tokens, cache reads and writes included."""
    output_tokens: Count | None
    """Tokens, reasoning included."""
    total_tokens: Count | None
    """The sum as the provider gives it."""
    cached_input_tokens: Count | None
    """Tokens read from the provider's prompt cache."""
    cache_creation_input_tokens: CacheCreation | None
    """Tokens written to the provider's prompt cache."""
    reasoning_tokens: Count | None
    """Of the output, the tokens of reasoning."""
    server_tool_calls: JsonValue
    """Calls of server-side tools: a number, or an object by tool."""
    cost_usd: float | None
    """US dollars."""
    raw: JsonValue
    """The provider's own usage object."""


class Attempt(_Document):
    """One try of one model."""

    model: str
    """The model id asked."""
    engine: EngineName | None
    """The engine that asked."""
    error: Error | None
    """Why it failed; None for the one that answered."""
    duration_ms: Count | None
    """Milliseconds that it took."""


class Reply(_Document):
    """The answer to one call. Every key is always there; unknown is None."""

    content: str
    """The joined text, "" if none."""
    tool_calls: list[ToolCall]
    """Calls that the model wants run."""
    reasoning: list[Part]
    """The reasoning parts."""
    refusal: str | None
    """The refusal's text."""
    finish_reason: FinishReason | None
    """Why the model stopped; None in a partial reply."""
    finish_reason_raw: str | None
    """The provider's own word for it."""
    usage: Usage
    """What the call consumed."""
    id: str | None
    """The provider's id of the answer."""
    request_id: str | None
    """The provider's id of the request."""
    created: Count | None
    """Unix seconds."""
    model: str | None
    """The model that answered, as the provider names it."""
    provider: str | None
    """Who answered."""
    engine: EngineName | None
    """The engine that asked."""
    service_tier: str | None
    """The provider's service tier."""
    logprobs: JsonValue
    """Log probabilities in the OpenAI shape."""
    attempts: list[Attempt]
    """Every try, the answering one last."""
    provider_data: dict[str, JsonValue] | None
    """What only this provider gives: grounding, citations, container …"""
    message: Message
    """The assistant message, ready to be appended: the next call then sends reasoning, signatures and the
    provider's parts back as they came."""


# --------------------------------------------------------------------------------------------------- events


class _Event(_Document):
    pass


class _PartEvent(_Event):
    index: Count
    """Which part of the message, tool calls included."""


class StartEvent(_Event):
    """The provider has begun to answer."""

    type: Literal["start"] = "start"
    id: str | None = None
    """The provider's id of the answer."""
    request_id: str | None = None
    """The provider's id of the request."""
    model: str
    """The model that answers, as the provider names it."""
    provider: str
    """Who answers."""
    engine: EngineName
    """The engine that asks."""


class TextStartEvent(_PartEvent):
    """A text part begins."""

    type: Literal["text_start"] = "text_start"


class TextDeltaEvent(_PartEvent):
    """More of the text."""

    type: Literal["text_delta"] = "text_delta"
    text: str
    """What is added."""


class TextEndEvent(_PartEvent):
    """The text part is whole."""

    type: Literal["text_end"] = "text_end"
    annotations: list[JsonValue] | None = None
    """Citations and links, as the provider gives them."""
    signature: str | None = None
    """The provider's opaque proof."""


class RefusalDeltaEvent(_Event):
    """More of the refusal."""

    type: Literal["refusal_delta"] = "refusal_delta"
    text: str
    """What is added."""


class ReasoningStartEvent(_PartEvent):
    """A reasoning part begins."""

    type: Literal["reasoning_start"] = "reasoning_start"
    id: str | None = None
    """The provider's id of it."""


class ReasoningDeltaEvent(_PartEvent):
    """More of the reasoning."""

    type: Literal["reasoning_delta"] = "reasoning_delta"
    text: str
    """What is added."""


class ReasoningEndEvent(_PartEvent):
    """The reasoning part is whole."""

    type: Literal["reasoning_end"] = "reasoning_end"
    signature: str | None = None
    """The provider's opaque proof."""
    encrypted: str | None = None
    """The provider's encrypted form."""


class ToolCallStartEvent(_PartEvent):
    """The model begins to ask for a tool."""

    type: Literal["tool_call_start"] = "tool_call_start"
    id: str
    """The call's id."""
    name: str
    """The tool's name."""
    kind: str | None = None
    """"custom" for a custom tool; absent for a function."""


class ToolCallDeltaEvent(_PartEvent):
    """More of the arguments, as the text received."""

    type: Literal["tool_call_delta"] = "tool_call_delta"
    arguments: str
    """What is added."""


class ToolCallEndEvent(_PartEvent):
    """The call is whole."""

    type: Literal["tool_call_end"] = "tool_call_end"
    signature: str | None = None
    """The provider's opaque proof."""
    extra: dict[str, JsonValue] | None = None
    """Per provider, what has to go back with the call."""


class MediaStartEvent(_PartEvent):
    """A picture or sound that the model made begins."""

    type: Literal["media_start"] = "media_start"
    mime: str
    """Its media type, for example image/png."""


class MediaDeltaEvent(_PartEvent):
    """More of it."""

    type: Literal["media_delta"] = "media_delta"
    base64: str
    """What is added; the joined text is base64."""


class MediaEndEvent(_PartEvent):
    """It is whole."""

    type: Literal["media_end"] = "media_end"
    signature: str | None = None
    """The provider's opaque proof."""


class ProviderPartEvent(_PartEvent):
    """What only this provider understands; kept in place in the message."""

    type: Literal["provider_part"] = "provider_part"
    provider: str
    """Whose it is."""
    kind: str
    """Its type on that provider's wire."""
    data: JsonValue
    """The wire object."""
    signature: str | None = None
    """The provider's opaque proof."""


class FallbackEvent(_Event):
    """Another model goes on; the parts named in ``discarded`` do not count any more."""

    type: Literal["fallback"] = "fallback"
    from_: str = Field(alias="from")
    """The model id that failed."""
    to: str
    """The model id that is asked next."""
    error: Error
    """Why the first one failed."""
    discarded: list[Count]
    """Indexes of parts that do not count any more."""


class UsageEvent(_Event):
    """What the call has consumed so far; the last one counts."""

    type: Literal["usage"] = "usage"
    usage: Usage
    """Cumulative."""


class DoneEvent(_Event):
    """The whole answer."""

    type: Literal["done"] = "done"
    reply: Reply
    """The reply, as an unstreamed call gives it."""


class ErrorEvent(_Event):
    """The call failed."""

    type: Literal["error"] = "error"
    error: Error
    """What went wrong."""
    reply: Reply
    """What had come."""


class CancelledEvent(_Event):
    """The caller cancelled."""

    type: Literal["cancelled"] = "cancelled"
    reply: Reply
    """What had come."""
    closed_ms: Count | None
    """Milliseconds from the cancel to the closed socket; None if unknown."""


Event: TypeAlias = Annotated[
    Union[  # noqa: UP007 - as above
        StartEvent,
        TextStartEvent,
        TextDeltaEvent,
        TextEndEvent,
        RefusalDeltaEvent,
        ReasoningStartEvent,
        ReasoningDeltaEvent,
        ReasoningEndEvent,
        ToolCallStartEvent,
        ToolCallDeltaEvent,
        ToolCallEndEvent,
        MediaStartEvent,
        MediaDeltaEvent,
        MediaEndEvent,
        ProviderPartEvent,
        FallbackEvent,
        UsageEvent,
        DoneEvent,
        ErrorEvent,
        CancelledEvent,
    ],
    Field(discriminator="type"),
]
"""One typed fact of a stream. The last is exactly one of ``done``, ``error`` and ``cancelled``."""

EventType: TypeAlias = Literal[
    "start",
    "text_start",
    "text_delta",
    "text_end",
    "refusal_delta",
    "reasoning_start",
    "reasoning_delta",
    "reasoning_end",
    "tool_call_start",
    "tool_call_delta",
    "tool_call_end",
    "media_start",
    "media_delta",
    "media_end",
    "provider_part",
    "fallback",
    "usage",
    "done",
    "error",
    "cancelled",
]
"""Every ``type`` of an event, in the order of the contract."""


def event(document: dict[str, Any]) -> _Event:
    """The model of an event document.

    Raises:
        pydantic.ValidationError: It is no event of the contract.

    >>> event({"type": "text_delta", "index": 0, "text": "Hi"}).text
    'Hi'
    """
    return _EVENT.validate_python(document)


_EVENT: TypeAdapter[_Event] = TypeAdapter(Event)
