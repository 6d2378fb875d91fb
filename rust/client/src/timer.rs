//! One timer for all limits of a call.

use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::{Instant, Sleep};

/// A timer that is armed when something must first be waited for, and moved only when it rings: a limit that every
/// event pushes further away costs no timer operation for an event.
#[derive(Default)]
pub(crate) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready once `at` has passed; otherwise wakes the task then, or earlier (the caller asks again).
    pub(crate) fn poll(&mut self, at: Instant, context: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        if now >= at {
            return Poll::Ready(());
        }
        let sleep = self
            .0
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if sleep.deadline() > at || sleep.is_elapsed() {
            sleep.as_mut().reset(at);
        }
        if sleep.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        // An earlier limit rang that has moved on since.
        if sleep.deadline() < at {
            sleep.as_mut().reset(at);
            return sleep.as_mut().poll(context);
        }
        Poll::Ready(())
    }
}
