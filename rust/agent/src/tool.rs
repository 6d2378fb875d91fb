//! Where tools come from: one trait for MCP servers and for the host's own functions.

mod host;

pub use host::{HostTools, IntoOutput, IntoToolError};

use crate::protocol::{LogLevel, ToolFailure};
use omni_core::{BoxFuture, Content, Error, Object, Tool};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// A tool as the model is offered it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// The name that the model uses: unique among all sources of a run.
    pub name: String,
    /// The tool's own name at its source.
    pub own_name: String,
    /// The source: an MCP server's name, or `host`.
    pub server: String,
    /// The definition that goes into the request, with `name` in it.
    pub tool: Tool,
    /// The source says that it only reads (MCP's `readOnlyHint`).
    pub read_only: bool,
}

/// One call, its arguments read.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The tool's own name at its source.
    pub own_name: String,
    /// The arguments.
    pub arguments: Object,
    /// The session that the call is made in.
    pub session_id: String,
    /// The `call_id` of the call's events.
    pub call_id: String,
    /// Where progress goes. Never waits.
    pub progress: ProgressSink,
}

/// Takes progress: so much is done, of so much, in words.
#[derive(Clone)]
pub struct ProgressSink(Arc<dyn Fn(Progress) + Send + Sync>);

impl ProgressSink {
    /// A sink that hands progress to `take`.
    pub fn new(take: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    /// Says how far the call is.
    pub fn report(&self, progress: Progress) {
        (self.0)(progress);
    }
}

impl std::fmt::Debug for ProgressSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProgressSink")
    }
}

/// How far a call is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// So much is done.
    pub progress: f64,
    /// Of so much.
    pub total: Option<f64>,
    /// In words.
    pub message: Option<String>,
}

/// What a tool answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolOutput {
    /// The content of the tool message.
    pub content: Content,
    /// The tool itself says that it failed.
    pub is_error: bool,
    /// The structured form, where the tool gives one.
    pub structured: Option<Value>,
}

/// Why a tool gave no answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolError {
    /// What kind of failure.
    pub kind: ToolFailure,
    /// For the model and the user: what happened and what to do.
    pub message: String,
}

impl ToolError {
    /// A failure of `kind`.
    pub fn new(kind: ToolFailure, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

/// What a source tells beside the answers to its calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// It is there, with these tools (their own names).
    Connected(Vec<String>),
    /// It is not there.
    Failed {
        /// What went wrong.
        error: Error,
        /// Whether it will be started again.
        will_retry: bool,
    },
    /// It has other tools now.
    ToolsChanged(Vec<String>),
    /// It says something.
    Log(LogLevel, String),
}

/// Takes notices: the source's name and what it tells. Never waits.
pub type NoticeSink = Arc<dyn Fn(&str, Notice) + Send + Sync>;

/// A source of tools. Every run asks it for its tools before each model call, so `tools` must be cheap: a cached list.
pub trait ToolSource: Send + Sync {
    /// The name in the configuration; `host` for the program's own functions.
    fn name(&self) -> &str;

    /// The tools that it has now. Starts or restarts the source if it must.
    fn tools(&self) -> BoxFuture<'_, Result<Vec<ToolSpec>, Error>>;

    /// Runs one. Dropping the future cancels the call at its source.
    fn call(&self, invocation: Invocation) -> BoxFuture<'_, Result<ToolOutput, ToolError>>;

    /// Where notices go from now on; the ones before are told at once. The last sink set gets them.
    fn watch(&self, sink: NoticeSink);

    /// Ends it and everything that it started. Idempotent.
    fn close(&self) -> BoxFuture<'_, ()>;
}
