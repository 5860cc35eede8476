//! Additive increase, multiplicative decrease: one more after each success, a tenth less after each loss.

use std::time::Duration;

use super::{Limit, Sample, bounds};

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
    /// The limit is multiplied by this after a loss; default 0.9, kept within 0 and 1.
    pub backoff_ratio: f64,
}

impl Default for AimdConfig {
    fn default() -> Self {
        Self { initial: 20, min: 20, max: 200, timeout: Duration::from_secs(5), backoff_ratio: 0.9 }
    }
}

/// The limit that grows by one while it is used and shrinks when requests are lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aimd {
    config: AimdConfig,
    limit: u32,
}

impl Aimd {
    /// A limit at its initial value.
    #[must_use]
    pub fn new(config: AimdConfig) -> Self {
        let mut new = Self { config, limit: config.initial };
        new.set(f64::from(config.initial));
        new
    }

    fn set(&mut self, limit: f64) {
        let (min, max) = bounds(self.config.min, self.config.max);
        self.limit = limit.max(min).min(max) as u32; // within 32 bits by its bounds
    }
}

impl Limit for Aimd {
    fn limit(&self) -> u32 {
        self.limit
    }

    fn on_sample(&mut self, sample: &Sample, _entropy: u64) -> u32 {
        if sample.dropped || sample.rtt > self.config.timeout {
            self.set((f64::from(self.limit) * self.config.backoff_ratio.clamp(0.0, 1.0)).floor());
        } else if u64::from(sample.in_flight) * 2 >= u64::from(self.limit) {
            self.set(f64::from(self.limit) + 1.0);
        }
        self.limit
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn it_climbs_by_one_and_falls_by_a_tenth() {
        let mut aimd = Aimd::new(AimdConfig { min: 5, ..AimdConfig::default() });
        let busy = Sample { rtt: Duration::from_millis(5), in_flight: 10, dropped: false };
        assert_eq!(aimd.on_sample(&busy, 0), 21);
        assert_eq!(aimd.on_sample(&busy, 0), 21, "ten of 21 is less than half");
        assert_eq!(aimd.on_sample(&Sample { dropped: true, ..busy }, 0), 18); // ⌊21 · 0.9⌋
        assert_eq!(aimd.on_sample(&Sample { rtt: Duration::from_secs(6), ..busy }, 0), 16); // ⌊18 · 0.9⌋
    }

    #[test]
    fn it_keeps_within_its_bounds() {
        let mut aimd = Aimd::new(AimdConfig { initial: 0, min: 0, max: 3, ..AimdConfig::default() });
        assert_eq!(aimd.limit(), 1);
        let busy = Sample { rtt: Duration::ZERO, in_flight: 9, dropped: false };
        assert_eq!((0..9).map(|_| aimd.on_sample(&busy, 0)).max(), Some(3));
        assert_eq!((0..9).map(|_| aimd.on_sample(&Sample { dropped: true, ..busy }, 0)).min(), Some(1));
        assert_eq!(Aimd::new(AimdConfig { min: 9, max: 3, ..AimdConfig::default() }).limit(), 9);
    }
}
