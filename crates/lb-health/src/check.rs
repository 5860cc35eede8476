//! Active checks: when do probe results make an endpoint up or down, and when is the next probe due.
//!
//! One lost probe must not take an endpoint out, nor one lucky probe bring it back, so that `fall` failures in a row
//! make it down and `rise` successes in a row make it up; a single result of the other kind starts the count anew.
//! (Counting results that do not follow one another is a known fault elsewhere: an endpoint that fails every other
//! probe would flap for ever.) The rule and its one number are HAProxy's:
//!
//! ```text
//!  health   0 ··············· rise − 1 | rise ··········· rise + fall − 1
//!           down, fully        rising  | falling             up, fully
//!
//!  pass: + 1; on reaching `rise`, or anywhere above it, straight to the top
//!  fail: − 1; on leaving `rise` downwards, or anywhere below it, straight to the bottom
//! ```
//!
//! This decides nothing else: not what counts as a pass, nor whether traffic flows when everything is down.

use std::time::Duration;

use crate::jitter::{part, span_of};

/// What a probe changed. Each is told once, when it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Transition {
    /// It serves again.
    Up,
    /// It no longer serves.
    Down,
}

/// What is believed of an endpoint before its first probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Initial {
    /// Up, and stays so through `fall − 1` failures.
    FullyUp,
    /// Up, until the first probe says otherwise. The default: traffic flows at once, and a dead endpoint is known
    /// after one probe.
    #[default]
    Up,
    /// Down, until the first probe says otherwise.
    Down,
    /// Down, and needs all `rise` successes.
    FullyDown,
}

/// How many results in a row change the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Thresholds {
    rise: u16,
    fall: u16,
}

impl Thresholds {
    /// `rise` successes make it up, `fall` failures make it down; zero is taken as one.
    #[must_use]
    pub const fn new(rise: u16, fall: u16) -> Self {
        Self { rise: if rise == 0 { 1 } else { rise }, fall: if fall == 0 { 1 } else { fall } }
    }
}

impl Default for Thresholds {
    /// Two up, three down: HAProxy's.
    fn default() -> Self {
        Self::new(2, 3)
    }
}

/// The rise and fall of one endpoint. Pure; 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RiseFall {
    thresholds: Thresholds,
    /// At most `rise + fall − 1`, which has 17 bits.
    health: u32,
}

impl RiseFall {
    /// An endpoint before its first probe.
    #[must_use]
    pub fn new(thresholds: Thresholds, initial: Initial) -> Self {
        let (rise, top) = (u32::from(thresholds.rise), top(thresholds));
        let health = match initial {
            Initial::FullyUp => top,
            Initial::Up => rise,
            Initial::Down => rise - 1,
            Initial::FullyDown => 0,
        };
        Self { thresholds, health }
    }

    /// Takes the result of a probe; tells what it changed.
    pub fn on_result(&mut self, passed: bool) -> Option<Transition> {
        let was_up = self.is_up();
        let rise = u32::from(self.thresholds.rise);
        self.health = match (passed, self.health) {
            (true, health) if health + 1 >= rise => top(self.thresholds),
            (true, health) => health + 1,
            (false, health) if health > rise => health - 1,
            (false, _) => 0,
        };
        match (was_up, self.is_up()) {
            (false, true) => Some(Transition::Up),
            (true, false) => Some(Transition::Down),
            _ => None,
        }
    }

    /// Takes the first result that passed at all: it makes the endpoint up by itself, since what failed before was only
    /// that it was not there yet.
    pub fn on_first_success(&mut self) -> Option<Transition> {
        let was_up = self.is_up();
        self.health = top(self.thresholds);
        (!was_up).then_some(Transition::Up)
    }

    /// As all but the last of the failures that make it down; nothing if it has as many already.
    pub(crate) fn on_failures_but_one(&mut self) -> Option<Transition> {
        self.health = self.health.min(u32::from(self.thresholds.rise) + 1);
        self.on_result(false)
    }

    /// As all the failures that make it down.
    pub(crate) fn mark_down(&mut self) -> Option<Transition> {
        self.health = self.health.min(u32::from(self.thresholds.rise));
        self.on_result(false)
    }

    /// Whether it serves.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.health >= self.thresholds.rise as u32
    }

    /// Whether the last results agree with the state. If not, it is on its way to the other one.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.health == 0 || self.health == top(self.thresholds)
    }

    /// The same state under other thresholds, as a reload needs it: up stays up, down stays down, and what was on its
    /// way begins its count anew.
    #[must_use]
    pub fn with_thresholds(&self, thresholds: Thresholds) -> Self {
        if thresholds == self.thresholds {
            return *self;
        }
        Self { thresholds, health: if self.is_up() { top(thresholds) } else { 0 } }
    }
}

const fn top(thresholds: Thresholds) -> u32 {
    thresholds.rise as u32 + thresholds.fall as u32 - 1
}

/// How often to probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// While it is fully up; default 10 s.
    pub up: Duration,
    /// While it is on its way up or down, or something else casts doubt on it; default 1 s, or `up` if that is less.
    pub in_transition: Duration,
    /// While it is fully down; default as `up`.
    pub down: Duration,
    /// For so long after it was added or went down, checks come as in transition; default 60 s.
    pub fast_for: Duration,
    /// Shift each interval by up to so many hundredths of itself, earlier or later, so that probes of many endpoints
    /// and many proxies do not fall into step; default 10, at most 50.
    pub jitter_percent: u8,
}

impl Intervals {
    /// This interval while nothing changes, and the defaults.
    #[must_use]
    pub const fn every(interval: Duration) -> Self {
        let second = Duration::from_secs(1);
        let in_transition = if interval.as_nanos() < second.as_nanos() { interval } else { second };
        Self { up: interval, in_transition, down: interval, fast_for: Duration::from_secs(60), jitter_percent: 10 }
    }

    /// This interval with its jitter; never zero. `entropy` is 64 random bits.
    #[must_use]
    pub fn jittered(&self, interval: Duration, entropy: u64) -> Duration {
        let nanos = interval.as_nanos();
        let spread = nanos * u128::from(self.jitter_percent.min(50)) / 100;
        non_zero(nanos - spread + part(2 * spread, entropy))
    }

    /// A part of this span, by chance, and no more than `up`; never zero. A thousand endpoints are not to be checked in one
    /// instant.
    #[must_use]
    pub fn within(&self, span: Duration, entropy: u64) -> Duration {
        non_zero(part(span.min(self.up).as_nanos(), entropy))
    }
}

impl Default for Intervals {
    fn default() -> Self {
        Self::every(Duration::from_secs(10))
    }
}

fn non_zero(nanos: u128) -> Duration {
    span_of(nanos.clamp(1, Duration::MAX.as_nanos()))
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn run(machine: &mut RiseFall, results: &str) -> Vec<Option<Transition>> {
        results.chars().map(|result| machine.on_result(result == '+')).collect()
    }

    #[test]
    fn two_up_and_three_down_in_a_row() {
        let mut machine = RiseFall::new(Thresholds::default(), Initial::FullyUp);
        assert_eq!(run(&mut machine, "---"), [None, None, Some(Transition::Down)]);
        assert_eq!(run(&mut machine, "-++"), [None, None, Some(Transition::Up)]);
        assert!(machine.is_settled());
    }

    #[test]
    fn results_that_do_not_follow_one_another_do_not_add_up() {
        let mut machine = RiseFall::new(Thresholds::default(), Initial::FullyUp);
        assert_eq!(run(&mut machine, "--+--+--+"), [None; 9]);
        assert!(machine.is_up());
        let _ = run(&mut machine, "---");
        assert_eq!(run(&mut machine, "+-+-+-"), [None; 6]);
        assert!(!machine.is_up());
    }

    #[test]
    fn the_first_probe_decides_unless_told_otherwise() {
        let first = |initial, passed| RiseFall::new(Thresholds::default(), initial).on_result(passed);
        assert_eq!(first(Initial::Up, false), Some(Transition::Down));
        assert_eq!(first(Initial::Up, true), None);
        assert_eq!(first(Initial::Down, true), Some(Transition::Up));
        assert_eq!(first(Initial::Down, false), None);
        assert_eq!(first(Initial::FullyUp, false), None);
        assert_eq!(first(Initial::FullyDown, true), None);
    }

    #[test]
    fn the_state_before_any_probe_is_the_one_asked_for() {
        for (initial, up) in
            [(Initial::FullyUp, true), (Initial::Up, true), (Initial::Down, false), (Initial::FullyDown, false)]
        {
            assert_eq!(RiseFall::new(Thresholds::new(1, 1), initial).is_up(), up, "{initial:?}");
            assert_eq!(RiseFall::new(Thresholds::new(5, 7), initial).is_up(), up, "{initial:?}");
        }
    }

    #[test]
    fn with_thresholds_of_one_or_zero_every_change_is_a_transition() {
        for thresholds in [Thresholds::new(1, 1), Thresholds::new(0, 0)] {
            let mut machine = RiseFall::new(thresholds, Initial::Up);
            let expected = [Some(Transition::Down), None, Some(Transition::Up), None, Some(Transition::Down)];
            assert_eq!(run(&mut machine, "--++-"), expected);
        }
    }

    #[test]
    fn the_largest_thresholds_do_not_overflow() {
        let mut machine = RiseFall::new(Thresholds::new(u16::MAX, u16::MAX), Initial::FullyUp);
        for _ in 1..u16::MAX {
            assert_eq!(machine.on_result(false), None);
        }
        assert_eq!(machine.on_result(false), Some(Transition::Down));
    }

    #[test]
    fn a_reload_changes_thresholds_but_not_the_state() {
        let mut machine = RiseFall::new(Thresholds::default(), Initial::FullyUp);
        let _ = run(&mut machine, "--");
        let mut same = machine.with_thresholds(Thresholds::default());
        assert_eq!(same.on_result(false), Some(Transition::Down));
        let mut stricter = machine.with_thresholds(Thresholds::new(1, 2));
        assert_eq!(run(&mut stricter, "--"), [None, Some(Transition::Down)]);
        assert!(!stricter.with_thresholds(Thresholds::new(9, 9)).is_up());
    }

    #[test]
    fn jitter_spreads_to_both_sides_and_no_further() {
        let intervals = Intervals::every(Duration::from_secs(10));
        let wait = |entropy| intervals.jittered(intervals.up, entropy);
        assert_eq!(wait(0), Duration::from_secs(9));
        assert_eq!(wait(1 << 63), Duration::from_secs(10));
        assert!(wait(u64::MAX) < Duration::from_secs(11) && wait(u64::MAX) > Duration::from_millis(10_999));
        assert_eq!(intervals.within(Duration::MAX, 1 << 62), Duration::from_millis(2_500));
        assert!(intervals.within(Duration::from_secs(1), u64::MAX) < Duration::from_secs(1));
    }

    #[test]
    fn extreme_intervals_neither_overflow_nor_spin() {
        let zero = Intervals { jitter_percent: 255, ..Intervals::every(Duration::ZERO) };
        assert!(zero.jittered(zero.up, 0) > Duration::ZERO && zero.within(zero.up, 0) > Duration::ZERO);
        let endless = Intervals { jitter_percent: 255, ..Intervals::every(Duration::MAX) };
        assert_eq!(endless.jittered(endless.up, u64::MAX), Duration::MAX);
        assert!(endless.jittered(endless.up, 0) >= Duration::MAX / 2 - Duration::from_secs(1));
    }
}
