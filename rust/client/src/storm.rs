//! The retry budget: what keeps a client's retries from becoming a storm when a provider is in trouble.
//!
//! One bucket a provider, shared by all calls of a client. It holds 500 tokens. A retry takes 5; a first try that
//! succeeds gives 1 back, a retry that succeeds gives back its 5, and each second gives 1. So a provider that fails
//! every call gets at most 100 retries at once and then one in five seconds, and while some calls succeed the retries
//! stay below a fifth of them: trouble is never answered with a multiple of the usual load.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

const CAPACITY: f64 = 500.0;
const RETRY: f64 = 5.0;
const SUCCESS: f64 = 1.0;
const SECOND: f64 = 1.0;
/// Provider names come from requests: full buckets are forgotten when there are more than so many.
const REMEMBERED: usize = 64;

/// The buckets. Only providers that had to be asked again have one: where nothing fails, nothing is counted.
#[derive(Debug, Default)]
pub(crate) struct Storm {
    buckets: Mutex<HashMap<String, Bucket>>,
    known: AtomicUsize,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn fill(&mut self, now: Instant, more: f64) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + seconds * SECOND + more).min(CAPACITY);
        self.at = self.at.max(now);
    }
}

impl Storm {
    /// Takes one retry out of the bucket of `provider`; false if it is empty.
    pub(crate) fn take(&self, provider: &str, now: Instant) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= REMEMBERED && !buckets.contains_key(provider) {
            buckets.retain(|_, bucket| {
                bucket.fill(now, 0.0);
                bucket.tokens < CAPACITY
            });
        }
        let bucket = buckets.entry(provider.to_owned()).or_insert(Bucket {
            tokens: CAPACITY,
            at: now,
        });
        bucket.fill(now, 0.0);
        let enough = bucket.tokens >= RETRY;
        if enough {
            bucket.tokens -= RETRY;
        }
        self.known.store(buckets.len(), Ordering::Release);
        enough
    }

    /// A try of `provider` succeeded: the first one, or a retry.
    pub(crate) fn succeeded(&self, provider: &str, retry: bool) {
        // The usual case costs no look at the clock and no lock.
        if self.known.load(Ordering::Acquire) > 0 {
            self.refund(provider, retry, Instant::now());
        }
    }

    fn refund(&self, provider: &str, retry: bool, now: Instant) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bucket) = buckets.get_mut(provider) else {
            return;
        };
        bucket.fill(now, if retry { RETRY } else { SUCCESS });
        if bucket.tokens >= CAPACITY {
            buckets.remove(provider);
            self.known.store(buckets.len(), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// How many retries are to be had at once.
    fn drain(storm: &Storm, provider: &str, now: Instant) -> u32 {
        let mut count = 0;
        while storm.take(provider, now) {
            count += 1;
        }
        count
    }

    #[test]
    fn a_hundred_retries_at_once_then_one_in_five_seconds() {
        let (storm, now) = (Storm::default(), Instant::now());
        assert_eq!(drain(&storm, "a", now), 100);
        assert_eq!(drain(&storm, "a", now + Duration::from_secs(5)), 1);
        assert_eq!(drain(&storm, "a", now + Duration::from_secs(55)), 10);
    }

    #[test]
    fn five_successes_pay_for_a_retry_and_one_that_succeeds_for_itself() {
        let (storm, now) = (Storm::default(), Instant::now());
        drain(&storm, "a", now);
        for _ in 0..5 {
            storm.refund("a", false, now);
        }
        assert_eq!(drain(&storm, "a", now), 1);
        storm.refund("a", true, now);
        assert_eq!(drain(&storm, "a", now), 1);
    }

    #[test]
    fn the_trouble_of_one_provider_is_its_own() {
        let (storm, now) = (Storm::default(), Instant::now());
        drain(&storm, "a", now);
        assert_eq!(drain(&storm, "b", now), 100);
    }

    #[test]
    fn full_buckets_are_forgotten_and_empty_ones_never() {
        let (storm, now) = (Storm::default(), Instant::now());
        drain(&storm, "empty", now);
        for name in 0..1000 {
            storm.take(&name.to_string(), now + Duration::from_secs(name * 10));
            if name == 5 {
                assert_eq!(drain(&storm, "empty", now + Duration::from_secs(50)), 10);
            }
        }
        assert!(storm.buckets.lock().unwrap().len() <= REMEMBERED + 1);
        storm.take("x", now);
        storm.refund("x", true, now);
        assert!(!storm.buckets.lock().unwrap().contains_key("x"));
    }
}
