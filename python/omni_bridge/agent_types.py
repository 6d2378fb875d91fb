"""The events, ops and configuration of an agent, as types.

Written by tools/gen_agent_types.py from rust/agent/schema; mend it with: make fix

An event as it is written (`omni run --json`, SSE, a log) is a dict of one of the `…Dict` types, told apart by
`event_type`; `event_of` makes the frozen class of it. A `Contract…` is a document of `omni_bridge.types`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

ContractMessage: TypeAlias = dict[str, Any]
ContractToolCall: TypeAlias = dict[str, Any]
ContractUsage: TypeAlias = dict[str, Any]

Activity: TypeAlias = Literal["asking", "streaming", "waiting_for_approval", "running_tools", "compacting"]
"""What a turn is doing."""

ChunkKind: TypeAlias = Literal["text", "refusal", "tool_call"]
"""What a chunk of an answer is a piece of."""

CompactionReason: TypeAlias = Literal["window_nearly_full", "context_length", "asked"]
"""Why a session is compacted."""

Decider: TypeAlias = Literal["policy", "user", "timeout"]
"""Who decided about a tool call."""

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
"""How much a log entry matters."""

Scope: TypeAlias = Literal["once", "session", "always"]
"""For how long a decision holds."""

StoppedBy: TypeAlias = Literal["max_tool_rounds", "repeated_call", "budget"]
"""Why the loop stopped although the model wanted more."""

ToolFailure: TypeAlias = Literal[
    "unknown", "invalid_arguments", "timeout", "server_gone", "malformed", "failed", "cancelled", "repeated"
]
"""How a tool failed."""


class DecisionApprove(TypedDict):
    """It may run."""

    decision: Literal["approve"]
    scope: Scope


class _DecisionDenyAlways(TypedDict):
    decision: Literal["deny"]


class DecisionDeny(_DecisionDenyAlways, total=False):
    """It may not."""

    reason: str | None


Decision: TypeAlias = DecisionApprove | DecisionDeny
"""What somebody decides about a proposed tool call."""


class ErrorDocument(TypedDict):
    """The error document of the contract, as it stands in the event schema."""

    code: Literal[
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
    message: str
    provider: str | None
    model: str | None
    status: int | None
    retryable: bool | None
    retry_after: float | None
    request_id: str | None


class ForkOrigin(TypedDict):
    """Where a fork was made."""

    session_id: str
    message_id: str | None


class OpCancel(TypedDict):
    """Stop the turn."""

    op: Literal["cancel"]


class OpApprove(TypedDict):
    """Decide about a proposed tool call."""

    op: Literal["approve"]
    call_id: str
    decision: Decision


Op: TypeAlias = OpCancel | OpApprove
"""What a front end asks of a run."""


class _StreamEndAlways(TypedDict):
    usage: ContractUsage
    duration_ms: int


class StreamEnd(_StreamEndAlways, total=False):
    """How a model call ended: the reply without its message, which `message.saved` holds."""

    message_id: str | None
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter", "pause", "other"] | None
    model: str | None
    provider: str | None
    engine: Literal["native", "litellm"] | None


class TurnUsage(TypedDict):
    """What a turn, or a session, consumed: sums of what the providers said."""

    input_tokens: int
    output_tokens: int
    cost_usd: float | None


Bridge: TypeAlias = Literal["embedded"]
"""Where the bridge is."""

Durability: TypeAlias = Literal["process_kill", "power_loss"]
"""What a store must survive."""

Llm: TypeAlias = Literal["bridge"]
"""Who answers."""

Policy: TypeAlias = Literal["approve", "approve_reads", "ask", "deny"]
"""Whether a tool may run."""


class _AgentConfigAlways(TypedDict):
    model: str


class AgentConfig(_AgentConfigAlways, total=False):
    """An agent: its model, its tools, its limits."""

    llm: Llm
    bridge: Bridge
    bridge_url: str | None
    fallbacks: list[Any]
    engine: EngineSwitch
    system: str | None
    mcp_servers: dict[str, ServerConfig]
    max_tool_rounds: int
    max_parallel_tools: int
    max_result_bytes: int
    max_repeated_calls: int
    timeouts: Timeouts
    budget: Budgets
    approval: Approval
    compaction: Compaction
    session_store: StoreConfig | None
    titles: bool
    small_model: str | None
    request: dict[str, Any]
    mcpServers: dict[str, ServerConfig]


class Approval(TypedDict, total=False):
    """Which tools may run, and who is asked.

    The most exact entry counts: `tools`, then `servers`, then `default`.
    """

    default: Policy
    servers: dict[str, Policy]
    tools: dict[str, Policy]
    unattended: bool
    file: str | None


class Budgets(TypedDict, total=False):
    """Limits of spending, for one turn."""

    tokens: int | None
    usd: float | None


class Compaction(TypedDict, total=False):
    """When and how what the model sees is shortened."""

    enabled: bool
    at: float
    window: int | None
    keep_turns: int


class _EngineSwitchFullAlways(TypedDict):
    models: dict[str, str]


class EngineSwitchFull(_EngineSwitchFullAlways, total=False):
    """By model id; `provider/*` stands for a provider's models."""

    default: str


EngineSwitch: TypeAlias = str | EngineSwitchFull
"""Which engine answers: `"native"`, or `{default = "auto", models = {"openai/gpt-5" = "litellm"}}`."""


class ServerConfig(TypedDict, total=False):
    """An MCP server: a program, or an address."""

    type: str | None
    command: str | None
    args: list[str]
    env: dict[str, str]
    cwd: str | None
    url: str | None
    headers: dict[str, str]
    startup_timeout: float | None
    tool_timeout: float | None
    tools_ttl: float | None
    enabled_tools: list[str] | None
    disabled: bool


class _StoreConfigFullAlways(TypedDict):
    path: str


class StoreConfigFull(_StoreConfigFullAlways, total=False):
    """A file, and what it must survive."""

    durability: Durability


StoreConfig: TypeAlias = str | StoreConfigFull
"""Where sessions are kept: a path, or `{path, durability}`."""


class Timeouts(TypedDict, total=False):
    """Limits of time, in seconds."""

    turn: float | None
    tool: float
    first_event: float | None
    approval: float


EventType: TypeAlias = Literal[
    "agent.turn.started",
    "agent.turn.completed",
    "agent.turn.failed",
    "agent.turn.cancelled",
    "assistant.stream.started",
    "assistant.stream.chunk",
    "assistant.stream.completed",
    "assistant.stream.cancelled",
    "assistant.stream.failed",
    "assistant.stream.fallback",
    "agent.thinking.started",
    "agent.thinking.delta",
    "agent.thinking.completed",
    "tool.execution.proposed",
    "tool.execution.approved",
    "tool.execution.denied",
    "tool.execution.started",
    "tool.execution.progress",
    "tool.execution.completed",
    "tool.execution.failed",
    "usage.updated",
    "session.created",
    "session.renamed",
    "session.forked",
    "session.leaf_changed",
    "session.deleted",
    "message.saved",
    "title.generated",
    "agent.compaction.started",
    "agent.compaction.completed",
    "mcp.server.connected",
    "mcp.server.failed",
    "mcp.server.tools_changed",
    "log",
]
"""Every `event_type`, in the order of the protocol."""


class __EnvelopeAlways(TypedDict):
    v: int
    timestamp_ms: int
    session_id: str


class _Envelope(__EnvelopeAlways, total=False):
    """What every event has beside its payload."""

    seq: int | None
    after_seq: int | None
    turn_id: str | None
    call_id: str | None
    parent: str | None


class AgentTurnStartedPayload(TypedDict):
    """What `agent.turn.started` says."""

    model: str
    message_id: str


class AgentTurnStartedDict(_Envelope):
    """A user's input was taken; everything until the turn's end carries its `turn_id`."""

    event_type: Literal["agent.turn.started"]
    payload: AgentTurnStartedPayload


@dataclass(frozen=True)
class AgentTurnStarted:
    """A user's input was taken; everything until the turn's end carries its `turn_id`."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["agent.turn.started"]
    payload: AgentTurnStartedPayload


class _AgentTurnCompletedPayloadAlways(TypedDict):
    message_id: str
    rounds: int
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter", "pause", "other"] | None
    usage: TurnUsage
    duration_ms: int


class AgentTurnCompletedPayload(_AgentTurnCompletedPayloadAlways, total=False):
    """What `agent.turn.completed` says."""

    stopped_by: StoppedBy | None


class AgentTurnCompletedDict(_Envelope):
    """The turn ended with an answer."""

    event_type: Literal["agent.turn.completed"]
    payload: AgentTurnCompletedPayload


@dataclass(frozen=True)
class AgentTurnCompleted:
    """The turn ended with an answer."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["agent.turn.completed"]
    payload: AgentTurnCompletedPayload


class AgentTurnFailedPayload(TypedDict):
    """What `agent.turn.failed` says."""

    error: ErrorDocument
    usage: TurnUsage
    duration_ms: int


class AgentTurnFailedDict(_Envelope):
    """The turn ended with an error; the session is valid and the next turn works."""

    event_type: Literal["agent.turn.failed"]
    payload: AgentTurnFailedPayload


@dataclass(frozen=True)
class AgentTurnFailed:
    """The turn ended with an error; the session is valid and the next turn works."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["agent.turn.failed"]
    payload: AgentTurnFailedPayload


class AgentTurnCancelledPayload(TypedDict):
    """What `agent.turn.cancelled` says."""

    during: Activity
    usage: TurnUsage
    duration_ms: int


class AgentTurnCancelledDict(_Envelope):
    """The turn was cancelled; the session is valid and the next turn works."""

    event_type: Literal["agent.turn.cancelled"]
    payload: AgentTurnCancelledPayload


@dataclass(frozen=True)
class AgentTurnCancelled:
    """The turn was cancelled; the session is valid and the next turn works."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["agent.turn.cancelled"]
    payload: AgentTurnCancelledPayload


class AssistantStreamStartedPayload(TypedDict):
    """What `assistant.stream.started` says."""

    model: str
    round: int


class AssistantStreamStartedDict(_Envelope):
    """The model is asked."""

    event_type: Literal["assistant.stream.started"]
    payload: AssistantStreamStartedPayload


@dataclass(frozen=True)
class AssistantStreamStarted:
    """The model is asked."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["assistant.stream.started"]
    payload: AssistantStreamStartedPayload


class _AssistantStreamChunkPayloadAlways(TypedDict):
    index: int
    kind: ChunkKind
    offset: int
    text: str


class AssistantStreamChunkPayload(_AssistantStreamChunkPayloadAlways, total=False):
    """What `assistant.stream.chunk` says."""

    tool: str | None


class AssistantStreamChunkDict(_Envelope):
    """More of the answer's text. Ephemeral."""

    event_type: Literal["assistant.stream.chunk"]
    payload: AssistantStreamChunkPayload


@dataclass(frozen=True)
class AssistantStreamChunk:
    """More of the answer's text. Ephemeral."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["assistant.stream.chunk"]
    payload: AssistantStreamChunkPayload


AssistantStreamCompletedPayload: TypeAlias = StreamEnd


class AssistantStreamCompletedDict(_Envelope):
    """The answer is whole; its message follows in `message.saved`."""

    event_type: Literal["assistant.stream.completed"]
    payload: AssistantStreamCompletedPayload


@dataclass(frozen=True)
class AssistantStreamCompleted:
    """The answer is whole; its message follows in `message.saved`."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["assistant.stream.completed"]
    payload: AssistantStreamCompletedPayload


AssistantStreamCancelledPayload: TypeAlias = StreamEnd


class AssistantStreamCancelledDict(_Envelope):
    """The call was cancelled; what had come is kept in a message if it can be sent back."""

    event_type: Literal["assistant.stream.cancelled"]
    payload: AssistantStreamCancelledPayload


@dataclass(frozen=True)
class AssistantStreamCancelled:
    """The call was cancelled; what had come is kept in a message if it can be sent back."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["assistant.stream.cancelled"]
    payload: AssistantStreamCancelledPayload


class AssistantStreamFailedPayload(TypedDict):
    """What `assistant.stream.failed` says."""

    error: ErrorDocument
    retried: bool


class AssistantStreamFailedDict(_Envelope):
    """The call failed."""

    event_type: Literal["assistant.stream.failed"]
    payload: AssistantStreamFailedPayload


@dataclass(frozen=True)
class AssistantStreamFailed:
    """The call failed."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["assistant.stream.failed"]
    payload: AssistantStreamFailedPayload


AssistantStreamFallbackPayload = TypedDict(
    "AssistantStreamFallbackPayload",
    {
        "from": str,
        "to": str,
        "discarded": list[int],
    },
)
"""What `assistant.stream.fallback` says."""


class AssistantStreamFallbackDict(_Envelope):
    """Another model goes on; parts named in `discarded` do not count any more. Ephemeral."""

    event_type: Literal["assistant.stream.fallback"]
    payload: AssistantStreamFallbackPayload


@dataclass(frozen=True)
class AssistantStreamFallback:
    """Another model goes on; parts named in `discarded` do not count any more. Ephemeral."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["assistant.stream.fallback"]
    payload: AssistantStreamFallbackPayload


class AgentThinkingStartedPayload(TypedDict):
    """What `agent.thinking.started` says."""

    index: int


class AgentThinkingStartedDict(_Envelope):
    """The model begins to reason. Ephemeral."""

    event_type: Literal["agent.thinking.started"]
    payload: AgentThinkingStartedPayload


@dataclass(frozen=True)
class AgentThinkingStarted:
    """The model begins to reason. Ephemeral."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["agent.thinking.started"]
    payload: AgentThinkingStartedPayload


class AgentThinkingDeltaPayload(TypedDict):
    """What `agent.thinking.delta` says."""

    index: int
    offset: int
    text: str


class AgentThinkingDeltaDict(_Envelope):
    """More of the reasoning. Ephemeral."""

    event_type: Literal["agent.thinking.delta"]
    payload: AgentThinkingDeltaPayload


@dataclass(frozen=True)
class AgentThinkingDelta:
    """More of the reasoning. Ephemeral."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["agent.thinking.delta"]
    payload: AgentThinkingDeltaPayload


class AgentThinkingCompletedPayload(TypedDict):
    """What `agent.thinking.completed` says."""

    index: int
    length: int


class AgentThinkingCompletedDict(_Envelope):
    """The reasoning part is whole."""

    event_type: Literal["agent.thinking.completed"]
    payload: AgentThinkingCompletedPayload


@dataclass(frozen=True)
class AgentThinkingCompleted:
    """The reasoning part is whole."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["agent.thinking.completed"]
    payload: AgentThinkingCompletedPayload


class _ToolExecutionProposedPayloadAlways(TypedDict):
    call: ContractToolCall
    needs_approval: bool


class ToolExecutionProposedPayload(_ToolExecutionProposedPayloadAlways, total=False):
    """What `tool.execution.proposed` says."""

    server: str | None


class ToolExecutionProposedDict(_Envelope):
    """The model wants a tool run."""

    event_type: Literal["tool.execution.proposed"]
    payload: ToolExecutionProposedPayload


@dataclass(frozen=True)
class ToolExecutionProposed:
    """The model wants a tool run."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["tool.execution.proposed"]
    payload: ToolExecutionProposedPayload


class ToolExecutionApprovedPayload(TypedDict):
    """What `tool.execution.approved` says."""

    tool: str
    by: Decider
    scope: Scope


class ToolExecutionApprovedDict(_Envelope):
    """Somebody let it run. A call that needed no approval (`needs_approval: false`) starts without this."""

    event_type: Literal["tool.execution.approved"]
    payload: ToolExecutionApprovedPayload


@dataclass(frozen=True)
class ToolExecutionApproved:
    """Somebody let it run. A call that needed no approval (`needs_approval: false`) starts without this."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["tool.execution.approved"]
    payload: ToolExecutionApprovedPayload


class ToolExecutionDeniedPayload(TypedDict):
    """What `tool.execution.denied` says."""

    by: Decider
    reason: str


class ToolExecutionDeniedDict(_Envelope):
    """It may not run; the model is told."""

    event_type: Literal["tool.execution.denied"]
    payload: ToolExecutionDeniedPayload


@dataclass(frozen=True)
class ToolExecutionDenied:
    """It may not run; the model is told."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["tool.execution.denied"]
    payload: ToolExecutionDeniedPayload


class ToolExecutionStartedPayload(TypedDict):
    """What `tool.execution.started` says."""

    name: str


class ToolExecutionStartedDict(_Envelope):
    """It runs."""

    event_type: Literal["tool.execution.started"]
    payload: ToolExecutionStartedPayload


@dataclass(frozen=True)
class ToolExecutionStarted:
    """It runs."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["tool.execution.started"]
    payload: ToolExecutionStartedPayload


class _ToolExecutionProgressPayloadAlways(TypedDict):
    progress: float


class ToolExecutionProgressPayload(_ToolExecutionProgressPayloadAlways, total=False):
    """What `tool.execution.progress` says."""

    total: float | None
    message: str | None


class ToolExecutionProgressDict(_Envelope):
    """How far it is. Ephemeral."""

    event_type: Literal["tool.execution.progress"]
    payload: ToolExecutionProgressPayload


@dataclass(frozen=True)
class ToolExecutionProgress:
    """How far it is. Ephemeral."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["tool.execution.progress"]
    payload: ToolExecutionProgressPayload


class _ToolExecutionCompletedPayloadAlways(TypedDict):
    is_error: bool
    bytes: int
    truncated: bool
    duration_ms: int


class ToolExecutionCompletedPayload(_ToolExecutionCompletedPayloadAlways, total=False):
    """What `tool.execution.completed` says."""

    early: ContractMessage


class ToolExecutionCompletedDict(_Envelope):
    """It has run. Its result follows in `message.saved`."""

    event_type: Literal["tool.execution.completed"]
    payload: ToolExecutionCompletedPayload


@dataclass(frozen=True)
class ToolExecutionCompleted:
    """It has run. Its result follows in `message.saved`."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["tool.execution.completed"]
    payload: ToolExecutionCompletedPayload


class ToolExecutionFailedPayload(TypedDict):
    """What `tool.execution.failed` says."""

    kind: ToolFailure
    message: str
    duration_ms: int


class ToolExecutionFailedDict(_Envelope):
    """It has not run to its end; the model is told."""

    event_type: Literal["tool.execution.failed"]
    payload: ToolExecutionFailedPayload


@dataclass(frozen=True)
class ToolExecutionFailed:
    """It has not run to its end; the model is told."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["tool.execution.failed"]
    payload: ToolExecutionFailedPayload


class UsageUpdatedPayload(TypedDict):
    """What `usage.updated` says."""

    call: ContractUsage
    session: TurnUsage


class UsageUpdatedDict(_Envelope):
    """What the session has consumed so far."""

    event_type: Literal["usage.updated"]
    payload: UsageUpdatedPayload


@dataclass(frozen=True)
class UsageUpdated:
    """What the session has consumed so far."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["usage.updated"]
    payload: UsageUpdatedPayload


class SessionCreatedPayload(TypedDict, total=False):
    """What `session.created` says."""

    title: str | None
    forked_from: ForkOrigin | None


class SessionCreatedDict(_Envelope):
    """The session begins."""

    event_type: Literal["session.created"]
    payload: SessionCreatedPayload


@dataclass(frozen=True)
class SessionCreated:
    """The session begins."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["session.created"]
    payload: SessionCreatedPayload


class SessionRenamedPayload(TypedDict):
    """What `session.renamed` says."""

    title: str


class SessionRenamedDict(_Envelope):
    """It has a new title, given by a person."""

    event_type: Literal["session.renamed"]
    payload: SessionRenamedPayload


@dataclass(frozen=True)
class SessionRenamed:
    """It has a new title, given by a person."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["session.renamed"]
    payload: SessionRenamedPayload


class _SessionForkedPayloadAlways(TypedDict):
    new_session_id: str


class SessionForkedPayload(_SessionForkedPayloadAlways, total=False):
    """What `session.forked` says."""

    message_id: str | None


class SessionForkedDict(_Envelope):
    """Another session was made from its beginning."""

    event_type: Literal["session.forked"]
    payload: SessionForkedPayload


@dataclass(frozen=True)
class SessionForked:
    """Another session was made from its beginning."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["session.forked"]
    payload: SessionForkedPayload


class SessionLeafChangedPayload(TypedDict):
    """What `session.leaf_changed` says."""

    leaf: str | None


class SessionLeafChangedDict(_Envelope):
    """Another message is the active end."""

    event_type: Literal["session.leaf_changed"]
    payload: SessionLeafChangedPayload


@dataclass(frozen=True)
class SessionLeafChanged:
    """Another message is the active end."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["session.leaf_changed"]
    payload: SessionLeafChangedPayload


class SessionDeletedPayload(TypedDict):
    """What `session.deleted` says."""


class SessionDeletedDict(_Envelope):
    """It was deleted for good. Published to its readers, and stored nowhere."""

    event_type: Literal["session.deleted"]
    payload: SessionDeletedPayload


@dataclass(frozen=True)
class SessionDeleted:
    """It was deleted for good. Published to its readers, and stored nowhere."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["session.deleted"]
    payload: SessionDeletedPayload


class MessageSavedPayload(TypedDict):
    """What `message.saved` says."""

    message_id: str
    parent_id: str | None
    message: ContractMessage


class MessageSavedDict(_Envelope):
    """A message was added; it is the active end now."""

    event_type: Literal["message.saved"]
    payload: MessageSavedPayload


@dataclass(frozen=True)
class MessageSaved:
    """A message was added; it is the active end now."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["message.saved"]
    payload: MessageSavedPayload


class TitleGeneratedPayload(TypedDict):
    """What `title.generated` says."""

    title: str


class TitleGeneratedDict(_Envelope):
    """A model gave the session a title."""

    event_type: Literal["title.generated"]
    payload: TitleGeneratedPayload


@dataclass(frozen=True)
class TitleGenerated:
    """A model gave the session a title."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["title.generated"]
    payload: TitleGeneratedPayload


class AgentCompactionStartedPayload(TypedDict):
    """What `agent.compaction.started` says."""

    reason: CompactionReason
    tokens: int


class AgentCompactionStartedDict(_Envelope):
    """What the model sees is being shortened."""

    event_type: Literal["agent.compaction.started"]
    payload: AgentCompactionStartedPayload


@dataclass(frozen=True)
class AgentCompactionStarted:
    """What the model sees is being shortened."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["agent.compaction.started"]
    payload: AgentCompactionStartedPayload


class _AgentCompactionCompletedPayloadAlways(TypedDict):
    first_kept: str | None
    tokens_before: int
    tokens_after: int


class AgentCompactionCompletedPayload(_AgentCompactionCompletedPayloadAlways, total=False):
    """What `agent.compaction.completed` says."""

    summary: str | None


class AgentCompactionCompletedDict(_Envelope):
    """The model sees `summary` in place of everything before `first_kept`; the log keeps it all."""

    event_type: Literal["agent.compaction.completed"]
    payload: AgentCompactionCompletedPayload


@dataclass(frozen=True)
class AgentCompactionCompleted:
    """The model sees `summary` in place of everything before `first_kept`; the log keeps it all."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["agent.compaction.completed"]
    payload: AgentCompactionCompletedPayload


class McpServerConnectedPayload(TypedDict):
    """What `mcp.server.connected` says."""

    server: str
    tools: list[str]


class McpServerConnectedDict(_Envelope):
    """An MCP server is there."""

    event_type: Literal["mcp.server.connected"]
    payload: McpServerConnectedPayload


@dataclass(frozen=True)
class McpServerConnected:
    """An MCP server is there."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["mcp.server.connected"]
    payload: McpServerConnectedPayload


class McpServerFailedPayload(TypedDict):
    """What `mcp.server.failed` says."""

    server: str
    error: ErrorDocument
    will_retry: bool


class McpServerFailedDict(_Envelope):
    """An MCP server is not there."""

    event_type: Literal["mcp.server.failed"]
    payload: McpServerFailedPayload


@dataclass(frozen=True)
class McpServerFailed:
    """An MCP server is not there."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["mcp.server.failed"]
    payload: McpServerFailedPayload


class McpServerToolsChangedPayload(TypedDict):
    """What `mcp.server.tools_changed` says."""

    server: str
    tools: list[str]


class McpServerToolsChangedDict(_Envelope):
    """An MCP server has other tools now."""

    event_type: Literal["mcp.server.tools_changed"]
    payload: McpServerToolsChangedPayload


@dataclass(frozen=True)
class McpServerToolsChanged:
    """An MCP server has other tools now."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["mcp.server.tools_changed"]
    payload: McpServerToolsChangedPayload


class _LogPayloadAlways(TypedDict):
    level: LogLevel
    message: str


class LogPayload(_LogPayloadAlways, total=False):
    """What `log` says."""

    server: str | None


class LogDict(_Envelope):
    """Something to know."""

    event_type: Literal["log"]
    payload: LogPayload


@dataclass(frozen=True)
class Log:
    """Something to know."""

    v: int
    seq: int | None
    after_seq: int | None
    timestamp_ms: int
    session_id: str
    turn_id: str | None
    call_id: str | None
    parent: str | None
    event_type: Literal["log"]
    payload: LogPayload


AgentEvent: TypeAlias = (
    AgentTurnStarted
    | AgentTurnCompleted
    | AgentTurnFailed
    | AgentTurnCancelled
    | AssistantStreamStarted
    | AssistantStreamChunk
    | AssistantStreamCompleted
    | AssistantStreamCancelled
    | AssistantStreamFailed
    | AssistantStreamFallback
    | AgentThinkingStarted
    | AgentThinkingDelta
    | AgentThinkingCompleted
    | ToolExecutionProposed
    | ToolExecutionApproved
    | ToolExecutionDenied
    | ToolExecutionStarted
    | ToolExecutionProgress
    | ToolExecutionCompleted
    | ToolExecutionFailed
    | UsageUpdated
    | SessionCreated
    | SessionRenamed
    | SessionForked
    | SessionLeafChanged
    | SessionDeleted
    | MessageSaved
    | TitleGenerated
    | AgentCompactionStarted
    | AgentCompactionCompleted
    | McpServerConnected
    | McpServerFailed
    | McpServerToolsChanged
    | Log
)
"""Any event, as a frozen class; `event_type` tells them apart."""

AgentEventDict: TypeAlias = (
    AgentTurnStartedDict
    | AgentTurnCompletedDict
    | AgentTurnFailedDict
    | AgentTurnCancelledDict
    | AssistantStreamStartedDict
    | AssistantStreamChunkDict
    | AssistantStreamCompletedDict
    | AssistantStreamCancelledDict
    | AssistantStreamFailedDict
    | AssistantStreamFallbackDict
    | AgentThinkingStartedDict
    | AgentThinkingDeltaDict
    | AgentThinkingCompletedDict
    | ToolExecutionProposedDict
    | ToolExecutionApprovedDict
    | ToolExecutionDeniedDict
    | ToolExecutionStartedDict
    | ToolExecutionProgressDict
    | ToolExecutionCompletedDict
    | ToolExecutionFailedDict
    | UsageUpdatedDict
    | SessionCreatedDict
    | SessionRenamedDict
    | SessionForkedDict
    | SessionLeafChangedDict
    | SessionDeletedDict
    | MessageSavedDict
    | TitleGeneratedDict
    | AgentCompactionStartedDict
    | AgentCompactionCompletedDict
    | McpServerConnectedDict
    | McpServerFailedDict
    | McpServerToolsChangedDict
    | LogDict
)
"""Any event, as it is written."""


_CLASSES: dict[str, Any] = {
    "agent.turn.started": AgentTurnStarted,
    "agent.turn.completed": AgentTurnCompleted,
    "agent.turn.failed": AgentTurnFailed,
    "agent.turn.cancelled": AgentTurnCancelled,
    "assistant.stream.started": AssistantStreamStarted,
    "assistant.stream.chunk": AssistantStreamChunk,
    "assistant.stream.completed": AssistantStreamCompleted,
    "assistant.stream.cancelled": AssistantStreamCancelled,
    "assistant.stream.failed": AssistantStreamFailed,
    "assistant.stream.fallback": AssistantStreamFallback,
    "agent.thinking.started": AgentThinkingStarted,
    "agent.thinking.delta": AgentThinkingDelta,
    "agent.thinking.completed": AgentThinkingCompleted,
    "tool.execution.proposed": ToolExecutionProposed,
    "tool.execution.approved": ToolExecutionApproved,
    "tool.execution.denied": ToolExecutionDenied,
    "tool.execution.started": ToolExecutionStarted,
    "tool.execution.progress": ToolExecutionProgress,
    "tool.execution.completed": ToolExecutionCompleted,
    "tool.execution.failed": ToolExecutionFailed,
    "usage.updated": UsageUpdated,
    "session.created": SessionCreated,
    "session.renamed": SessionRenamed,
    "session.forked": SessionForked,
    "session.leaf_changed": SessionLeafChanged,
    "session.deleted": SessionDeleted,
    "message.saved": MessageSaved,
    "title.generated": TitleGenerated,
    "agent.compaction.started": AgentCompactionStarted,
    "agent.compaction.completed": AgentCompactionCompleted,
    "mcp.server.connected": McpServerConnected,
    "mcp.server.failed": McpServerFailed,
    "mcp.server.tools_changed": McpServerToolsChanged,
    "log": Log,
}

ENVELOPE = (
    "v",
    "seq",
    "after_seq",
    "timestamp_ms",
    "session_id",
    "turn_id",
    "call_id",
    "parent",
    "event_type",
    "payload",
)
"""The fields of every event, in the order in which they are written."""


def event_of(document: Mapping[str, Any]) -> AgentEvent:
    """The event that a document is.

    Raises:
        ValueError: The document is of an event that this version does not know, or is none.
    """
    kind = document.get("event_type")
    event = _CLASSES.get(kind) if isinstance(kind, str) else None
    if event is None or not isinstance(document.get("payload"), dict):
        raise ValueError(f"{kind!r} is no event that this version knows; upgrade omni_bridge to read it")
    return cast("AgentEvent", event(**{name: document.get(name) for name in ENVELOPE}))
