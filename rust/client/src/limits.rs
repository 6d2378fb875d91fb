//! Time limits of a call, checked and turned into durations once.

use omni_core::{Error, Result, Timeout, Timeouts};
use std::time::Duration;

/// What holds when neither the client nor the request says otherwise: nothing waits for ever, and a long answer
/// that keeps coming is never cut.
pub(crate) const DEFAULT: Timeouts = Timeouts {
    connect: Some(15.0),
    first_event: Some(600.0),
    idle: Some(300.0),
    total: None,
};

/// The limits of a call. All but `connect` are kept by the client itself; that goes to the engine, which alone sees
/// the socket.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Limits {
    pub(crate) connect: Option<Duration>,
    pub(crate) first_event: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    pub(crate) total: Option<Duration>,
}

impl Limits {
    /// Checks `timeouts`.
    pub(crate) fn new(timeouts: &Timeouts) -> Result<Self> {
        Ok(Self {
            connect: duration("timeout.connect", timeouts.connect)?,
            first_event: duration("timeout.first_event", timeouts.first_event)?,
            idle: duration("timeout.idle", timeouts.idle)?,
            total: duration("timeout.total", timeouts.total)?,
        })
    }
}

/// The limits of a request over those of its client: what the request leaves out stays as it was.
pub(crate) fn overlay(below: Timeouts, above: Timeout) -> Timeouts {
    let above = match above {
        Timeout::Total(seconds) => Timeouts {
            total: Some(seconds),
            ..Timeouts::default()
        },
        Timeout::Each(each) => each,
    };
    Timeouts {
        connect: above.connect.or(below.connect),
        first_event: above.first_event.or(below.first_event),
        idle: above.idle.or(below.idle),
        total: above.total.or(below.total),
    }
}

/// `seconds` as a duration; more than the clock can hold is no limit.
pub(crate) fn duration(path: &str, seconds: Option<f64>) -> Result<Option<Duration>> {
    // A century: far enough that adding it to an instant cannot overflow, too far to matter.
    const FOR_EVER: f64 = 100.0 * 365.0 * 86400.0;
    match seconds {
        None => Ok(None),
        Some(seconds) if seconds.is_nan() || seconds <= 0.0 => Err(Error::invalid(format!(
            "{path}: must be a number of seconds greater than 0, not {seconds}"
        ))),
        Some(seconds) if seconds >= FOR_EVER => Ok(None),
        Some(seconds) => Ok(Some(Duration::from_secs_f64(seconds))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_changes_only_the_limits_that_it_names() {
        let below = Timeouts {
            connect: Some(1.0),
            first_event: Some(2.0),
            idle: Some(3.0),
            total: Some(4.0),
        };
        let total = overlay(below, Timeout::Total(9.0));
        assert_eq!(
            total,
            Timeouts {
                total: Some(9.0),
                ..below
            }
        );
        let each = overlay(
            below,
            Timeout::Each(Timeouts {
                idle: Some(7.0),
                ..Timeouts::default()
            }),
        );
        assert_eq!(
            each,
            Timeouts {
                idle: Some(7.0),
                ..below
            }
        );
    }

    #[test]
    fn seconds_that_are_no_limit_are_refused_and_huge_ones_mean_none() {
        for wrong in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
            let error = Limits::new(&Timeouts {
                idle: Some(wrong),
                ..Timeouts::default()
            })
            .unwrap_err();
            assert!(error.message.starts_with("timeout.idle: "), "{error}");
        }
        assert_eq!(duration("timeout.total", Some(f64::INFINITY)), Ok(None));
        assert_eq!(
            duration("timeout.total", Some(0.25)),
            Ok(Some(Duration::from_millis(250)))
        );
    }
}
