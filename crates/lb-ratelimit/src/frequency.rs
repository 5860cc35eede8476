//! Events in the last so many seconds: what HAProxy's stick-tables call `http_req_rate(10s)`.
//!
//! A count for each fixed period lets twice the limit through across its edge. This one keeps two periods and takes
//! from the older one the part that still lies within:
//!
//! ```text
//!      previous              current
//!  |--------------------|--------------|·····|
//!                 [······· one period ·······]  now        rate = previous · remaining / period + current
//! ```
//!
//! It assumes that the previous period's events were spread evenly over it, and is off by at most those if they were
//! not. For a limit that is exact use [`Gcra`](crate::Gcra); this is for those who move from stick-tables and count on
//! their numbers. HAProxy counts what it then denies as well, and so does a caller who asks `on_event(now) > limit`.

use std::time::Duration;

use lb_core::Mono;

/// A rate over a sliding period, in 32 bytes. Periods begin at multiples of their length since the clock's origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frequency {
    period_nanos: u64,
    /// Number of the current period.
    index: u64,
    current: u64,
    previous: u64,
}

impl Frequency {
    /// Counts over this period: a nanosecond to 584 years; zero is taken as a nanosecond.
    #[must_use]
    pub fn new(period: Duration) -> Self {
        let period_nanos = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX).max(1);
        Self { period_nanos, index: 0, current: 0, previous: 0 }
    }

    /// Counts one event; tells how many there were in the last period, this one included.
    pub fn on_event(&mut self, now: Mono) -> u64 {
        *self = self.moved_to(now);
        self.current = self.current.saturating_add(1);
        self.rate(now)
    }

    /// How many events there were in the last period, rounded down.
    #[must_use]
    pub fn rate(&self, now: Mono) -> u64 {
        let state = self.moved_to(now);
        let passed = now.as_nanos().saturating_sub(state.index.saturating_mul(self.period_nanos));
        let remaining = self.period_nanos - passed.min(self.period_nanos);
        let older = u128::from(state.previous) * u128::from(remaining) / u128::from(self.period_nanos);
        state.current.saturating_add(older as u64) // not above `previous`
    }

    /// The same counts at a later time. An earlier one is the beginning of the current period.
    fn moved_to(&self, now: Mono) -> Self {
        let index = now.as_nanos() / self.period_nanos;
        match index.checked_sub(self.index) {
            None | Some(0) => *self,
            Some(1) => Self { index, current: 0, previous: self.current, ..*self },
            Some(_) => Self { index, current: 0, previous: 0, ..*self },
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono::from_millis(ms)
    }

    fn ten_seconds(events_at_ms: &[u64]) -> Frequency {
        let mut frequency = Frequency::new(Duration::from_secs(10));
        for ms in events_at_ms {
            let _ = frequency.on_event(at(*ms));
        }
        frequency
    }

    #[test]
    fn what_the_older_period_gives_fades_evenly() {
        let frequency = ten_seconds(&[1_000; 100]);
        let rates: Vec<u64> = [9_999, 10_000, 12_500, 15_000, 19_900, 19_999, 20_000, 90_000]
            .iter()
            .map(|ms| frequency.rate(at(*ms)))
            .collect();
        assert_eq!(rates, [100, 100, 75, 50, 1, 0, 0, 0]);
    }

    #[test]
    fn the_current_period_counts_in_full() {
        let mut frequency = ten_seconds(&[9_000; 10]);
        assert_eq!(frequency.on_event(at(15_000)), 6);
        assert_eq!(frequency.on_event(at(15_000)), 7);
        assert_eq!(frequency.rate(at(20_000)), 2);
    }

    #[test]
    fn the_edge_of_a_period_does_not_double_a_limit() {
        let mut frequency = ten_seconds(&[]);
        let mut admitted = 0;
        for ms in [9_999, 10_000] {
            for _ in 0..100 {
                if frequency.rate(at(ms)) < 10 {
                    let _ = frequency.on_event(at(ms));
                    admitted += 1;
                }
            }
        }
        assert_eq!(admitted, 10);
    }

    #[test]
    fn a_missed_period_forgets_both() {
        assert_eq!(ten_seconds(&[5_000, 5_000]).rate(at(25_000)), 0);
        assert_eq!(ten_seconds(&[]).rate(at(0)), 0);
    }

    #[test]
    fn time_that_goes_back_forgets_nothing() {
        let mut frequency = ten_seconds(&[5_000, 15_000, 15_000]);
        assert_eq!(frequency.rate(at(15_000)), 2);
        assert_eq!(frequency.rate(at(3_000)), 3);
        assert_eq!(frequency.on_event(at(3_000)), 4);
    }

    #[test]
    fn extreme_periods_and_times_do_not_overflow() {
        let mut shortest = Frequency::new(Duration::ZERO);
        assert_eq!(shortest.on_event(Mono::MAX), 1);
        let mut longest = Frequency::new(Duration::MAX);
        assert_eq!(longest.on_event(at(0)), 1);
        assert_eq!(longest.on_event(Mono::MAX), 2);
        let full = Frequency { period_nanos: 7, index: 0, current: u64::MAX, previous: u64::MAX };
        assert_eq!(full.rate(Mono::ZERO), u64::MAX);
    }
}
