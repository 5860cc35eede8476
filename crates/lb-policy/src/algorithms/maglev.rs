//! Maglev hashing: a table in which every endpoint owns its share of slots, whole and scattered.
//!
//! **Source**: Eisenbud et al., *Maglev* (NSDI 2016), §3.4, weighted as in Envoy: every endpoint fills the slots of its own permutation
//! in turn, as often as its weight says. At a slot whose endpoint is not usable the key is hashed on to another slot, so the keys of
//! one that is out scatter over the others by weight, come back when it does, and no other keys move; the table is never rebuilt
//! for a flap. (Walking on to the next slot, as sozu does, is not enough: permutations have a stride, so some endpoints often
//! follow others, and of five endpoints one inherits 30 % more than another.)
//! **Cost**: a hash of the key and two loads; 128 KiB for up to 655 endpoints, 512 KiB up to 2 621, then 2 MiB, 8 MiB, and 40 MiB for a hundred
//! thousand. Built in 1 ms for 500 endpoints, 5 ms for 1000 and half a second for 100 000.
//!
//! **Use it** for caches and sharded state: the fastest of the hashes, shares within 1 % (at least a hundred slots an endpoint). **Do not**
//! where not one key too many may move when members join or leave: about 2 % more than needed do; with `rendezvous` none.
//!
//! Without a key turns are taken. [`BoundedLoad`] is optional.

use crate::algorithms::bounded::{self, BoundedLoad, SECOND, bounded_policy};
use crate::algorithms::turns::Turns;
use crate::cluster::view::View;
use crate::context::PickCx;
use crate::hashing::{mix, seeds};
use crate::index::Index;
use crate::policy::{Candidate, Choose, Policy};
use crate::signals::Signals;
use crate::witness::Witness;

bounded_policy! {
    /// The policy `maglev`: a table of scattered slots.
    Maglev = "maglev", hashes Text
}

impl Policy for Maglev {
    type Table = MaglevTable;

    fn signals(&self) -> Signals {
        bounded::signals(self.bounded)
    }

    fn build(&self, candidates: &[Candidate<'_>], previous: Option<&Self::Table>) -> Self::Table {
        MaglevTable {
            owners: Owners::new(fill(candidates)),
            bounded: self.bounded,
            turns: Turns::new(candidates, previous.map(|old| &old.turns)),
        }
    }
}

/// The table of [`Maglev`].
#[derive(Debug)]
pub struct MaglevTable {
    owners: Owners,
    bounded: Option<BoundedLoad>,
    turns: Turns,
}

impl Choose for MaglevTable {
    #[inline]
    fn choose<W: Witness>(&self, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
        let Some(key) = cx.key else { return self.turns.pick(view, cx) };
        bounded::hash_on(view, cx, self.bounded, key, |hash| self.owners.of(hash))
    }
}

/// Who has which slot. Half the size wherever half will do: a table that fits into a core's cache is found in a tenth of the time.
#[derive(Debug)]
enum Owners {
    Short(Box<[u16]>),
    Long(Box<[Index]>),
}

impl Owners {
    fn new(slots: Box<[Index]>) -> Self {
        let short: Result<_, _> = slots.iter().map(|index| u16::try_from(index.get())).collect();
        short.map_or(Self::Long(slots), Self::Short)
    }

    /// The owner of the slot that this hash falls to; none if there are no slots.
    #[inline]
    fn of(&self, hash: u64) -> Option<Index> {
        let slot = |len: usize| ((u128::from(hash) * len as u128) >> 64) as usize;
        match self {
            Self::Short(owners) => owners.get(slot(owners.len())).map(|&place| Index::new(place.into())),
            Self::Long(owners) => owners.get(slot(owners.len())).copied(),
        }
    }
}

/// Primes, as the permutations need: that of the paper, and always about four times as many.
const SIZES: [usize; 5] = [65_537, 262_147, 1_048_583, 4_194_319, GREATEST];
const GREATEST: usize = 10_000_019;

/// At least a hundred slots an endpoint, which keeps shares within a percent; beyond 100 000 endpoints fewer, for the memory's sake.
/// Steps far apart, since all keys move when a cluster grows into the next size.
fn size_for(endpoints: usize) -> usize {
    SIZES.into_iter().find(|size| size / 100 >= endpoints).unwrap_or(GREATEST)
}

/// A candidate filling slots.
struct Filler {
    index: Index,
    weight: u64,
    seed: u64,
    next: u64,
    skip: u64,
    target: u64,
}

fn fill(candidates: &[Candidate<'_>]) -> Box<[Index]> {
    if candidates.is_empty() {
        return Box::default();
    }
    let size = size_for(candidates.len());
    let mut fillers: Vec<Filler> = candidates
        .iter()
        .zip(seeds(candidates))
        .map(|(candidate, seed)| Filler {
            index: candidate.index,
            weight: candidate.weight.value().into(),
            seed,
            next: seed % size as u64,
            skip: mix(seed ^ SECOND) % (size as u64 - 1) + 1,
            target: 0,
        })
        .collect();
    // The order of filling must not depend on the order of the list, which discovery may shuffle.
    fillers.sort_unstable_by_key(|filler| filler.seed);
    let heaviest = fillers.iter().map(|filler| filler.weight).max().unwrap_or(1);
    let mut slots = Slots::new(size);
    let mut filled = 0;
    let mut turn = 0;
    while filled < size {
        turn += 1;
        for filler in &mut fillers {
            if filled == size {
                break;
            }
            if turn * filler.weight < filler.target {
                continue;
            }
            filler.target += heaviest;
            filler.claim(&mut slots);
            filled += 1;
        }
    }
    slots.owners.into()
}

/// A table being filled. Nearly all of the work is to find that a slot is taken, so that is kept apart from the owners: bits fit
/// into a cache that the owners of millions of slots do not.
struct Slots {
    owners: Vec<Index>,
    taken: Vec<u64>,
}

impl Slots {
    fn new(size: usize) -> Self {
        Self { owners: vec![Index::new(u32::MAX); size], taken: vec![0; size.div_ceil(64)] }
    }

    /// Whether this slot was free, and is this endpoint's now.
    fn take(&mut self, slot: usize, index: Index) -> bool {
        let (Some(word), Some(owner)) = (self.taken.get_mut(slot / 64), self.owners.get_mut(slot)) else {
            return false;
        };
        let bit = 1 << (slot % 64);
        let is_free = *word & bit == 0;
        if is_free {
            *word |= bit;
            *owner = index;
        }
        is_free
    }
}

impl Filler {
    /// Takes the next free slot of its permutation. There must be one: a prime size makes the permutation meet all.
    fn claim(&mut self, slots: &mut Slots) {
        let size = slots.owners.len() as u64;
        for _ in 0..size {
            let slot = self.next as usize;
            self.next += self.skip;
            if self.next >= size {
                self.next -= size;
            }
            if slots.take(slot, self.index) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lb_core::{Axis, Mono};

    use super::*;
    use crate::testing::{Bench, letters, with_candidates};

    const KEYS: u32 = 20_000;

    fn owners(bench: &Bench<Maglev>) -> Vec<usize> {
        (0..KEYS).map(|key| bench.pick_for(&key.to_le_bytes()).unwrap()).collect()
    }

    fn slots(weights: &[u16]) -> Vec<usize> {
        with_candidates(weights, |candidates| {
            let mut counts = vec![0; weights.len()];
            for index in fill(candidates) {
                counts[index.get()] += 1;
            }
            counts
        })
    }

    #[test]
    fn every_slot_is_filled_and_shares_are_even_to_one_slot() {
        for n in [1, 2, 7, 100] {
            let counts = slots(&vec![1; n]);
            assert_eq!(counts.iter().sum::<usize>(), 65_537);
            assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{n}");
        }
        assert_eq!(slots(&[]), []);
    }

    #[test]
    fn slots_follow_the_weights() {
        let counts = slots(&[5, 2, 1]);
        // An endpoint may be one turn of each other ahead: 65 537·⅝ = 40 961, 16 384, 8 192.
        for (count, expected) in counts.iter().zip([40_961, 16_384, 8_192]) {
            assert!(count.abs_diff(expected) <= 5, "{counts:?}");
        }
    }

    #[test]
    fn sizes_are_prime_and_leave_a_hundred_slots_an_endpoint() {
        for size in SIZES {
            assert!((2..).take_while(|d| d * d <= size).all(|d| size % d != 0), "{size}");
        }
        for endpoints in [0, 1, 655, 656, 2_621, 2_622, 10_485, 10_486, 41_943, 41_944, 100_000] {
            assert!(size_for(endpoints) >= 100 * endpoints, "{endpoints}");
        }
        assert_eq!([1, 655, 656, 2_621, 2_622].map(size_for), [65_537, 65_537, 262_147, 262_147, 1_048_583]);
        assert_eq!(size_for(1_000_000), GREATEST, "no memory for more");
    }

    #[test]
    fn the_order_of_the_list_does_not_matter() {
        let forward = with_candidates(&[1, 2, 3], fill);
        let backward = with_candidates(&[1, 2, 3], |candidates| {
            let mut candidates = candidates.to_vec();
            candidates.reverse();
            fill(&candidates)
        });
        assert_eq!(forward, backward);
    }

    #[test]
    fn only_keys_of_the_one_that_is_out_move_and_they_scatter_and_return() {
        let bench = Bench::new(Maglev::new(), &[1; 5]);
        let before = owners(&bench);
        bench.set(2, Axis::Check, true, Mono::ZERO);
        let during = owners(&bench);
        let mut heirs = [0_u32; 5];
        for (before, during) in before.iter().zip(&during) {
            assert!(*during != 2 && (*before == 2 || before == during));
            heirs[*during] += u32::from(*before == 2);
        }
        // A fifth of 20 000 keys to four heirs: 1000 each, σ ≈ √(4000·¼·¾) ≈ 27; 140 is five of them.
        assert!([0, 1, 3, 4].iter().all(|&n| heirs[n].abs_diff(1_000) < 140), "{heirs:?}");
        bench.set(2, Axis::Check, false, Mono::from_millis(50));
        assert_eq!(owners(&bench), before);
    }

    #[test]
    fn a_join_moves_little_more_than_it_must() {
        let mut bench = Bench::new(Maglev::new(), &[1; 10]);
        let before = owners(&bench);
        bench.reset(&[1; 11], Mono::ZERO);
        let moved = owners(&bench).iter().zip(before).filter(|(now, before)| *now != before).count();
        let least = KEYS as usize / 11;
        // The paper and Envoy see about as much again at most for few members.
        assert!((least * 9 / 10..2 * least + 400).contains(&moved), "{moved} of at least {least}");
    }

    #[test]
    fn a_restarted_container_keeps_its_keys() {
        let at = |address: &str| {
            let cluster = crate::Cluster::new("names");
            let member = |name: &str, address: &str, n| crate::Member::new(crate::Identity::new(name, address), n);
            let members = vec![member("a:80", address, 0_usize), member("b:80", "10.0.0.2:80", 1)];
            cluster.apply(crate::Update::Reset(members), Mono::ZERO);
            let selector = cluster.selector(Maglev::new());
            let mut entropy = crate::Entropy::seeded(1);
            let mut owner = |key: u32| {
                let key = key.to_le_bytes();
                let mut cx = PickCx::new(Mono::ZERO, &mut entropy).key(Some(&key));
                *selector.pick(&mut cx).unwrap().endpoint().value()
            };
            (0..500).map(&mut owner).collect::<Vec<_>>()
        };
        assert_eq!(at("10.0.0.1:80"), at("10.0.0.9:80"));
    }

    #[test]
    fn without_a_key_turns_are_taken_and_one_of_many_usable_is_found() {
        assert_eq!(letters(&Bench::new(Maglev::new(), &[1, 1]).picks(4)), "abab");
        let bench = Bench::new(Maglev::new(), &[1; 2_000]);
        bench.cluster.set_panic_mode(crate::PanicMode::Never, Mono::ZERO);
        for n in 0..1_999 {
            bench.set(n, Axis::Drain, true, Mono::ZERO);
        }
        assert_eq!(bench.pick_for(b"any"), Some(1_999));
    }

    #[test]
    fn a_bound_holds_and_keys_come_home() {
        let bench = Bench::new(Maglev::new().bounded(BoundedLoad::new(1.5)), &[1; 4]);
        let home = bench.pick_for(b"hot").unwrap();
        let mut held = Vec::new();
        for n in 0..200_u32 {
            let ticket = bench.pick_with(Some(b"hot"), &crate::Tried::new(), Mono::ZERO).unwrap();
            let before = ticket.endpoint().state().in_flight() - 1;
            assert!(f64::from(before) < (1.5 * f64::from(n + 1) / 4.0).ceil());
            held.push(ticket);
        }
        drop(held);
        assert_eq!(bench.pick_for(b"hot"), Some(home));
    }
}
