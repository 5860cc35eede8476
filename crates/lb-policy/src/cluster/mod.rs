//! A cluster: its members, their state, and one publication for every change.
//!
//! Picks read an immutable snapshot and take no lock. Changes take one, make the next snapshot and every table that
//! hangs on it, and publish. What was learned lives in the states that old and new snapshots share, so an update
//! forgets nothing.
//!
//! When an endpoint becomes eligible or ceases to be, its bit counts from that moment: a pick that lands on it is made
//! again. The tables of turn-taking and load policies are rebuilt over the eligible members, at most every 10 ms; a
//! rebuild that has to wait is made by the next [`Cluster::maintain`].

pub(crate) mod ledger;
pub(crate) mod queue;
pub(crate) mod selector;
pub(crate) mod slow_start;
pub(crate) mod state;
pub(crate) mod ticket;
pub(crate) mod tiers;
pub(crate) mod view;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lb_core::{Axis, Ignored, Mono};

use crate::cluster::queue::Queue;
use crate::cluster::selector::Selector;
use crate::cluster::slow_start::SlowStart;
use crate::cluster::state::{
    ClusterState, Generation, Shared, Snapshot, Update, Why, follows_from_updates, members_of,
};
use crate::cluster::tiers::{PanicMode, Spill, TierRules};
use crate::endpoint::Endpoint;
use crate::estimate::latency::LatencySampler;
use crate::identity::{Identity, Uid};
use crate::policy::Policy;
use crate::signals::Signals;

/// A named set of interchangeable endpoints. Clones are the same cluster.
///
/// `T` is what the caller needs to reach an endpoint.
#[derive(Debug)]
pub struct Cluster<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Cluster<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T: Send + Sync + 'static> Cluster<T> {
    /// A cluster without members.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { shared: Arc::new(Shared::new(name.into())) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.shared.name
    }

    /// Changes the members and publishes the new list and all tables.
    ///
    /// An identity that is known keeps its state and uid: requests in flight, latency, counts, ejection. One that comes
    /// back within ten minutes of its last ticket keeps, besides, its orders (drain, maintenance, other) and its timed
    /// verdicts (ejected, breaker); the observations (check, unresolved) are cleared, since their observer stopped. A member that joins a cluster which had members already warms
    /// up if slow start is on. Costs O(members) and a rebuild per selector.
    pub fn apply(&self, update: Update<T>, now: Mono) -> Generation {
        let mut books = self.shared.lock();
        let current = self.shared.published.load_full();
        let warm_joins = !current.endpoints.is_empty() && self.shared.slow_start.load().is_some();
        let endpoints = books.merge(&current.endpoints, update, warm_joins.then_some(now), &self.shared.queue);
        let snapshot = Arc::new(Snapshot {
            generation: Generation(current.generation.0 + 1),
            members: members_of(&endpoints, &self.shared.queue, &books.rules),
            endpoints: endpoints.into(),
        });
        self.shared.published.store(Arc::clone(&snapshot));
        books.rebuild(&snapshot, Why::Members, now);
        // Only now: a pick from the old list finds it complete until the new one is published.
        books.ledger.commit(snapshot.endpoints.iter().map(|endpoint| endpoint.uid), now);
        self.shared.queue.on_change();
        snapshot.generation
    }

    /// Sets or clears one reason not to send requests to an endpoint; `true` if that changed anything.
    ///
    /// Works for removed endpoints too while they are remembered, so that a timed verdict can be taken back while its
    /// endpoint is away. `WeightZero` and `Removed` follow from updates and are refused, as is an unknown endpoint.
    pub fn set(&self, uid: Uid, axis: Axis, on: bool, now: Mono) -> bool {
        if follows_from_updates(axis) {
            return false;
        }
        self.set_locked(&mut self.shared.lock(), uid, axis, on, now)
    }

    /// Sets a reason as [`set`](Self::set) does, unless no other member is eligible: a verdict that may be wrong must not
    /// eject the last eligible endpoint. Where no member is eligible and those serve that only fail a check, another of these
    /// must be left. Check and update are atomic with respect to this and `set`.
    ///
    /// # Errors
    /// No other is left; nothing was changed.
    pub fn set_unless_last(&self, uid: Uid, axis: Axis, now: Mono) -> Result<bool, LastEligible> {
        if follows_from_updates(axis) {
            return Ok(false);
        }
        let mut books = self.shared.lock();
        let snapshot = self.shared.published.load();
        // What cools down is well.
        let well = Ignored::COOL_DOWNS;
        let is_any_well = snapshot.endpoints.iter().any(|endpoint| endpoint.state.is_eligible_ignoring(well));
        let ignored = if is_any_well { well } else { well.and(Ignored::CHECKS) };
        let serves = |endpoint: &Endpoint<T>| endpoint.state.is_eligible_ignoring(ignored);
        if !snapshot.endpoints.iter().any(|endpoint| endpoint.uid != uid && serves(endpoint)) {
            return Err(LastEligible);
        }
        Ok(self.set_locked(&mut books, uid, axis, true, now))
    }

    fn set_locked(&self, books: &mut ClusterState<T>, uid: Uid, axis: Axis, on: bool, now: Mono) -> bool {
        let Some(known) = books.ledger.known(uid) else { return false };
        if known.state.is_set(axis) == on {
            return false;
        }
        if let (true, Some(place)) = (on, known.place) {
            self.shared.published.load().members.prepare(&books.rules, place, axis);
        }
        let was_eligible = known.state.is_eligible();
        known.state.set(axis, on);
        if !was_eligible && known.state.is_eligible() && self.shared.slow_start.load().is_some() {
            slow_start::begin(&known.state, now);
        }
        if known.place.is_some() {
            let snapshot = self.shared.published.load_full();
            books.dirty |= snapshot.members.refresh(&books.rules);
            books.rebuild_if_due(&snapshot, now);
            self.shared.queue.on_change();
        }
        true
    }

    /// The uid of this identity, if the cluster knows it: a member, or one removed not long ago.
    #[must_use]
    pub fn uid_of(&self, identity: &Identity) -> Option<Uid> {
        self.shared.lock().ledger.uid_of(identity)
    }

    /// Makes a rebuild that is due and forgets endpoints that have been away for ten minutes. Call it every 10 ms to 1 s; without
    /// it picks stay right, but go on working round endpoints that changed within 10 ms of each other.
    pub fn maintain(&self, now: Mono) {
        let mut books = self.shared.lock();
        let snapshot = self.shared.published.load_full();
        books.rebuild_if_due(&snapshot, now);
        books.ledger.forget(now);
    }

    /// When health is ignored; default [`PanicMode::NoneLeft`].
    pub fn set_panic_mode(&self, mode: PanicMode, now: Mono) {
        self.judge_by(now, |rules| rules.panic = mode);
    }

    /// When a tier's load goes to the next one; default [`Spill::WhenExhausted`].
    pub fn set_spill(&self, spill: Spill, now: Mono) {
        self.judge_by(now, |rules| rules.spill = spill);
    }

    fn judge_by(&self, now: Mono, change: impl FnOnce(&mut TierRules)) {
        let mut books = self.shared.lock();
        change(&mut books.rules);
        let snapshot = self.shared.published.load_full();
        books.dirty |= snapshot.members.refresh(&books.rules);
        books.rebuild_if_due(&snapshot, now);
        self.shared.queue.on_change();
    }

    /// How many requests may wait while every eligible endpoint is full, 0 (the default) for none, and how long each.
    /// Requests that wait already stay.
    pub fn set_queue(&self, size: usize, timeout: Duration) {
        self.shared.queue.set(size, timeout);
    }

    /// The waiting requests.
    #[must_use]
    pub fn queue(&self) -> &Arc<Queue> {
        &self.shared.queue
    }

    /// Turns slow start on or off (the default), for endpoints that join or recover from now on.
    pub fn set_slow_start(&self, slow_start: Option<SlowStart>) {
        if slow_start.is_some() {
            self.shared.needs_time.store(true, Ordering::Relaxed);
        }
        self.shared.slow_start.store(slow_start.map(Arc::new));
    }

    /// The share of its weight, below 1, that slow start leaves to an endpoint now; none if it is warm or slow start is off.
    #[must_use]
    pub fn warming_share(&self, endpoint: &Endpoint<T>, now: Mono) -> Option<f64> {
        self.shared.slow_start.load().as_ref()?.share_of(&endpoint.state, now)
    }

    /// Whether health is being ignored, in part or whole, because too few members are well ([`PanicMode`]). It surprises
    /// operators: log every transition.
    #[must_use]
    pub fn is_panicking(&self) -> bool {
        self.shared.published.load().members.is_panicking()
    }

    /// Picks made in panic mode so far.
    #[must_use]
    pub fn panic_picks(&self) -> u64 {
        self.shared.panic_picks.load(Ordering::Relaxed)
    }

    /// Members that are eligible by the predicate, panic mode or not; full ones and those that cool down included.
    #[must_use]
    pub fn eligible_count(&self) -> usize {
        self.shared.published.load().members.eligible_count()
    }

    /// Members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.published.load().endpoints.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The members, in their order.
    #[must_use]
    pub fn endpoints(&self) -> Arc<[Arc<Endpoint<T>>]> {
        Arc::clone(&self.shared.published.load().endpoints)
    }

    /// The number of the published list.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.shared.published.load().generation
    }

    /// A table of this policy over the members, which follows their changes. Selectors of one cluster share members
    /// and state: a slot taken through one counts for all.
    pub fn selector<P: Policy>(&self, policy: P) -> Selector<P, T> {
        let mut books = self.shared.lock();
        let sampler = LatencySampler::new(policy.signals(), policy.learning());
        let older = LatencySampler::from_bits(self.shared.sampler.load(Ordering::Relaxed));
        self.shared.sampler.store(sampler.over(older).bits(), Ordering::Relaxed);
        if policy.signals().needs_time() {
            self.shared.needs_time.store(true, Ordering::Relaxed);
        }
        let snapshot = self.shared.published.load_full();
        if policy.signals().contains(Signals::FEWEST) && !books.ledger.is_mirrored() {
            books.ledger.mirror();
            books.settle(&snapshot);
        }
        let selector = Selector::new(policy, Arc::clone(&self.shared), snapshot);
        books.followers.push(selector.follower());
        selector
    }
}

/// The answer of [`Cluster::set_unless_last`]: no other endpoint is eligible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no other endpoint is eligible")]
pub struct LastEligible;

#[cfg(test)]
mod tests;
