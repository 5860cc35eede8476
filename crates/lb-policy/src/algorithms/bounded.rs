//! Bounded loads: a hash that never gives an endpoint more than its share and a bit.
//!
//! A hash follows its keys, and keys are not equally popular: one can overload an endpoint. Mirrokni, Thorup and
//! Zadimoghaddam (2016) bound every endpoint's load to (1 + ε) times its fair share; a key whose endpoint is at its bound goes
//! to the next by the hash's own order, and comes back when there is room. HAProxy's `hash-balance-factor` is the same rule.
//!
//! The bound counts the request at hand and is taken over the usable members, so there is always one with room. Summing what is in
//! flight costs O(n) loads a pick; without a bound nothing is paid.

use lb_core::Weight;

use crate::cluster::view::View;
use crate::context::PickCx;
use crate::hashing::{key_hash, mix};
use crate::index::Index;
use crate::signals::Signals;
use crate::witness::{Step, Witness};

/// How far above its fair share of the requests in flight an endpoint may go: a factor above 1; 1.25 to 2 are usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoundedLoad(f64);

impl BoundedLoad {
    /// This factor; at least 1.01, and 1.25 if it is not a number.
    #[must_use]
    pub fn new(factor: f64) -> Self {
        Self(if factor.is_nan() { 1.25 } else { factor.max(1.01) })
    }

    /// The bound as of now.
    pub(crate) fn measure<W: Witness>(self, view: &View<'_>, cx: &PickCx<'_, W>) -> Bound {
        let (in_flight, weight) =
            view.eligible().filter(|&index| view.is_usable(index, cx)).fold((0, 0), |sum, index| {
                let (in_flight, weight): (u64, u64) = sum;
                (in_flight + u64::from(view.in_flight(index)), weight + u64::from(view.weight(index).value()))
            });
        let per_weight = self.0 * (in_flight + 1) as f64 / weight.max(1) as f64;
        cx.witness.note(|| Step::Bound { per_weight });
        Bound { per_weight }
    }
}

/// A bound as it stands for one pick.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    per_weight: f64,
}

impl Bound {
    /// Whether one request more keeps it within its bound, rounded up.
    pub(crate) fn has_room(self, in_flight: u32, weight: Weight) -> bool {
        f64::from(in_flight) < (self.per_weight * f64::from(weight.value())).ceil()
    }
}

/// Whether this pick may go there, bound included.
#[inline]
pub(crate) fn is_open<W: Witness>(view: &View<'_>, cx: &PickCx<'_, W>, bound: Option<Bound>, index: Index) -> bool {
    view.is_usable(index, cx) && bound.is_none_or(|bound| bound.has_room(view.in_flight(index), view.weight(index)))
}

/// Where a key goes if its hash found no endpoint with room: the endpoint with the smallest part of its share; there always is one.
#[cold]
pub(crate) fn least_loaded<W: Witness>(view: &View<'_>, cx: &PickCx<'_, W>, bound: Bound) -> Option<Index> {
    let open = view.eligible().filter(|&index| is_open(view, cx, Some(bound), index));
    let load = |index| f64::from(view.in_flight(index)) / f64::from(view.weight(index).value());
    open.map(|index| (load(index), index)).min_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, index)| index)
}

/// Follows a key through the hashes of it to the first open endpoint; `owner` maps a hash to an endpoint. At an endpoint that is not
/// open the key is hashed on. Where a bound leaves none open, the least loaded takes it.
#[inline]
pub(crate) fn hash_on<W: Witness>(
    view: &View<'_>,
    cx: &PickCx<'_, W>,
    bounded: Option<BoundedLoad>,
    key: &[u8],
    owner: impl Fn(u64) -> Option<Index>,
) -> Option<Index> {
    let bound = bounded.map(|bounded| bounded.measure(view, cx));
    let mut hash = key_hash(key);
    for _ in 0..MAX_STEPS {
        let index = owner(hash)?;
        cx.witness.note(|| Step::Hashed { hash });
        cx.witness.note(|| Step::Owner { endpoint: index });
        if is_open(view, cx, bound, index) {
            return Some(index);
        }
        hash = mix(hash.wrapping_add(SECOND));
    }
    least_loaded(view, cx, bound?)
}

/// With one usable in a hundred, one key in 13 is left to the search by key; it is just as stable, only slower.
const MAX_STEPS: usize = 256;

/// Makes a second, independent hash of the first.
pub(crate) const SECOND: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a hash with this bound needs.
pub(crate) fn signals(bounded: Option<BoundedLoad>) -> Signals {
    if bounded.is_some() { Signals::KEY.and(Signals::IN_FLIGHT) } else { Signals::KEY }
}

/// A policy that hashes a key and whose only option is a [`BoundedLoad`]: its type, its constructors and its entry in the catalog.
macro_rules! bounded_policy {
    ($(#[$doc:meta])* $policy:ident = $name:literal, hashes $key:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $policy {
            bounded: Option<BoundedLoad>,
        }

        impl $policy {
            /// Without a bound.
            #[must_use]
            pub const fn new() -> Self {
                Self { bounded: None }
            }

            /// Bounds what an endpoint may carry: one at its bound is passed over like one that is out.
            #[must_use]
            pub const fn bounded(mut self, bound: BoundedLoad) -> Self {
                self.bounded = Some(bound);
                self
            }
        }

        impl $crate::options::Configurable for $policy {
            const INFO: $crate::options::PolicyInfo = $crate::options::PolicyInfo::new($name)
                .key($crate::options::KeyUse::$key)
                .options(&[$crate::options::BOUNDED_LOAD]);

            fn from_options(options: &$crate::options::Options<'_>) -> Self {
                Self { bounded: options.get(&$crate::options::BOUNDED_LOAD).map(BoundedLoad::new) }
            }
        }
    };
}
pub(crate) use bounded_policy;

#[cfg(test)]
mod tests {
    use lb_core::Mono;

    use super::*;
    use crate::testing::Bench;
    use crate::{Entropy, Hash, IpHash, Maglev, Memento, Policy, Rendezvous, RingHash};

    /// Holds requests of two keys, one of them nearly all, and releases some: no endpoint ever exceeds its bound.
    fn keeps_its_bound<P: Policy>(policy: P, factor: f64) {
        let weights = [3, 1, 1, 2, 1, 1, 1];
        let bench = Bench::new(policy, &weights);
        let mut dice = Entropy::seeded(5);
        let mut held = Vec::new();
        for step in 0..600 {
            let key = if dice.below(10) == 0 { [9, 9, 9, 9] } else { [10, 20, 30, 40] };
            let ticket = bench.pick_with(Some(&key), &crate::Tried::new(), Mono::ZERO).unwrap();
            let place = *ticket.endpoint().value();
            let (all, weight) = (held.len() as f64 + 1.0, f64::from(weights[place]));
            let most = (factor * all * weight / 10.0).ceil();
            let has = f64::from(ticket.endpoint().state().in_flight());
            assert!(has <= most, "step {step}: endpoint {place} has {has} of at most {most}");
            held.push(ticket);
            if dice.below(3) == 0 {
                drop(held.swap_remove(dice.below(held.len() as u64) as usize));
            }
        }
    }

    #[test]
    fn no_hash_ever_exceeds_its_bound_however_popular_a_key() {
        for factor in [1.01, 1.25, 2.0] {
            let bound = BoundedLoad::new(factor);
            keeps_its_bound(Hash::new().bounded(bound), factor);
            keeps_its_bound(IpHash::new().bounded(bound), factor);
            keeps_its_bound(RingHash::new().bounded(bound), factor);
            keeps_its_bound(Maglev::new().bounded(bound), factor);
            keeps_its_bound(Rendezvous::new().bounded(bound), factor);
            keeps_its_bound(Memento::new().bounded(bound), factor);
        }
    }

    #[test]
    fn the_bound_is_the_fair_share_times_the_factor_rounded_up() {
        // 9 in flight and one to come over a total weight of 4: 2.5 a weight, times 1.2 is 3; weight 2 may have 6.
        let bound = Bound { per_weight: 1.2 * 10.0 / 4.0 };
        assert!(bound.has_room(2, Weight::ONE) && !bound.has_room(3, Weight::ONE));
        assert!(bound.has_room(5, Weight::new(2)) && !bound.has_room(6, Weight::new(2)));
        assert_eq!(BoundedLoad::new(f64::NAN), BoundedLoad::new(1.25));
        assert_eq!(BoundedLoad::new(0.5), BoundedLoad::new(1.01));
    }
}
