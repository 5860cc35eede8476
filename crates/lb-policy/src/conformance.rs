//! What every policy promises, as a suite that any [`Policy`] can run.
//!
//! A policy that is wrong still balances "well enough" to pass a casual test: real balancers shipped weighted turns that came in bursts,
//! shares that fell to a neighbour, weights lost after a recovery. Each check here is named for the promise it guards, and
//! this crate's tests prove of every one of those defects that the suite finds it.
//!
//! ```
//! use lb_policy::conformance::{Promises, check};
//! use lb_policy::RoundRobin;
//!
//! assert!(check(|| RoundRobin, &Promises::turns()).is_empty());
//! ```
//!
//! Everything is deterministic but for two checks with threads. The suite judges what can be seen from outside; it cannot judge whether a
//! policy is a good idea, and it stops a thread where the table asks for usable endpoints, so it misses a lock that is held only elsewhere.

mod bench;
mod checks;
mod crowds;

use std::fmt;

use lb_core::{Axis, Class, End, Mono};

use self::bench::{Bench, key};
use self::checks::{Suite, Verdict};
use crate::{Entropy, PickCx, Policy, Tried, Zone};

/// What a policy is held to, besides what all are.
#[derive(Clone, Copy, Debug)]
pub struct Promises {
    /// How requests, or keys, are shared among idle endpoints.
    pub shares: Shares,
    /// How far a share may be off by construction, relative to itself, on top of five standard deviations of chance: 0 for most,
    /// 0.3 for a ring with 160 points an endpoint.
    pub spread: f64,
    /// Turns are spread out: no endpoint is ever a whole turn ahead of its due or behind it (weights 5, 1, 1 and 3, 2, 1).
    pub is_smooth: bool,
    /// For keyed policies: of all keys, the share that may move beyond what must when a member joins or leaves; none if there is
    /// no such promise. That an endpoint which is out moves only its own keys is promised by all of them.
    pub disruption: Option<f64>,
    /// For policies by load: how far in flight ∕ weight may differ among endpoints when every request is held; none if load is
    /// not looked at.
    pub imbalance: Option<f64>,
    /// Made with the origins [`ORIGINS`], it keeps to its request's zone as far as is fair.
    pub is_zone_aware: bool,
}

/// The origins that a policy with [`Promises::is_zone_aware`] is to be made with. In the last of them there are no endpoints, and there
/// are endpoints in a zone that is not among them.
pub const ORIGINS: [(Zone, u32); 3] = [(Zone(2), 1), (Zone(3), 1), (Zone(9), 1)];

/// How requests are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shares {
    /// In proportion to weight.
    ByWeight,
    /// All equal, whatever the weight.
    Equal,
    /// All equal where weights are; where they differ, as the policy sees fit.
    EqualIfWeightsAre,
    /// As the policy sees fit.
    Unpromised,
}

impl Promises {
    /// Of a policy that takes turns by weight.
    #[must_use]
    pub const fn turns() -> Self {
        Self {
            shares: Shares::ByWeight,
            spread: 0.0,
            is_smooth: true,
            disruption: None,
            imbalance: None,
            is_zone_aware: false,
        }
    }

    /// Of a policy that draws at random by weight.
    #[must_use]
    pub const fn random() -> Self {
        Self { is_smooth: false, ..Self::turns() }
    }

    /// For a policy that picks by load; `imbalance` as in [`Promises::imbalance`].
    #[must_use]
    pub const fn load(imbalance: f64) -> Self {
        Self { imbalance: Some(imbalance), ..Self::random() }
    }

    /// Of a policy that hashes a key; see [`Promises::spread`] and [`Promises::disruption`].
    #[must_use]
    pub const fn keyed(spread: f64, disruption: Option<f64>) -> Self {
        Self { spread, disruption, ..Self::random() }
    }
}

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Which; one of [`PROMISES`], or [`CROWD`].
    pub promise: &'static str,
    /// What was seen instead.
    pub seen: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.seen)
    }
}

/// Every promise by name, in the order in which [`check`] looks at them.
pub const PROMISES: &[&str] = &[
    "no endpoint, one and weight zero are ordinary states",
    "shares are as promised",
    "turns are spread out",
    "what an absent endpoint had falls to the others in proportion",
    "shares return after a recovery",
    "shares follow an update",
    "the table answers only usable endpoints",
    "no ineligible endpoint is picked while one is eligible",
    "a retry never repeats an endpoint",
    "a full endpoint is left alone",
    "no slot in flight is leaked",
    "time may stand still or go backwards",
    "clusters share nothing",
    "only the keys of the one that is out move, and they return",
    "joining and leaving move few keys",
    "a restarted endpoint keeps its keys",
    "load is evened out, heads or no heads",
    "failing fast is not being fast",
    "zones are matched by identity, not by place",
    "a stalled thread stops no other",
];

/// The promise of [`check_crowd`].
pub const CROWD: &str = "a hundred thousand are an ordinary state";

/// Holds a policy to its promises; what comes back empty is kept. `make` makes the policy afresh for each cluster.
#[must_use]
pub fn check<P: Policy>(make: impl Fn() -> P, promises: &Promises) -> Vec<Breach> {
    let suite = Suite { make: &make, promises };
    let checks: [Check<'_, P>; 20] = [
        Suite::ordinary_states,
        Suite::shares,
        Suite::smoothness,
        Suite::redistribution,
        Suite::recovery,
        Suite::update,
        Suite::honest_table,
        Suite::eligibility,
        Suite::retries,
        Suite::limits,
        Suite::leaks,
        Suite::time,
        Suite::strangers,
        Suite::flaps,
        Suite::disruption,
        Suite::restart,
        Suite::balance,
        Suite::failures,
        Suite::zones,
        Suite::stalls,
    ];
    let verdicts = PROMISES.iter().zip(checks);
    verdicts.filter_map(|(&promise, check)| Some(Breach { promise, seen: check(&suite).err()? })).collect()
}

/// Holds a policy to what is promised of it among a hundred thousand endpoints: no ineligible endpoint is picked, the few eligible ones are found,
/// updates are followed, no slot is leaked. Apart from [`check`], since it may take seconds without optimization.
#[must_use]
pub fn check_crowd<P: Policy>(make: impl Fn() -> P) -> Option<Breach> {
    let suite = Suite { make: &make, promises: &Promises::random() };
    Some(Breach { promise: CROWD, seen: suite.crowd().err()? })
}

/// Whether picking allocates. `count` runs its argument and returns the number of allocations, for example with the crate
/// `allocation-counter`.
#[must_use]
pub fn allocations<P: Policy>(make: impl Fn() -> P, count: impl FnOnce(&mut dyn FnMut()) -> u64) -> u64 {
    let bench = Bench::new(make(), &[3, 2, 1, 1]);
    bench.set(1, Axis::Check, true);
    let mut entropy = Entropy::seeded(1);
    let mut tried = Tried::new();
    tried.push(bench.cluster.endpoints().first().map_or(crate::Uid::NONE, |endpoint| endpoint.uid()));
    count(&mut || {
        for n in 0..500 {
            let key = key(n);
            let now = Mono::from_millis(u64::from(n));
            let mut cx = PickCx::new(now, &mut entropy).key(Some(&key)).preferred(Some(u64::from(n)));
            if n % 2 == 0 {
                cx = cx.tried(&tried);
            }
            if let Ok(mut ticket) = bench.selector.pick(&mut cx) {
                ticket.on_head(Class::Status(200), now);
                ticket.on_end(End::Completed, now);
            }
        }
    })
}

type Check<'a, P> = fn(&Suite<'a, P>) -> Verdict;
