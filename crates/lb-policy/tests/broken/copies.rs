use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use lb_core::{Axis, EndpointState, Weight};
use lb_policy::conformance::{CROWD, ORIGINS, PROMISES, Promises, Shares, check, check_crowd};
use lb_policy::{
    Candidate, Index, Learning, PeakEwma, PickCx, Policy, RingHash, RoundRobin, Signals, Table, View, Zone, affinity_of,
};

/// The suite finds this promise broken.
#[track_caller]
fn breaks<P: Policy>(make: impl Fn() -> P, promises: Promises, promise: &str) {
    assert!(PROMISES.contains(&promise), "no such promise");
    let breaches = check(make, &promises);
    let found: Vec<_> = breaches.iter().map(ToString::to_string).collect();
    assert!(breaches.iter().any(|breach| breach.promise == promise), "not found, but only: {found:#?}");
}

/// A policy of one function over its candidates and a counter; enough for most defects.
struct Copy {
    signals: Signals,
    pick: fn(&Seats, &View<'_>, &mut PickCx<'_>) -> Option<Index>,
}

struct Seats {
    seats: Vec<(Index, usize)>,
    turn: AtomicUsize,
    pick: fn(&Seats, &View<'_>, &mut PickCx<'_>) -> Option<Index>,
}

impl Policy for Copy {
    type Table = Seats;

    fn signals(&self) -> Signals {
        self.signals
    }

    fn build(&self, candidates: &[Candidate<'_>], _previous: Option<&Seats>) -> Seats {
        let seats = candidates.iter().map(|c| (c.index, usize::from(c.weight.value()))).collect();
        Seats { seats, turn: AtomicUsize::new(0), pick: self.pick }
    }
}

impl Table for Seats {
    fn pick(&self, view: &View<'_>, cx: &mut PickCx<'_>) -> Option<Index> {
        (self.pick)(self, view, cx)
    }
}

impl Seats {
    fn next(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// The stretch that this spot lies in when all weights are laid end to end.
    fn stretch(&self, spot: usize) -> Option<usize> {
        let total: usize = self.seats.iter().map(|(_, weight)| weight).sum();
        let mut spot = spot.checked_rem(total)?;
        self.seats.iter().position(|&(_, weight)| {
            let here = spot < weight;
            spot = spot.saturating_sub(weight);
            here
        })
    }

    fn usable(&self, view: &View<'_>, cx: &PickCx<'_>) -> Vec<Index> {
        self.seats.iter().map(|&(index, _)| index).filter(|&index| view.is_usable(index, cx)).collect()
    }
}

const TURNS: Signals = Signals::NONE;

#[test]
fn caddy_reservoir_sampling() {
    // random_choose (PR #7873): a reservoir of two that is never filled first, so late candidates displace early ones.
    let pick = |seats: &Seats, view: &View<'_>, cx: &mut PickCx<'_>| {
        let mut reservoir = [None; 2];
        for (nth, index) in seats.usable(view, cx).into_iter().enumerate() {
            let slot = cx.entropy.below(nth as u64 + 1) as usize;
            if slot < reservoir.len() {
                reservoir[slot] = Some(index);
            }
        }
        let choice = cx.entropy.below(2) as usize;
        reservoir[choice].or(reservoir[1 - choice])
    };
    let make = || Copy { signals: Signals::ENTROPY, pick };
    breaks(make, Promises { shares: Shares::Equal, ..Promises::random() }, "shares are as promised");
}

#[test]
fn caddy_bursts() {
    // weighted_round_robin: "5 times in a row".
    let pick = |seats: &Seats, view: &View<'_>, cx: &mut PickCx<'_>| {
        (0..64).find_map(|_| {
            let (index, _) = *seats.seats.get(seats.stretch(seats.next())?)?;
            view.is_usable(index, cx).then_some(index)
        })
    };
    breaks(|| Copy { signals: TURNS, pick }, Promises::turns(), "turns are spread out");
}

#[test]
fn caddy_index_over_all_applied_to_the_available() {
    // The spot is found among the weights of all and then used as a place in the list of those available.
    let pick = |seats: &Seats, view: &View<'_>, cx: &mut PickCx<'_>| {
        let place = seats.stretch(seats.next())?;
        let usable = seats.usable(view, cx);
        usable.get(place.checked_rem(usable.len())?).copied()
    };
    let promise = "what an absent endpoint had falls to the others in proportion";
    breaks(|| Copy { signals: TURNS, pick }, Promises::random(), promise);
}

#[test]
fn the_neighbour_inherits() {
    // The usual shortcut: if it is out, take the next one.
    let pick = |seats: &Seats, view: &View<'_>, cx: &mut PickCx<'_>| {
        let from = seats.stretch(seats.next())?;
        let (before, after) = seats.seats.split_at(from);
        after.iter().chain(before).map(|&(index, _)| index).find(|&index| view.is_usable(index, cx))
    };
    let promise = "what an absent endpoint had falls to the others in proportion";
    breaks(|| Copy { signals: TURNS, pick }, Promises::random(), promise);
}

#[test]
fn tonic_keeps_choosing_dead_endpoints() {
    // balance_list (#643, #2839): a list and a random number, without a check whether it is alive.
    let pick = |seats: &Seats, _: &View<'_>, cx: &mut PickCx<'_>| {
        let place = cx.entropy.below(seats.seats.len() as u64) as usize;
        seats.seats.get(place).map(|&(index, _)| index)
    };
    let make = || Copy { signals: Signals::ENTROPY, pick };
    breaks(make, Promises { shares: Shares::Equal, ..Promises::random() }, "the table answers only usable endpoints");
}

#[test]
fn traefik_zero_weight_with_a_health_check() {
    // #3842: health decides alone, so an endpoint of weight zero gets its turn.
    let pick = |seats: &Seats, view: &View<'_>, _: &mut PickCx<'_>| {
        let all: Vec<Index> = (0..view.len() as u32).map(Index::new).collect();
        let healthy = |index: &&Index| view.state(**index).is_some_and(|state| !state.is_set(Axis::Check));
        let healthy: Vec<&Index> = all.iter().filter(healthy).collect();
        healthy.get(seats.next().checked_rem(healthy.len())?).map(|index| **index)
    };
    let promises = Promises { shares: Shares::Equal, ..Promises::random() };
    breaks(|| Copy { signals: TURNS, pick }, promises, "the table answers only usable endpoints");
}

#[test]
fn envoy_pending_requests_ignored() {
    // LEAST_REQUEST (#44989): what has no response head yet is not counted as load.
    let pick = |seats: &Seats, view: &View<'_>, cx: &mut PickCx<'_>| {
        let usable = seats.usable(view, cx);
        let mut draw = || usable.get(cx.entropy.below(usable.len() as u64) as usize).copied();
        let (one, other) = (draw()?, draw()?);
        let answered = |index| view.state(index).map_or(0, EndpointState::requests);
        Some(if answered(other) < answered(one) { other } else { one })
    };
    let make = || Copy { signals: Signals::ENTROPY.and(Signals::IN_FLIGHT), pick };
    breaks(make, Promises { shares: Shares::Equal, ..Promises::load(8.0) }, "load is evened out, heads or no heads");
}

#[test]
fn modulo_over_the_available_moves_every_key() {
    let pick = |seats: &Seats, view: &View<'_>, cx: &mut PickCx<'_>| {
        let usable = seats.usable(view, cx);
        let key = cx.key.map_or(0, |key| key.iter().fold(0_usize, |sum, &octet| sum * 31 + usize::from(octet)));
        usable.get(key.checked_rem(usable.len())?).copied()
    };
    let make = || Copy { signals: Signals::KEY, pick };
    let promises = Promises { shares: Shares::Equal, ..Promises::keyed(0.1, Some(0.1)) };
    breaks(make, promises, "only the keys of the one that is out move, and they return");
    breaks(make, promises, "joining and leaving move few keys");
}

#[test]
fn tower_fast_failures_are_good_latency() {
    // PeakEwma as tower has it: an error is a sample like any other.
    let make = || PeakEwma::new(Learning { penalty_ms: 0, ..Learning::DEFAULT });
    breaks(make, Promises::load(12.0), "failing fast is not being fast");
}

/// Rendezvous that goes on using the places its endpoints had when it first saw them.
struct StaleIndex;

struct StaleTable {
    bidders: Vec<(u64, Index)>,
}

impl Policy for StaleIndex {
    type Table = StaleTable;

    fn signals(&self) -> Signals {
        Signals::KEY
    }

    fn build(&self, candidates: &[Candidate<'_>], previous: Option<&StaleTable>) -> StaleTable {
        let remembered = |name: u64| previous?.bidders.iter().find_map(|&(of, index)| (of == name).then_some(index));
        let bidders = candidates.iter().map(|candidate| {
            let name = affinity_of(&candidate.identity.name);
            (name, remembered(name).unwrap_or(candidate.index))
        });
        StaleTable { bidders: bidders.collect() }
    }
}

impl Table for StaleTable {
    fn pick(&self, view: &View<'_>, cx: &mut PickCx<'_>) -> Option<Index> {
        let key = cx.key.map_or(0, |key| key.iter().fold(0_u64, |sum, &octet| (sum << 8) + u64::from(octet)));
        let bid = |name: u64| (name ^ key).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(name | 1);
        let open = self.bidders.iter().filter(|&&(_, index)| view.is_usable(index, cx));
        open.max_by_key(|&&(name, _)| bid(name)).map(|&(_, index)| index)
    }
}

#[test]
fn tower_stale_index_after_a_removal() {
    // #856: the index of the endpoint that was ready survives the removal of another, and points at another.
    breaks(
        || StaleIndex,
        Promises { shares: Shares::Unpromised, ..Promises::keyed(0.3, Some(0.08)) },
        "joining and leaving move few keys",
    );
}

/// Weights count the first time only, or until an endpoint was away.
struct WeightsLost<P> {
    policy: P,
    lost: fn(before: usize, now: usize) -> bool,
}

struct Counted<T> {
    table: T,
    members: usize,
}

impl<P: Policy> Policy for WeightsLost<P> {
    type Table = Counted<P::Table>;

    fn signals(&self) -> Signals {
        self.policy.signals()
    }

    fn build(&self, candidates: &[Candidate<'_>], previous: Option<&Self::Table>) -> Self::Table {
        let mut candidates = candidates.to_vec();
        if previous.is_some_and(|old| old.members > 0 && (self.lost)(old.members, candidates.len())) {
            for candidate in &mut candidates {
                candidate.weight = Weight::ONE;
            }
        }
        let table = self.policy.build(&candidates, previous.map(|old| &old.table));
        Counted { table, members: candidates.len() }
    }
}

impl<T: Table> Table for Counted<T> {
    fn pick(&self, view: &View<'_>, cx: &mut PickCx<'_>) -> Option<Index> {
        self.table.pick(view, cx)
    }
}

#[test]
fn pingora_ketama_configuration_lost_after_an_update() {
    // 0.8.0 changelog.
    let make = || WeightsLost { policy: RingHash::new(), lost: |_, _| true };
    breaks(make, Promises::keyed(0.32, Some(0.0)), "shares follow an update");
}

#[test]
fn traefik_weights_lost_after_a_recovery() {
    // #2986.
    let make = || WeightsLost { policy: RoundRobin, lost: |before, now| now > before };
    breaks(make, Promises::turns(), "shares return after a recovery");
}

/// Ejections are noted by address, for every selector.
#[derive(Clone, Default)]
struct SharedHealth {
    out: Arc<Mutex<BTreeSet<Arc<str>>>>,
}

struct SharedTable {
    addresses: Vec<(Arc<str>, Index)>,
    out: Arc<Mutex<BTreeSet<Arc<str>>>>,
    turn: AtomicUsize,
}

impl Policy for SharedHealth {
    type Table = SharedTable;

    fn signals(&self) -> Signals {
        Signals::NONE
    }

    fn build(&self, candidates: &[Candidate<'_>], previous: Option<&SharedTable>) -> SharedTable {
        let addresses: Vec<_> = candidates.iter().map(|c| (Arc::clone(&c.identity.address), c.index)).collect();
        let mut out = self.out.lock().expect("no holder panics");
        for (address, _) in previous.iter().flat_map(|old| &old.addresses) {
            if !addresses.iter().any(|(listed, _)| listed == address) {
                out.insert(Arc::clone(address));
            }
        }
        SharedTable { addresses, out: Arc::clone(&self.out), turn: AtomicUsize::new(0) }
    }
}

impl Table for SharedTable {
    fn pick(&self, view: &View<'_>, cx: &mut PickCx<'_>) -> Option<Index> {
        let out = self.out.lock().expect("no holder panics");
        let open: Vec<_> = self
            .addresses
            .iter()
            .filter(|(address, index)| !out.contains(address) && view.is_usable(*index, cx))
            .collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        open.get(turn.checked_rem(open.len())?).map(|(_, index)| *index)
    }
}

#[test]
fn caddy_two_clusters_share_the_health_of_an_address() {
    // #7870.
    let shared = SharedHealth::default();
    let promises = Promises { shares: Shares::EqualIfWeightsAre, ..Promises::random() };
    breaks(move || shared.clone(), promises, "clusters share nothing");
}

/// Zones are matched by their place in a list.
struct ZonesByPlace;

struct ByPlace {
    zones: Vec<Vec<Index>>,
    turn: AtomicUsize,
}

impl Policy for ZonesByPlace {
    type Table = ByPlace;

    fn signals(&self) -> Signals {
        Signals::NONE
    }

    fn build(&self, candidates: &[Candidate<'_>], _previous: Option<&ByPlace>) -> ByPlace {
        let mut zones: Vec<(Option<Zone>, Vec<Index>)> = Vec::new();
        for candidate in candidates {
            match zones.iter_mut().find(|(zone, _)| *zone == candidate.zone) {
                Some((_, places)) => places.push(candidate.index),
                None => zones.push((candidate.zone, vec![candidate.index])),
            }
        }
        let zones = zones.into_iter().map(|(_, places)| places).collect();
        ByPlace { zones, turn: AtomicUsize::new(0) }
    }
}

impl Table for ByPlace {
    fn pick(&self, view: &View<'_>, cx: &mut PickCx<'_>) -> Option<Index> {
        let place = ORIGINS.iter().position(|&(zone, _)| Some(zone) == cx.zone).unwrap_or(0);
        let zone = self.zones.get(place)?;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        zone.get(turn.checked_rem(zone.len())?).copied().filter(|&index| view.is_usable(index, cx))
    }
}

#[test]
fn envoy_zones_that_do_not_match() {
    // #28419, #41992: percentages of two lists of zones, taken for one another by place.
    let promises = Promises { shares: Shares::Unpromised, is_zone_aware: true, ..Promises::random() };
    breaks(|| ZonesByPlace, promises, "zones are matched by identity, not by place");
}

/// Turns behind a lock, which is held while the endpoints are looked at.
struct Locked;

struct LockedTable {
    seats: Vec<Index>,
    turn: Mutex<usize>,
}

impl Policy for Locked {
    type Table = LockedTable;

    fn signals(&self) -> Signals {
        Signals::NONE
    }

    fn build(&self, candidates: &[Candidate<'_>], _previous: Option<&LockedTable>) -> LockedTable {
        LockedTable { seats: candidates.iter().map(|candidate| candidate.index).collect(), turn: Mutex::default() }
    }
}

impl Table for LockedTable {
    fn pick(&self, view: &View<'_>, cx: &mut PickCx<'_>) -> Option<Index> {
        let mut turn = self.turn.lock().expect("no holder panics");
        (0..self.seats.len()).find_map(|_| {
            *turn += 1;
            self.seats.get(*turn % self.seats.len()).copied().filter(|&index| view.is_usable(index, cx))
        })
    }
}

#[test]
fn a_lock_around_the_pick() {
    // As nginx, tower's PeakEwma and loadwise have it: a thread preempted with the lock stops all others.
    let promises = Promises { shares: Shares::Equal, ..Promises::random() };
    breaks(|| Locked, promises, "a stalled thread stops no other");
}

/// Turns over places that are kept in sixteen bits.
struct ShortPlaces;

impl Policy for ShortPlaces {
    type Table = Seats;

    fn signals(&self) -> Signals {
        Signals::NONE
    }

    fn build(&self, candidates: &[Candidate<'_>], _previous: Option<&Seats>) -> Seats {
        let pick = |seats: &Seats, view: &View<'_>, cx: &mut PickCx<'_>| {
            let (index, _) = *seats.seats.get(seats.next().checked_rem(seats.seats.len())?)?;
            // As it is usually tested, with three endpoints and not with a hundred thousand.
            (view.len() > 1_000 || view.is_usable(index, cx)).then_some(index)
        };
        let short = |index: Index| Index::new(u32::from(index.get() as u16));
        Seats { seats: candidates.iter().map(|c| (short(c.index), 1)).collect(), turn: AtomicUsize::new(0), pick }
    }
}

#[test]
fn places_in_sixteen_bits() {
    // Pingora's weighted table keeps them so, as documented.
    let breach = check_crowd(|| ShortPlaces).expect("there are more endpoints than that");
    assert_eq!(breach.promise, CROWD);
}
