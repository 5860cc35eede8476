//! Envoy's gradient: the ratio of a time without queue to the time now, where the former is measured.
//!
//! ```text
//! gradient = clamp(min_rtt · (1 + buffer) / median of the window, ½, 2)
//! limit    = clamp(limit · gradient + √(limit · gradient), min, max)          once in each window
//! ```
//!
//! From time to time the limit is held at its minimum for fifty requests, whose median becomes `min_rtt`; the first time
//! before anything else. So it neither takes a busy service for the measure, as [`Gradient2`](super::Gradient2) does, nor hopes for an
//! idle moment, as [`Vegas`](super::Vegas) does; it pays with those fifty requests. Five windows at the minimum in a row
//! measure again as well, since then the service has probably become slower for good.
//!
//! Differences from Envoy: losses teach no time and make the limit back off ([`LossConfig`]); a limit of which less than
//! half was used does not grow; windows end with the first request after their time.

use std::time::Duration;

use lb_core::Mono;

use super::losses::Losses;
use super::{Limit, LossConfig, Sample, bounds};

/// Parameters of [`Gradient`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientConfig {
    /// Never below, and where it is held to measure; default 3, at least one.
    pub min: u32,
    /// Never above; default 1000.
    pub max: u32,
    /// How much slower than `min_rtt` requests may be, as a share; default 0.25.
    pub buffer: f64,
    /// The limit changes once in this time; default 100 ms.
    pub window: Duration,
    /// `min_rtt` is measured each time after so long; default 60 s.
    pub measure_every: Duration,
    /// Up to this share is added to `measure_every` at random, so that not all proxies measure at once; default 0.15.
    pub jitter: f64,
    /// Requests that measure; default 50, at least one.
    pub measure_requests: u32,
    /// What a loss does.
    pub losses: LossConfig,
}

impl Default for GradientConfig {
    fn default() -> Self {
        Self {
            min: 3,
            max: 1_000,
            buffer: 0.25,
            window: Duration::from_millis(100),
            measure_every: Duration::from_secs(60),
            jitter: 0.15,
            measure_requests: 50,
            losses: LossConfig::default(),
        }
    }
}

/// The limit that follows the ratio to a measured time.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradient {
    config: GradientConfig,
    limit: f64,
    /// Nanoseconds; none before the first measurement.
    min_rtt: Option<f64>,
    /// Since when the limit is held down, if it is.
    measuring: Option<Mono>,
    measured_at: Mono,
    jitter: f64,
    window: Window,
    windows_at_min: u32,
    losses: Losses,
}

/// Windows at the minimum in a row before it measures again.
const MAX_WINDOWS_AT_MIN: u32 = 5;

impl Gradient {
    /// A limit that begins to measure. `entropy` is 64 random bits.
    #[must_use]
    pub fn new(config: GradientConfig, now: Mono, entropy: u64) -> Self {
        Self {
            config,
            limit: bounds(config.min, config.max).0,
            min_rtt: None,
            measuring: Some(now),
            measured_at: now,
            jitter: unit(entropy),
            window: Window::new(now),
            windows_at_min: 0,
            losses: Losses::new(config.losses),
        }
    }

    /// Whether the limit is held down to measure.
    #[must_use]
    pub const fn is_measuring(&self) -> bool {
        self.measuring.is_some()
    }

    /// How long a request takes while few are in flight; none before it was measured.
    #[must_use]
    pub fn min_rtt(&self) -> Option<Duration> {
        // A measured time, so positive and finite; as a `u64` it saturates.
        self.min_rtt.map(|nanos| Duration::from_nanos(nanos as u64))
    }

    fn set(&mut self, limit: f64) {
        let (min, max) = bounds(self.config.min, self.config.max);
        self.limit = limit.max(min).min(max);
    }

    fn measure(&mut self, since: Mono, sample: &Sample, entropy: u64) {
        // What started before shows the queue of the former limit.
        if sample.started < since {
            return;
        }
        self.window.add(sample, entropy);
        if self.window.len() >= self.config.measure_requests.max(1) as usize {
            self.min_rtt = self.window.median();
            (self.measuring, self.measured_at) = (None, sample.ended());
            (self.jitter, self.windows_at_min) = (unit(entropy), 0);
            self.window = Window::new(sample.ended());
        }
    }

    fn is_measurement_due(&self, now: Mono) -> bool {
        let wait = self.config.measure_every.as_secs_f64() * (1.0 + self.config.jitter.max(0.0) * self.jitter);
        self.windows_at_min >= MAX_WINDOWS_AT_MIN || now.saturating_since(self.measured_at).as_secs_f64() >= wait
    }

    fn end_window(&mut self, now: Mono) {
        let window = std::mem::replace(&mut self.window, Window::new(now));
        let is_used = window.is_used;
        if let (Some(min_rtt), Some(median)) = (self.min_rtt, window.into_median()) {
            let gradient = (min_rtt * (1.0 + self.config.buffer.max(0.0)) / median).clamp(0.5, 2.0);
            let new = self.limit * gradient;
            let new = new + new.sqrt();
            if new < self.limit || is_used && self.losses.may_grow() {
                self.set(new);
            }
        }
        let is_at_min = self.limit <= bounds(self.config.min, self.config.max).0;
        self.windows_at_min = if is_at_min && is_used { self.windows_at_min + 1 } else { 0 };
        if self.is_measurement_due(now) {
            self.measuring = Some(now);
        }
    }
}

impl Limit for Gradient {
    fn limit(&self) -> u32 {
        let limit = if self.is_measuring() { bounds(self.config.min, self.config.max).0 } else { self.limit };
        limit as u32 // within 32 bits by its bounds
    }

    fn on_sample(&mut self, sample: &Sample, entropy: u64) -> u32 {
        if let Some(ratio) = self.losses.on_sample(sample, self.limit) {
            self.set(self.limit * ratio);
        }
        if sample.dropped {
            return self.limit();
        }
        if let Some(since) = self.measuring {
            self.measure(since, sample, entropy);
            return self.limit();
        }
        self.window.is_used |= sample.uses(self.limit);
        self.window.add(sample, entropy);
        if sample.ended() >= self.window.began.saturating_add(self.config.window) {
            self.end_window(sample.ended());
        }
        self.limit()
    }
}

/// Times of one window: a random sample of them, if there are many (Vitter's algorithm R).
#[derive(Clone, Debug, PartialEq)]
struct Window {
    began: Mono,
    is_used: bool,
    seen: u64,
    nanos: Vec<u64>,
}

/// Enough for a median within 5 %.
const MAX_TIMES: usize = 512;

impl Window {
    const fn new(began: Mono) -> Self {
        Self { began, is_used: false, seen: 0, nanos: Vec::new() }
    }

    fn add(&mut self, sample: &Sample, entropy: u64) {
        self.seen += 1;
        let nanos = u64::try_from(sample.rtt.as_nanos()).unwrap_or(u64::MAX).max(1);
        if self.nanos.len() < MAX_TIMES {
            self.nanos.push(nanos);
            return;
        }
        let place = (u128::from(entropy) * u128::from(self.seen)) >> 64;
        if let Some(kept) = self.nanos.get_mut(place as usize) {
            *kept = nanos;
        }
    }

    fn len(&self) -> usize {
        self.nanos.len()
    }

    fn median(&self) -> Option<f64> {
        self.clone().into_median()
    }

    fn into_median(mut self) -> Option<f64> {
        if self.nanos.is_empty() {
            return None;
        }
        let middle = self.nanos.len() / 2;
        let (_, median, _) = self.nanos.select_nth_unstable(middle);
        Some(*median as f64)
    }
}

/// 0 to 1.
fn unit(entropy: u64) -> f64 {
    entropy as f64 / u64::MAX as f64
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::adaptive::testing::{Service, lost, served};

    fn measured(rtt_ms: u64) -> Gradient {
        let mut rule = Gradient::new(GradientConfig::default(), Mono::ZERO, 0);
        for n in 0..50 {
            assert_eq!((rule.is_measuring(), rule.limit()), (true, 3));
            let _ = rule.on_sample(&served(n, rtt_ms, 3), 0);
        }
        assert!(!rule.is_measuring());
        rule
    }

    #[test]
    fn it_measures_first_and_then_follows_the_gradient_once_a_window() {
        let mut rule = measured(10);
        // The last request that measured ended at 59 ms. 3 · 1.25 + √3.75 = 5.69; then 5.69 · 1.25 + √7.11 = 9.77.
        assert_eq!([100, 148, 149].map(|at| rule.on_sample(&served(at, 10, 3), 0)), [3, 3, 5]);
        assert_eq!([200, 249].map(|at| rule.on_sample(&served(at, 10, 5), 0)), [5, 9]);
        // Twice as slow: 9.77 · 0.625 + √6.11 = 8.58. Ten times: at most half, 4.29 + √4.29.
        assert_eq!(rule.on_sample(&served(349, 20, 9), 0), 8);
        assert_eq!(rule.on_sample(&served(449, 100, 9), 0), 6);
    }

    #[test]
    fn what_started_before_the_measurement_does_not_measure() {
        let mut rule = Gradient::new(GradientConfig::default(), Mono::from_millis(1_000), 0);
        for n in 0..100 {
            let _ = rule.on_sample(&served(n, 5_000, 3), 0);
        }
        assert!(rule.is_measuring());
    }

    #[test]
    fn it_measures_again_after_a_minute_and_goes_on_where_it_was() {
        let mut rule = measured(10);
        let mut service = Service::new(10);
        let before = service.run(&mut rule, 3_000, |_| false);
        assert!(before > 50, "{before}");
        let mut at = 65_000;
        while !rule.is_measuring() {
            let _ = rule.on_sample(&served(at, 10, 1), 0);
            at += 10;
        }
        assert_eq!(rule.limit(), 3);
        for n in 0..50 {
            let _ = rule.on_sample(&served(at + 10 + n, 40, 3), 0);
        }
        assert!(!rule.is_measuring() && rule.limit() >= before / 2, "{} after {before}", rule.limit());
        assert_eq!(rule.min_rtt, Some(40e6));
    }

    #[test]
    fn a_service_that_became_slower_for_good_is_measured_again() {
        let mut rule = measured(10);
        let mut service = Service::new(100);
        let mut requests = 0;
        while rule.min_rtt != Some(100e6) {
            let _ = service.run(&mut rule, 1, |_| false);
            requests += 1;
            assert!(requests < 1_000);
        }
        assert!(service.run(&mut rule, 10_000, |_| false) > 900);
    }

    #[test]
    fn losses_shrink_it_and_teach_no_time() {
        let mut rule = measured(10);
        let mut service = Service::new(10);
        assert!(service.run(&mut rule, 50_000, |n| n % 50 == 0) > 900, "two percent");
        for n in 0..500 {
            let _ = rule.on_sample(&lost(100_000 + n * 20, 1, 900), 0);
        }
        assert!(rule.limit() < 50, "{}", rule.limit());
        assert_eq!(rule.min_rtt, Some(10e6));
    }
}
