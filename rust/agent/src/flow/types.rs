//! What goes into the loop and what comes out of it: plain data, so that a run can be played again and compared.

use crate::protocol::{Activity, Decision, Scope, StoppedBy, TurnUsage};
use crate::session::NewEvent;
use crate::tool::{Notice, Progress, ToolError, ToolOutput, ToolSpec};
use omni_core::{Error, Event, FinishReason, Message, Object, Reply, Request, Result};
use serde::{Deserialize, Serialize};

/// A session as the loop needs it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionView {
    /// The session.
    pub session_id: String,
    /// The messages on the path to the leaf that the turn goes on from; those that a summary stands for may be left
    /// out.
    pub path: Vec<Entry>,
    /// What stands for the messages before `path`.
    pub summary: Option<String>,
    /// Tool results before this message are left out of what the model sees.
    pub blanked_before: Option<String>,
    /// Results of calls at the end of the path whose process ended before they were saved.
    pub early: Vec<Message>,
    /// The turn whose process ended before it did.
    pub open_turn: Option<String>,
    /// The session's active leaf.
    pub active: Option<String>,
    /// The number of the last turn.
    pub turns: u64,
    /// The number of the last message, siblings included.
    pub messages: u64,
    /// What the session consumed.
    pub usage: TurnUsage,
    /// Whether it has a title.
    pub titled: bool,
    /// Tools that were approved for the session or always.
    pub granted: Vec<String>,
    /// The model's window in tokens, if it is known.
    pub window: Option<u64>,
}

/// A message of the path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its id.
    pub message_id: String,
    /// Its turn.
    pub turn_id: Option<String>,
    /// The message.
    pub message: Message,
}

/// What the loop is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "input", rename_all = "snake_case")]
pub enum Input {
    /// A turn begins: with a user's message, or without one to answer the leaf again.
    Begin {
        /// What the user says.
        message: Option<Message>,
    },
    /// The tools that there are now.
    Tools {
        /// All of them.
        tools: Vec<ToolSpec>,
        /// Sources whose tools are not known, and why.
        failed: Vec<(String, Error)>,
    },
    /// The tokens of the request that was to be counted; absent if they cannot be counted.
    Counted {
        /// Input tokens.
        tokens: Option<u64>,
    },
    /// The summary that was asked for.
    Summarised {
        /// The small model's answer.
        reply: Result<Box<Reply>>,
    },
    /// The model says something.
    Stream {
        /// What it says.
        event: Event,
    },
    /// Somebody decided about a call.
    Approval {
        /// The tool call.
        call_id: String,
        /// What was decided.
        decision: Decision,
    },
    /// A tool says how far it is.
    Progress {
        /// The tool call.
        call_id: String,
        /// How far it is.
        progress: Progress,
    },
    /// A tool has ended.
    ToolEnded {
        /// The tool call.
        call_id: String,
        /// What it answered.
        result: Result<ToolOutput, ToolError>,
    },
    /// A time has passed.
    TimedOut {
        /// Which.
        timer: Timer,
    },
    /// A source of tools tells something.
    Notice {
        /// Its name.
        server: String,
        /// What it tells.
        notice: Notice,
    },
    /// The turn is to stop.
    Cancel,
    /// A commit failed; the commands after it were not carried out.
    StoreFailed {
        /// Why.
        error: Error,
    },
}

/// What the loop wants done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly every command of a stream is a publish, the largest: a box for each would cost more"
)]
pub enum Command {
    /// Store durable events in one commit, and publish them then.
    Commit {
        /// The events.
        events: Vec<NewEvent>,
    },
    /// Publish an ephemeral event.
    Publish {
        /// The event.
        event: NewEvent,
    },
    /// Ask every source for its tools; `tools` comes back.
    ListTools,
    /// Count the tokens of a request; `counted` comes back.
    Count {
        /// The request.
        request: Box<Request>,
    },
    /// Ask for a summary; `summarised` comes back.
    Summarise {
        /// The request.
        request: Box<Request>,
    },
    /// Give up listing, counting and summarising.
    StopPreparing,
    /// Ask the model; `stream` comes back until the answer's last event.
    Ask {
        /// The model call.
        call_id: String,
        /// The request.
        request: Box<Request>,
    },
    /// Cancel the model call.
    StopAsking,
    /// Run a tool; `tool_ended` comes back.
    CallTool {
        /// The tool call.
        call_id: String,
        /// The tool's source.
        server: String,
        /// The tool's own name there.
        own_name: String,
        /// Its arguments.
        arguments: Object,
    },
    /// Cancel a tool call.
    StopTool {
        /// The tool call.
        call_id: String,
    },
    /// Say `timed_out` after so many milliseconds.
    SetTimer {
        /// Which.
        timer: Timer,
        /// Milliseconds from now.
        after_ms: u64,
    },
    /// Do not say it.
    ClearTimer {
        /// Which.
        timer: Timer,
    },
    /// Remember that a tool may run from now on.
    Grant {
        /// The tool, as the model names it.
        tool: String,
        /// For how long.
        scope: Scope,
    },
    /// The turn is over.
    Done {
        /// How.
        outcome: Box<Outcome>,
    },
    /// Ask for a title in the background, and store it; nobody waits for it.
    Title {
        /// The request.
        request: Box<Request>,
    },
}

/// What the loop times.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timer {
    /// The turn.
    Turn,
    /// The model's first event.
    FirstEvent,
    /// The tokens' count or the summary.
    Preparing,
    /// A tool call, by its `call_id`.
    Tool(String),
    /// Somebody's decision about a tool call, by its `call_id`.
    Approval(String),
}

/// How a turn ended.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The session.
    pub session_id: String,
    /// The turn.
    pub turn_id: String,
    /// How it ended; its fields stand beside the others.
    #[serde(flatten)]
    pub ending: Ending,
    /// The last assistant message, if there is one.
    pub message_id: Option<String>,
    /// Its text.
    pub text: String,
    /// Why the model stopped at last.
    pub finish_reason: Option<FinishReason>,
    /// Why the loop stopped although the model wanted more.
    pub stopped_by: Option<StoppedBy>,
    /// Model calls made.
    pub rounds: u32,
    /// What the turn consumed.
    pub usage: TurnUsage,
    /// Milliseconds from start to end.
    pub duration_ms: u64,
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ending", rename_all = "snake_case")]
pub enum Ending {
    /// With an answer.
    Completed,
    /// It was cancelled.
    Cancelled {
        /// What it was doing.
        during: Activity,
    },
    /// With an error.
    Failed {
        /// What went wrong.
        error: Error,
    },
}

/// Without the text, which belongs into no log.
impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outcome")
            .field("session_id", &self.session_id)
            .field("turn_id", &self.turn_id)
            .field("ending", &self.ending)
            .field("text", &format_args!("{} bytes", self.text.len()))
            .field("finish_reason", &self.finish_reason)
            .field("stopped_by", &self.stopped_by)
            .field("rounds", &self.rounds)
            .field("usage", &self.usage)
            .finish_non_exhaustive()
    }
}

impl Outcome {
    /// The outcome of a turn that was completed.
    ///
    /// # Errors
    /// What a failed turn failed with; `cancelled` for one that was cancelled.
    pub fn into_result(self) -> Result<Self> {
        match self.ending {
            Ending::Completed => Ok(self),
            Ending::Failed { error } => Err(error),
            Ending::Cancelled { .. } => Err(Error::new(
                omni_core::Code::Cancelled,
                format!(
                    "turn {} was cancelled; the session is valid, and the next turn works",
                    self.turn_id
                ),
            )),
        }
    }
}
