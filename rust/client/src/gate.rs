//! Limits of one provider: how many calls at once, how many calls and tokens a minute. Who must wait does so in the
//! order of coming.

use crate::window::Window;
use omni_core::{Error, Message, Request, Result};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use tokio::time::Instant;

/// What one provider may be asked at the most. `None` is no limit.
///
/// A try that must wait does so in the order of coming, within its call's own total limit. Every try counts, retries
/// too. Tokens are counted when they are known: a try enters with an estimate of its input (a quarter of the bytes of
/// its text), and what its usage says takes the estimate's place when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limit {
    /// Tries that may run at once.
    pub concurrency: Option<u32>,
    /// Tries that may begin in any minute.
    pub requests_per_minute: Option<u32>,
    /// Tokens that may be used in any minute, input and output.
    pub tokens_per_minute: Option<u64>,
}

impl Limit {
    /// Refuses what would let nothing pass.
    pub(crate) fn check(&self, provider: &str) -> Result<()> {
        let nought = [
            ("concurrency", self.concurrency == Some(0)),
            ("requests_per_minute", self.requests_per_minute == Some(0)),
            ("tokens_per_minute", self.tokens_per_minute == Some(0)),
        ];
        match nought.iter().find(|(_, nought)| *nought) {
            Some((field, _)) => Err(Error::invalid(format!(
                "limits.{provider}.{field}: must be at least 1; leave it out for no limit"
            ))),
            None => Ok(()),
        }
    }
}

/// The door to one provider. Its lock is held for a few steps of arithmetic, never while anybody waits.
#[derive(Debug)]
pub(crate) struct Gate {
    limit: Limit,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: u32,
    /// Who waits, in the order of coming; numbers only grow.
    queue: VecDeque<(u64, Waker)>,
    next: u64,
    requests: Window,
    tokens: Window,
}

/// A place in the queue. Dropping it leaves the queue.
#[derive(Debug)]
pub(crate) struct Place {
    gate: Arc<Gate>,
    number: u64,
}

/// The right to run one try. Dropping it lets the next one in.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Arc<Gate>,
    estimate: u64,
}

/// What came of asking to enter.
#[derive(Debug)]
pub(crate) enum Entry {
    /// Go on.
    In(Pass),
    /// Not yet: the waker is woken when it is worth asking again; if a time is given, ask again then too.
    Wait(Option<Instant>),
}

impl Gate {
    pub(crate) fn new(limit: Limit) -> Arc<Self> {
        Arc::new(Self {
            limit,
            state: Mutex::default(),
        })
    }

    /// The tokens that `request` will take, roughly: a quarter of the bytes of its text. 0 where nobody counts.
    pub(crate) fn estimate(&self, request: &Request) -> u64 {
        if !self.counts_tokens() {
            return 0;
        }
        let content = |message: &Message| message.content.as_ref().map_or(0, |content| content.text().len());
        let calls = |message: &Message| -> usize {
            let calls = message.tool_calls.iter().flatten();
            calls
                .filter_map(|call| call.function.as_ref())
                .map(|function| function.arguments.len())
                .sum()
        };
        let messages = request.messages.iter();
        let bytes: usize = messages.map(|message| content(message) + calls(message)).sum();
        u64::try_from(bytes / 4).unwrap_or(u64::MAX).max(1)
    }

    fn counts_tokens(&self) -> bool {
        self.limit.tokens_per_minute.is_some()
    }

    /// Asks to enter with `estimate` tokens. `place` is kept by who asks, from the first time to the last.
    pub(crate) fn enter(
        self: &Arc<Self>,
        place: &mut Option<Place>,
        estimate: u64,
        now: Instant,
        waker: &Waker,
    ) -> Entry {
        let mut state = self.lock();
        let first = match place {
            Some(place) => state.queue.front().map(|(number, _)| *number) == Some(place.number),
            None => state.queue.is_empty(),
        };
        let open = if first {
            self.open(&mut state, estimate, now)
        } else {
            Err(None)
        };
        let Err(until) = open else {
            state.running += 1;
            if self.limit.requests_per_minute.is_some() {
                state.requests.add(1, now);
            }
            if self.counts_tokens() {
                state.tokens.add(estimate, now);
            }
            drop(state);
            // Leaving the queue wakes the next: there may be room for it too.
            *place = None;
            return Entry::In(Pass {
                gate: Arc::clone(self),
                estimate,
            });
        };
        if let Some(place) = place {
            let at = state
                .queue
                .binary_search_by_key(&place.number, |(number, _)| *number);
            if let Ok(at) = at {
                state.queue[at].1.clone_from(waker);
            }
        } else {
            let number = state.next;
            state.next += 1;
            state.queue.push_back((number, waker.clone()));
            *place = Some(Place {
                gate: Arc::clone(self),
                number,
            });
        }
        Entry::Wait(until)
    }

    /// Whether a try may enter; else the time at which it may, if that is known.
    fn open(&self, state: &mut State, estimate: u64, now: Instant) -> Result<(), Option<Instant>> {
        if self.limit.concurrency.is_some_and(|most| state.running >= most) {
            return Err(None);
        }
        let requests = self
            .limit
            .requests_per_minute
            .and_then(|most| state.requests.fits_at(1, u64::from(most), now));
        let tokens = self
            .limit
            .tokens_per_minute
            .and_then(|most| state.tokens.fits_at(estimate, most, now));
        // The later of the two; a number compares greater than none.
        requests.max(tokens).map_or(Ok(()), |at| Err(Some(at)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_first(&self) {
        // Woken outside the lock: a waker may run anything.
        let first = self.lock().queue.front().map(|(_, waker)| waker.clone());
        if let Some(first) = first {
            first.wake();
        }
    }
}

impl Pass {
    /// The try used `tokens`: they take the place of what was estimated.
    pub(crate) fn used(&self, tokens: u64, now: Instant) {
        if !self.gate.counts_tokens() {
            return;
        }
        let mut state = self.gate.lock();
        if tokens >= self.estimate {
            state.tokens.add(tokens - self.estimate, now);
        } else {
            state.tokens.take_back(self.estimate - tokens);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        let at = state
            .queue
            .binary_search_by_key(&self.number, |(number, _)| *number);
        if let Ok(at) = at {
            state.queue.remove(at);
        }
        drop(state);
        // Who left the head leaves the next one to watch the clock.
        if at == Ok(0) {
            self.gate.wake_first();
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.running = state.running.saturating_sub(1);
        drop(state);
        self.gate.wake_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Somebody who wants to enter.
    struct Guest {
        place: Option<Place>,
        bell: Arc<Bell>,
    }

    impl Guest {
        fn new() -> Self {
            Self {
                place: None,
                bell: Arc::default(),
            }
        }

        fn ask(&mut self, gate: &Arc<Gate>, estimate: u64, now: Instant) -> Entry {
            let waker = Waker::from(Arc::clone(&self.bell));
            gate.enter(&mut self.place, estimate, now, &waker)
        }

        fn woken(&self) -> bool {
            self.bell.0.swap(0, Ordering::SeqCst) > 0
        }
    }

    fn pass(entry: Entry) -> Pass {
        match entry {
            Entry::In(pass) => pass,
            Entry::Wait(until) => panic!("must wait until {until:?}"),
        }
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "a pass that is not wanted is dropped here"
    )]
    fn wait(entry: Entry) -> Option<Instant> {
        match entry {
            Entry::Wait(until) => until,
            Entry::In(_) => panic!("was let in"),
        }
    }

    fn gate(concurrency: Option<u32>, requests: Option<u32>, tokens: Option<u64>) -> Arc<Gate> {
        Gate::new(Limit {
            concurrency,
            requests_per_minute: requests,
            tokens_per_minute: tokens,
        })
    }

    #[test]
    fn who_came_first_enters_first_and_nobody_overtakes() {
        let (gate, now) = (gate(Some(1), None, None), Instant::now());
        let running = pass(Guest::new().ask(&gate, 0, now));
        let (mut one, mut two, mut late) = (Guest::new(), Guest::new(), Guest::new());
        assert_eq!(wait(one.ask(&gate, 0, now)), None);
        assert_eq!(wait(two.ask(&gate, 0, now)), None);
        drop(running);
        assert_eq!((one.woken(), two.woken()), (true, false));
        wait(late.ask(&gate, 0, now));
        wait(two.ask(&gate, 0, now));
        let running = pass(one.ask(&gate, 0, now));
        assert!(two.woken(), "the head of the queue is always told");
        wait(two.ask(&gate, 0, now));
        drop(running);
        let running = pass(two.ask(&gate, 0, now));
        drop(running);
        drop(pass(late.ask(&gate, 0, now)));
        let state = gate.lock();
        assert_eq!((state.running, state.queue.len()), (0, 0));
    }

    #[test]
    fn who_leaves_the_queue_lets_the_next_one_know() {
        let (gate, now) = (gate(Some(1), None, None), Instant::now());
        let running = pass(Guest::new().ask(&gate, 0, now));
        let (mut one, mut two) = (Guest::new(), Guest::new());
        wait(one.ask(&gate, 0, now));
        wait(two.ask(&gate, 0, now));
        drop(running);
        drop(one);
        assert!(two.woken());
        drop(pass(two.ask(&gate, 0, now)));
    }

    #[test]
    fn a_rate_names_the_time_at_which_to_come_again() {
        let (gate, now) = (gate(None, Some(2), None), Instant::now());
        drop(pass(Guest::new().ask(&gate, 0, now)));
        drop(pass(Guest::new().ask(&gate, 0, now)));
        let minute = now + Duration::from_secs(60);
        let (mut one, mut two) = (Guest::new(), Guest::new());
        assert_eq!(wait(one.ask(&gate, 0, now)), Some(minute));
        assert_eq!(
            wait(two.ask(&gate, 0, now)),
            None,
            "only the head watches the clock"
        );
        drop(pass(one.ask(&gate, 0, minute)));
        assert!(two.woken());
        drop(pass(two.ask(&gate, 0, minute)));
    }

    #[test]
    fn tokens_are_estimated_first_and_put_right_after() {
        let (gate, now) = (gate(None, None, Some(100)), Instant::now());
        let small = pass(Guest::new().ask(&gate, 60, now));
        let mut next = Guest::new();
        assert!(wait(next.ask(&gate, 60, now)).is_some());
        small.used(10, now);
        drop(small);
        assert!(next.woken());
        let large = pass(next.ask(&gate, 60, now));
        large.used(95, now);
        drop(large);
        assert!(wait(Guest::new().ask(&gate, 1, now)).is_some());
    }

    #[test]
    fn a_limit_that_lets_nothing_pass_is_refused_by_name() {
        let limit = Limit {
            requests_per_minute: Some(0),
            ..Limit::default()
        };
        let error = limit.check("openai").unwrap_err();
        assert!(
            error.message.starts_with("limits.openai.requests_per_minute: "),
            "{error}"
        );
        assert_eq!(Limit::default().check("openai"), Ok(()));
    }
}
