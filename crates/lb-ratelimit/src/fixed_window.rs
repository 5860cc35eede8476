//! So many requests in each fixed period: one counter for each key.
//!
//! The simplest rule, and the one that users of an API can compute themselves: the count starts at zero with each period.
//! Its price is the edge: a client that sends at the end of one period and at the beginning of the next gets
//! twice the limit within a short time. Periods begin at multiples of their length since the clock's origin, for all keys at once,
//! as in envoyproxy/ratelimit.

use std::time::Duration;

use lb_core::Mono;

use crate::decision::{Algorithm, Decision};

/// At most so many requests in each period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedWindow {
    limit: u64,
    period_nanos: u64,
}

/// The count of one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowCount {
    /// Number of the period.
    period: u64,
    count: u64,
}

impl WindowCount {
    pub(crate) const fn of_parts(period: u64, count: u64) -> Self {
        Self { period, count }
    }

    pub(crate) const fn into_parts(self) -> (u64, u64) {
        (self.period, self.count)
    }
}

impl FixedWindow {
    /// `limit` requests in each `period` of a nanosecond to 584 years. A limit of zero admits nothing.
    #[must_use]
    pub fn new(limit: u64, period: Duration) -> Self {
        Self { limit, period_nanos: u64::try_from(period.as_nanos()).unwrap_or(u64::MAX).max(1) }
    }

    /// The count at this time. Where time went back, the latest period there was goes on.
    fn moved_to(&self, state: WindowCount, now: Mono) -> WindowCount {
        let period = now.as_nanos() / self.period_nanos;
        if period > state.period { WindowCount { period, count: 0 } } else { state }
    }

    fn left(&self, state: WindowCount, now: Mono) -> Duration {
        let end = state.period.saturating_add(1).saturating_mul(self.period_nanos);
        Mono::from_nanos(end).saturating_since(now)
    }
}

impl Algorithm for FixedWindow {
    type State = WindowCount;

    fn charge(&self, state: WindowCount, cost: u64, now: Mono) -> (Decision, WindowCount) {
        let state = self.moved_to(state, now);
        let left = self.left(state, now);
        match state.count.checked_add(cost).filter(|count| cost == 0 || *count <= self.limit) {
            Some(count) => {
                let reset = if count > 0 { left } else { Duration::ZERO };
                (Decision::pass(self.limit.saturating_sub(count), reset), WindowCount { count, ..state })
            }
            None => {
                let wait = if cost > self.limit { Duration::MAX } else { left };
                (Decision::refuse(wait, self.limit.saturating_sub(state.count), left), state)
            }
        }
    }

    fn refund(&self, state: WindowCount, cost: u64, now: Mono) -> WindowCount {
        let state = self.moved_to(state, now);
        WindowCount { count: state.count.saturating_sub(cost), ..state }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono::from_millis(ms)
    }

    #[test]
    fn each_period_has_its_own_count() {
        let rule = FixedWindow::new(3, Duration::from_secs(10));
        let (first, state) = rule.charge(WindowCount::default(), 2, at(14_000));
        assert_eq!((first.remaining, first.reset), (1, Duration::from_secs(6)));
        let (refused, state) = rule.charge(state, 2, at(15_000));
        assert_eq!((refused.retry_after(), refused.remaining), (Some(Duration::from_secs(5)), 1));
        assert!(rule.peek(&state, 3, at(20_000)).is_pass(), "twice the limit, across the edge");
        assert_eq!(rule.peek(&state, 4, at(20_000)).retry_after(), Some(Duration::MAX));
        assert_eq!(rule.peek(&rule.refund(state, 2, at(15_000)), 3, at(15_000)).remaining, 0);
    }

    #[test]
    fn time_that_goes_back_gives_nothing_and_extremes_do_not_overflow() {
        let rule = FixedWindow::new(1, Duration::from_secs(10));
        let (_, state) = rule.charge(WindowCount::default(), 1, at(14_000));
        assert_eq!(rule.charge(state, 1, at(3_000)).0.retry_after(), Some(Duration::from_secs(17)));
        let rule = FixedWindow::new(u64::MAX, Duration::ZERO);
        let (_, state) = rule.charge(WindowCount::default(), u64::MAX, Mono::MAX);
        assert_eq!(rule.charge(state, 1, Mono::MAX).0.retry_after(), Some(Duration::from_nanos(1)));
        assert!(!FixedWindow::new(0, Duration::MAX).charge(WindowCount::default(), 1, Mono::MAX).0.is_pass());
    }
}
