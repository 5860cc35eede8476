//! What a policy needs to know, so that callers and tickets can skip the rest.

/// What a policy needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals(u8);

impl Signals {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Random numbers.
    pub const ENTROPY: Self = Self(1);
    /// A key to hash; the table spans all members, eligible or not.
    pub const KEY: Self = Self(2);
    /// The number of requests in flight.
    pub const IN_FLIGHT: Self = Self(4);
    /// The peak-sensitive latency estimate.
    pub const LATENCY: Self = Self(8);
    /// The plain average of latency.
    pub const AVERAGE: Self = Self(16);
    /// The endpoints with the fewest requests in flight. Costs every pick through the cluster, whatever its policy, two atomic
    /// operations more on words that 64 endpoints share.
    pub(crate) const FEWEST: Self = Self(32);
    /// What endpoints report of their load ([`Endpoint::on_report`](crate::Endpoint::on_report)).
    pub const REPORT: Self = Self(64);
    /// The time: [`PickCx::now`](crate::PickCx::now) is read. [`LATENCY`](Self::LATENCY), [`AVERAGE`](Self::AVERAGE) and
    /// [`REPORT`](Self::REPORT) imply it.
    pub const TIME: Self = Self(128);

    /// Both sets of needs.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is needed.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether picks or tickets use the time.
    pub(crate) const fn needs_time(self) -> bool {
        self.0 & (Self::TIME.0 | Self::LATENCY.0 | Self::AVERAGE.0 | Self::REPORT.0) != 0
    }

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }
}

/// How latency is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learning {
    /// After this many milliseconds an old sample weighs 1/e; default 10 000, as in Finagle, tower and linkerd.
    pub decay_ms: u32,
    /// What a failed attempt counts as, in milliseconds, if it was not slower still; default 5 000, as in linkerd. It
    /// keeps an endpoint that fails fast from looking fast.
    pub penalty_ms: u32,
}

impl Learning {
    /// A decay of 10 s and a penalty of 5 s.
    pub const DEFAULT: Self = Self { decay_ms: 10_000, penalty_ms: 5_000 };
}

impl Default for Learning {
    fn default() -> Self {
        Self::DEFAULT
    }
}
