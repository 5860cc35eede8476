//! What a table may look at while it picks: the members' states, packed and free of the caller's type.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use lb_core::{Acquire, Axis, EndpointState, Ignored, Weight};

use crate::cluster::queue::Queue;
use crate::cluster::tiers::{TierHealth, TierRules};
use crate::context::PickCx;
use crate::estimate::ladder::Lane;
use crate::identity::Uid;
use crate::index::Index;
#[cfg(feature = "conformance")]
use crate::witness::Live;
use crate::witness::Witness;

/// The bits of an [`Ignored`].
#[cfg(loom)]
type IgnoredBits = loom::sync::atomic::AtomicU64;
#[cfg(not(loom))]
type IgnoredBits = AtomicU64;

/// The members of a cluster as a pick sees them. Reading it costs no more than the loads it makes.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    members: &'a Members,
    tier: usize,
    ignored: Ignored,
}

impl<'a> View<'a> {
    /// What a pick from the tier in this place sees.
    pub(crate) fn new(members: &'a Members, tier: usize) -> Self {
        let ignored = members.tiers.get(tier).map_or(Ignored::NOTHING, Tier::ignored);
        Self { members, tier, ignored }
    }

    /// How many members there are, eligible or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.states.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.states.is_empty()
    }

    /// Whether health is ignored, in part or whole, because too few members are well.
    #[must_use]
    pub fn is_panicking(&self) -> bool {
        self.ignored.ignores_health()
    }

    /// The hot state of the member in this place.
    #[inline]
    #[must_use]
    pub fn state(&self, index: Index) -> Option<&'a EndpointState> {
        self.members.states.get(index.get()).map(|state| &**state)
    }

    /// The member's requests in flight; zero for a place past the end.
    #[inline]
    #[must_use]
    pub fn in_flight(&self, index: Index) -> u32 {
        self.state(index).map_or(0, EndpointState::in_flight)
    }

    /// The member's weight; zero for a place past the end.
    #[inline]
    #[must_use]
    pub fn weight(&self, index: Index) -> Weight {
        self.members.facts.get(index.get()).map_or(Weight::ZERO, |facts| facts.weight)
    }

    /// Whether this pick may go there: eligible (in panic mode, but for what is ignored), not full, not tried before, in
    /// the tier being picked from.
    ///
    /// This is the one predicate for new requests. The answer is a hint, since others pick at the same time: the slot
    /// is taken by [`EndpointState::acquire`], and a pick that loses the race is repeated.
    #[inline]
    #[must_use]
    pub fn is_usable<W: Witness>(&self, index: Index, cx: &PickCx<'_, W>) -> bool {
        self.usable_load(index, cx).is_some()
    }

    /// The requests in flight of a member that [is usable](Self::is_usable); both from the same load.
    #[inline]
    #[must_use]
    pub fn usable_load<W: Witness>(&self, index: Index, cx: &PickCx<'_, W>) -> Option<u32> {
        let load = cx.witness.load_with_room(self.members.states.get(index.get())?, self.ignored)?;
        self.is_free(index, cx).then_some(load)
    }

    /// The part of the predicate that the state does not know: not tried before, not passed over, in the tier being picked from.
    #[inline]
    pub(crate) fn is_free<W: Witness>(&self, index: Index, cx: &PickCx<'_, W>) -> bool {
        (cx.tried.is_empty() || !cx.tried.contains(self.members.uid(index)))
            && cx.passed_over != Some(index)
            && (self.members.tiers.len() <= 1 || self.members.tier(index) == self.tier)
    }

    /// Takes a slot there, unless it is full or may not be picked by now.
    #[inline]
    pub(crate) fn acquire<W: Witness>(&self, index: Index, witness: &W) -> bool {
        self.members.acquire(index, false, self.ignored, witness)
    }

    /// Takes a slot as a selector does, for measurements; `true` if there was one. Give it back with [`let_go`](Self::let_go).
    #[cfg(feature = "conformance")]
    #[must_use = "a taken slot must be given back"]
    pub fn hold(&self, index: Index) -> bool {
        self.acquire(index, &Live)
    }

    /// Gives a slot back that [`hold`](Self::hold) took.
    #[cfg(feature = "conformance")]
    pub fn let_go(&self, index: Index) {
        if let Some(state) = self.state(index) {
            state.release_notify(|level| self.members.on_step(index, level));
        }
    }

    /// The places that eligible members hold (in panic mode, all that only what is ignored keeps out), in the order of
    /// the list, of all tiers. Full and tried ones are among them.
    pub fn eligible(&self) -> impl Iterator<Item = Index> + 'a {
        self.members.allowed.ones()
    }
}

/// The part of a published member list that does not depend on the caller's type.
#[derive(Debug)]
pub(crate) struct Members {
    states: Box<[Arc<EndpointState>]>,
    lanes: Box<[Lane]>,
    /// The requests waiting for a slot.
    queue: Arc<Queue>,
    facts: Box<[Facts]>,
    /// Sorted by affinity; several members may share one.
    affinities: Box<[(u64, Index)]>,
    /// By priority, ascending.
    tiers: Box<[Tier]>,
    allowed: Bitset,
    eligible: AtomicUsize,
    /// Whether the tiers' loads are to be heeded.
    spills: AtomicBool,
}

/// What a pick may need to know about a member besides its state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) uid: Uid,
    pub(crate) weight: Weight,
    pub(crate) affinity: u64,
    /// The place of its tier among those there are.
    pub(crate) tier: usize,
}

impl Members {
    /// `priorities` has one entry a member; tiers are made of the distinct ones.
    pub(crate) fn new(
        states: Box<[Arc<EndpointState>]>,
        lanes: Box<[Lane]>,
        queue: Arc<Queue>,
        mut facts: Box<[Facts]>,
        priorities: &[u8],
        rules: &TierRules,
    ) -> Self {
        let mut affinities: Box<[_]> =
            facts.iter().zip(0..).map(|(facts, place)| (facts.affinity, Index::new(place))).collect();
        affinities.sort_unstable();
        let mut distinct = priorities.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        for (facts, priority) in facts.iter_mut().zip(priorities) {
            facts.tier = distinct.partition_point(|other| other < priority);
        }
        let members = Self {
            allowed: Bitset::zeros(states.len()),
            states,
            lanes,
            queue,
            facts,
            affinities,
            tiers: distinct.into_iter().map(Tier::new).collect(),
            eligible: AtomicUsize::new(0),
            spills: AtomicBool::new(false),
        };
        members.refresh(rules);
        members
    }

    /// Reads every state again and judges the tiers. Called under the cluster's lock, so that two refreshes never mix.
    /// `true` if that changed which members may be picked.
    pub(crate) fn refresh(&self, rules: &TierRules) -> bool {
        let healths = self.healths(None);
        let verdicts = rules.judge(&healths);
        for (tier, verdict) in self.tiers.iter().zip(&verdicts) {
            tier.ignore(verdict.ignored);
            tier.load.store(verdict.load, Ordering::Relaxed);
        }
        self.spills.store(rules.is_spilling(), Ordering::Relaxed);
        let mut changed = false;
        for ((state, facts), place) in self.states.iter().zip(&self.facts).zip(0..) {
            let ignored = verdicts.get(facts.tier).map_or(Ignored::NOTHING, |verdict| verdict.ignored);
            changed |= self.allowed.put(Index::new(place), state.is_eligible_ignoring(ignored));
        }
        self.eligible
            .store(healths.iter().map(|health| (health.well + health.cooling) as usize).sum(), Ordering::Relaxed);
        changed
    }

    /// To be called before this reason is set for this member: ignores already now what will have to be ignored then, so that no
    /// pick finds every member ineligible in between. A [`refresh`](Self::refresh) must follow.
    pub(crate) fn prepare(&self, rules: &TierRules, index: Index, axis: Axis) {
        let verdicts = rules.judge(&self.healths(Some((index, axis))));
        for (tier, verdict) in self.tiers.iter().zip(&verdicts) {
            tier.ignore(Ignored::from_bits(tier.ignored().bits() | verdict.ignored.bits()));
        }
    }

    /// The head count of each tier; if `also` is given, as if that reason were set for that member.
    fn healths(&self, also: Option<(Index, Axis)>) -> Vec<TierHealth> {
        let mut healths = vec![TierHealth::default(); self.tiers.len()];
        for ((state, facts), place) in self.states.iter().zip(&self.facts).zip(0..) {
            let also = also.and_then(|(index, axis)| (index == Index::new(place)).then_some(axis));
            if let Some(health) = healths.get_mut(facts.tier) {
                health.count(state, also);
            }
        }
        healths
    }

    /// Takes a slot there, unless it is full or may not be picked.
    #[inline]
    pub(crate) fn acquire<W: Witness>(&self, index: Index, sticky: bool, ignored: Ignored, witness: &W) -> bool {
        let taken = |state: &Arc<EndpointState>| {
            let all = if sticky { ignored.and(Ignored::FOR_STICKY) } else { ignored };
            witness.acquire(state, all, || {
                let answer = state.acquire_notify(sticky, ignored, |level| self.on_step(index, level));
                matches!(answer, Acquire::Taken { .. })
            })
        };
        let is_taken = self.states.get(index.get()).is_some_and(taken);
        if !is_taken && !W::IS_DRY {
            // For a moment the endpoint looked fuller than it is, to a request that may have queued because of it.
            self.queue.on_free();
        }
        is_taken
    }

    fn on_step(&self, index: Index, level: u32) {
        if let Some(lane) = self.lanes.get(index.get()) {
            lane.on_step(level);
        }
    }

    pub(crate) fn is_panicking(&self) -> bool {
        self.tiers.iter().any(|tier| tier.ignored().ignores_health())
    }

    /// What is ignored of this member's health, because too few are well.
    pub(crate) fn ignored(&self, index: Index) -> Ignored {
        let tier = self.facts.get(index.get()).and_then(|facts| self.tiers.get(facts.tier));
        tier.map_or(Ignored::NOTHING, Tier::ignored)
    }

    pub(crate) fn eligible_count(&self) -> usize {
        self.eligible.load(Ordering::Relaxed)
    }

    pub(crate) fn is_allowed(&self, index: Index) -> bool {
        self.allowed.get(index)
    }

    /// The place of the tier that this point of 100 falls to; the first if load does not spill.
    #[inline]
    pub(crate) fn tier_at(&self, point: impl FnOnce() -> u32) -> usize {
        if self.tiers.len() <= 1 || !self.spills.load(Ordering::Relaxed) {
            return 0;
        }
        let mut point = point();
        for (place, tier) in self.tiers.iter().enumerate() {
            let load = tier.load.load(Ordering::Relaxed);
            if point < load {
                return place;
            }
            point -= load;
        }
        0
    }

    pub(crate) fn states(&self) -> &[Arc<EndpointState>] {
        &self.states
    }

    pub(crate) fn facts(&self) -> &[Facts] {
        &self.facts
    }

    /// The priorities in use, ascending.
    pub(crate) fn priorities(&self) -> impl Iterator<Item = u8> + '_ {
        self.tiers.iter().map(|tier| tier.priority)
    }

    pub(crate) fn uid(&self, index: Index) -> Uid {
        self.facts.get(index.get()).map_or(Uid::NONE, |facts| facts.uid)
    }

    pub(crate) fn tier(&self, index: Index) -> usize {
        self.facts.get(index.get()).map_or(0, |facts| facts.tier)
    }

    /// The members of this affinity.
    pub(crate) fn with_affinity(&self, affinity: u64) -> impl Iterator<Item = Index> + '_ {
        let from = self.affinities.partition_point(|&(other, _)| other < affinity);
        self.affinities.iter().skip(from).take_while(move |&&(other, _)| other == affinity).map(|&(_, index)| index)
    }
}

/// The members of one priority.
#[derive(Debug)]
struct Tier {
    priority: u8,
    ignored: IgnoredBits,
    /// Its share of the load, of 100.
    load: AtomicU32,
}

impl Tier {
    fn new(priority: u8) -> Self {
        Self { priority, ignored: IgnoredBits::new(0), load: AtomicU32::new(0) }
    }

    fn ignored(&self) -> Ignored {
        Ignored::from_bits(self.ignored.load(Ordering::Relaxed))
    }

    /// A release: a pick that reads it and finds no endpoint sees the states that it reads after a fence.
    fn ignore(&self, ignored: Ignored) {
        self.ignored.store(ignored.bits(), Ordering::Release);
    }
}

/// One bit a member, changed while others read.
#[derive(Debug)]
struct Bitset {
    words: Box<[AtomicU64]>,
}

impl Bitset {
    fn zeros(len: usize) -> Self {
        Self { words: (0..len.div_ceil(64)).map(|_| AtomicU64::new(0)).collect() }
    }

    fn get(&self, index: Index) -> bool {
        self.words
            .get(index.get() / 64)
            .is_some_and(|word| word.load(Ordering::Relaxed) & (1 << (index.get() % 64)) != 0)
    }

    /// Tells whether that changed anything; nothing changes past the end.
    fn put(&self, index: Index, on: bool) -> bool {
        let Some(word) = self.words.get(index.get() / 64) else { return false };
        let bit = 1 << (index.get() % 64);
        let old = if on { word.fetch_or(bit, Ordering::Relaxed) } else { word.fetch_and(!bit, Ordering::Relaxed) };
        (old & bit != 0) != on
    }

    fn ones(&self) -> impl Iterator<Item = Index> + '_ {
        self.words.iter().zip((0_u32..).step_by(64)).flat_map(|(word, base)| {
            let mut rest = word.load(Ordering::Relaxed);
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros();
                    rest &= rest - 1;
                    Index::new(base + bit)
                })
            })
        })
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use lb_core::InFlightLimit;
    use loom::sync::atomic::fence;
    use loom::thread;

    use super::*;

    /// A pick beside a change of the only endpoint's check: as `Selector` does, it looks again if it finds none.
    fn finds_one_while(change: impl Fn(&EndpointState, &Tier) + Send + Sync + Copy + 'static, is_failing: bool) {
        loom::model(move || {
            let (state, tier) = (Arc::new(EndpointState::new(InFlightLimit::NONE)), Arc::new(Tier::new(0)));
            if is_failing {
                tier.ignore(Ignored::CHECKS);
                state.set(Axis::Check, true);
            }
            let changing = {
                let (state, tier) = (Arc::clone(&state), Arc::clone(&tier));
                thread::spawn(move || change(&state, &tier))
            };
            let ignored = tier.ignored();
            let is_found = state.has_room(ignored) || {
                fence(Ordering::Acquire);
                state.has_room(tier.ignored())
            };
            changing.join().unwrap();
            assert!(is_found, "refused although the endpoint was eligible or its check ignored at any time");
        });
    }

    #[test]
    fn loom_a_pick_beside_a_failing_check_finds_the_only_endpoint() {
        let fail = |state: &EndpointState, tier: &Tier| {
            tier.ignore(Ignored::CHECKS);
            state.set(Axis::Check, true);
        };
        finds_one_while(fail, false);
    }

    #[test]
    fn loom_a_pick_beside_a_passing_check_finds_the_only_endpoint() {
        let pass = |state: &EndpointState, tier: &Tier| {
            state.set(Axis::Check, false);
            tier.ignore(Ignored::NOTHING);
        };
        finds_one_while(pass, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bitset_returns_inserted_bits_across_words() {
        let bits = Bitset::zeros(130);
        for place in [0, 63, 64, 129] {
            bits.put(Index::new(place), true);
        }
        bits.put(Index::new(64), false);
        bits.put(Index::new(500), true);
        assert_eq!(bits.ones().map(Index::get).collect::<Vec<_>>(), [0, 63, 129]);
        assert!(bits.get(Index::new(63)) && !bits.get(Index::new(64)) && !bits.get(Index::new(500)));
        assert_eq!(Bitset::zeros(0).ones().count(), 0);
    }
}
