//! The loop's decisions: a pure state machine. An input goes in, commands come out; no clock, no I/O, no runtime.
//! `driver.rs` carries the commands out, and anything else may: a replay, a test, a fuzzer.
//!
//! The commands of one step are carried out in their order. A `commit` that fails ends them: the rest is dropped and
//! `store_failed` comes back. So nothing is published, run or asked before the log says so.

mod ask;
mod calls;
mod compacting;
pub(crate) mod result;
mod turn;
mod types;

use crate::approval::Granted;
use crate::compaction;
use crate::config::AgentConfig;
use crate::protocol::{Payload, TurnUsage};
use crate::session::NewEvent;
use calls::Calls;
use compacting::Compacting;
use omni_core::{Error, Message, Request, Result, Role};
use std::sync::Arc;
use turn::Turn;

pub use types::{Command, Ending, Entry, Input, Outcome, SessionView, Timer};

/// One session's loop, for one turn after another.
#[derive(Debug)]
pub struct Flow {
    config: Arc<AgentConfig>,
    /// A request with all that the configuration says; cloned for each call.
    template: Result<Request>,
    window: Option<u64>,
    session_id: String,
    /// What the model sees: the path to the leaf, without what a compaction took away.
    history: Vec<Seen>,
    /// Stands before the history.
    summary: Option<String>,
    /// The end of the path.
    leaf: Option<String>,
    /// The leaf as the session has it; another one at the beginning of a turn is an edit or a regeneration.
    active: Option<String>,
    early: Vec<Message>,
    open_turn: Option<String>,
    turns: u64,
    messages: u64,
    usage: TurnUsage,
    titled: bool,
    granted: Granted,
    /// Nobody is there in this turn, whatever the configuration says.
    alone: bool,
    turn: Option<Turn>,
    /// How the last turn ended, until the next one begins.
    ended: Option<Outcome>,
    /// Durable events that the next commit takes.
    pending: Vec<NewEvent>,
    out: Vec<Command>,
    now: u64,
}

/// A message that the model sees, with its weight.
#[derive(Debug)]
struct Seen {
    entry: Entry,
    /// Tokens, estimated from above.
    tokens: u64,
}

/// What a turn is waiting for.
#[derive(Debug)]
enum Phase {
    /// For the list of tools; `count` says whether the tokens are counted then.
    Listing { count: bool },
    /// For the count of tokens.
    Counting { estimate: u64 },
    /// For what shortens the history.
    Compacting(Compacting),
    /// For the model.
    Asking(Box<ask::Asking>),
    /// For tools, and for those who approve them.
    Calls(Calls),
}

impl Flow {
    /// A loop at rest over `session`.
    pub fn new(config: Arc<AgentConfig>, session: SessionView) -> Self {
        let template = config.request_of(&config.model, Vec::new());
        let blanked = session
            .blanked_before
            .as_ref()
            .and_then(|id| session.path.iter().position(|entry| &entry.message_id == id));
        let history: Vec<Seen> = session.path.into_iter().map(Seen::new).collect();
        let mut flow = Self {
            template,
            window: config.compaction.window.or(session.window),
            session_id: session.session_id,
            leaf: history.last().map(|seen| seen.entry.message_id.clone()),
            history,
            summary: session.summary,
            active: session.active,
            early: session.early,
            open_turn: session.open_turn,
            turns: session.turns,
            messages: session.messages,
            usage: session.usage,
            titled: session.titled,
            granted: Granted::new(session.granted),
            alone: false,
            turn: None,
            ended: None,
            pending: Vec::new(),
            out: Vec::new(),
            now: 0,
            config,
        };
        flow.blank(blanked.unwrap_or(0));
        flow
    }

    /// Takes one input at `now_ms` (Unix milliseconds) and says what is to be done. An input that nobody waits for
    /// any more changes nothing.
    pub fn step(&mut self, input: Input, now_ms: u64) -> Vec<Command> {
        // A clock that was set back must not make durations negative.
        self.now = self.now.max(now_ms);
        match input {
            Input::Begin { message } => self.begin(message),
            Input::Tools { tools, failed } => self.tools_listed(tools, failed),
            Input::Counted { tokens } => self.counted(tokens),
            Input::Summarised { reply } => self.summarised(reply.map(|reply| *reply)),
            Input::Stream { event } => self.heard(event),
            Input::Approval { call_id, decision } => self.decided(&call_id, decision),
            Input::Progress { call_id, progress } => self.progressed(&call_id, progress),
            Input::ToolEnded { call_id, result } => self.tool_ended(&call_id, result),
            Input::TimedOut { timer } => self.timed_out(&timer),
            Input::Notice { server, notice } => self.noticed(server, notice),
            Input::Cancel => self.cancel(),
            Input::StoreFailed { error } => self.store_failed(error),
        }
        std::mem::take(&mut self.out)
    }

    /// Lets tools run from now on.
    pub(crate) fn grant(&mut self, tools: impl IntoIterator<Item = String>) {
        tools.into_iter().for_each(|tool| self.granted.insert(tool));
    }

    /// Says whether nobody is there in the next turn, although the configuration does not say so.
    pub(crate) const fn set_alone(&mut self, alone: bool) {
        self.alone = alone;
    }

    /// Whether no turn runs.
    pub const fn is_idle(&self) -> bool {
        self.turn.is_none()
    }

    /// The messages that the model would see now, instructions and summary included.
    pub fn messages(&self) -> Vec<Message> {
        let system = self.config.system.as_deref().map(Message::system);
        let summary = self.summary.as_deref().map(compaction::summary_message);
        let seen = self.history.iter().map(|seen| &seen.entry.message);
        // An empty answer stands in the log and in no request: some providers refuse it.
        let seen = seen.filter(|message| !is_empty_answer(message)).cloned();
        // Made once at its size: a `Vec` that grows would move a long history again and again.
        let mut messages = Vec::with_capacity(self.history.len() + 2);
        messages.extend(system.into_iter().chain(summary).chain(seen));
        messages
    }

    /// Adds a durable event to the next commit.
    fn push(&mut self, call_id: Option<String>, parent: Option<String>, payload: Payload) {
        debug_assert!(payload.durable());
        let event = self.event(call_id, parent, payload);
        self.pending.push(event);
    }

    fn event(&self, call_id: Option<String>, parent: Option<String>, payload: Payload) -> NewEvent {
        NewEvent {
            timestamp_ms: self.now,
            turn_id: self.turn.as_ref().map(|turn| turn.id.clone()),
            call_id,
            parent,
            payload,
        }
    }

    /// Publishes an event that nobody keeps.
    fn publish(&mut self, call_id: String, parent: Option<String>, payload: Payload) {
        let event = self.event(Some(call_id), parent, payload);
        self.out.push(Command::Publish { event });
    }

    fn flush(&mut self) {
        if !self.pending.is_empty() {
            let events = std::mem::take(&mut self.pending);
            self.out.push(Command::Commit { events });
        }
    }

    /// Saves a message behind the leaf and gives its id.
    fn save(&mut self, call_id: Option<String>, parent_call: Option<String>, message: Message) -> String {
        self.messages += 1;
        let message_id = format!("m{}", self.messages);
        let parent_id = self.leaf.replace(message_id.clone());
        self.active = Some(message_id.clone());
        let turn_id = self.turn.as_ref().map(|turn| turn.id.clone());
        self.history.push(Seen::new(Entry {
            message_id: message_id.clone(),
            turn_id,
            message: message.clone(),
        }));
        self.push(
            call_id,
            parent_call,
            Payload::MessageSaved {
                message_id: message_id.clone(),
                parent_id,
                message,
            },
        );
        message_id
    }

    fn store_failed(&mut self, error: Error) {
        self.pending.clear();
        let ending = Ending::Failed { error };
        let outcome = match self.turn.take() {
            Some(turn) => {
                self.stop_all(&turn);
                turn.outcome(&self.session_id, self.now, ending)
            }
            // It was the turn's last commit: for the log the turn has no end.
            None => match self.ended.take() {
                Some(ended) => Outcome { ending, ..ended },
                None => return,
            },
        };
        self.out.push(Command::Done {
            outcome: Box::new(outcome),
        });
    }
}

impl Seen {
    fn new(entry: Entry) -> Self {
        Self {
            tokens: compaction::estimate(&entry.message),
            entry,
        }
    }
}

/// An assistant message that says nothing and calls nothing.
fn is_empty_answer(message: &Message) -> bool {
    let nothing = match &message.content {
        None => true,
        Some(omni_core::Content::Text(text)) => text.is_empty(),
        Some(omni_core::Content::Parts(parts)) => parts.is_empty(),
    };
    message.role == Role::Assistant
        && nothing
        && message.refusal.is_none()
        && message.tool_calls.as_ref().is_none_or(Vec::is_empty)
}
