//! One call through the table, as batches of JSON documents.

use super::abi::EngineApi;
use super::fork;
use futures_core::Stream;
use omni_core::Canceller;
use std::ffi::c_void;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// When so many bytes wait to be read, the engine is told to wait.
const FULL: usize = 32 * 1024;

/// What the engine's thread writes and the reader takes.
#[derive(Default)]
struct Inbox {
    bytes: Vec<u8>,
    /// The last batch is in.
    ended: bool,
    /// The engine waits for `resume`.
    held: bool,
    waker: Option<Waker>,
}

struct Shared(Mutex<Inbox>);

/// A call: a stream of batches, each one or more JSON documents with a newline after each. Dropping it cancels.
pub struct RawCall {
    table: &'static EngineApi,
    id: u64,
    shared: Arc<Shared>,
    done: bool,
}

impl RawCall {
    pub(super) fn start(table: &'static EngineApi, op: &[u8]) -> Self {
        fork::used();
        let shared = Arc::new(Shared(Mutex::default()));
        let user_data = Arc::into_raw(Arc::clone(&shared)).cast_mut().cast::<c_void>();
        // SAFETY: `op` is readable for its length; `on_events` takes `user_data`, a count of the `Arc`, until the
        // last batch, where it gives that count back.
        let id = unsafe { (table.call)(op.as_ptr(), op.len(), on_events, user_data) };
        Self {
            table,
            id,
            shared,
            done: false,
        }
    }

    /// Stops the call from anywhere; what follows ends in `cancelled`.
    pub fn canceller(&self) -> Canceller {
        super::canceller(self.table, self.id)
    }

    /// Takes everything that waits into `into`, which is emptied first; `None` after the last batch.
    pub fn poll_batch(&mut self, context: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<Option<()>> {
        into.clear();
        if self.done {
            return Poll::Ready(None);
        }
        if fork::forked() {
            // The parent's thread would never answer here; and the inbox may be locked for ever.
            self.done = true;
            let document = serde_json::json!({ "type": "error", "error": fork::error() });
            into.extend_from_slice(document.to_string().as_bytes());
            into.push(b'\n');
            return Poll::Ready(Some(()));
        }
        let mut inbox = self.shared.lock();
        if inbox.bytes.is_empty() {
            if inbox.ended {
                self.done = true;
                return Poll::Ready(None);
            }
            if !inbox
                .waker
                .as_ref()
                .is_some_and(|waker| waker.will_wake(context.waker()))
            {
                inbox.waker = Some(context.waker().clone());
            }
            return Poll::Pending;
        }
        // The two buffers change places, so that a steady stream allocates nothing.
        std::mem::swap(&mut inbox.bytes, into);
        self.done = inbox.ended;
        let held = std::mem::take(&mut inbox.held);
        drop(inbox);
        if held {
            (self.table.resume)(self.id);
        }
        Poll::Ready(Some(()))
    }
}

impl Stream for RawCall {
    type Item = Vec<u8>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        let mut batch = Vec::new();
        self.poll_batch(context, &mut batch)
            .map(|some| some.map(|()| batch))
    }
}

impl Drop for RawCall {
    fn drop(&mut self) {
        if !self.done && !fork::forked() && !self.shared.lock().ended {
            (self.table.cancel)(self.id);
        }
    }
}

impl std::fmt::Debug for RawCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawCall")
            .field("id", &self.id)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inbox> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a batch from the engine's thread.
unsafe extern "C" fn on_events(user_data: *mut c_void, batch: *const u8, len: usize, last: i32) -> i32 {
    // SAFETY: `start` gave the engine one count of this `Arc`, and the engine promises not to call again after the
    // last batch: so the count is there, and is dropped with the last batch only.
    let shared = unsafe { Arc::from_raw(user_data.cast_const().cast::<Shared>()) };
    let mut inbox = shared.lock();
    if len > 0 {
        // SAFETY: the engine promises `len` readable bytes for the time of this call.
        inbox
            .bytes
            .extend_from_slice(unsafe { std::slice::from_raw_parts(batch, len) });
    }
    inbox.ended = last != 0;
    inbox.held = last == 0 && inbox.bytes.len() >= FULL;
    let full = i32::from(inbox.held);
    let waker = inbox.waker.take();
    drop(inbox);
    if last == 0 {
        std::mem::forget(shared);
    }
    if let Some(waker) = waker {
        waker.wake();
    }
    full
}
