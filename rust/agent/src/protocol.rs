//! What a front end sends to the agent (`Op`) and what it sees (`AgentEvent`): plain data, the one source of the
//! event schema (`schema.rs`), the same in Rust, Python, TypeScript, over HTTP and in the session's log.

use omni_core::{Error, FinishReason, Message, ToolCall, Usage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of the envelope and of the payloads.
pub const EVENT_VERSION: u32 = 1;

/// One typed fact of a session.
///
/// A durable event has a `seq`: its place in its session, from 1, without gaps; it is in the store before anybody
/// sees it. An ephemeral one (`*.chunk`, `*.delta`, `*.progress`, `agent.thinking.started`) has none; it says after
/// which durable event it came (`after_seq`), and for text its `offset` among what its part has said so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentEvent {
    /// `EVENT_VERSION`.
    pub v: u32,
    /// The place in the session; absent from ephemeral events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The last durable event before this ephemeral one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_seq: Option<u64>,
    /// Unix milliseconds.
    pub timestamp_ms: u64,
    /// The session.
    pub session_id: String,
    /// The turn, `t1`, `t2` …; absent outside turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn_id: Option<String>,
    /// The model call (`t1.1`: turn and round) or the tool call (`t1.1.2`: and its place in the answer).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// The `call_id` that this one belongs to: a tool call's model call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// `event_type` and `payload`.
    #[serde(flatten)]
    pub payload: Payload,
}

/// What happened. `event_type` names it, `payload` holds its fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event_type", content = "payload")]
pub enum Payload {
    // ------------------------------------------------------------------------------------------- the turn
    /// A user's input was taken; everything until the turn's end carries its `turn_id`.
    #[serde(rename = "agent.turn.started")]
    TurnStarted {
        /// The model that will be asked first.
        model: String,
        /// The message that the turn answers.
        message_id: String,
    },
    /// The turn ended with an answer.
    #[serde(rename = "agent.turn.completed")]
    TurnCompleted {
        /// The last assistant message.
        message_id: String,
        /// Model calls made.
        rounds: u32,
        /// Why the model stopped at last.
        #[schemars(with = "Option<String>")]
        finish_reason: Option<FinishReason>,
        /// Why the loop stopped although the model wanted more: `max_tool_rounds`, `repeated_call`, `budget`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stopped_by: Option<StoppedBy>,
        /// What the turn consumed.
        usage: TurnUsage,
        /// Milliseconds from start to end.
        duration_ms: u64,
    },
    /// The turn ended with an error; the session is valid and the next turn works.
    #[serde(rename = "agent.turn.failed")]
    TurnFailed {
        /// What went wrong.
        #[schemars(with = "ErrorDocument")]
        error: Error,
        /// What the turn consumed.
        usage: TurnUsage,
        /// Milliseconds from start to end.
        duration_ms: u64,
    },
    /// The turn was cancelled; the session is valid and the next turn works.
    #[serde(rename = "agent.turn.cancelled")]
    TurnCancelled {
        /// What the turn was doing.
        during: Activity,
        /// What the turn consumed.
        usage: TurnUsage,
        /// Milliseconds from start to end.
        duration_ms: u64,
    },

    // -------------------------------------------------------------------------------------- the model call
    /// The model is asked.
    #[serde(rename = "assistant.stream.started")]
    StreamStarted {
        /// The model id asked.
        model: String,
        /// The round, from 1.
        round: u32,
    },
    /// More of the answer's text. Ephemeral.
    #[serde(rename = "assistant.stream.chunk")]
    StreamChunk {
        /// The part of the message.
        index: u32,
        /// `text`, `refusal` or `tool_call` (its arguments).
        kind: ChunkKind,
        /// Bytes (UTF-8) of this part before this chunk.
        offset: u64,
        /// What is new.
        text: String,
        /// The tool, on the first chunk of a call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tool: Option<String>,
    },
    /// The answer is whole; its message follows in `message.saved`.
    #[serde(rename = "assistant.stream.completed")]
    StreamCompleted(StreamEnd),
    /// The call was cancelled; what had come is kept in a message if it can be sent back.
    #[serde(rename = "assistant.stream.cancelled")]
    StreamCancelled(StreamEnd),
    /// The call failed.
    #[serde(rename = "assistant.stream.failed")]
    StreamFailed {
        /// What went wrong.
        #[schemars(with = "ErrorDocument")]
        error: Error,
        /// What will be done about it: nothing, or once more after compaction.
        retried: bool,
    },
    /// Another model goes on; parts named in `discarded` do not count any more. Ephemeral.
    #[serde(rename = "assistant.stream.fallback")]
    StreamFallback {
        /// The model that failed.
        from: String,
        /// The model that goes on.
        to: String,
        /// Parts of the message that do not count any more.
        discarded: Vec<u32>,
    },
    /// The model begins to reason. Ephemeral.
    #[serde(rename = "agent.thinking.started")]
    ThinkingStarted {
        /// The part of the message.
        index: u32,
    },
    /// More of the reasoning. Ephemeral.
    #[serde(rename = "agent.thinking.delta")]
    ThinkingDelta {
        /// The part of the message.
        index: u32,
        /// Bytes (UTF-8) of this part before this delta.
        offset: u64,
        /// What is new.
        text: String,
    },
    /// The reasoning part is whole.
    #[serde(rename = "agent.thinking.completed")]
    ThinkingCompleted {
        /// The part of the message.
        index: u32,
        /// Bytes (UTF-8) of its text.
        length: u64,
    },

    // ------------------------------------------------------------------------------------------- the tools
    /// The model wants a tool run.
    #[serde(rename = "tool.execution.proposed")]
    ToolProposed {
        /// The call as the model wrote it.
        #[schemars(with = "Value")]
        call: ToolCall,
        /// The server that has it; absent if none does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        server: Option<String>,
        /// Whether somebody must say yes first.
        needs_approval: bool,
    },
    /// Somebody let it run. A call that needed no approval (`needs_approval: false`) starts without this.
    #[serde(rename = "tool.execution.approved")]
    ToolApproved {
        /// The tool, as the model names it: what an approval for longer holds for.
        tool: String,
        /// Who said so.
        by: Decider,
        /// For how long.
        scope: Scope,
    },
    /// It may not run; the model is told.
    #[serde(rename = "tool.execution.denied")]
    ToolDenied {
        /// Who said so.
        by: Decider,
        /// Why, as the model is told.
        reason: String,
    },
    /// It runs.
    #[serde(rename = "tool.execution.started")]
    ToolStarted {
        /// The tool's name as the model knows it.
        name: String,
    },
    /// How far it is. Ephemeral.
    #[serde(rename = "tool.execution.progress")]
    ToolProgress {
        /// So much is done.
        progress: f64,
        /// Of so much.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        total: Option<f64>,
        /// In words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// It has run. Its result follows in `message.saved`.
    #[serde(rename = "tool.execution.completed")]
    ToolCompleted {
        /// The tool itself says that it failed.
        is_error: bool,
        /// Bytes of its result.
        bytes: u64,
        /// The result was longer than the limit and was cut.
        truncated: bool,
        /// Milliseconds that it took.
        duration_ms: u64,
        /// The result, if an earlier call of the same answer still runs: its message is saved when that has ended,
        /// and must not be lost until then.
        #[schemars(with = "Option<Value>")]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        early: Option<Message>,
    },
    /// It has not run to its end; the model is told.
    #[serde(rename = "tool.execution.failed")]
    ToolFailed {
        /// What kind of failure.
        kind: ToolFailure,
        /// As the model is told.
        message: String,
        /// Milliseconds that it took.
        duration_ms: u64,
    },

    // ----------------------------------------------------------------------------------------- the session
    /// What the session has consumed so far.
    #[serde(rename = "usage.updated")]
    UsageUpdated {
        /// Of the last model call.
        #[schemars(with = "Value")]
        call: Usage,
        /// Of the session.
        session: TurnUsage,
    },
    /// The session begins.
    #[serde(rename = "session.created")]
    SessionCreated {
        /// Its title, if it was given one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// Where it was forked from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        forked_from: Option<ForkOrigin>,
    },
    /// It has a new title, given by a person.
    #[serde(rename = "session.renamed")]
    SessionRenamed {
        /// The title.
        title: String,
    },
    /// Another session was made from its beginning.
    #[serde(rename = "session.forked")]
    SessionForked {
        /// The new session.
        new_session_id: String,
        /// The last message that was copied; absent if none was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_id: Option<String>,
    },
    /// Another message is the active end.
    #[serde(rename = "session.leaf_changed")]
    LeafChanged {
        /// The active end; absent before the first message.
        leaf: Option<String>,
    },
    /// It was deleted for good. Published to its readers, and stored nowhere.
    #[serde(rename = "session.deleted")]
    SessionDeleted {},
    /// A message was added; it is the active end now.
    #[serde(rename = "message.saved")]
    MessageSaved {
        /// Its id, `m1`, `m2` …
        message_id: String,
        /// The message before it; absent for the first.
        parent_id: Option<String>,
        /// The message, byte for byte as it goes to a provider.
        #[schemars(with = "Value")]
        message: Message,
    },
    /// A model gave the session a title.
    #[serde(rename = "title.generated")]
    TitleGenerated {
        /// The title.
        title: String,
    },
    /// What the model sees is being shortened.
    #[serde(rename = "agent.compaction.started")]
    CompactionStarted {
        /// Why.
        reason: CompactionReason,
        /// Tokens that the model would have seen, as counted.
        tokens: u64,
    },
    /// The model sees `summary` in place of everything before `first_kept`; the log keeps it all.
    #[serde(rename = "agent.compaction.completed")]
    CompactionCompleted {
        /// The summary; absent if it failed and only old tool results were left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        summary: Option<String>,
        /// The first message that the model still sees whole.
        first_kept: Option<String>,
        /// Tokens before.
        tokens_before: u64,
        /// Tokens after, as counted.
        tokens_after: u64,
    },

    // ----------------------------------------------------------------------------------------- the servers
    /// An MCP server is there.
    #[serde(rename = "mcp.server.connected")]
    ServerConnected {
        /// Its name in the configuration.
        server: String,
        /// The tools that it has.
        tools: Vec<String>,
    },
    /// An MCP server is not there.
    #[serde(rename = "mcp.server.failed")]
    ServerFailed {
        /// Its name in the configuration.
        server: String,
        /// What went wrong.
        #[schemars(with = "ErrorDocument")]
        error: Error,
        /// Whether it will be started again.
        will_retry: bool,
    },
    /// An MCP server has other tools now.
    #[serde(rename = "mcp.server.tools_changed")]
    ServerToolsChanged {
        /// Its name in the configuration.
        server: String,
        /// The tools that it has.
        tools: Vec<String>,
    },
    /// Something to know.
    #[serde(rename = "log")]
    Log {
        /// `debug`, `info`, `warning` or `error`.
        level: LogLevel,
        /// In words. Never a key, a prompt or a result.
        message: String,
        /// Who says so: a server's name, or absent for the agent itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        server: Option<String>,
    },
}

impl Payload {
    /// Whether it matters beyond its turn to one who goes on with the session: see `SessionStore::landmarks`.
    pub const fn is_landmark(&self) -> bool {
        match self {
            Payload::CompactionCompleted { .. } => true,
            Payload::ToolApproved { scope, .. } => matches!(scope, Scope::Session),
            _ => false,
        }
    }

    /// Whether it is written to the log. The one decision about it.
    pub const fn durable(&self) -> bool {
        match self {
            Payload::StreamChunk { .. }
            | Payload::StreamFallback { .. }
            | Payload::ThinkingStarted { .. }
            | Payload::ThinkingDelta { .. }
            | Payload::ToolProgress { .. }
            | Payload::SessionDeleted {} => false,
            Payload::TurnStarted { .. }
            | Payload::TurnCompleted { .. }
            | Payload::TurnFailed { .. }
            | Payload::TurnCancelled { .. }
            | Payload::StreamStarted { .. }
            | Payload::StreamCompleted(_)
            | Payload::StreamCancelled(_)
            | Payload::StreamFailed { .. }
            | Payload::ThinkingCompleted { .. }
            | Payload::ToolProposed { .. }
            | Payload::ToolApproved { .. }
            | Payload::ToolDenied { .. }
            | Payload::ToolStarted { .. }
            | Payload::ToolCompleted { .. }
            | Payload::ToolFailed { .. }
            | Payload::UsageUpdated { .. }
            | Payload::SessionCreated { .. }
            | Payload::SessionRenamed { .. }
            | Payload::SessionForked { .. }
            | Payload::LeafChanged { .. }
            | Payload::MessageSaved { .. }
            | Payload::TitleGenerated { .. }
            | Payload::CompactionStarted { .. }
            | Payload::CompactionCompleted { .. }
            | Payload::ServerConnected { .. }
            | Payload::ServerFailed { .. }
            | Payload::ServerToolsChanged { .. }
            | Payload::Log { .. } => true,
        }
    }
}

/// How a model call ended: the reply without its message, which `message.saved` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StreamEnd {
    /// Where the message is kept; absent if nothing of it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Why the model stopped; absent if it was cancelled.
    #[schemars(with = "Option<String>")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<FinishReason>,
    /// The model that answered, as the provider names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Who answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// `native` or `litellm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// What the call consumed.
    #[schemars(with = "Value")]
    #[serde(default)]
    pub usage: Usage,
    /// Milliseconds from asking to the end.
    pub duration_ms: u64,
}

/// What a turn, or a session, consumed: sums of what the providers said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TurnUsage {
    /// Input tokens, cache reads and writes included.
    pub input_tokens: u64,
    /// Output tokens, reasoning included.
    pub output_tokens: u64,
    /// Dollars; null if a price was unknown.
    pub cost_usd: Option<f64>,
}

/// Where a fork was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ForkOrigin {
    /// The older session.
    pub session_id: String,
    /// The last message that was copied; absent if none was.
    pub message_id: Option<String>,
}

macro_rules! words {
    ($($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $word:ident,)+ })+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$doc])* $word,)+ }
    )+};
}

words! {
    /// What a chunk of an answer is a piece of.
    ChunkKind {
        /// The answer's text.
        Text,
        /// The refusal.
        Refusal,
        /// A call's arguments.
        ToolCall,
    }
    /// What a turn is doing.
    Activity {
        /// The model is asked and has said nothing yet.
        Asking,
        /// The answer comes.
        Streaming,
        /// Somebody is asked whether a tool may run.
        WaitingForApproval,
        /// Tools run.
        RunningTools,
        /// What the model sees is being shortened.
        Compacting,
    }
    /// Why the loop stopped although the model wanted more.
    StoppedBy {
        /// `max_tool_rounds` was reached.
        MaxToolRounds,
        /// The same call again and again.
        RepeatedCall,
        /// The budget is spent.
        Budget,
    }
    /// Who decided about a tool call.
    Decider {
        /// The configuration.
        Policy,
        /// A person, or the program that stands for one.
        User,
        /// Nobody answered in time.
        Timeout,
    }
    /// For how long a decision holds.
    Scope {
        /// For this call.
        Once,
        /// For this tool in this session.
        Session,
        /// For this tool, kept in the approvals file.
        Always,
    }
    /// How a tool failed.
    ToolFailure {
        /// No server has a tool of this name.
        Unknown,
        /// The arguments are not a JSON object, or do not fit.
        InvalidArguments,
        /// It took longer than it may.
        Timeout,
        /// Its server ended, or could not be reached.
        ServerGone,
        /// It answered in a shape that is not the protocol's.
        Malformed,
        /// It raised an error.
        Failed,
        /// The turn was cancelled.
        Cancelled,
        /// The same call was made too often.
        Repeated,
    }
    /// Why a session is compacted.
    CompactionReason {
        /// The window is nearly full.
        WindowNearlyFull,
        /// The provider said that it is full.
        ContextLength,
        /// Somebody asked for it.
        Asked,
    }
    /// How much a log entry matters.
    LogLevel {
        /// For those who look for a fault.
        Debug,
        /// For those who are curious.
        Info,
        /// Something may be wrong.
        Warning,
        /// Something is wrong.
        Error,
    }
}

/// The error document of the contract, as it stands in the event schema.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used; omni_core::Error is the type")]
struct ErrorDocument {
    /// One of the contract's codes.
    code: String,
    /// What happened and what to do.
    message: String,
    /// The provider that failed.
    provider: Option<String>,
    /// The model asked.
    model: Option<String>,
    /// The provider's own HTTP status.
    status: Option<u16>,
    /// Whether the same call may work later.
    retryable: Option<bool>,
    /// Seconds to wait.
    retry_after: Option<f64>,
    /// The provider's id of the request.
    request_id: Option<String>,
}

/// What a front end asks of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// Stop the turn.
    Cancel {},
    /// Decide about a proposed tool call.
    Approve {
        /// The tool call's `call_id`.
        call_id: String,
        /// What is decided.
        decision: Decision,
    },
}

/// What somebody decides about a proposed tool call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Decision {
    /// It may run.
    Approve {
        /// For how long this holds.
        scope: Scope,
    },
    /// It may not.
    Deny {
        /// Why, for the model.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}
