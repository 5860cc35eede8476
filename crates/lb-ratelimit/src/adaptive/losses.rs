//! What the loss of requests says about a limit.
//!
//! The simple answer, to back off with each lost request, fails three times. One overload loses many requests of the same round
//! trip, and the limit collapses for one cause. A service that refuses some requests for reasons of its own (2 %, say) pins the limit
//! to its minimum. And refusals are fast, so that a rule that learns from their times takes an overloaded service for an idle one.
//!
//! So losses never teach a time, and the limit backs off when more than a *share* of the requests of one round trip is lost; once,
//! since requests that started before say nothing about the lower limit (as in NewReno, RFC 6582), and neither do refusals that come
//! sooner than a served request would. Until one round trip has passed without too many losses, the limit does not grow.

use std::time::Duration;

use lb_core::Mono;

use super::Sample;

/// How a rule reacts to lost requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossConfig {
    /// The share of lost requests that is taken for noise; default 0.05, kept within 0 and 1.
    pub tolerance: f64,
    /// The limit is multiplied by this when more are lost, at most once in a round trip; default 0.9, kept within 0 and 1.
    pub backoff_ratio: f64,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self { tolerance: 0.05, backoff_ratio: 0.9 }
    }
}

/// The losses of the current round trip: as many requests as the limit admits at once.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Losses {
    config: LossConfig,
    /// When the limit backed off last.
    since: Mono,
    /// The time of the last request that was served.
    rtt: Duration,
    requests: f64,
    lost: f64,
    /// Whether a round trip with few losses has not yet followed the last back-off.
    is_recovering: bool,
}

impl Losses {
    pub(super) fn new(config: LossConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// Counts a request; tells by what to multiply the limit if it is to back off now.
    pub(super) fn on_sample(&mut self, sample: &Sample, limit: f64) -> Option<f64> {
        if !sample.dropped {
            self.rtt = sample.rtt;
        }
        let is_current = sample.started >= self.since && sample.ended() >= self.since.saturating_add(self.rtt);
        if !is_current {
            return None;
        }
        self.requests += 1.0;
        self.lost += f64::from(u8::from(sample.dropped));
        if self.lost > self.config.tolerance.clamp(0.0, 1.0) * limit {
            *self =
                Self { since: sample.ended(), is_recovering: true, ..Self { rtt: self.rtt, ..Self::new(self.config) } };
            return Some(self.config.backoff_ratio.clamp(0.0, 1.0));
        }
        if self.requests >= limit {
            (self.requests, self.lost, self.is_recovering) = (0.0, 0.0, false);
        }
        None
    }

    /// Whether the limit may grow.
    pub(super) const fn may_grow(&self) -> bool {
        !self.is_recovering
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn sample(started_ms: u64, rtt_ms: u64, dropped: bool) -> Sample {
        Sample { started: Mono::from_millis(started_ms), rtt: Duration::from_millis(rtt_ms), in_flight: 10, dropped }
    }

    #[test]
    fn one_round_trip_backs_off_once_however_many_are_lost() {
        let mut losses = Losses::new(LossConfig::default());
        let backoffs = (0..50).filter(|n| losses.on_sample(&sample(*n, 100, true), 40.0).is_some()).count();
        assert_eq!(backoffs, 1, "the third of them is above a twentieth of 40");
        // The next ones started after it.
        let backoffs = (0..3).filter(|n| losses.on_sample(&sample(200 + n, 100, true), 40.0).is_some()).count();
        assert_eq!(backoffs, 1);
    }

    #[test]
    fn a_share_within_the_tolerance_is_noise() {
        let mut losses = Losses::new(LossConfig::default());
        for n in 0..1_000 {
            assert_eq!(losses.on_sample(&sample(n * 10, 100, n % 50 == 0), 100.0), None);
            assert!(losses.may_grow());
        }
    }

    #[test]
    fn fast_refusals_back_off_no_faster_than_served_requests_come_back() {
        let mut losses = Losses::new(LossConfig { tolerance: 0.0, ..LossConfig::default() });
        assert_eq!(losses.on_sample(&sample(0, 100, false), 10.0), None);
        // One refusal each millisecond for a second.
        let backoffs = (100..1_100).filter(|ms| losses.on_sample(&sample(*ms, 1, true), 10.0).is_some()).count();
        assert_eq!(backoffs, 10);
    }

    #[test]
    fn it_grows_again_after_a_round_trip_with_few_losses() {
        let mut losses = Losses::new(LossConfig { tolerance: 0.1, ..LossConfig::default() });
        assert!(losses.on_sample(&sample(0, 10, true), 5.0).is_some());
        for n in 0..4 {
            assert!(!losses.may_grow());
            assert_eq!(losses.on_sample(&sample(20 + n, 10, false), 5.0), None);
        }
        assert_eq!(losses.on_sample(&sample(30, 10, false), 5.0), None);
        assert!(losses.may_grow());
    }
}
