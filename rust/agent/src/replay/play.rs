//! A log played for the eye: the events with the time between them that they had.

use crate::protocol::AgentEvent;
use futures_core::Stream;
use futures_util::stream;
use omni_core::{Error, Result};
use std::time::Duration;
use tokio::time::Instant;

/// How fast a log is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// So many times as fast as it was; infinite is at once.
    pub speed: f64,
    /// No wait is longer: a session may have lain still for days.
    pub longest_wait: Option<Duration>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            speed: 1.0,
            longest_wait: Some(Duration::from_secs(5)),
        }
    }
}

impl From<f64> for Pace {
    fn from(speed: f64) -> Self {
        Self {
            speed,
            ..Self::default()
        }
    }
}

impl Pace {
    /// When each event is due, counted from the beginning. A clock that went back makes nobody wait.
    ///
    /// # Errors
    /// `invalid_request` for a speed that is not above 0.
    pub fn plan(&self, events: &[AgentEvent]) -> Result<Vec<Duration>> {
        if self.speed.is_nan() || self.speed <= 0.0 {
            return Err(Error::invalid(format!(
                "speed: expected a number above 0, got {}; 1 is as it was, 10 is ten times as fast",
                self.speed
            )));
        }
        let mut due = Duration::ZERO;
        let mut latest = events.first().map_or(0, |event| event.timestamp_ms);
        let times = events.iter().map(|event| {
            let gap = Duration::from_millis(event.timestamp_ms.saturating_sub(latest));
            latest = latest.max(event.timestamp_ms);
            let wait = Duration::try_from_secs_f64(gap.as_secs_f64() / self.speed).unwrap_or(Duration::MAX);
            due = due.saturating_add(self.longest_wait.map_or(wait, |longest| wait.min(longest)));
            due
        });
        Ok(times.collect())
    }
}

/// Plays events: each comes when it is due. `pace` is a [`Pace`], or a number: so many times as fast as it was.
///
/// # Errors
/// As [`Pace::plan`].
pub fn play(events: Vec<AgentEvent>, pace: impl Into<Pace>) -> Result<impl Stream<Item = AgentEvent> + Send> {
    let plan = pace.into().plan(&events)?;
    let start = Instant::now();
    let due = events.into_iter().zip(plan);
    Ok(Box::pin(stream::unfold(due, move |mut due| async move {
        let (event, at) = due.next()?;
        // From the start on, so that no delay adds up. What is due after the end of the clock never comes.
        match start.checked_add(at) {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
        Some((event, due))
    })))
}
