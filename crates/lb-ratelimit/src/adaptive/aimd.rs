//! Additive increase, multiplicative decrease: one more in each round trip, a tenth less where too many are lost.
//!
//! As TCP does it (Chiu and Jain, 1989). Netflix's concurrency-limits adds one for each *request* and backs off with each lost one:
//! it doubles within a round trip, and 50 losses of one round trip take it from 200 to its minimum.

use std::time::Duration;

use super::losses::Losses;
use super::{Limit, LossConfig, Sample, bounds};

/// Parameters of [`Aimd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AimdConfig {
    /// Where it begins; default 20.
    pub initial: u32,
    /// Never below; default 20, at least one.
    pub min: u32,
    /// Never above; default 200.
    pub max: u32,
    /// Requests that take longer count as lost; default 5 s.
    pub timeout: Duration,
    /// What a loss does.
    pub losses: LossConfig,
}

impl Default for AimdConfig {
    fn default() -> Self {
        Self { initial: 20, min: 20, max: 200, timeout: Duration::from_secs(5), losses: LossConfig::default() }
    }
}

/// The limit that grows by one in each round trip while it is used, and shrinks when requests are lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aimd {
    config: AimdConfig,
    limit: f64,
    losses: Losses,
}

impl Aimd {
    /// A limit at its initial value.
    #[must_use]
    pub fn new(config: AimdConfig) -> Self {
        let mut new = Self { config, limit: 0.0, losses: Losses::new(config.losses) };
        new.set(f64::from(config.initial));
        new
    }

    fn set(&mut self, limit: f64) {
        let (min, max) = bounds(self.config.min, self.config.max);
        self.limit = limit.max(min).min(max);
    }
}

impl Limit for Aimd {
    fn limit(&self) -> u32 {
        self.limit as u32 // within 32 bits by its bounds
    }

    fn on_sample(&mut self, sample: &Sample, _entropy: u64) -> u32 {
        let sample = Sample { dropped: sample.dropped || sample.rtt > self.config.timeout, ..*sample };
        match self.losses.on_sample(&sample, self.limit) {
            Some(ratio) => self.set(self.limit * ratio),
            None if !sample.dropped && self.losses.may_grow() && sample.uses(self.limit) => {
                self.set(self.limit + 1.0 / self.limit);
            }
            None => {}
        }
        self.limit()
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::adaptive::testing::{Service, lost, served};

    #[test]
    fn it_climbs_by_one_in_a_round_trip_and_falls_by_a_tenth() {
        let mut aimd = Aimd::new(AimdConfig { min: 5, ..AimdConfig::default() });
        let climbed = (0..21).map(|n| aimd.on_sample(&served(n, 5, 11), 0)).max();
        assert_eq!(climbed, Some(21), "twenty requests, and a little more");
        assert_eq!(
            (0..99).map(|n| aimd.on_sample(&served(n, 5, 9), 0)).max(),
            Some(21),
            "nine of 21 are less than half"
        );
        // More than a twentieth of 21: two of them. ⌊21.05 · 0.9⌋.
        assert_eq!([100, 101].map(|at| aimd.on_sample(&lost(at, 5, 10), 0)), [21, 18]);
        let slow = served(200, 6_000, 10);
        assert_eq!(aimd.on_sample(&slow, 0), 17, "above the timeout, one is more than a twentieth of 18.9");
    }

    #[test]
    fn many_losses_of_one_round_trip_are_one() {
        let mut aimd = Aimd::new(AimdConfig { initial: 200, min: 1, ..AimdConfig::default() });
        assert_eq!((0..50).map(|n| aimd.on_sample(&lost(n, 100, 200), 0)).min(), Some(180));
    }

    #[test]
    fn two_percent_of_refusals_do_not_hold_it_down_and_a_total_loss_does() {
        let mut aimd = Aimd::new(AimdConfig::default());
        let mut service = Service::new(10);
        assert!(service.run(&mut aimd, 100_000, |n| n % 50 == 0) >= 190);
        assert_eq!(service.run(&mut aimd, 3_000, |_| true), 20);
    }

    #[test]
    fn it_keeps_within_its_bounds() {
        let mut aimd = Aimd::new(AimdConfig { initial: 0, min: 0, max: 3, ..AimdConfig::default() });
        assert_eq!(aimd.limit(), 1);
        assert_eq!((0..9).map(|n| aimd.on_sample(&served(n, 0, 9), 0)).max(), Some(3));
        assert_eq!((10..99).map(|n| aimd.on_sample(&lost(n, 0, 9), 0)).min(), Some(1));
        assert_eq!(Aimd::new(AimdConfig { min: 9, max: 3, ..AimdConfig::default() }).limit(), 9);
    }
}
