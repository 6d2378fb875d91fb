//! What a log says of everything that came from outside of the loop: the model's answers, the tools' results, what the
//! user said, approved and cancelled, and when, counted in events.

use super::diff::is_compared;
use crate::approval::NOBODY;
use crate::compaction;
use crate::protocol::{
    Activity, AgentEvent, CompactionReason, Decider, Decision, EVENT_VERSION, Payload, StreamEnd, ToolFailure,
};
use crate::tool::{ToolError, ToolOutput};
use omni_core::{Content, Error, Message, Result, Role, Usage};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A session's log, taken apart for being run again.
#[derive(Debug, Default)]
pub struct Recording {
    pub(super) session_id: String,
    pub(super) events: Vec<AgentEvent>,
    pub(super) answers: Vec<Answer>,
    pub(super) compactions: Vec<Compacted>,
    pub(super) title: Option<String>,
    pub(super) calls: HashMap<String, Call>,
    /// The tools of each server, in the order in which they were first called.
    pub(super) tools: BTreeMap<String, Vec<KnownTool>>,
    pub(super) steps: Vec<Step>,
}

/// Reads a log of JSON lines, one event each, as `export_log` and `omni run --json` write it. Ephemeral events may
/// stand in it.
///
/// # Errors
/// `invalid_request` with the line that is no event, or one of a later version.
pub fn read_log(lines: &str) -> Result<Vec<AgentEvent>> {
    let mut events = Vec::new();
    for (line, number) in lines.lines().zip(1_usize..) {
        if line.trim().is_empty() {
            continue;
        }
        let wrong = |what: &str| Error::invalid(format!("line {number} of the log: {what}"));
        let event: AgentEvent = omni_core::from_slice_lenient(line.as_bytes())
            .map_err(|error| wrong(&omni_core::unreadable("the event", &error).message))?;
        if event.v > EVENT_VERSION {
            return Err(wrong(&format!(
                "the event has version {}, and this program knows versions up to {EVENT_VERSION}: update omni_bridge",
                event.v
            )));
        }
        events.push(event);
    }
    Ok(events)
}

/// How one model call went.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) how: How,
    /// Reasoning parts that came to their end: (index, bytes).
    pub(super) thinking: Vec<(u32, u64)>,
    pub(super) message: Option<Message>,
}

#[derive(Debug)]
pub(super) enum How {
    Whole(StreamEnd),
    Failed(Error, Usage),
    /// Until the turn was cancelled; whether the model had said something.
    Cut(StreamEnd, bool),
}

/// One compaction.
#[derive(Debug)]
pub(super) struct Compacted {
    /// Model calls before it.
    pub(super) after: usize,
    pub(super) reason: CompactionReason,
    pub(super) tokens: u64,
    pub(super) summary: Option<String>,
    pub(super) usage: Usage,
    pub(super) tokens_after: Option<u64>,
    /// It was cancelled before it was done.
    pub(super) cut: bool,
}

/// One tool call that ran.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) name: String,
    /// Events before its end.
    pub(super) at: usize,
    /// `None` if it was still running when the turn was stopped.
    pub(super) result: Option<std::result::Result<ToolOutput, ToolError>>,
}

#[derive(Debug)]
pub(super) struct KnownTool {
    pub(super) name: String,
    /// It ran although nobody was asked and nobody had approved it before.
    pub(super) unasked: bool,
}

/// What was done with the session.
#[derive(Debug)]
pub(super) enum Step {
    /// Something other than a turn: a fork, a new name, another leaf.
    Add(Vec<AgentEvent>),
    Turn(Box<Turn>),
}

#[derive(Debug)]
pub(super) struct Turn {
    pub(super) input: Option<Message>,
    /// The message that it answers.
    pub(super) message_id: String,
    pub(super) place: Place,
    /// (events before it, what was asked of the run).
    pub(super) orders: Vec<(usize, Order)>,
    /// Nobody was there: a call was denied for that reason.
    pub(super) unattended: bool,
    /// Calls that a decision about another call let run.
    pub(super) freed: HashSet<String>,
    /// Calls that still waited when the turn ran out of its time.
    pub(super) left: HashSet<String>,
}

/// Where a turn went on.
#[derive(Debug)]
pub(super) enum Place {
    /// In a new session, which it made, with this title.
    New(Option<String>),
    /// At the active leaf.
    Leaf,
    /// Behind another message; `None` is the root.
    After(Option<String>),
}

#[derive(Debug)]
pub(super) enum Order {
    Decide(String, Decision),
    /// Nobody decided about a call in time.
    Nobody(String),
    /// Whether the model was to come to a halt first.
    Cancel(bool),
}

impl Recording {
    /// Takes a log apart.
    ///
    /// # Errors
    /// `invalid_request` for a log that does not begin with its session, or with a turn that came to no end.
    pub fn new(log: Vec<AgentEvent>) -> Result<Self> {
        let events: Vec<AgentEvent> = log.into_iter().filter(|event| event.payload.durable()).collect();
        let first = events.first();
        let Some(Payload::SessionCreated { .. }) = first.map(|event| &event.payload) else {
            return Err(Error::invalid(
                "the log does not begin with session.created; export the whole session with `omni sessions export`",
            ));
        };
        let mut recording = Self {
            session_id: first.map(|event| event.session_id.clone()).unwrap_or_default(),
            ..Self::default()
        };
        let mut at = 0;
        for (place, event) in events.iter().enumerate() {
            recording.note(&events[place..], event, at);
            at += usize::from(is_compared(&event.payload));
        }
        recording.steps(&events)?;
        recording.events = events;
        Ok(recording)
    }

    /// Notes what came from outside with `event`, the first of `rest`, which `at` events came before.
    fn note(&mut self, rest: &[AgentEvent], event: &AgentEvent, at: usize) {
        let id = event.call_id.clone().unwrap_or_default();
        match &event.payload {
            Payload::StreamStarted { .. } => self.answers.extend(answer(rest, &id)),
            Payload::CompactionStarted { reason, tokens } => {
                let after = self.answers.len();
                self.compactions.push(compacted(rest, *reason, *tokens, after));
            }
            Payload::TitleGenerated { title } => self.title = Some(title.clone()),
            Payload::ToolProposed {
                call,
                server: Some(server),
                needs_approval,
            } => {
                let denied = |event: &AgentEvent| {
                    event.call_id.as_deref() == Some(id.as_str()) && for_nobody(&event.payload)
                };
                // Whoever was not there would have been asked.
                let unasked = !needs_approval && !rest.iter().any(denied);
                let tools = self.tools.entry(server.clone()).or_default();
                match tools.iter_mut().find(|tool| tool.name == call.name()) {
                    // A call that failed before anybody could be asked says less than a later one.
                    Some(tool) => tool.unasked &= unasked,
                    None => tools.push(KnownTool {
                        name: call.name().to_owned(),
                        unasked,
                    }),
                }
            }
            Payload::ToolStarted { name } => {
                let name = name.clone();
                let result = None;
                self.calls.insert(id, Call { name, at, result });
            }
            Payload::ToolCompleted {
                is_error,
                bytes,
                truncated,
                ..
            } => {
                if let Some(call) = self.calls.get_mut(&id) {
                    let content = result_of(rest, &id);
                    let content = if *truncated {
                        uncut(content, *bytes)
                    } else {
                        content
                    };
                    call.at = at;
                    call.result = Some(Ok(ToolOutput {
                        content,
                        is_error: *is_error,
                        structured: None,
                    }));
                }
            }
            Payload::ToolFailed { kind, message, .. } if *kind != ToolFailure::Cancelled => {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.at = at;
                    call.result = Some(Err(ToolError::new(*kind, message.clone())));
                }
            }
            _ => {}
        }
    }

    /// The turns, and what was done between them.
    fn steps(&mut self, events: &[AgentEvent]) -> Result<()> {
        let mut leaf: Option<String> = None;
        let mut between: Vec<AgentEvent> = Vec::new();
        let (mut at, mut place) = (0, 0);
        while let Some(event) = events.get(place) {
            if matches!(event.payload, Payload::TurnStarted { .. }) {
                let end = events[place..].iter().position(|other| {
                    other.turn_id == event.turn_id
                        && matches!(
                            other.payload,
                            Payload::TurnCompleted { .. }
                                | Payload::TurnFailed { .. }
                                | Payload::TurnCancelled { .. }
                        )
                });
                let Some(end) = end else {
                    return Err(Error::invalid(format!(
                        "turn {} of the log came to no end, as its process was killed; only whole turns can be run \
                         again: cut the log before it",
                        event.turn_id.as_deref().unwrap_or_default()
                    )));
                };
                let turn = &events[place..=place + end];
                // The first turn of a plain session makes it.
                let begins = match between.as_slice() {
                    [
                        AgentEvent {
                            payload:
                                Payload::SessionCreated {
                                    title,
                                    forked_from: None,
                                },
                            ..
                        },
                    ] if self.steps.is_empty() => Place::New(title.clone()),
                    _ => Place::Leaf,
                };
                if matches!(begins, Place::Leaf) && !between.is_empty() {
                    self.steps.push(Step::Add(between.clone()));
                }
                between.clear();
                self.steps
                    .push(Step::Turn(Box::new(turn_of(turn, at, leaf.as_ref(), begins))));
                for event in turn {
                    note_leaf(&mut leaf, &event.payload);
                    at += usize::from(is_compared(&event.payload));
                }
                place += turn.len();
                continue;
            }
            note_leaf(&mut leaf, &event.payload);
            if is_compared(&event.payload) {
                at += 1;
                between.push(event.clone());
            }
            place += 1;
        }
        if !between.is_empty() {
            self.steps.push(Step::Add(between));
        }
        Ok(())
    }
}

/// Whether a call was denied because nobody was there to ask.
fn for_nobody(payload: &Payload) -> bool {
    matches!(payload, Payload::ToolDenied { by: Decider::Policy, reason } if reason == NOBODY)
}

fn note_leaf(leaf: &mut Option<String>, payload: &Payload) {
    match payload {
        Payload::MessageSaved { message_id, .. } => *leaf = Some(message_id.clone()),
        Payload::LeafChanged { leaf: now } => leaf.clone_from(now),
        _ => {}
    }
}

fn turn_of(events: &[AgentEvent], mut at: usize, leaf: Option<&String>, place: Place) -> Turn {
    let message_id = match events.first().map(|event| &event.payload) {
        Some(Payload::TurnStarted { message_id, .. }) => message_id.clone(),
        _ => String::new(),
    };
    let mut turn = Turn {
        input: None,
        message_id,
        place,
        orders: Vec::new(),
        unattended: events.iter().any(|event| for_nobody(&event.payload)),
        freed: HashSet::new(),
        left: HashSet::new(),
    };
    let mut stopped_calls = HashSet::new();
    let mut first = true;
    // Where what a cancel brought about begins.
    let mut stopped: Option<(usize, bool)> = None;
    for event in events {
        match &event.payload {
            Payload::MessageSaved {
                message_id,
                parent_id,
                message,
            } => {
                let elsewhere = std::mem::take(&mut first) && parent_id.as_ref() != leaf;
                if elsewhere && matches!(turn.place, Place::Leaf) {
                    turn.place = Place::After(parent_id.clone());
                }
                if *message_id == turn.message_id && message.role == Role::User {
                    turn.input = Some(message.clone());
                }
            }
            Payload::ToolApproved {
                by: Decider::User,
                scope,
                ..
            } => turn.order(event, at, Decision::Approve { scope: *scope }),
            Payload::ToolDenied {
                by: Decider::User,
                reason,
            } => {
                let given = reason.split_once(": ").map(|(_, given)| given.to_owned());
                turn.order(event, at, Decision::Deny { reason: given });
            }
            Payload::ToolDenied {
                by: Decider::Timeout, ..
            } => {
                let call_id = event.call_id.clone().unwrap_or_default();
                turn.orders.push((at, Order::Nobody(call_id)));
            }
            Payload::ToolApproved {
                by: Decider::Policy, ..
            } => turn.freed.extend(event.call_id.clone()),
            Payload::StreamCancelled(_) => stopped = Some((at, true)),
            Payload::ToolFailed {
                kind: ToolFailure::Cancelled,
                ..
            } => {
                stopped = stopped.or(Some((at, false)));
                stopped_calls.extend(event.call_id.clone());
            }
            Payload::TurnFailed { .. } => turn.left = std::mem::take(&mut stopped_calls),
            Payload::TurnCancelled { during, .. } => {
                let (from, halts) = stopped.unwrap_or((at, *during == Activity::Compacting));
                turn.orders.push((from, Order::Cancel(halts)));
            }
            _ => {}
        }
        at += usize::from(is_compared(&event.payload));
    }
    turn
}

impl Turn {
    fn order(&mut self, event: &AgentEvent, at: usize, decision: Decision) {
        let call_id = event.call_id.clone().unwrap_or_default();
        self.orders.push((at, Order::Decide(call_id, decision)));
    }
}

/// How the model call went that begins with the first of `rest`.
fn answer(rest: &[AgentEvent], call_id: &str) -> Option<Answer> {
    let own = || {
        let own = rest.iter().skip(1);
        own.filter(|event| event.call_id.as_deref() == Some(call_id))
    };
    let thinking = own().filter_map(|event| match &event.payload {
        Payload::ThinkingCompleted { index, length } => Some((*index, *length)),
        _ => None,
    });
    let message = own().find_map(|event| match &event.payload {
        Payload::MessageSaved { message, .. } if message.role == Role::Assistant => Some(message.clone()),
        _ => None,
    });
    let how = own().find_map(|event| match &event.payload {
        Payload::StreamCompleted(end) => Some(How::Whole(end.clone())),
        Payload::StreamFailed { error, .. } => {
            let usage = own().find_map(|event| match &event.payload {
                Payload::UsageUpdated { call, .. } => Some(call.clone()),
                _ => None,
            });
            Some(How::Failed(error.clone(), usage.unwrap_or_default()))
        }
        Payload::StreamCancelled(end) => {
            let streaming = rest.iter().find_map(|event| match &event.payload {
                Payload::TurnCancelled { during, .. } => Some(*during == Activity::Streaming),
                _ => None,
            });
            Some(How::Cut(end.clone(), streaming.unwrap_or(true)))
        }
        _ => None,
    });
    Some(Answer {
        how: how?,
        thinking: thinking.collect(),
        message,
    })
}

fn compacted(rest: &[AgentEvent], reason: CompactionReason, tokens: u64, after: usize) -> Compacted {
    let mut found = Compacted {
        after,
        reason,
        tokens,
        summary: None,
        usage: Usage::default(),
        tokens_after: None,
        cut: true,
    };
    for event in rest.iter().skip(1) {
        match &event.payload {
            Payload::UsageUpdated { call, .. } => found.usage = call.clone(),
            Payload::CompactionCompleted {
                summary,
                tokens_after,
                ..
            } => {
                found.summary = summary.as_deref().map(without_task);
                found.tokens_after = Some(*tokens_after);
                found.cut = false;
                break;
            }
            Payload::StreamStarted { .. } | Payload::TurnCancelled { .. } | Payload::TurnFailed { .. } => {
                break;
            }
            _ => {}
        }
    }
    found
}

/// The summary as the model gave it: the loop itself adds the user's task.
fn without_task(summary: &str) -> String {
    let added = compaction::with_task("", Some("x"));
    let mark = added.trim_end_matches('x');
    summary.split(mark).next().unwrap_or(summary).to_owned()
}

/// What the model was told of a call.
fn result_of(rest: &[AgentEvent], call_id: &str) -> Content {
    let own = rest
        .iter()
        .filter(|event| event.call_id.as_deref() == Some(call_id));
    let content = own.filter_map(|event| match &event.payload {
        Payload::MessageSaved { message, .. } if message.role == Role::Tool => message.content.clone(),
        _ => None,
    });
    let mut content = content;
    content.next().unwrap_or_default()
}

/// A result as long as it was: of what was cut off only the length is known, so that stands for it, and is cut again.
fn uncut(content: Content, bytes: u64) -> Content {
    let Content::Text(text) = content else {
        return content;
    };
    let kept = text.rsplit_once("\n[cut: ").map_or(&*text, |(kept, _)| kept);
    let mut whole = kept.to_owned();
    let mut left = usize::try_from(bytes)
        .unwrap_or(usize::MAX)
        .saturating_sub(kept.len());
    // Where the cut would have split a character, it lies before this one too.
    if left >= 4 {
        whole.push('🧵');
        left -= 4;
    }
    whole.extend(std::iter::repeat_n('.', left));
    Content::Text(whole)
}
