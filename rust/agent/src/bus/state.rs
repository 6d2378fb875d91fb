//! What the bus knows and what a reader has seen, without locks, clocks or waiting: `State::publish` takes events in,
//! `Cursor::next` says what a reader gets next.

use super::part::{Call, CallPlace};
use super::saved;
use crate::protocol::{AgentEvent, Payload};
use omni_core::Message;
use std::collections::VecDeque;
use std::sync::Arc;

/// How much a bus keeps. What it has let go is read from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Durable events.
    pub events: usize,
    /// Bytes of durable events, nearly; the last one is kept whatever its size is.
    pub bytes: usize,
    /// Model calls that have ended, and that no reader is inside.
    pub calls: usize,
    /// Bytes of the text of model calls that have ended.
    pub text: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            events: 512,
            bytes: 256 * 1024,
            calls: 32,
            text: 64 * 1024,
        }
    }
}

/// A tool's newest progress.
#[derive(Debug)]
struct Progress {
    version: u64,
    after: u64,
    event: AgentEvent,
}

/// What the bus keeps.
#[derive(Debug)]
pub(super) struct State {
    pub(super) session_id: String,
    pub(super) last_seq: u64,
    limits: Limits,
    /// The last durable events, without gaps, each with its weight.
    ring: VecDeque<(Arc<AgentEvent>, usize)>,
    ring_bytes: usize,
    open: Vec<Call>,
    closed: VecDeque<Call>,
    progress: Vec<Progress>,
    /// Counts progress events and calls.
    version: u64,
    deleted: Option<AgentEvent>,
    /// Nobody publishes any more.
    pub(super) ended: bool,
}

impl State {
    pub(super) fn new(session_id: String, last_seq: u64, limits: Limits) -> Self {
        Self {
            session_id,
            last_seq,
            limits,
            ring: VecDeque::new(),
            ring_bytes: 0,
            open: Vec::new(),
            closed: VecDeque::new(),
            progress: Vec::new(),
            version: 0,
            deleted: None,
            ended: false,
        }
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.trim();
    }

    pub(super) fn publish(&mut self, event: AgentEvent) {
        match (event.payload.durable(), event.seq) {
            (true, Some(seq)) if seq > self.last_seq => self.append(seq, event),
            // Published before, or not in the store: nobody may see it.
            (true, _) => {}
            (false, _) => self.pass(event),
        }
    }

    fn append(&mut self, seq: u64, event: AgentEvent) {
        if seq != self.last_seq + 1 {
            // Somebody else wrote in between: readers get that from the store, and then these.
            self.ring.clear();
            self.ring_bytes = 0;
        }
        match &event.payload {
            Payload::StreamStarted { .. } => {
                self.close(seq, None, |call| Some(&call.id) == event.call_id.as_ref());
                self.version += 1;
                self.open.push(Call::new(self.version, &event, seq));
            }
            Payload::StreamCompleted(end) | Payload::StreamCancelled(end) => {
                let message_id = end.message_id.as_deref();
                self.close(seq, message_id, |call| Some(&call.id) == event.call_id.as_ref());
            }
            Payload::StreamFailed { .. } => {
                self.close(seq, None, |call| Some(&call.id) == event.call_id.as_ref());
            }
            // A call that was left open ends with its turn: nothing may stay for ever.
            Payload::TurnCompleted { .. } | Payload::TurnFailed { .. } | Payload::TurnCancelled { .. } => {
                let turn = event.turn_id.as_deref();
                self.close(seq, None, |call| call.of_turn(turn));
                self.progress
                    .retain(|progress| progress.event.turn_id != event.turn_id);
            }
            Payload::ToolCompleted { .. } | Payload::ToolFailed { .. } | Payload::ToolDenied { .. } => {
                self.progress
                    .retain(|progress| progress.event.call_id != event.call_id);
            }
            _ => {}
        }
        let weight = saved::weight(&event);
        self.last_seq = seq;
        self.ring_bytes += weight;
        self.ring.push_back((Arc::new(event), weight));
        self.trim();
    }

    /// Takes an ephemeral event.
    fn pass(&mut self, event: AgentEvent) {
        let seq = self.last_seq;
        match event.payload {
            Payload::SessionDeleted {} => {
                self.deleted = Some(event);
                self.ended = true;
            }
            Payload::ToolProgress { .. } => {
                self.version += 1;
                self.progress.retain(|old| old.event.call_id != event.call_id);
                self.progress.push(Progress {
                    version: self.version,
                    after: seq,
                    event,
                });
            }
            _ => {
                let id = event.call_id.as_deref().unwrap_or_default();
                let at = self.open.iter().rposition(|call| call.id == id);
                let at = at.unwrap_or_else(|| {
                    self.version += 1;
                    self.open.push(Call::new(self.version, &event, seq));
                    self.open.len() - 1
                });
                if let Some(call) = self.open.get_mut(at) {
                    call.push(event, seq);
                }
            }
        }
    }

    fn close(&mut self, seq: u64, message_id: Option<&str>, which: impl Fn(&Call) -> bool) {
        for mut call in self.open.extract_if(.., |call| which(call)) {
            call.closed = Some(seq);
            call.message_id = message_id.map(str::to_owned);
            self.closed.push_back(call);
        }
    }

    fn trim(&mut self) {
        while self.ring.len() > 1
            && (self.ring.len() > self.limits.events || self.ring_bytes > self.limits.bytes)
        {
            if let Some((_, weight)) = self.ring.pop_front() {
                self.ring_bytes -= weight;
            }
        }
        // A reader that is inside a call still has to know its shape.
        let mut more = self.closed.len().saturating_sub(self.limits.calls);
        self.closed.retain(|call| {
            let forget = more > 0 && !call.is_read();
            more -= usize::from(forget);
            !forget
        });
        let mut bytes: usize = self.closed.iter().map(Call::bytes).sum();
        for call in &mut self.closed {
            if bytes <= self.limits.text {
                break;
            }
            bytes -= call.bytes();
            call.evict();
        }
    }

    /// Bytes of text that it holds.
    #[cfg(test)]
    pub(super) fn text_bytes(&self) -> usize {
        self.open.iter().chain(&self.closed).map(Call::bytes).sum()
    }

    fn durable(&self, seq: u64) -> Option<&Arc<AgentEvent>> {
        let first = self.ring.front()?.0.seq?;
        let at = usize::try_from(seq.checked_sub(first)?).ok()?;
        self.ring.get(at).map(|(event, _)| event)
    }

    /// The saved message, if the ring has it.
    fn message(&self, message_id: &str) -> Option<&Message> {
        let mut events = self.ring.iter();
        events.find_map(|(event, _)| saved::message_of(event, message_id))
    }

    /// The calls that a reader at `seq` is inside.
    fn around(&self, seq: u64) -> impl Iterator<Item = &Call> {
        // Only who is behind the last end can be inside a call that has ended.
        let behind = self.closed.back().is_some_and(|call| call.closed > Some(seq));
        let closed = self.closed.iter().filter(move |_| behind);
        closed
            .chain(&self.open)
            .filter(move |call| call.started <= seq && call.closed.is_none_or(|closed| seq < closed))
    }

    fn call(&self, key: u64) -> Option<&Call> {
        self.closed.iter().chain(&self.open).find(|call| call.key == key)
    }
}

/// What a reader is to do.
#[derive(Debug)]
pub(super) enum Step {
    /// Hand it out.
    Event(Box<AgentEvent>),
    /// Hand it out; others hold it too.
    Shared(Arc<AgentEvent>),
    /// Read durable events after this one from the store, for `Cursor::page`.
    Read(u64),
    /// Look for this message in the store after this event, for `Cursor::settle`.
    Find(u64, String),
    /// Wait until something is published.
    Wait,
    /// Nothing will follow.
    End,
}

/// How far a reader is.
#[derive(Debug)]
pub(super) struct Cursor {
    /// The last durable event that it has.
    pub(super) seq: u64,
    /// Calls that ended before it came are told by their durable events alone.
    joined: u64,
    /// Where it was when it came, and the parts that it had then: (`call_id`, index, offset).
    came: u64,
    named: Vec<(String, u32, u64)>,
    calls: Vec<CallPlace>,
    /// The newest progress that it has.
    progress: u64,
    /// Durable events from the store.
    page: VecDeque<AgentEvent>,
    /// The call whose message is looked for.
    wanted: Option<u64>,
    said_deleted: bool,
}

impl Cursor {
    pub(super) fn new(state: &State, after: Option<u64>, named: Vec<(String, u32, u64)>) -> Self {
        let seq = after.unwrap_or(state.last_seq);
        Self {
            seq,
            joined: state.last_seq,
            came: seq,
            named,
            calls: Vec::new(),
            progress: 0,
            page: VecDeque::new(),
            wanted: None,
            said_deleted: false,
        }
    }

    /// What the reader gets next.
    pub(super) fn next(&mut self, state: &State) -> Step {
        if let Some(step) = self.text(state).or_else(|| self.newest_progress(state)) {
            return step;
        }
        let next = self.seq + 1;
        let event = match state.durable(next) {
            Some(event) => Arc::clone(event),
            None if next > state.last_seq => return self.last(state),
            None => match self.page.pop_front() {
                Some(event) if event.seq == Some(next) => Arc::new(event),
                _ => {
                    self.page.clear();
                    return Step::Read(self.seq);
                }
            },
        };
        self.seq = next;
        let inside = |call: &Call| call.closed.is_none_or(|end| end > next);
        self.calls
            .retain(|place| state.call(place.key).is_some_and(inside));
        Step::Shared(event)
    }

    /// Text, and what stands between text, that came before the next durable event.
    fn text(&mut self, state: &State) -> Option<Step> {
        for call in state.around(self.seq) {
            let at = self.calls.iter().position(|place| place.key == call.key);
            let place = if let Some(place) = at.and_then(|at| self.calls.get_mut(at)) {
                place
            } else {
                let inside = call.started <= self.came;
                let named = self.named.iter().filter(|(id, ..)| inside && *id == call.id);
                let named: Vec<_> = named.map(|(_, index, offset)| (*index, *offset)).collect();
                if call.closed.is_some_and(|closed| closed <= self.joined) && named.is_empty() {
                    continue;
                }
                self.calls.push(CallPlace::new(call, named.into_iter()));
                self.calls.last_mut()?
            };
            if place.lacks(call) {
                let Some(message_id) = &call.message_id else {
                    place.recover(Vec::new());
                    continue;
                };
                if let Some(message) = state.message(message_id) {
                    place.recover(saved::recover(message, call));
                } else {
                    self.wanted = Some(call.key);
                    return Some(Step::Find(self.seq, message_id.clone()));
                }
            }
            if let Some(event) = place.next(call, &state.session_id, self.seq) {
                return Some(Step::Event(Box::new(event)));
            }
        }
        None
    }

    fn newest_progress(&mut self, state: &State) -> Option<Step> {
        let new = state.progress.iter().find(|new| new.version > self.progress)?;
        if new.after > self.seq {
            return None;
        }
        self.progress = new.version;
        let mut event = new.event.clone();
        event.after_seq = Some(self.seq);
        Some(Step::Event(Box::new(event)))
    }

    /// The message that was looked for, or that it is not to be found.
    pub(super) fn settle(&mut self, state: &State, message: Option<&Message>) {
        let wanted = self.wanted.take();
        let place = self.calls.iter_mut().find(|place| Some(place.key) == wanted);
        if let (Some(place), Some(call)) = (place, wanted.and_then(|key| state.call(key))) {
            let texts = message.map(|message| saved::recover(message, call));
            place.recover(texts.unwrap_or_default());
        }
    }

    /// Durable events that were read from the store after `seq`.
    pub(super) fn take(&mut self, page: Vec<AgentEvent>) {
        self.page = page.into();
    }

    /// Whether the session was deleted under the reader, so that what it lacks is nowhere.
    pub(super) fn skip_to_deletion(&mut self, state: &State) -> bool {
        if state.deleted.is_some() {
            self.seq = state.last_seq;
        }
        state.deleted.is_some()
    }

    fn last(&mut self, state: &State) -> Step {
        match &state.deleted {
            Some(event) if !self.said_deleted => {
                self.said_deleted = true;
                Step::Event(Box::new(event.clone()))
            }
            _ if state.ended => Step::End,
            _ => Step::Wait,
        }
    }
}

#[cfg(test)]
mod tests;
