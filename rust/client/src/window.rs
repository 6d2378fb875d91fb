//! How much happened in the last minute.

use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);
/// What comes within so long of the first of a slot is counted in that slot.
const SLOT: Duration = Duration::from_secs(1);

/// A sliding minute, in at most 62 slots whatever passes. A slot counts until its youngest entry is a minute old: so
/// no minute ever holds more than was allowed, and a crowded slot gives its room back at most a second late.
#[derive(Debug, Default)]
pub(crate) struct Window {
    slots: VecDeque<Slot>,
    sum: u64,
}

#[derive(Debug)]
struct Slot {
    first: Instant,
    last: Instant,
    amount: u64,
}

impl Window {
    /// Counts `amount` now.
    pub(crate) fn add(&mut self, amount: u64, now: Instant) {
        self.sum = self.sum.saturating_add(amount);
        match self.slots.back_mut() {
            Some(slot) if now < slot.first + SLOT => {
                slot.last = now.max(slot.last);
                slot.amount = slot.amount.saturating_add(amount);
            }
            _ => self.slots.push_back(Slot {
                first: now,
                last: now,
                amount,
            }),
        }
    }

    /// Takes back `amount` of what was counted, the youngest first.
    pub(crate) fn take_back(&mut self, mut amount: u64) {
        for slot in self.slots.iter_mut().rev() {
            let taken = amount.min(slot.amount);
            slot.amount -= taken;
            self.sum -= taken;
            amount -= taken;
        }
    }

    /// When `amount` more fits under `limit`; `None` if it fits now. More than the limit fits when nothing else is
    /// there: it could never pass otherwise.
    pub(crate) fn fits_at(&mut self, amount: u64, limit: u64, now: Instant) -> Option<Instant> {
        while let Some(slot) = self.slots.front()
            && now >= slot.last + MINUTE
        {
            self.sum = self.sum.saturating_sub(slot.amount);
            self.slots.pop_front();
        }
        let room = limit.saturating_sub(amount.min(limit));
        let mut left = self.sum;
        if left <= room {
            return None;
        }
        for slot in &self.slots {
            left = left.saturating_sub(slot.amount);
            if left <= room {
                return Some(slot.last + MINUTE);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn no_minute_holds_more_than_the_limit() {
        let start = Instant::now();
        let mut window = Window::default();
        let mut passed = Vec::new();
        let mut now = start;
        // Somebody who always asks for one more, as soon as it may be.
        while passed.len() < 200 {
            match window.fits_at(1, 7, now) {
                None => {
                    window.add(1, now);
                    passed.push(now);
                    now += Duration::from_millis(130);
                }
                Some(at) => {
                    assert!(at > now, "no busy loop");
                    now = at;
                }
            }
        }
        for eight in passed.windows(8) {
            assert!(eight[7] - eight[0] >= MINUTE, "eight calls within a minute");
        }
        // Seven a minute, but for the second that a slot may be late.
        let whole = *passed.last().unwrap() - start;
        assert!(whole <= Duration::from_secs(61 * 200 / 7), "{whole:?}");
    }

    #[test]
    fn slots_are_few_however_much_passes() {
        let start = Instant::now();
        let mut window = Window::default();
        for at in 0..100_000_u32 {
            let now = start + Duration::from_millis(10) * at;
            window.fits_at(1, u64::MAX, now);
            window.add(1, now);
        }
        assert!(window.slots.len() <= 62, "{}", window.slots.len());
    }

    #[test]
    fn what_is_taken_back_makes_room_and_what_is_too_large_passes_alone() {
        let start = Instant::now();
        let mut window = Window::default();
        window.add(90, start);
        assert_eq!(window.fits_at(20, 100, start), Some(after(start, 60.0)));
        window.take_back(10);
        assert_eq!(window.fits_at(20, 100, start), None);
        window.take_back(1000);
        assert_eq!(window.fits_at(500, 100, start), None, "alone");
        window.add(500, start);
        assert_eq!(window.fits_at(500, 100, start), Some(after(start, 60.0)));
        assert_eq!(window.fits_at(500, 100, after(start, 60.0)), None);
    }
}
