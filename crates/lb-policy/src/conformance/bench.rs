//! What the checks are run on.

use lb_core::{Axis, Class, InFlightLimit, Mono};

use crate::hashing::mix;
use crate::{Cluster, Entropy, Identity, Member, PickCx, PickError, Policy, Selector, Ticket, Update};

/// A cluster of numbered endpoints under test.
pub(super) struct Bench<P: Policy> {
    pub(super) cluster: Cluster<usize>,
    pub(super) selector: Selector<P, usize>,
    members: usize,
}

pub(super) fn identity(place: usize) -> Identity {
    Identity::new(format!("app-{place}:80"), format!("10.0.0.{place}:80"))
}

pub(super) fn member(place: usize, weight: u16) -> Member<usize> {
    Member::new(identity(place), place).weight(weight)
}

/// Four scattered octets, good as a key for `ip_hash` too.
pub(super) fn key(n: u32) -> [u8; 4] {
    (mix(u64::from(n) + 1) as u32).to_le_bytes()
}

/// Takes every slot of this endpoint, which has one.
pub(super) fn full<P: Policy>(bench: &Bench<P>, place: usize) -> Option<Ticket<usize>> {
    let endpoints = bench.cluster.endpoints();
    let endpoint = endpoints.get(place)?;
    endpoint.state().set_max_in_flight(InFlightLimit::new(1));
    let mut entropy = Entropy::seeded(1);
    bench.selector.pick(&mut PickCx::new(Mono::ZERO, &mut entropy).preferred(Some(endpoint.affinity()))).ok()
}

impl<P: Policy> Bench<P> {
    pub(super) fn new(policy: P, weights: &[u16]) -> Self {
        let cluster = Cluster::new("conformance");
        let selector = cluster.selector(policy);
        let members = weights.iter().enumerate().map(|(place, &weight)| member(place, weight));
        cluster.apply(Update::Reset(members.collect()), Mono::ZERO);
        cluster.set_panic_mode(crate::PanicMode::Never, Mono::ZERO);
        Self { cluster, selector, members: weights.len() }
    }

    pub(super) fn set(&self, place: usize, axis: Axis, on: bool) {
        if let Some(uid) = self.cluster.uid_of(&identity(place)) {
            self.cluster.set(uid, axis, on, Mono::ZERO);
        }
    }

    pub(super) fn pick(&self, n: u32) -> Result<Ticket<usize>, PickError> {
        self.pick_at(n, Mono::ZERO)
    }

    /// The n-th request: its key and its random numbers follow from n.
    pub(super) fn pick_at(&self, n: u32, now: Mono) -> Result<Ticket<usize>, PickError> {
        let mut entropy = Entropy::seeded(mix(u64::from(n) ^ 0xc0ff_ee00_0000_0000));
        let key = key(n);
        self.selector.pick(&mut PickCx::new(now, &mut entropy).key(Some(&key)))
    }

    pub(super) fn place(&self, n: u32) -> Option<usize> {
        self.pick(n).ok().map(|ticket| *ticket.endpoint().value())
    }

    /// How many of so many requests each got, one after another, all answered after a millisecond.
    pub(super) fn counts(&self, requests: u32) -> Vec<u32> {
        let mut counts = vec![0; self.members];
        for n in 0..requests {
            let Ok(mut ticket) = self.pick(n) else { continue };
            ticket.on_head(Class::Status(200), Mono::from_millis(1));
            if let Some(count) = counts.get_mut(*ticket.endpoint().value()) {
                *count += 1;
            }
        }
        counts
    }

    /// Who has each of a few thousand keys.
    pub(super) fn owners(&self) -> Vec<Option<usize>> {
        (0..2_000).map(|n| self.place(n)).collect()
    }

    pub(super) fn in_flight(&self) -> Vec<u32> {
        self.cluster.endpoints().iter().map(|endpoint| endpoint.state().in_flight()).collect()
    }
}
