//! nginx's `limit_req`, to the millisecond: for those who move from it and count on its answers.
//!
//! The bucket counts in thousandths of a request and milliseconds, like nginx itself, rounding included: `1r/m` is 16
//! thousandths a second, one each 62.5 s and not each 60 s. That is why this is a compatibility mode and
//! [`Gcra`](crate::Gcra) the default. What it adds to it is *delay*: requests beyond the rate and within the burst are
//! held back so that they leave at the rate. It does not hold them itself: it says for how long.

use std::time::Duration;

use lb_core::Mono;

use crate::decision::{Algorithm, Decision};

/// The rule: nginx's `rate`, `burst` and `delay`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeakyBucket {
    /// Thousandths of a request a second; at least one.
    rate: u64,
    /// Thousandths of a request.
    burst: u64,
    /// Thousandths of a request; at most the burst matters.
    delay: u64,
}

/// The state of one key. Its default is not a full bucket but an unknown key, which nginx lets pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Thousandths of a request above the rate, and the millisecond of the last request that was counted.
    known: Option<(u64, u64)>,
}

/// What nginx would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Shaped {
    /// Send it on after this many milliseconds; zero is at once.
    After {
        /// Milliseconds to hold it back.
        delay_ms: u64,
    },
    /// Reject it; nothing was counted.
    Reject,
}

/// What is above the rate where a whole request is due, as for a key that nginx does not know.
const DUE: i128 = -1_000;
/// A clock that went back by more than a minute is taken to have moved by a millisecond, by less not at all.
const BACKWARDS_MS: u64 = 60_000;

impl LeakyBucket {
    /// `requests` each `scale_s` seconds (1 for `r/s`, 60 for `r/m`), with this burst, delaying all of it. A rate
    /// that nginx would round to nothing becomes one thousandth a second.
    #[must_use]
    pub const fn new(requests: u64, scale_s: u64, burst: u64) -> Self {
        let scale = if scale_s == 0 { 1 } else { scale_s };
        let rate = requests.saturating_mul(1_000) / scale;
        Self { rate: if rate == 0 { 1 } else { rate }, burst: burst.saturating_mul(1_000), delay: 0 }
    }

    /// Lets the first `requests` of the burst go at once and delays the rest (`delay=`).
    #[must_use]
    pub const fn with_delay(self, requests: u64) -> Self {
        Self { delay: requests.saturating_mul(1_000), ..self }
    }

    /// Delays nothing (`nodelay`).
    #[must_use]
    pub const fn without_delay(self) -> Self {
        Self { delay: u64::MAX, ..self }
    }

    /// Decides one request: the answer, and the state to keep.
    pub fn decide(&self, level: Level, now: Mono) -> (Shaped, Level) {
        self.decide_cost(level, 1, now)
    }

    /// As [`decide`](Self::decide) for a request that counts as `cost` requests, which nginx does not have. A cost of zero
    /// passes at once and changes nothing.
    pub fn decide_cost(&self, level: Level, cost: u64, now: Mono) -> (Shaped, Level) {
        if cost == 0 {
            return (Shaped::After { delay_ms: 0 }, level);
        }
        let excess = (self.above_rate(level, now) + i128::from(cost) * 1_000).max(0);
        if excess > i128::from(self.burst) {
            return (Shaped::Reject, level);
        }
        let excess = excess as u64; // at most the burst
        let now = now.as_millis();
        let last = level.known.filter(|(_, last)| elapsed(*last, now) == 0).map_or(now, |(_, last)| last);
        (Shaped::After { delay_ms: self.delay_ms(excess) }, Level { known: Some((excess, last)) })
    }

    /// Thousandths of a request above the rate before one that comes now; below zero, one is due, and no more than one.
    fn above_rate(&self, level: Level, now: Mono) -> i128 {
        let Some((excess, last)) = level.known else { return DUE };
        let leaked = u128::from(self.rate) * u128::from(elapsed(last, now.as_millis())) / 1_000;
        // Both are below 2¹²⁷.
        (i128::from(excess) - leaked as i128).max(DUE)
    }

    /// From `now` until so many thousandths have leaked since the last request that was counted.
    fn until_leaked(&self, level: Level, thousandths: i128, now: Mono) -> Duration {
        let Some((_, last)) = level.known else { return Duration::ZERO };
        let ms = (thousandths.max(0).unsigned_abs() * 1_000).div_ceil(u128::from(self.rate));
        let due = last.saturating_add(u64::try_from(ms).unwrap_or(u64::MAX));
        Mono::from_millis(due).saturating_since(now)
    }

    fn delay_ms(&self, excess: u64) -> u64 {
        let beyond = u128::from(excess.saturating_sub(self.delay));
        u64::try_from(beyond * 1_000 / u128::from(self.rate)).unwrap_or(u64::MAX)
    }
}

fn elapsed(last: u64, now: u64) -> u64 {
    match now.checked_sub(last) {
        Some(elapsed) => elapsed,
        None if last - now > BACKWARDS_MS => 1,
        None => 0,
    }
}

impl Algorithm for LeakyBucket {
    type State = Level;

    fn charge(&self, level: Level, cost: u64, now: Mono) -> (Decision, Level) {
        let (answer, next) = self.decide_cost(level, cost, now);
        let remaining = (i128::from(self.burst) - self.above_rate(next, now)).max(0) / 1_000;
        let remaining = u64::try_from(remaining).unwrap_or(u64::MAX);
        let excess = next.known.map_or(0, |(excess, _)| i128::from(excess));
        let reset = self.until_leaked(next, excess - DUE, now);
        let decision = match answer {
            Shaped::After { delay_ms } => {
                Decision { delay: Duration::from_millis(delay_ms), ..Decision::pass(remaining, reset) }
            }
            Shaped::Reject => {
                let beyond = i128::from(cost) * 1_000 - i128::from(self.burst);
                let is_possible = DUE + beyond <= 0;
                let wait = if is_possible { self.until_leaked(next, excess + beyond, now) } else { Duration::MAX };
                Decision::refuse(wait, remaining, reset)
            }
        };
        (decision, next)
    }

    fn refund(&self, level: Level, cost: u64, _now: Mono) -> Level {
        let Some((excess, last)) = level.known else { return level };
        let excess = i128::from(excess) - i128::from(cost) * 1_000;
        // What is below zero has no place in a level, but for a whole request: that is an unknown key.
        Level { known: (excess > DUE).then_some((excess.max(0) as u64, last)) }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    /// Delays in milliseconds, `None` for a rejection.
    fn run(rule: LeakyBucket, times_ms: &[u64]) -> Vec<Option<u64>> {
        let mut level = Level::default();
        let mut answers = Vec::new();
        for time in times_ms {
            let (answer, next) = rule.decide(level, Mono::from_millis(*time));
            level = next;
            answers.push(match answer {
                Shaped::After { delay_ms } => Some(delay_ms),
                Shaped::Reject => None,
            });
        }
        answers
    }

    #[test]
    fn ten_a_second_with_a_burst_of_five_answers_as_nginx() {
        let times = [0, 0, 0, 0, 0, 0, 0, 0, 100, 150, 200];
        let expected =
            [Some(0), Some(100), Some(200), Some(300), Some(400), Some(500), None, None, Some(500), None, Some(500)];
        assert_eq!(run(LeakyBucket::new(10, 1, 5), &times), expected);
    }

    #[test]
    fn a_delay_of_three_lets_three_of_the_burst_go_at_once() {
        let expected = [Some(0), Some(0), Some(0), Some(0), Some(100), Some(200), None, None];
        assert_eq!(run(LeakyBucket::new(10, 1, 5).with_delay(3), &[0; 8]), expected);
    }

    #[test]
    fn nodelay_holds_nothing_back() {
        let expected = [Some(0), Some(0), Some(0), None];
        assert_eq!(run(LeakyBucket::new(10, 1, 2).without_delay(), &[0; 4]), expected);
    }

    #[test]
    fn one_a_minute_is_one_each_62_5_seconds_as_in_nginx() {
        let rule = LeakyBucket::new(1, 60, 0);
        // 16 thousandths a second: at 62 499 ms 999 have leaked, at 62 500 ms the full thousand.
        assert_eq!(run(rule, &[0, 60_000, 62_499, 62_500]), [Some(0), None, None, Some(0)]);
    }

    #[test]
    fn without_a_burst_the_second_request_is_rejected() {
        assert_eq!(run(LeakyBucket::new(10, 1, 0), &[0, 0, 99, 100]), [Some(0), None, None, Some(0)]);
    }

    #[test]
    fn time_that_goes_back_leaks_nothing() {
        assert_eq!(run(LeakyBucket::new(10, 1, 1), &[5_000, 5_000, 4_000, 0]), [Some(0), Some(100), None, None]);
        // More than a minute back counts as one millisecond, whence the bucket goes on from the new time.
        let rule = LeakyBucket::new(10, 1, 5);
        assert_eq!(run(rule, &[100_000, 0, 100]), [Some(0), Some(99), Some(99)]);
    }

    #[test]
    fn extreme_numbers_do_not_overflow() {
        let rule = LeakyBucket::new(u64::MAX, 0, u64::MAX);
        assert_eq!(run(rule, &[0, 0, u64::MAX / 1_000_000]), [Some(0), Some(0), Some(0)]);
        assert_eq!(run(LeakyBucket::new(0, 60, 1), &[0, 0]), [Some(0), Some(1_000_000)]);
    }

    #[test]
    fn retry_after_is_the_first_millisecond_that_passes() {
        let rule = LeakyBucket::new(10, 1, 5);
        let (mut level, now) = (Level::default(), Mono::from_millis(1_000));
        for left in (0..6).rev() {
            let (decision, next) = rule.charge(level, 1, now);
            assert_eq!(decision.remaining, left);
            level = next;
        }
        // Five above the rate, and one more to be due: 600 ms.
        assert_eq!(rule.peek(&level, 0, now).reset, Duration::from_millis(600));
        for (cost, ms) in [(1, 100), (3, 300), (6, 600)] {
            let wait = rule.peek(&level, cost, now).retry_after().unwrap();
            assert_eq!(wait, Duration::from_millis(ms), "{cost}");
            let due = now.saturating_add(wait);
            assert!(rule.peek(&level, cost, due).is_pass());
            assert!(!rule.peek(&level, cost, due.saturating_sub(Duration::from_nanos(1))).is_pass());
        }
        assert_eq!(rule.peek(&level, 7, now).retry_after(), Some(Duration::MAX));
        assert_eq!(rule.peek(&rule.refund(level, 2, now), 2, now).delay, Duration::from_millis(500));
        assert_eq!(rule.peek(&Level::default(), 6, now).remaining, 0);
    }
}
