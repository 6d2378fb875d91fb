//! Sessions: an append-only log of events behind a trait. The state (tree, leaf, title, usage) is a fold over the log;
//! tables for listing, reading a leaf's messages and searching are caches in the same transaction, rebuilt from the log.

mod fault;
mod fold;
mod lease;
mod log;
mod open;
mod rebuild;
mod row;
mod schema;
mod search;
mod sqlite;
mod transfer;
mod watching;
mod worker;

pub use sqlite::SqliteStore;
pub use transfer::{export_log, export_messages, import_log, import_messages};

use crate::protocol::{AgentEvent, ForkOrigin, Payload, TurnUsage};
use omni_core::{BoxFuture, Message, Result};
use serde::{Deserialize, Serialize};

/// A durable event that is not stored yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewEvent {
    /// Unix milliseconds.
    pub timestamp_ms: u64,
    /// The turn.
    pub turn_id: Option<String>,
    /// The call.
    pub call_id: Option<String>,
    /// The call that this one belongs to.
    pub parent: Option<String>,
    /// What happened; `durable()`.
    pub payload: Payload,
}

/// What is known of a session without reading its log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// The session.
    pub session_id: String,
    /// Its title: given, generated, or null.
    pub title: Option<String>,
    /// Unix milliseconds.
    pub created_ms: u64,
    /// Of its last event, Unix milliseconds.
    pub updated_ms: u64,
    /// The last durable event.
    pub last_seq: u64,
    /// The active end.
    pub leaf: Option<String>,
    /// Messages, siblings included.
    pub messages: u64,
    /// Turns begun.
    pub turns: u64,
    /// What it consumed.
    pub usage: TurnUsage,
    /// Where it was forked from.
    pub forked_from: Option<ForkOrigin>,
}

/// A message in its tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredMessage {
    /// Its id.
    pub message_id: String,
    /// The message before it.
    pub parent_id: Option<String>,
    /// The `seq` of its `message.saved`.
    pub seq: u64,
    /// Its turn.
    pub turn_id: Option<String>,
    /// The message, byte for byte.
    pub message: Message,
}

/// A place where a searched text stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchHit {
    /// The session.
    pub session_id: String,
    /// Its title.
    pub title: Option<String>,
    /// The message.
    pub message_id: String,
    /// Some words around the hit, which stands between `[` and `]`.
    pub excerpt: String,
}

/// Which of the messages on the path to a leaf are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathQuery {
    /// The end of the path; `None` for the active leaf.
    pub leaf: Option<String>,
    /// Only so many, from the end.
    pub last: Option<usize>,
}

/// What a store must survive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// What was acknowledged survives the end of the process (`synchronous = NORMAL`).
    #[default]
    ProcessKill,
    /// And the loss of power (`synchronous = FULL`).
    PowerLoss,
}

/// Events that one reading of `landmarks` takes from the log.
const LANDMARK_PAGE: usize = 1_000;

/// Where sessions are kept. Reading needs no lease; errors are `omni_core::Error`s that say what to do.
pub trait SessionStore: Send + Sync {
    /// Makes a session (`session.created`, with `first` after it) and takes its lease. `session_id` is made if `None`.
    /// A `session.created` that stands first in `first` is taken in place of the made one: it gives a title.
    fn create(
        &self,
        session_id: Option<String>,
        first: Vec<NewEvent>,
    ) -> BoxFuture<'_, Result<Box<dyn SessionWriter>>>;

    /// Takes the lease of a session. Another living writer is an error that names its process.
    fn write(&self, session_id: &str) -> BoxFuture<'_, Result<Box<dyn SessionWriter>>>;

    /// What is known of one; `not_found` with a near match.
    fn info(&self, session_id: &str) -> BoxFuture<'_, Result<SessionInfo>>;

    /// The newest first; `after` is the last `session_id` of the page before.
    fn list(&self, limit: usize, after: Option<String>) -> BoxFuture<'_, Result<Vec<SessionInfo>>>;

    /// Durable events with `seq` greater than `after`, in order.
    fn events(&self, session_id: &str, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<AgentEvent>>>;

    /// The messages on the path from the root to a leaf, in order.
    fn path(&self, session_id: &str, query: PathQuery) -> BoxFuture<'_, Result<Vec<StoredMessage>>>;

    /// Every message of the tree, in the order in which they were saved.
    fn tree(&self, session_id: &str) -> BoxFuture<'_, Result<Vec<StoredMessage>>>;

    /// The events that matter beyond their turn, in order: approvals for the session, and the newest so many
    /// compactions. A store that has a quicker way than reading the whole log overrides this.
    fn landmarks<'a>(
        &'a self,
        session_id: &'a str,
        compactions: usize,
    ) -> BoxFuture<'a, Result<Vec<AgentEvent>>> {
        Box::pin(async move {
            let mut landmarks = Vec::new();
            let mut after = 0;
            loop {
                let page = self.events(session_id, after, LANDMARK_PAGE).await?;
                let whole = page.len() == LANDMARK_PAGE;
                after = page.last().and_then(|event| event.seq).unwrap_or(after);
                landmarks.extend(page.into_iter().filter(|event| event.payload.is_landmark()));
                if !whole {
                    break;
                }
            }
            let compaction =
                |event: &AgentEvent| matches!(event.payload, Payload::CompactionCompleted { .. });
            let found = landmarks.iter().filter(|event| compaction(event)).count();
            let mut older = found.saturating_sub(compactions);
            landmarks.retain(|event| {
                let leave = older > 0 && compaction(event);
                older -= usize::from(leave);
                !leave
            });
            Ok(landmarks)
        })
    }

    /// Where the words stand, the best first.
    fn search(&self, words: &str, limit: usize) -> BoxFuture<'_, Result<Vec<SearchHit>>>;

    /// A new session with the path up to `message_id` (the active leaf if `None`), its messages numbered anew and in no
    /// turn, with the compactions that hold for it. The old log gets a `session.forked`, also while somebody writes it:
    /// that writer's next event then comes after it, so its own have a gap in `seq`.
    fn fork(&self, session_id: &str, message_id: Option<String>) -> BoxFuture<'_, Result<SessionInfo>>;

    /// Gives it a title, as a person does. Refused while somebody writes: a writer appends `session.renamed` itself.
    fn rename(&self, session_id: &str, title: String) -> BoxFuture<'_, Result<SessionInfo>> {
        let session_id = session_id.to_owned();
        Box::pin(async move {
            let mut writer = self.write(&session_id).await?;
            let renamed = NewEvent {
                timestamp_ms: lease::now_ms(),
                turn_id: None,
                call_id: None,
                parent: None,
                payload: Payload::SessionRenamed { title },
            };
            writer.append(vec![renamed]).await?;
            drop(writer);
            self.info(&session_id).await
        })
    }

    /// Takes it and all its traces out of the store, for good. Refused while somebody writes.
    fn delete(&self, session_id: &str) -> BoxFuture<'_, Result<()>>;

    /// Waits until the session has an event after `after`, written by any process. Cancel by drop.
    fn changed(&self, session_id: &str, after: u64) -> BoxFuture<'_, Result<()>>;
}

/// The one writer of a session. Dropping it gives the lease back.
pub trait SessionWriter: Send {
    /// The session.
    fn session_id(&self) -> &str;

    /// The `seq` of the last event.
    fn last_seq(&self) -> u64;

    /// Appends events in one commit, all or none; when it returns they are stored. Gives them with their `seq`.
    fn append(&mut self, events: Vec<NewEvent>) -> BoxFuture<'_, Result<Vec<AgentEvent>>>;

    /// Gives the lease back and waits until others see that. A drop does it too, a moment later.
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<()>>
    where
        Self: 'static,
    {
        Box::pin(async move {
            drop(self);
            Ok(())
        })
    }
}
