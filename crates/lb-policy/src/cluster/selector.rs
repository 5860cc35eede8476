//! Picking: a policy's table over a cluster's members, and what is true whatever the policy is.
//!
//! Written once here and not in each policy: the sticky endpoint comes first; a slot is taken by one atomic addition:
//! its old value decides; a pick that lost a race is made again; tiers are tried in order; a warming endpoint is
//! thinned; and if the table finds no endpoint in a bounded number of draws, all members are looked at in proportion
//! to weight, so that no request is refused while a usable endpoint exists.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use lb_core::{Acquire, EndpointState, Ignored, Mono};

use crate::cluster::queue::Queue;
use crate::cluster::slow_start::SlowStart;
use crate::cluster::state::{Follow, Shared, Snapshot, Why};
use crate::cluster::ticket::Ticket;
use crate::cluster::view::View;
use crate::context::{PickCx, Tried};
use crate::endpoint::Endpoint;
use crate::error::{EndpointCounts, PickError};
use crate::estimate::latency::LatencySampler;
use crate::explain::{ConsideredEndpoint, Explanation};
use crate::hashing::{key_hash, mix, score};
use crate::identity::Uid;
use crate::index::Index;
use crate::policy::{Ask, Candidate, Policy, Table};
use crate::signals::Signals;
use crate::witness::{Explaining, Step, Witness};

/// A policy at work on a cluster. Clones share the table, and so the turns.
pub struct Selector<P: Policy, T> {
    inner: Arc<Inner<P, T>>,
}

impl<P: Policy, T> fmt::Debug for Selector<P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selector").finish_non_exhaustive()
    }
}

impl<P: Policy, T> Clone for Selector<P, T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<P: Policy, T: Send + Sync + 'static> Selector<P, T> {
    pub(crate) fn new(policy: P, shared: Arc<Shared<T>>, snapshot: Arc<Snapshot<T>>) -> Self {
        let built = Built::new(&policy, snapshot, None);
        Self { inner: Arc::new(Inner { policy, shared, built: ArcSwap::from_pointee(built) }) }
    }

    pub(crate) fn follower(&self) -> Weak<dyn Follow<T>> {
        let inner: Weak<Inner<P, T>> = Arc::downgrade(&self.inner);
        inner
    }

    /// What a pick needs; callers may leave out the rest.
    #[must_use]
    pub fn signals(&self) -> Signals {
        self.inner.policy.signals()
    }

    /// Whether picks from this cluster or their tickets use the time, through whatever selector. Where they do not, a caller
    /// that has no other use for it may leave the clock alone and pass any instant. One relaxed load; it may become true, never
    /// false.
    #[must_use]
    pub fn needs_time(&self) -> bool {
        self.inner.shared.needs_time.load(Ordering::Relaxed)
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &P {
        &self.inner.policy
    }

    /// The requests waiting for the cluster. A caller that lets requests wait asks it before each pick, see [`Queue::must_queue`].
    #[must_use]
    pub fn queue(&self) -> &Arc<Queue> {
        &self.inner.shared.queue
    }

    /// Picks an endpoint and takes a slot in flight there. Allocates nothing and takes no lock.
    ///
    /// # Errors
    /// No endpoint may take the request; the error has the reasons.
    pub fn pick(&self, cx: &mut PickCx<'_>) -> Result<Ticket<T>, PickError> {
        let mut built = self.inner.built.load();
        loop {
            match built.pick(&self.inner.shared, cx) {
                Ok(ticket) => return Ok(ticket),
                Err(error) => {
                    // The members may have changed under the pick: the old ones removed, the new ones not seen yet.
                    let newer = self.inner.built.load();
                    if Arc::ptr_eq(&newer, &built) {
                        return Err(error);
                    }
                    built = newer;
                }
            }
        }
    }

    /// What [`pick`](Self::pick) would do now, and why: every member and what keeps it out, the draws, the scores, the choice. Print it for
    /// a table.
    ///
    /// The same code decides. With the entropy of `cx` as it stands, and nothing happening in between, a pick comes to the same endpoint. Nothing is
    /// spent: neither slots nor turns, entropy or probes, and no tickets are counted. Allocates; O(members), for debugging and not for every
    /// request.
    ///
    /// ```
    /// use lb_core::{Axis, Mono};
    /// use lb_policy::{Cluster, Entropy, Member, P2c, PickCx, Update};
    ///
    /// let cluster = Cluster::new("app");
    /// cluster.apply(Update::Reset(["a:80", "b:80", "c:80"].map(|name| Member::new(name, ())).into()), Mono::ZERO);
    /// cluster.set(cluster.uid_of(&"b:80".into()).unwrap(), Axis::Ejected, true, Mono::ZERO);
    ///
    /// let explanation = cluster.selector(P2c).explain(&PickCx::new(Mono::ZERO, &mut Entropy::seeded(1)));
    /// assert_eq!(explanation.endpoints[1].reasons, [Axis::Ejected]);
    /// println!("{explanation}");
    /// ```
    #[must_use]
    pub fn explain(&self, cx: &PickCx<'_>) -> Explanation {
        let mut entropy = cx.entropy.clone();
        let mut probes = cx.probes.as_deref().cloned();
        let mut watched = PickCx {
            now: cx.now,
            entropy: &mut entropy,
            key: cx.key,
            preferred: cx.preferred,
            tried: cx.tried,
            zone: cx.zone,
            probes: probes.as_mut(),
            passed_over: None,
            witness: Explaining::default(),
        };
        let built = self.inner.built.load();
        let choice = built.find(&self.inner.shared, &mut watched).map(|(index, _)| index);
        let endpoints = built.considered(cx.tried);
        Explanation { endpoints, steps: watched.witness.into_steps(), choice }
    }

    /// Takes a slot at this very endpoint, if it is a member and may take new requests: for a request that was drawn to
    /// it before and has waited until it was ready. Looks through the list of members; takes no lock.
    #[must_use]
    pub fn pick_at(&self, uid: Uid, now: Mono) -> Option<Ticket<T>> {
        let built = self.inner.built.load();
        let Snapshot { endpoints, members, .. } = &*built.snapshot;
        let place = endpoints.iter().position(|endpoint| endpoint.uid == uid)?;
        let endpoint = endpoints.get(place)?;
        let ignored = members.ignored(Index::new(u32::try_from(place).ok()?));
        let answer = endpoint.state.acquire_notify(false, ignored, |level| endpoint.lane.on_step(level));
        let is_taken = matches!(answer, Acquire::Taken { .. });
        if !is_taken {
            // See `Members::acquire`.
            endpoint.queue.on_free();
        }
        is_taken.then(|| self.inner.shared.ticket(endpoint, ignored.ignores_health(), now))
    }

    /// A reader for one worker: it keeps the table at hand, and looks for a newer one in half a nanosecond instead of four.
    ///
    /// It keeps an outdated table in memory until its next pick.
    #[must_use]
    pub fn reader(&self) -> Reader<P, T> {
        Reader { cache: arc_swap::Cache::new(ReaderSource(Arc::clone(&self.inner))), selector: self.clone() }
    }
}

#[cfg(any(test, feature = "conformance"))]
impl<P: Policy, T: Send + Sync + 'static> Selector<P, T> {
    /// Shows the first tier's table and what it would see; none if there are no members. For tests and measurements.
    pub fn inspect<R>(&self, look: impl FnOnce(&P::Table, &View<'_>) -> R) -> Option<R> {
        let built = self.inner.built.load();
        let members = &built.snapshot.members;
        let (_, table) = built.tiers.first()?;
        Some(look(table, &View::new(members, 0)))
    }
}

/// A worker's own way into a [`Selector`].
pub struct Reader<P: Policy, T> {
    selector: Selector<P, T>,
    cache: Cached<P, T>,
}

impl<P: Policy, T> fmt::Debug for Reader<P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl<P: Policy, T: Send + Sync + 'static> Reader<P, T> {
    /// As [`Selector::pick`].
    ///
    /// # Errors
    /// No endpoint may take the request; the error has the reasons.
    #[inline]
    pub fn pick(&mut self, cx: &mut PickCx<'_>) -> Result<Ticket<T>, PickError> {
        match self.cache.load().picked(&self.selector.inner.shared, cx) {
            Some(ticket) => Ok(ticket),
            None => self.selector.pick(cx),
        }
    }
}

type Cached<P, T> = arc_swap::Cache<ReaderSource<P, T>, Arc<Built<<P as Policy>::Table, T>>>;

struct Inner<P: Policy, T> {
    policy: P,
    shared: Arc<Shared<T>>,
    built: ArcSwap<Built<P::Table, T>>,
}

impl<P: Policy, T: Send + Sync + 'static> Follow<T> for Inner<P, T> {
    fn follow(&self, snapshot: &Arc<Snapshot<T>>, why: Why) {
        if why == Why::Eligibility && spans_all(&self.policy) {
            return;
        }
        let previous = self.built.load();
        self.built.store(Arc::new(Built::new(&self.policy, Arc::clone(snapshot), Some(&previous))));
    }
}

impl<T> Shared<T> {
    /// The ticket for a slot that was taken.
    #[inline]
    fn ticket(&self, endpoint: &Arc<Endpoint<T>>, in_panic: bool, now: Mono) -> Ticket<T> {
        if in_panic {
            self.panic_picks.fetch_add(1, Ordering::Relaxed);
        }
        Ticket::new(Arc::clone(endpoint), now, LatencySampler::from_bits(self.sampler.load(Ordering::Relaxed)))
    }
}

/// Where a reader's cache finds the table.
struct ReaderSource<P: Policy, T>(Arc<Inner<P, T>>);

impl<P: Policy, T> Deref for ReaderSource<P, T> {
    type Target = ArcSwap<Built<P::Table, T>>;

    fn deref(&self) -> &Self::Target {
        &self.0.built
    }
}

/// Tables and the member list they were built over, published together.
struct Built<B, T> {
    snapshot: Arc<Snapshot<T>>,
    /// Priority and table of each tier, lowest number first.
    tiers: Box<[(u8, B)]>,
    keyed: bool,
}

impl<B: Table, T> Built<B, T> {
    fn new<P: Policy<Table = B>>(policy: &P, snapshot: Arc<Snapshot<T>>, previous: Option<&Self>) -> Self {
        let keyed = spans_all(policy);
        let tiers = snapshot.members.priorities().map(|priority| {
            let candidates: Vec<_> = candidates(&snapshot)
                .filter(|(of, candidate)| *of == priority && (keyed || snapshot.members.is_allowed(candidate.index)))
                .map(|(_, candidate)| candidate)
                .collect();
            let previous = previous.and_then(|old| old.tiers.iter().find(|(of, _)| *of == priority));
            (priority, policy.build(&candidates, previous.map(|(_, table)| table)))
        });
        Self { tiers: tiers.collect(), keyed, snapshot }
    }

    fn pick(&self, shared: &Shared<T>, cx: &mut PickCx<'_>) -> Result<Ticket<T>, PickError> {
        let (index, in_panic) = self.find(shared, cx)?;
        let endpoint = self.snapshot.endpoints.get(index.get()).ok_or(PickError::Empty)?;
        Ok(shared.ticket(endpoint, in_panic, cx.now))
    }

    /// An endpoint with a slot taken there, and whether health was ignored for it.
    fn find<W: Ask>(&self, shared: &Shared<T>, cx: &mut PickCx<'_, W>) -> Result<(Index, bool), PickError> {
        let mut counts = EndpointCounts::default();
        for _ in 0..RACES {
            if let Some(found) = self.found(shared, cx) {
                return Ok(found);
            }
            // It may have read what is ignored before a change of health and the endpoints after it (or the other way round).
            fence(Ordering::Acquire);
            let is_any_usable;
            (counts, is_any_usable) = self.count(cx);
            if is_any_usable {
                continue;
            }
            if let Some(found) = self.pick_cooling(cx) {
                return Ok(found);
            }
            if !self.end_throttles(cx) {
                break;
            }
        }
        Err(counts.into_error())
    }

    #[inline]
    fn picked(&self, shared: &Shared<T>, cx: &mut PickCx<'_>) -> Option<Ticket<T>> {
        let (index, in_panic) = self.found(shared, cx)?;
        Some(shared.ticket(self.snapshot.endpoints.get(index.get())?, in_panic, cx.now))
    }

    #[inline]
    fn found<W: Ask>(&self, shared: &Shared<T>, cx: &mut PickCx<'_, W>) -> Option<(Index, bool)> {
        cx.passed_over = None;
        match &*self.tiers {
            [(_, table)] if cx.preferred.is_none() => {
                let view = View::new(&self.snapshot.members, 0);
                self.pick_from(table, view, shared, cx).map(|index| (index, view.is_panicking()))
            }
            _ => self.pick_among_tiers(shared, cx),
        }
    }

    /// The sticky endpoint, or one of the first tier that has any; and whether health was ignored for it.
    #[inline(never)]
    fn pick_among_tiers<W: Ask>(&self, shared: &Shared<T>, cx: &mut PickCx<'_, W>) -> Option<(Index, bool)> {
        let members = &self.snapshot.members;
        let picked = self.pick_preferred(cx).or_else(|| {
            let first = members.tier_at(|| match cx.key {
                Some(key) if self.keyed => (mix(key_hash(key)) % 100) as u32,
                _ => cx.entropy.below(100) as u32,
            });
            let places = 0..self.tiers.len();
            let others = places.clone().filter(|&place| place != first);
            places.skip(first).take(1).chain(others).find_map(|place| {
                let (priority, table) = self.tiers.get(place)?;
                cx.witness.note(|| Step::Tier { priority: *priority });
                self.pick_from(table, View::new(members, place), shared, cx)
            })
        });
        picked.map(|index| (index, members.ignored(index).ignores_health()))
    }

    /// The sticky endpoint, if it may serve a sticky request now. A slot there is taken.
    fn pick_preferred<W: Witness>(&self, cx: &PickCx<'_, W>) -> Option<Index> {
        let members = &self.snapshot.members;
        let endpoint = members.with_affinity(cx.preferred?).find(|&index| {
            !cx.tried.contains(members.uid(index)) && members.acquire(index, true, members.ignored(index), &cx.witness)
        });
        cx.witness.note(|| Step::Sticky { endpoint });
        endpoint
    }

    /// An endpoint of one tier, found by its table or else by looking at all. A slot there is taken.
    #[inline]
    fn pick_from<W: Ask>(
        &self,
        table: &B,
        view: View<'_>,
        shared: &Shared<T>,
        cx: &mut PickCx<'_, W>,
    ) -> Option<Index> {
        for _ in 0..RACES {
            let settled = W::ask(table, &view, cx);
            cx.witness.note(|| Step::Settled { endpoint: settled });
            let Some(index) = settled else { break };
            if cx.passed_over.is_none() && is_thinned(shared, &view, index, cx) {
                cx.witness.note(|| Step::Thinned { endpoint: index });
                cx.passed_over = Some(index);
                continue;
            }
            if view.is_free(index, cx) && view.acquire(index, &cx.witness) {
                return Some(index);
            }
        }
        cx.passed_over = None;
        let endpoint = self.search(view, cx);
        cx.witness.note(|| Step::Searched { endpoint });
        endpoint
    }

    /// Looks at every member of the tier. Those usable are drawn in proportion to weight: at random, or for a keyed
    /// policy by the key. If every draw loses its race, the first endpoint that lets the request in serves it.
    #[cold]
    #[inline(never)]
    fn search<W: Witness>(&self, view: View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
        for _ in 0..RACES {
            let drawn = match cx.key {
                Some(key) if self.keyed => self.draw_by_key(view, key, cx),
                _ => draw_at_random(view, cx),
            };
            match drawn {
                Some(index) if view.acquire(index, &cx.witness) => return Some(index),
                Some(_) => {}
                None => break,
            }
        }
        (0..)
            .map(Index::new)
            .take(view.len())
            .find(|&index| view.is_usable(index, cx) && view.acquire(index, &cx.witness))
    }

    fn draw_by_key<W: Witness>(&self, view: View<'_>, key: &[u8], cx: &PickCx<'_, W>) -> Option<Index> {
        let key = key_hash(key);
        let usable = view.eligible().filter(|&index| view.is_usable(index, cx));
        let facts = usable.filter_map(|index| Some((index, self.snapshot.members.facts().get(index.get())?)));
        facts
            .map(|(index, facts)| (index, score(mix(key ^ facts.affinity), facts.weight)))
            .max_by(|(_, a), (_, b)| a.total_cmp(b))
            .map(|(index, _)| index)
    }

    #[cold]
    #[inline(never)]
    /// Why no endpoint was picked, and whether one could be by now.
    fn count<W: Witness>(&self, cx: &PickCx<'_, W>) -> (EndpointCounts, bool) {
        let members = &self.snapshot.members;
        let mut counts = EndpointCounts::default();
        let mut is_any_usable = false;
        for ((state, facts), place) in members.states().iter().zip(members.facts()).zip(0..) {
            let (ignored, tried) = (members.ignored(Index::new(place)), cx.tried.contains(facts.uid));
            is_any_usable |= !tried && cx.witness.load_with_room(state, ignored).is_some();
            counts.count(state, ignored, tried);
        }
        (counts, is_any_usable)
    }
}

impl<B, T> Built<B, T> {
    /// An endpoint that cools down, where no other one can take the request: of the first tier that has any, drawn in
    /// proportion to weight. A slot there is taken.
    #[cold]
    #[inline(never)]
    fn pick_cooling<W: Witness>(&self, cx: &mut PickCx<'_, W>) -> Option<(Index, bool)> {
        let members = &self.snapshot.members;
        let mut drawn: Option<(u8, u64, Index)> = None;
        for (endpoint, place) in self.snapshot.endpoints.iter().zip(0..) {
            let (index, priority) = (Index::new(place), endpoint.priority());
            let ignored = members.ignored(index).and(Ignored::COOL_DOWNS);
            let comes_later = drawn.is_some_and(|(first, ..)| first < priority);
            if comes_later
                || cx.tried.contains(endpoint.uid())
                || cx.witness.load_with_room(endpoint.state(), ignored).is_none()
            {
                continue;
            }
            let before = drawn.filter(|&(of, ..)| of == priority).map_or(0, |(_, total, _)| total);
            let (weight, total) = (u64::from(endpoint.weight().value()), before + u64::from(endpoint.weight().value()));
            let is_drawn = before == 0 || cx.entropy.below(total) < weight;
            drawn = Some((priority, total, if is_drawn { index } else { drawn.map_or(index, |(.., index)| index) }));
        }
        let (.., index) = drawn?;
        let ignored = members.ignored(index).and(Ignored::COOL_DOWNS);
        let is_taken = members.acquire(index, false, ignored, &cx.witness);
        cx.witness.note(|| Step::CoolingDown { endpoint: is_taken.then_some(index) });
        is_taken.then_some((index, ignored.ignores_health()))
    }

    /// Lets endpoints that are throttled to one request at a time take what no other endpoint can. Whether there is one
    /// that has room now.
    ///
    /// A throttle is caution about an endpoint that comes back or is suspected; refusing a request that it might serve
    /// would cost more than the caution saves.
    #[cold]
    #[inline(never)]
    fn end_throttles<W: Witness>(&self, cx: &PickCx<'_, W>) -> bool {
        let members = &self.snapshot.members;
        let mut has_any_room = false;
        for ((state, facts), place) in members.states().iter().zip(members.facts()).zip(0..) {
            if state.is_throttled() && !cx.tried.contains(facts.uid) {
                cx.witness.end_throttle(state);
                let ignored = members.ignored(Index::new(place));
                has_any_room |= cx.witness.load_with_room(state, ignored).is_some();
            }
        }
        if has_any_room {
            cx.witness.note(|| Step::ThrottlesEnded);
        }
        has_any_room
    }

    /// The members as a request that has tried these sees them.
    fn considered(&self, tried: &Tried) -> Vec<ConsideredEndpoint> {
        let members = &self.snapshot.members;
        let considered = |(endpoint, place): (&Arc<Endpoint<T>>, u32)| {
            let (state, ignored) = (endpoint.state(), members.ignored(Index::new(place)));
            ConsideredEndpoint {
                identity: endpoint.identity().clone(),
                uid: endpoint.uid(),
                priority: endpoint.priority(),
                weight: endpoint.weight(),
                in_flight: state.in_flight(),
                max_in_flight: state.max_in_flight(),
                reasons: state.reasons().collect(),
                are_reasons_ignored: !state.is_eligible() && state.is_eligible_ignoring(ignored),
                is_full: state.is_full(),
                is_throttled: state.is_throttled(),
                is_tried: tried.contains(endpoint.uid()),
                is_warming: state.warming_cell().load(Ordering::Relaxed) != 0,
            }
        };
        self.snapshot.endpoints.iter().zip(0..).map(considered).collect()
    }
}

/// How often a pick that lost a race, for a slot or with a change of health, is made again.
const RACES: usize = 4;

fn spans_all<P: Policy>(policy: &P) -> bool {
    policy.signals().contains(Signals::KEY)
}

/// One pass, every usable member chosen with the probability weight ∕ total (a reservoir of one).
fn draw_at_random<W: Witness>(view: View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
    let mut total = 0;
    let mut drawn = None;
    for index in view.eligible() {
        if view.is_usable(index, cx) {
            let weight = u64::from(view.weight(index).value());
            total += weight;
            if cx.entropy.below(total) < weight {
                drawn = Some(index);
            }
        }
    }
    drawn
}

#[inline]
fn is_thinned<T, W: Witness>(shared: &Shared<T>, view: &View<'_>, index: Index, cx: &mut PickCx<'_, W>) -> bool {
    let Some(state) = view.state(index) else { return false };
    state.warming_cell().load(Ordering::Relaxed) != 0 && is_thinned_while_warming(shared, view, state, cx)
}

#[cold]
#[inline(never)]
fn is_thinned_while_warming<T, W: Witness>(
    shared: &Shared<T>,
    view: &View<'_>,
    state: &EndpointState,
    cx: &mut PickCx<'_, W>,
) -> bool {
    let ramp = shared.slow_start.load();
    let Some(ramp) = ramp.as_ref() else { return false };
    let Some(share) = ramp.share_of(state, cx.now) else { return false };
    let point = cx.entropy.unit();
    point >= share && point * warmest(ramp, view, cx) >= share
}

/// The share of the warmest member that could serve instead: endpoints that came together owe one another nothing, and to thin
/// them all would only tear keys from their homes.
fn warmest<W: Witness>(ramp: &SlowStart, view: &View<'_>, cx: &PickCx<'_, W>) -> f64 {
    let mut warmest: f64 = 0.0;
    for index in (0..).map(Index::new).take(view.len()).filter(|&index| view.is_usable(index, cx)) {
        let Some(share) = view.state(index).and_then(|state| ramp.share_of(state, cx.now)) else { return 1.0 };
        warmest = warmest.max(share);
    }
    warmest
}

fn candidates<T>(snapshot: &Snapshot<T>) -> impl Iterator<Item = (u8, Candidate<'_>)> {
    snapshot.endpoints.iter().zip(0..).filter(|(endpoint, _)| !endpoint.weight().is_zero()).map(|(endpoint, place)| {
        let candidate = Candidate {
            index: Index::new(place),
            identity: endpoint.identity(),
            uid: endpoint.uid(),
            weight: endpoint.weight(),
            affinity: endpoint.affinity(),
            zone: endpoint.zone(),
            state: endpoint.state(),
            lane: &endpoint.lane,
        };
        (endpoint.priority(), candidate)
    })
}
