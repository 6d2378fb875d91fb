//! A front end: it keeps what it has seen, and complains about anything that a reader must never see.

use super::log::{Call, Says};
use omni_agent::{AgentEvent, Bus, ChunkKind, Payload, Position, Reader};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

pub(crate) struct Client {
    pub(crate) reader: Reader,
    pub(crate) position: Position,
    pub(crate) from: u64,
    /// The last durable event that there was when it subscribed.
    pub(crate) joined: u64,
    pub(crate) durable: Vec<AgentEvent>,
    /// (start of the call, index, what) → text.
    pub(crate) texts: BTreeMap<(u64, u32, Says), String>,
    pub(crate) chunks: usize,
    pub(crate) fallbacks: usize,
    pub(crate) thinking: usize,
    pub(crate) progress: Vec<f64>,
    pub(crate) ended: bool,
}

impl Client {
    pub(crate) fn new(bus: &Bus, from: u64) -> Self {
        Self {
            reader: bus.subscribe(Some(from)),
            position: Position::after(from),
            from,
            joined: bus.last_seq(),
            durable: Vec::new(),
            texts: BTreeMap::new(),
            chunks: 0,
            fallbacks: 0,
            thinking: 0,
            progress: Vec::new(),
            ended: false,
        }
    }

    /// Its connection breaks, and it comes back to where it was.
    pub(crate) fn reconnect(&mut self, bus: &Bus) {
        self.reader = bus.subscribe_at(Some(self.position.seq()), self.position.offsets());
        self.joined = bus.last_seq();
    }

    /// Takes one event if one is there.
    pub(crate) fn poll(&mut self, calls: &[Call]) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let next = futures_core::Stream::poll_next(Pin::new(&mut self.reader), &mut context);
        match next {
            Poll::Ready(Some(event)) => {
                self.see(&event, calls);
                true
            }
            Poll::Ready(None) => {
                self.ended = true;
                false
            }
            Poll::Pending => false,
        }
    }

    pub(crate) fn see(&mut self, event: &AgentEvent, calls: &[Call]) {
        if let Some(seq) = event.seq {
            assert_eq!(seq, self.position.seq() + 1, "a gap, or twice the same");
            self.durable.push(event.clone());
        } else {
            assert_eq!(event.after_seq, Some(self.position.seq()), "{event:?}");
        }
        let id = event.call_id.as_deref().unwrap_or_default();
        match &event.payload {
            Payload::ThinkingDelta { index, offset, text } => {
                self.text(calls, id, *index, Says::Thinking, *offset, text);
            }
            Payload::StreamChunk {
                index,
                kind,
                offset,
                text,
                tool,
            } => {
                let says = match kind {
                    ChunkKind::Text => Says::Text,
                    ChunkKind::Refusal => Says::Refusal,
                    ChunkKind::ToolCall => Says::Arguments,
                };
                if *offset > 0 {
                    assert_eq!(tool, &None, "the tool stands on the first chunk only");
                }
                self.text(calls, id, *index, says, *offset, text);
            }
            Payload::StreamFallback { .. } => self.fallbacks += 1,
            Payload::ThinkingStarted { .. } => self.thinking += 1,
            Payload::ToolProgress { progress, .. } => self.progress.push(*progress),
            _ => {}
        }
        self.position.see(event);
    }

    fn text(&mut self, calls: &[Call], id: &str, index: u32, says: Says, offset: u64, text: &str) {
        self.chunks += 1;
        let seq = self.position.seq();
        let call = calls
            .iter()
            .rfind(|call| call.id == id && call.started <= seq)
            .expect("text of a call that has not begun for the reader");
        assert!(
            call.closed.is_none_or(|closed| seq < closed),
            "text after the end"
        );
        let part = call
            .parts
            .iter()
            .find(|part| part.index == index && part.says == says);
        let whole = &part.expect("text of a part that never was").text;
        let had = self.texts.entry((call.started, index, says)).or_default();
        assert_eq!(offset, had.len() as u64, "a piece is missing or comes twice");
        had.push_str(text);
        assert!(
            whole.starts_with(had.as_str()),
            "{had:?} is no beginning of {whole:?}"
        );
    }

    /// What it has of a part that counts.
    pub(crate) fn has(&self, call: &Call, index: u32, says: Says) -> &str {
        self.texts
            .get(&(call.started, index, says))
            .map_or("", String::as_str)
    }
}
