//! Weighted turns without a sequence: gRPC's static stride scheduler.
//!
//! **Source**: grpc-go's `staticStrideScheduler`. Weights are scaled so that the greatest is 65 535; a counter goes round the endpoints, and in the
//! g-th round an endpoint of scaled weight w takes its turn unless (w·g + 32 767·place) mod 65 535 is below 65 535 − w. **Cost**: greatest ∕ mean weight
//! steps a pick on average, each one `fetch_add` on a shared counter and a load; 6 bytes an endpoint, and no table to build.
//!
//! **Use it** when weights change often, as under `orca`: new weights are simply stored. **Do not** for fixed weights: `round_robin` never takes a
//! second step. One endpoint much heavier than many light ones makes picks long; beyond 4 096 steps the pick is left to the search.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::algorithms::turns::cursor;
use crate::cluster::view::View;
use crate::context::PickCx;
use crate::index::Index;
use crate::policy::{Candidate, Choose, Policy};
use crate::signals::Signals;
use crate::witness::{Step, Witness};

/// A policy that walks by a [`Stride`] and whose only option is where it begins: its type, its constructors and its entry in the catalog.
macro_rules! stride_policy {
    ($(#[$doc:meta])* $policy:ident = $name:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $policy {
            start: u64,
        }

        impl $policy {
            /// Begins with the first step.
            #[must_use]
            pub const fn new() -> Self {
                Self { start: 0 }
            }

            /// Begins with this step, so that proxies which start together do not walk side by side.
            #[must_use]
            pub const fn starting_at(mut self, step: u64) -> Self {
                self.start = step;
                self
            }
        }

        impl $crate::options::Configurable for $policy {
            const INFO: $crate::options::PolicyInfo =
                $crate::options::PolicyInfo::new($name).options(&[$crate::options::RANDOM_START]);

            fn from_options(options: &$crate::options::Options<'_>) -> Self {
                Self::new().starting_at(options.start())
            }
        }
    };
}
pub(crate) use stride_policy;

stride_policy! {
    /// The policy `static_stride`: turns by weight, spread out, in gRPC's order.
    StaticStride = "static_stride"
}

impl Policy for StaticStride {
    type Table = StaticStrideTable;

    fn signals(&self) -> Signals {
        Signals::NONE
    }

    fn build(&self, candidates: &[Candidate<'_>], previous: Option<&Self::Table>) -> Self::Table {
        let stride = Stride::new(self.start, candidates, previous.map(|old| &old.stride));
        stride.weigh(candidates.iter().map(|candidate| Some(f32::from(candidate.weight.value()))));
        StaticStrideTable { stride }
    }
}

/// The table of [`StaticStride`].
#[derive(Debug)]
pub struct StaticStrideTable {
    stride: Stride,
}

impl Choose for StaticStrideTable {
    #[inline]
    fn choose<W: Witness>(&self, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
        self.stride.pick(view, cx)
    }
}

/// Endpoints, their scaled weights, and where the turns stand.
#[derive(Debug)]
pub(crate) struct Stride {
    indices: Box<[Index]>,
    scaled: Box<[AtomicU16]>,
    cursor: Arc<CachePadded<AtomicU64>>,
}

const FULL: u16 = u16::MAX;
const OFFSET: u64 = 32_767;
const MAX_STEPS: usize = 4_096;

impl Stride {
    /// All of one weight, until they are weighed. Goes on where `previous` stands, or begins with step `start`.
    pub(crate) fn new(start: u64, candidates: &[Candidate<'_>], previous: Option<&Self>) -> Self {
        Self {
            indices: candidates.iter().map(|candidate| candidate.index).collect(),
            scaled: candidates.iter().map(|_| AtomicU16::new(FULL)).collect(),
            cursor: previous.map_or_else(|| cursor(start), |old| Arc::clone(&old.cursor)),
        }
    }

    /// Gives them these weights, in their order; an endpoint without one gets the mean of the others. Fewer than two known weights: all equal. Does not
    /// allocate; picks made meanwhile see old and new weights mixed.
    pub(crate) fn weigh(&self, weights: impl Iterator<Item = Option<f32>> + Clone) {
        let known = weights.clone().flatten();
        let (count, sum, most) = known
            .fold((0_u32, 0.0_f32, 0.0_f32), |(count, sum, most), weight| (count + 1, sum + weight, most.max(weight)));
        let are_equal = count < 2 || most <= 0.0;
        let mean = sum / count.max(1) as f32;
        for (cell, weight) in self.scaled.iter().zip(weights) {
            let share = if are_equal { 1.0 } else { weight.unwrap_or(mean) / most };
            // At least one, so that no endpoint is out for ever.
            cell.store((share * f32::from(FULL)).round().max(1.0) as u16, Ordering::Relaxed);
        }
    }

    /// Its turns and weights as they stand, to weigh anew while picks go on with these.
    pub(crate) fn copied(&self) -> Self {
        Self {
            indices: self.indices.clone(),
            scaled: self.scaled.iter().map(|cell| AtomicU16::new(cell.load(Ordering::Relaxed))).collect(),
            cursor: Arc::clone(&self.cursor),
        }
    }

    /// Whose turn it is, usable or not.
    fn next<W: Witness>(&self, witness: &W) -> Option<Index> {
        let turn = witness.advance(&self.cursor, 1);
        let len = (self.indices.len() as u64).max(1);
        let (round, place) = (turn / len, turn % len);
        let weight = self.scaled.get(place as usize)?.load(Ordering::Relaxed);
        let phase = u64::from(weight).wrapping_mul(round).wrapping_add(place * OFFSET) % u64::from(FULL);
        let takes_it = phase >= u64::from(FULL - weight);
        let index = if takes_it { *self.indices.get(place as usize)? } else { NOBODY };
        if takes_it {
            witness.note(|| Step::Turn { turn, endpoint: Some(index) });
        }
        Some(index)
    }

    pub(crate) fn pick<W: Witness>(&self, view: &View<'_>, cx: &PickCx<'_, W>) -> Option<Index> {
        for _ in 0..MAX_STEPS {
            let index = self.next(&cx.witness)?;
            if index != NOBODY && view.is_usable(index, cx) {
                return Some(index);
            }
        }
        None
    }
}

const NOBODY: Index = Index::new(u32::MAX);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, letters};

    fn steps(bench: &Bench<StaticStride>) -> u64 {
        bench.selector.inspect(|table, _| table.stride.cursor.load(Ordering::Relaxed)).unwrap()
    }

    #[test]
    fn the_golden_sequences_of_grpc() {
        let bench = Bench::new(StaticStride::new(), &[5, 1, 1]);
        assert_eq!(letters(&bench.picks(14)), "acaabaaacaabaa");
        assert_eq!(steps(&bench), 28);
        let bench = Bench::new(StaticStride::new(), &[3, 2, 1]);
        assert_eq!(letters(&bench.picks(12)), "abcaababcaab");
        assert_eq!(steps(&bench), 17);
    }

    #[test]
    fn the_steps_may_begin_anywhere() {
        // The golden sequence takes two steps a pick: from its fourth pick on.
        let bench = Bench::new(StaticStride::new().starting_at(6), &[5, 1, 1]);
        let all = letters(&Bench::new(StaticStride::new(), &[5, 1, 1]).picks(14));
        let later = letters(&bench.picks(10));
        assert!(all.contains(&later) && !all.starts_with(&later), "{all} {later}");
    }

    #[test]
    fn unknown_weights_are_the_mean_and_one_known_weight_is_none() {
        crate::testing::with_candidates(&[1, 1, 1], |candidates| {
            let stride = Stride::new(0, candidates, None);
            let scaled = || stride.scaled.iter().map(|cell| cell.load(Ordering::Relaxed)).collect::<Vec<_>>();
            stride.weigh([Some(3.0), None, Some(1.0)].into_iter());
            assert_eq!(scaled(), [65_535, 43_690, 21_845]);
            stride.weigh([Some(3.0), None, None].into_iter());
            assert_eq!(scaled(), [65_535; 3]);
        });
    }
}
