//! So many requests in any period, exactly: the time of each request that passed.
//!
//! The definition itself, and so the yardstick for the others. It costs memory for each request that counts, at most
//! `limit` times 16 bytes a key, which is why it is not what millions of keys are limited by.

use std::collections::VecDeque;
use std::time::Duration;

use lb_core::Mono;

use crate::decision::{Algorithm, Decision};

/// At most so many requests in any period, wherever it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingLog {
    limit: u64,
    period: Duration,
}

/// The requests of one key that still count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Time and cost, oldest first.
    requests: VecDeque<(Mono, u64)>,
    used: u64,
    /// The latest time there was: what was forgotten by then does not count again.
    latest: Mono,
}

impl Log {
    fn forget_until(&mut self, end: impl Fn(Mono) -> bool) {
        while let Some(&(at, cost)) = self.requests.front()
            && end(at)
        {
            self.requests.pop_front();
            self.used -= cost;
        }
    }
}

impl SlidingLog {
    /// `limit` requests in any `period`: a request counts until it is `period` old. A limit of zero admits nothing.
    #[must_use]
    pub const fn new(limit: u64, period: Duration) -> Self {
        Self { limit, period }
    }

    /// Forgets what is too old. Time does not go back.
    fn moved_to(&self, mut log: Log, now: Mono) -> (Log, Mono) {
        let now = now.max(log.latest);
        log.latest = now;
        log.forget_until(|at| now.saturating_since(at) >= self.period);
        (log, now)
    }

    /// From `now` until as much as `cost` is free.
    fn waiting_time(&self, log: &Log, cost: u64, now: Mono) -> Duration {
        let Some(room) = self.limit.checked_sub(cost) else { return Duration::MAX };
        let mut used = log.used;
        let last = log.requests.iter().find(|(_, cost)| {
            used -= cost;
            used <= room
        });
        last.map_or(Duration::MAX, |(at, _)| at.saturating_add(self.period).saturating_since(now))
    }

    fn reset(&self, log: &Log, now: Mono) -> Duration {
        log.requests.back().map_or(Duration::ZERO, |(at, _)| at.saturating_add(self.period).saturating_since(now))
    }
}

impl Algorithm for SlidingLog {
    type State = Log;

    fn charge(&self, state: Log, cost: u64, now: Mono) -> (Decision, Log) {
        let (mut log, moved) = self.moved_to(state, now);
        let passes = cost == 0 || log.used.checked_add(cost).is_some_and(|used| used <= self.limit);
        if !passes {
            let remaining = self.limit.saturating_sub(log.used);
            return (Decision::refuse(self.waiting_time(&log, cost, now), remaining, self.reset(&log, now)), log);
        }
        if cost > 0 {
            log.requests.push_back((moved, cost));
            log.used += cost;
        }
        (Decision::pass(self.limit.saturating_sub(log.used), self.reset(&log, now)), log)
    }

    /// Takes the latest requests back.
    fn refund(&self, state: Log, cost: u64, now: Mono) -> Log {
        let (mut log, _) = self.moved_to(state, now);
        let mut left = cost.min(log.used);
        log.used -= left;
        while let Some((_, last)) = log.requests.back_mut().filter(|_| left > 0) {
            let taken = left.min(*last);
            (*last, left) = (*last - taken, left - taken);
            if *last == 0 {
                log.requests.pop_back();
            }
        }
        log
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
    fn a_request_counts_until_it_is_a_period_old() {
        let rule = SlidingLog::new(3, Duration::from_secs(10));
        let (_, log) = rule.charge(Log::default(), 2, at(1_000));
        let (second, log) = rule.charge(log, 1, at(4_000));
        assert_eq!((second.remaining, second.reset), (0, Duration::from_secs(10)));
        let (refused, log) = rule.charge(log, 1, at(10_999));
        assert_eq!(refused.retry_after(), Some(Duration::from_millis(1)));
        assert_eq!(rule.peek(&log, 3, at(10_999)).retry_after(), Some(Duration::from_millis(3_001)));
        assert!(rule.peek(&log, 2, at(11_000)).is_pass());
        assert!(!rule.peek(&log, 3, at(11_000)).is_pass());
        assert_eq!(rule.peek(&log, 4, at(99_000)).retry_after(), Some(Duration::MAX));
        assert_eq!(rule.peek(&log, 1, at(99_000)).remaining, 2);
    }

    #[test]
    fn a_refund_takes_the_latest_back() {
        let rule = SlidingLog::new(5, Duration::from_secs(10));
        let (_, log) = rule.charge(Log::default(), 2, at(1_000));
        let (_, log) = rule.charge(log, 3, at(2_000));
        let log = rule.refund(log, 4, at(2_000));
        let latest = at(2_000);
        assert_eq!(log, Log { requests: [(at(1_000), 1)].into(), used: 1, latest });
        assert_eq!(rule.refund(log, 9, latest), Log { latest, ..Log::default() });
    }

    #[test]
    fn time_that_goes_back_gives_nothing_and_extremes_do_not_overflow() {
        let rule = SlidingLog::new(1, Duration::from_secs(10));
        let (_, log) = rule.charge(Log::default(), 1, at(14_000));
        assert_eq!(rule.charge(log, 1, at(3_000)).0.retry_after(), Some(Duration::from_secs(21)));
        let rule = SlidingLog::new(u64::MAX, Duration::MAX);
        let (_, log) = rule.charge(Log::default(), u64::MAX, Mono::MAX);
        assert!(!rule.charge(log, 1, Mono::MAX).0.is_pass());
        let at_once = SlidingLog::new(1, Duration::ZERO);
        let (_, log) = at_once.charge(Log::default(), 1, at(5));
        assert!(at_once.charge(log, 1, at(5)).0.is_pass(), "an empty period holds nothing");
    }
}
