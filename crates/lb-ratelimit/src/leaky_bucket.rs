//! nginx's `limit_req`, to the millisecond: for those who move from it and count on its answers.
//!
//! The bucket counts in thousandths of a request and milliseconds, like nginx itself, rounding included: `1r/m` is 16
//! thousandths a second, one each 62.5 s and not each 60 s. That is why this is a compatibility mode and
//! [`Gcra`](crate::Gcra) the default. What it adds to it is *delay*: requests beyond the rate and within the burst are
//! held back so that they leave at the rate. It does not hold them itself: it says for how long.

use lb_core::Mono;

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
        let now = now.as_millis();
        let Some((excess, last)) = level.known else {
            return (Shaped::After { delay_ms: 0 }, Level { known: Some((0, now)) });
        };
        let elapsed = match now.checked_sub(last) {
            Some(elapsed) => elapsed,
            None if last - now > BACKWARDS_MS => 1,
            None => 0,
        };
        let leaked = u128::from(self.rate) * u128::from(elapsed) / 1_000;
        let excess = (u128::from(excess) + 1_000).saturating_sub(leaked);
        if excess > u128::from(self.burst) {
            return (Shaped::Reject, level);
        }
        let excess = excess as u64; // at most the burst
        let last = if elapsed == 0 { last } else { now };
        (Shaped::After { delay_ms: self.delay_ms(excess) }, Level { known: Some((excess, last)) })
    }

    fn delay_ms(&self, excess: u64) -> u64 {
        let beyond = u128::from(excess.saturating_sub(self.delay));
        u64::try_from(beyond * 1_000 / u128::from(self.rate)).unwrap_or(u64::MAX)
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
}
