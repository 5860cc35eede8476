//! How much a peer may ask for that is of no use.
//!
//! Pings, settings, priorities, window updates, resets and empty frames cost a client next to nothing and us an answer
//! or a search each. Well-behaved clients send a handful a second and a few more for each body they receive. So every
//! such frame is paid from a budget that fills again with time and with useful frames; a client that has spent it all
//! is closed. A plain limit a second would be too small for a fast download, with its window updates, or too
//! large for an idle connection.

use std::time::Duration;

use lb_core::Mono;

/// A budget. Times that go backwards count as standing still.
#[derive(Debug)]
pub struct Budget {
    /// Thousandths of a unit, so that a refill is not lost to rounding.
    left: u64,
    max: u64,
    per_second: u64,
    at: Mono,
}

impl Budget {
    /// Full, with `max` units, filling up by `per_second`.
    pub fn new(max: u32, per_second: u32, now: Mono) -> Self {
        let max = u64::from(max) * 1000;
        Self { left: max, max, per_second: u64::from(per_second), at: now }
    }

    /// Something useful happened.
    pub fn earn(&mut self, units: u32) {
        self.left = (self.left + u64::from(units) * 1000).min(self.max);
    }

    /// Takes this much; `false` when there was not enough, and then all is gone.
    pub fn spend(&mut self, units: u32, now: Mono) -> bool {
        let since: Duration = now.saturating_since(self.at);
        self.at = self.at.max(now);
        // Units a second are thousandths a millisecond.
        let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.left = self.left.saturating_add(millis.saturating_mul(self.per_second)).min(self.max);
        let wanted = u64::from(units) * 1000;
        let is_enough = wanted <= self.left;
        self.left = self.left.saturating_sub(wanted);
        is_enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::ZERO.saturating_add(Duration::from_millis(millis))
    }

    #[test]
    fn it_is_spent_once_and_fills_with_time() {
        let mut budget = Budget::new(10, 4, at(0));
        assert!((0..10).all(|_| budget.spend(1, at(0))));
        assert!(!budget.spend(1, at(0)));
        assert!(!budget.spend(1, at(249)), "0.996 of a unit");
        let mut budget = Budget::new(10, 4, at(0));
        assert!(budget.spend(10, at(0)) && budget.spend(1, at(250)) && !budget.spend(1, at(250)));
    }

    #[test]
    fn it_holds_no_more_than_its_max() {
        let mut budget = Budget::new(3, 1, at(0));
        budget.earn(100);
        assert!(budget.spend(3, at(0)) && !budget.spend(1, at(0)));
        assert!(budget.spend(3, at(1_000_000)) && !budget.spend(1, at(1_000_000)));
        budget.earn(2);
        assert!(budget.spend(2, at(1_000_000)) && !budget.spend(1, at(1_000_000)));
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_twice() {
        let mut budget = Budget::new(2, 1, at(5_000));
        assert!(budget.spend(2, at(5_000)));
        assert!(!budget.spend(1, at(1_000)));
        assert!(!budget.spend(1, at(5_000)));
        assert!(budget.spend(1, at(6_000)));
    }
}
