//! The two halves of a policy.
//!
//! Building a table may take its time and allocate; picking from it may not. Splitting the two lets the hot half be a
//! plain read of an immutable table: no lock, no allocation, and mostly O(1).

use std::sync::Arc;

use lb_core::{EndpointState, Weight};

use crate::cluster::view::View;
use crate::context::PickCx;
use crate::estimate::ladder::Lane;
use crate::identity::{Identity, Uid, Zone};
use crate::index::Index;
use crate::signals::{Learning, Signals};
use crate::witness::{Explaining, Live, Step, Witness};

/// The cold half: makes tables.
pub trait Policy: Send + Sync + 'static {
    /// What it picks from.
    type Table: Table;

    /// What a pick needs and what must be learned for it, so that callers can skip the rest.
    fn signals(&self) -> Signals;

    /// A table over these candidates, in the order in which they were configured; there may be none of them.
    ///
    /// A policy with [`Signals::KEY`] is given every member of weight above zero and passes over ineligible ones by its
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

    /// What [`pick`](Self::pick) would answer, with a note of each step in [`cx.witness`](PickCx::witness) and without spending anything.
    ///
    /// By default `pick` is asked, with copies of the entropy and the probes. A table whose picks change something of its own, such as a counter
    /// of turns, writes its pick once, generic over the [`Witness`], moves the counter by [`Witness::advance`], and calls it from both methods.
    fn explain(&self, view: &View<'_>, cx: &mut PickCx<'_, Explaining>) -> Option<Index> {
        cx.witness.note(|| Step::Unexplained);
        self.pick(view, &mut cx.unwatched())
    }
}

/// A table of this crate: one pick, whoever looks on.
pub trait Choose: Send + Sync + 'static {
    /// See [`Table::pick`].
    fn choose<W: Witness>(&self, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index>;
}

impl<T: Choose> Table for T {
    #[inline]
    fn pick(&self, view: &View<'_>, cx: &mut PickCx<'_>) -> Option<Index> {
        self.choose(view, cx)
    }

    fn explain(&self, view: &View<'_>, cx: &mut PickCx<'_, Explaining>) -> Option<Index> {
        self.choose(view, cx)
    }
}

/// How a witness asks a table.
pub(crate) trait Ask: Witness {
    /// Lets the table pick, or explain.
    fn ask<T: Table>(table: &T, view: &View<'_>, cx: &mut PickCx<'_, Self>) -> Option<Index>;
}

impl Ask for Live {
    #[inline]
    fn ask<T: Table>(table: &T, view: &View<'_>, cx: &mut PickCx<'_>) -> Option<Index> {
        table.pick(view, cx)
    }
}

impl Ask for Explaining {
    fn ask<T: Table>(table: &T, view: &View<'_>, cx: &mut PickCx<'_, Self>) -> Option<Index> {
        table.explain(view, cx)
    }
}

/// What [`Policy::build`] gets to know about one endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// What a table must answer for it.
    pub index: Index,
    /// Its identity; hashes use the name.
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
