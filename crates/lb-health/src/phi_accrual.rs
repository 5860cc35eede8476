//! φ-accrual: how surprising is it that nothing was heard for so long?
//!
//! A fixed timeout on a heartbeat is too short for one peer and too long for another. This one learns from the
//! intervals between heartbeats and tells a level of suspicion instead of a verdict: `φ = −log₁₀ P(an interval is
//! longer than this)`. At φ = 8 the chance of being wrong is one in 10⁸, if intervals are distributed as before.
//!
//! After Hayashibara et al., "The φ accrual failure detector" (2004), with the floor on σ and the acceptable pause that
//! Akka added, and the logistic approximation of the normal distribution (its error is below 0.02 %).

use std::time::Duration;

use lb_core::Mono;

/// Parameters of [`PhiAccrual`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhiConfig {
    /// Interval expected before two heartbeats were seen; default 1 s.
    pub first_estimate: Duration,
    /// Weight of the past: about so many intervals; default 1000, at least 2.
    pub samples: u32,
    /// The deviation is never taken as less: perfectly regular heartbeats must not make a millisecond suspicious;
    /// default 100 ms.
    pub min_deviation: Duration,
    /// A pause that is fine now and then, added to the mean; default 3 s.
    pub acceptable_pause: Duration,
}

impl Default for PhiConfig {
    fn default() -> Self {
        Self {
            first_estimate: Duration::from_secs(1),
            samples: 1_000,
            min_deviation: Duration::from_millis(100),
            acceptable_pause: Duration::from_secs(3),
        }
    }
}

/// The suspicion against one peer; 96 bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhiAccrual {
    config: PhiConfig,
    last: Option<Mono>,
    intervals: u32,
    mean: f64,
    variance: f64,
}

impl PhiAccrual {
    /// A peer that was not heard of yet.
    #[must_use]
    pub fn new(config: PhiConfig) -> Self {
        let mean = config.first_estimate.as_secs_f64();
        // A quarter of the mean, as Akka guesses.
        Self { config, last: None, intervals: 0, mean, variance: (mean / 4.0).powi(2) }
    }

    /// A heartbeat came.
    pub fn on_heartbeat(&mut self, now: Mono) {
        if let Some(last) = self.last {
            self.learn(now.saturating_since(last).as_secs_f64());
        }
        self.last = Some(self.last.map_or(now, |last| last.max(now)));
    }

    /// The suspicion: zero at first and while heartbeats come, without limit when they do not. 8 is a usual
    /// threshold.
    #[must_use]
    pub fn phi(&self, now: Mono) -> f64 {
        let Some(last) = self.last else { return 0.0 };
        let silent = now.saturating_since(last).as_secs_f64();
        let mean = self.mean + self.config.acceptable_pause.as_secs_f64();
        let deviation = self.variance.sqrt().max(self.config.min_deviation.as_secs_f64()).max(1e-9);
        minus_log10_of_tail((silent - mean) / deviation)
    }

    /// A running mean and variance, whose weights become those of an exponential average when `samples` have come.
    fn learn(&mut self, interval: f64) {
        if self.intervals == 0 {
            self.mean = interval;
            self.variance = (interval / 4.0).powi(2);
        }
        self.intervals = self.intervals.saturating_add(1).min(self.config.samples.max(2));
        let weight = 1.0 / f64::from(self.intervals.max(2));
        let distance = interval - self.mean;
        self.mean += weight * distance;
        self.variance = (1.0 - weight) * (self.variance + weight * distance * distance);
    }
}

/// `−log₁₀(1 − Φ(y))`, from `1 − Φ(y) ≈ 1 / (1 + e^(y (1.5976 + 0.070566 y²)))`.
fn minus_log10_of_tail(y: f64) -> f64 {
    let exponent = y * (1.5976 + 0.070_566 * y * y);
    // Far out, the one does not matter, and e to that would be infinite.
    let ln = if exponent > 30.0 { exponent } else { exponent.exp().ln_1p() };
    ln / std::f64::consts::LN_10
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono::from_millis(ms)
    }

    fn regular(config: PhiConfig) -> PhiAccrual {
        let mut detector = PhiAccrual::new(config);
        for beat in 0..1_000 {
            detector.on_heartbeat(at(beat * 1_000));
        }
        detector
    }

    #[test]
    fn the_tail_is_that_of_a_normal_distribution() {
        // Φ from tables: 1 − Φ(0) = 0.5, (1) 0.158655, (2) 0.022750, (3) 0.001350.
        for (y, tail) in [(0.0, 0.5_f64), (1.0, 0.158_655), (2.0, 0.022_750), (3.0, 0.001_350)] {
            let wrong = 10_f64.powf(-minus_log10_of_tail(y)) - tail;
            assert!(wrong.abs() < 0.000_2, "{y}: {wrong}");
        }
    }

    #[test]
    fn suspicion_grows_with_silence() {
        let detector = regular(PhiConfig { acceptable_pause: Duration::ZERO, ..PhiConfig::default() });
        let since = 999_000;
        assert!(detector.phi(at(since)) < 0.01);
        assert!(detector.phi(at(since + 1_000)) < 1.0, "the usual interval is not suspicious");
        // 0.6 s beyond the mean is six of the least deviation, 0.1 s: 1 − Φ(6) is about 10⁻⁹.
        let phi = detector.phi(at(since + 1_600));
        assert!((8.0..12.0).contains(&phi), "{phi}");
        assert!(detector.phi(at(since + 60_000)) > 100.0 && detector.phi(Mono::MAX).is_finite());
    }

    #[test]
    fn an_acceptable_pause_is_accepted() {
        let detector = regular(PhiConfig::default());
        assert!(detector.phi(at(999_000 + 3_900)) < 1.0);
        assert!(detector.phi(at(999_000 + 4_700)) > 8.0);
    }

    #[test]
    fn irregular_heartbeats_are_given_more_time() {
        let mut detector = PhiAccrual::new(PhiConfig { acceptable_pause: Duration::ZERO, ..PhiConfig::default() });
        let mut now = 0;
        for beat in 0..1_000 {
            now += if beat % 2 == 0 { 200 } else { 1_800 };
            detector.on_heartbeat(at(now));
        }
        assert!(detector.phi(at(now + 1_600)) < 1.0, "{}", detector.phi(at(now + 1_600)));
    }

    #[test]
    fn a_peer_that_was_never_heard_is_not_suspected_and_one_heartbeat_is_enough_to_begin() {
        let mut detector = PhiAccrual::new(PhiConfig::default());
        assert_eq!(detector.phi(at(1 << 40)), 0.0);
        detector.on_heartbeat(at(0));
        assert!(detector.phi(at(1_000)) < 0.1);
        assert!(detector.phi(at(60_000)) > 8.0);
    }

    #[test]
    fn time_that_stands_still_or_goes_back_is_no_silence() {
        let mut detector = regular(PhiConfig::default());
        detector.on_heartbeat(at(5));
        assert!(detector.phi(at(5)) < 0.01);
        assert!(detector.phi(at(999_000)) < 0.01);
        let mut still = PhiAccrual::new(PhiConfig { min_deviation: Duration::ZERO, ..PhiConfig::default() });
        for _ in 0..100 {
            still.on_heartbeat(at(7));
        }
        assert!(still.phi(at(7)).is_finite() && still.phi(at(60_000)) > 8.0);
    }
}
