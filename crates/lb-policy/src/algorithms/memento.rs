//! Memento: consistent hashing that remembers only removed endpoints.
//!
//! **Source**: Coluzzi, Brocco, Antonucci, Leidi, *MementoHash: A Stateful, Minimal Memory, Best Performing Consistent Hash Algorithm* (2023), over
//! Lamping and Veach's jump hash (2014). Endpoints stand in numbered buckets, and jump hash sends a key to one of them. It can only lose the last
//! bucket; so of any other that goes it is remembered how many were left, r, and a key that meets it is hashed again over r. Of the buckets below
//! r one may have been gone already: then the one that stood in for it at that time is meant, and so on. The bucket that went last is the first
//! to be taken again.
//!
//! **Cost**: a hash of the key, about ln n steps of jump hash, and ln(n ∕ working) draws where buckets are gone; 16 bytes a bucket. The
//! buckets stay those of the most members there ever were.
//!
//! **Use it** with thousands of endpoints that come and go: no limit to their number, shares as even as chance allows, and no key moves that
//! need not, whatever joins or leaves: a leaver's keys scatter over all, a joiner takes its share from all. **Do not** where weights
//! are to be heeded: they are not, but for zero. Nor where several proxies must agree on every key: they do as long as they
//! began with the same members and saw the same changes, for which one that restarts has no memory; `maglev` and `rendezvous` have none to lose.
//!
//! At a bucket whose endpoint is not usable the key is hashed on, so a flap moves only the keys of the one that flapped, and is not a
//! removal; nor is it one to be at one's bound ([`BoundedLoad`], optional). Without a key turns are taken.

use crate::algorithms::bounded::{self, BoundedLoad, bounded_policy};
use crate::algorithms::turns::Turns;
use crate::cluster::view::View;
use crate::context::PickCx;
use crate::hashing::{mix, seeds};
use crate::index::Index;
use crate::policy::{Candidate, Choose, Policy};
use crate::signals::Signals;
use crate::witness::Witness;

bounded_policy! {
    /// The policy `memento`: jump hash that remembers removed endpoints, for very many of equal weight.
    Memento = "memento", hashes Text
}

impl Policy for Memento {
    type Table = MementoTable;

    fn signals(&self) -> Signals {
        bounded::signals(self.bounded)
    }

    fn build(&self, candidates: &[Candidate<'_>], previous: Option<&Self::Table>) -> Self::Table {
        // In the order of their names' hashes, so that the order of the list does not matter.
        let mut members: Vec<(u64, Index)> =
            seeds(candidates).into_iter().zip(candidates.iter().map(|c| c.index)).collect();
        members.sort_unstable();
        let mut buckets = previous.map_or_else(Buckets::default, |old| old.buckets.clone());
        buckets.become_of(&members);
        MementoTable { bounded: self.bounded, buckets, turns: Turns::new(candidates, previous.map(|old| &old.turns)) }
    }
}

/// The table of [`Memento`].
#[derive(Debug)]
pub struct MementoTable {
    bounded: Option<BoundedLoad>,
    buckets: Buckets,
    turns: Turns,
}

impl Choose for MementoTable {
    #[inline]
    fn choose<W: Witness>(&self, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
        let Some(key) = cx.key else { return self.turns.pick(view, cx) };
        bounded::hash_on(view, cx, self.bounded, key, |hash| self.buckets.owner(hash))
    }
}

#[derive(Clone, Debug, Default)]
struct Buckets {
    slots: Vec<Slot>,
    working: u32,
    /// The bucket that went last; the number of buckets, so that there is no such bucket, if none has gone.
    last_gone: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    seed: u64,
    index: Index,
    /// How many worked when it had gone, which is also the bucket that stood in for it; [`WORKING`] while it works.
    left: u32,
    /// The bucket that had gone before it.
    gone_before: u32,
}

const WORKING: u32 = u32::MAX;

impl Buckets {
    /// Who has this key; none if there are no members.
    #[inline]
    fn owner(&self, key: u64) -> Option<Index> {
        if self.working == 0 {
            return None;
        }
        let mut bucket = jump(key, self.slots.len() as u32);
        let mut slot = self.slot(bucket)?;
        while slot.left != WORKING {
            let left = slot.left;
            let hash = mix(key ^ mix(u64::from(bucket) + 1));
            bucket = ((u128::from(hash) * u128::from(left)) >> 64) as u32;
            slot = self.slot(bucket)?;
            // Removed before that one: its replacement at the time that one was removed.
            while slot.left != WORKING && slot.left >= left {
                bucket = slot.left;
                slot = self.slot(bucket)?;
            }
        }
        Some(slot.index)
    }

    fn slot(&self, bucket: u32) -> Option<&Slot> {
        self.slots.get(bucket as usize)
    }

    /// Has these members, sorted by seed: removed members give up their buckets, new ones take them or get further ones. O(n log n).
    fn become_of(&mut self, members: &[(u64, Index)]) {
        let found = |seed: u64| members.binary_search_by_key(&seed, |&(seed, _)| seed).ok();
        let mut present = vec![false; members.len()];
        let mut leaving: Vec<(u64, u32)> = Vec::new();
        for (slot, bucket) in self.slots.iter().zip(0..).filter(|(slot, _)| slot.left == WORKING) {
            match found(slot.seed).and_then(|place| present.get_mut(place)) {
                Some(present) => *present = true,
                None => leaving.push((slot.seed, bucket)),
            }
        }
        leaving.sort_unstable();
        leaving.into_iter().for_each(|(_, bucket)| self.remove(bucket));
        for (&(seed, index), present) in members.iter().zip(present) {
            if !present {
                self.add(seed, index);
            }
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.left == WORKING) {
            if let Some(&(_, index)) = found(slot.seed).and_then(|place| members.get(place)) {
                slot.index = index;
            }
        }
    }

    fn remove(&mut self, bucket: u32) {
        self.working -= 1;
        let count = self.slots.len() as u32;
        if self.working + 1 == count && bucket + 1 == count {
            self.slots.pop();
            self.last_gone = self.working;
        } else if self.working == 0 {
            // No member has any key: start over.
            *self = Self::default();
        } else if let Some(slot) = self.slots.get_mut(bucket as usize) {
            slot.left = self.working;
            slot.gone_before = std::mem::replace(&mut self.last_gone, bucket);
        }
    }

    fn add(&mut self, seed: u64, index: Index) {
        match self.slots.get_mut(self.last_gone as usize) {
            Some(slot) => {
                self.last_gone = slot.gone_before;
                *slot = Slot { seed, index, left: WORKING, gone_before: 0 };
            }
            None => {
                self.slots.push(Slot { seed, index, left: WORKING, gone_before: 0 });
                self.last_gone = self.working + 1;
            }
        }
        self.working += 1;
    }
}

/// The bucket of a key among so many (Lamping and Veach); 0 if there are none.
#[inline]
fn jump(mut key: u64, buckets: u32) -> u32 {
    let (mut bucket, mut next) = (0, 0);
    while next < i64::from(buckets) {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = ((bucket + 1) as f64 * (2_147_483_648.0 / ((key >> 33) + 1) as f64)) as i64;
    }
    bucket as u32
}

#[cfg(test)]
mod tests {
    use lb_core::{Axis, Mono};

    use super::*;
    use crate::Entropy;
    use crate::testing::{Bench, letters, with_candidates};

    const KEYS: u64 = 4_000;

    /// The seed of each key's owner.
    fn owners(buckets: &Buckets) -> Vec<u64> {
        (0..KEYS).map(|key| buckets.owner(mix(key)).map_or(u64::MAX, |index| index.get() as u64)).collect()
    }

    fn become_of(buckets: &mut Buckets, members: &[u64]) {
        let mut members: Vec<_> = members.iter().map(|&n| (mix(n), Index::new(n as u32))).collect();
        members.sort_unstable();
        buckets.become_of(&members);
    }

    #[test]
    fn jump_hash_is_the_one_of_its_authors() {
        // Computed from the paper's definition; the first four are vectors of other implementations too.
        let vectors = [(1, 1, 0), (42, 57, 43), (256, 1_024, 520), (0xdead_10cc, 666, 361), (0xdead_beef, 5, 3)];
        for (key, buckets, bucket) in vectors.into_iter().chain([(123_456, 666, 282), (u64::MAX, 128, 92)]) {
            assert_eq!(jump(key, buckets), bucket, "{key} of {buckets}");
        }
        assert_eq!(jump(0, 0), 0);
    }

    #[test]
    fn no_key_moves_that_need_not_whatever_joins_or_leaves() {
        for seed in 0..6 {
            let mut dice = Entropy::seeded(seed);
            let mut members: Vec<u64> = (0..12).collect();
            let mut buckets = Buckets::default();
            become_of(&mut buckets, &members);
            let mut newest = 12;
            for step in 0..60 {
                let before = owners(&buckets);
                if members.len() > 1 && dice.below(2) == 0 {
                    let gone = members.swap_remove(dice.below(members.len() as u64) as usize);
                    become_of(&mut buckets, &members);
                    for (before, after) in before.iter().zip(owners(&buckets)) {
                        assert!(after != gone && (*before == gone || *before == after), "step {step}");
                    }
                } else {
                    members.push(newest);
                    become_of(&mut buckets, &members);
                    for (before, after) in before.iter().zip(owners(&buckets)) {
                        assert!(after == newest || *before == after, "step {step}");
                    }
                    newest += 1;
                }
                let mut counts = vec![0_u32; newest as usize];
                owners(&buckets).into_iter().for_each(|owner| counts[owner as usize] += 1);
                let mean = KEYS as f64 / members.len() as f64;
                for member in &members {
                    let count = f64::from(counts[*member as usize]);
                    // Binomial: σ < √mean, and six of them for the worst of thousands.
                    assert!((count - mean).abs() < 6.0 * mean.sqrt(), "step {step}: {count} of {mean}");
                }
            }
        }
    }

    #[test]
    fn an_endpoint_that_leaves_and_returns_has_its_keys_again() {
        let mut buckets = Buckets::default();
        become_of(&mut buckets, &[0, 1, 2, 3, 4, 5]);
        let before = owners(&buckets);
        become_of(&mut buckets, &[0, 1, 3, 4, 5]);
        become_of(&mut buckets, &[0, 1, 4, 5]);
        become_of(&mut buckets, &[0, 1, 3, 4, 5]);
        become_of(&mut buckets, &[0, 1, 2, 3, 4, 5]);
        assert_eq!(owners(&buckets), before, "in the opposite order");
        become_of(&mut buckets, &[]);
        assert_eq!(buckets.owner(1), None);
        become_of(&mut buckets, &[0, 1, 2, 3, 4, 5]);
        assert_eq!(owners(&buckets), before, "no memory of the empty cluster");
    }

    #[test]
    fn a_replacement_has_exactly_the_keys_of_the_replaced() {
        let mut buckets = Buckets::default();
        become_of(&mut buckets, &[0, 1, 2, 3]);
        let before = owners(&buckets);
        become_of(&mut buckets, &[0, 7, 2, 3]);
        let renamed: Vec<u64> = before.into_iter().map(|owner| if owner == 1 { 7 } else { owner }).collect();
        assert_eq!(owners(&buckets), renamed);
    }

    #[test]
    fn a_hundred_thousand_endpoints_lose_one_and_gain_one() {
        let owners = |table: &MementoTable| -> Vec<_> {
            (0..20_000_u64).map(|key| table.buckets.owner(mix(key)).unwrap().get()).collect()
        };
        let weights = vec![1; 100_001];
        let (before, without, more) = with_candidates(&weights, |all| {
            let before = Memento::new().build(&all[..100_000], None);
            let fewer: Vec<_> = all[..100_000].iter().filter(|c| c.index.get() != 77_777).copied().collect();
            let without = Memento::new().build(&fewer, Some(&before));
            let more = Memento::new().build(all, Some(&before));
            (owners(&before), owners(&without), owners(&more))
        });
        assert!(before.iter().zip(&without).all(|(b, a)| *a != 77_777 && (*b == 77_777 || a == b)));
        assert!(before.iter().zip(&more).all(|(b, a)| *a == 100_000 || a == b));
        let distinct: std::collections::BTreeSet<_> = before.iter().collect();
        // 20 000 balls in 100 000 bins: 100 000·(1 − e^−0.2) = 18 127 taken, σ ≈ 40.
        assert!(distinct.len().abs_diff(18_127) < 240, "{}", distinct.len());
    }

    #[test]
    fn a_flap_is_no_removal_and_without_a_key_turns_are_taken() {
        let bench = Bench::new(Memento::new(), &[1; 5]);
        let owners = || (0..3_000_u32).map(|key| bench.pick_for(&key.to_le_bytes()).unwrap()).collect::<Vec<_>>();
        let before = owners();
        bench.set(2, Axis::Check, true, Mono::ZERO);
        let during = owners();
        assert!(before.iter().zip(&during).all(|(b, d)| *d != 2 && (*b == 2 || b == d)));
        bench.set(2, Axis::Check, false, Mono::from_millis(50));
        assert_eq!(owners(), before);
        assert_eq!(letters(&Bench::new(Memento::new(), &[1, 1]).picks(4)), "abab");
    }
}
