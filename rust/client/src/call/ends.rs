//! The ends of a call. Each leaves `Stage::Ended`, which drops the running try and so closes its socket.

use super::{Call, Late, Stage};
use omni_core::{Attempt, Code, Error, Event, Reply};
use std::task::Poll;
use tokio::time::Instant;

impl Call {
    pub(super) fn late(&mut self, late: Late) -> Poll<Option<Event>> {
        let error = self.too_late(late);
        Poll::Ready(Some(self.end_failed(error)))
    }

    /// Ends with an error that belongs to no try.
    pub(super) fn failed(&mut self, error: Error) -> Poll<Option<Event>> {
        let error = error.for_model(&self.request.model);
        Poll::Ready(Some(self.end_with(error)))
    }

    pub(super) fn cancelled(&mut self, closed_ms: Option<u64>) -> Poll<Option<Event>> {
        Poll::Ready(Some(self.end_cancelled(closed_ms)))
    }

    /// Ends with the error of the last try.
    pub(super) fn end_failed(&mut self, error: Error) -> Event {
        self.record(Some(error.clone()));
        self.end_with(error)
    }

    pub(super) fn end_with(&mut self, error: Error) -> Event {
        let reply = self.end(&error);
        Event::Error { error, reply }
    }

    pub(super) fn end_cancelled(&mut self, closed_ms: Option<u64>) -> Event {
        let error = Error::new(Code::Cancelled, "the call was cancelled").for_model(&self.request.model);
        if matches!(self.stage, Stage::Calling(_)) {
            self.record(Some(error.clone()));
        }
        let reply = self.end(&error);
        Event::Cancelled { reply, closed_ms }
    }

    pub(super) fn end_done(&mut self, mut reply: Box<Reply>) -> Event {
        self.settle_usage(&mut reply);
        self.stop_try();
        self.client.succeeded(&self.request.model, self.tries.again());
        if let Some(trace) = self.trace.take() {
            trace.end(&reply, None);
        }
        Event::Done { reply }
    }

    /// Ends with what has come so far.
    fn end(&mut self, error: &Error) -> Box<Reply> {
        self.stop_try();
        let attempts = std::mem::take(&mut self.attempts);
        let reply = Box::new(std::mem::take(&mut self.fold).partial(attempts));
        if let Some(trace) = self.trace.take() {
            trace.end(&reply, Some(error));
        }
        reply
    }

    /// The running try, if there is one, is over: dropping it closes its socket, and lets the next one in.
    pub(super) fn stop_try(&mut self) {
        self.cancel.unwatch();
        self.stage = Stage::Ended;
        if let Some(pass) = self.pass.take() {
            let tokens = self.spending.meter.tokens_of_try();
            // Where no usage came, the estimate is the best that is known.
            if tokens > 0 {
                pass.used(tokens, Instant::now());
            }
        }
        self.spending.meter.next_try();
    }

    pub(super) fn record(&mut self, error: Option<Error>) {
        self.attempts.push(Attempt {
            model: self.request.model.clone(),
            engine: self.engine,
            error,
            duration_ms: u64::try_from(self.try_began.elapsed().as_millis()).ok(),
        });
    }

    pub(super) fn attempts_with(&mut self, error: Option<Error>) -> Vec<Attempt> {
        self.record(error);
        std::mem::take(&mut self.attempts)
    }
}
