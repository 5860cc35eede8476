//! Concurrency limits that find their own value.
//!
//! By Little's law a service that answers λ requests a second after W seconds has λ·W in flight. Beyond what it can do
//! in parallel more of them only wait, and a fixed limit is wrong as soon as the service is scaled or slows down. These
//! rules watch how long requests take, and whether they are dropped, and move the limit: [`Aimd`] by losses, as TCP did
//! first; [`Vegas`] by the queue it infers from the shortest time seen; [`Gradient2`] by the ratio of a long average to
//! what it sees now; [`Gradient`] by the ratio to a time that it measures with the limit held down.
//!
//! The rules and their defaults are those of Netflix's concurrency-limits, and of Envoy's adaptive concurrency filter, but for what
//! losses do ([`LossConfig`]). Each is a pure machine: the caller measures,
//! keeps it behind a lock off the request path (a sample that finds it taken may be left out), and hands the new value
//! to [`Concurrency::set_limit`](crate::Concurrency::set_limit).

mod aimd;
mod gradient;
mod gradient2;
mod losses;
#[cfg(test)]
#[cfg(not(loom))]
mod testing;
mod vegas;

pub use aimd::{Aimd, AimdConfig};
pub use gradient::{Gradient, GradientConfig};
pub use gradient2::{Gradient2, Gradient2Config};
pub use losses::LossConfig;
pub use vegas::{Vegas, VegasConfig};

use std::time::Duration;

use lb_core::Mono;

/// What one request tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it started.
    pub started: Mono,
    /// From its start to its end; zero is taken as a nanosecond.
    pub rtt: Duration,
    /// Requests in flight when it started, itself included ([`Permit::in_flight`](crate::Permit::in_flight)).
    pub in_flight: u32,
    /// Whether it was lost: timed out, or refused by the service as too much.
    pub dropped: bool,
}

impl Sample {
    fn nanos(&self) -> f64 {
        self.rtt.as_nanos().max(1) as f64
    }

    fn ended(&self) -> Mono {
        self.started.saturating_add(self.rtt)
    }

    /// Whether at least half of the limit was used: of less, growing would teach nothing.
    fn uses(&self, limit: f64) -> bool {
        f64::from(self.in_flight) * 2.0 >= limit
    }
}

/// A limit on concurrency that learns.
pub trait Limit {
    /// The limit now; at least one.
    fn limit(&self) -> u32;

    /// Learns from one request that ended; tells the limit from now on. `entropy` is 64 random bits.
    fn on_sample(&mut self, sample: &Sample, entropy: u64) -> u32;
}

/// Low and high, the right way round and at least one.
fn bounds(min: u32, max: u32) -> (f64, f64) {
    let min = min.max(1);
    (f64::from(min), f64::from(max.max(min)))
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    use super::testing::{Service, served};

    fn all() -> [Box<dyn Limit>; 4] {
        [
            Box::new(Aimd::new(AimdConfig::default())),
            Box::new(Vegas::new(VegasConfig::default(), 0)),
            Box::new(Gradient2::new(Gradient2Config::default())),
            Box::new(Gradient::new(GradientConfig::default(), Mono::ZERO, 0)),
        ]
    }

    #[test]
    fn every_rule_begins_low_and_does_not_grow_unused() {
        for mut rule in all() {
            let initial = rule.limit();
            assert!([3, 20].contains(&initial));
            for n in 0..20 {
                assert_eq!(rule.on_sample(&served(n * 1_000, 10, 1), 0), initial);
            }
        }
    }

    #[test]
    fn every_rule_grows_while_a_busy_service_keeps_its_pace() {
        for mut rule in all() {
            let reached = Service::new(10).run(&mut *rule, 20_000, |_| false);
            assert!(reached >= 190, "{reached}");
        }
    }

    #[test]
    fn every_rule_gives_way_to_a_total_loss() {
        for mut rule in all() {
            let mut service = Service::new(10);
            let _ = service.run(&mut *rule, 20_000, |_| false);
            let left = service.run(&mut *rule, 50_000, |_| true);
            assert!(left <= 20, "{left}");
        }
    }

    #[test]
    fn no_sample_breaks_a_rule() {
        for mut rule in all() {
            for round in 0..1_000_u32 {
                let rtt = [Duration::ZERO, Duration::MAX, Duration::from_nanos(1)][round as usize % 3];
                let in_flight = [0, 1, u32::MAX][round as usize / 3 % 3];
                let started = [Mono::ZERO, Mono::MAX, Mono::from_millis(u64::from(round))][round as usize / 9 % 3];
                let sample = Sample { started, rtt, in_flight, dropped: round % 2 == 0 };
                let limit = rule.on_sample(&sample, u64::from(round) << 55);
                assert!((1..=1_000).contains(&limit));
            }
        }
    }
}
