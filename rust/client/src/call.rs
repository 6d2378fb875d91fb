//! One call: its tries, its limits, its one last event. A state machine that is polled on the caller's own task;
//! no task is spawned, and nothing but a timer is asked of the runtime.

mod ends;
mod spending;

use self::spending::Spending;
use crate::cancel::Cancel;
use crate::client::Shared;
use crate::gate::{Entry, Gate, Pass, Place};
use crate::limits::{self, Limits};
use crate::native::Route;
use crate::retry::{self, Tries};
use crate::trace::{self, Trace};
use crate::{fallback, timer::Timer};
use futures_core::Stream;
use omni_core::{
    Attempt, BoxFuture, ChatEngine, ChatStream, Code, Engine, Error, Event, Fold, ModelId, Request, Result,
    RetryPolicy, Step, Steps, Timeout, Timeouts,
};
use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// How long a cancelled try may take to say that its socket is closed. Engines bound this themselves; this is for
/// one that does not.
const CANCEL_GRACE: Duration = Duration::from_secs(10);

/// Ready events between two looks at the clock, when a total limit is set and the engine never lets us wait.
const CLOCK_EVERY: u32 = 64;

/// The limits that a call keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    FirstEvent,
    Idle,
    Total,
    /// The total limit, while the provider's own limits let no try begin.
    Turn,
    /// A cancelled try should have closed its socket by now.
    Closing,
}

/// A limit that has passed, and how long it was.
#[derive(Clone, Copy, Debug)]
struct Late {
    limit: Limit,
    after: Duration,
}

enum Stage {
    /// Not yet polled.
    New,
    /// The provider's limits let nobody in yet.
    Queued(Turn),
    /// The key is being looked for.
    Routing(BoxFuture<'static, Route>),
    /// The engine is being found.
    Connecting(BoxFuture<'static, Result<Arc<dyn ChatEngine>>>),
    /// A try runs.
    Calling(Steps),
    /// Between two tries of the same model.
    Resting(Instant),
    /// The last event has been handed out.
    Ended,
}

/// Waiting for a turn.
struct Turn {
    gate: Arc<Gate>,
    place: Option<Place>,
    /// Tokens that the try may take.
    estimate: u64,
}

/// The request as it was asked first, without its messages, and its limits.
struct First {
    request: Request,
    timeouts: Timeouts,
    limits: Limits,
}

pub(crate) struct Call {
    client: Arc<Shared>,
    /// What is asked now; its `timeout`, `retry` and `fallbacks` are taken out and kept here.
    request: Request,
    streamed: bool,
    stage: Stage,
    fallbacks: std::vec::IntoIter<Value>,
    /// What was asked first, once a fallback has taken its place.
    first: Option<Box<First>>,
    timeouts: Timeouts,
    limits: Limits,
    policy: RetryPolicy,
    tries: Tries,
    /// The running try's right to run, where its provider has limits.
    pass: Option<Pass>,
    spending: Spending,
    fallback_mid_stream: bool,
    /// So many indexes were used up by answers that were discarded.
    index_base: u32,
    trace: Option<Box<Trace>>,
    cancel: Arc<Cancel>,
    fold: Fold,
    attempts: Vec<Attempt>,
    /// An event of an answer has been handed out: no other try can take its place.
    answered: bool,
    /// The engine is being waited for since then. Time in which the caller does not read is not counted as silence.
    waiting_since: Option<Instant>,
    cancelled_at: Option<Instant>,
    began: Instant,
    try_began: Instant,
    /// Who makes the running try.
    engine: Option<Engine>,
    /// Why the native engine leaves the running try to the other one.
    declined: Option<String>,
    events_since_clock: u32,
    timer: Timer,
}

impl Call {
    /// The stream of a call. Nothing happens until it is polled.
    pub(crate) fn open(client: Arc<Shared>, request: Request, streamed: bool) -> ChatStream {
        let cancel = Arc::new(Cancel::default());
        let canceller = cancel.canceller();
        let now = Instant::now();
        let call = Self {
            request,
            streamed,
            stage: Stage::New,
            fallbacks: Vec::new().into_iter(),
            first: None,
            timeouts: client.timeouts,
            limits: client.limits,
            policy: client.retry,
            tries: client.tries,
            pass: None,
            spending: Spending::new(client.budget),
            fallback_mid_stream: client.fallback_mid_stream,
            index_base: 0,
            trace: None,
            client,
            cancel,
            fold: Fold::new(),
            attempts: Vec::new(),
            answered: false,
            waiting_since: None,
            cancelled_at: None,
            began: now,
            try_began: now,
            engine: None,
            declined: None,
            events_since_clock: 0,
            timer: Timer::default(),
        };
        ChatStream::new(call, canceller)
    }

    fn drive(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            if self.cancel.asked() && self.cancelled_at.is_none() {
                self.cancelled_at = Some(Instant::now());
                match self.stage {
                    Stage::Calling(_) | Stage::Ended => {}
                    Stage::New
                    | Stage::Queued(_)
                    | Stage::Routing(_)
                    | Stage::Connecting(_)
                    | Stage::Resting(_) => {
                        return self.cancelled(None);
                    }
                }
            }
            match &mut self.stage {
                Stage::New => {
                    self.began = Instant::now();
                    if let Err(error) = self.prepare() {
                        return self.failed(error);
                    }
                    if let Some(error) = self.ask() {
                        return self.failed(error);
                    }
                }
                Stage::Queued(turn) => {
                    let first = turn.place.is_none();
                    let entry =
                        turn.gate
                            .enter(&mut turn.place, turn.estimate, Instant::now(), context.waker());
                    match entry {
                        Entry::In(pass) => {
                            self.pass = Some(pass);
                            self.start();
                        }
                        Entry::Wait(until) => {
                            if first {
                                trace::queued(&self.request.model);
                            }
                            self.cancel.register(context.waker());
                            if self.cancel.asked() {
                                continue;
                            }
                            let total = self.limits.total.map(|total| (self.began + total, total));
                            if let Some((at, after)) = total
                                && Instant::now() >= at
                            {
                                let limit = Limit::Turn;
                                let error = self.too_late(Late { limit, after });
                                return self.failed(error);
                            }
                            let at = match (until, total) {
                                (Some(until), Some((total, _))) => until.min(total),
                                (Some(at), None) | (None, Some((at, _))) => at,
                                (None, None) => return Poll::Pending,
                            };
                            if self.timer.poll(at, context).is_pending() {
                                return Poll::Pending;
                            }
                        }
                    }
                }
                Stage::Routing(routing) => match routing.as_mut().poll(context) {
                    Poll::Ready(route) => self.follow(route),
                    Poll::Pending => match self.wait(context) {
                        Some(late) => return self.late(late),
                        None => return Poll::Pending,
                    },
                },
                Stage::Connecting(connecting) => match connecting.as_mut().poll(context) {
                    Poll::Ready(Ok(engine)) => self.begin(&*engine),
                    Poll::Ready(Err(error)) => {
                        if let Some(event) = self.settle(error) {
                            return Poll::Ready(Some(event));
                        }
                    }
                    Poll::Pending => match self.wait(context) {
                        Some(late) => return self.late(late),
                        None => return Poll::Pending,
                    },
                },
                Stage::Calling(steps) => match Pin::new(steps).poll_next(context) {
                    Poll::Ready(step) => {
                        self.waiting_since = None;
                        if let Some(event) = self.step(step) {
                            return Poll::Ready(Some(event));
                        }
                    }
                    Poll::Pending => match self.wait(context) {
                        None => return Poll::Pending,
                        Some(Late {
                            limit: Limit::Closing,
                            ..
                        }) => return self.cancelled(None),
                        // The next try may have better luck.
                        Some(
                            late @ Late {
                                limit: Limit::FirstEvent | Limit::Idle,
                                ..
                            },
                        ) => {
                            let error = self.too_late(late);
                            if let Some(event) = self.settle(error) {
                                return Poll::Ready(Some(event));
                            }
                        }
                        Some(late) => return self.late(late),
                    },
                },
                Stage::Resting(until) => {
                    let until = *until;
                    self.cancel.register(context.waker());
                    if self.cancel.asked() {
                        continue;
                    }
                    if self.timer.poll(until, context).is_pending() {
                        return Poll::Pending;
                    }
                    if let Some(error) = self.ask() {
                        return self.failed(error);
                    }
                }
                Stage::Ended => return Poll::Ready(None),
            }
        }
    }

    /// Checks the request before anything is sent, and takes out what is the client's own business.
    fn prepare(&mut self) -> Result<()> {
        self.request.check()?;
        self.spending.budgets.call = self.request.budget.take();
        if let Some(mid_stream) = self.request.fallback_mid_stream.take() {
            self.fallback_mid_stream = mid_stream;
        }
        let fallbacks = self
            .request
            .fallbacks
            .take()
            .unwrap_or_else(|| self.client.fallbacks.clone());
        for (at, entry) in fallbacks.iter().enumerate() {
            fallback::check(at, entry)?;
        }
        self.fallbacks = fallbacks.into_iter();
        self.take_policies()
    }

    /// Moves `timeout` and `retry` out of the request that is asked next.
    fn take_policies(&mut self) -> Result<()> {
        if let Some(timeout) = self.request.timeout.take() {
            self.timeouts = limits::overlay(self.timeouts, timeout);
            self.limits = Limits::new(&self.timeouts)?;
        }
        if let Some(retry) = self.request.retry.take() {
            self.policy = retry::overlay(self.policy, retry);
            self.tries = Tries::new(self.policy)?;
        }
        // The engine alone sees the socket, so it gets this one limit; the others it must not double.
        let connect = self.timeouts.connect;
        self.request.timeout = connect.map(|_| {
            Timeout::Each(Timeouts {
                connect,
                ..Timeouts::default()
            })
        });
        Ok(())
    }

    /// Begins a try, in its turn; gives the error if a budget is spent.
    fn ask(&mut self) -> Option<Error> {
        if let Some(error) = self.spending.refuses(&self.client.ledger) {
            return Some(error);
        }
        self.engine = None;
        match self.client.gate(&self.request.model) {
            None => self.start(),
            Some(gate) => {
                self.stage = Stage::Queued(Turn {
                    estimate: gate.estimate(&self.request),
                    gate,
                    place: None,
                });
            }
        }
        None
    }

    /// Begins a try whose turn it is.
    fn start(&mut self) {
        self.try_began = Instant::now();
        self.waiting_since = None;
        self.declined = None;
        let route = self
            .client
            .route(&self.request, self.streamed, self.limits.connect);
        self.follow(route);
    }

    fn follow(&mut self, route: Route) {
        match route {
            Route::Later(route) => self.stage = Stage::Routing(route),
            Route::Native(steps) => {
                self.engine = Some(Engine::Native);
                self.call(steps);
            }
            Route::Bridge(declined) => {
                self.declined = declined;
                match self.client.source.ready() {
                    Some(engine) => self.begin(&*engine),
                    None => self.stage = Stage::Connecting(self.client.source.connect()),
                }
            }
            Route::Refused(error) => self.call(Steps::failed(error)),
        }
    }

    fn begin(&mut self, engine: &dyn ChatEngine) {
        self.engine = Some(engine.name());
        self.call(engine.call(&self.request, self.streamed));
    }

    fn call(&mut self, steps: Steps) {
        self.cancel.watch(steps.canceller());
        self.stage = Stage::Calling(steps);
    }

    /// Takes one step of the running try; gives the event that the caller sees, if there is one.
    fn step(&mut self, step: Option<Step>) -> Option<Event> {
        if self.cancelled_at.is_some() {
            // What was under way when the caller cancelled is not shown: the next event is the last.
            return match step {
                Some(Step::Event(_)) => None,
                Some(Step::Cancelled { closed_ms }) => Some(self.end_cancelled(closed_ms)),
                Some(Step::Finish(_) | Step::Reply(_) | Step::Failed(_)) | None => {
                    Some(self.end_cancelled(None))
                }
            };
        }
        match step {
            Some(Step::Event(mut event)) if !event.is_last() => {
                if !self.answered {
                    self.answered = true;
                    if let Some(trace) = &mut self.trace {
                        trace.first_event(self.streamed, self.began.elapsed());
                    }
                }
                if self.spending.over.is_some() && event.adds() {
                    let error = self.spending.over.take();
                    return error.map(|error| self.end_failed(error));
                }
                if self.index_base > 0 {
                    event.shift_index(self.index_base);
                }
                if let Event::Usage { usage } = &mut event {
                    self.spend(usage);
                }
                self.fold.push(&event);
                self.events_since_clock += 1;
                if self.events_since_clock >= CLOCK_EVERY {
                    self.events_since_clock = 0;
                    if let Some(total) = self.limits.total.filter(|total| self.began.elapsed() >= *total) {
                        let error = self.too_late(Late {
                            limit: Limit::Total,
                            after: total,
                        });
                        return Some(self.end_failed(error));
                    }
                }
                Some(event)
            }
            Some(Step::Finish(finish)) => {
                let attempts = self.attempts_with(None);
                let reply = std::mem::take(&mut self.fold).finish(*finish, attempts);
                Some(self.end_done(Box::new(reply)))
            }
            Some(Step::Reply(mut reply)) => {
                reply.attempts = self.attempts_with(None);
                Some(self.end_done(reply))
            }
            Some(Step::Failed(error)) => self.settle(error),
            // Nobody asked for it: the engine is being shut down under the call.
            Some(Step::Cancelled { closed_ms }) => Some(self.end_cancelled(closed_ms)),
            Some(Step::Event(_)) => self.settle(Error::internal(
                "the engine sent an event that only the client makes",
            )),
            None => self.settle(Error::internal("the engine ended a call without saying how")),
        }
    }

    /// A try failed: rests before the next one, goes on with a fallback (and tells so), or ends.
    fn settle(&mut self, error: Error) -> Option<Event> {
        let mut error = self.with_reason(error).for_model(&self.request.model);
        self.stop_try();
        if error.code == Code::Cancelled || (self.answered && !self.fallback_mid_stream) {
            return Some(self.end_failed(error));
        }
        let left = self
            .limits
            .total
            .map(|total| total.saturating_sub(self.began.elapsed()));
        // What has been read is not asked for again: only before the answer the same model gets another try.
        if !self.answered
            && let Some(rest) = self.tries.rest(&error, left)
        {
            if self.client.may_retry(&self.request.model) {
                trace::retry(&self.request.model, &error, rest);
                self.record(Some(error));
                self.stage = Stage::Resting(Instant::now() + rest);
                return None;
            }
            error
                .message
                .push_str(" (not tried again: too many calls to this provider have failed lately)");
        }
        if error.code == Code::Budget || left.is_some_and(|left| left.is_zero()) {
            return Some(self.end_failed(error));
        }
        let Some(next) = self.fallbacks.next() else {
            return Some(self.end_failed(error));
        };
        let from = self.request.model.clone();
        self.record(Some(error.clone()));
        self.tries.next_model();
        if let Err(error) = self.change(&next) {
            return Some(self.end_with(error));
        }
        trace::fallback(&from, &self.request.model, &error, self.answered);
        // No rest: another model knows nothing of the first one's trouble.
        self.stage = Stage::Resting(Instant::now());
        // Of a half answer nothing counts, not even its reasoning: the next model begins anew, after its indexes.
        let discarded = self.fold.indexes();
        if let Some(last) = discarded.last() {
            self.index_base = last.saturating_add(1);
        }
        self.answered = false;
        let event = Event::Fallback {
            from,
            to: self.request.model.clone(),
            error,
            discarded,
        };
        self.fold.push(&event);
        Some(event)
    }

    /// What failed for want of the other engine says why the native one did not take the call.
    fn with_reason(&self, mut error: Error) -> Error {
        if let Some(why) = &self.declined
            && matches!(
                error.code,
                Code::EngineUnavailable | Code::NotFound | Code::Authentication
            )
        {
            error.message = format!(
                "{}; the native engine did not take this call: {why}",
                error.message
            );
        }
        error
    }

    /// Asks for what `fallback` makes of the first request. Each changes the first one, not the one before it.
    fn change(&mut self, fallback: &Value) -> Result<()> {
        let messages = std::mem::take(&mut self.request.messages);
        if self.first.is_none() {
            let first = First {
                request: std::mem::take(&mut self.request),
                timeouts: self.timeouts,
                limits: self.limits,
            };
            self.first = Some(Box::new(first));
        }
        if let Some(first) = &self.first {
            (self.timeouts, self.limits) = (first.timeouts, first.limits);
            self.request = fallback::apply(&first.request, messages, fallback)?;
        }
        self.take_policies()
    }

    /// Registers for what can happen next; says which limit has passed, if one has.
    fn wait(&mut self, context: &mut Context<'_>) -> Option<Late> {
        self.cancel.register(context.waker());
        if self.cancel.asked() && self.cancelled_at.is_none() {
            // The cancel came between the check and the registration.
            context.waker().wake_by_ref();
            return None;
        }
        let at = |since: Instant, after: Duration, limit| (since + after, Late { limit, after });
        let nearest = if let Some(since) = self.cancelled_at {
            Some(at(since, CANCEL_GRACE, Limit::Closing))
        } else {
            let silence = if self.answered {
                let idle = self.limits.idle;
                idle.map(|idle| {
                    at(
                        *self.waiting_since.get_or_insert_with(Instant::now),
                        idle,
                        Limit::Idle,
                    )
                })
            } else {
                self.limits
                    .first_event
                    .map(|first| at(self.try_began, first, Limit::FirstEvent))
            };
            let total = self.limits.total.map(|total| at(self.began, total, Limit::Total));
            match (silence, total) {
                (Some(silence), Some(total)) => Some(if silence.0 < total.0 { silence } else { total }),
                (silence, total) => silence.or(total),
            }
        };
        let (at, late) = nearest?;
        self.timer.poll(at, context).is_ready().then_some(late)
    }

    fn too_late(&self, late: Late) -> Error {
        let what = match late.limit {
            Limit::FirstEvent => "timeout.first_event: no answer began",
            Limit::Idle => "timeout.idle: nothing came",
            Limit::Total | Limit::Closing => "timeout.total: the answer was not whole",
            Limit::Turn => "timeout.total: the provider's limits that this client keeps let no try begin",
        };
        let message = format!(
            "{what} within {} s; raise the limit if the model is only slow",
            late.after.as_secs_f64()
        );
        let mut error = Error::new(Code::Timeout, message).for_model(&self.request.model);
        error.provider = ModelId::parse(&self.request.model).provider.map(str::to_owned);
        error
    }
}

impl Stream for Call {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let call = &mut *self;
        if matches!(call.stage, Stage::New) {
            call.trace = Trace::open(&call.request, call.streamed, call.client.trace_content);
        }
        let _within = call.trace.as_ref().map(|trace| trace.span().clone().entered());
        catch_unwind(AssertUnwindSafe(|| call.drive(context))).unwrap_or_else(|_| {
            // The state may be torn, so the call ends here; the client and its other calls share none of it.
            self.failed(Error::internal(
                "a call panicked: this is a bug of omni_bridge; other calls go on",
            ))
        })
    }
}
