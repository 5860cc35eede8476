//! Slow start: a new or recovered endpoint takes its share of traffic little by little.
//!
//! Caches are cold, code is not compiled yet, pools are empty: the full share at once is what makes an endpoint that
//! just recovered fail again. Its weight is multiplied by a factor that rises with time:
//!
//! ```text
//! factor = max(min, (t / window)^(1 / aggression))         1 from the end of the window on
//! ```
//!
//! This is Envoy's curve (with its defaults it is a straight line from 10 %); HAProxy's is the straight line in twenty
//! steps, nginx's starts at nothing. A policy that weighs multiplies; one that draws accepts a pick with this
//! probability and draws again once if not.

use std::time::Duration;

use lb_core::Mono;

/// The ramp.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    /// How long it takes; zero, the default, is at once.
    pub window: Duration,
    /// The curve: 1, the default, is a straight line; more rises sooner, less later. What is not above zero is 1.
    pub aggression: f64,
    /// It begins with so many hundredths, so that some traffic comes at all; default 10.
    pub min_percent: u8,
}

impl Default for SlowStart {
    fn default() -> Self {
        Self { window: Duration::ZERO, aggression: 1.0, min_percent: 10 }
    }
}

impl SlowStart {
    /// A straight line from 10 %.
    #[must_use]
    pub fn over(window: Duration) -> Self {
        Self { window, ..Self::default() }
    }

    /// The part of its weight that an endpoint has which began to warm up at `since`: above zero, at most one. A start
    /// that lies ahead is one that is just now.
    #[must_use]
    pub fn factor(&self, since: Mono, now: Mono) -> f64 {
        if self.is_over(since, now) {
            return 1.0;
        }
        let passed = now.saturating_since(since).max(Duration::from_millis(1));
        let part = passed.as_secs_f64() / self.window.as_secs_f64();
        let part = if self.aggression > 0.0 { part.powf(1.0 / self.aggression) } else { part };
        let least = f64::from(self.min_percent.clamp(1, 100)) / 100.0;
        part.max(least).min(1.0)
    }

    /// The same in 65 536ths, 1 to 65 536, for those who weigh with whole numbers.
    #[must_use]
    pub fn factor_u17(&self, since: Mono, now: Mono) -> u32 {
        ((self.factor(since, now) * 65_536.0) as u32).clamp(1, 65_536)
    }

    /// Whether it has its full weight.
    #[must_use]
    pub fn is_over(&self, since: Mono, now: Mono) -> bool {
        now.saturating_since(since) >= self.window
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn factors(ramp: SlowStart, at_ms: &[u64]) -> Vec<f64> {
        let since = Mono::from_millis(5_000);
        at_ms.iter().map(|ms| ramp.factor(since, Mono::from_millis(5_000 + ms))).collect()
    }

    #[test]
    fn a_straight_line_from_a_tenth_to_all() {
        let ramp = SlowStart::over(Duration::from_secs(30));
        let expected = [0.1, 0.1, 0.5, 29.0 / 30.0, 1.0, 1.0];
        for (factor, expected) in factors(ramp, &[0, 3_000, 15_000, 29_000, 30_000, 1 << 40]).iter().zip(expected) {
            assert!((factor - expected).abs() < 1e-12, "{factor} {expected}");
        }
    }

    #[test]
    fn aggression_bends_the_line() {
        // Half the time: 0.5^(1/2) = 0.7071 with aggression 2, 0.5^2 = 0.25 with aggression 1/2.
        let window = Duration::from_secs(10);
        for (aggression, expected) in [(2.0, 0.5_f64.sqrt()), (0.5, 0.25), (1.0, 0.5), (0.0, 0.5), (f64::NAN, 0.5)] {
            let ramp = SlowStart { window, aggression, min_percent: 0 };
            assert!((factors(ramp, &[5_000])[0] - expected).abs() < 1e-12, "{aggression}");
        }
    }

    #[test]
    fn without_a_window_it_is_over_at_once() {
        assert_eq!(factors(SlowStart::default(), &[0, 1]), [1.0, 1.0]);
    }

    #[test]
    fn a_start_that_lies_ahead_is_now_and_never_is_it_nothing() {
        let ramp = SlowStart { min_percent: 0, ..SlowStart::over(Duration::MAX) };
        assert_eq!(ramp.factor(Mono::MAX, Mono::ZERO), 0.01);
        assert_eq!(ramp.factor_u17(Mono::ZERO, Mono::ZERO), 655);
        assert_eq!(SlowStart::default().factor_u17(Mono::ZERO, Mono::ZERO), 65_536);
        assert_eq!(SlowStart { min_percent: 255, ..ramp }.factor(Mono::ZERO, Mono::ZERO), 1.0);
    }
}
