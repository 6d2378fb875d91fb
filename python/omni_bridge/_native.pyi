# ruff: noqa: PYI021, ANN401, D205, D415 - the docstrings are those of the Rust code, for editors; JSON is Any
"""The Rust half of the package: the frozen classes that the doors hand out, and what the doors are made of.

Public are the classes, under `omni_bridge`; the functions and `Call`, `Channel`, `Engine…` are the package's
own.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, ClassVar, Final, Literal, TypeAlias, final

from typing_extensions import Self, disjoint_base

from .errors import OmniError

_Engine: TypeAlias = Literal["native", "litellm"]
_FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "pause", "other"]
_Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool"]

__version__: Final[str]
CONTRACT: Final[int]
"""The version of the contract."""

@final
class ChatReply:
    """The answer to one call. Every attribute is always there; what is unknown is None.

    `reply.message` is the assistant message, ready to be appended to `messages`.
    """

    @property
    def content(self) -> str:
        """The joined text, "" if none."""

    @property
    def tool_calls(self) -> list[ToolCall]:
        """Calls that the model wants run."""

    @property
    def reasoning(self) -> list[Part]:
        """The reasoning parts."""

    @property
    def refusal(self) -> str | None:
        """The refusal's text."""

    @property
    def finish_reason(self) -> _FinishReason | None:
        """Why the model stopped: "stop", "length", "tool_calls", "content_filter", "pause" or "other"; None
        in a partial reply.
        """

    @property
    def finish_reason_raw(self) -> str | None:
        """The provider's own word for it."""

    @property
    def usage(self) -> Usage:
        """What the call consumed."""

    @property
    def id(self) -> str | None:
        """The provider's id of the answer."""

    @property
    def request_id(self) -> str | None:
        """The provider's id of the request, for its support."""

    @property
    def created(self) -> int | None:
        """Unix seconds."""

    @property
    def model(self) -> str | None:
        """The model that answered, as the provider names it."""

    @property
    def provider(self) -> str | None:
        """Who answered."""

    @property
    def engine(self) -> _Engine | None:
        """The engine that asked: "native" or "litellm"."""

    @property
    def service_tier(self) -> str | None:
        """The provider's service tier."""

    @property
    def logprobs(self) -> Any:
        """Log probabilities in the OpenAI shape."""

    @property
    def attempts(self) -> list[Attempt]:
        """Every try, the answering one last."""

    @property
    def provider_data(self) -> dict[str, Any] | None:
        """What only this provider gives: grounding, citations, container …"""

    @property
    def message(self) -> Message:
        """The assistant message, ready to be appended."""

    @staticmethod
    def from_json(text: str | bytes) -> ChatReply:
        """Reads one from JSON text (`str` or `bytes`)."""

    @staticmethod
    def from_dict(document: object) -> ChatReply:
        """Makes one from a dict, a pydantic model or an object like itself."""

    def to_dict(self) -> dict[str, Any]:
        """The document of the contract as dicts, lists and plain values; a new one at each call."""

    def to_json(self) -> str:
        """The document of the contract as JSON text."""

    def model_dump(self, *, mode: str = "python", exclude_none: bool = False) -> dict[str, Any]:
        """`to_dict()` under pydantic's name; with `exclude_none`, without the keys that are None."""

    def __eq__(self, other: object, /) -> bool: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object) -> Self: ...
    def __reduce__(self) -> tuple[Any, tuple[str]]: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]  # equal by value, which may hold dicts

@final
class Message:
    """One entry of a conversation. `reply.message` is one: append it and call again."""

    @property
    def role(self) -> _Role:
        """Who speaks: "system", "developer", "user", "assistant" or "tool"."""

    @property
    def content(self) -> str | list[Part] | None:
        """What is said: a string, a list of `Part`, or None."""

    @property
    def name(self) -> str | None:
        """The speaker's name."""

    @property
    def tool_calls(self) -> list[ToolCall] | None:
        """Calls that the assistant asked for."""

    @property
    def tool_call_id(self) -> str | None:
        """In a tool message: the call that it answers."""

    @property
    def is_error(self) -> bool | None:
        """In a tool message: whether the tool failed."""

    @property
    def refusal(self) -> str | None:
        """The assistant's refusal."""

    @property
    def prefix(self) -> bool | None:
        """In the last assistant message: the model goes on from this text."""

    @property
    def cache_control(self) -> Any:
        """A mark for the provider's prompt cache."""

    @property
    def extra(self) -> dict[str, Any] | None:
        """Per provider, what is merged into its wire object."""

    @property
    def model_extra(self) -> dict[str, Any]:
        """Keys that the contract does not name, kept as they came."""

    @staticmethod
    def from_json(text: str | bytes) -> Message:
        """Reads one from JSON text (`str` or `bytes`)."""

    @staticmethod
    def from_dict(document: object) -> Message:
        """Makes one from a dict, a pydantic model or an object like itself."""

    def to_dict(self) -> dict[str, Any]:
        """The document of the contract as dicts, lists and plain values; a new one at each call."""

    def to_json(self) -> str:
        """The document of the contract as JSON text."""

    def model_dump(self, *, mode: str = "python", exclude_none: bool = False) -> dict[str, Any]:
        """`to_dict()` under pydantic's name; with `exclude_none`, without the keys that are None."""

    def __eq__(self, other: object, /) -> bool: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object) -> Self: ...
    def __reduce__(self) -> tuple[Any, tuple[str]]: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]  # equal by value, which may hold dicts

@final
class Part:
    """One typed piece of a message. What a part of this `type` does not have is None."""

    @property
    def type(self) -> str:
        """Its kind: "text", "image_url", "input_audio", "file", "reasoning", "provider", "tool_call", or an
        unknown one.
        """

    @property
    def text(self) -> str | None:
        """The text of a text or reasoning part."""

    @property
    def annotations(self) -> list[Any] | None:
        """Citations and links of a text part, as the provider gives them."""

    @property
    def signature(self) -> str | None:
        """The provider's opaque proof, sent back byte for byte."""

    @property
    def encrypted(self) -> str | None:
        """The provider's encrypted form of a reasoning part."""

    @property
    def id(self) -> str | None:
        """The id of a reasoning part, or of the call that a tool_call part marks."""

    @property
    def image_url(self) -> Any:
        """`{url, detail?, format?}` of an image."""

    @property
    def input_audio(self) -> Any:
        """`{data, format}` of sound."""

    @property
    def file(self) -> Any:
        """`{file_id?, file_data?, filename?, format?}` of a file."""

    @property
    def provider(self) -> str | None:
        """Whose a provider part is."""

    @property
    def kind(self) -> str | None:
        """The type of a provider part on that provider's wire."""

    @property
    def data(self) -> Any:
        """The wire object of a provider part."""

    @property
    def cache_control(self) -> Any:
        """A mark for the provider's prompt cache."""

    @property
    def extra(self) -> dict[str, Any] | None:
        """Per provider, what is merged into the wire object of this part."""

    @property
    def model_extra(self) -> dict[str, Any]:
        """Keys that the contract does not name, kept as they came."""

    @staticmethod
    def from_json(text: str | bytes) -> Part:
        """Reads one from JSON text (`str` or `bytes`)."""

    @staticmethod
    def from_dict(document: object) -> Part:
        """Makes one from a dict, a pydantic model or an object like itself."""

    def to_dict(self) -> dict[str, Any]:
        """The document of the contract as dicts, lists and plain values; a new one at each call."""

    def to_json(self) -> str:
        """The document of the contract as JSON text."""

    def model_dump(self, *, mode: str = "python", exclude_none: bool = False) -> dict[str, Any]:
        """`to_dict()` under pydantic's name; with `exclude_none`, without the keys that are None."""

    def __eq__(self, other: object, /) -> bool: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object) -> Self: ...
    def __reduce__(self) -> tuple[Any, tuple[str]]: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]  # equal by value, which may hold dicts

@final
class ToolCall:
    """A model's request to run a tool."""

    @property
    def id(self) -> str:
        """The id that the tool result names."""

    @property
    def type(self) -> str:
        """Which of the two that follow is set: "function" or "custom"."""

    @property
    def function(self) -> Function | None:
        """Set when `type` is "function"."""

    @property
    def custom(self) -> Custom | None:
        """Set when `type` is "custom"."""

    @property
    def signature(self) -> str | None:
        """The provider's opaque proof, sent back byte for byte."""

    @property
    def extra(self) -> dict[str, Any] | None:
        """Per provider, what is merged into its wire object."""

    @property
    def model_extra(self) -> dict[str, Any]:
        """Keys that the contract does not name, kept as they came."""

    @staticmethod
    def from_json(text: str | bytes) -> ToolCall:
        """Reads one from JSON text (`str` or `bytes`)."""

    @staticmethod
    def from_dict(document: object) -> ToolCall:
        """Makes one from a dict, a pydantic model or an object like itself."""

    def to_dict(self) -> dict[str, Any]:
        """The document of the contract as dicts, lists and plain values; a new one at each call."""

    def to_json(self) -> str:
        """The document of the contract as JSON text."""

    def model_dump(self, *, mode: str = "python", exclude_none: bool = False) -> dict[str, Any]:
        """`to_dict()` under pydantic's name; with `exclude_none`, without the keys that are None."""

    def __eq__(self, other: object, /) -> bool: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object) -> Self: ...
    def __reduce__(self) -> tuple[Any, tuple[str]]: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]  # equal by value, which may hold dicts

@final
class Function:
    """The function that a model wants called."""

    @property
    def name(self) -> str:
        """The tool's name."""

    @property
    def arguments(self) -> str:
        """The arguments as the text received, whether or not it is valid JSON."""

    @property
    def model_extra(self) -> dict[str, Any]:
        """Keys that the contract does not name, kept as they came."""

    @staticmethod
    def from_json(text: str | bytes) -> Function:
        """Reads one from JSON text (`str` or `bytes`)."""

    @staticmethod
    def from_dict(document: object) -> Function:
        """Makes one from a dict, a pydantic model or an object like itself."""

    def to_dict(self) -> dict[str, Any]:
        """The document of the contract as dicts, lists and plain values; a new one at each call."""

    def to_json(self) -> str:
        """The document of the contract as JSON text."""

    def model_dump(self, *, mode: str = "python", exclude_none: bool = False) -> dict[str, Any]:
        """`to_dict()` under pydantic's name; with `exclude_none`, without the keys that are None."""

    def __eq__(self, other: object, /) -> bool: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object) -> Self: ...
    def __reduce__(self) -> tuple[Any, tuple[str]]: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]  # equal by value, which may hold dicts

@final
class Custom:
    """The custom tool that a model wants called."""

    @property
    def name(self) -> str:
        """The tool's name."""

    @property
    def input(self) -> str:
        """The free text input."""

    @property
    def model_extra(self) -> dict[str, Any]:
        """Keys that the contract does not name, kept as they came."""

    @staticmethod
    def from_json(text: str | bytes) -> Custom:
        """Reads one from JSON text (`str` or `bytes`)."""

    @staticmethod
    def from_dict(document: object) -> Custom:
        """Makes one from a dict, a pydantic model or an object like itself."""

    def to_dict(self) -> dict[str, Any]:
        """The document of the contract as dicts, lists and plain values; a new one at each call."""

    def to_json(self) -> str:
        """The document of the contract as JSON text."""

    def model_dump(self, *, mode: str = "python", exclude_none: bool = False) -> dict[str, Any]:
        """`to_dict()` under pydantic's name; with `exclude_none`, without the keys that are None."""

    def __eq__(self, other: object, /) -> bool: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object) -> Self: ...
    def __reduce__(self) -> tuple[Any, tuple[str]]: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]  # equal by value, which may hold dicts

@final
class Usage:
    """What a call consumed. Unknown is None, never 0."""

    @property
    def input_tokens(self) -> int | None:
        """Tokens in; cache reads and writes included."""

    @property
    def output_tokens(self) -> int | None:
        """Tokens out; reasoning included."""

    @property
    def total_tokens(self) -> int | None:
        """The sum as the provider gives it."""

    @property
    def cached_input_tokens(self) -> int | None:
        """Tokens read from the provider's prompt cache."""

    @property
    def cache_creation_input_tokens(self) -> CacheCreation | None:
        """Tokens written to the provider's prompt cache."""

    @property
    def reasoning_tokens(self) -> int | None:
        """Of the output, the tokens that were reasoning."""

    @property
    def server_tool_calls(self) -> Any:
        """Calls of server-side tools: a number, or an object by tool."""

    @property
    def cost_usd(self) -> float | None:
        """Cost in US dollars."""

    @property
    def raw(self) -> Any:
        """The provider's own usage object."""

    @staticmethod
    def from_json(text: str | bytes) -> Usage:
        """Reads one from JSON text (`str` or `bytes`)."""

    @staticmethod
    def from_dict(document: object) -> Usage:
        """Makes one from a dict, a pydantic model or an object like itself."""

    def to_dict(self) -> dict[str, Any]:
        """The document of the contract as dicts, lists and plain values; a new one at each call."""

    def to_json(self) -> str:
        """The document of the contract as JSON text."""

    def model_dump(self, *, mode: str = "python", exclude_none: bool = False) -> dict[str, Any]:
        """`to_dict()` under pydantic's name; with `exclude_none`, without the keys that are None."""

    def __eq__(self, other: object, /) -> bool: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object) -> Self: ...
    def __reduce__(self) -> tuple[Any, tuple[str]]: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]  # equal by value, which may hold dicts

@final
class CacheCreation:
    """Tokens written to the provider's prompt cache, by how long they stay there."""

    @property
    def five_minutes(self) -> int | None:
        """For five minutes (key "5m")."""

    @property
    def one_hour(self) -> int | None:
        """For one hour (key "1h")."""

    @staticmethod
    def from_json(text: str | bytes) -> CacheCreation:
        """Reads one from JSON text (`str` or `bytes`)."""

    @staticmethod
    def from_dict(document: object) -> CacheCreation:
        """Makes one from a dict, a pydantic model or an object like itself."""

    def to_dict(self) -> dict[str, Any]:
        """The document of the contract as dicts, lists and plain values; a new one at each call."""

    def to_json(self) -> str:
        """The document of the contract as JSON text."""

    def model_dump(self, *, mode: str = "python", exclude_none: bool = False) -> dict[str, Any]:
        """`to_dict()` under pydantic's name; with `exclude_none`, without the keys that are None."""

    def __eq__(self, other: object, /) -> bool: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object) -> Self: ...
    def __reduce__(self) -> tuple[Any, tuple[str]]: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]  # equal by value, which may hold dicts

@final
class Attempt:
    """One try of one model."""

    @property
    def model(self) -> str:
        """The model id asked."""

    @property
    def engine(self) -> _Engine | None:
        """The engine that asked."""

    @property
    def error(self) -> OmniError | None:
        """Why it failed, as an exception (not raised); None for the one that answered."""

    @property
    def duration_ms(self) -> int | None:
        """Milliseconds that it took."""

    @staticmethod
    def from_json(text: str | bytes) -> Attempt:
        """Reads one from JSON text (`str` or `bytes`)."""

    @staticmethod
    def from_dict(document: object) -> Attempt:
        """Makes one from a dict, a pydantic model or an object like itself."""

    def to_dict(self) -> dict[str, Any]:
        """The document of the contract as dicts, lists and plain values; a new one at each call."""

    def to_json(self) -> str:
        """The document of the contract as JSON text."""

    def model_dump(self, *, mode: str = "python", exclude_none: bool = False) -> dict[str, Any]:
        """`to_dict()` under pydantic's name; with `exclude_none`, without the keys that are None."""

    def __eq__(self, other: object, /) -> bool: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object) -> Self: ...
    def __reduce__(self) -> tuple[Any, tuple[str]]: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]  # equal by value, which may hold dicts

@disjoint_base
class Event:
    """One typed fact of a stream. Each has its own class; `event.type` names it.

    `index` counts the parts of the message, tool calls included. The last event of a stream is exactly one of
    `DoneEvent`, `ErrorEvent` and `CancelledEvent`.
    """

    @staticmethod
    def from_json(text: str | bytes) -> Event:
        """Reads one from JSON text (`str` or `bytes`); the object is of the class of its `type`."""

    @staticmethod
    def from_dict(document: object) -> Event:
        """Makes one from a dict, a pydantic model or an object like itself."""

    def to_dict(self) -> dict[str, Any]:
        """The document of the contract as dicts, lists and plain values; a new one at each call."""

    def to_json(self) -> str:
        """The document of the contract as JSON text."""

    def model_dump(self, *, mode: str = "python", exclude_none: bool = False) -> dict[str, Any]:
        """`to_dict()` under pydantic's name; with `exclude_none`, without the keys that are None."""

    def __eq__(self, other: object, /) -> bool: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object) -> Self: ...
    def __reduce__(self) -> tuple[Any, tuple[str]]: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]  # equal by value, which may hold dicts

@final
class StartEvent(Event):
    """The provider has begun to answer."""

    type: ClassVar[Literal["start"]]

    @property
    def id(self) -> str | None:
        """The provider's id of the answer."""

    @property
    def request_id(self) -> str | None:
        """The provider's id of the request."""

    @property
    def model(self) -> str:
        """The model, as the provider names it."""

    @property
    def provider(self) -> str:
        """Who answers."""

    @property
    def engine(self) -> _Engine:
        """The engine that asked."""

@final
class TextStartEvent(Event):
    """A text part begins."""

    type: ClassVar[Literal["text_start"]]

    @property
    def index(self) -> int:
        """The part's place in the message."""

@final
class TextDeltaEvent(Event):
    """More of the text."""

    type: ClassVar[Literal["text_delta"]]

    @property
    def index(self) -> int:
        """The part's place in the message."""

    @property
    def text(self) -> str:
        """What is added."""

@final
class TextEndEvent(Event):
    """The text part is whole."""

    type: ClassVar[Literal["text_end"]]

    @property
    def index(self) -> int:
        """The part's place in the message."""

    @property
    def annotations(self) -> list[Any] | None:
        """Citations and links, as the provider gives them."""

    @property
    def signature(self) -> str | None:
        """The provider's opaque proof."""

@final
class RefusalDeltaEvent(Event):
    """More of the refusal."""

    type: ClassVar[Literal["refusal_delta"]]

    @property
    def text(self) -> str:
        """What is added."""

@final
class ReasoningStartEvent(Event):
    """A reasoning part begins."""

    type: ClassVar[Literal["reasoning_start"]]

    @property
    def index(self) -> int:
        """The part's place in the message."""

    @property
    def id(self) -> str | None:
        """The provider's id of it."""

@final
class ReasoningDeltaEvent(Event):
    """More of the reasoning."""

    type: ClassVar[Literal["reasoning_delta"]]

    @property
    def index(self) -> int:
        """The part's place in the message."""

    @property
    def text(self) -> str:
        """What is added."""

@final
class ReasoningEndEvent(Event):
    """The reasoning part is whole."""

    type: ClassVar[Literal["reasoning_end"]]

    @property
    def index(self) -> int:
        """The part's place in the message."""

    @property
    def signature(self) -> str | None:
        """The provider's opaque proof."""

    @property
    def encrypted(self) -> str | None:
        """The provider's encrypted form."""

@final
class ToolCallStartEvent(Event):
    """The model begins to ask for a tool."""

    type: ClassVar[Literal["tool_call_start"]]

    @property
    def index(self) -> int:
        """The call's place in the message."""

    @property
    def id(self) -> str:
        """The id that the tool result names."""

    @property
    def name(self) -> str:
        """The tool's name."""

    @property
    def kind(self) -> str | None:
        """What kind of tool: "custom", or None for a function."""

@final
class ToolCallDeltaEvent(Event):
    """More of the arguments, as the text received."""

    type: ClassVar[Literal["tool_call_delta"]]

    @property
    def index(self) -> int:
        """The call's place in the message."""

    @property
    def arguments(self) -> str:
        """What is added."""

@final
class ToolCallEndEvent(Event):
    """The call is whole."""

    type: ClassVar[Literal["tool_call_end"]]

    @property
    def index(self) -> int:
        """The call's place in the message."""

    @property
    def signature(self) -> str | None:
        """The provider's opaque proof."""

    @property
    def extra(self) -> dict[str, Any] | None:
        """Per provider, what is merged into its wire object."""

@final
class MediaStartEvent(Event):
    """A picture or sound that the model made begins."""

    type: ClassVar[Literal["media_start"]]

    @property
    def index(self) -> int:
        """The part's place in the message."""

    @property
    def mime(self) -> str:
        """Its media type."""

@final
class MediaDeltaEvent(Event):
    """More of the picture or sound."""

    type: ClassVar[Literal["media_delta"]]

    @property
    def index(self) -> int:
        """The part's place in the message."""

    @property
    def base64(self) -> str:
        """What is added, in base64."""

@final
class MediaEndEvent(Event):
    """The picture or sound is whole."""

    type: ClassVar[Literal["media_end"]]

    @property
    def index(self) -> int:
        """The part's place in the message."""

    @property
    def signature(self) -> str | None:
        """The provider's opaque proof."""

@final
class ProviderPartEvent(Event):
    """What only this provider understands; kept in place in the message."""

    type: ClassVar[Literal["provider_part"]]

    @property
    def index(self) -> int:
        """The part's place in the message."""

    @property
    def provider(self) -> str:
        """Whose it is."""

    @property
    def kind(self) -> str:
        """Its type on that provider's wire."""

    @property
    def data(self) -> Any:
        """The wire object."""

    @property
    def signature(self) -> str | None:
        """The provider's opaque proof."""

@final
class FallbackEvent(Event):
    """Another model goes on; the parts named in `discarded` do not count any more."""

    type: ClassVar[Literal["fallback"]]

    @property
    def from_(self) -> str:
        """The model id that failed (key "from")."""

    @property
    def to(self) -> str:
        """The model id that is asked now."""

    @property
    def error(self) -> OmniError:
        """Why, as an exception (not raised)."""

    @property
    def discarded(self) -> list[int]:
        """Indexes of parts that do not count any more."""

@final
class UsageEvent(Event):
    """What the call has consumed so far; the last one counts."""

    type: ClassVar[Literal["usage"]]

    @property
    def usage(self) -> Usage:
        """The counts."""

@final
class DoneEvent(Event):
    """The whole answer."""

    type: ClassVar[Literal["done"]]

    @property
    def reply(self) -> ChatReply:
        """The reply."""

@final
class ErrorEvent(Event):
    """The call failed."""

    type: ClassVar[Literal["error"]]

    @property
    def error(self) -> OmniError:
        """What happened, as an exception (not raised)."""

    @property
    def reply(self) -> ChatReply:
        """What had come."""

@final
class CancelledEvent(Event):
    """The caller cancelled."""

    type: ClassVar[Literal["cancelled"]]

    @property
    def reply(self) -> ChatReply:
        """What had come."""

    @property
    def closed_ms(self) -> int | None:
        """Milliseconds until the provider's socket was closed; None if that is not known."""

@final
class Request:
    """A checked request, for callers that have it as JSON or want to look at a field before they pass it
    on.
    """

    def __new__(
        cls, messages: object, model: object, tools: object = None, params: object = None
    ) -> Self: ...
    @staticmethod
    def from_json(text: str | bytes) -> Request:
        """Reads a request from JSON text: `str` or `bytes`."""

    def get(self, field: str) -> Any:
        """The value of a field of the contract; None if the request does not set it."""

    def to_dict(self) -> dict[str, Any]:
        """The document of the contract as dicts, lists and plain values, keys included."""

    def to_json(self) -> str:
        """The document of the contract as JSON text, keys included."""

    @property
    def model(self) -> str:
        """The model id that is asked for."""

@final
class Call:
    """One call. The doors in Python are thin around it; it is no public name."""

    @staticmethod
    def chat(request: Request) -> Call:
        """A call that answers with a `ChatReply`."""

    @staticmethod
    def stream(request: Request) -> Call:
        """A call that answers with events."""

    def pop(self) -> Any:
        """Takes what has come: an event, the reply or the document; None if there is nothing just now, or,
        when `ended` says so, nothing any more. Starts the call. Never waits.
        """

    def next(self) -> Any:
        """As `pop`, but waits, detached; None only at the end."""

    @property
    def ended(self) -> bool:
        """Whether everything has been taken and nothing more will come."""

    def outcome(self) -> ChatReply:
        """What the last event says: the reply of `done`, or the exception of `error` or `cancelled`,
        raised.
        """

    def cancel(self) -> None:
        """Asks the call to stop; the events that follow end in `cancelled`. A call that has not begun does
        not begin.
        """

    def close(self) -> None:
        """Stops the call and forgets what has come. What still waits is woken and finds the end."""

    def wait(self, channel: Channel, future: object) -> bool:
        """Has `channel` complete `future` when there is something to take. False if there is something
        already.
        """

    def wait_fd(self) -> int | None:
        """A descriptor that is readable when there is something to take; None if there is something
        already.
        """

@final
class AgentHost:
    """What `Agent` in Python holds."""

    def __new__(cls, config: object, tools: object) -> Self: ...
    @staticmethod
    def read_toml(text: str) -> dict[str, Any]:
        """Reads a TOML document into a configuration document."""

    def run(self, begin: object) -> AgentRun:
        """Begins a turn when its first event is asked for."""

    def sessions(self, op: object) -> Call:
        """Asks the sessions: `list`, `info`, `messages`, `events`, `search`, `fork`, `rename`, `delete`,
        `export`, `export_messages`, `import` and `import_messages`, each with its fields as a document.
        """

    def follow(self, session_id: str, after: int) -> Call:
        """The events of a session as they come, after `after`; from this process and from others."""

    def test_run(self, lines: str) -> Call:
        """Runs a log again with its own answers and tools: `{same, events, diff}`."""

    def close(self) -> Call:
        """Cancels what runs and ends the servers."""

@final
class AgentRun:
    """One turn, for `_agent.py`."""

    @property
    def events(self) -> Call:
        """Brings the events."""

    @property
    def calls(self) -> Call:
        """Brings the requests for functions."""

    @property
    def session_id(self) -> str | None:
        """The session, once the turn has begun."""

    def cancel(self) -> None:
        """Stops the turn; its events end in `agent.turn.cancelled`."""

    def outcome(self) -> Call:
        """How the turn ended; waits for it."""

    def approve(self, call_id: str, decision: object) -> None:
        """Decides about a proposed tool call."""

    def answer(self, number: int, answer: object) -> None:
        """What a function answered; nothing if nobody waits for it any more."""

    def progress(
        self, number: int, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """How far a function is."""

@final
class Channel:
    """What one loop has to do with us. The loop owns it, through the reader that it has registered, and it
    owns the
    futures: so both go when the loop is closed, whatever still waits.
    """

    def __new__(cls) -> Self: ...
    def fileno(self) -> int:
        """The descriptor that the loop watches."""

    def drain(self) -> None:
        """Completes the futures whose calls have something to take; the loop calls it."""

    @property
    def waiting(self) -> int:
        """How many futures wait."""

def register_provider(definition: object) -> None:
    """Adds a provider that the native engine can ask."""

def configure(document: object) -> None:
    """Sets the defaults of all calls that begin from now on."""

def models_call() -> Call:
    """The call behind `models()`."""

def warm_up_call() -> Call:
    """The call behind `warm_up()`."""

def op_call(name: str, document: object) -> Call:
    """An operation of the engine, as a document."""

def cli_main(argv: Sequence[str]) -> int:
    """Runs the `omni` command line: `argv` with the program's name first. Gives the exit code.

    Detached all the while. The command line listens for Ctrl-C itself and ends its call; afterwards Python's
    own handler is in its place again.
    """

def panicking_call(place: str) -> Call:
    """A call that panics in our Rust, "here" or on the runtime: for the test that a panic is an `internal`
    error.
    """

def closed_sets() -> list[tuple[str, list[str]]]:
    """The words of the closed sets, for the test that compares them with `types.py`."""

# --------------------------------------------------------------------- the engine half

engine_api: Final[object]
"""The table of C functions, in a capsule; `rust/bridge/src/embedded/abi.rs` describes it."""

@final
class EngineHub:
    """What one loop holds of us. There is one for each loop that was ever started."""

    def began(self, call_soon: object, drain: object) -> None:
        """The loop begins: how to be called soon, and what `sink.drain()` does."""

    @staticmethod
    def over(reason: str | None = None) -> None:
        """The loop's thread has nothing more to do with Python; `reason` is what ended it, if that was not a
        stop.
        """

    def fileno(self) -> int:
        """What the loop's selector watches."""

    def take(self) -> list[Any]:
        """Everything that is to be done, in order: `(sink, document)`, `("cancel", id)`, `("resume", id)`,
        `("stop", 0)`.
        """

    def flush(self) -> None:
        """Hands over what the calls have gathered in this turn."""

@final
class EngineSink:
    """Where a handler puts its events. Only the engine's loop uses it."""

    waiter: asyncio.Future[None] | None
    """The future that `drain` waits on."""

    def emit(self, event: Any) -> bool:
        """Queues one event; True when the receiver is full: then `await sink.drain()` before going on."""

    def drain(self) -> Coroutine[Any, Any, None]:
        """Waits until the receiver takes events again."""

    def resume(self) -> None:
        """The receiver takes events again: hands over what waited and wakes the handler."""

    def finish(self, last: dict[str, Any] | None = None) -> None:
        """Ends the call with what has gathered and `last`, if given. A second time it does nothing."""

    def _panic(self) -> None:
        """Panics. For the tests of what a panic in our Rust does to a call."""

    @property
    def full(self) -> bool:
        """Whether the receiver is full."""

    @property
    def ended(self) -> bool:
        """Whether the last batch was given."""

    @property
    def id(self) -> int:
        """The call's id."""

def engine_at_exit() -> None:
    """Python's exit, while everything still works: streams are cancelled and the loop is stopped."""

def engine_exit_hook() -> None:
    """Has C's `exit` stop the loop first. Hooks run in the reverse order, and libraries that the loop uses
    bring their own (OpenSSL frees its tables): so this is called again when such a library has been loaded.
    """

def engine_interrupt(thread: int) -> None:
    """Raises `SystemExit` in the thread of this id, at its next step in Python code."""

def engine_on_thread() -> bool:
    """Whether this is the engine's own thread."""

def engine_open_calls() -> int:
    """How many calls have not ended."""

def engine_shutdown(timeout: float) -> bool:
    """Cancels every call and stops the loop; True if it stopped in time. A later call starts a new one."""
