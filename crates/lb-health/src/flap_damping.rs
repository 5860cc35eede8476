//! Flap damping: an endpoint that keeps changing is kept out until it has been quiet for a while.
//!
//! Each readmission moves traffic, empties caches and warms connections; an endpoint that comes and goes each minute
//! costs more than one that is gone. As routers do with routes (RFC 2439), each flap adds to a penalty that decays by
//! half in each half-life. Above one line the endpoint is suppressed, and below another, lower one it is used again.
//!
//! ```text
//!  penalty   +1000 a flap, halved each 60 s, at most what decays to `reuse` within 10 min
//!
//!  usable ── above 2000 ──► suppressed ── below 750 ──► usable
//! ```
//!
//! The lines are Juniper's and Cisco's; the half-life is a minute instead of fifteen, since endpoints live faster than
//! routes.

use std::time::Duration;

use lb_core::Mono;

/// Parameters of [`FlapDamping`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlapConfig {
    /// What a flap adds; default 1000.
    pub penalty: f64,
    /// Above this it is suppressed; default 2000.
    pub suppress: f64,
    /// Below this it is used again; default 750.
    pub reuse: f64,
    /// Time that halves the penalty; default 60 s, zero forgets at once.
    pub half_life: Duration,
    /// Nobody is suppressed for longer after the last flap; default 10 min.
    pub max_suppress: Duration,
}

impl Default for FlapConfig {
    fn default() -> Self {
        Self {
            penalty: 1_000.0,
            suppress: 2_000.0,
            reuse: 750.0,
            half_life: Duration::from_secs(60),
            max_suppress: Duration::from_secs(600),
        }
    }
}

/// The penalty of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlapDamping {
    config: FlapConfig,
    penalty: f64,
    at: Mono,
    suppressed: bool,
}

impl FlapDamping {
    /// An endpoint that was never seen to flap.
    #[must_use]
    pub fn new(config: FlapConfig) -> Self {
        Self { config, penalty: 0.0, at: Mono::ZERO, suppressed: false }
    }

    /// It went down. Tells whether it is suppressed from now on.
    pub fn on_flap(&mut self, now: Mono) -> bool {
        self.suppressed = self.is_suppressed(now);
        let ceiling = self.config.reuse * (self.config.max_suppress.as_secs_f64() / self.half_life()).exp2();
        self.penalty = (self.penalty_at(now) + self.config.penalty).min(ceiling.max(self.config.reuse));
        self.at = self.at.max(now);
        self.suppressed |= self.penalty > self.config.suppress;
        self.suppressed
    }

    /// Whether it is to be kept out.
    #[must_use]
    pub fn is_suppressed(&self, now: Mono) -> bool {
        self.suppressed && self.penalty_at(now) >= self.config.reuse
    }

    /// How long until it may be used again; zero if it may.
    #[must_use]
    pub fn reusable_after(&self, now: Mono) -> Duration {
        if !self.is_suppressed(now) {
            return Duration::ZERO;
        }
        let halvings = (self.penalty_at(now) / self.config.reuse).log2();
        // A nanosecond more, since at the line itself it is still suppressed.
        let wait = Duration::try_from_secs_f64(halvings * self.half_life()).unwrap_or(Duration::MAX);
        wait.saturating_add(Duration::from_nanos(1)).min(self.config.max_suppress)
    }

    /// The penalty, decayed.
    #[must_use]
    pub fn penalty_at(&self, now: Mono) -> f64 {
        self.penalty * (-now.saturating_since(self.at).as_secs_f64() / self.half_life()).exp2()
    }

    fn half_life(&self) -> f64 {
        self.config.half_life.as_secs_f64().max(1e-9)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_millis(seconds * 1_000)
    }

    #[test]
    fn the_third_flap_in_a_short_time_suppresses() {
        let mut damping = FlapDamping::new(FlapConfig::default());
        assert!(!damping.on_flap(at(0)));
        assert!(!damping.on_flap(at(1)));
        assert!(damping.on_flap(at(2)));
        assert!(damping.is_suppressed(at(2)));
    }

    #[test]
    fn one_flap_each_two_minutes_never_does() {
        // 1000 + 1000/4 + 1000/16 + … stays below 1334.
        let mut damping = FlapDamping::new(FlapConfig::default());
        assert!((0..100).all(|flap| !damping.on_flap(at(flap * 120))));
    }

    #[test]
    fn quiet_lets_it_back_below_the_lower_line() {
        let mut damping = FlapDamping::new(FlapConfig::default());
        for _ in 0..3 {
            let _ = damping.on_flap(at(100));
        }
        // 3000 halved twice is 750, reached after 120 s and left just after.
        assert!(damping.is_suppressed(at(219)));
        assert!(!damping.is_suppressed(at(221)));
        let wait = damping.reusable_after(at(100));
        assert!(wait.abs_diff(Duration::from_secs(120)) < Duration::from_millis(1), "{wait:?}");
        assert_eq!(damping.reusable_after(at(221)), Duration::ZERO);
        assert!(!damping.on_flap(at(221)), "it begins again from what is left");
    }

    #[test]
    fn nobody_is_suppressed_for_longer_than_the_longest_time() {
        let mut damping = FlapDamping::new(FlapConfig::default());
        for _ in 0..100_000 {
            let _ = damping.on_flap(at(50));
        }
        assert!(damping.is_suppressed(at(50 + 599)) && !damping.is_suppressed(at(50 + 601)));
        assert!(damping.reusable_after(at(50)) <= Duration::from_secs(600));
    }

    #[test]
    fn time_that_goes_back_forgives_nothing() {
        let mut damping = FlapDamping::new(FlapConfig::default());
        let _ = damping.on_flap(at(1_000));
        let _ = damping.on_flap(at(10));
        assert_eq!(damping.penalty_at(at(10)), 2_000.0);
        assert_eq!(damping.penalty_at(at(1_000)), 2_000.0);
        assert_eq!(damping.penalty_at(at(1_060)), 1_000.0);
    }

    #[test]
    fn extreme_settings_stay_finite() {
        let config = FlapConfig { half_life: Duration::ZERO, max_suppress: Duration::MAX, ..FlapConfig::default() };
        let mut damping = FlapDamping::new(config);
        for _ in 0..10 {
            let _ = damping.on_flap(at(1));
        }
        assert!(!damping.is_suppressed(at(2)));
        assert!(damping.reusable_after(at(1)) < Duration::from_secs(1));
        let mut endless = FlapDamping::new(FlapConfig { half_life: Duration::MAX, ..FlapConfig::default() });
        for _ in 0..10 {
            let _ = endless.on_flap(Mono::MAX);
        }
        assert!(endless.penalty_at(Mono::MAX).is_finite());
    }
}
