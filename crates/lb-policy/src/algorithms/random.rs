//! Random choice in proportion to weight.
//!
//! **Source**: Vose's alias method (1991), see `alias.rs`; nginx's `random` searches cumulative weights for the same
//! distribution. **Cost**: one random number, one load; 16 bytes an endpoint.
//!
//! **Use it** where many independent proxies share endpoints and must not march in step, and for canaries among them. **Do not** where an even
//! spread over few requests matters: shares hold on average only, within √(requests), where `round_robin` holds them exactly; and after n
//! requests to n endpoints the luckless one has about ln n ∕ ln ln n of them, where `p2c` costs hardly more and has ln ln n.

use crate::algorithms::alias::Alias;
use crate::cluster::view::View;
use crate::context::PickCx;
use crate::index::Index;
use crate::options::{Configurable, Options, PolicyInfo};
use crate::policy::{Candidate, Choose, Policy};
use crate::signals::Signals;
use crate::witness::Witness;

/// The policy `random`, alias `weighted_random`: at random, by weight.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

impl Configurable for Random {
    const INFO: PolicyInfo = PolicyInfo::new("random").aliases(&["weighted_random"]);

    fn from_options(_options: &Options<'_>) -> Self {
        Self
    }
}

impl Policy for Random {
    type Table = RandomTable;

    fn signals(&self) -> Signals {
        Signals::ENTROPY
    }

    fn build(&self, candidates: &[Candidate<'_>], _previous: Option<&Self::Table>) -> Self::Table {
        RandomTable { alias: Alias::new(candidates) }
    }
}

/// The table of [`Random`].
#[derive(Debug)]
pub struct RandomTable {
    alias: Alias,
}

impl Choose for RandomTable {
    #[inline]
    fn choose<W: Witness>(&self, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
        self.alias.draw_usable(view, cx, &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn chances_follow_the_weights() {
        // Of 8000: 5000, 2000, 1000; standard deviations at most √(8000·⅝·⅜) ≈ 43; 215 is five of them.
        let counts = Bench::new(Random, &[5, 2, 1, 0]).counts(8_000);
        for (count, expected) in counts.iter().zip([5_000, 2_000, 1_000, 0]) {
            assert!(count.abs_diff(expected) < 215, "{counts:?}");
        }
    }
}
