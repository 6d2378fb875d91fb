//! The connections of one origin: those that wait for a call, and those that calls share.

use crate::connect::Route;
use crate::h1::Line;
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::SendRequest;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime;
use tokio::time::Instant;

/// What a burst may leave behind for the next one.
const MAX_IDLE: usize = 256;
/// Streams on one HTTP/2 connection before another is made; most servers allow 100 to 128.
pub(crate) const MAX_STREAMS: usize = 100;

pub(crate) type Sender = SendRequest<Full<Bytes>>;

pub(crate) struct Origin {
    /// Host and port, for messages.
    pub(crate) to: String,
    pub(crate) route: Route,
    pub(crate) idle_for: Duration,
    state: Mutex<State>,
    /// Held while connecting to a server that may speak HTTP/2, so that a burst makes one connection and not fifty.
    pub(crate) gate: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Idle>,
    shared: Vec<Shared>,
    /// The server has chosen HTTP/1.1, or nobody asks it: every call has a connection of its own.
    separate: bool,
}

/// A connection belongs to the runtime that it was made on: on another one nobody would wake its reader.
struct Idle {
    line: Line,
    since: Instant,
    runtime: runtime::Id,
}

struct Shared {
    sender: Sender,
    streams: Arc<Streams>,
    runtime: runtime::Id,
}

/// The streams of one shared connection.
pub(crate) struct Streams {
    open: AtomicUsize,
    /// What the server allows, as far as it has said.
    allowed: AtomicUsize,
    quiet_since: Mutex<Instant>,
}

/// A call's place on a shared connection.
pub(crate) struct Lease(Arc<Streams>);

impl Drop for Lease {
    fn drop(&mut self) {
        *lock(&self.0.quiet_since) = Instant::now();
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Streams {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            open: AtomicUsize::new(0),
            allowed: AtomicUsize::new(MAX_STREAMS),
            quiet_since: Mutex::new(Instant::now()),
        })
    }

    pub(crate) fn allow(&self, streams: usize) {
        self.allowed.store(streams, Ordering::Release);
    }

    fn lease(self: &Arc<Self>) -> Lease {
        self.open.fetch_add(1, Ordering::AcqRel);
        Lease(Arc::clone(self))
    }
}

pub(crate) enum Found {
    Line(Line),
    Stream(Sender, Lease),
}

impl Origin {
    pub(crate) fn new(to: String, route: Route, idle_for: Duration, separate: bool) -> Self {
        Self {
            to,
            route,
            idle_for,
            state: Mutex::new(State {
                separate,
                ..State::default()
            }),
            gate: tokio::sync::Mutex::new(()),
        }
    }

    /// A connection that is there; the most recently used, so that the others may grow old.
    pub(crate) fn find(&self, runtime: runtime::Id) -> Option<Found> {
        let mut state = lock(&self.state);
        if let Some(at) = state.lines.iter().rposition(|idle| idle.runtime == runtime) {
            let idle = state.lines.remove(at)?;
            if idle.since.elapsed() < self.idle_for {
                return Some(Found::Line(idle.line));
            }
            // What is older has expired as well.
            state.lines.retain(|idle| idle.since.elapsed() < self.idle_for);
        }
        state.shared.retain(|shared| !shared.sender.is_closed());
        let shared = state.shared.iter().find(|shared| {
            let room = shared.streams.allowed.load(Ordering::Acquire).min(MAX_STREAMS);
            shared.runtime == runtime && shared.streams.open.load(Ordering::Acquire) < room
        })?;
        Some(Found::Stream(shared.sender.clone(), shared.streams.lease()))
    }

    /// Whether each call has a connection of its own here, as far as is known.
    pub(crate) fn is_separate(&self) -> bool {
        lock(&self.state).separate
    }

    pub(crate) fn set_separate(&self) {
        lock(&self.state).separate = true;
    }

    /// Keeps a connection for the next call.
    pub(crate) fn keep(&self, line: Line) {
        let Ok(runtime) = runtime::Handle::try_current() else {
            return; // read to its end outside the runtime: nobody could say whose it is
        };
        let idle = Idle {
            line,
            since: Instant::now(),
            runtime: runtime.id(),
        };
        let mut state = lock(&self.state);
        let oldest = (state.lines.len() >= MAX_IDLE).then(|| state.lines.pop_front());
        state.lines.push_back(idle);
        drop(state);
        // Closed without the lock.
        drop(oldest);
    }

    /// Shares a connection among the calls to come.
    pub(crate) fn share(&self, sender: Sender, streams: Arc<Streams>, runtime: runtime::Id) -> Found {
        let lease = streams.lease();
        lock(&self.state).shared.push(Shared {
            sender: sender.clone(),
            streams,
            runtime,
        });
        Found::Stream(sender, lease)
    }

    /// Closes what has waited too long. Says how many connections are left.
    pub(crate) fn expire(&self) -> usize {
        let mut state = lock(&self.state);
        let (old, lines) = std::mem::take(&mut state.lines)
            .into_iter()
            .partition::<VecDeque<_>, _>(|idle| idle.since.elapsed() >= self.idle_for);
        state.lines = lines;
        state.shared.retain(|shared| {
            let quiet = shared.streams.open.load(Ordering::Acquire) == 0
                && lock(&shared.streams.quiet_since).elapsed() >= self.idle_for;
            !quiet && !shared.sender.is_closed()
        });
        let left = state.lines.len() + state.shared.len();
        drop(state);
        drop(old);
        left
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
