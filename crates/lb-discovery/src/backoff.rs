//! Waits that grow with failures and never fall into step.

use std::time::Duration;

/// How long to wait after failures in a row: `first`, twice, four times, … up to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// Never longer than this.
    pub max: Duration,
}

impl Backoff {
    /// The wait after so many failures in a row, one at least.
    #[must_use]
    pub fn after(&self, failures: u32) -> Duration {
        self.max.min(self.first.saturating_mul(1 << failures.saturating_sub(1).min(16)))
    }
}

/// Up to a tenth less than planned: what was started together must not ask together for ever. `entropy` is uniform over
/// all values.
#[must_use]
pub fn jittered(planned: Duration, entropy: u64) -> Duration {
    let uniform = (entropy >> 11) as f64 / (1u64 << 53) as f64;
    planned.mul_f64(1.0 - 0.1 * uniform)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_maximum() {
        let backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(10) };
        let waits = [0, 1, 2, 3, 4, 5, 6, 40, u32::MAX].map(|failures| backoff.after(failures).as_secs());
        assert_eq!(waits, [1, 1, 2, 4, 8, 10, 10, 10, 10]);
        assert_eq!(Backoff { first: backoff.first, max: Duration::ZERO }.after(3), Duration::ZERO);
    }

    #[test]
    fn jitter_takes_away_a_tenth_at_most() {
        let planned = Duration::from_secs(10);
        assert_eq!(jittered(planned, 0), planned);
        let least = jittered(planned, u64::MAX);
        assert!(least >= Duration::from_secs(9) && least < Duration::from_millis(9_001), "{least:?}");
        assert_eq!(jittered(Duration::ZERO, u64::MAX), Duration::ZERO);
    }
}
