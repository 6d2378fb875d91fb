//! A store that keeps one session's log in memory, and a writer that knows what it has said.

use omni_agent::{
    AgentEvent, Bus, ChunkKind, EVENT_VERSION, NewEvent, PathQuery, Payload, SearchHit, SessionInfo,
    SessionStore, SessionWriter, StoredMessage, StreamEnd,
};
use omni_core::{BoxFuture, Content, Error, Function, Message, Object, Part, Result, Role, ToolCall};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

pub(crate) const SESSION: &str = "s-test";

/// The log. It counts the pages that are read of it.
#[derive(Default)]
pub(crate) struct Log {
    events: Mutex<Vec<AgentEvent>>,
    grown: Notify,
    pub(crate) pages: Mutex<usize>,
    /// From now on every read fails.
    pub(crate) broken: Mutex<bool>,
}

impl Log {
    pub(crate) fn all(&self) -> Vec<AgentEvent> {
        self.events.lock().unwrap().clone()
    }

    pub(crate) fn append(&self, event: AgentEvent) {
        let mut events = self.events.lock().unwrap();
        assert_eq!(event.seq, Some(events.len() as u64 + 1));
        events.push(event);
        self.grown.notify_waiters();
    }
}

fn none<T: Send + 'static>() -> BoxFuture<'static, Result<T>> {
    Box::pin(async { Err(Error::internal("this store has only events")) })
}

impl SessionStore for Log {
    fn create(&self, _: Option<String>, _: Vec<NewEvent>) -> BoxFuture<'_, Result<Box<dyn SessionWriter>>> {
        none()
    }
    fn write(&self, _: &str) -> BoxFuture<'_, Result<Box<dyn SessionWriter>>> {
        none()
    }
    fn info(&self, _: &str) -> BoxFuture<'_, Result<SessionInfo>> {
        none()
    }
    fn list(&self, _: usize, _: Option<String>) -> BoxFuture<'_, Result<Vec<SessionInfo>>> {
        none()
    }
    fn events(&self, _: &str, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<AgentEvent>>> {
        *self.pages.lock().unwrap() += 1;
        let broken = *self.broken.lock().unwrap();
        let events = self.events.lock().unwrap();
        let page = events.iter().skip(usize::try_from(after).unwrap()).take(limit);
        let page = if broken {
            Err(Error::internal("the disk is gone"))
        } else {
            Ok(page.cloned().collect())
        };
        Box::pin(async { page })
    }
    fn path(&self, _: &str, _: PathQuery) -> BoxFuture<'_, Result<Vec<StoredMessage>>> {
        none()
    }
    fn tree(&self, _: &str) -> BoxFuture<'_, Result<Vec<StoredMessage>>> {
        none()
    }
    fn search(&self, _: &str, _: usize) -> BoxFuture<'_, Result<Vec<SearchHit>>> {
        none()
    }
    fn fork(&self, _: &str, _: Option<String>) -> BoxFuture<'_, Result<SessionInfo>> {
        none()
    }
    fn delete(&self, _: &str) -> BoxFuture<'_, Result<()>> {
        none()
    }
    fn changed(&self, _: &str, after: u64) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            loop {
                let grown = self.grown.notified();
                if self.events.lock().unwrap().len() as u64 > after {
                    return Ok(());
                }
                grown.await;
            }
        })
    }
}

/// What a part says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Says {
    Thinking,
    Text,
    Refusal,
    Arguments,
}

/// What was said in a part.
#[derive(Clone, Debug)]
pub(crate) struct Spoken {
    pub(crate) index: u32,
    pub(crate) says: Says,
    pub(crate) text: String,
    pub(crate) discarded: bool,
}

/// A model call, as it was.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) started: u64,
    pub(crate) closed: Option<u64>,
    pub(crate) saved: bool,
    pub(crate) parts: Vec<Spoken>,
    floor: u32,
}

/// Writes a run: into the log, then to the bus, as the loop does.
pub(crate) struct Writer {
    pub(crate) log: Arc<Log>,
    pub(crate) bus: Bus,
    pub(crate) calls: Vec<Call>,
    pub(crate) seq: u64,
    clock: u64,
    held: Vec<AgentEvent>,
}

impl Writer {
    pub(crate) fn new(log: Arc<Log>, bus: Bus) -> Self {
        Self {
            log,
            bus,
            calls: Vec::new(),
            seq: 0,
            clock: 0,
            held: Vec::new(),
        }
    }

    pub(crate) fn event(&mut self, call_id: Option<&str>, payload: Payload) {
        let durable = payload.durable();
        self.clock += 7;
        self.seq += u64::from(durable);
        let event = AgentEvent {
            v: EVENT_VERSION,
            seq: durable.then_some(self.seq),
            after_seq: (!durable).then_some(self.seq),
            timestamp_ms: self.clock,
            session_id: SESSION.to_owned(),
            turn_id: Some("t1".to_owned()),
            call_id: call_id.map(str::to_owned),
            parent: None,
            payload,
        };
        if durable {
            self.log.append(event.clone());
        }
        self.held.push(event);
    }

    /// Publishes what was written.
    pub(crate) fn flush(&mut self) {
        self.bus.publish(std::mem::take(&mut self.held));
    }

    pub(crate) fn open(&self) -> Option<&Call> {
        self.calls.last().filter(|call| call.closed.is_none())
    }

    pub(crate) fn start(&mut self, call_id: &str) {
        let (model, round) = ("test/model".to_owned(), 1);
        self.event(Some(call_id), Payload::StreamStarted { model, round });
        self.calls.push(Call {
            id: call_id.to_owned(),
            started: self.seq,
            closed: None,
            saved: false,
            parts: Vec::new(),
            floor: 0,
        });
    }

    /// Says more in the newest part of its kind, or in a new one.
    pub(crate) fn say(&mut self, says: Says, text: &str, anew: bool) {
        let call = self.calls.last_mut().unwrap();
        let call_id = call.id.clone();
        let same = |part: &Spoken| part.says == says && !part.discarded;
        let last = call.parts.last().filter(|part| same(part) && !anew);
        let fresh = last.is_none();
        if fresh {
            let index = call
                .parts
                .iter()
                .map(|part| part.index + 1)
                .max()
                .unwrap_or_default();
            let text = String::new();
            call.parts.push(Spoken {
                index: index.max(call.floor),
                says,
                text,
                discarded: false,
            });
        }
        let part = call.parts.last_mut().unwrap();
        let (index, offset) = (part.index, part.text.len() as u64);
        part.text.push_str(text);
        let text = text.to_owned();
        if says == Says::Thinking {
            if fresh {
                self.event(Some(&call_id), Payload::ThinkingStarted { index });
            }
            self.event(Some(&call_id), Payload::ThinkingDelta { index, offset, text });
            return;
        }
        let kind = match says {
            Says::Refusal => ChunkKind::Refusal,
            Says::Arguments => ChunkKind::ToolCall,
            Says::Text | Says::Thinking => ChunkKind::Text,
        };
        let tool = (fresh && says == Says::Arguments).then(|| "look_up".to_owned());
        let payload = Payload::StreamChunk {
            index,
            kind,
            offset,
            text,
            tool,
        };
        self.event(Some(&call_id), payload);
    }

    pub(crate) fn fall_back(&mut self) {
        let call = self.calls.last_mut().unwrap();
        let call_id = call.id.clone();
        let discarded: Vec<u32> = call.parts.iter().map(|part| part.index).collect();
        call.parts.iter_mut().for_each(|part| part.discarded = true);
        let (from, to) = ("test/one".to_owned(), "test/two".to_owned());
        self.event(Some(&call_id), Payload::StreamFallback { from, to, discarded });
    }

    /// Ends the call with its message: completed, or cancelled.
    pub(crate) fn end(&mut self, cancelled: bool) {
        let call = self.calls.last().unwrap();
        let (call_id, message) = (call.id.clone(), message(call));
        let message_id = format!("m{}", self.calls.len());
        let end = StreamEnd {
            message_id: Some(message_id.clone()),
            finish_reason: None,
            model: None,
            provider: None,
            engine: None,
            usage: omni_core::Usage::default(),
            duration_ms: 1,
        };
        let end = if cancelled {
            Payload::StreamCancelled(end)
        } else {
            Payload::StreamCompleted(end)
        };
        self.close(&call_id, end, true);
        let parent_id = None;
        self.event(
            None,
            Payload::MessageSaved {
                message_id,
                parent_id,
                message,
            },
        );
    }

    pub(crate) fn fail(&mut self) {
        let call_id = self.calls.last().unwrap().id.clone();
        let error = Error::internal("as the script says");
        let payload = Payload::StreamFailed {
            error,
            retried: false,
        };
        self.close(&call_id, payload, false);
    }

    fn close(&mut self, call_id: &str, payload: Payload, saved: bool) {
        self.event(Some(call_id), payload);
        let seq = self.seq;
        let call = self.calls.last_mut().unwrap();
        (call.closed, call.saved) = (Some(seq), saved);
    }
}

/// The message that the fold would make of the call.
fn message(call: &Call) -> Message {
    let mut message = Message::new(Role::Assistant, "");
    let mut parts = Vec::new();
    let mut calls = Vec::new();
    for part in call.parts.iter().filter(|part| !part.discarded) {
        let text = part.text.clone();
        match part.says {
            Says::Thinking => parts.push(Part::Reasoning {
                text,
                encrypted: None,
                id: None,
                signature: None,
                other: Object::new(),
            }),
            Says::Text if !text.is_empty() => parts.push(Part::text(text)),
            Says::Text => {}
            Says::Refusal => message.refusal.get_or_insert_default().push_str(&text),
            Says::Arguments => {
                let id = format!("call-{}", part.index);
                parts.push(Part::ToolCall {
                    id: id.clone(),
                    other: Object::new(),
                });
                calls.push(ToolCall {
                    id,
                    kind: "function".to_owned(),
                    function: Some(Function {
                        name: "look_up".to_owned(),
                        arguments: text,
                        other: Object::new(),
                    }),
                    custom: None,
                    signature: None,
                    extra: None,
                    other: Object::new(),
                });
            }
        }
    }
    message.content = Some(Content::Parts(parts));
    message.tool_calls = (!calls.is_empty()).then_some(calls);
    message
}
