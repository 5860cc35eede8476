//! Zone awareness around any policy: stay in the zone the request came in by, as far as that is fair.
//!
//! Traffic between zones costs money and time; but if every zone kept its own requests, a zone with many clients and few endpoints
//! would drown. Envoy's rule keeps both in view: as long as a zone has at least as large a share of the endpoints as of the origins
//! (the proxies that send), it keeps all; else it keeps what its endpoints bear, endpoints ∕ origins, and sends the rest to the zones that have
//! endpoints to spare, in proportion to what they have to spare.
//!
//! **Source**: Envoy's zone-aware routing. Shares are of weight, not of heads. **Cost**: one draw more, and one table a zone.
//! **Off**, so that the inner policy picks among all: there are no origins, the request's zone is unknown or no origin's, fewer than two zones, fewer endpoints than
//! `minimum` (6), or panic. If the zone drawn has no usable endpoint, all zones are looked at.
//!
//! Origins and endpoints are matched by zone, never by place in a list, and either may have zones the other lacks: an origin's zone
//! without endpoints keeps nothing, endpoints in a zone without origins have all they have to spare.
//!
//! With a keyed policy the key draws the zone too, so a key stays where it is; endpoints that are out count as there.

use crate::cluster::view::View;
use crate::context::PickCx;
use crate::hashing::{key_hash, mix};
use crate::identity::Zone;
use crate::index::Index;
use crate::policy::{Ask, Candidate, Policy, Table};
use crate::signals::{Learning, Signals};
use crate::witness::{Explaining, Step};

/// A policy that keeps to its request's zone ([`PickCx::zone`]) as far as is fair.
#[derive(Clone, Debug)]
pub struct ZoneAware<P> {
    inner: P,
    origins: Vec<(Zone, u32)>,
    minimum: usize,
}

impl<P> ZoneAware<P> {
    /// `origins` has how many senders (proxies like this one) there are in each zone; a zone listed twice counts with its sum.
    #[must_use]
    pub fn new(inner: P, origins: &[(Zone, u32)]) -> Self {
        Self { inner, origins: origins.to_vec(), minimum: 6 }
    }

    /// The policy that picks within a zone.
    #[must_use]
    pub const fn inner(&self) -> &P {
        &self.inner
    }

    /// Sets how few endpoints are too few to divide; default 6, as in Envoy.
    #[must_use]
    pub fn minimum(mut self, endpoints: usize) -> Self {
        self.minimum = endpoints;
        self
    }
}

impl<P: Policy> Policy for ZoneAware<P> {
    type Table = ZoneAwareTable<P::Table>;

    fn signals(&self) -> Signals {
        if self.origins.is_empty() { self.inner.signals() } else { self.inner.signals().and(Signals::ENTROPY) }
    }

    fn build(&self, candidates: &[Candidate<'_>], previous: Option<&Self::Table>) -> Self::Table {
        let mut zones: Vec<Zone> = candidates.iter().filter_map(|candidate| candidate.zone).collect();
        zones.sort_unstable();
        zones.dedup();
        let weights = |zone| -> u64 {
            candidates.iter().filter(|c| c.zone == Some(zone)).map(|c| u64::from(c.weight.value())).sum()
        };
        let endpoints: Vec<u64> = zones.iter().map(|&zone| weights(zone)).collect();
        let is_divided = zones.len() >= 2 && candidates.len() >= self.minimum;
        let plans = if is_divided { plans(&self.origins, &zones, &endpoints) } else { Vec::new() };
        let is_divided = !plans.is_empty();
        let tables = zones.iter().map(|&zone| {
            let own: Vec<_> = candidates.iter().filter(|c| c.zone == Some(zone)).copied().collect();
            let before = previous.and_then(|old| old.zones.iter().find(|(of, _)| *of == zone));
            (zone, self.inner.build(&own, before.map(|(_, table)| table)))
        });
        ZoneAwareTable {
            zones: if is_divided { tables.collect() } else { Box::default() },
            plans: plans.into(),
            all: self.inner.build(candidates, previous.map(|old| &old.all)),
            is_keyed: self.inner.signals().contains(Signals::KEY),
        }
    }

    fn learning(&self) -> Learning {
        self.inner.learning()
    }
}

/// The table of [`ZoneAware`].
#[derive(Debug)]
pub struct ZoneAwareTable<B> {
    all: B,
    zones: Box<[(Zone, B)]>,
    plans: Box<[Plan]>,
    is_keyed: bool,
}

impl<B: Table> Table for ZoneAwareTable<B> {
    #[inline]
    fn pick(&self, view: &View<'_>, cx: &mut PickCx<'_>) -> Option<Index> {
        self.choose(view, cx)
    }

    fn explain(&self, view: &View<'_>, cx: &mut PickCx<'_, Explaining>) -> Option<Index> {
        self.choose(view, cx)
    }
}

impl<B: Table> ZoneAwareTable<B> {
    #[inline]
    fn choose<W: Ask>(&self, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
        let plan = self.plans.iter().find(|plan| Some(plan.origin) == cx.zone && !view.is_panicking());
        let drawn = plan.and_then(|plan| {
            let point = match cx.key {
                Some(key) if self.is_keyed => (mix(key_hash(key)) >> 11) as f64 / (1_u64 << 53) as f64,
                _ => cx.entropy.unit(),
            };
            let zone = plan.ends.partition_point(|&end| end <= point);
            cx.witness.note(|| Step::Zone { place: zone });
            W::ask(&self.zones.get(zone)?.1, view, cx)
        });
        drawn.or_else(|| W::ask(&self.all, view, cx))
    }
}

/// Where the requests of one origin's zone go.
#[derive(Debug)]
struct Plan {
    origin: Zone,
    /// Cumulative shares of the zones with endpoints, in their order.
    ends: Box<[f64]>,
}

fn plans(origins: &[(Zone, u32)], zones: &[Zone], endpoints: &[u64]) -> Vec<Plan> {
    let senders: u64 = origins.iter().map(|&(_, count)| u64::from(count)).sum();
    let total: u64 = endpoints.iter().sum();
    if senders == 0 || total == 0 {
        return Vec::new();
    }
    let origin_share = |zone: Zone| {
        let count: u64 = origins.iter().filter(|(of, _)| *of == zone).map(|&(_, count)| u64::from(count)).sum();
        count as f64 / senders as f64
    };
    let spare: Vec<f64> = zones
        .iter()
        .zip(endpoints)
        .map(|(&zone, &weight)| (weight as f64 / total as f64 - origin_share(zone)).max(0.0))
        .collect();
    let all_spare: f64 = spare.iter().sum();
    let mut planned: Vec<Zone> = origins.iter().filter(|(_, count)| *count > 0).map(|&(zone, _)| zone).collect();
    planned.sort_unstable();
    planned.dedup();
    planned
        .into_iter()
        .map(|origin| {
            let home = zones.iter().position(|&zone| zone == origin);
            let bears = home.and_then(|home| endpoints.get(home)).map_or(0.0, |&weight| weight as f64 / total as f64);
            let kept = (bears / origin_share(origin)).min(1.0);
            // Kept whole but for the noise of the division, or with no endpoint to send the rest to.
            let kept = if kept > 1.0 - 1e-9 || all_spare <= 0.0 { 1.0 } else { kept };
            let mut end = 0.0;
            let ends = spare.iter().enumerate().map(|(place, spare)| {
                let sent = if kept < 1.0 { (1.0 - kept) * spare / all_spare } else { 0.0 };
                end += sent + if Some(place) == home { kept } else { 0.0 };
                end
            });
            Plan { origin, ends: ends.collect() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use lb_core::{Axis, Mono};

    use super::*;
    use crate::testing::member;
    use crate::{Cluster, Entropy, Rendezvous, RoundRobin, Selector, Update};

    const A: Zone = Zone(2);
    const B: Zone = Zone(3);
    const C: Zone = Zone(7);

    fn bench<P: Policy>(policy: P, zones: &[Zone]) -> (Cluster<usize>, Selector<P, usize>) {
        let cluster = Cluster::new("zones");
        let members = zones.iter().enumerate().map(|(n, &zone)| member(n).zone(Some(zone)));
        cluster.apply(Update::Reset(members.collect()), Mono::ZERO);
        let selector = cluster.selector(policy);
        (cluster, selector)
    }

    fn counts<P: Policy>(selector: &Selector<P, usize>, zones: &[Zone], from: Option<Zone>) -> Vec<(Zone, u32)> {
        let mut counts: Vec<(Zone, u32)> = [A, B, C].map(|zone| (zone, 0)).into();
        let mut entropy = Entropy::seeded(1);
        for _ in 0..6_000 {
            let mut cx = PickCx::new(Mono::ZERO, &mut entropy).zone(from);
            let zone = zones[*selector.pick(&mut cx).unwrap().endpoint().value()];
            counts.iter_mut().find(|(of, _)| *of == zone).unwrap().1 += 1;
        }
        counts
    }

    #[test]
    fn a_zone_with_its_share_of_endpoints_keeps_all() {
        let zones = [A, A, A, B, B, B];
        let (_, selector) = bench(ZoneAware::new(RoundRobin, &[(A, 1), (B, 1)]), &zones);
        assert_eq!(counts(&selector, &zones, Some(A))[0], (A, 6_000));
        assert_eq!(counts(&selector, &zones, Some(B))[1], (B, 6_000));
        assert_eq!(counts(&selector, &zones, None)[..2], [(A, 3_000), (B, 3_000)], "no zone: all equal");
    }

    #[test]
    fn a_zone_short_of_endpoints_keeps_what_they_bear() {
        // Origins ½, ¼, ¼; endpoints ¼, ¼, ½: A keeps half, the rest goes to C, the only one with endpoints to spare.
        let zones = [A, A, B, B, C, C, C, C];
        let (_, selector) = bench(ZoneAware::new(RoundRobin, &[(A, 2), (B, 1), (C, 1)]), &zones);
        let from_a = counts(&selector, &zones, Some(A));
        // σ = √(6000·½·½) ≈ 39; 195 is five of them.
        assert!(from_a[0].1.abs_diff(3_000) < 195 && from_a[1].1 == 0, "{from_a:?}");
        assert_eq!(counts(&selector, &zones, Some(B))[1], (B, 6_000));
        assert_eq!(counts(&selector, &zones, Some(C))[2], (C, 6_000));
    }

    #[test]
    fn zones_that_do_not_match_leave_no_endpoint_out() {
        // An origin in zone 9 where no endpoint is; endpoints in C where no origin is.
        let zones = [C, C, A, A, B, B];
        let (_, selector) = bench(ZoneAware::new(RoundRobin, &[(A, 1), (B, 1), (Zone(9), 1)]), &zones);
        assert_eq!(counts(&selector, &zones, Some(A))[0], (A, 6_000));
        assert_eq!(counts(&selector, &zones, Some(Zone(9)))[2], (C, 6_000), "C alone has endpoints to spare");
        let from_c = counts(&selector, &zones, Some(C));
        assert!(from_c.iter().all(|&(_, n)| n == 2_000), "C is no origin: {from_c:?}");
    }

    #[test]
    fn few_endpoints_or_a_zone_that_is_out_are_not_divided() {
        let few = [A, A, B, B];
        let (_, selector) = bench(ZoneAware::new(RoundRobin, &[(A, 1), (B, 1)]), &few);
        assert_eq!(counts(&selector, &few, Some(A))[..2], [(A, 3_000), (B, 3_000)]);
        let zones = [A, A, A, B, B, B, B];
        let (cluster, selector) = bench(ZoneAware::new(RoundRobin, &[(A, 1), (B, 1)]), &zones);
        for endpoint in cluster.endpoints().iter().take(3) {
            cluster.set(endpoint.uid(), Axis::Check, true, Mono::ZERO);
        }
        assert_eq!(counts(&selector, &zones, Some(A))[1], (B, 6_000));
    }

    #[test]
    fn a_key_stays_where_it_is() {
        let zones = [A, A, B, B, C, C, C, C];
        let (_, selector) = bench(ZoneAware::new(Rendezvous::new(), &[(A, 2), (B, 1), (C, 1)]), &zones);
        let mut entropy = Entropy::seeded(1);
        for key in 0..200_u32 {
            let key = key.to_le_bytes();
            let mut pick = || {
                let mut cx = PickCx::new(Mono::ZERO, &mut entropy).zone(Some(A)).key(Some(&key));
                *selector.pick(&mut cx).unwrap().endpoint().value()
            };
            assert_eq!(pick(), pick());
        }
    }
}
