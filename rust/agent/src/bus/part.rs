//! The text of the model calls that are under way: kept once, however many read it and however slowly.

use crate::protocol::{AgentEvent, ChunkKind, EVENT_VERSION, Payload};
use std::sync::Arc;

/// What a part says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Reasoning.
    Thinking,
    /// A piece of the answer.
    Answer(ChunkKind),
}

/// One part of an answer as it grows.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) index: u32,
    pub(super) kind: Kind,
    pub(super) tool: Option<String>,
    /// The durable event after which it began.
    pub(super) begun: u64,
    /// `agent.thinking.started` was published for it.
    announced: bool,
    /// Another model went on without it.
    pub(super) discarded: bool,
    timestamp_ms: u64,
    text: String,
    /// Bytes of the text; stays right when the text itself is let go.
    pub(super) length: usize,
    /// How far the text had come when each durable event was the last one: (`seq`, bytes).
    marks: Vec<(u64, usize)>,
}

impl Part {
    /// Bytes that had come before the durable event after `seq`.
    pub(super) fn until(&self, seq: u64) -> usize {
        let after = self.marks.partition_point(|(mark, _)| *mark <= seq);
        after
            .checked_sub(1)
            .and_then(|at| self.marks.get(at))
            .map_or(0, |(_, end)| *end)
    }

    fn push(&mut self, offset: u64, text: &str, seq: u64) {
        // A publisher that says something twice is believed once; its own count is not needed otherwise.
        let known = self
            .length
            .saturating_sub(usize::try_from(offset).unwrap_or(usize::MAX));
        let new = text.get(known.min(text.len())..).unwrap_or(text);
        self.text.push_str(new);
        self.length = self.text.len();
        match self.marks.last_mut() {
            Some((mark, end)) if *mark == seq => *end = self.length,
            _ => self.marks.push((seq, self.length)),
        }
    }
}

/// A model call: from `assistant.stream.started` to its end, and for a while after it.
#[derive(Debug)]
pub(super) struct Call {
    /// Counts the calls of this bus: a `call_id` may be asked again after compaction.
    pub(super) key: u64,
    /// Its `call_id`.
    pub(super) id: String,
    turn_id: Option<String>,
    parent: Option<String>,
    /// The `seq` of its start.
    pub(super) started: u64,
    /// The `seq` of its end.
    pub(super) closed: Option<u64>,
    pub(super) parts: Vec<Part>,
    /// `assistant.stream.fallback`, with the durable event before it.
    fallbacks: Vec<(u64, AgentEvent)>,
    /// Where its message was saved, once it is closed.
    pub(super) message_id: Option<String>,
    /// Its text was let go; its shape stays.
    pub(super) evicted: bool,
    /// Held by every reader that is inside: for them the shape is kept.
    inside: Arc<()>,
}

impl Call {
    /// A call that begins with `event`, after or with the durable event `started`.
    pub(super) fn new(key: u64, event: &AgentEvent, started: u64) -> Self {
        Self {
            key,
            id: event.call_id.clone().unwrap_or_default(),
            turn_id: event.turn_id.clone(),
            parent: event.parent.clone(),
            started,
            closed: None,
            parts: Vec::new(),
            fallbacks: Vec::new(),
            message_id: None,
            evicted: false,
            inside: Arc::new(()),
        }
    }

    /// Whether a reader is inside.
    pub(super) fn is_read(&self) -> bool {
        Arc::strong_count(&self.inside) > 1
    }

    /// Whether it belongs to the turn.
    pub(super) fn of_turn(&self, turn_id: Option<&str>) -> bool {
        self.turn_id.as_deref() == turn_id
    }

    /// Takes an ephemeral event that came after the durable event `seq`.
    pub(super) fn push(&mut self, event: AgentEvent, seq: u64) {
        let at = event.timestamp_ms;
        match event.payload {
            Payload::StreamChunk {
                index,
                kind,
                offset,
                text,
                tool,
            } => {
                let part = self.part(index, Kind::Answer(kind), seq, at);
                if part.tool.is_none() {
                    part.tool = tool;
                }
                part.push(offset, &text, seq);
            }
            Payload::ThinkingStarted { index } => self.part(index, Kind::Thinking, seq, at).announced = true,
            Payload::ThinkingDelta { index, offset, text } => {
                self.part(index, Kind::Thinking, seq, at).push(offset, &text, seq);
            }
            Payload::StreamFallback { ref discarded, .. } => {
                for part in &mut self.parts {
                    if discarded.contains(&part.index) && !part.discarded {
                        part.discarded = true;
                        part.text = String::new();
                    }
                }
                self.fallbacks.push((seq, event));
            }
            _ => {}
        }
    }

    fn part(&mut self, index: u32, kind: Kind, seq: u64, timestamp_ms: u64) -> &mut Part {
        // Streams talk about the newest part nearly always.
        let found = self
            .parts
            .iter()
            .rposition(|part| part.index == index && part.kind == kind && !part.discarded);
        let at = found.unwrap_or_else(|| {
            self.parts.push(Part {
                index,
                kind,
                tool: None,
                begun: seq,
                announced: false,
                discarded: false,
                timestamp_ms,
                text: String::new(),
                length: 0,
                marks: Vec::new(),
            });
            self.parts.len() - 1
        });
        let part = &mut self.parts[at];
        part.timestamp_ms = timestamp_ms;
        part
    }

    /// Bytes of text that it holds.
    pub(super) fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.text.len()).sum()
    }

    /// Lets its text go. Readers that are inside it get the rest from the message that was saved.
    pub(super) fn evict(&mut self) {
        self.evicted = true;
        for part in &mut self.parts {
            part.text = String::new();
        }
    }

    /// An ephemeral event of this call, as a reader sees it who has seen the durable event `seq`.
    fn event(&self, session_id: &str, seq: u64, timestamp_ms: u64, payload: Payload) -> AgentEvent {
        AgentEvent {
            v: EVENT_VERSION,
            seq: None,
            after_seq: Some(seq),
            timestamp_ms,
            session_id: session_id.to_owned(),
            turn_id: self.turn_id.clone(),
            call_id: Some(self.id.clone()),
            parent: self.parent.clone(),
            payload,
        }
    }
}

/// How far a reader is in a part.
#[derive(Clone, Debug, Default)]
struct PartPlace {
    /// Bytes that it has.
    offset: usize,
    begun: bool,
    announced: bool,
}

/// How far a reader is in a call.
#[derive(Debug)]
pub(super) struct CallPlace {
    pub(super) key: u64,
    parts: Vec<PartPlace>,
    fallbacks: usize,
    /// The texts of its parts from the message that was saved, once the bus has let them go.
    recovered: Option<Vec<Option<String>>>,
    _inside: Arc<()>,
}

/// A chunk is at most so long: a reader that gets much at once takes it in pieces, and holds up nobody meanwhile.
const LONGEST_CHUNK: usize = 64 * 1024;

impl CallPlace {
    /// The place of a reader that has seen nothing of the call, or so much as it says: (index, offset).
    pub(super) fn new(call: &Call, named: impl Iterator<Item = (u32, u64)>) -> Self {
        let mut place = Self {
            key: call.key,
            parts: Vec::new(),
            fallbacks: 0,
            recovered: None,
            _inside: Arc::clone(&call.inside),
        };
        place.meet(call);
        for (index, offset) in named {
            let ours = place
                .parts
                .iter_mut()
                .zip(&call.parts)
                .find(|(ours, part)| part.index == index && !part.discarded && !ours.begun);
            if let Some((ours, part)) = ours {
                let mut offset = usize::try_from(offset).unwrap_or(usize::MAX).min(part.length);
                while !call.evicted && !part.text.is_char_boundary(offset) {
                    offset -= 1;
                }
                (ours.begun, ours.announced, ours.offset) = (true, true, offset);
            }
        }
        place
    }

    /// Learns of parts that are new.
    fn meet(&mut self, call: &Call) {
        self.parts.resize_with(call.parts.len(), PartPlace::default);
    }

    /// Whether the text of the call is gone and has not been looked for in the message that was saved.
    pub(super) fn lacks(&self, call: &Call) -> bool {
        call.evicted && self.recovered.is_none()
    }

    /// Takes the texts of the parts that were found in the message; a part without one is not told.
    pub(super) fn recover(&mut self, texts: Vec<Option<String>>) {
        self.recovered = Some(texts);
    }

    /// What the reader has not seen of the call, and came before the durable event after `seq`.
    pub(super) fn next(&mut self, call: &Call, session_id: &str, seq: u64) -> Option<AgentEvent> {
        self.meet(call);
        let fallback = call.fallbacks.get(self.fallbacks);
        if let Some((_, event)) = fallback.filter(|(after, _)| *after <= seq) {
            self.fallbacks += 1;
            let mut event = event.clone();
            event.after_seq = Some(seq);
            return Some(event);
        }
        let recovered = self.recovered.as_deref().unwrap_or_default();
        for (at, (ours, part)) in self.parts.iter_mut().zip(&call.parts).enumerate() {
            if part.discarded || part.begun > seq {
                continue;
            }
            let text = if call.evicted {
                let Some(Some(text)) = recovered.get(at) else {
                    continue;
                };
                text
            } else {
                &part.text
            };
            let index = part.index;
            if part.announced && !ours.announced {
                (ours.announced, ours.begun) = (true, true);
                let payload = Payload::ThinkingStarted { index };
                return Some(call.event(session_id, seq, part.timestamp_ms, payload));
            }
            let end = part.until(seq);
            if ours.begun && end <= ours.offset {
                continue;
            }
            let text = piece(text, ours.offset, end);
            let tool = part.tool.clone().filter(|_| !ours.begun);
            let payload = piece_of(part.kind, index, ours.offset as u64, text.to_owned(), tool);
            ours.begun = true;
            ours.offset += text.len();
            return Some(call.event(session_id, seq, part.timestamp_ms, payload));
        }
        None
    }
}

/// The payload of a piece of a part.
fn piece_of(kind: Kind, index: u32, offset: u64, text: String, tool: Option<String>) -> Payload {
    match kind {
        Kind::Thinking => Payload::ThinkingDelta { index, offset, text },
        Kind::Answer(kind) => Payload::StreamChunk {
            index,
            kind,
            offset,
            text,
            tool,
        },
    }
}

/// From `start` to `end`, or less: never a piece of a character.
fn piece(text: &str, start: usize, end: usize) -> &str {
    let mut stop = end.min(start.saturating_add(LONGEST_CHUNK));
    while !text.is_char_boundary(stop) {
        stop -= 1;
    }
    text.get(start..stop).unwrap_or_default()
}
