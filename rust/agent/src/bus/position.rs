//! Where a reader is, in words that outlive its connection.

use crate::protocol::{AgentEvent, Payload};

/// How far somebody has read: what it needs to go on after its connection broke, with [`crate::Bus::subscribe_at`].
///
/// ```
/// # let bus = omni_agent::Bus::new("s", 0);
/// let mut position = omni_agent::Position::default();
/// // for each event that comes: position.see(&event);
/// let reader = bus.subscribe_at(Some(position.seq()), position.offsets());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    seq: u64,
    parts: Vec<(String, u32, u64)>,
}

impl Position {
    /// A reader that has the durable events up to `seq`.
    pub fn after(seq: u64) -> Self {
        Self {
            seq,
            parts: Vec::new(),
        }
    }

    /// The last durable event.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The open parts: (`call_id`, index, bytes that have come).
    pub fn offsets(&self) -> Vec<(String, u32, u64)> {
        self.parts.clone()
    }

    /// Takes an event that has come.
    pub fn see(&mut self, event: &AgentEvent) {
        if let Some(seq) = event.seq {
            self.seq = seq;
        }
        let call_id = event.call_id.as_deref().unwrap_or_default();
        match &event.payload {
            Payload::StreamChunk {
                index, offset, text, ..
            }
            | Payload::ThinkingDelta { index, offset, text } => {
                let end = offset + text.len() as u64;
                let mut parts = self.parts.iter_mut();
                match parts.find(|(id, of, _)| id == call_id && of == index) {
                    Some((.., have)) => *have = end,
                    None => self.parts.push((call_id.to_owned(), *index, end)),
                }
            }
            Payload::StreamFallback { discarded, .. } => self
                .parts
                .retain(|(id, index, _)| id != call_id || !discarded.contains(index)),
            Payload::StreamStarted { .. }
            | Payload::StreamCompleted(_)
            | Payload::StreamCancelled(_)
            | Payload::StreamFailed { .. } => self.parts.retain(|(id, ..)| id != call_id),
            Payload::TurnCompleted { .. } | Payload::TurnFailed { .. } | Payload::TurnCancelled { .. } => {
                self.parts.clear();
            }
            _ => {}
        }
    }
}
