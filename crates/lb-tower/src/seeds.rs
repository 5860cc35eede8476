//! Where generators get their seeds.
//!
//! A service is cloned far more often than it is built: some frameworks clone it for every request. A generator that
//! was cloned along would draw the same "random" numbers in every clone, and all of them would choose the same
//! endpoint. So clones take a new seed each from a counter that they share.

use std::sync::atomic::{AtomicU64, Ordering};

use lb_policy::Entropy;

/// A source of seeds, no two of which are alike.
#[derive(Debug)]
pub(crate) struct Seeds(AtomicU64);

impl Seeds {
    /// Starts anywhere.
    pub(crate) fn new() -> Self {
        Self::from_seed(fastrand::u64(..))
    }

    /// Starts here.
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// Another generator. One relaxed addition.
    pub(crate) fn entropy(&self) -> Entropy {
        let count = self.0.fetch_add(1, Ordering::Relaxed);
        // Neighbouring seeds would give neighbouring first states; the mixer of splitmix64 spreads them.
        let mut z = count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Entropy::seeded(z ^ (z >> 31))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_generators_of_one_source_differ_from_the_first_draw_on() {
        let seeds = Seeds::new();
        let mut firsts: Vec<u64> = (0..1_000).map(|_| seeds.entropy().next_u64()).collect();
        firsts.sort_unstable();
        firsts.dedup();
        assert_eq!(firsts.len(), 1_000);
    }
}
