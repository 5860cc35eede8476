//! Clusters of every size and shape.

use lb_core::{Acquire, InFlightLimit, Mono};
use lb_policy::{Cluster, Identity, Member, Update};

/// How many endpoints a cluster has, and what they are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How many there are.
    pub endpoints: usize,
    /// Every tenth has ten times the weight of the others.
    pub is_skewed: bool,
    /// Three of ten are full. They stay in every table, since requests end at any moment, so a pick meets them.
    pub is_crowded: bool,
    /// Each has one to five requests in flight: no idle one ends a search early.
    pub is_busy: bool,
}

impl Shape {
    /// Equal endpoints with room.
    #[must_use]
    pub const fn even(endpoints: usize) -> Self {
        Self { endpoints, is_skewed: false, is_crowded: false, is_busy: false }
    }
}

impl Shape {
    /// A cluster of this shape; its endpoints' values are their places.
    ///
    /// # Panics
    /// Never: the slots that are taken are those of endpoints that nobody else knows.
    #[must_use]
    pub fn cluster(self) -> Cluster<usize> {
        let cluster = Cluster::new("bench");
        let members = (0..self.endpoints).map(|place| member(place, self)).collect();
        cluster.apply(Update::Reset(members), Mono::ZERO);
        // Never given back: the cluster stays like this to its end.
        for (place, endpoint) in cluster.endpoints().iter().enumerate() {
            for _ in 0..self.in_flight(place) {
                assert!(matches!(endpoint.state().acquire(), Acquire::Taken { .. }), "nobody else takes slots yet");
            }
        }
        cluster
    }

    const fn in_flight(self, place: usize) -> usize {
        match self {
            Self { is_crowded: true, .. } if is_full(place) => 1,
            Self { is_busy: true, .. } => 1 + place * 7 % 5,
            _ => 0,
        }
    }
}

fn member(place: usize, shape: Shape) -> Member<usize> {
    let address = format!("10.{}.{}.{}:80", place >> 16, (place >> 8) & 255, place & 255);
    let weight: u16 = if shape.is_skewed && place.is_multiple_of(10) { 10 } else { 1 };
    let member = Member::new(Identity::literal(address), place).weight(weight);
    if shape.is_crowded && is_full(place) { member.limit(InFlightLimit::new(1)) } else { member }
}

/// Spread evenly, and over both weights.
const fn is_full(place: usize) -> bool {
    (place * 7 + place / 10) % 10 < 3
}
