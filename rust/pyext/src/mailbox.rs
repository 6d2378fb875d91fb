//! Where what a call has brought waits for its reader in Python. Bounded: a full mailbox stops the call, and through it
//! the provider. No Python object is ever in it, so that the runtime's threads never need to attach.

use crate::bell::Bell;
use omni_core::{Error, Event, Reply};
use serde::Serialize;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// A stream that is this many events ahead of its reader waits.
const MOST_EVENTS: usize = 256;
/// So does one that is this many bytes of text ahead.
const MOST_BYTES: usize = 256 * 1024;

/// What a call brings.
pub(crate) enum Item {
    Event(Event),
    Reply(Box<Reply>),
    Value(Value),
    Failed(Error),
}

impl Item {
    /// About how many bytes it keeps. Not quick for all of them: asked once an item.
    fn weight(&self) -> usize {
        match self {
            Item::Event(
                Event::TextDelta { text, .. }
                | Event::ReasoningDelta { text, .. }
                | Event::RefusalDelta { text },
            ) => text.len(),
            Item::Event(Event::ToolCallDelta { arguments, .. }) => arguments.len(),
            Item::Event(Event::MediaDelta { base64, .. }) => base64.len(),
            Item::Event(
                Event::TextStart { .. }
                | Event::ReasoningStart { .. }
                | Event::MediaStart { .. }
                | Event::MediaEnd { .. },
            ) => 0,
            Item::Event(event) => length(event),
            Item::Reply(reply) => length(reply),
            Item::Value(value) => length(value),
            Item::Failed(error) => length(error),
        }
    }
}

/// The length of a document's JSON text, which is not kept.
fn length(document: &impl Serialize) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
            self.0 += text.len();
            Ok(text.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // What cannot be written is not long either; whoever reads it is told.
    let _ = serde_json::to_writer(&mut count, document);
    count.0
}

/// What the reader finds.
#[allow(
    clippy::large_enum_variant,
    reason = "taken apart where it is made, and never kept"
)]
pub(crate) enum Taken {
    Item(Item),
    /// Nothing yet.
    Nothing,
    /// Nothing any more.
    Ended,
}

#[derive(Default)]
struct State {
    /// Each with its weight.
    items: VecDeque<(Item, usize)>,
    /// That of all of them.
    weight: usize,
    /// Nothing more will come.
    ended: bool,
    /// The call waits for room.
    full: bool,
    /// Who is to be woken, and the number of its wait.
    waiter: Option<(Arc<Bell>, u64)>,
    /// Threads that wait in [`Mailbox::wait`].
    sleepers: u32,
}

#[derive(Default)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    arrived: Condvar,
    room: Notify,
}

impl Mailbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts in one item; says whether there is room for the next.
    pub(crate) fn put(&self, item: Item) -> bool {
        let weight = item.weight();
        let mut state = self.state();
        if state.ended {
            return true;
        }
        state.weight += weight;
        state.items.push_back((item, weight));
        state.full = state.items.len() >= MOST_EVENTS || state.weight >= MOST_BYTES;
        let room = !state.full;
        self.wake(state);
        room
    }

    /// Nothing more will come; what is here can still be taken.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        self.wake(state);
    }

    /// The reader has gone: what is here is forgotten, what still comes is not kept.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        let forgotten = std::mem::take(&mut state.items);
        state.ended = true;
        self.wake(state);
        drop(forgotten);
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let waiter = state.waiter.take();
        let sleepers = state.sleepers > 0;
        drop(state);
        if sleepers {
            self.arrived.notify_all();
        }
        if let Some((bell, wait)) = waiter {
            bell.ring(wait);
        }
    }

    /// Waits until the reader has made room.
    pub(crate) async fn room(&self) {
        loop {
            let room = self.room.notified();
            if !self.state().full {
                return;
            }
            room.await;
        }
    }

    /// Takes the next item.
    pub(crate) fn take(&self) -> Taken {
        let mut state = self.state();
        match state.items.pop_front() {
            Some((item, weight)) => {
                state.weight -= weight;
                // At half, so that a call does not start and stop at each event.
                if state.full && state.items.len() <= MOST_EVENTS / 2 && state.weight <= MOST_BYTES / 2 {
                    state.full = false;
                    drop(state);
                    self.room.notify_one();
                }
                Taken::Item(item)
            }
            None if state.ended => Taken::Ended,
            None => Taken::Nothing,
        }
    }

    /// Has `bell` rung for `wait` when there is something to take. False if there is something already,
    /// `None` if somebody else waits.
    pub(crate) fn call_me(&self, bell: &Arc<Bell>, wait: u64) -> Option<bool> {
        let mut state = self.state();
        if !state.items.is_empty() || state.ended {
            return Some(false);
        }
        if state.waiter.is_some() {
            return None;
        }
        state.waiter = Some((Arc::clone(bell), wait));
        Some(true)
    }

    /// Whether everything has been taken and nothing more will come.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.state();
        state.ended && state.items.is_empty()
    }

    /// Waits for something to take, at most so long; says whether there is something.
    pub(crate) fn wait(&self, most: Duration) -> bool {
        let mut state = self.state();
        if state.items.is_empty() && !state.ended {
            state.sleepers += 1;
            state = self
                .arrived
                .wait_timeout_while(state, most, |state| state.items.is_empty() && !state.ended)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            state.sleepers -= 1;
        }
        !state.items.is_empty() || state.ended
    }
}
