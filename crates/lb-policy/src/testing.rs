//! What the tests of the policies share: a cluster whose endpoints are numbers, and a selector over it.

use std::cell::RefCell;
use std::sync::Arc;

use lb_core::{Axis, EndpointState, InFlightLimit, Mono};

use crate::estimate::ladder::Ladders;
use crate::{
    Candidate, Cluster, Entropy, Identity, Index, Member, PickCx, PickError, Policy, Selector, Ticket, Tried, Uid,
    Update,
};

pub(crate) struct Bench<P: Policy> {
    pub(crate) cluster: Cluster<usize>,
    pub(crate) selector: Selector<P, usize>,
    entropy: RefCell<Entropy>,
    members: usize,
}

impl<P: Policy> Bench<P> {
    /// Endpoints 0, 1, … of these weights.
    pub(crate) fn new(policy: P, weights: &[u16]) -> Self {
        let cluster = Cluster::new("bench");
        let selector = cluster.selector(policy);
        let mut bench = Self { cluster, selector, entropy: RefCell::new(Entropy::seeded(1)), members: 0 };
        bench.reset(weights, Mono::ZERO);
        bench
    }

    pub(crate) fn reset(&mut self, weights: &[u16], now: Mono) {
        self.members = weights.len();
        let members = weights.iter().enumerate().map(|(n, &weight)| member(n).weight(weight));
        self.cluster.apply(Update::Reset(members.collect()), now);
    }

    pub(crate) fn set(&self, n: usize, axis: Axis, on: bool, now: Mono) {
        let uid = self.cluster.uid_of(&member(n).identity).unwrap();
        assert!(self.cluster.set(uid, axis, on, now));
    }

    pub(crate) fn pick(&self) -> Result<Ticket<usize>, PickError> {
        self.pick_with(None, &Tried::new(), Mono::ZERO)
    }

    pub(crate) fn pick_with(&self, key: Option<&[u8]>, tried: &Tried, now: Mono) -> Result<Ticket<usize>, PickError> {
        let mut entropy = self.entropy.borrow_mut();
        self.selector.pick(&mut PickCx::new(now, &mut entropy).key(key).tried(tried))
    }

    /// Who serves this key, the request being over at once.
    pub(crate) fn pick_for(&self, key: &[u8]) -> Option<usize> {
        self.pick_with(Some(key), &Tried::new(), Mono::ZERO).ok().map(|ticket| *ticket.endpoint().value())
    }

    /// So many requests, one after another; `usize::MAX` where none was picked.
    pub(crate) fn picks(&self, count: usize) -> Vec<usize> {
        (0..count).map(|_| self.pick().map_or(usize::MAX, |ticket| *ticket.endpoint().value())).collect()
    }

    /// How many of so many requests each endpoint got.
    pub(crate) fn counts(&mut self, count: usize) -> Vec<usize> {
        let mut counts = vec![0; self.members];
        for place in self.picks(count) {
            counts[place] += 1;
        }
        counts
    }

    pub(crate) fn in_flight(&self) -> Vec<u32> {
        self.cluster.endpoints().iter().map(|endpoint| endpoint.state().in_flight()).collect()
    }
}

pub(crate) fn member(n: usize) -> Member<usize> {
    Member::new(Identity::literal(format!("10.0.{}.{}:80", n / 256, n % 256)), n)
}

/// Lends candidates of these weights, zero included, to a builder.
pub(crate) fn with_candidates<R>(weights: &[u16], build: impl FnOnce(&[Candidate<'_>]) -> R) -> R {
    let members: Vec<_> = weights.iter().enumerate().map(|(n, &weight)| member(n).weight(weight)).collect();
    let states: Vec<_> = members.iter().map(|_| Arc::new(EndpointState::new(InFlightLimit::NONE))).collect();
    let mut ladders = Ladders::default();
    let lanes: Vec<_> = weights.iter().map(|&weight| ladders.take(weight)).collect();
    let candidates: Vec<_> = members
        .iter()
        .zip(states.iter().zip(&lanes))
        .zip(0..)
        .map(|((member, (state, lane)), place)| Candidate {
            index: Index::new(place),
            identity: &member.identity,
            uid: Uid::new(u64::from(place) + 1),
            weight: member.weight,
            affinity: member.affinity,
            zone: member.zone,
            state,
            lane,
        })
        .collect();
    build(&candidates)
}

/// `a` for endpoint 0, and so on; `-` for none.
pub(crate) fn letters(places: &[usize]) -> String {
    places.iter().map(|&place| if place > 25 { '-' } else { char::from(b'a' + place as u8) }).collect()
}
