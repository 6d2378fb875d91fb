"""What the signatures of the doors say. Nothing of it is needed to make a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypedDict, Union

from ._native import (
    CancelledEvent,
    DoneEvent,
    ErrorEvent,
    FallbackEvent,
    MediaDeltaEvent,
    MediaEndEvent,
    MediaStartEvent,
    Message,
    ProviderPartEvent,
    ReasoningDeltaEvent,
    ReasoningEndEvent,
    ReasoningStartEvent,
    RefusalDeltaEvent,
    StartEvent,
    TextDeltaEvent,
    TextEndEvent,
    TextStartEvent,
    ToolCallDeltaEvent,
    ToolCallEndEvent,
    ToolCallStartEvent,
    UsageEvent,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from . import types

__all__ = [
    "AnyEvent",
    "BudgetParams",
    "ChatParams",
    "Dumpable",
    "LimitParams",
    "MessageLike",
    "RetryParams",
    "TimeoutParams",
    "ToolLike",
]

AnyEvent: TypeAlias = Union[  # noqa: UP007 - also evaluated by Python 3.10, where native classes have no `|` for strings
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
]
"""What a stream yields: type checkers narrow it by ``event.type``, and ``match`` by class."""


class Dumpable(Protocol):
    """A pydantic model, of ours or of the caller."""

    def model_dump(self, *, mode: str = ..., exclude_none: bool = ...) -> dict[str, Any]:
        """The document."""
        ...


MessageLike: TypeAlias = "Mapping[str, Any] | Message | types.Message | Dumpable"
ToolLike: TypeAlias = "Mapping[str, Any] | Dumpable"


class TimeoutParams(TypedDict, total=False):
    """Seconds for each wait."""

    connect: float
    first_event: float
    idle: float
    total: float


class RetryParams(TypedDict, total=False):
    """Tries after the first, and seconds of waiting between them, at the most."""

    max_retries: int
    max_wait: float


class BudgetParams(TypedDict, total=False):
    """What may be spent; both, if both are given."""

    tokens: int
    usd: float


class LimitParams(TypedDict, total=False):
    """What a provider may be asked at the most."""

    concurrency: int
    requests_per_minute: int
    tokens_per_minute: int


class ChatParams(TypedDict, total=False):
    """Every field of a request beside ``messages``, ``model`` and ``tools``; None is the same as absent."""

    tool_choice: str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    max_tokens: int | None
    stop: str | Sequence[str] | None
    seed: int | None
    n: int | None
    logprobs: bool | None
    top_logprobs: int | None
    frequency_penalty: float | None
    presence_penalty: float | None
    response_format: Mapping[str, Any] | Dumpable | None
    modalities: Sequence[str] | None
    service_tier: str | None
    user: str | None
    reasoning_effort: str | None
    reasoning_budget_tokens: int | None
    timeout: float | TimeoutParams | None
    fallbacks: Sequence[str | Mapping[str, Any]] | None
    fallback_mid_stream: bool | None
    retry: int | RetryParams | None
    budget: BudgetParams | None
    api_base: str | None
    api_key: str | None
    headers: Mapping[str, str] | None
    provider_options: Mapping[str, Mapping[str, Any]] | None
    metadata: Mapping[str, Any] | None
    labels: Mapping[str, Any] | None
    engine: Literal["auto", "native", "litellm"] | None
