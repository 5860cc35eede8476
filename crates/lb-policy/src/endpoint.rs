//! An endpoint as a member of its cluster: its identity and its share.
//!
//! What is configured (weight, limit, value) may change with every update; its [`Identity`] and what was
//! learned about it ([`EndpointState`]) do not. So an [`Endpoint`] is a small immutable record, remade by an update,
//! that points at a state which lives as long as the identity does.

use std::sync::Arc;
use std::time::Duration;

use lb_core::{Axis, EndpointState, InFlightLimit, Mono, Weight};

use crate::cluster::queue::Queue;
use crate::estimate::ladder::Lane;
use crate::estimate::latency;
use crate::estimate::load_report::{self, LoadReport};
use crate::identity::{Identity, Uid, Zone};

/// One endpoint as the caller wants it to be.
#[derive(Clone, Debug)]
pub struct Member<T> {
    /// Who it is. An identity the cluster knows keeps its state.
    pub identity: Identity,
    /// Its share of traffic; default one.
    pub weight: Weight,
    /// Most requests in flight; default none.
    pub limit: InFlightLimit,
    /// A stable hash of the configured name, by which sticky requests find it: [`affinity_of`] unless the caller has
    /// its own.
    pub affinity: u64,
    /// The tier: lower ones are used first, higher ones only when no lower one has a usable endpoint (backups); default 0.
    pub priority: u8,
    /// Where it runs; default unknown.
    pub zone: Option<Zone>,
    /// Reasons set or cleared together with the update, so that no pick comes in between; default none, which leaves
    /// them as they are. `WeightZero` and `Removed` follow from updates and are passed over.
    pub axes: Vec<(Axis, bool)>,
    /// What the caller needs to reach it.
    pub value: T,
}

impl<T> Member<T> {
    /// A member of weight one, without limit, priority 0, in no zone, whose affinity is that of its name.
    #[must_use]
    pub fn new(identity: impl Into<Identity>, value: T) -> Self {
        let identity = identity.into();
        let affinity = affinity_of(&identity.name);
        let (weight, limit) = (Weight::ONE, InFlightLimit::NONE);
        Self { identity, weight, limit, affinity, priority: 0, zone: None, axes: Vec::new(), value }
    }

    /// Sets the weight.
    #[must_use]
    pub fn weight(mut self, weight: impl Into<Weight>) -> Self {
        self.weight = weight.into();
        self
    }

    /// Sets the most requests in flight.
    #[must_use]
    pub fn limit(mut self, limit: InFlightLimit) -> Self {
        self.limit = limit;
        self
    }

    /// Sets the affinity.
    #[must_use]
    pub fn affinity(mut self, affinity: u64) -> Self {
        self.affinity = affinity;
        self
    }

    /// Sets the tier.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// Sets or clears a reason with the update, before the member can be picked.
    #[must_use]
    pub fn axis(mut self, axis: Axis, on: bool) -> Self {
        self.axes.push((axis, on));
        self
    }

    /// Sets the zone.
    #[must_use]
    pub fn zone(mut self, zone: Option<Zone>) -> Self {
        self.zone = zone;
        self
    }
}

/// The affinity of an endpoint configured under this name: the same in every process and release (rapidhash v3).
#[must_use]
pub fn affinity_of(name: &str) -> u64 {
    rapidhash::v3::rapidhash_v3(name.as_bytes())
}

/// An endpoint as a cluster lists it.
#[derive(Debug)]
pub struct Endpoint<T> {
    pub(crate) uid: Uid,
    pub(crate) state: Arc<EndpointState>,
    pub(crate) lane: Lane,
    /// Requests waiting for a slot.
    pub(crate) queue: Arc<Queue>,
    pub(crate) member: Member<T>,
}

impl<T> Endpoint<T> {
    /// Gives a slot back.
    #[inline]
    pub(crate) fn release(&self) {
        self.state.release_notify(|level| self.lane.on_step(level));
        self.queue.on_free();
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.member.identity
    }

    /// Its number within the cluster.
    #[must_use]
    pub fn uid(&self) -> Uid {
        self.uid
    }

    /// Its hot state. Change its axes through [`Cluster::set`](crate::Cluster::set), which keeps the tables right, and take slots through a
    /// selector only.
    #[must_use]
    pub fn state(&self) -> &Arc<EndpointState> {
        &self.state
    }

    /// What the caller needs to reach it.
    #[must_use]
    pub fn value(&self) -> &T {
        &self.member.value
    }

    /// Its configured share.
    #[must_use]
    pub fn weight(&self) -> Weight {
        self.member.weight
    }

    /// By which sticky requests find it.
    #[must_use]
    pub fn affinity(&self) -> u64 {
        self.member.affinity
    }

    /// The peak-sensitive estimate of its time to the response head, as it was last updated; none until a policy that
    /// needs it has had an answer. For the status page: policies let it decay with age.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        let estimate = latency::read(self.state.latency_cell(), Mono::ZERO)?;
        Some(Duration::from_secs_f64(f64::from(estimate.ms) / 1_000.0))
    }

    /// The endpoint reported its load; for the policies `orca` and `c3`.
    pub fn on_report(&self, report: LoadReport, now: Mono) {
        load_report::note(&self.state, report, now);
    }

    /// Its tier.
    #[must_use]
    pub fn priority(&self) -> u8 {
        self.member.priority
    }

    /// Where it runs.
    #[must_use]
    pub fn zone(&self) -> Option<Zone> {
        self.member.zone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_affinity_follows_the_name_and_not_the_address() {
        let before = Member::new(Identity::new("app:80", "10.0.0.1:80"), ());
        let after = Member::new(Identity::new("app:80", "10.0.0.2:80"), ());
        assert_eq!(before.affinity, after.affinity);
        // Compared across processes and releases: a value that changes moves every sticky client.
        assert_eq!(affinity_of("app:80"), 0xf6d4_1aae_8dc0_2dcb);
    }
}
