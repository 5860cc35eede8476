//! A cluster: its members, their state, and one publication for every change.
//!
//! Picks read an immutable snapshot and take no lock. Changes take one, make the next snapshot and every table that
//! hangs on it, and publish. What was learned lives in the states that old and new snapshots share, so an update
//! forgets nothing.
//!
//! When an endpoint becomes eligible or ceases to be, its bit counts from that moment: a pick that lands on it is made
//! again. The tables of turn-taking and load policies are rebuilt over the eligible members, at most every 10 ms; a
//! rebuild that has to wait is made by the next [`Cluster::maintain`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use lb_core::{Axis, Mono};

use crate::endpoint::{Endpoint, Identity, Member, Uid};
use crate::latency::Teach;
use crate::ledger::Ledger;
use crate::policy::Policy;
use crate::selector::Selector;
use crate::slow_start::{self, SlowStart};
use crate::tiers::{Judgement, Spill};
use crate::view::{Facts, Roster};

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
        let empty = Arc::new(Snapshot {
            generation: Generation(0),
            endpoints: Arc::from([]),
            roster: Roster::new(Box::default(), Box::default(), &[], &Judgement::default()),
        });
        Self {
            shared: Arc::new(Shared {
                name: name.into(),
                published: ArcSwap::new(empty),
                books: Mutex::new(Books {
                    ledger: Ledger::default(),
                    followers: Vec::new(),
                    judgement: Judgement::default(),
                    dirty: false,
                    rebuilt: None,
                }),
                teach: AtomicU64::new(0),
                panic_picks: AtomicU64::new(0),
                slow_start: ArcSwapOption::empty(),
            }),
        }
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
        let endpoints = books.enlist(&current.endpoints, update, warm_joins.then_some(now));
        let snapshot = Arc::new(Snapshot {
            generation: Generation(current.generation.0 + 1),
            roster: roster_of(&endpoints, &books.judgement),
            endpoints: endpoints.into(),
        });
        self.shared.published.store(Arc::clone(&snapshot));
        books.rebuild(&snapshot, Why::Members, now);
        // Only now: whoever still picks from the old list finds it whole until the new one stands.
        books.ledger.seat(snapshot.endpoints.iter().map(|endpoint| endpoint.uid), now);
        snapshot.generation
    }

    /// Sets or clears one reason not to send requests to an endpoint; tells whether that changed anything.
    ///
    /// Works for removed endpoints too while they are remembered, so that a timed verdict can be taken back while its
    /// endpoint is away. `WeightZero` and `Removed` follow from updates and are refused, as is an unknown endpoint.
    pub fn set(&self, uid: Uid, axis: Axis, on: bool, now: Mono) -> bool {
        if matches!(axis, Axis::WeightZero | Axis::Removed) {
            return false;
        }
        self.set_locked(&mut self.shared.lock(), uid, axis, on, now)
    }

    /// Sets a reason as [`set`](Self::set) does, unless no other member is eligible: a verdict that may be wrong must
    /// not take away the last one who serves. The look and the deed are one step for all who use this or `set`.
    ///
    /// # Errors
    /// Nobody else is eligible; nothing was changed.
    pub fn set_unless_last(&self, uid: Uid, axis: Axis, now: Mono) -> Result<bool, LastEligible> {
        if matches!(axis, Axis::WeightZero | Axis::Removed) {
            return Ok(false);
        }
        let mut books = self.shared.lock();
        let snapshot = self.shared.published.load();
        if !snapshot.endpoints.iter().any(|endpoint| endpoint.uid != uid && endpoint.state.is_eligible()) {
            return Err(LastEligible);
        }
        Ok(self.set_locked(&mut books, uid, axis, true, now))
    }

    fn set_locked(&self, books: &mut Books<T>, uid: Uid, axis: Axis, on: bool, now: Mono) -> bool {
        let Some(known) = books.ledger.known(uid) else { return false };
        let was_eligible = known.state.is_eligible();
        if !known.state.set(axis, on) {
            return false;
        }
        if !was_eligible && known.state.is_eligible() && self.shared.slow_start.load().is_some() {
            slow_start::begin(&known.state, now);
        }
        if known.place.is_some() {
            let snapshot = self.shared.published.load_full();
            books.dirty |= snapshot.roster.refresh(&books.judgement);
            books.rebuild_if_due(&snapshot, now);
        }
        true
    }

    /// The uid of this identity, if the cluster knows it: a member, or one removed not long ago.
    #[must_use]
    pub fn uid_of(&self, identity: &Identity) -> Option<Uid> {
        self.shared.lock().ledger.uid_of(identity)
    }

    /// Makes a rebuild that is due and forgets who has been away for ten minutes. Call it every 10 ms to 1 s; without
    /// it picks stay right, but go on working round endpoints that changed within 10 ms of each other.
    pub fn maintain(&self, now: Mono) {
        let mut books = self.shared.lock();
        let snapshot = self.shared.published.load_full();
        books.rebuild_if_due(&snapshot, now);
        books.ledger.forget(now);
    }

    /// Below which share of eligible members health is ignored: 0 (never) to 1, default 0.5. Strictly below: two of
    /// four eligible is no panic. The share is taken, tier by tier, of the members that nothing but their health could keep out,
    /// and a tier does not panic while another can take its load.
    /// Orders, weight zero, unresolved and removed are never ignored. A value that is no number counts as 0.
    pub fn set_panic_threshold(&self, ratio: f64, now: Mono) {
        self.judge_by(now, |judgement| {
            judgement.panic_threshold = if ratio.is_nan() { 0.0 } else { ratio.clamp(0.0, 1.0) };
        });
    }

    /// When a tier's load goes to the next one; default [`Spill::WhenExhausted`].
    pub fn set_spill(&self, spill: Spill, now: Mono) {
        self.judge_by(now, |judgement| judgement.spill = spill);
    }

    fn judge_by(&self, now: Mono, change: impl FnOnce(&mut Judgement)) {
        let mut books = self.shared.lock();
        change(&mut books.judgement);
        let snapshot = self.shared.published.load_full();
        books.dirty |= snapshot.roster.refresh(&books.judgement);
        books.rebuild_if_due(&snapshot, now);
    }

    /// Turns slow start on or off (the default), for endpoints that join or recover from now on.
    pub fn set_slow_start(&self, slow_start: Option<SlowStart>) {
        self.shared.slow_start.store(slow_start.map(Arc::new));
    }

    /// Whether health is being ignored because too few members are well. Log it loudly.
    #[must_use]
    pub fn is_panicking(&self) -> bool {
        self.shared.published.load().roster.is_panicking()
    }

    /// Picks made in panic mode so far.
    #[must_use]
    pub fn panic_picks(&self) -> u64 {
        self.shared.panic_picks.load(Ordering::Relaxed)
    }

    /// Members that are eligible by the predicate, full ones included, panic mode or not.
    #[must_use]
    pub fn eligible_count(&self) -> usize {
        self.shared.published.load().roster.eligible_count()
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
        let teach = Teach::new(policy.signals(), policy.learning());
        let older = Teach::from_bits(self.shared.teach.load(Ordering::Relaxed));
        self.shared.teach.store(teach.over(older).bits(), Ordering::Relaxed);
        let selector = Selector::new(policy, Arc::clone(&self.shared), self.shared.published.load_full());
        books.followers.push(selector.follower());
        selector
    }
}

/// The answer of [`Cluster::set_unless_last`]: nobody else is eligible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no other endpoint is eligible")]
pub struct LastEligible;

/// Tables follow eligibility at most this often; a storm of flaps must not become a storm of rebuilds.
const REBUILD_INTERVAL: Duration = Duration::from_millis(10);

/// What a cluster's handles and selectors share.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    name: Arc<str>,
    published: ArcSwap<Snapshot<T>>,
    books: Mutex<Books<T>>,
    /// What tickets teach, see [`Teach`].
    pub(crate) teach: AtomicU64,
    pub(crate) panic_picks: AtomicU64,
    pub(crate) slow_start: ArcSwapOption<SlowStart>,
}

impl<T> Shared<T> {
    /// The books are consistent between statements that can panic, so a poisoned lock is taken as it is.
    fn lock(&self) -> MutexGuard<'_, Books<T>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One published member list.
#[derive(Debug)]
pub(crate) struct Snapshot<T> {
    generation: Generation,
    pub(crate) endpoints: Arc<[Arc<Endpoint<T>>]>,
    pub(crate) roster: Roster,
}

/// Why tables are rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Members,
    Eligibility,
}

/// Somebody whose tables hang on the member list.
pub(crate) trait Follow<T>: Send + Sync {
    fn follow(&self, snapshot: &Arc<Snapshot<T>>, why: Why);
}

/// What only changes look at, under the lock.
struct Books<T> {
    ledger: Ledger,
    followers: Vec<Weak<dyn Follow<T>>>,
    judgement: Judgement,
    /// Eligibility has changed since the tables were built.
    dirty: bool,
    rebuilt: Option<Mono>,
}

impl<T> std::fmt::Debug for Books<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Books").field("ledger", &self.ledger).field("dirty", &self.dirty).finish_non_exhaustive()
    }
}

impl<T> Books<T> {
    /// The list after the update. States are readied on the way; those who leave are not touched yet.
    fn enlist(
        &mut self,
        current: &[Arc<Endpoint<T>>],
        update: Update<T>,
        warm_joins: Option<Mono>,
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
            let found = self.ledger.find_or_make(&member.identity);
            found.state.set_max_in_flight(member.limit);
            if let (true, Some(now)) = (found.joins, warm_joins) {
                slow_start::begin(&found.state, now);
            }
            let endpoint = Arc::new(Endpoint { uid: found.uid, state: found.state, member });
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

    fn rebuild_if_due(&mut self, snapshot: &Arc<Snapshot<T>>, now: Mono) {
        let waited = self.rebuilt.is_none_or(|at| now < at || now.saturating_since(at) >= REBUILD_INTERVAL);
        if self.dirty && waited {
            self.rebuild(snapshot, Why::Eligibility, now);
        }
    }

    fn rebuild(&mut self, snapshot: &Arc<Snapshot<T>>, why: Why, now: Mono) {
        self.followers.retain(|follower| follower.upgrade().inspect(|live| live.follow(snapshot, why)).is_some());
        self.dirty = false;
        self.rebuilt = Some(now);
    }
}

fn roster_of<T>(endpoints: &[Arc<Endpoint<T>>], judgement: &Judgement) -> Roster {
    let facts = endpoints.iter().map(|endpoint| Facts {
        uid: endpoint.uid,
        weight: endpoint.weight(),
        affinity: endpoint.affinity(),
        tier: 0,
    });
    let states = endpoints.iter().map(|endpoint| Arc::clone(&endpoint.state));
    let priorities: Vec<u8> = endpoints.iter().map(|endpoint| endpoint.priority()).collect();
    Roster::new(states.collect(), facts.collect(), &priorities, judgement)
}

#[cfg(test)]
mod tests {
    use lb_core::{End, InFlightLimit};

    use super::*;
    use crate::testing::{Bench, letters, member};
    use crate::{Census, LeastRequest, PickError, RoundRobin, Tried, WeightedRandom};

    fn census(error: PickError) -> Census {
        error.census()
    }

    #[test]
    fn an_empty_cluster_says_so() {
        let bench = Bench::new(RoundRobin, &[]);
        assert_eq!(bench.pick().unwrap_err(), PickError::Empty);
        assert!(bench.cluster.is_empty() && !bench.cluster.is_panicking());
    }

    #[test]
    fn an_update_keeps_state_and_uid_and_changes_the_rest() {
        let bench = Bench::new(RoundRobin, &[1, 1]);
        let before = bench.cluster.endpoints();
        let ticket = bench.pick().unwrap();
        let generation = bench.cluster.generation();
        let update = Update::Reset(vec![member(2), member(0).weight(7).limit(InFlightLimit::new(9))]);
        assert_eq!(bench.cluster.apply(update, Mono::ZERO), Generation(generation.0 + 1));
        let after = bench.cluster.endpoints();
        assert_eq!(after.iter().map(|endpoint| *endpoint.value()).collect::<Vec<_>>(), [2, 0]);
        assert_eq!(after[1].uid(), before[0].uid());
        assert_eq!(after[1].state().in_flight(), 1);
        assert_eq!(after[1].weight().value(), 7);
        assert_eq!(after[1].state().max_in_flight(), InFlightLimit::new(9));
        ticket.on_end(End::Completed, Mono::ZERO);
        assert_eq!(after[1].state().in_flight(), 0);
    }

    #[test]
    fn upsert_keeps_places_and_appends_and_remove_leaves_the_others() {
        let bench = Bench::new(RoundRobin, &[1, 1, 1]);
        bench.cluster.apply(Update::Upsert(vec![member(5), member(1).weight(3), member(5).weight(2)]), Mono::ZERO);
        let list = |cluster: &Cluster<usize>| -> Vec<_> {
            cluster.endpoints().iter().map(|e| (*e.value(), e.weight().value())).collect()
        };
        assert_eq!(list(&bench.cluster), [(0, 1), (1, 3), (2, 1), (5, 2)]);
        bench.cluster.apply(Update::Remove(vec![member(0).identity, member(77).identity]), Mono::ZERO);
        assert_eq!(list(&bench.cluster), [(1, 3), (2, 1), (5, 2)]);
    }

    #[test]
    fn the_last_eligible_member_is_spared_whoever_asks() {
        let bench = Bench::new(RoundRobin, &[1, 1, 1]);
        let uids: Vec<_> = bench.cluster.endpoints().iter().map(|endpoint| endpoint.uid()).collect();
        bench.set(1, Axis::Check, true, Mono::ZERO);
        assert_eq!(bench.cluster.set_unless_last(uids[0], Axis::Ejected, Mono::ZERO), Ok(true));
        assert_eq!(bench.cluster.set_unless_last(uids[0], Axis::Ejected, Mono::ZERO), Ok(false), "set already");
        assert_eq!(bench.cluster.set_unless_last(uids[2], Axis::Ejected, Mono::ZERO), Err(LastEligible));
        // Not eligible anyway, but it could be the only one once its check passes.
        bench.set(2, Axis::Drain, true, Mono::ZERO);
        assert_eq!(bench.cluster.set_unless_last(uids[1], Axis::Ejected, Mono::ZERO), Err(LastEligible));
        assert_eq!(bench.cluster.set_unless_last(uids[1], Axis::Removed, Mono::ZERO), Ok(false));
    }

    #[test]
    fn threads_that_eject_everybody_at_once_leave_one() {
        for _ in 0..50 {
            let bench = Bench::new(RoundRobin, &[1; 4]);
            let cluster = &bench.cluster;
            std::thread::scope(|scope| {
                for endpoint in cluster.endpoints().iter() {
                    let uid = endpoint.uid();
                    scope.spawn(move || cluster.set_unless_last(uid, Axis::Ejected, Mono::ZERO));
                }
            });
            assert_eq!(cluster.eligible_count(), 1);
        }
    }

    #[test]
    fn a_slot_is_taken_at_the_endpoint_asked_for_if_it_may() {
        let bench = Bench::new(RoundRobin, &[1, 1]);
        let uid = bench.cluster.endpoints()[1].uid();
        let ticket = bench.selector.pick_at(uid, Mono::from_millis(5)).unwrap();
        assert_eq!((*ticket.endpoint().value(), ticket.started()), (1, Mono::from_millis(5)));
        assert_eq!(bench.cluster.endpoints()[1].state().in_flight(), 1);
        drop(ticket);
        bench.set(1, Axis::Drain, true, Mono::ZERO);
        assert!(bench.selector.pick_at(uid, Mono::ZERO).is_none());
        bench.set(1, Axis::Drain, false, Mono::ZERO);
        bench.cluster.apply(Update::Remove(vec![member(1).identity]), Mono::ZERO);
        assert!(bench.selector.pick_at(uid, Mono::ZERO).is_none());
    }

    #[test]
    fn a_removed_endpoint_takes_nothing_and_comes_back_as_it_was() {
        let bench = Bench::new(RoundRobin, &[1, 1]);
        bench.set(0, Axis::Drain, true, Mono::ZERO);
        let endpoint = Arc::clone(&bench.cluster.endpoints()[0]);
        bench.cluster.apply(Update::Remove(vec![member(0).identity]), Mono::ZERO);
        assert!(endpoint.state().is_set(Axis::Removed));
        assert_eq!(letters(&bench.picks(2)), "bb");
        assert!(bench.cluster.set(endpoint.uid(), Axis::Drain, false, Mono::ZERO), "reached while it is away");
        bench.cluster.apply(Update::Upsert(vec![member(0)]), Mono::from_millis(1_000));
        let again = &bench.cluster.endpoints()[1];
        assert!(Arc::ptr_eq(again.state(), endpoint.state()));
        assert!(again.state().is_eligible());
    }

    #[test]
    fn eligibility_counts_at_once_and_tables_follow_within_ten_milliseconds() {
        let mut bench = Bench::new(RoundRobin, &[1, 1, 1, 1]);
        // A moment after the list was published: too early for a rebuild, not for the answer.
        bench.set(0, Axis::Check, true, Mono::from_millis(1));
        assert_eq!(bench.cluster.eligible_count(), 3);
        assert_eq!(bench.counts(300), [0, 100, 100, 100]);
        bench.cluster.maintain(Mono::from_millis(11));
        assert_eq!(bench.counts(300), [0, 100, 100, 100]);
        bench.set(0, Axis::Check, false, Mono::from_millis(12));
        assert_eq!(bench.counts(300), [0, 100, 100, 100], "back in the table only with the next rebuild");
        bench.cluster.maintain(Mono::from_millis(22));
        assert_eq!(bench.counts(400), [100; 4]);
    }

    #[test]
    fn what_the_cluster_owns_cannot_be_set_from_outside() {
        let bench = Bench::new(RoundRobin, &[1, 0]);
        for endpoint in bench.cluster.endpoints().iter() {
            for (axis, on) in [(Axis::WeightZero, true), (Axis::WeightZero, false), (Axis::Removed, true)] {
                assert!(!bench.cluster.set(endpoint.uid(), axis, on, Mono::ZERO));
            }
        }
        assert!(!bench.cluster.set(Uid::new(99), Axis::Drain, true, Mono::ZERO));
        assert_eq!(letters(&bench.picks(2)), "aa");
    }

    #[test]
    fn below_half_health_is_ignored_loudly_and_orders_are_not() {
        let mut bench = Bench::new(RoundRobin, &[1, 1, 1, 1]);
        let late = Mono::from_millis(100);
        bench.set(3, Axis::Maintenance, true, Mono::ZERO);
        bench.set(0, Axis::Check, true, Mono::ZERO);
        assert!(!bench.cluster.is_panicking(), "two of three");
        bench.set(1, Axis::Ejected, true, late);
        assert!(bench.cluster.is_panicking(), "one of three");
        assert_eq!(bench.counts(300), [100, 100, 100, 0]);
        assert_eq!(bench.cluster.panic_picks(), 300);
        assert_eq!(bench.cluster.eligible_count(), 1);
        bench.cluster.set_panic_threshold(0.0, late);
        assert!(!bench.cluster.is_panicking());
        assert_eq!(bench.counts(100), [0, 0, 100, 0]);
        assert_eq!(bench.cluster.panic_picks(), 300);
    }

    #[test]
    fn exactly_half_is_no_panic() {
        let bench = Bench::new(RoundRobin, &[1, 1]);
        bench.set(0, Axis::Check, true, Mono::ZERO);
        assert!(!bench.cluster.is_panicking());
        bench.set(1, Axis::Check, true, Mono::ZERO);
        assert!(bench.cluster.is_panicking(), "none of two");
        assert!(bench.pick().is_ok());
    }

    #[test]
    fn an_error_counts_the_reasons() {
        let bench = Bench::new(RoundRobin, &[1, 1, 1, 0]);
        bench.cluster.set_panic_threshold(0.0, Mono::ZERO);
        bench.set(0, Axis::Ejected, true, Mono::ZERO);
        bench.cluster.endpoints()[1].state().set_max_in_flight(InFlightLimit::new(1));
        let _held = bench.pick_with(None, &tried(&bench.cluster, &[2]), Mono::ZERO).unwrap();
        let error = bench.pick_with(None, &tried(&bench.cluster, &[2]), Mono::ZERO).unwrap_err();
        assert!(matches!(error, PickError::AllFull(_)));
        assert_eq!(error.to_string(), "no_endpoint: 1 of weight zero, 1 ejected, 1 tried, 1 full");
        let error = bench.pick_with(None, &tried(&bench.cluster, &[1, 2]), Mono::ZERO).unwrap_err();
        assert!(matches!(error, PickError::AllTried(_)));
        assert_eq!(census(error).tried, 2);
        for n in [1, 2] {
            bench.set(n, Axis::Check, true, Mono::ZERO);
        }
        let error = bench.pick().unwrap_err();
        assert_eq!(error.to_string(), "no_endpoint: 1 of weight zero, 2 down, 1 ejected");
    }

    fn tried(cluster: &Cluster<usize>, places: &[usize]) -> Tried {
        let mut tried = Tried::new();
        for &place in places {
            tried.push(cluster.endpoints()[place].uid());
        }
        tried
    }

    #[test]
    fn the_sticky_endpoint_comes_first_even_when_draining_but_not_when_down_full_or_tried() {
        let bench = Bench::new(RoundRobin, &[1, 1, 1]);
        let mut entropy = crate::Entropy::seeded(1);
        let none = Tried::new();
        let mut stick = |tried: &Tried| {
            let mut cx = crate::PickCx::new(Mono::ZERO, &mut entropy).preferred(Some(member(2).affinity)).tried(tried);
            bench.selector.pick(&mut cx).unwrap()
        };
        assert_eq!(*stick(&none).endpoint().value(), 2);
        assert_ne!(*stick(&tried(&bench.cluster, &[2])).endpoint().value(), 2);
        bench.set(2, Axis::Drain, true, Mono::ZERO);
        assert_eq!(*stick(&none).endpoint().value(), 2);
        bench.cluster.endpoints()[2].state().set_max_in_flight(InFlightLimit::new(1));
        let held = stick(&none);
        assert_ne!(*stick(&none).endpoint().value(), 2);
        drop(held);
        bench.set(2, Axis::Check, true, Mono::ZERO);
        assert_ne!(*stick(&none).endpoint().value(), 2);
    }

    #[test]
    fn a_sticky_client_follows_its_name_to_a_new_address() {
        let bench = Bench::new(RoundRobin, &[]);
        let named = |n, address| crate::Member::new(Identity::new("app-1:80", address), n);
        bench.cluster.apply(Update::Reset(vec![member(0), named(1, "10.9.9.1:80")]), Mono::ZERO);
        let affinity = crate::affinity_of("app-1:80");
        bench.cluster.apply(Update::Reset(vec![member(0), named(2, "10.9.9.2:80")]), Mono::ZERO);
        let mut entropy = crate::Entropy::seeded(1);
        for _ in 0..3 {
            let mut cx = crate::PickCx::new(Mono::ZERO, &mut entropy).preferred(Some(affinity));
            assert_eq!(*bench.selector.pick(&mut cx).unwrap().endpoint().value(), 2);
        }
    }

    #[test]
    fn backups_serve_only_when_no_primary_can() {
        let bench = Bench::new(RoundRobin, &[]);
        let members = vec![member(0).priority(1), member(1), member(2).limit(InFlightLimit::new(1))];
        bench.cluster.apply(Update::Reset(members), Mono::ZERO);
        assert_eq!(letters(&bench.picks(4)), "bcbc");
        bench.set(1, Axis::Check, true, Mono::ZERO);
        let held = bench.pick().unwrap();
        assert_eq!(*held.endpoint().value(), 2);
        assert_eq!(letters(&bench.picks(2)), "aa", "the last primary is full");
        drop(held);
        assert_eq!(letters(&bench.picks(2)), "cc");
    }

    #[test]
    fn with_overprovisioning_load_spills_in_proportion() {
        let bench = Bench::new(RoundRobin, &[]);
        let members = (0..8).map(|n| member(n).priority(u8::from(n >= 4)));
        bench.cluster.apply(Update::Reset(members.collect()), Mono::ZERO);
        bench.cluster.set_spill(Spill::Overprovisioned(1.4), Mono::ZERO);
        bench.set(0, Axis::Check, true, Mono::ZERO);
        bench.set(1, Axis::Check, true, Mono::ZERO);
        // Half of the first tier is well: it carries 70 of 100. σ = √(6000·0.7·0.3) ≈ 35; 180 is five of them.
        let first_tier = bench.picks(6_000).iter().filter(|&&n| n < 4).count();
        assert!(first_tier.abs_diff(4_200) < 180, "{first_tier}");
        assert!(!bench.cluster.is_panicking());
    }

    #[test]
    fn several_selectors_share_members_and_slots() {
        let bench = Bench::new(RoundRobin, &[1, 1]);
        let least = bench.cluster.selector(LeastRequest::exact());
        let _held = bench.pick().unwrap();
        let mut entropy = crate::Entropy::seeded(1);
        let ticket = least.pick(&mut crate::PickCx::new(Mono::ZERO, &mut entropy)).unwrap();
        assert_eq!(*ticket.endpoint().value(), 1, "it sees what the other selector has in flight");
        bench.cluster.apply(Update::Reset(vec![member(4)]), Mono::ZERO);
        let ticket = least.pick(&mut crate::PickCx::new(Mono::ZERO, &mut entropy)).unwrap();
        assert_eq!(*ticket.endpoint().value(), 4);
    }

    #[test]
    fn a_reader_sees_what_its_selector_sees() {
        let mut bench = Bench::new(RoundRobin, &[1, 1]);
        let mut reader = bench.selector.reader();
        let mut entropy = crate::Entropy::seeded(1);
        let mut next = || {
            let ticket = reader.pick(&mut crate::PickCx::new(Mono::ZERO, &mut entropy));
            ticket.map_or(usize::MAX, |ticket| *ticket.endpoint().value())
        };
        assert_eq!((next(), next()), (0, 1));
        bench.reset(&[1], Mono::ZERO);
        assert_eq!((next(), next()), (0, 0));
        bench.reset(&[], Mono::ZERO);
        assert_eq!(next(), usize::MAX);
    }

    #[test]
    fn a_warming_endpoint_takes_its_share_by_and_by() {
        let window = Duration::from_secs(10);
        let bench = Bench::new(WeightedRandom, &[1, 1]);
        bench.cluster.set_slow_start(Some(SlowStart::new(window)));
        let came = Mono::from_millis(1_000);
        bench.cluster.apply(Update::Upsert(vec![member(2)]), came);
        let share_at = |now: Mono| {
            let picks =
                (0..6_000).filter(|_| *bench.pick_with(None, &Tried::new(), now).unwrap().endpoint().value() == 2);
            picks.count() as f64 / 6_000.0
        };
        // Drawn a third of the time, it stands with probability p: p/3. Standard deviation at most √(⅓·⅔/6000) = 0.006.
        for (passed, p) in [(0, 0.1), (5_000, 0.5), (10_000, 1.0)] {
            let share = share_at(came.saturating_add(Duration::from_millis(passed)));
            assert!((share - p / 3.0).abs() < 0.03, "{passed} ms: {share}");
        }
    }

    #[test]
    fn a_recovered_endpoint_warms_up_and_serves_alone_if_it_must() {
        let bench = Bench::new(RoundRobin, &[1]);
        bench.cluster.set_slow_start(Some(SlowStart::new(Duration::from_secs(10)).floor(0.0)));
        bench.set(0, Axis::Check, true, Mono::from_millis(1));
        bench.set(0, Axis::Check, false, Mono::from_millis(2));
        assert_ne!(bench.cluster.endpoints()[0].state().warming_cell().load(Ordering::Relaxed), 0);
        let now = Mono::from_millis(2);
        assert!((0..20).all(|_| bench.pick_with(None, &Tried::new(), now).is_ok()));
    }

    #[test]
    fn a_full_replacement_never_leaves_a_gap() {
        let bench = Bench::new(RoundRobin, &[1, 1]);
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for seed in 0..2 {
                let (selector, done) = (&bench.selector, &done);
                scope.spawn(move || {
                    let mut entropy = crate::Entropy::seeded(seed);
                    while !done.load(Ordering::Relaxed) {
                        let _ = selector.pick(&mut crate::PickCx::new(Mono::ZERO, &mut entropy)).unwrap();
                    }
                });
            }
            for round in 0..2_000_usize {
                let members = vec![member(2 * (round % 3)), member(2 * (round % 3) + 1)];
                bench.cluster.apply(Update::Reset(members), Mono::ZERO);
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
