//! How long to pause before a further attempt.

use std::time::Duration;

use lb_policy::Entropy;

/// The pauses before further attempts.
///
/// The default is [`exponential`](Self::exponential) from 25 ms to 250 ms, as Envoy has it: long enough for an endpoint to
/// accept connections again after a restart of its listener, and short beside the time that a client waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    spread: Spread,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spread {
    /// From nothing to twice the range of the pause before.
    Full,
    /// From half of the base to one and a half of it.
    Even,
}

impl Backoff {
    /// No pause.
    pub const NONE: Self = Self::even(Duration::ZERO);

    /// A pause drawn evenly between zero and `base · 2ⁿ⁻¹` before the n-th further attempt, and never above `max`. None after a
    /// refused connection: nothing was sent, and the next attempt goes elsewhere.
    ///
    /// This "full jitter" spreads what failed together best of the usual ways (Brooker, "Exponential Backoff And Jitter", AWS
    /// Architecture Blog, 2015).
    #[must_use]
    pub const fn exponential(base: Duration, max: Duration) -> Self {
        Self { base, max, spread: Spread::Full }
    }

    /// A pause drawn evenly between half of `mean` and one and a half of it, the same before each attempt.
    #[must_use]
    pub const fn even(mean: Duration) -> Self {
        Self { base: mean, max: Duration::MAX, spread: Spread::Even }
    }

    /// Whether an attempt of which nothing was sent is followed by another one at once.
    pub(super) fn skips_unsent(&self) -> bool {
        self.spread == Spread::Full
    }

    /// The pause before the `retry`-th further attempt, from one on.
    #[must_use]
    pub fn pause(&self, retry: u32, entropy: &mut Entropy) -> Duration {
        let base = self.base.min(self.max);
        let (least, range) = match self.spread {
            Spread::Full => {
                let factor = 1_u32.checked_shl(retry.saturating_sub(1)).unwrap_or(u32::MAX);
                (0, nanos(base.saturating_mul(factor).min(self.max)))
            }
            // Half the range keeps the sum below in range; 292 years are pause enough.
            Spread::Even => (nanos(base).min(u64::MAX / 2) / 2, nanos(base).min(u64::MAX / 2)),
        };
        if range == 0 { Duration::ZERO } else { Duration::from_nanos(least + entropy.below(range)) }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::exponential(Duration::from_millis(25), Duration::from_millis(250))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(backoff: Backoff, retry: u32) -> (u128, u128) {
        let mut entropy = Entropy::seeded(7);
        let pauses: Vec<_> = (0..2_000).map(|_| backoff.pause(retry, &mut entropy).as_millis()).collect();
        (pauses.iter().copied().min().unwrap(), pauses.iter().copied().max().unwrap())
    }

    #[test]
    fn full_jitter_doubles_its_range_up_to_the_limit() {
        let backoff = Backoff::exponential(Duration::from_millis(100), Duration::from_millis(350));
        for (retry, max) in [(1, 100), (2, 200), (3, 350), (40, 350), (u32::MAX, 350)] {
            let (least, most) = range(backoff, retry);
            // Of 2 000 even draws, one falls into each twentieth of the range but with probability 0.95²⁰⁰⁰ = 10⁻⁴⁵.
            assert!(least <= max / 20 && (max - max / 20..max).contains(&most), "{retry}: {least} to {most}");
        }
    }

    #[test]
    fn the_even_pause_is_half_to_one_and_a_half_and_nothing_stays_nothing() {
        let (least, most) = range(Backoff::even(Duration::from_millis(200)), 5);
        assert!((100..110).contains(&least) && (290..300).contains(&most), "{least} to {most}");
        assert_eq!(range(Backoff::NONE, 3), (0, 0));
        assert_eq!(range(Backoff::exponential(Duration::ZERO, Duration::MAX), 3), (0, 0));
        let _ = Backoff::even(Duration::MAX).pause(1, &mut Entropy::seeded(1));
        let _ = Backoff::exponential(Duration::MAX, Duration::MAX).pause(9, &mut Entropy::seeded(1));
    }
}
