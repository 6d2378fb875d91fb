//! A store in memory, with what the tests must see: its commits, its lease, and failures on demand.

use omni_agent::{
    AgentEvent, EVENT_VERSION, ForkOrigin, NewEvent, PathQuery, Payload, SearchHit, SessionInfo,
    SessionStore, SessionWriter, StoredMessage, TurnUsage,
};
use omni_core::{BoxFuture, Code, Error, Result, Role};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct State {
    logs: BTreeMap<String, Vec<AgentEvent>>,
    leased: BTreeSet<String>,
    /// Events of each commit.
    commits: Vec<usize>,
    /// Commits that still work.
    room: Option<usize>,
    writes: usize,
}

#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<State>>);

impl MemoryStore {
    pub fn log(&self, session_id: &str) -> Vec<AgentEvent> {
        self.0.lock().unwrap().logs[session_id].clone()
    }

    /// The number of events of each commit so far.
    pub fn commits(&self) -> Vec<usize> {
        self.0.lock().unwrap().commits.clone()
    }

    /// How often a session was opened for writing.
    pub fn writes(&self) -> usize {
        self.0.lock().unwrap().writes
    }

    pub fn is_leased(&self, session_id: &str) -> bool {
        self.0.lock().unwrap().leased.contains(session_id)
    }

    /// Lets only so many more commits work; `None` mends it.
    pub fn fail_after(&self, commits: Option<usize>) {
        self.0.lock().unwrap().room = commits;
    }

    /// A store that holds one log.
    pub fn with_log(session_id: &str, log: Vec<AgentEvent>) -> Self {
        let store = Self::default();
        store.0.lock().unwrap().logs.insert(session_id.into(), log);
        store
    }

    pub fn messages(&self, session_id: &str) -> Vec<StoredMessage> {
        messages(&self.log(session_id))
    }

    /// The roles on the path to the active leaf: `u`, `a`, `t`.
    pub fn roles(&self, session_id: &str) -> String {
        let log = self.log(session_id);
        let path = path(&log, leaf(&log));
        let role = |stored: &StoredMessage| match stored.message.role {
            Role::User => 'u',
            Role::Assistant => 'a',
            Role::Tool => 't',
            _ => '?',
        };
        path.iter().map(role).collect()
    }
}

fn messages(log: &[AgentEvent]) -> Vec<StoredMessage> {
    log.iter()
        .filter_map(|event| match &event.payload {
            Payload::MessageSaved {
                message_id,
                parent_id,
                message,
            } => Some(StoredMessage {
                message_id: message_id.clone(),
                parent_id: parent_id.clone(),
                seq: event.seq.unwrap(),
                turn_id: event.turn_id.clone(),
                message: message.clone(),
            }),
            _ => None,
        })
        .collect()
}

fn leaf(log: &[AgentEvent]) -> Option<String> {
    log.iter().rev().find_map(|event| match &event.payload {
        Payload::MessageSaved { message_id, .. } => Some(Some(message_id.clone())),
        Payload::LeafChanged { leaf } => Some(leaf.clone()),
        _ => None,
    })?
}

fn path(log: &[AgentEvent], leaf: Option<String>) -> Vec<StoredMessage> {
    let all = messages(log);
    let mut path = Vec::new();
    let mut at = leaf;
    while let Some(id) = at.take() {
        let found = all.iter().find(|stored| stored.message_id == id).unwrap().clone();
        at.clone_from(&found.parent_id);
        path.push(found);
    }
    path.reverse();
    path
}

fn info(session_id: &str, log: &[AgentEvent]) -> SessionInfo {
    let title = log.iter().rev().find_map(|event| match &event.payload {
        Payload::TitleGenerated { title } | Payload::SessionRenamed { title } => Some(title.clone()),
        Payload::SessionCreated { title, .. } => title.clone(),
        _ => None,
    });
    let usage = log.iter().rev().find_map(|event| match &event.payload {
        Payload::UsageUpdated { session, .. } => Some(*session),
        _ => None,
    });
    let turns = log
        .iter()
        .filter(|event| matches!(event.payload, Payload::TurnStarted { .. }));
    SessionInfo {
        session_id: session_id.into(),
        title,
        created_ms: log[0].timestamp_ms,
        updated_ms: log.last().unwrap().timestamp_ms,
        last_seq: log.len() as u64,
        leaf: leaf(log),
        messages: messages(log).len() as u64,
        turns: turns.count() as u64,
        usage: usage.unwrap_or(TurnUsage::default()),
        forked_from: log.iter().find_map(|event| match &event.payload {
            Payload::SessionCreated { forked_from, .. } => forked_from.clone(),
            _ => None,
        }),
    }
}

struct Writer {
    store: MemoryStore,
    session_id: String,
    /// An append failed: the lease may be another's now.
    lost: bool,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.store.0.lock().unwrap().leased.remove(&self.session_id);
    }
}

impl State {
    fn append(&mut self, session_id: &str, events: Vec<NewEvent>) -> Result<Vec<AgentEvent>> {
        if self.room == Some(0) {
            return Err(Error::internal("the disk is full"));
        }
        self.room = self.room.map(|room| room - 1);
        self.commits.push(events.len());
        let log = self.logs.entry(session_id.into()).or_default();
        let from = log.len();
        for event in events {
            assert!(event.payload.durable(), "only durable events are stored");
            log.push(AgentEvent {
                v: EVENT_VERSION,
                seq: Some(log.len() as u64 + 1),
                after_seq: None,
                timestamp_ms: event.timestamp_ms,
                session_id: session_id.into(),
                turn_id: event.turn_id,
                call_id: event.call_id,
                parent: event.parent,
                payload: event.payload,
            });
        }
        Ok(log[from..].to_vec())
    }
}

impl SessionWriter for Writer {
    fn session_id(&self) -> &str {
        &self.session_id
    }

    fn last_seq(&self) -> u64 {
        self.store.0.lock().unwrap().logs[&self.session_id].len() as u64
    }

    fn append(&mut self, events: Vec<NewEvent>) -> BoxFuture<'_, Result<Vec<AgentEvent>>> {
        let appended = if self.lost {
            Err(Error::internal("the lease was lost"))
        } else {
            self.store.0.lock().unwrap().append(&self.session_id, events)
        };
        self.lost = appended.is_err();
        Box::pin(async move { appended })
    }
}

impl MemoryStore {
    fn with<T: Send + 'static>(
        &self,
        session_id: &str,
        read: impl FnOnce(&[AgentEvent]) -> T,
    ) -> BoxFuture<'_, Result<T>> {
        let state = self.0.lock().unwrap();
        let found = state
            .logs
            .get(session_id)
            .map(|log| read(log))
            .ok_or_else(|| Error::new(Code::NotFound, format!("no session {session_id}")));
        Box::pin(async move { found })
    }

    fn lease(&self, session_id: &str) -> Result<Box<dyn SessionWriter>> {
        if !self.0.lock().unwrap().leased.insert(session_id.into()) {
            return Err(Error::invalid("another writer has it"));
        }
        Ok(Box::new(Writer {
            store: self.clone(),
            session_id: session_id.into(),
            lost: false,
        }))
    }
}

impl SessionStore for MemoryStore {
    fn create(
        &self,
        session_id: Option<String>,
        first: Vec<NewEvent>,
    ) -> BoxFuture<'_, Result<Box<dyn SessionWriter>>> {
        Box::pin(async move {
            let session_id = session_id.unwrap();
            assert!(matches!(first[0].payload, Payload::SessionCreated { .. }));
            if self.0.lock().unwrap().logs.contains_key(&session_id) {
                return Err(Error::invalid("there is one of this id"));
            }
            self.0.lock().unwrap().append(&session_id, first)?;
            self.lease(&session_id)
        })
    }

    fn write(&self, session_id: &str) -> BoxFuture<'_, Result<Box<dyn SessionWriter>>> {
        self.0.lock().unwrap().writes += 1;
        let found = self.with(session_id, |_| ());
        let session_id = session_id.to_owned();
        Box::pin(async move {
            found.await?;
            self.lease(&session_id)
        })
    }

    fn info(&self, session_id: &str) -> BoxFuture<'_, Result<SessionInfo>> {
        self.with(session_id, |log| info(session_id, log))
    }

    fn list(&self, _: usize, _: Option<String>) -> BoxFuture<'_, Result<Vec<SessionInfo>>> {
        let state = self.0.lock().unwrap();
        let list = state.logs.iter().map(|(id, log)| info(id, log)).collect();
        Box::pin(async move { Ok(list) })
    }

    fn events(&self, session_id: &str, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<AgentEvent>>> {
        self.with(session_id, |log| {
            let after = log.iter().filter(|event| event.seq.unwrap() > after);
            after.take(limit).cloned().collect()
        })
    }

    fn path(&self, session_id: &str, query: PathQuery) -> BoxFuture<'_, Result<Vec<StoredMessage>>> {
        self.with(session_id, |log| {
            let mut path = path(log, query.leaf.or_else(|| leaf(log)));
            let skip = path.len() - query.last.unwrap_or(path.len()).min(path.len());
            path.drain(..skip);
            path
        })
    }

    fn tree(&self, session_id: &str) -> BoxFuture<'_, Result<Vec<StoredMessage>>> {
        self.with(session_id, messages)
    }

    fn search(&self, _: &str, _: usize) -> BoxFuture<'_, Result<Vec<SearchHit>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn fork(&self, session_id: &str, message_id: Option<String>) -> BoxFuture<'_, Result<SessionInfo>> {
        let forked = self.with(session_id, |log| {
            path(log, message_id.clone().or_else(|| leaf(log)))
        });
        let origin = ForkOrigin {
            session_id: session_id.into(),
            message_id,
        };
        Box::pin(async move {
            let new = |payload| NewEvent {
                timestamp_ms: 1,
                turn_id: None,
                call_id: None,
                parent: None,
                payload,
            };
            let id = format!("{}-fork", origin.session_id);
            let mut events = vec![new(Payload::SessionCreated {
                title: None,
                forked_from: Some(origin),
            })];
            for (stored, at) in forked.await?.into_iter().zip(1..) {
                events.push(new(Payload::MessageSaved {
                    message_id: format!("m{at}"),
                    parent_id: (at > 1).then(|| format!("m{}", at - 1)),
                    message: stored.message,
                }));
            }
            let mut state = self.0.lock().unwrap();
            let log = state.append(&id, events)?;
            Ok(info(&id, &log))
        })
    }

    fn delete(&self, session_id: &str) -> BoxFuture<'_, Result<()>> {
        self.0.lock().unwrap().logs.remove(session_id);
        Box::pin(async { Ok(()) })
    }

    fn changed(&self, _: &str, _: u64) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::pending())
    }
}
