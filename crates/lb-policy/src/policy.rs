//! The two halves of a policy.
//!
//! Building a table may take its time and allocate; picking from it may not. Splitting the two lets the hot half be a
//! plain read of an immutable table: no lock, no allocation, and mostly O(1).

use std::sync::Arc;

use lb_core::{EndpointState, Weight};

use crate::cx::PickCx;
use crate::endpoint::{Identity, Uid, Zone};
use crate::ladder::Lane;
use crate::view::View;

/// The cold half: makes tables.
pub trait Policy: Send + Sync + 'static {
    /// What it picks from.
    type Table: Table;

    /// What a pick needs and what must be learned for it, so that callers can skip the rest.
    fn signals(&self) -> Signals;

    /// A table over these candidates, in the order in which they were configured; there may be none of them.
    ///
    /// A policy with [`Signals::KEY`] is given every member of weight above zero and goes round ineligible ones by its
    /// own rule, so that a flap moves only the keys of the one that flapped. Any other is given the eligible ones and
    /// rebuilt when that set changes. `previous` is the table this one replaces: take cursors over from it.
    fn build(&self, candidates: &[Candidate<'_>], previous: Option<&Self::Table>) -> Self::Table;

    /// How endpoints learn from outcomes, if [`Signals::LATENCY`] asks for it.
    fn learning(&self) -> Learning {
        Learning::DEFAULT
    }
}

/// The hot half.
pub trait Table: Send + Sync + 'static {
    /// One usable endpoint ([`View::is_usable`]), or none after a bounded number of draws.
    ///
    /// The caller then looks through all members itself, in proportion to weight, so a table need not search for a
    /// needle; but it must never hand a skipped member's share to that member's neighbour. Allocates nothing, takes no
    /// lock, reads no clock.
    fn pick(&self, view: &View<'_>, cx: &mut PickCx<'_>) -> Option<Index>;
}

/// An endpoint's place in the cluster's list, valid for one [`View`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(u32);

impl Index {
    /// This place. A place past the end of the list is never usable.
    #[must_use]
    pub const fn new(place: u32) -> Self {
        Self(place)
    }

    /// The place as a number.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

/// What [`Policy::build`] is told about one endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// What a table must answer for it.
    pub index: Index,
    /// Who it is; hashes use the name.
    pub identity: &'a Identity,
    /// Its number within the cluster.
    pub uid: Uid,
    /// Its share; never zero.
    pub weight: Weight,
    /// Its affinity, a stable hash of the name.
    pub affinity: u64,
    /// Where it runs.
    pub zone: Option<Zone>,
    /// What was learned about it.
    pub state: &'a Arc<EndpointState>,
    pub(crate) lane: &'a Lane,
}

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
    /// Who has the fewest requests in flight. Costs every pick through the cluster, whatever its policy, two atomic operations more on
    /// words that 64 endpoints share.
    pub(crate) const FEWEST: Self = Self(32);

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
