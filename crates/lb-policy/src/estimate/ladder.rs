//! The endpoints with the fewest requests in flight, without looking at all of them.
//!
//! The simple answer reads a thousand counters on a thousand cache lines. A tree of minima needs log n updates a request, each of them a
//! race. Here 64 endpoints share a ladder: one word a level, one bit an endpoint, and the bit of level n is flipped whenever that
//! endpoint's count steps between n and n + 1, in either direction. So a step costs one atomic operation; flips commute, so whatever
//! order they arrive in, the words are right once all have arrived; and the 64 that share a level are found by one load.
//!
//! ```text
//!           lane 3 2 1 0
//!  level 2       0 0 0 0
//!  level 1       0 1 0 0        counts: lane 3 has 1 in flight, lane 2 has 2, lane 1 has 0, lane 0 has 1
//!  level 0       1 1 0 1        at the lowest level: lane 1
//! ```
//!
//! There are 256 words; a level's word is that of its remainder, and means the opposite each time round. `low` is a lower bound of the
//! counts: a step down below it lowers it, a search that finds no endpoint at it raises it. All these are sequentially consistent,
//! so that either the thread that steps down sees the raised bound or the one that raises it sees the step.
//!
//! Exact for picks one after another while no two counts on a ladder are 256 apart. Beyond that, and while others step at the same moment, an
//! answer may be wrong: the caller compares it with the endpoint's own count.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use lb_core::EndpointState;

#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const RUNGS: u32 = if cfg!(loom) { 4 } else { 256 };
/// No bound is known.
const UNSETTLED: u32 = u32::MAX;

/// 64 endpoints by requests in flight. Empty, and next to nothing in memory, until it is mirrored.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Ladder {
    rungs: OnceLock<Box<[AtomicU64]>>,
    /// Nobody listed has less in flight.
    low: AtomicU32,
    /// The weight of the endpoints with lanes here; only a search through mixed weights costs more.
    weight: u16,
    /// The lanes that are looked at when `low` is raised.
    listed: AtomicU64,
    /// The lanes not given away; changed under the cluster's lock only.
    free: AtomicU64,
}

impl Ladder {
    fn new(weight: u16) -> Self {
        Self {
            rungs: OnceLock::new(),
            low: AtomicU32::new(UNSETTLED),
            weight,
            listed: AtomicU64::new(0),
            free: AtomicU64::new(u64::MAX),
        }
    }

    fn rungs(&self) -> &[AtomicU64] {
        self.rungs.get_or_init(|| (0..RUNGS).map(|_| AtomicU64::new(0)).collect())
    }

    #[inline]
    fn rung(&self, level: u32) -> Option<&AtomicU64> {
        self.rungs.get()?.get((level % RUNGS) as usize)
    }

    /// The lanes of the endpoints with exactly `level` requests in flight, of those with at least that many.
    #[inline]
    pub(crate) fn at(&self, level: u32) -> u64 {
        let Some(rung) = self.rung(level) else { return 0 };
        let above = rung.load(Ordering::SeqCst);
        if (level / RUNGS).is_multiple_of(2) { !above } else { above }
    }

    /// The fewest in flight among these lanes, and which of them have so few; none if they are not to be found.
    #[inline]
    pub(crate) fn fewest(&self, among: u64) -> Option<(u32, u64)> {
        let low = self.low.load(Ordering::SeqCst);
        if low == UNSETTLED {
            return None;
        }
        let lanes = self.at(low) & among;
        if lanes != 0 { Some((low, lanes)) } else { self.climb(low, among) }
    }

    fn climb(&self, low: u32, among: u64) -> Option<(u32, u64)> {
        let mut bound = low;
        for level in low..low.saturating_add(RUNGS) {
            let lanes = self.at(level);
            if lanes & among != 0 {
                return Some((level, lanes & among));
            }
            if level == bound && lanes & self.listed.load(Ordering::SeqCst) == 0 && self.raise(level) {
                bound = level + 1;
            }
        }
        None
    }

    /// No listed endpoint was found at this level, the lowest: raises the bound above it, unless one has come down meanwhile.
    fn raise(&self, level: u32) -> bool {
        if self.low.compare_exchange(level, level + 1, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            return false;
        }
        if self.at(level) & self.listed.load(Ordering::SeqCst) != 0 {
            self.low.fetch_min(level, Ordering::SeqCst);
            return false;
        }
        true
    }
}

/// One endpoint's place on a ladder, for as long as its cluster remembers it.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    ladder: Arc<Ladder>,
    bit: u64,
}

impl Lane {
    pub(crate) fn ladder(&self) -> &Arc<Ladder> {
        &self.ladder
    }

    pub(crate) fn bit(&self) -> u64 {
        self.bit
    }

    /// The count steps between this level and the next, up or down.
    #[inline]
    pub(crate) fn on_step(&self, level: u32) {
        if let Some(rung) = self.ladder.rung(level) {
            rung.fetch_xor(self.bit, Ordering::SeqCst);
        }
        if level < self.ladder.low.load(Ordering::SeqCst) {
            self.lower(level);
        }
    }

    fn lower(&self, level: u32) {
        // While the bound is unsettled, this is how a step that was missed while settling becomes known.
        self.ladder.low.fetch_min(level, Ordering::SeqCst);
    }

    /// From now on every step of this endpoint's count is taken here.
    pub(crate) fn mirror(&self, state: &EndpointState) {
        self.ladder.rungs();
        for level in 0..state.mirror().unwrap_or(0) {
            if let Some(rung) = self.ladder.rung(level) {
                rung.fetch_xor(self.bit, Ordering::SeqCst);
            }
        }
    }
}

/// Determines again the mirrored endpoints to look at, and a bound for them. Others may step meanwhile. O(endpoints).
pub(crate) fn settle<'a>(listed: impl Iterator<Item = (&'a Lane, &'a EndpointState)> + Clone) {
    let mut ladders: BTreeMap<*const Ladder, (&Ladder, u64)> = BTreeMap::new();
    for (lane, _) in listed.clone() {
        ladders.entry(Arc::as_ptr(&lane.ladder)).or_insert((&lane.ladder, 0)).1 |= lane.bit;
    }
    for (ladder, lanes) in ladders.values() {
        ladder.low.store(UNSETTLED, Ordering::SeqCst);
        ladder.listed.store(*lanes, Ordering::SeqCst);
    }
    for (lane, state) in listed {
        // A plain load could miss the step of a thread that does not see the unsettled bound yet; this cannot.
        let (Ok(in_flight) | Err(in_flight)) = state.mirror();
        lane.lower(in_flight);
    }
}

/// Gives lanes away, so that those of one weight stand together.
#[derive(Debug, Default)]
pub(crate) struct Ladders {
    /// Those with a free lane, by weight.
    open: BTreeMap<u16, Vec<Arc<Ladder>>>,
}

impl Ladders {
    pub(crate) fn take(&mut self, weight: u16) -> Lane {
        let open = self.open.entry(weight).or_default();
        let ladder = match open.last() {
            Some(ladder) => Arc::clone(ladder),
            None => {
                let ladder = Arc::new(Ladder::new(weight));
                open.push(Arc::clone(&ladder));
                ladder
            }
        };
        let free = ladder.free.load(Ordering::SeqCst);
        let bit = free & free.wrapping_neg();
        ladder.free.store(free & !bit, Ordering::SeqCst);
        if free == bit {
            open.pop();
        }
        Lane { ladder, bit }
    }

    pub(crate) fn give_back(&mut self, lane: &Lane) {
        let free = lane.ladder.free.load(Ordering::SeqCst);
        lane.ladder.free.store(free | lane.bit, Ordering::SeqCst);
        if free == 0 {
            self.open.entry(lane.ladder.weight).or_default().push(Arc::clone(&lane.ladder));
        }
    }
}

/// The lane of this number: the n-th set bit; none if there are not so many.
#[inline]
pub(crate) fn nth_lane(mut lanes: u64, n: u32) -> Option<u64> {
    for _ in 0..n {
        lanes &= lanes.wrapping_sub(1);
    }
    (lanes != 0).then(|| lanes & lanes.wrapping_neg())
}

#[cfg(all(test, loom))]
mod loom_models {
    use loom::thread;

    use super::*;

    #[test]
    fn loom_a_step_down_beside_a_raised_bound_is_not_missed() {
        loom::model(|| {
            let mut ladders = Ladders::default();
            let (own, other) = (ladders.take(1), ladders.take(1));
            let ladder = Arc::clone(own.ladder());
            ladder.rungs();
            // Both have one in flight; the bound has been left behind.
            own.on_step(0);
            other.on_step(0);
            ladder.listed.store(own.bit | other.bit, Ordering::SeqCst);
            ladder.low.store(0, Ordering::SeqCst);
            let ending = {
                let own = own.clone();
                thread::spawn(move || own.on_step(0))
            };
            ladder.fewest(own.bit | other.bit);
            ending.join().unwrap();
            assert_eq!(ladder.fewest(own.bit | other.bit), Some((0, own.bit)));
        });
    }

    #[test]
    fn loom_a_step_while_the_bound_is_being_settled_is_not_missed() {
        loom::model(|| {
            let state = Arc::new(EndpointState::new(lb_core::InFlightLimit::NONE));
            let lane = Ladders::default().take(1);
            lane.mirror(&state);
            let _ = state.acquire_notify(false, lb_core::Ignored::NOTHING, |level| lane.on_step(level));
            let ending = {
                let (lane, state) = (lane.clone(), Arc::clone(&state));
                thread::spawn(move || state.release_notify(|level| lane.on_step(level)))
            };
            settle([(&lane, &*state)].into_iter());
            ending.join().unwrap();
            assert_eq!(lane.ladder().fewest(lane.bit()), Some((0, lane.bit())));
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use lb_core::InFlightLimit;

    use super::*;
    use crate::Entropy;

    #[test]
    fn lanes_of_one_weight_share_a_ladder_and_are_given_again() {
        let mut ladders = Ladders::default();
        let lanes: Vec<Lane> = (0..65).map(|_| ladders.take(1)).collect();
        assert!(lanes[..64].iter().all(|lane| Arc::ptr_eq(lane.ladder(), lanes[0].ladder())));
        assert_eq!(lanes[..64].iter().fold(0, |all, lane| all | lane.bit()), u64::MAX);
        assert!(!Arc::ptr_eq(lanes[64].ladder(), lanes[0].ladder()));
        let other = ladders.take(2);
        assert!(lanes.iter().all(|lane| !Arc::ptr_eq(lane.ladder(), other.ladder())));
        ladders.give_back(&lanes[7]);
        let again = ladders.take(1);
        assert!(Arc::ptr_eq(again.ladder(), lanes[7].ladder()) && again.bit() == lanes[7].bit());
    }

    #[test]
    fn it_knows_the_fewest_whatever_steps_are_made() {
        let mut dice = Entropy::seeded(8);
        let mut ladders = Ladders::default();
        let members: Vec<(Lane, EndpointState)> =
            (0..64).map(|_| (ladders.take(1), EndpointState::new(InFlightLimit::NONE))).collect();
        let (early, late) = members.split_at(32);
        let step = |(lane, state): &(Lane, EndpointState), up: bool| {
            if up {
                let _ = state.acquire_notify(false, lb_core::Ignored::NOTHING, |level| lane.on_step(level));
            } else if state.in_flight() > 0 {
                state.release_notify(|level| lane.on_step(level));
            }
        };
        let watch = |members: &[(Lane, EndpointState)]| members.iter().for_each(|(lane, state)| lane.mirror(state));
        watch(early);
        let mut highest = 0;
        // Up past a whole round of levels and down again; half of them mirrored from the middle of it on.
        for round in 0..60_000_u64 {
            if round == 10_000 {
                watch(late);
            }
            if round >= 10_000 && round % 5_000 == 0 {
                settle(members.iter().map(|(lane, state)| (lane, state)));
            }
            let is_up = dice.below(7) < if round < 40_000 { 6 } else { 2 };
            let random = &members[dice.below(64) as usize];
            let most = members.iter().max_by_key(|(_, state)| state.in_flight()).unwrap();
            // Any of them goes up or down, unless that would take two of them 256 apart.
            let is_apart = most.1.in_flight() - random.1.in_flight() > 200;
            match (is_up, is_apart) {
                (false, true) => step(most, false),
                (true, false) => step(random, true),
                (true, true) => step(members.iter().min_by_key(|(_, state)| state.in_flight()).unwrap(), true),
                (false, false) => step(random, false),
            }
            if round >= 10_000 {
                let among = dice.next_u64() | 1;
                let counts = members.iter().filter(|(lane, _)| lane.bit() & among != 0);
                let least = counts.clone().map(|(_, state)| state.in_flight()).min().unwrap();
                let lanes =
                    counts.filter(|(_, state)| state.in_flight() == least).fold(0, |all, (lane, _)| all | lane.bit());
                assert_eq!(members[0].0.ladder().fewest(among), Some((least, lanes)), "round {round}");
                highest = highest.max(least);
            }
        }
        assert!(highest > 256, "{highest}");
    }

    #[test]
    fn lanes_are_counted_from_the_lowest() {
        assert_eq!(nth_lane(0b1011_0000, 0), Some(0b1_0000));
        assert_eq!(nth_lane(0b1011_0000, 2), Some(0b1000_0000));
        assert_eq!(nth_lane(0b1011_0000, 3), None);
        assert_eq!(nth_lane(0, 0), None);
    }
}
