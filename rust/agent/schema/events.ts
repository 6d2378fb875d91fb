// The events, ops and configuration of an agent, as types.
// Written by tools/gen_agent_types.py from rust/agent/schema; mend it with: make fix

/** A document of omni_bridge's contract: Message in python/omni_bridge/schema.json. */
export type ContractMessage = Record<string, unknown>;

/** A document of omni_bridge's contract: ToolCall in python/omni_bridge/schema.json. */
export type ContractToolCall = Record<string, unknown>;

/** A document of omni_bridge's contract: Usage in python/omni_bridge/schema.json. */
export type ContractUsage = Record<string, unknown>;

/** What a turn is doing. */
export type Activity = "asking" | "streaming" | "waiting_for_approval" | "running_tools" | "compacting";

/** What a chunk of an answer is a piece of. */
export type ChunkKind = "text" | "refusal" | "tool_call";

/** Why a session is compacted. */
export type CompactionReason = "window_nearly_full" | "context_length" | "asked";

/** Who decided about a tool call. */
export type Decider = "policy" | "user" | "timeout";

/** It may run. */
export interface DecisionApprove {
  decision: "approve";
  /** For how long this holds. */
  scope: Scope;
}

/** It may not. */
export interface DecisionDeny {
  decision: "deny";
  /** Why, for the model. */
  reason?: string | null;
}

/** What somebody decides about a proposed tool call. */
export type Decision = DecisionApprove | DecisionDeny;

/** The error document of the contract, as it stands in the event schema. */
export interface ErrorDocument {
  /** One of the contract's codes. */
  code: "invalid_request" | "authentication" | "quota" | "permission" | "not_found" | "timeout" | "context_length" | "content_filter" | "rate_limit" | "budget" | "provider" | "protocol" | "connection" | "overloaded" | "engine_unavailable" | "unsupported" | "cancelled" | "internal";
  /** What happened and what to do. */
  message: string;
  /** The provider that failed. */
  provider: string | null;
  /** The model asked. */
  model: string | null;
  /** The provider's own HTTP status. */
  status: number | null;
  /** Whether the same call may work later. */
  retryable: boolean | null;
  /** Seconds to wait. */
  retry_after: number | null;
  /** The provider's id of the request. */
  request_id: string | null;
}

/** Where a fork was made. */
export interface ForkOrigin {
  /** The older session. */
  session_id: string;
  /** The last message that was copied; absent if none was. */
  message_id: string | null;
}

/** How much a log entry matters. */
export type LogLevel = "debug" | "info" | "warning" | "error";

/** Stop the turn. */
export interface OpCancel {
  op: "cancel";
}

/** Decide about a proposed tool call. */
export interface OpApprove {
  op: "approve";
  /** The tool call's `call_id`. */
  call_id: string;
  /** What is decided. */
  decision: Decision;
}

/** What a front end asks of a run. */
export type Op = OpCancel | OpApprove;

/** For how long a decision holds. */
export type Scope = "once" | "session" | "always";

/** Why the loop stopped although the model wanted more. */
export type StoppedBy = "max_tool_rounds" | "repeated_call" | "budget";

/** How a model call ended: the reply without its message, which `message.saved` holds. */
export interface StreamEnd {
  /** Where the message is kept; absent if nothing of it was. */
  message_id?: string | null;
  /** Why the model stopped; absent if it was cancelled. */
  finish_reason?: "stop" | "length" | "tool_calls" | "content_filter" | "pause" | "other" | null;
  /** The model that answered, as the provider names it. */
  model?: string | null;
  /** Who answered. */
  provider?: string | null;
  /** `native` or `litellm`. */
  engine?: "native" | "litellm" | null;
  /** What the call consumed. */
  usage: ContractUsage;
  /** Milliseconds from asking to the end. */
  duration_ms: number;
}

/** How a tool failed. */
export type ToolFailure = "unknown" | "invalid_arguments" | "timeout" | "server_gone" | "malformed" | "failed" | "cancelled" | "repeated";

/** What a turn, or a session, consumed: sums of what the providers said. */
export interface TurnUsage {
  /** Input tokens, cache reads and writes included. */
  input_tokens: number;
  /** Output tokens, reasoning included. */
  output_tokens: number;
  /** Dollars; null if a price was unknown. */
  cost_usd: number | null;
}

/** An agent: its model, its tools, its limits. */
export interface AgentConfig {
  /** Who answers: only `bridge`. */
  llm?: Llm;
  /** Where the bridge is: only `embedded` (in this process). `bridge_url` is the other way. */
  bridge?: Bridge;
  /** The URL of a bridge service (`omni serve`), in place of the embedded one. */
  bridge_url?: string | null;
  /** The model id, `provider/model`. */
  model: string;
  /** Model ids, or objects with the fields to change, that are tried in turn when the model fails. */
  fallbacks?: unknown[];
  /** Which engine answers: one word, or one word per model id. */
  engine?: EngineSwitch;
  /** Instructions for the model. */
  system?: string | null;
  /** MCP servers by name, in the shape that everyone has (`mcpServers` is read too). */
  mcp_servers?: Record<string, ServerConfig>;
  /** Rounds of tool calls in one turn. */
  max_tool_rounds?: number;
  /** Tool calls of one answer that run at once. */
  max_parallel_tools?: number;
  /** Bytes of one tool result that the model is shown; the rest is cut, and the model is told. */
  max_result_bytes?: number;
  /** How often the very same call may be made in one turn. */
  max_repeated_calls?: number;
  /** Limits of time. */
  timeouts?: Timeouts;
  /** Limits of spending, for one turn. */
  budget?: Budgets;
  /** Which tools may run, and who is asked. */
  approval?: Approval;
  /** When and how what the model sees is shortened. */
  compaction?: Compaction;
  /** Where sessions are kept; `None` keeps them in memory. */
  session_store?: StoreConfig | null;
  /** Whether a title is made after the first turn. */
  titles?: boolean;
  /** Who makes titles and summaries; the model itself if `None`. */
  small_model?: string | null;
  /** Other fields of the contract's request: `temperature`, `reasoning_effort`, `provider_options` … */
  request?: Record<string, unknown>;
  /** MCP servers by name, in the shape that everyone has (`mcpServers` is read too). */
  mcpServers?: Record<string, ServerConfig>;
}

/** Which tools may run, and who is asked. The most exact entry counts: `tools`, then `servers`, then `default`. */
export interface Approval {
  /** For servers and tools that are not named. */
  default?: Policy;
  /** By server; `host` for the program's own functions. */
  servers?: Record<string, Policy>;
  /** By tool, as the model names it. */
  tools?: Record<string, Policy>;
  /** Nobody is there to ask: what would be asked is denied at once. */
  unattended?: boolean;
  /** Where "always" is kept; `None` keeps it for the process. */
  file?: string | null;
}

/** Where the bridge is. */
export type Bridge = "embedded";

/** Limits of spending, for one turn. */
export interface Budgets {
  /** Tokens, input and output. */
  tokens?: number | null;
  /** Dollars. */
  usd?: number | null;
}

/** When and how what the model sees is shortened. */
export interface Compaction {
  /** Whether it is done at all. */
  enabled?: boolean;
  /** The share of the model's window at which it is done. */
  at?: number;
  /** The window in tokens, in place of what the catalogue knows. */
  window?: number | null;
  /** The last turns that stay whole. */
  keep_turns?: number;
}

/** What a store must survive. */
export type Durability = "process_kill" | "power_loss";

/** By model id; `provider/*` stands for a provider's models. */
export interface EngineSwitchFull {
  /** For models that are not named. */
  default?: string;
  /** By model id. */
  models: Record<string, string>;
}

/** Which engine answers: `"native"`, or `{default = "auto", models = {"openai/gpt-5" = "litellm"}}`. */
export type EngineSwitch = string | EngineSwitchFull;

/** Who answers. */
export type Llm = "bridge";

/** Whether a tool may run. */
export type Policy = "approve" | "approve_reads" | "ask" | "deny";

/** An MCP server: a program, or an address. */
export interface ServerConfig {
  /** `stdio` (a program) or `http`; told by `command` and `url` if absent. */
  type?: string | null;
  /** The program. */
  command?: string | null;
  /** Its arguments. */
  args?: string[];
  /** Variables added to its environment, which otherwise holds only what a program needs to run. */
  env?: Record<string, string>;
  /** Its working directory. */
  cwd?: string | null;
  /** The address. */
  url?: string | null;
  /** HTTP headers; `${NAME}` stands for a variable of the environment. */
  headers?: Record<string, string>;
  /** Seconds that it may take to start and to list its tools. */
  startup_timeout?: number | null;
  /** Seconds that one call may take, in place of `timeouts.tool`. */
  tool_timeout?: number | null;
  /** Seconds that a list of tools is believed without asking again; a server that says when its list changes is believed until then. */
  tools_ttl?: number | null;
  /** Only these tools. */
  enabled_tools?: string[] | null;
  /** Left out. */
  disabled?: boolean;
  [other: string]: unknown;
}

/** A file, and what it must survive. */
export interface StoreConfigFull {
  /** The file. */
  path: string;
  /** What it must survive. */
  durability?: Durability;
}

/** Where sessions are kept: a path, or `{path, durability}`. */
export type StoreConfig = string | StoreConfigFull;

/** Limits of time, in seconds. */
export interface Timeouts {
  /** For a whole turn; `None` is no limit. */
  turn?: number | null;
  /** For one tool call. */
  tool?: number;
  /** Until the model says something. */
  first_event?: number | null;
  /** For a person to approve a tool call. */
  approval?: number;
}

/** What every event has beside its type and its payload. */
export interface Envelope {
  /** `EVENT_VERSION`. */
  v: number;
  /** The place in the session; absent from ephemeral events. */
  seq?: number | null;
  /** The last durable event before this ephemeral one. */
  after_seq?: number | null;
  /** Unix milliseconds. */
  timestamp_ms: number;
  /** The session. */
  session_id: string;
  /** The turn, `t1`, `t2` …; absent outside turns. */
  turn_id?: string | null;
  /** The model call (`t1.1`: turn and round) or the tool call (`t1.1.2`: and its place in the answer). */
  call_id?: string | null;
  /** The `call_id` that this one belongs to: a tool call's model call. */
  parent?: string | null;
}

/** What `agent.turn.started` says. */
export interface AgentTurnStartedPayload {
  /** The model that will be asked first. */
  model: string;
  /** The message that the turn answers. */
  message_id: string;
}

/** A user's input was taken; everything until the turn's end carries its `turn_id`. */
export interface AgentTurnStarted extends Envelope {
  event_type: "agent.turn.started";
  payload: AgentTurnStartedPayload;
}

/** What `agent.turn.completed` says. */
export interface AgentTurnCompletedPayload {
  /** The last assistant message. */
  message_id: string;
  /** Model calls made. */
  rounds: number;
  /** Why the model stopped at last. */
  finish_reason: "stop" | "length" | "tool_calls" | "content_filter" | "pause" | "other" | null;
  /** Why the loop stopped although the model wanted more: `max_tool_rounds`, `repeated_call`, `budget`. */
  stopped_by?: StoppedBy | null;
  /** What the turn consumed. */
  usage: TurnUsage;
  /** Milliseconds from start to end. */
  duration_ms: number;
}

/** The turn ended with an answer. */
export interface AgentTurnCompleted extends Envelope {
  event_type: "agent.turn.completed";
  payload: AgentTurnCompletedPayload;
}

/** What `agent.turn.failed` says. */
export interface AgentTurnFailedPayload {
  /** What went wrong. */
  error: ErrorDocument;
  /** What the turn consumed. */
  usage: TurnUsage;
  /** Milliseconds from start to end. */
  duration_ms: number;
}

/** The turn ended with an error; the session is valid and the next turn works. */
export interface AgentTurnFailed extends Envelope {
  event_type: "agent.turn.failed";
  payload: AgentTurnFailedPayload;
}

/** What `agent.turn.cancelled` says. */
export interface AgentTurnCancelledPayload {
  /** What the turn was doing. */
  during: Activity;
  /** What the turn consumed. */
  usage: TurnUsage;
  /** Milliseconds from start to end. */
  duration_ms: number;
}

/** The turn was cancelled; the session is valid and the next turn works. */
export interface AgentTurnCancelled extends Envelope {
  event_type: "agent.turn.cancelled";
  payload: AgentTurnCancelledPayload;
}

/** What `assistant.stream.started` says. */
export interface AssistantStreamStartedPayload {
  /** The model id asked. */
  model: string;
  /** The round, from 1. */
  round: number;
}

/** The model is asked. */
export interface AssistantStreamStarted extends Envelope {
  event_type: "assistant.stream.started";
  payload: AssistantStreamStartedPayload;
}

/** What `assistant.stream.chunk` says. */
export interface AssistantStreamChunkPayload {
  /** The part of the message. */
  index: number;
  /** `text`, `refusal` or `tool_call` (its arguments). */
  kind: ChunkKind;
  /** Bytes (UTF-8) of this part before this chunk. */
  offset: number;
  /** What is new. */
  text: string;
  /** The tool, on the first chunk of a call. */
  tool?: string | null;
}

/** More of the answer's text. Ephemeral. */
export interface AssistantStreamChunk extends Envelope {
  event_type: "assistant.stream.chunk";
  payload: AssistantStreamChunkPayload;
}

export type AssistantStreamCompletedPayload = StreamEnd;

/** The answer is whole; its message follows in `message.saved`. */
export interface AssistantStreamCompleted extends Envelope {
  event_type: "assistant.stream.completed";
  payload: AssistantStreamCompletedPayload;
}

export type AssistantStreamCancelledPayload = StreamEnd;

/** The call was cancelled; what had come is kept in a message if it can be sent back. */
export interface AssistantStreamCancelled extends Envelope {
  event_type: "assistant.stream.cancelled";
  payload: AssistantStreamCancelledPayload;
}

/** What `assistant.stream.failed` says. */
export interface AssistantStreamFailedPayload {
  /** What went wrong. */
  error: ErrorDocument;
  /** What will be done about it: nothing, or once more after compaction. */
  retried: boolean;
}

/** The call failed. */
export interface AssistantStreamFailed extends Envelope {
  event_type: "assistant.stream.failed";
  payload: AssistantStreamFailedPayload;
}

/** What `assistant.stream.fallback` says. */
export interface AssistantStreamFallbackPayload {
  /** The model that failed. */
  from: string;
  /** The model that goes on. */
  to: string;
  /** Parts of the message that do not count any more. */
  discarded: number[];
}

/** Another model goes on; parts named in `discarded` do not count any more. Ephemeral. */
export interface AssistantStreamFallback extends Envelope {
  event_type: "assistant.stream.fallback";
  payload: AssistantStreamFallbackPayload;
}

/** What `agent.thinking.started` says. */
export interface AgentThinkingStartedPayload {
  /** The part of the message. */
  index: number;
}

/** The model begins to reason. Ephemeral. */
export interface AgentThinkingStarted extends Envelope {
  event_type: "agent.thinking.started";
  payload: AgentThinkingStartedPayload;
}

/** What `agent.thinking.delta` says. */
export interface AgentThinkingDeltaPayload {
  /** The part of the message. */
  index: number;
  /** Bytes (UTF-8) of this part before this delta. */
  offset: number;
  /** What is new. */
  text: string;
}

/** More of the reasoning. Ephemeral. */
export interface AgentThinkingDelta extends Envelope {
  event_type: "agent.thinking.delta";
  payload: AgentThinkingDeltaPayload;
}

/** What `agent.thinking.completed` says. */
export interface AgentThinkingCompletedPayload {
  /** The part of the message. */
  index: number;
  /** Bytes (UTF-8) of its text. */
  length: number;
}

/** The reasoning part is whole. */
export interface AgentThinkingCompleted extends Envelope {
  event_type: "agent.thinking.completed";
  payload: AgentThinkingCompletedPayload;
}

/** What `tool.execution.proposed` says. */
export interface ToolExecutionProposedPayload {
  /** The call as the model wrote it. */
  call: ContractToolCall;
  /** The server that has it; absent if none does. */
  server?: string | null;
  /** Whether somebody must say yes first. */
  needs_approval: boolean;
}

/** The model wants a tool run. */
export interface ToolExecutionProposed extends Envelope {
  event_type: "tool.execution.proposed";
  payload: ToolExecutionProposedPayload;
}

/** What `tool.execution.approved` says. */
export interface ToolExecutionApprovedPayload {
  /** The tool, as the model names it: what an approval for longer holds for. */
  tool: string;
  /** Who said so. */
  by: Decider;
  /** For how long. */
  scope: Scope;
}

/** Somebody let it run. A call that needed no approval (`needs_approval: false`) starts without this. */
export interface ToolExecutionApproved extends Envelope {
  event_type: "tool.execution.approved";
  payload: ToolExecutionApprovedPayload;
}

/** What `tool.execution.denied` says. */
export interface ToolExecutionDeniedPayload {
  /** Who said so. */
  by: Decider;
  /** Why, as the model is told. */
  reason: string;
}

/** It may not run; the model is told. */
export interface ToolExecutionDenied extends Envelope {
  event_type: "tool.execution.denied";
  payload: ToolExecutionDeniedPayload;
}

/** What `tool.execution.started` says. */
export interface ToolExecutionStartedPayload {
  /** The tool's name as the model knows it. */
  name: string;
}

/** It runs. */
export interface ToolExecutionStarted extends Envelope {
  event_type: "tool.execution.started";
  payload: ToolExecutionStartedPayload;
}

/** What `tool.execution.progress` says. */
export interface ToolExecutionProgressPayload {
  /** So much is done. */
  progress: number;
  /** Of so much. */
  total?: number | null;
  /** In words. */
  message?: string | null;
}

/** How far it is. Ephemeral. */
export interface ToolExecutionProgress extends Envelope {
  event_type: "tool.execution.progress";
  payload: ToolExecutionProgressPayload;
}

/** What `tool.execution.completed` says. */
export interface ToolExecutionCompletedPayload {
  /** The tool itself says that it failed. */
  is_error: boolean;
  /** Bytes of its result. */
  bytes: number;
  /** The result was longer than the limit and was cut. */
  truncated: boolean;
  /** Milliseconds that it took. */
  duration_ms: number;
  /** The result, if an earlier call of the same answer still runs: its message is saved when that has ended, and must not be lost until then. */
  early?: ContractMessage;
}

/** It has run. Its result follows in `message.saved`. */
export interface ToolExecutionCompleted extends Envelope {
  event_type: "tool.execution.completed";
  payload: ToolExecutionCompletedPayload;
}

/** What `tool.execution.failed` says. */
export interface ToolExecutionFailedPayload {
  /** What kind of failure. */
  kind: ToolFailure;
  /** As the model is told. */
  message: string;
  /** Milliseconds that it took. */
  duration_ms: number;
}

/** It has not run to its end; the model is told. */
export interface ToolExecutionFailed extends Envelope {
  event_type: "tool.execution.failed";
  payload: ToolExecutionFailedPayload;
}

/** What `usage.updated` says. */
export interface UsageUpdatedPayload {
  /** Of the last model call. */
  call: ContractUsage;
  /** Of the session. */
  session: TurnUsage;
}

/** What the session has consumed so far. */
export interface UsageUpdated extends Envelope {
  event_type: "usage.updated";
  payload: UsageUpdatedPayload;
}

/** What `session.created` says. */
export interface SessionCreatedPayload {
  /** Its title, if it was given one. */
  title?: string | null;
  /** Where it was forked from. */
  forked_from?: ForkOrigin | null;
}

/** The session begins. */
export interface SessionCreated extends Envelope {
  event_type: "session.created";
  payload: SessionCreatedPayload;
}

/** What `session.renamed` says. */
export interface SessionRenamedPayload {
  /** The title. */
  title: string;
}

/** It has a new title, given by a person. */
export interface SessionRenamed extends Envelope {
  event_type: "session.renamed";
  payload: SessionRenamedPayload;
}

/** What `session.forked` says. */
export interface SessionForkedPayload {
  /** The new session. */
  new_session_id: string;
  /** The last message that was copied; absent if none was. */
  message_id?: string | null;
}

/** Another session was made from its beginning. */
export interface SessionForked extends Envelope {
  event_type: "session.forked";
  payload: SessionForkedPayload;
}

/** What `session.leaf_changed` says. */
export interface SessionLeafChangedPayload {
  /** The active end; absent before the first message. */
  leaf: string | null;
}

/** Another message is the active end. */
export interface SessionLeafChanged extends Envelope {
  event_type: "session.leaf_changed";
  payload: SessionLeafChangedPayload;
}

export type SessionDeletedPayload = Record<string, never>;

/** It was deleted for good. Published to its readers, and stored nowhere. */
export interface SessionDeleted extends Envelope {
  event_type: "session.deleted";
  payload: SessionDeletedPayload;
}

/** What `message.saved` says. */
export interface MessageSavedPayload {
  /** Its id, `m1`, `m2` … */
  message_id: string;
  /** The message before it; absent for the first. */
  parent_id: string | null;
  /** The message, byte for byte as it goes to a provider. */
  message: ContractMessage;
}

/** A message was added; it is the active end now. */
export interface MessageSaved extends Envelope {
  event_type: "message.saved";
  payload: MessageSavedPayload;
}

/** What `title.generated` says. */
export interface TitleGeneratedPayload {
  /** The title. */
  title: string;
}

/** A model gave the session a title. */
export interface TitleGenerated extends Envelope {
  event_type: "title.generated";
  payload: TitleGeneratedPayload;
}

/** What `agent.compaction.started` says. */
export interface AgentCompactionStartedPayload {
  /** Why. */
  reason: CompactionReason;
  /** Tokens that the model would have seen, as counted. */
  tokens: number;
}

/** What the model sees is being shortened. */
export interface AgentCompactionStarted extends Envelope {
  event_type: "agent.compaction.started";
  payload: AgentCompactionStartedPayload;
}

/** What `agent.compaction.completed` says. */
export interface AgentCompactionCompletedPayload {
  /** The summary; absent if it failed and only old tool results were left out. */
  summary?: string | null;
  /** The first message that the model still sees whole. */
  first_kept: string | null;
  /** Tokens before. */
  tokens_before: number;
  /** Tokens after, as counted. */
  tokens_after: number;
}

/** The model sees `summary` in place of everything before `first_kept`; the log keeps it all. */
export interface AgentCompactionCompleted extends Envelope {
  event_type: "agent.compaction.completed";
  payload: AgentCompactionCompletedPayload;
}

/** What `mcp.server.connected` says. */
export interface McpServerConnectedPayload {
  /** Its name in the configuration. */
  server: string;
  /** The tools that it has. */
  tools: string[];
}

/** An MCP server is there. */
export interface McpServerConnected extends Envelope {
  event_type: "mcp.server.connected";
  payload: McpServerConnectedPayload;
}

/** What `mcp.server.failed` says. */
export interface McpServerFailedPayload {
  /** Its name in the configuration. */
  server: string;
  /** What went wrong. */
  error: ErrorDocument;
  /** Whether it will be started again. */
  will_retry: boolean;
}

/** An MCP server is not there. */
export interface McpServerFailed extends Envelope {
  event_type: "mcp.server.failed";
  payload: McpServerFailedPayload;
}

/** What `mcp.server.tools_changed` says. */
export interface McpServerToolsChangedPayload {
  /** Its name in the configuration. */
  server: string;
  /** The tools that it has. */
  tools: string[];
}

/** An MCP server has other tools now. */
export interface McpServerToolsChanged extends Envelope {
  event_type: "mcp.server.tools_changed";
  payload: McpServerToolsChangedPayload;
}

/** What `log` says. */
export interface LogPayload {
  /** `debug`, `info`, `warning` or `error`. */
  level: LogLevel;
  /** In words. Never a key, a prompt or a result. */
  message: string;
  /** Who says so: a server's name, or absent for the agent itself. */
  server?: string | null;
}

/** Something to know. */
export interface Log extends Envelope {
  event_type: "log";
  payload: LogPayload;
}

/** Any event; `event_type` tells them apart. */
export type AgentEvent =
  | AgentTurnStarted
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
  | Log;

export type EventType = AgentEvent["event_type"];
