//! Gradient2: the ratio of a long average to the time just seen tells whether a queue is growing.
//!
//! Unlike [`Vegas`](super::Vegas) it needs no time without load, which a busy service never shows; it compares with the
//! recent past, and a service that is slow for long becomes the measure itself.
//!
//! Netflix's rule takes no notice of losses, and learns the time of a refusal as if the service had become fast: if all requests are
//! lost, its limit rises to the maximum. Here losses teach no time, and the limit backs off by them ([`LossConfig`]).

use super::losses::Losses;
use super::{Limit, LossConfig, Sample, bounds};

/// Parameters of [`Gradient2`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gradient2Config {
    /// Where it begins; default 20.
    pub initial: u32,
    /// Never below; default 20, at least one.
    pub min: u32,
    /// Never above; default 200.
    pub max: u32,
    /// Weight of each new value, 0 to 1; default 0.2.
    pub smoothing: f64,
    /// Requests that may wait, added to each new value; default 4.
    pub queue: u32,
    /// Samples of the long average; default 600.
    pub long_window: u32,
    /// By what factor a request may be slower than the long average; default 1.5, at least 1.
    pub tolerance: f64,
    /// What a loss does.
    pub losses: LossConfig,
}

impl Default for Gradient2Config {
    fn default() -> Self {
        Self {
            initial: 20,
            min: 20,
            max: 200,
            smoothing: 0.2,
            queue: 4,
            long_window: 600,
            tolerance: 1.5,
            losses: LossConfig::default(),
        }
    }
}

/// The limit that follows the trend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gradient2 {
    config: Gradient2Config,
    limit: f64,
    long: LongAverage,
    losses: Losses,
}

impl Gradient2 {
    /// A limit at its initial value.
    #[must_use]
    pub fn new(config: Gradient2Config) -> Self {
        let (min, max) = bounds(config.min, config.max);
        let limit = f64::from(config.initial).max(min).min(max);
        Self { config, limit, long: LongAverage::default(), losses: Losses::new(config.losses) }
    }

    fn set(&mut self, limit: f64) {
        let (min, max) = bounds(self.config.min, self.config.max);
        self.limit = limit.max(min).min(max);
    }
}

impl Limit for Gradient2 {
    fn limit(&self) -> u32 {
        self.limit as u32 // within 32 bits by its bounds
    }

    fn on_sample(&mut self, sample: &Sample, _entropy: u64) -> u32 {
        if let Some(ratio) = self.losses.on_sample(sample, self.limit) {
            self.set(self.limit * ratio);
        }
        if sample.dropped {
            return self.limit();
        }
        let short = sample.nanos();
        let long = self.long.add(short, self.config.long_window);
        if long / short > 2.0 {
            // After a slow time the average would allow too much for as long as it lasted.
            self.long.value *= 0.95;
        }
        if sample.uses(self.limit) {
            let gradient = (self.config.tolerance.max(1.0) * long / short).clamp(0.5, 1.0);
            let new = self.limit * gradient + f64::from(self.config.queue);
            let weight = self.config.smoothing.clamp(0.0, 1.0);
            let new = self.limit * (1.0 - weight) + new * weight;
            if self.losses.may_grow() || new < self.limit {
                self.set(new);
            }
        }
        self.limit()
    }
}

/// A plain mean of the first ten samples, an exponential one from there.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct LongAverage {
    value: f64,
    warm_up: u8,
}

const WARM_UP: u8 = 10;

impl LongAverage {
    fn add(&mut self, sample: f64, window: u32) -> f64 {
        if self.warm_up < WARM_UP {
            self.warm_up += 1;
            self.value += (sample - self.value) / f64::from(self.warm_up);
        } else {
            let factor = 2.0 / (f64::from(window) + 1.0);
            self.value = self.value * (1.0 - factor.min(1.0)) + sample * factor.min(1.0);
        }
        self.value
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

    #[test]
    fn a_total_loss_takes_it_to_its_minimum() {
        let mut rule = warm(200);
        let limits: Vec<u32> = (0..500).map(|n| rule.on_sample(&lost(1_000 + n * 10, 10, 200), 0)).collect();
        assert_eq!(limits.last(), Some(&20));
        assert!(limits.windows(2).all(|pair| pair[1] <= pair[0]), "it never grows");
    }

    #[test]
    fn fast_refusals_are_not_taken_for_a_fast_service() {
        let mut rule = warm(100);
        for n in 0..500 {
            let _ = rule.on_sample(&lost(1_000 + n, 1, 0), 0);
        }
        assert!((rule.long.value - 10e6).abs() < 1.0, "{}", rule.long.value);
        let mut service = Service::new(10);
        assert_eq!(service.run(&mut Gradient2::new(Gradient2Config::default()), 10_000, |n| n % 50 == 0), 200);
    }

    fn warm(initial: u32) -> Gradient2 {
        let mut rule = Gradient2::new(Gradient2Config { initial, ..Gradient2Config::default() });
        for _ in 0..1_000 {
            assert_eq!(rule.on_sample(&sample(10, 0), 0), initial);
        }
        rule
    }

    #[test]
    fn a_steady_time_grows_it_by_a_fifth_of_the_queue() {
        // 100 · 1 + 4 = 104, of which a fifth: 100.8, then 101.6.
        let mut rule = warm(100);
        assert_eq!(rule.on_sample(&sample(10, 50), 0), 100);
        assert_eq!(rule.on_sample(&sample(10, 51), 0), 101);
        assert_eq!(rule.on_sample(&sample(10, 50), 0), 101, "fifty of 101.6 is less than half");
    }

    #[test]
    fn it_tolerates_half_as_much_again_and_shrinks_beyond() {
        // 15 ms: gradient 1.5 · 10.02 / 15 is just above 1. 30 ms: about 0.50; 100 · 0.504 + 4, of which a fifth: 90.9.
        assert_eq!(warm(100).on_sample(&sample(15, 100), 0), 100);
        assert_eq!(warm(100).on_sample(&sample(30, 100), 0), 90);
        // However slow, at most half: 100 · 0.5 + 4 gives 90.8.
        assert_eq!(warm(100).on_sample(&sample(10_000, 100), 0), 90);
    }

    #[test]
    fn it_forgets_a_slow_time_sooner_than_it_lasted() {
        let mut rule = warm(100);
        for _ in 0..600 {
            let _ = rule.on_sample(&sample(1_000, 0), 0);
        }
        // From about 860 ms: by 5 % and by 1/300 each, below 20 ms after some seventy; by itself it were 600.
        let fast = (0..600).take_while(|_| {
            let _ = rule.on_sample(&sample(10, 0), 0);
            rule.long.value > 20e6
        });
        let fast = fast.count();
        assert!((60..90).contains(&fast), "{fast}");
    }

    #[test]
    fn it_keeps_within_its_bounds() {
        let config = Gradient2Config { min: 2, max: 30, ..Gradient2Config::default() };
        let mut rule = Gradient2::new(config);
        assert_eq!((0..500).map(|_| rule.on_sample(&sample(10, 30), 0)).max(), Some(30));
        let mut worse = Duration::from_millis(10);
        let least = (0..60).map(|_| {
            worse = worse.saturating_mul(2);
            rule.on_sample(&Sample { rtt: worse, ..sample(0, 30) }, 0)
        });
        // Halving and adding four settles at eight.
        assert_eq!(least.min(), Some(8));
    }
}
