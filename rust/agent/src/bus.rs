//! A stand-in with the names of h-events' bus, until that one is merged: everything is kept, readers read at their
//! own pace. TO BE REPLACED by h-events' `bus.rs`.

use crate::protocol::AgentEvent;
use crate::session::SessionStore;
use futures_core::Stream;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Carries a session's events to its readers.
#[derive(Clone, Debug)]
pub struct Bus(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    events: Vec<AgentEvent>,
    waiting: Vec<Waker>,
}

impl Bus {
    /// A bus of a session whose last durable event is `last_seq`.
    pub fn new(_session_id: impl Into<String>, _last_seq: u64) -> Self {
        Self(Arc::default())
    }

    /// Where readers find what the bus has let go; this one lets nothing go.
    #[must_use]
    pub fn with_store(self, _store: Arc<dyn SessionStore>) -> Self {
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands events to the readers. Never waits.
    pub fn publish(&self, events: Vec<AgentEvent>) {
        let waiting = {
            let mut state = self.state();
            state.events.extend(events);
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// The events from now on, or after a durable event.
    pub fn subscribe(&self, after_seq: Option<u64>) -> Reader {
        let state = self.state();
        let at = match after_seq {
            None => state.events.len(),
            Some(after) => state
                .events
                .iter()
                .rposition(|event| event.seq.is_some_and(|seq| seq <= after))
                .map_or(0, |at| at + 1),
        };
        Reader {
            bus: self.clone(),
            at,
        }
    }
}

/// Reads a session's events.
#[derive(Debug)]
pub struct Reader {
    bus: Bus,
    at: usize,
}

impl Stream for Reader {
    type Item = AgentEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<AgentEvent>> {
        let bus = self.bus.clone();
        let mut state = bus.state();
        if let Some(event) = state.events.get(self.at) {
            self.at += 1;
            return Poll::Ready(Some(event.clone()));
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            state.waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}
