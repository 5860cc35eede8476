//! Uniform random choice.
//!
//! **Source**: folklore. **Cost**: one random number, two loads; 16 bytes an endpoint. Weights are ignored, but for
//! zero; `weighted_random` heeds them.
//!
//! **Use it** where many independent proxies share endpoints and must not march in step. **Do not** where few requests
//! matter: after n requests to n endpoints the luckless one has about ln n ∕ ln ln n of them; `p2c` costs hardly more and
//! has ln ln n.

use crate::alias::Alias;
use crate::cx::PickCx;
use crate::index::Index;
use crate::policy::{Candidate, Policy, Table};
use crate::signals::Signals;
use crate::view::View;

/// The policy `random`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

impl Policy for Random {
    type Table = RandomTable;

    fn signals(&self) -> Signals {
        Signals::ENTROPY
    }

    fn build(&self, candidates: &[Candidate<'_>], _previous: Option<&Self::Table>) -> Self::Table {
        RandomTable { alias: Alias::uniform(candidates) }
    }
}

/// The table of [`Random`].
#[derive(Debug)]
pub struct RandomTable {
    alias: Alias,
}

impl Table for RandomTable {
    #[inline]
    fn pick(&self, view: &View<'_>, cx: &mut PickCx<'_>) -> Option<Index> {
        self.alias.draw_usable(view, cx, &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn everybody_has_the_same_chance_whatever_the_weight() {
        // Mean 3000, standard deviation √(9000·⅓·⅔) ≈ 45; 225 is five of them.
        let counts = Bench::new(Random, &[1, 5, 20]).counts(9_000);
        assert!(counts.iter().all(|n| n.abs_diff(3_000) < 225), "{counts:?}");
    }

    #[test]
    fn weight_zero_is_never_drawn() {
        assert_eq!(Bench::new(Random, &[0, 1]).counts(100), [0, 100]);
    }
}
