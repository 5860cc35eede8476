//! Slow start: an endpoint that has just come or recovered takes its share by and by, so that cold caches and cold
//! compilers are not drowned.
//!
//! Scaling its weight would need a rebuilt table at every step, and means nothing to a policy that does not use
//! weights. Thinning works for all of them: a pick that lands on a warming endpoint stands with the probability
//! that the ramp gives, and is else made again without that endpoint, once. If no other is usable it serves after all. What counts
//! is the ramp in proportion to that of the warmest that could serve instead, so endpoints that come together share at once as if warm.

use std::sync::atomic::Ordering;
use std::time::Duration;

use lb_core::{EndpointState, Mono};

/// How fast a warming endpoint comes to its full share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    window: Duration,
    floor: f64,
    aggression: f64,
}

impl SlowStart {
    /// A straight ramp over this long, which starts at a tenth of the share (as Envoy's does).
    #[must_use]
    pub const fn new(window: Duration) -> Self {
        Self { window, floor: 0.1, aggression: 1.0 }
    }

    /// Sets the least share, 0 to 1; what is no number counts as 0.
    #[must_use]
    pub fn floor(mut self, floor: f64) -> Self {
        self.floor = if floor.is_nan() { 0.0 } else { floor.clamp(0.0, 1.0) };
        self
    }

    /// Bends the ramp to t^(1 ∕ `aggression`): above 1 it rises faster at first. From 0.1 to 10; default 1.
    #[must_use]
    pub fn aggression(mut self, aggression: f64) -> Self {
        self.aggression = if aggression.is_nan() { 1.0 } else { aggression.clamp(0.1, 10.0) };
        self
    }

    /// The share of its weight an endpoint takes this long after it began to warm: `floor` to 1.
    #[must_use]
    pub fn share(&self, since: Duration) -> f64 {
        if since >= self.window {
            return 1.0;
        }
        let passed = since.as_secs_f64() / self.window.as_secs_f64();
        let risen = if self.aggression == 1.0 { passed } else { passed.powf(1.0 / self.aggression) };
        risen.max(self.floor)
    }

    /// The share of a warming endpoint; none if it is warm. Notes that it is, the first time that is found out.
    pub(crate) fn share_of(&self, state: &EndpointState, now: Mono) -> Option<f64> {
        let cell = state.warming_cell();
        let began = cell.load(Ordering::Relaxed);
        if began == 0 {
            return None;
        }
        let since = now.saturating_since(Mono::from_nanos(began));
        if since >= self.window {
            let _ = cell.compare_exchange(began, 0, Ordering::Relaxed, Ordering::Relaxed);
            return None;
        }
        Some(self.share(since))
    }
}

/// The endpoint begins to warm now.
pub(crate) fn begin(state: &EndpointState, now: Mono) {
    state.warming_cell().store(now.as_nanos().max(1), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use lb_core::InFlightLimit;

    use super::*;

    #[test]
    fn the_ramp_starts_at_its_floor_and_ends_at_one() {
        let ramp = SlowStart::new(Duration::from_secs(10));
        assert_eq!(ramp.share(Duration::ZERO), 0.1);
        assert_eq!(ramp.share(Duration::from_secs(5)), 0.5);
        assert_eq!(ramp.share(Duration::from_secs(10)), 1.0);
        assert_eq!(ramp.aggression(2.0).share(Duration::from_millis(2_500)), 0.5, "√0.25");
        assert_eq!(SlowStart::new(Duration::ZERO).share(Duration::ZERO), 1.0);
        assert_eq!(ramp.floor(f64::NAN).share(Duration::ZERO), 0.0);
    }

    #[test]
    fn a_warm_endpoint_is_noted_as_warm() {
        let ramp = SlowStart::new(Duration::from_secs(10));
        let state = EndpointState::new(InFlightLimit::NONE);
        assert_eq!(ramp.share_of(&state, Mono::ZERO), None);
        begin(&state, Mono::ZERO);
        assert_eq!(ramp.share_of(&state, Mono::from_millis(5_000)).map(|p| (p * 100.0).round()), Some(50.0));
        assert_eq!(ramp.share_of(&state, Mono::from_millis(10_001)), None);
        assert_eq!(ramp.share_of(&state, Mono::from_millis(5_000)), None, "it does not cool down again");
    }

    #[test]
    fn time_backwards_is_the_start_of_the_ramp() {
        let ramp = SlowStart::new(Duration::from_secs(10));
        let state = EndpointState::new(InFlightLimit::NONE);
        begin(&state, Mono::from_millis(9_000));
        assert_eq!(ramp.share_of(&state, Mono::from_millis(1)), Some(0.1));
    }
}
