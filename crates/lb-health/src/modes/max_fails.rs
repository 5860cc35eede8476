//! nginx's `max_fails` and `fail_timeout` (`ngx_http_upstream_round_robin.c`).
//!
//! An endpoint is not picked while it has `max_fails` failures and the last one is no older than `fail_timeout`. What is
//! easily overlooked, and kept here:
//!
//! - after `fail_timeout` one request tries it, since the pick renews the time: one trial per `fail_timeout`;
//! - failures are no sliding window: they are forgotten only by a success that follows such a renewal, so that two
//!   failures a day apart are two, if the endpoint was not idle for `fail_timeout` in between;
//! - the effective weight falls by `weight / max_fails` (whole numbers) with each failure, and rises by one with each
//!   pick.
//!
//! nginx applies none of it to a group of one endpoint; that is up to the caller.

use std::time::Duration;

use lb_core::Mono;

/// One endpoint by nginx's rule. Pure; 64 bytes. nginx counts time in whole seconds, this in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxFails {
    max_fails: u32,
    fail_timeout: Duration,
    weight: u32,
    effective_weight: u32,
    fails: u32,
    accessed: Mono,
    checked: Mono,
}

impl MaxFails {
    /// nginx's defaults are one failure and 10 s; with zero failures it is always available.
    #[must_use]
    pub fn new(max_fails: u32, fail_timeout: Duration, weight: u32) -> Self {
        let (accessed, checked) = (Mono::ZERO, Mono::ZERO);
        Self { max_fails, fail_timeout, weight, effective_weight: weight, fails: 0, accessed, checked }
    }

    /// Whether it may be picked.
    #[must_use]
    pub fn is_available(&self, now: Mono) -> bool {
        self.max_fails == 0 || self.fails < self.max_fails || now.saturating_since(self.checked) > self.fail_timeout
    }

    /// It is considered in a pick: its effective weight recovers. Answers that weight.
    pub fn on_considered(&mut self) -> u32 {
        self.effective_weight = self.effective_weight.saturating_add(1).min(self.weight);
        self.effective_weight
    }

    /// It was picked.
    pub fn on_pick(&mut self, now: Mono) {
        if now.saturating_since(self.checked) > self.fail_timeout {
            self.checked = now;
        }
    }

    /// Its attempt ended.
    pub fn on_result(&mut self, failed: bool, now: Mono) {
        if failed {
            self.fails = self.fails.saturating_add(1);
            (self.accessed, self.checked) = (now, now);
            if let Some(step) = self.weight.checked_div(self.max_fails) {
                self.effective_weight = self.effective_weight.saturating_sub(step);
            }
        } else if self.accessed < self.checked {
            self.fails = 0;
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_millis(seconds * 1_000)
    }

    fn fails(rule: &mut MaxFails, now: Mono) {
        rule.on_pick(now);
        rule.on_result(true, now);
    }

    #[test]
    fn three_failures_and_then_one_trial_per_fail_timeout() {
        let mut rule = MaxFails::new(3, Duration::from_secs(10), 1);
        for second in 100..103 {
            assert!(rule.is_available(at(second)));
            fails(&mut rule, at(second));
        }
        assert!(!rule.is_available(at(103)) && !rule.is_available(at(112)));
        assert!(rule.is_available(at(113)));
        rule.on_pick(at(113));
        assert!(!rule.is_available(at(113)), "one trial: the pick has renewed the time");
        rule.on_result(false, at(113));
        assert!(rule.is_available(at(113)));
        fails(&mut rule, at(114));
        assert!(rule.is_available(at(114)), "the success after the renewal has forgotten the three");
    }

    #[test]
    fn a_success_without_a_renewal_forgets_nothing() {
        let mut rule = MaxFails::new(2, Duration::from_secs(10), 1);
        fails(&mut rule, at(100));
        for second in 101..109 {
            rule.on_pick(at(second));
            rule.on_result(false, at(second));
        }
        fails(&mut rule, at(109));
        assert!(!rule.is_available(at(109)), "two failures with eight successes in between");
    }

    #[test]
    fn the_effective_weight_falls_in_steps_and_rises_by_one() {
        let mut rule = MaxFails::new(3, Duration::from_secs(10), 10);
        rule.on_result(true, at(1));
        assert_eq!([rule.on_considered(), rule.on_considered()], [8, 9], "10 − ⌊10 / 3⌋ + 1");
        for _ in 0..9 {
            rule.on_result(true, at(2));
        }
        assert_eq!(rule.on_considered(), 1);
        let mut off = MaxFails::new(0, Duration::ZERO, 5);
        off.on_result(true, at(1));
        assert!(off.is_available(at(1)) && off.on_considered() == 5);
    }
}
