//! Cancelling a call from any thread.

use futures_util::task::AtomicWaker;
use omni_core::Canceller;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

/// What a call and its cancellers share.
#[derive(Default)]
pub(crate) struct Cancel {
    asked: AtomicBool,
    /// The try that runs now. It is told at once, by the thread that cancels: the call itself may not be polled for
    /// a long time when its reader is slow.
    running: Mutex<Option<Canceller>>,
    reader: AtomicWaker,
}

impl Cancel {
    /// A handle for the caller.
    pub(crate) fn canceller(self: &Arc<Self>) -> Canceller {
        let shared = Arc::clone(self);
        Canceller::new(move || shared.cancel())
    }

    /// Whether the caller has cancelled.
    pub(crate) fn asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// From now on `running` is what a cancel stops. One that came a moment earlier stops it too.
    pub(crate) fn watch(&self, running: Canceller) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        if self.asked() {
            self.stop_running();
        }
    }

    /// Nothing runs that a cancel could stop.
    pub(crate) fn unwatch(&self) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Wakes `waker` when the caller cancels.
    pub(crate) fn register(&self, waker: &Waker) {
        self.reader.register(waker);
    }

    fn cancel(&self) {
        if !self.asked.swap(true, Ordering::AcqRel) {
            self.stop_running();
            self.reader.wake();
        }
    }

    fn stop_running(&self) {
        // Taken out before it is called: an engine may run foreign code in it, and no lock of ours is held then.
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(running) = running {
            running.cancel();
        }
    }
}
