//! Taking turns in proportion to weight, in nginx's order, with one atomic addition a turn.
//!
//! nginx's smooth weighted round robin adds every endpoint's weight to its running score, serves the highest score and
//! takes the total from it: O(n) a pick, under a lock. With constant weights its scores are all zero again after
//! W = Σ weight ∕ gcd picks, so its order is a fixed sequence of length W. We compute that sequence once and step through
//! it with a shared counter. An endpoint that cannot take its turn just loses it: the counter moves on, and what it
//! would have had falls to all others in proportion, never to the one that happens to stand next to it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crossbeam_utils::CachePadded;

use crate::cluster::view::View;
use crate::context::PickCx;
use crate::index::Index;
use crate::policy::Candidate;
use crate::witness::{Step, Witness};

/// A cyclic order over candidates and where it stands.
#[derive(Debug)]
pub(crate) struct Turns {
    order: Order,
    /// Shared with the table before this one, so that a rebuild neither repeats nor skips a turn.
    cursor: Arc<CachePadded<AtomicU64>>,
}

#[derive(Debug)]
enum Order {
    /// The sequence itself.
    Cycle(Box<[Index]>),
    /// Too long to write down: a low-discrepancy walk over the cumulative weights instead.
    Spread { ends: Box<[u64]>, indices: Box<[Index]>, total: u64 },
}

impl Turns {
    /// The order of these candidates, going on from where `previous` stands. O(W × distinct weights).
    pub(crate) fn new(candidates: &[Candidate<'_>], previous: Option<&Self>) -> Self {
        Self::starting_at(0, candidates, previous)
    }

    /// The same; without a previous order it begins with this turn.
    pub(crate) fn starting_at(start: u64, candidates: &[Candidate<'_>], previous: Option<&Self>) -> Self {
        let weights: Vec<u64> = candidates.iter().map(|candidate| u64::from(candidate.weight.value())).collect();
        let indices: Box<[Index]> = candidates.iter().map(|candidate| candidate.index).collect();
        let divisor = weights.iter().copied().fold(0, gcd).max(1);
        let total: u64 = weights.iter().map(|weight| weight / divisor).sum();
        let order = if weights.iter().all(|weight| weight == &divisor) {
            Order::Cycle(indices)
        } else if total <= LONGEST_CYCLE {
            let reduced: Vec<u64> = weights.iter().map(|weight| weight / divisor).collect();
            Order::Cycle(smooth(&reduced).into_iter().filter_map(|place| indices.get(place).copied()).collect())
        } else {
            let ends = weights.iter().scan(0, |end, weight| {
                *end += weight / divisor;
                Some(*end)
            });
            Order::Spread { ends: ends.collect(), indices, total }
        };
        Self { order, cursor: previous.map_or_else(|| cursor(start), |old| Arc::clone(&old.cursor)) }
    }

    /// Whose turn it is, usable or not; none if there are no candidates.
    #[inline]
    pub(crate) fn next<W: Witness>(&self, witness: &W) -> Option<Index> {
        let turn = witness.advance(&self.cursor, 1);
        let endpoint = self.at(turn);
        witness.note(|| Step::Turn { turn, endpoint });
        endpoint
    }

    #[inline]
    fn at(&self, turn: u64) -> Option<Index> {
        match &self.order {
            Order::Cycle(cycle) => {
                let len = (cycle.len() as u64).max(1);
                cycle.get((turn % len) as usize).copied()
            }
            Order::Spread { ends, indices, total } => spread(ends, indices, *total, turn),
        }
    }

    /// The next in turn for which this holds; those before lose their turn. None, and none loses any, if it holds of none of the
    /// next few.
    #[inline]
    pub(crate) fn next_of<W: Witness>(&self, witness: &W, mut holds: impl FnMut(Index) -> bool) -> Option<Index> {
        let turn = witness.advance(&self.cursor, 1);
        for ahead in 0..AHEAD {
            let index = self.at(turn.wrapping_add(ahead))?;
            witness.note(|| Step::Turn { turn: turn.wrapping_add(ahead), endpoint: Some(index) });
            if holds(index) {
                if ahead > 0 {
                    witness.advance(&self.cursor, ahead);
                }
                return Some(index);
            }
        }
        None
    }

    /// The next usable in turn; none after [`DRAWS`] turns.
    #[inline]
    pub(crate) fn pick<W: Witness>(&self, view: &View<'_>, cx: &PickCx<'_, W>) -> Option<Index> {
        let index = self.next(&cx.witness)?;
        if view.is_usable(index, cx) { Some(index) } else { self.pick_further(view, cx) }
    }

    /// Apart, so that the usual pick needs no more registers than its one step does.
    #[inline(never)]
    fn pick_further<W: Witness>(&self, view: &View<'_>, cx: &PickCx<'_, W>) -> Option<Index> {
        (1..DRAWS).find_map(|_| self.next(&cx.witness).filter(|&index| view.is_usable(index, cx)))
    }
}

/// Whose turn it is in an order that is not written down.
#[inline(never)]
fn spread(ends: &[u64], indices: &[Index], total: u64, turn: u64) -> Option<Index> {
    let spot = (u128::from(turn.wrapping_mul(GOLDEN)) * u128::from(total)) >> 64;
    indices.get(ends.partition_point(|&end| u128::from(end) <= spot)).copied()
}

/// A counter of turns that stands here.
pub(crate) fn cursor(start: u64) -> Arc<CachePadded<AtomicU64>> {
    Arc::new(CachePadded::new(AtomicU64::new(start)))
}

/// How many draws a table makes before it leaves the search to its selector. Each costs a few nanoseconds; with half of
/// all weight unusable, one pick in 2³² needs more.
pub(crate) const DRAWS: usize = 32;
/// How far to look ahead for a cheap answer before every endpoint is looked at.
pub(crate) const AHEAD: u64 = 8;
/// 256 KiB of sequence.
const LONGEST_CYCLE: u64 = 65_536;
/// 2⁶⁴ ∕ φ: its multiples modulo 2⁶⁴ fill every interval as evenly as any sequence can (Weyl, Steinhaus).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

const fn gcd(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// nginx's sequence over these weights, as places in the list.
///
/// After `t` picks the score of an endpoint that had `p` of them is t·w − p·W. Among endpoints of equal weight the
/// highest score is thus the one with fewest picks, the first in the list on a tie: they simply take turns. So only
/// the heads of the classes of equal weight compete.
fn smooth(weights: &[u64]) -> Vec<usize> {
    let total: u64 = weights.iter().sum();
    let mut classes: Vec<Class> = Vec::new();
    for (place, &weight) in weights.iter().enumerate() {
        match classes.iter_mut().find(|class| class.weight == weight) {
            Some(class) => class.places.push(place),
            None => classes.push(Class { weight, places: vec![place], head: 0, rounds: 0 }),
        }
    }
    (1..=total)
        .filter_map(|turn| {
            let best = classes.iter_mut().max_by_key(|class| {
                let score = i128::from(turn * class.weight) - i128::from(class.rounds * total);
                (score, std::cmp::Reverse(class.places.get(class.head).copied()))
            })?;
            best.take()
        })
        .collect()
}

struct Class {
    weight: u64,
    places: Vec<usize>,
    /// Whose turn it is within the class.
    head: usize,
    /// How often everyone in the class has been served.
    rounds: u64,
}

impl Class {
    fn take(&mut self) -> Option<usize> {
        let place = self.places.get(self.head).copied();
        self.head += 1;
        if self.head == self.places.len() {
            self.head = 0;
            self.rounds += 1;
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// nginx's loop, as it is written there.
    fn by_the_book(weights: &[u64]) -> Vec<usize> {
        let total: i64 = weights.iter().map(|&w| w as i64).sum();
        let mut scores = vec![0_i64; weights.len()];
        let mut sequence = Vec::new();
        for _ in 0..total {
            let mut best: Option<usize> = None;
            for (place, &weight) in weights.iter().enumerate() {
                scores[place] += weight as i64;
                if best.is_none_or(|best| scores[place] > scores[best]) {
                    best = Some(place);
                }
            }
            scores[best.unwrap()] -= total;
            sequence.push(best.unwrap());
        }
        sequence
    }

    fn letters(sequence: &[usize]) -> String {
        sequence.iter().map(|&place| char::from(b'a' + place as u8)).collect()
    }

    #[test]
    fn the_golden_sequences_of_nginx() {
        assert_eq!(letters(&smooth(&[5, 1, 1])), "aabacaa");
        assert_eq!(letters(&smooth(&[3, 2, 1])), "abacba");
        assert_eq!(letters(&smooth(&[4, 3, 2])), "abcabacba");
    }

    #[test]
    fn classes_give_the_same_sequence_as_the_loop() {
        let cases: [&[u64]; 7] =
            [&[1], &[2, 2, 2], &[1, 1, 5], &[3, 1, 3, 1, 3], &[7, 5, 3, 2, 2, 2, 1], &[10, 1, 10], &[1, 2, 3, 4, 5, 6]];
        for weights in cases {
            assert_eq!(smooth(weights), by_the_book(weights), "{weights:?}");
        }
        let mut entropy = crate::Entropy::seeded(11);
        for _ in 0..200 {
            let weights: Vec<u64> = (0..=entropy.below(9)).map(|_| 1 + entropy.below(12)).collect();
            assert_eq!(smooth(&weights), by_the_book(&weights), "{weights:?}");
        }
    }

    #[test]
    fn a_spread_order_keeps_every_share_within_a_few_picks() {
        // 40 000 + 30 000 + 1 does not fit into a cycle.
        let ends: Box<[u64]> = [40_000, 70_000, 70_001].into();
        let indices = [Index::new(0), Index::new(1), Index::new(2)].into();
        let turns = Turns { order: Order::Spread { ends, indices, total: 70_001 }, cursor: Arc::default() };
        let mut counts = [0_i64; 3];
        for turn in 1..=70_001_i64 {
            counts[turns.next(&crate::Live).unwrap().get()] += 1;
            // Discrepancy of the golden walk: below 1 + log_φ(turns) ≈ 24; in practice below 4.
            assert!((counts[0] - turn * 40_000 / 70_001).abs() <= 5, "{turn}: {counts:?}");
        }
        assert!((1..=2).contains(&counts[2]), "{counts:?}");
    }
}
