//! Power of two choices: draw two different endpoints, take the one with less to do.
//!
//! **Source**: Mitzenmacher (2001), Vvedenskaya et al. (1996). Compared with a random choice the queue's tail shrinks from
//! geometric to doubly exponential: at 90 % load the mean time in the system is 2.6 services instead of 10. **Cost**: two random
//! numbers, two loads that do not depend on each other; 16 bytes an endpoint.
//!
//! The two draws are in proportion to weight, without repetition, and the loads compared are in flight ∕ weight, as in nginx's
//! `random two least_conn`: shares follow the weights both when idle and when busy. Comparing (in flight + 1) ∕ weight instead starves
//! light endpoints: with weights 10, 1, 1, 1 and few requests in flight they get a sixth of their share. On a tie the first draw
//! stands; it is random already.
//!
//! **Use it** by default when requests differ in length and several proxies share the endpoints: since each sees only its own
//! requests, an exact minimum would send all of them to the same endpoint. **Do not** when there are only a few endpoints and one
//! proxy: `least_request` then knows better.

use crate::algorithms::alias::Alias;
use crate::cluster::view::View;
use crate::context::PickCx;
use crate::index::Index;
use crate::options::{Configurable, Options, PolicyInfo};
use crate::policy::{Candidate, Choose, Policy};
use crate::signals::Signals;
use crate::witness::Witness;

/// The policy `p2c`: the less busy of two drawn at random.
#[derive(Clone, Copy, Debug, Default)]
pub struct P2c;

impl Configurable for P2c {
    const INFO: PolicyInfo = PolicyInfo::new("p2c");

    fn from_options(_options: &Options<'_>) -> Self {
        Self
    }
}

impl Policy for P2c {
    type Table = P2cTable;

    fn signals(&self) -> Signals {
        Signals::ENTROPY.and(Signals::IN_FLIGHT)
    }

    fn build(&self, candidates: &[Candidate<'_>], _previous: Option<&Self::Table>) -> Self::Table {
        P2cTable { alias: Alias::new(candidates) }
    }
}

/// The table of [`P2c`].
#[derive(Debug)]
pub struct P2cTable {
    alias: Alias,
}

impl Choose for P2cTable {
    #[inline]
    fn choose<W: Witness>(&self, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
        self.alias.lightest_of(
            2,
            view,
            cx,
            PER_WEIGHT,
            |index| per_weight(view, index),
            |one, other| is_lighter(view, one, other),
        )
    }
}

/// What [`is_lighter`] compares, for explanations.
pub(crate) fn per_weight(view: &View<'_>, index: Index) -> f64 {
    f64::from(view.in_flight(index)) / f64::from(view.weight(index).value().max(1))
}

pub(crate) const PER_WEIGHT: &str = "in flight per weight, least wins";

/// Whether `one` has less in flight per weight than `other`.
pub(crate) fn is_lighter(view: &View<'_>, one: Index, other: Index) -> bool {
    let weight = |index| u64::from(view.weight(index).value());
    match (u64::from(view.in_flight(one)), u64::from(view.in_flight(other))) {
        // Weights, which are above zero, decide nothing here, and lie on two cache lines more.
        (_, 0) => false,
        (0, _) => true,
        (load, others) => load * weight(other) < others * weight(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn of_two_endpoints_the_less_busy_always_gets_it() {
        let bench = Bench::new(P2c, &[1, 1]);
        let mut held: Vec<_> = (0..10).map(|_| bench.pick().unwrap()).collect();
        assert_eq!(bench.in_flight(), [5, 5]);
        held.retain(|ticket| *ticket.endpoint().value() == 1);
        let next: Vec<_> = (0..5).map(|_| bench.pick().unwrap()).collect();
        assert!(next.iter().all(|ticket| *ticket.endpoint().value() == 0));
    }

    #[test]
    fn held_requests_settle_in_proportion_to_weight() {
        let bench = Bench::new(P2c, &[4, 2, 1, 1]);
        let _held: Vec<_> = (0..800).map(|_| bench.pick().unwrap()).collect();
        let counts = bench.in_flight();
        // Balanced at 400, 200, 100, 100; two choices keep each within a handful of its share.
        for (count, expected) in counts.iter().zip([400, 200, 100, 100]) {
            assert!(count.abs_diff(expected) <= 12, "{counts:?}");
        }
    }

    #[test]
    fn idle_endpoints_are_picked_in_proportion_to_weight() {
        // Of 8000: 4000, 2000, 1000, 1000; standard deviation at most √(8000·½·½) ≈ 45; 225 is five of them.
        let counts = Bench::new(P2c, &[4, 2, 1, 1]).counts(8_000);
        for (count, expected) in counts.iter().zip([4_000, 2_000, 1_000, 1_000]) {
            assert!(count.abs_diff(expected) < 225, "{counts:?}");
        }
    }

    #[test]
    fn a_slow_endpoint_does_not_pile_up() {
        // Endpoint 0 never finishes, the others at once: it may only ever be ahead by what two choices allow.
        let bench = Bench::new(P2c, &[1, 1, 1, 1, 1]);
        let mut stuck = Vec::new();
        for _ in 0..1_000 {
            let ticket = bench.pick().unwrap();
            if *ticket.endpoint().value() == 0 {
                stuck.push(ticket);
            }
        }
        assert_eq!(stuck.len(), 1, "against idle ones it never wins again");
    }
}
