//! A limit on the estimate of a sliding window: two counters for each key.
//!
//! The count is HAProxy's frequency counter ([`Frequency`]), its phase included, but counts only what passes, and without the
//! correction by which a single event is read as one for longer. It assumes that the events of the previous period were
//! spread evenly over it: after a burst at its end up to twice the limit may pass within one period, and less than the limit
//! after a burst at its beginning. [`SlidingLog`](crate::SlidingLog) is exact and needs memory for each request.

use std::time::Duration;

use lb_core::Mono;

use crate::decision::{Algorithm, Decision};
use crate::frequency::Frequency;

/// At most so many requests in the estimate of the last period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingWindow {
    limit: u64,
    period: Duration,
}

impl SlidingWindow {
    /// `limit` requests in a `period` of a nanosecond to 584 years. A limit of zero admits nothing.
    #[must_use]
    pub const fn new(limit: u64, period: Duration) -> Self {
        Self { limit, period }
    }

    fn waiting_time(&self, count: &Frequency, cost: u64, now: Mono) -> Duration {
        let (current, previous, elapsed) = count.parts(now);
        let period = count.period_nanos();
        let left = period - elapsed.min(period);
        let Some(room) = self.limit.checked_sub(cost) else { return Duration::MAX };
        let nanos = match room.checked_sub(current) {
            Some(room) => left - longest_rest(previous, room, period).min(left),
            // Only when the current period is the previous one.
            None => left.saturating_add(period - longest_rest(current, room, period)),
        };
        count.after_state(nanos, now)
    }
}

/// The longest rest of a period during which `previous · rest / period`, rounded down, is at most `room`.
fn longest_rest(previous: u64, room: u64, period: u64) -> u64 {
    if previous <= room {
        return period;
    }
    let beyond = (u128::from(room) + 1) * u128::from(period);
    (beyond.div_ceil(u128::from(previous)) - 1) as u64 // below the period, since `previous` is more than `room`
}

impl Algorithm for SlidingWindow {
    type State = Option<Frequency>;

    fn charge(&self, state: Self::State, cost: u64, now: Mono) -> (Decision, Self::State) {
        let mut count = state.unwrap_or_else(|| Frequency::new(self.period));
        let used = count.estimate(now);
        let passes = cost == 0 || used.checked_add(cost).is_some_and(|used| used <= self.limit);
        if !passes {
            let wait = self.waiting_time(&count, cost, now);
            return (Decision::refuse(wait, self.limit.saturating_sub(used), count.forgotten_after(now)), state);
        }
        if cost > 0 {
            let _ = count.on_events(cost, now);
        }
        let remaining = self.limit.saturating_sub(count.estimate(now));
        (Decision::pass(remaining, count.forgotten_after(now)), Some(count))
    }

    fn refund(&self, state: Self::State, cost: u64, now: Mono) -> Self::State {
        let mut count = state?;
        count.take_back(cost, now);
        Some(count)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono::from_millis(ms)
    }

    /// Ten in ten seconds.
    const RULE: SlidingWindow = SlidingWindow::new(10, Duration::from_secs(10));

    fn after(events: &[(u64, u64)]) -> Option<Frequency> {
        events.iter().fold(None, |state, (ms, cost)| {
            let (decision, state) = RULE.charge(state, *cost, at(*ms));
            assert!(decision.is_pass(), "{cost} at {ms}");
            state
        })
    }

    #[test]
    fn it_counts_what_passes_and_tells_what_is_left() {
        let (decision, state) = RULE.charge(after(&[(3_000, 4)]), 3, at(4_000));
        // The current period began at 3 s; it counts until it has been the previous one.
        assert_eq!((decision.remaining, decision.reset), (3, Duration::from_secs(19)));
        let (refused, same) = RULE.charge(state, 4, at(4_000));
        assert_eq!((refused.remaining, same), (3, state), "a refusal counts nothing");
        assert_eq!(RULE.charge(state, 0, at(4_000)).0.remaining, 3);
        assert_eq!(RULE.peek(&RULE.refund(state, 3, at(4_000)), 1, at(4_000)).remaining, 5);
    }

    #[test]
    fn retry_after_is_the_first_instant_that_passes() {
        // 10 at 3 s, so one more passes when ⌊10 · rest / 10 s⌋ is at most 9: just after 13 s. Five: at most 5, after 17 s.
        let state = after(&[(3_000, 10)]);
        for (cost, ms) in [(1, 13_000), (5, 17_000), (10, 22_000)] {
            let wait = RULE.peek(&state, cost, at(4_000)).retry_after().unwrap();
            assert_eq!(wait, Duration::from_millis(ms - 4_000) + Duration::from_nanos(1), "{cost}");
            let due = at(4_000).saturating_add(wait);
            assert!(RULE.peek(&state, cost, due).is_pass());
            assert!(!RULE.peek(&state, cost, due.saturating_sub(Duration::from_nanos(1))).is_pass());
        }
        // Two periods: 10 at 0 s and 4 at 15 s (5 still count): one more at once, two when 4 count, after 15 s.
        let state = after(&[(0, 10), (15_000, 4)]);
        assert!(RULE.peek(&state, 1, at(15_000)).is_pass());
        assert_eq!(RULE.peek(&state, 2, at(15_000)).retry_after(), Some(Duration::from_nanos(1)));
        assert_eq!(RULE.peek(&state, 11, at(15_000)).retry_after(), Some(Duration::MAX));
    }

    #[test]
    fn extreme_numbers_do_not_overflow() {
        let rule = SlidingWindow::new(u64::MAX, Duration::MAX);
        let (decision, state) = rule.charge(None, u64::MAX, Mono::MAX);
        assert!(decision.is_pass());
        assert!(!rule.charge(state, 1, Mono::ZERO).0.is_pass());
        let nothing = SlidingWindow::new(0, Duration::ZERO);
        assert_eq!(nothing.charge(None, 1, at(5)).0.retry_after(), Some(Duration::MAX));
    }
}
