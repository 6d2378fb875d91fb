//! The event bus of one session: one publisher that never waits, any number of readers, each at its own pace.
//!
//! What all readers have seen is the same, however slow they are: the durable events, and the joined text. The bus
//! keeps the last durable events and the text of the calls under way, once for all readers; the rest is the store's.

mod follow;
mod part;
mod position;
mod reader;
mod saved;
mod state;

use crate::protocol::AgentEvent;
use crate::session::SessionStore;
use state::{Cursor, State};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

pub use follow::follow;
pub use position::Position;
pub use reader::Reader;
pub use state::Limits;

/// What the lock guards; nobody holds it across an await.
struct Inner {
    state: State,
    /// Of the readers that wait.
    wakers: HashMap<u64, Waker>,
}

struct Shared {
    session_id: String,
    inner: Mutex<Inner>,
    readers: AtomicU64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code of ours panics under the lock, and the state is whole between any two events.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes those who wait once the lock is free again.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let wakers = {
            let mut inner = self.lock();
            change(&mut inner.state);
            std::mem::take(&mut inner.wakers)
        };
        wakers.into_values().for_each(Waker::wake);
    }
}

/// Ends the readers when the last clone of the bus is gone.
struct Publisher(Arc<Shared>);

impl Drop for Publisher {
    fn drop(&mut self) {
        self.0.change(|state| state.ended = true);
    }
}

/// The events of one session on their way to its readers. A clone is the same bus.
#[derive(Clone)]
pub struct Bus {
    publisher: Arc<Publisher>,
    store: Option<Arc<dyn SessionStore>>,
}

impl Bus {
    /// The bus of a session whose log ends at `last_seq`.
    pub fn new(session_id: impl Into<String>, last_seq: u64) -> Self {
        let session_id = session_id.into();
        let shared = Shared {
            session_id: session_id.clone(),
            inner: Mutex::new(Inner {
                state: State::new(session_id, last_seq, Limits::default()),
                wakers: HashMap::new(),
            }),
            readers: AtomicU64::new(0),
        };
        Self {
            publisher: Arc::new(Publisher(Arc::new(shared))),
            store: None,
        }
    }

    /// Where readers find what the bus has let go, and what was there before it.
    #[must_use]
    pub fn with_store(mut self, store: Arc<dyn SessionStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// How much it keeps.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        self.shared().change(|state| state.set_limits(limits));
        self
    }

    /// Hands events to the readers, in order. Never waits. Durable events must be in the store already: one without a
    /// `seq`, or with one that was published before, is shown to nobody.
    pub fn publish(&self, events: Vec<AgentEvent>) {
        self.shared()
            .change(|state| events.into_iter().for_each(|event| state.publish(event)));
    }

    /// A reader of the durable events after `after_seq` (`None`: from now on), and of the text of the parts that are
    /// open there, from their beginning.
    pub fn subscribe(&self, after_seq: Option<u64>) -> Reader {
        self.subscribe_at(after_seq, Vec::new())
    }

    /// A reader that goes on inside parts whose beginning it has: (`call_id`, index, bytes).
    pub fn subscribe_at(&self, after_seq: Option<u64>, parts: Vec<(String, u32, u64)>) -> Reader {
        let shared = self.shared();
        let id = shared.readers.fetch_add(1, Ordering::Relaxed);
        let cursor = Cursor::new(&shared.lock().state, after_seq, parts);
        Reader::new(Arc::clone(shared), id, cursor, self.store.clone())
    }

    /// The last durable event that was published.
    pub fn last_seq(&self) -> u64 {
        self.shared().lock().state.last_seq
    }

    /// The session.
    pub fn session_id(&self) -> &str {
        &self.shared().session_id
    }

    /// Nothing more will be published: readers end after what was. So they do when the last clone is dropped.
    pub fn close(&self) {
        self.shared().change(|state| state.ended = true);
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.publisher.0
    }
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bus")
            .field("session_id", &self.session_id())
            .field("last_seq", &self.last_seq())
            .finish_non_exhaustive()
    }
}
