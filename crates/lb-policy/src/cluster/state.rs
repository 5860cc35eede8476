//! What the handles and selectors of a cluster share: the published member list, and the state that only changes look at.
//!
//! Picks read the published [`Snapshot`] and take no lock. A change takes the lock of [`ClusterState`], makes the next snapshot and
//! every table that depends on it, and publishes them.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use lb_core::{Axis, Mono};

use crate::cluster::ledger::Ledger;
use crate::cluster::queue::Queue;
use crate::cluster::slow_start::{self, SlowStart};
use crate::cluster::tiers::TierRules;
use crate::cluster::view::{Facts, Members};
use crate::endpoint::{Endpoint, Member};
use crate::estimate::ladder;
use crate::identity::{Identity, Uid};
use crate::index::Index;

/// How a member list changes. Every update is one publication: no pick sees half of it.
#[derive(Clone, Debug)]
pub enum Update<T> {
    /// These are the members, in this order. Of two with the same identity the later counts, in the earlier's place.
    Reset(Vec<Member<T>>),
    /// These join, at the end of the list, or replace what is configured for their identity, in its place.
    Upsert(Vec<Member<T>>),
    /// These leave; unknown ones are ignored.
    Remove(Vec<Identity>),
}

/// The number of a published member list: 0 for the empty one a cluster starts with, then one more each update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// Whether a reason is set by updates only.
pub(crate) const fn follows_from_updates(axis: Axis) -> bool {
    matches!(axis, Axis::WeightZero | Axis::Removed)
}

/// Tables follow eligibility at most this often; a storm of flaps must not become a storm of rebuilds.
const REBUILD_INTERVAL: Duration = Duration::from_millis(10);

/// What a cluster's handles and selectors share.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    pub(crate) name: Arc<str>,
    pub(crate) published: ArcSwap<Snapshot<T>>,
    books: Mutex<ClusterState<T>>,
    /// How tickets sample latency, the bits of a [`LatencySampler`](crate::estimate::latency::LatencySampler).
    pub(crate) sampler: AtomicU64,
    /// Picks or tickets use the time. Never cleared: what was learned with times must not be updated without.
    pub(crate) needs_time: AtomicBool,
    pub(crate) panic_picks: AtomicU64,
    pub(crate) slow_start: ArcSwapOption<SlowStart>,
    pub(crate) queue: Arc<Queue>,
}

impl<T> Shared<T> {
    /// Without members.
    pub(crate) fn new(name: Arc<str>) -> Self {
        let (queue, rules) = (Arc::new(Queue::default()), TierRules::default());
        let members = members_of::<T>(&[], &queue, &rules);
        let books =
            ClusterState { ledger: Ledger::default(), followers: Vec::new(), rules, dirty: false, rebuilt: None };
        Self {
            name,
            published: ArcSwap::from_pointee(Snapshot { generation: Generation(0), endpoints: Arc::from([]), members }),
            books: Mutex::new(books),
            sampler: AtomicU64::new(0),
            needs_time: AtomicBool::new(false),
            panic_picks: AtomicU64::new(0),
            slow_start: ArcSwapOption::empty(),
            queue,
        }
    }

    /// The books are consistent between statements that can panic, so a poisoned lock is taken as it is.
    pub(crate) fn lock(&self) -> MutexGuard<'_, ClusterState<T>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One published member list.
#[derive(Debug)]
pub(crate) struct Snapshot<T> {
    pub(crate) generation: Generation,
    pub(crate) endpoints: Arc<[Arc<Endpoint<T>>]>,
    pub(crate) members: Members,
}

/// Why tables are rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Members,
    Eligibility,
}

/// A selector, with tables that depend on the member list.
pub(crate) trait Follow<T>: Send + Sync {
    fn follow(&self, snapshot: &Arc<Snapshot<T>>, why: Why);
}

/// What only changes look at, under the lock.
pub(crate) struct ClusterState<T> {
    pub(crate) ledger: Ledger,
    pub(crate) followers: Vec<Weak<dyn Follow<T>>>,
    pub(crate) rules: TierRules,
    /// Eligibility has changed since the tables were built.
    pub(crate) dirty: bool,
    rebuilt: Option<Mono>,
}

impl<T> std::fmt::Debug for ClusterState<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterState").field("ledger", &self.ledger).field("dirty", &self.dirty).finish_non_exhaustive()
    }
}

impl<T> ClusterState<T> {
    /// The list after the update. States are prepared on the way; those of removed members are not touched yet.
    pub(crate) fn merge(
        &mut self,
        current: &[Arc<Endpoint<T>>],
        update: Update<T>,
        warm_joins: Option<Mono>,
        queue: &Arc<Queue>,
    ) -> Vec<Arc<Endpoint<T>>> {
        let (mut list, joining) = match update {
            Update::Reset(members) => (Vec::with_capacity(members.len()), members),
            Update::Upsert(members) => (current.to_vec(), members),
            Update::Remove(identities) => {
                let gone: std::collections::BTreeSet<_> = identities.into_iter().collect();
                return current.iter().filter(|endpoint| !gone.contains(endpoint.identity())).cloned().collect();
            }
        };
        let mut places: std::collections::BTreeMap<Uid, usize> =
            list.iter().enumerate().map(|(place, endpoint)| (endpoint.uid, place)).collect();
        let mut zeroed = Vec::new();
        for member in joining {
            let found = self.ledger.find_or_make(&member.identity, member.weight);
            found.state.set_max_in_flight(member.limit);
            let was_eligible = found.state.is_eligible();
            for &(axis, on) in member.axes.iter().filter(|(axis, _)| !follows_from_updates(*axis)) {
                found.state.set(axis, on);
            }
            let recovers = !was_eligible && found.state.is_eligible();
            if let (true, Some(now)) = (found.joins || recovers, warm_joins) {
                slow_start::begin(&found.state, now);
            }
            let (uid, queue) = (found.uid, Arc::clone(queue));
            let endpoint = Arc::new(Endpoint { uid, state: found.state, lane: found.lane, queue, member });
            match places.get(&found.uid).and_then(|&place| list.get_mut(place)) {
                Some(listed) => *listed = endpoint,
                None => {
                    places.insert(found.uid, list.len());
                    list.push(endpoint);
                }
            }
        }
        // First those that may serve again, then those that may not, so that a swap of weights leaves no gap.
        for endpoint in &list {
            if endpoint.weight().is_zero() {
                zeroed.push(endpoint);
            } else {
                endpoint.state.set(Axis::WeightZero, false);
            }
        }
        for endpoint in zeroed {
            endpoint.state.set(Axis::WeightZero, true);
        }
        list
    }

    pub(crate) fn rebuild_if_due(&mut self, snapshot: &Arc<Snapshot<T>>, now: Mono) {
        let waited = self.rebuilt.is_none_or(|at| now < at || now.saturating_since(at) >= REBUILD_INTERVAL);
        if self.dirty && waited {
            self.rebuild(snapshot, Why::Eligibility, now);
        }
    }

    pub(crate) fn rebuild(&mut self, snapshot: &Arc<Snapshot<T>>, why: Why, now: Mono) {
        self.settle(snapshot);
        self.followers.retain(|follower| follower.upgrade().inspect(|live| live.follow(snapshot, why)).is_some());
        self.dirty = false;
        self.rebuilt = Some(now);
    }

    /// Prepares the inputs of tables before tables of these members are built.
    pub(crate) fn settle(&self, snapshot: &Snapshot<T>) {
        if self.ledger.is_mirrored() {
            let allowed =
                snapshot.endpoints.iter().zip(0..).filter(|&(_, n)| snapshot.members.is_allowed(Index::new(n)));
            ladder::settle(allowed.map(|(endpoint, _)| (&endpoint.lane, &*endpoint.state)));
        }
    }
}

pub(crate) fn members_of<T>(endpoints: &[Arc<Endpoint<T>>], queue: &Arc<Queue>, rules: &TierRules) -> Members {
    let facts = endpoints.iter().map(|endpoint| Facts {
        uid: endpoint.uid,
        weight: endpoint.weight(),
        affinity: endpoint.affinity(),
        tier: 0,
    });
    let states = endpoints.iter().map(|endpoint| Arc::clone(&endpoint.state));
    let lanes = endpoints.iter().map(|endpoint| endpoint.lane.clone());
    let priorities: Vec<u8> = endpoints.iter().map(|endpoint| endpoint.priority()).collect();
    Members::new(states.collect(), lanes.collect(), Arc::clone(queue), facts.collect(), &priorities, rules)
}
