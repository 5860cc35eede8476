//! Rendezvous hashing (highest random weight): every endpoint bids for the key, the highest bid has it.
//!
//! **Source**: Thaler and Ravishankar (1998); weighted by Schindelhauer and Schomaker's logarithmic method, −weight ∕ ln u with u
//! from a hash of key and endpoint. The logarithm is computed by this crate, so that two platforms never disagree.
//! **Cost**: O(n): one multiplication chain an endpoint (about 1 ns), a logarithm too where weights differ. No table to speak of:
//! 16 bytes an endpoint.
//!
//! **Use it** up to a few dozen endpoints wherever a hash is wanted: shares are exactly by weight, and a change moves no key that need
//! not move: one that leaves spreads its keys over all others in proportion, one that comes takes its share from all. **Do not** with
//! thousands of endpoints: `maglev` picks in constant time.
//!
//! Without a key turns are taken. With a [`BoundedLoad`] the highest bid among those with room has the key.

use crate::algorithms::bounded::{self, BoundedLoad, bounded_policy, is_open};
use crate::algorithms::turns::Turns;
use crate::cluster::view::View;
use crate::context::PickCx;
use crate::hashing::{key_hash, mix, score, seeds};
use crate::index::Index;
use crate::policy::{Candidate, Choose, Policy};
use crate::signals::Signals;
use crate::witness::{Step, Witness};

bounded_policy! {
    /// The policy `rendezvous`: the highest bid for the key.
    Rendezvous = "rendezvous", hashes Text
}

impl Policy for Rendezvous {
    type Table = RendezvousTable;

    fn signals(&self) -> Signals {
        bounded::signals(self.bounded)
    }

    fn build(&self, candidates: &[Candidate<'_>], previous: Option<&Self::Table>) -> Self::Table {
        let first = candidates.first().map(|candidate| candidate.weight);
        RendezvousTable {
            bidders: candidates
                .iter()
                .zip(seeds(candidates))
                .map(|(candidate, seed)| (seed, candidate.index))
                .collect(),
            are_equal: candidates.iter().all(|candidate| Some(candidate.weight) == first),
            bounded: self.bounded,
            turns: Turns::new(candidates, previous.map(|old| &old.turns)),
        }
    }
}

/// The table of [`Rendezvous`].
#[derive(Debug)]
pub struct RendezvousTable {
    bidders: Box<[(u64, Index)]>,
    /// All of one weight: the hash alone decides.
    are_equal: bool,
    bounded: Option<BoundedLoad>,
    turns: Turns,
}

impl Choose for RendezvousTable {
    #[inline]
    fn choose<W: Witness>(&self, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
        let Some(key) = cx.key else { return self.turns.pick(view, cx) };
        let key = key_hash(key);
        let bound = self.bounded.map(|bounded| bounded.measure(view, cx));
        cx.witness.note(|| Step::Hashed { hash: key });
        let bids = self.bidders.iter().map(|&(seed, index)| (mix(key ^ seed), index));
        // A question of its own for each: one that both share is called, not inlined, which costs thirty instructions a time.
        if self.are_equal {
            let bids = bids.inspect(|&(bid, index)| note_bid(index, bid as f64, &cx.witness));
            highest(bids, |index| is_open(view, cx, bound, index))
        } else {
            let bids = bids.map(|(bid, index)| (score(bid, view.weight(index)), index));
            let bids = bids.inspect(|&(bid, index)| note_bid(index, bid, &cx.witness));
            highest(bids, |index| is_open(view, cx, bound, index))
        }
    }
}

fn note_bid(endpoint: Index, bid: f64, witness: &impl Witness) {
    witness.note(|| Step::Score { endpoint, of: "bid for the key, highest wins", score: bid });
}

/// The highest bid of those open. Only an endpoint that outbids the best so far is checked, since the check costs a cache line.
fn highest<B: PartialOrd>(bids: impl Iterator<Item = (B, Index)>, is_open: impl Fn(Index) -> bool) -> Option<Index> {
    let mut best: Option<(B, Index)> = None;
    for (bid, index) in bids {
        if best.as_ref().is_none_or(|(best, _)| bid > *best) && is_open(index) {
            best = Some((bid, index));
        }
    }
    best.map(|(_, index)| index)
}

#[cfg(test)]
mod tests {
    use lb_core::{Axis, Mono};

    use super::*;
    use crate::testing::{Bench, letters};

    const KEYS: u32 = 20_000;

    fn owners(bench: &Bench<Rendezvous>) -> Vec<usize> {
        (0..KEYS).map(|key| bench.pick_for(&key.to_le_bytes()).unwrap()).collect()
    }

    #[test]
    fn shares_follow_the_weights() {
        for weights in [[1, 1, 1, 1], [5, 2, 2, 1]] {
            let bench = Bench::new(Rendezvous::new(), &weights);
            let mut counts = [0_u32; 4];
            for owner in owners(&bench) {
                counts[owner] += 1;
            }
            for (count, weight) in counts.iter().zip(weights) {
                let expected = KEYS * u32::from(weight) / u32::from(weights.iter().sum::<u16>());
                // σ at most √(20000·½·½) ≈ 71; 350 is five of them.
                assert!(count.abs_diff(expected) < 350, "{weights:?}: {counts:?}");
            }
        }
    }

    #[test]
    fn not_one_key_too_many_moves() {
        for weights in [[1_u16; 7], [3, 1, 2, 1, 5, 1, 1]] {
            let mut bench = Bench::new(Rendezvous::new(), &weights);
            let before = owners(&bench);
            bench.set(4, Axis::Ejected, true, Mono::ZERO);
            for (before, during) in before.iter().zip(owners(&bench)) {
                assert!(during != 4 && (*before == 4 || *before == during));
            }
            bench.set(4, Axis::Ejected, false, Mono::ZERO);
            let more: Vec<u16> = weights.iter().copied().chain([2]).collect();
            bench.reset(&more, Mono::ZERO);
            for (before, after) in before.iter().zip(owners(&bench)) {
                assert!(after == 7 || *before == after, "only the new one takes");
            }
        }
    }

    #[test]
    fn without_a_key_turns_are_taken() {
        assert_eq!(letters(&Bench::new(Rendezvous::new(), &[2, 1]).picks(6)), "abaaba");
    }

    #[test]
    fn a_bound_holds_and_keys_come_home() {
        let bench = Bench::new(Rendezvous::new().bounded(BoundedLoad::new(1.25)), &[2, 1, 1]);
        let home = bench.pick_for(b"hot").unwrap();
        let mut held = Vec::new();
        for n in 0..200_u32 {
            let ticket = bench.pick_with(Some(b"hot"), &crate::Tried::new(), Mono::ZERO).unwrap();
            let before = ticket.endpoint().state().in_flight() - 1;
            let weight = f64::from(ticket.endpoint().weight().value());
            assert!(f64::from(before) < (1.25 * f64::from(n + 1) * weight / 4.0).ceil());
            held.push(ticket);
        }
        drop(held);
        assert_eq!(bench.pick_for(b"hot"), Some(home));
    }
}
