//! TCP Vegas for requests: from the shortest time seen it infers how many of those in flight only wait.
//!
//! `queue = ⌈limit · (1 − rtt_noload / rtt)⌉`. While the queue is short the limit grows, while it is long it shrinks,
//! in steps of log₁₀ of the limit. The shortest time is measured again from time to time, since a service may have
//! become slower for good.
//!
//! In Netflix's rule the time of a lost request may become the shortest one, so that a service that refuses 2 % of its requests
//! at once seems to queue all others. Here losses teach no time, and the limit backs off by them ([`LossConfig`]), not by
//! one step for each.

use super::losses::Losses;
use super::{Limit, LossConfig, Sample, bounds};

/// Parameters of [`Vegas`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VegasConfig {
    /// Where it begins; default 20.
    pub initial: u32,
    /// Never above; default 1000. Never below one.
    pub max: u32,
    /// The shortest time is measured again after this many times the limit samples, less up to half by chance; default
    /// 30.
    pub probe_multiplier: u32,
    /// What a loss does.
    pub losses: LossConfig,
}

impl Default for VegasConfig {
    fn default() -> Self {
        Self { initial: 20, max: 1_000, probe_multiplier: 30, losses: LossConfig::default() }
    }
}

/// The limit that keeps a short queue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Vegas {
    config: VegasConfig,
    limit: f64,
    /// Nanoseconds; nothing before the first sample.
    rtt_noload: Option<f64>,
    samples: f64,
    /// A half to one.
    probe_jitter: f64,
    losses: Losses,
}

impl Vegas {
    /// A limit at its initial value. `entropy` is 64 random bits.
    #[must_use]
    pub fn new(config: VegasConfig, entropy: u64) -> Self {
        let (min, max) = bounds(1, config.max);
        let limit = f64::from(config.initial).max(min).min(max);
        let losses = Losses::new(config.losses);
        Self { config, limit, rtt_noload: None, samples: 0.0, probe_jitter: jitter(entropy), losses }
    }

    fn is_probe_due(&self) -> bool {
        self.probe_jitter * f64::from(self.config.probe_multiplier) * self.limit <= self.samples
    }

    fn set(&mut self, limit: f64) {
        let (min, max) = bounds(1, self.config.max);
        self.limit = limit.max(min).min(max);
    }

    /// The limit by the queue that a request of this time tells of.
    fn updated(&self, rtt: f64, rtt_noload: f64) -> f64 {
        let step = log10(self.limit);
        let queue = (self.limit * (1.0 - rtt_noload / rtt)).ceil();
        let (alpha, beta) = (3.0 * step, 6.0 * step);
        if queue > beta {
            self.limit - step
        } else if !self.losses.may_grow() {
            self.limit
        } else if queue <= step {
            self.limit + beta
        } else if queue < alpha {
            self.limit + step
        } else {
            self.limit
        }
    }
}

/// Whole, and at least one.
fn log10(limit: f64) -> f64 {
    limit.log10().floor().max(1.0)
}

fn jitter(entropy: u64) -> f64 {
    0.5 + 0.5 * (entropy as f64 / u64::MAX as f64)
}

impl Limit for Vegas {
    fn limit(&self) -> u32 {
        self.limit as u32 // within 32 bits by its bounds
    }

    fn on_sample(&mut self, sample: &Sample, entropy: u64) -> u32 {
        if let Some(ratio) = self.losses.on_sample(sample, self.limit) {
            self.set(self.limit * ratio);
        }
        if sample.dropped {
            return self.limit();
        }
        let rtt = sample.nanos();
        self.samples += 1.0;
        if self.is_probe_due() {
            (self.samples, self.probe_jitter) = (0.0, jitter(entropy));
            self.rtt_noload = Some(rtt);
            return self.limit();
        }
        match self.rtt_noload {
            // Of a limit that is less than half used nothing can be learned.
            Some(noload) if rtt >= noload && sample.uses(self.limit) => self.set(self.updated(rtt, noload)),
            Some(noload) if rtt >= noload => {}
            _ => self.rtt_noload = Some(rtt),
        }
        self.limit()
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::adaptive::testing::{Service, lost, served};
    use std::time::Duration;

    fn sample(rtt_ms: u64, in_flight: u32) -> Sample {
        served(0, rtt_ms, in_flight)
    }

    fn fresh(initial: u32) -> Vegas {
        let mut vegas = Vegas::new(VegasConfig { initial, ..VegasConfig::default() }, u64::MAX);
        assert_eq!(vegas.on_sample(&sample(10, initial), 0), initial, "the first sample is the shortest time");
        vegas
    }

    #[test]
    fn the_queue_it_infers_decides() {
        // log₁₀ 100 = 2: grow by 12 up to a queue of 2, by 2 below 6, stay up to 12, shrink by 2 above.
        // queue = ⌈100 · (1 − 10/rtt)⌉ for rtt of 10.2, 10.5, 11, 12 ms: 2, 5, 10, 17.
        for (rtt_us, expected) in [(10_000, 112), (10_200, 112), (10_500, 102), (11_000, 100), (12_000, 98)] {
            let rtt = Duration::from_micros(rtt_us);
            assert_eq!(fresh(100).on_sample(&Sample { rtt, ..sample(0, 100) }, 0), expected, "{rtt:?}");
        }
    }

    #[test]
    fn losses_shrink_it_even_when_it_is_hardly_used() {
        let mut hardly_used = fresh(100);
        let limits = [0, 1, 2, 3, 4, 5].map(|at| hardly_used.on_sample(&lost(at, 10, 1), 0));
        assert_eq!(limits, [100, 100, 100, 100, 100, 90], "six are more than a twentieth");
        assert_eq!(fresh(100).on_sample(&sample(99, 49), 0), 100, "less than half used");
        let mut least = fresh(1);
        assert_eq!(least.on_sample(&lost(0, 10, 1), 0), 1);
    }

    #[test]
    fn a_lost_request_is_no_measure_of_an_idle_service() {
        let mut service = Service::new(10);
        assert!(service.run(&mut fresh(20), 50_000, |n| n % 50 == 0) > 990, "two percent are lost after a millisecond");
        assert_eq!(service.run(&mut fresh(1_000), 50_000, |_| true), 1);
    }

    #[test]
    fn a_shorter_time_becomes_the_shortest() {
        let mut vegas = fresh(20);
        assert_eq!(vegas.on_sample(&sample(5, 20), 0), 20);
        // Against 5 ms, 10 ms are a queue of 10: more than 6.
        assert_eq!(vegas.on_sample(&sample(10, 20), 0), 19);
    }

    #[test]
    fn the_shortest_time_is_measured_again() {
        let mut vegas = Vegas::new(VegasConfig { probe_multiplier: 1, ..VegasConfig::default() }, 0);
        // Jitter ½ and a limit of 20: a probe each ten samples, so that 10 ms are forgotten with the tenth.
        assert_eq!(vegas.on_sample(&sample(10, 0), 0), 20);
        for _ in 0..9 {
            assert_eq!(vegas.on_sample(&sample(100, 0), 0), 20);
        }
        assert_eq!(vegas.on_sample(&sample(100, 20), 0), 26, "100 ms are no queue any more");
    }
}
