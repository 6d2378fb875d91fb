//! Seeing what other processes write: a thread that looks at SQLite's own counter, and only while somebody waits.

use super::worker::Shared;
use rusqlite::Connection;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often the counter is read while somebody waits: one look into shared memory, no file is read.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Waiting {
    waiters: usize,
    closed: bool,
}

/// Who waits.
#[derive(Default)]
pub(super) struct Watch {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody waits, until what is given is dropped.
    pub(super) fn enter(self: &Arc<Self>) -> Waiter {
        self.lock().waiters += 1;
        self.changed.notify_all();
        Waiter(self.clone())
    }

    /// The thread ends.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// The loop of the thread.
    pub(super) fn run(&self, connection: &Connection, shared: &Shared) {
        let mut seen = None;
        loop {
            let mut waiting = self.lock();
            while waiting.waiters == 0 && !waiting.closed {
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            if waiting.closed {
                return;
            }
            let (guard, _) = self
                .changed
                .wait_timeout(waiting, LOOK)
                .unwrap_or_else(PoisonError::into_inner);
            drop(guard);
            // If it cannot be read, whoever waits looks for itself and meets the error.
            let version: Option<i64> = connection
                .pragma_query_value(None, "data_version", |row| row.get(0))
                .ok();
            if version.is_none() || version != seen {
                seen = version;
                shared.tell_news();
            }
        }
    }
}

/// One who waits.
pub(super) struct Waiter(Arc<Watch>);

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.waiters = waiting.waiters.saturating_sub(1);
    }
}
