//! When to try the same model again, and how long to rest before.

use crate::limits;
use omni_core::{Code, Error, Result, Retry, RetryPolicy};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// What holds when neither the client nor the request says otherwise.
pub(crate) const DEFAULT: RetryPolicy = RetryPolicy {
    max_retries: Some(2),
    max_wait: Some(60.0),
};

/// Nobody rests longer; and an instant that far away can still be written.
const FOR_EVER: Duration = Duration::from_secs(365 * 86_400);
const FIRST_REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(8);

/// The policy of a request over that of its client.
pub(crate) fn overlay(below: RetryPolicy, above: Retry) -> RetryPolicy {
    let above = match above {
        Retry::Count(count) => RetryPolicy {
            max_retries: Some(count),
            max_wait: None,
        },
        Retry::Policy(policy) => policy,
    };
    RetryPolicy {
        max_retries: above.max_retries.or(below.max_retries),
        max_wait: above.max_wait.or(below.max_wait),
    }
}

/// What is left to spend on retries: tries for each model, seconds of rest for the whole call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tries {
    most: u32,
    rest: Option<Duration>,
    done: u32,
}

impl Tries {
    /// What `policy` gives.
    pub(crate) fn new(policy: RetryPolicy) -> Result<Self> {
        let rest = match policy.max_wait {
            Some(0.0) => Some(Duration::ZERO),
            seconds => limits::duration("retry.max_wait", seconds)?,
        };
        Ok(Self {
            most: policy.max_retries.unwrap_or(0),
            rest,
            done: 0,
        })
    }

    /// A new model has its tries anew; what was rested stays spent.
    pub(crate) fn next_model(&mut self) {
        self.done = 0;
    }

    /// Whether the try that runs is a second or later one of its model.
    pub(crate) fn again(&self) -> bool {
        self.done > 0
    }

    /// How long to rest before the same model is tried again after `error`; `None` if it is not to be.
    /// `left` is what the call's total limit leaves: a rest that outlasts it would only waste the caller's time.
    pub(crate) fn rest(&mut self, error: &Error, left: Option<Duration>) -> Option<Duration> {
        if !error.retryable || self.done >= self.most {
            return None;
        }
        // No second try finds an interpreter that the first did not, and a cancelled call is over.
        if matches!(
            error.code,
            Code::EngineUnavailable | Code::Cancelled | Code::Budget
        ) {
            return None;
        }
        let rest = match error.retry_after.map(|seconds| {
            Duration::try_from_secs_f64(seconds)
                .unwrap_or(FOR_EVER)
                .min(FOR_EVER)
        }) {
            // Never sooner than asked; a little later, so that a crowd told the same does not come back as one.
            Some(asked) => asked + FIRST_REST.mul_f64(jitter() / 2.0),
            None => LONGEST_REST
                .min(FIRST_REST * 2_u32.saturating_pow(self.done))
                .mul_f64(0.5 + jitter() / 2.0),
        };
        if left.is_some_and(|left| rest >= left) {
            return None;
        }
        if let Some(budget) = self.rest {
            self.rest = Some(budget.checked_sub(rest)?);
        }
        self.done += 1;
        Some(rest)
    }
}

/// A number in 0..1 that differs from call to call. The standard library's hash keys are random; nothing here
/// needs more than that.
fn jitter() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(0_u8) >> 32).unwrap_or(0);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(max_retries: u32, max_wait: f64) -> Tries {
        Tries::new(RetryPolicy {
            max_retries: Some(max_retries),
            max_wait: Some(max_wait),
        })
        .unwrap()
    }

    fn overloaded(retry_after: Option<f64>) -> Error {
        Error {
            retry_after,
            ..Error::new(Code::Overloaded, "busy")
        }
    }

    #[test]
    fn rests_grow_and_are_jittered_within_half_to_whole() {
        let mut tries = tries(9, 600.0);
        for step in [500, 1000, 2000, 4000, 8000, 8000_u64] {
            let whole = Duration::from_millis(step);
            let rest = tries.rest(&overloaded(None), None).unwrap();
            assert!(rest >= whole / 2 && rest <= whole, "{rest:?} of {whole:?}");
        }
    }

    #[test]
    fn count_bounds_the_tries_of_each_model() {
        let mut tries = tries(1, 600.0);
        assert!(tries.rest(&overloaded(None), None).is_some());
        assert!(tries.rest(&overloaded(None), None).is_none());
        tries.next_model();
        assert!(tries.rest(&overloaded(None), None).is_some());
    }

    #[test]
    fn retry_after_is_kept_and_never_cut_short() {
        let mut tries = tries(5, 60.0);
        let rest = tries.rest(&overloaded(Some(3.0)), None).unwrap();
        assert!(
            rest >= Duration::from_secs(3) && rest < Duration::from_secs(4),
            "{rest:?}"
        );
        assert_eq!(
            tries.rest(&overloaded(Some(3600.0)), None),
            None,
            "longer than max_wait: no retry"
        );
        assert_eq!(
            tries.rest(&overloaded(Some(3.0)), Some(Duration::from_secs(2))),
            None,
            "longer than the call may last"
        );
    }

    #[test]
    fn rests_of_all_models_share_max_wait() {
        let mut tries = tries(5, 5.0);
        assert!(tries.rest(&overloaded(Some(4.0)), None).is_some());
        tries.next_model();
        assert!(tries.rest(&overloaded(Some(4.0)), None).is_none());
    }

    #[test]
    fn what_cannot_succeed_is_not_tried_again() {
        let mut tries = tries(5, 60.0);
        for code in [
            Code::Authentication,
            Code::InvalidRequest,
            Code::EngineUnavailable,
            Code::Cancelled,
        ] {
            assert_eq!(tries.rest(&Error::new(code, "no"), None), None, "{code}");
        }
        let told = Error {
            retryable: false,
            ..Error::new(Code::Provider, "no")
        };
        assert_eq!(tries.rest(&told, None), None);
    }
}
