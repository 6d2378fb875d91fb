//! The agent runtime: a loop over any `ChatModel`, tools from MCP servers and from the host, sessions in an append-only
//! log, and typed events for every front end. It knows no provider and no engine.

mod agent;
mod approval;
mod bus;
mod compaction;
mod config;
mod driver;
mod flow;
pub mod mcp;
mod protocol;
mod replay;
pub mod schema;
mod session;
mod tool;

pub use agent::{Agent, AgentBuilder, Run, RunHandle, RunInput};
pub use bus::{Bus, Limits as BusLimits, Position, Reader, follow};
pub use config::{
    AgentConfig, Approval, Budgets, Compaction, EngineSwitch, Policy, ServerConfig, StoreConfig, Timeouts,
};
pub use flow::{Command, Ending, Entry, Flow, Input, Outcome, SessionView, Timer};
pub use mcp::{McpOptions, McpServer, McpServers};
pub use protocol::{
    Activity, AgentEvent, ChunkKind, CompactionReason, Decider, Decision, EVENT_VERSION, ForkOrigin,
    LogLevel, Op, Payload, Scope, StoppedBy, StreamEnd, ToolFailure, TurnUsage,
};
pub use replay::{
    Change, Diff, Pace, Parts, RecordedModel, RecordedTools, Recording, compare, play, read_log, test_run,
};
pub use session::{
    Durability, NewEvent, PathQuery, SearchHit, SessionInfo, SessionStore, SessionWriter, SqliteStore,
    StoredMessage, export_log, export_messages, import_log, import_messages,
};
pub use tool::{
    HostTools, IntoOutput, IntoToolError, Invocation, Notice, NoticeSink, Progress, ProgressSink, ToolError,
    ToolOutput, ToolSource, ToolSpec,
};
