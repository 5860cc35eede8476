//! When the next check of an endpoint is due.
//!
//! One interval for all times is wrong at both ends: ten seconds between the three failures that are needed to believe
//! that an endpoint is down cost half a minute of failed requests, and one second for ten thousand healthy endpoints
//! costs more than the traffic. What is unknown or has just changed is asked often, the rest seldom (HAProxy's
//! `fastinter` and `downinter`):
//!
//! | the endpoint                                              | interval        |
//! |-----------------------------------------------------------|-----------------|
//! | is up, and the last check agrees                          | `up`            |
//! | is on its way up or down, or under suspicion              | `in_transition` |
//! | is down for less than `fast_for`, or has just been added  | `in_transition` |
//! | is down for longer                                        | `down`          |
//!
//! An endpoint that starts after the proxy does fails its first checks, which says nothing but that. So until its first
//! success one success is enough: it serves an interval in transition after it is there, not `rise` intervals after.
//!
//! Pure: the caller sleeps until [`Schedule::next_due`], checks, and reports. It decides nothing about places; see
//! [`FairShare`](crate::FairShare).

use std::time::Duration;

use lb_core::Mono;

use crate::check::{Initial, Intervals, RiseFall, Thresholds, Transition};

/// The state of one endpoint by its checks, and its timer. 120 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    machine: RiseFall,
    intervals: Intervals,
    /// When it was added, or went down.
    changed: Mono,
    has_passed: bool,
    /// Until then something else says that it may be down.
    suspected_until: Mono,
    /// When the last check began; `None` before the first.
    began: Option<Mono>,
    due: Mono,
}

impl Schedule {
    /// An endpoint whose first check is due within `spread`, by chance; `entropy` is 64 random bits.
    #[must_use]
    pub fn new(
        thresholds: Thresholds,
        initial: Initial,
        intervals: Intervals,
        spread: Duration,
        now: Mono,
        entropy: u64,
    ) -> Self {
        Self {
            machine: RiseFall::new(thresholds, initial),
            intervals,
            changed: now,
            // That state asks for all of `rise`.
            has_passed: initial == Initial::FullyDown,
            suspected_until: Mono::ZERO,
            began: None,
            due: now.saturating_add(intervals.within(spread, entropy)),
        }
    }

    /// When the next check is due.
    #[must_use]
    pub fn next_due(&self) -> Mono {
        self.due
    }

    /// Whether it serves.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.machine.is_up()
    }

    /// Takes the result of a check that began at `began`; answers what it changed. `entropy` is 64 random bits.
    pub fn on_result(&mut self, passed: bool, began: Mono, now: Mono, entropy: u64) -> Option<Transition> {
        let is_first_success = passed && !self.has_passed;
        self.has_passed |= passed;
        let transition =
            if is_first_success { self.machine.on_first_success() } else { self.machine.on_result(passed) };
        if transition == Some(Transition::Down) {
            self.changed = now;
        }
        self.wait(began, now, entropy);
        transition
    }

    /// The check could not be made, which says nothing about the endpoint: the next one is due as if it agreed.
    pub fn on_void(&mut self, began: Mono, now: Mono, entropy: u64) {
        self.wait(began, now, entropy);
    }

    /// Something else says that the endpoint may be down, or back: failures of real traffic, an ejection, a connection
    /// that broke. For so long checks come as in transition. Brings the next one forward, and never defers it.
    pub fn suspect(&mut self, length: Duration, now: Mono, entropy: u64) {
        self.suspected_until = self.suspected_until.max(now.saturating_add(length));
        let soon = self.intervals.jittered(self.intervals.in_transition, entropy);
        self.due = self.due.min(self.began.unwrap_or(now).saturating_add(soon).max(now));
    }

    /// The same endpoint under another configuration, as a reload needs it: up stays up, and down stays down.
    #[must_use]
    pub fn with(&self, thresholds: Thresholds, intervals: Intervals) -> Self {
        Self { machine: self.machine.with_thresholds(thresholds), intervals, ..self.clone() }
    }

    /// A check that took longer than its interval is followed at once, not by all that it made late.
    fn wait(&mut self, began: Mono, now: Mono, entropy: u64) {
        let first = self.began.is_none();
        self.began = Some(began);
        let interval = self.interval(now);
        // Endpoints that were added together would else be checked in step for ever.
        let interval = if first {
            interval / 2 + self.intervals.within(interval / 2, entropy)
        } else {
            self.intervals.jittered(interval, entropy)
        };
        self.due = began.saturating_add(interval).max(now);
    }

    fn interval(&self, now: Mono) -> Duration {
        let is_new = !self.has_passed || !self.is_up();
        let is_fast = is_new && now.saturating_since(self.changed) < self.intervals.fast_for;
        if !self.machine.is_settled() || is_fast || now < self.suspected_until {
            return self.intervals.in_transition;
        }
        if self.is_up() { self.intervals.up } else { self.intervals.down }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    const INTERVALS: Intervals = Intervals { jitter_percent: 0, ..Intervals::every(Duration::from_secs(10)) };

    fn at(ms: u64) -> Mono {
        Mono::from_millis(ms)
    }

    fn added(initial: Initial) -> Schedule {
        Schedule::new(Thresholds::default(), initial, INTERVALS, Duration::ZERO, Mono::ZERO, 0)
    }

    /// Checks that end in the instant they begin, until so many seconds have passed: times in milliseconds.
    fn run(schedule: &mut Schedule, until: u64, passes: impl Fn(u64) -> bool) -> Vec<(u64, Option<Transition>)> {
        let mut seen = Vec::new();
        while schedule.next_due() < at(until * 1_000) {
            let due = schedule.next_due();
            let ms = due.as_millis();
            seen.push((ms, schedule.on_result(passes(ms), due, due, 0)));
        }
        seen
    }

    fn changes(seen: &[(u64, Option<Transition>)]) -> Vec<(u64, Transition)> {
        seen.iter().filter_map(|(ms, change)| change.map(|change| (*ms, change))).collect()
    }

    #[test]
    fn an_endpoint_that_starts_after_the_proxy_serves_a_second_later() {
        let mut schedule = added(Initial::Up);
        let seen = run(&mut schedule, 60, |ms| ms >= 1_600);
        assert_eq!(changes(&seen), [(0, Transition::Down), (2_500, Transition::Up)]);
        assert_eq!(seen.last().unwrap().0 % 10_000, 2_500, "then each 10 s");
    }

    #[test]
    fn a_failure_is_asked_again_each_second_until_it_is_certain() {
        let mut schedule = added(Initial::Up);
        let seen = run(&mut schedule, 300, |ms| !(100_000..260_000).contains(&ms));
        let changed = changes(&seen);
        assert_eq!(changed.len(), 2);
        let (down, up) = (changed[0].0, changed[1].0);
        assert!((102_000..112_100).contains(&down), "{down}");
        // Down for more than a minute it is asked each 10 s, and then must pass twice.
        assert!((261_000..271_100).contains(&up), "{up}");
        let while_down = |from, to| seen.iter().filter(|(ms, _)| (from..to).contains(ms)).count();
        assert_eq!((while_down(down, down + 60_000), while_down(down + 60_000, down + 120_000)), (60, 6));
    }

    #[test]
    fn a_suspicion_brings_the_next_check_forward_for_a_while() {
        let mut schedule = added(Initial::Up);
        let _ = run(&mut schedule, 31, |_| true);
        assert!(schedule.next_due() > at(31_500));
        schedule.suspect(Duration::from_secs(3), at(31_500), 0);
        assert_eq!(schedule.next_due(), at(31_500), "the last one is more than a second ago");
        let seen: Vec<u64> = run(&mut schedule, 50, |_| true).iter().map(|(ms, _)| *ms).collect();
        assert_eq!(seen, [31_500, 32_500, 33_500, 34_500, 44_500]);
        schedule.suspect(Duration::ZERO, at(54_000), 0);
        assert_eq!(schedule.next_due(), at(54_000));
    }

    #[test]
    fn checks_that_take_longer_than_the_interval_do_not_pile_up() {
        let mut schedule = added(Initial::Up);
        let _ = schedule.on_result(true, at(0), at(25_000), 0);
        assert_eq!(schedule.next_due(), at(25_000));
        schedule.on_void(at(25_000), at(25_001), 0);
        assert_eq!(schedule.next_due(), at(35_000));
        assert!(schedule.is_up());
    }

    #[test]
    fn first_checks_are_spread_and_a_reload_keeps_the_state() {
        let spread = |entropy| {
            let spread = Duration::from_secs(1);
            Schedule::new(Thresholds::default(), Initial::Up, INTERVALS, spread, at(5), entropy).next_due()
        };
        assert_eq!([spread(0), spread(1 << 63)], [Mono::from_nanos(5_000_001), at(505)]);
        assert!(spread(u64::MAX) < at(1_005));
        let mut schedule = added(Initial::Down);
        let again = schedule.with(Thresholds::new(1, 1), INTERVALS);
        assert_eq!((again.is_up(), again.next_due()), (false, schedule.next_due()));
        assert_eq!(schedule.on_result(true, at(0), at(0), 0), Some(Transition::Up), "the first success is enough");
    }
}
