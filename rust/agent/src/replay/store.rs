//! Where a session goes that is only run again to be compared: one session, in memory.

use crate::protocol::{AgentEvent, EVENT_VERSION, Payload};
use crate::session::{
    NewEvent, PathQuery, SearchHit, SessionInfo, SessionStore, SessionWriter, StoredMessage,
};
use omni_core::{BoxFuture, Code, Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// A log in memory, and how long it is.
#[derive(Clone)]
pub(super) struct Memory(Arc<Inner>);

struct Inner {
    session_id: String,
    log: Mutex<Vec<AgentEvent>>,
    length: watch::Sender<u64>,
}

impl Memory {
    pub(super) fn new(session_id: &str) -> Self {
        Self(Arc::new(Inner {
            session_id: session_id.to_owned(),
            log: Mutex::default(),
            length: watch::Sender::new(0),
        }))
    }

    fn log(&self) -> MutexGuard<'_, Vec<AgentEvent>> {
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn all(&self) -> Vec<AgentEvent> {
        self.log().clone()
    }

    /// Tells how long the log is, whenever it grows.
    pub(super) fn length(&self) -> watch::Receiver<u64> {
        self.0.length.subscribe()
    }

    /// Appends without a writer: what was done to the session between its turns.
    pub(super) fn add(&self, events: Vec<NewEvent>) -> Vec<AgentEvent> {
        let mut log = self.log();
        let start = log.len() as u64;
        let stored: Vec<AgentEvent> = events
            .into_iter()
            .zip(start + 1..)
            .map(|(event, seq)| AgentEvent {
                v: EVENT_VERSION,
                seq: Some(seq),
                after_seq: None,
                timestamp_ms: event.timestamp_ms,
                session_id: self.0.session_id.clone(),
                turn_id: event.turn_id,
                call_id: event.call_id,
                parent: event.parent,
                payload: event.payload,
            })
            .collect();
        log.extend(stored.iter().cloned());
        self.0.length.send_replace(log.len() as u64);
        stored
    }

    fn messages(&self) -> Vec<StoredMessage> {
        let log = self.log();
        let saved = log.iter().filter_map(|event| match &event.payload {
            Payload::MessageSaved {
                message_id,
                parent_id,
                message,
            } => Some(StoredMessage {
                message_id: message_id.clone(),
                parent_id: parent_id.clone(),
                seq: event.seq.unwrap_or_default(),
                turn_id: event.turn_id.clone(),
                message: message.clone(),
            }),
            _ => None,
        });
        saved.collect()
    }

    fn describe(&self) -> SessionInfo {
        let log = self.log();
        let mut info = SessionInfo {
            session_id: self.0.session_id.clone(),
            title: None,
            created_ms: log.first().map_or(0, |event| event.timestamp_ms),
            updated_ms: log.last().map_or(0, |event| event.timestamp_ms),
            last_seq: log.len() as u64,
            leaf: None,
            messages: 0,
            turns: 0,
            usage: crate::protocol::TurnUsage::default(),
            forked_from: None,
        };
        for event in log.iter() {
            match &event.payload {
                Payload::SessionCreated { title, forked_from } => {
                    info.title.clone_from(title);
                    info.forked_from.clone_from(forked_from);
                }
                Payload::SessionRenamed { title } | Payload::TitleGenerated { title } => {
                    info.title = Some(title.clone());
                }
                Payload::MessageSaved { message_id, .. } => {
                    info.leaf = Some(message_id.clone());
                    info.messages += 1;
                }
                Payload::LeafChanged { leaf } => info.leaf.clone_from(leaf),
                Payload::TurnStarted { .. } => info.turns += 1,
                Payload::UsageUpdated { session, .. } => info.usage = *session,
                _ => {}
            }
        }
        info
    }
}

fn not_here<T: Send + 'static>() -> BoxFuture<'static, Result<T>> {
    let says = "a session that is run again from its log can only be run";
    Box::pin(async move { Err(Error::new(Code::Unsupported, says)) })
}

impl SessionStore for Memory {
    fn create(
        &self,
        _: Option<String>,
        first: Vec<NewEvent>,
    ) -> BoxFuture<'_, Result<Box<dyn SessionWriter>>> {
        self.add(first);
        self.write(&self.0.session_id)
    }

    fn write(&self, session_id: &str) -> BoxFuture<'_, Result<Box<dyn SessionWriter>>> {
        let writer = Writer {
            memory: self.clone(),
            session_id: session_id.to_owned(),
        };
        Box::pin(async move { Ok(Box::new(writer) as Box<dyn SessionWriter>) })
    }

    fn info(&self, _: &str) -> BoxFuture<'_, Result<SessionInfo>> {
        Box::pin(async { Ok(self.describe()) })
    }

    fn list(&self, _: usize, _: Option<String>) -> BoxFuture<'_, Result<Vec<SessionInfo>>> {
        Box::pin(async { Ok(vec![self.describe()]) })
    }

    fn events(&self, _: &str, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<AgentEvent>>> {
        let after = usize::try_from(after).unwrap_or(usize::MAX);
        let page = self.log().iter().skip(after).take(limit).cloned().collect();
        Box::pin(async { Ok(page) })
    }

    fn path(&self, _: &str, query: PathQuery) -> BoxFuture<'_, Result<Vec<StoredMessage>>> {
        let all = self.messages();
        let leaf = query.leaf.or_else(|| self.describe().leaf);
        let mut at = leaf.as_deref();
        let mut path = Vec::new();
        while let Some(id) = at {
            let Some(found) = all.iter().find(|stored| stored.message_id == id) else {
                let says = format!("the log has no message \"{id}\"");
                return Box::pin(async move { Err(Error::new(Code::NotFound, says)) });
            };
            at = found.parent_id.as_deref();
            path.push(found.clone());
            if query.last.is_some_and(|last| path.len() == last) {
                break;
            }
        }
        path.reverse();
        Box::pin(async { Ok(path) })
    }

    fn tree(&self, _: &str) -> BoxFuture<'_, Result<Vec<StoredMessage>>> {
        Box::pin(async { Ok(self.messages()) })
    }

    fn search(&self, _: &str, _: usize) -> BoxFuture<'_, Result<Vec<SearchHit>>> {
        not_here()
    }

    fn fork(&self, _: &str, _: Option<String>) -> BoxFuture<'_, Result<SessionInfo>> {
        not_here()
    }

    fn delete(&self, _: &str) -> BoxFuture<'_, Result<()>> {
        not_here()
    }

    fn changed(&self, _: &str, after: u64) -> BoxFuture<'_, Result<()>> {
        let mut length = self.length();
        Box::pin(async move {
            // Whoever waits holds the sender too.
            let _ = length.wait_for(|length| *length > after).await;
            Ok(())
        })
    }
}

struct Writer {
    memory: Memory,
    session_id: String,
}

impl SessionWriter for Writer {
    fn session_id(&self) -> &str {
        &self.session_id
    }

    fn last_seq(&self) -> u64 {
        self.memory.log().len() as u64
    }

    fn append(&mut self, events: Vec<NewEvent>) -> BoxFuture<'_, Result<Vec<AgentEvent>>> {
        let stored = self.memory.add(events);
        Box::pin(async { Ok(stored) })
    }
}
