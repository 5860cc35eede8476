//! The rule of ejections: how many failures, and for how long.

use std::num::NonZeroU16;
use std::time::Duration;

use lb_core::Mono;

use crate::jitter::{part, span_of};

/// When to eject and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// So many failures eject; default 3.
    pub failures: NonZeroU16,
    /// If they lie no further apart than this; default 30 s.
    pub window: Duration,
    /// Time without traffic; default 3 s. It may be short, since a return costs one request; nginx waits 10 s each time, and
    /// with growth this waits longer from the fourth time on.
    pub eject_for: Duration,
    /// Whether repeated ejections last longer; default linear up to 30 s, forgiving one each 30 s.
    pub growth: Growth,
    /// Each ejection is longer by up to so many hundredths of itself, by chance, so that endpoints and proxies do not
    /// try again in step; default 10, at most 100.
    pub jitter_percent: u8,
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            failures: const { NonZeroU16::new(3).expect("three is not zero") },
            window: Duration::from_secs(30),
            eject_for: Duration::from_secs(3),
            growth: Growth::default(),
            jitter_percent: 10,
        }
    }
}

impl Ejection {
    /// No ejection by this rule lasts longer, jitter apart.
    #[must_use]
    pub fn longest(&self) -> Duration {
        match self.growth {
            Growth::Constant => self.eject_for,
            Growth::Linear { max, .. } => max.max(self.eject_for),
        }
    }

    /// How long the `count`-th ejection lasts, jitter apart.
    pub(crate) fn length(&self, count: u32) -> Duration {
        (self.eject_for.saturating_mul(count.max(1).saturating_add(1)) / 2).min(self.longest())
    }

    /// `length` and its jitter; `entropy` is 64 random bits.
    pub(crate) fn jittered(&self, length: Duration, entropy: u64) -> Duration {
        let spread = length.as_nanos() * u128::from(self.jitter_percent.min(100)) / 100;
        length.saturating_add(span_of(part(spread, entropy)))
    }
}

/// How long a repeated ejection lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// As long as the first.
    Constant,
    /// The k-th lasts `min((k + 1) / 2 · eject_for, max)`, and k falls by one for each `forgive` without ejection. Envoy's rule has k in
    /// place of (k + 1) / 2, for which an endpoint that fails half of its requests was back later than with nginx.
    Linear {
        /// Longest ejection; below `eject_for` it means `eject_for`.
        max: Duration,
        /// Time in traffic that takes one ejection off the record.
        forgive: Duration,
    },
}

impl Default for Growth {
    fn default() -> Self {
        Self::Linear { max: Duration::from_secs(30), forgive: Duration::from_secs(30) }
    }
}

/// What a failure led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum OnFailure {
    /// Nothing yet, or it is ejected already.
    Nothing,
    /// It is ejected from now until then. Told to one caller only.
    Ejected {
        /// When it ends.
        until: Mono,
    },
    /// It would be ejected, but too many are, or it is the last one.
    Capped,
}
