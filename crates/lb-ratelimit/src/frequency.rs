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
//! not. For a limit that is exact use [`Gcra`](crate::Gcra) or [`SlidingLog`](crate::SlidingLog); this is for those who
//! move from stick-tables and count on their numbers. HAProxy counts what it then denies as well, and so does a caller that
//! asks `on_event(now) > limit`; [`SlidingWindow`](crate::SlidingWindow) counts only what passes.
//!
//! As in HAProxy, a key's periods begin with its first event, and the next period begins where the last one ended unless
//! the key was idle for two of them; then a period begins with the next event. Were they the same for all keys, keys
//! whose events come together would be counted differently by where they fall in a period. And as in HAProxy, a single event is
//! read as one until two periods have passed, rather than as zero in the second one. Where times are whole milliseconds, the
//! numbers are HAProxy's.

use std::time::Duration;

use lb_core::Mono;

/// A rate over a sliding period, in 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frequency {
    period_nanos: u64,
    /// When the current period began; none before the first event.
    began: Option<u64>,
    current: u64,
    previous: u64,
}

impl Frequency {
    /// Counts over this period: a nanosecond to 584 years; zero is taken as a nanosecond.
    #[must_use]
    pub fn new(period: Duration) -> Self {
        let period_nanos = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX).max(1);
        Self { period_nanos, began: None, current: 0, previous: 0 }
    }

    /// As [`into_parts`](Self::into_parts) took it apart.
    pub(crate) const fn of_parts(period_nanos: u64, began: u64, current: u64, previous: u64) -> Self {
        Self { period_nanos, began: Some(began), current, previous }
    }

    /// When its current period began, and the events of it and of the previous one; nothing if there were none.
    pub(crate) fn into_parts(self) -> Option<(u64, u64, u64)> {
        Some((self.began?, self.current, self.previous))
    }

    /// Counts one event; tells how many there were in the last period, this one included.
    pub fn on_event(&mut self, now: Mono) -> u64 {
        self.on_events(1, now)
    }

    /// Counts so many events at once; tells how many there were in the last period, these included.
    pub fn on_events(&mut self, events: u64, now: Mono) -> u64 {
        *self = self.moved_to(now);
        self.began.get_or_insert(now.as_nanos());
        self.current = self.current.saturating_add(events);
        self.rate(now)
    }

    /// How many events there were in the last period, rounded down, but for a single one.
    #[must_use]
    pub fn rate(&self, now: Mono) -> u64 {
        let state = self.moved_to(now);
        if state.current == 0 && state.previous <= 1 {
            return state.previous;
        }
        state.estimate(now)
    }

    /// The rate without the correction for a single event.
    pub(crate) fn estimate(&self, now: Mono) -> u64 {
        let (current, previous, elapsed) = self.parts(now);
        let remaining = self.period_nanos - elapsed.min(self.period_nanos);
        let older = u128::from(previous) * u128::from(remaining) / u128::from(self.period_nanos);
        current.saturating_add(older as u64) // not above `previous`
    }

    /// How long until no event counts any more, if there are no others.
    pub(crate) fn forgotten_after(&self, now: Mono) -> Duration {
        let (current, previous, elapsed) = self.parts(now);
        let left = self.period_nanos - elapsed.min(self.period_nanos);
        match (current, previous) {
            (0, 0) => Duration::ZERO,
            (0, _) => self.after_state(left, now),
            _ => self.after_state(left.saturating_add(self.period_nanos), now),
        }
    }

    /// The events of the current period and of the previous one, and the nanoseconds since the current one began.
    pub(crate) fn parts(&self, now: Mono) -> (u64, u64, u64) {
        let state = self.moved_to(now);
        (state.current, state.previous, state.elapsed(now))
    }

    /// A time that counts from where the state is, which is ahead of a clock that went back.
    pub(crate) fn after_state(&self, nanos: u64, now: Mono) -> Duration {
        let ahead = self.began.unwrap_or_default().saturating_sub(now.as_nanos());
        Duration::from_nanos(nanos.saturating_add(ahead))
    }

    pub(crate) const fn period_nanos(&self) -> u64 {
        self.period_nanos
    }

    pub(crate) fn take_back(&mut self, events: u64, now: Mono) {
        *self = self.moved_to(now);
        let older = events.saturating_sub(self.current);
        self.current = self.current.saturating_sub(events);
        self.previous = self.previous.saturating_sub(older);
    }

    fn elapsed(&self, now: Mono) -> u64 {
        now.as_nanos().saturating_sub(self.began.unwrap_or(now.as_nanos()))
    }

    /// The same counts at a later time. An earlier one is the beginning of the current period.
    fn moved_to(&self, now: Mono) -> Self {
        let elapsed = self.elapsed(now);
        match elapsed / self.period_nanos {
            0 => *self,
            1 => {
                let began = self.began.map(|began| began.saturating_add(self.period_nanos));
                Self { began, current: 0, previous: self.current, ..*self }
            }
            _ => Self { began: None, current: 0, previous: 0, ..*self },
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

    fn rates<const N: usize>(frequency: &Frequency, ms: [u64; N]) -> [u64; N] {
        ms.map(|ms| frequency.rate(at(ms)))
    }

    #[test]
    fn what_the_older_period_gives_fades_evenly() {
        let frequency = ten_seconds(&[1_000; 100]);
        let times = [10_999, 11_000, 13_500, 16_000, 20_900, 20_999, 21_000, 90_000];
        assert_eq!(rates(&frequency, times), [100, 100, 75, 50, 1, 0, 0, 0]);
    }

    #[test]
    fn the_current_period_counts_in_full() {
        let mut frequency = ten_seconds(&[9_000; 10]);
        assert_eq!(frequency.on_event(at(24_000)), 6);
        assert_eq!(frequency.on_event(at(24_000)), 7);
        assert_eq!(frequency.rate(at(29_000)), 2);
    }

    #[test]
    fn eleven_events_within_a_period_are_eleven_at_every_phase_of_the_clock() {
        for phase in 0..20 {
            let start = 100_000 + phase * 500;
            let events: Vec<u64> = (0..11).map(|n| start + n * 105).collect();
            assert_eq!(ten_seconds(&events).rate(at(start + 1_050)), 11, "phase {phase}");
        }
    }

    #[test]
    fn the_edge_of_a_period_does_not_double_a_limit() {
        let mut frequency = ten_seconds(&[0]);
        let mut admitted = 1;
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
    fn a_period_begins_where_the_last_one_ended_or_after_two_idle_ones_with_the_event() {
        let frequency = ten_seconds(&[5_000, 16_000, 16_000, 16_000]);
        // Periods begin at 5 s, 15 s and 25 s.
        assert_eq!(rates(&frequency, [16_000, 20_000, 25_000, 30_000]), [3, 3, 3, 1]);
        let frequency = ten_seconds(&[5_000, 25_000, 25_000, 25_000, 25_000]);
        assert_eq!(rates(&frequency, [25_000, 35_000, 40_000]), [4, 4, 2]);
    }

    #[test]
    fn a_single_event_is_one_until_two_periods_have_passed() {
        assert_eq!(rates(&ten_seconds(&[1_000]), [1_000, 11_001, 20_999, 21_001]), [1, 1, 1, 0]);
        assert_eq!(rates(&ten_seconds(&[1_000, 1_000]), [11_001, 15_999, 16_001, 20_999]), [1, 1, 0, 0]);
    }

    #[test]
    fn a_missed_period_forgets_both() {
        assert_eq!(ten_seconds(&[5_000, 5_000]).rate(at(25_000)), 0);
        assert_eq!(ten_seconds(&[]).rate(at(0)), 0);
    }

    #[test]
    fn time_that_goes_back_forgets_nothing() {
        let mut frequency = ten_seconds(&[5_000, 15_000, 15_000]);
        assert_eq!(frequency.rate(at(15_000)), 3);
        assert_eq!(frequency.rate(at(3_000)), 3);
        assert_eq!(frequency.on_event(at(3_000)), 4);
    }

    #[test]
    fn what_is_taken_back_leaves_the_current_period_first() {
        let mut frequency = ten_seconds(&[5_000, 5_000, 5_000, 15_000, 15_000]);
        frequency.take_back(3, at(15_000));
        assert_eq!(frequency.parts(at(15_000)), (0, 2, 0));
        frequency.take_back(9, at(15_000));
        assert_eq!(frequency.rate(at(15_000)), 0);
    }

    #[test]
    fn extreme_periods_and_times_do_not_overflow() {
        let mut shortest = Frequency::new(Duration::ZERO);
        assert_eq!(shortest.on_event(Mono::MAX), 1);
        let mut longest = Frequency::new(Duration::MAX);
        assert_eq!(longest.on_event(at(0)), 1);
        assert_eq!(longest.on_event(Mono::MAX), 2);
        let full = Frequency { period_nanos: 7, began: Some(0), current: u64::MAX, previous: u64::MAX };
        assert_eq!(full.rate(Mono::ZERO), u64::MAX);
    }
}
