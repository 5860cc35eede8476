//! Who looks on while a pick is made: nobody, or somebody who wants to know why and must leave no trace.
//!
//! An explanation by a second copy of a policy would sooner or later explain what the policy does not do. So there is one copy, generic over
//! its witness. For [`Live`] every question here is what the pick would have done anyway and every note is nothing, so that a pick
//! that nobody watches costs what it did. [`Explaining`] keeps the notes, and holds back what a pick spends: turns and slots.

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};

use lb_core::{EndpointState, Ignored};

use crate::index::Index;

/// Looks on while a pick is made: [`Live`] or [`Explaining`].
///
/// A table whose picks change something of its own writes its pick once, generic over the witness, and calls it from both methods of
/// [`Table`](crate::Table).
pub trait Witness: sealed::Sealed + Debug + Sized {
    /// Whether nothing may be changed: not even what only the next pick would see.
    const IS_DRY: bool;

    /// Moves a counter of turns on and gives where it stood, as `fetch_add` does. An explanation moves it for itself only.
    fn advance(&self, cursor: &AtomicU64, by: u64) -> u64;

    /// Keeps what the pick has just done. The step is made only if there is an explanation to put it in.
    fn note(&self, step: impl FnOnce() -> Step);

    /// What is in flight there, if it has room.
    #[doc(hidden)]
    fn load_with_room(&self, state: &EndpointState, ignored: Ignored) -> Option<u32>;

    /// Takes a slot by `take`; or tells only whether there would be one.
    #[doc(hidden)]
    fn acquire(&self, state: &EndpointState, ignored: Ignored, take: impl FnOnce() -> bool) -> bool;

    /// The endpoint is throttled no longer.
    #[doc(hidden)]
    fn end_throttle(&self, state: &EndpointState);
}

/// A pick in earnest, which nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Live;

impl Witness for Live {
    const IS_DRY: bool = false;

    #[inline]
    fn advance(&self, cursor: &AtomicU64, by: u64) -> u64 {
        cursor.fetch_add(by, Ordering::Relaxed)
    }

    #[inline]
    fn note(&self, _step: impl FnOnce() -> Step) {}

    #[inline]
    fn load_with_room(&self, state: &EndpointState, ignored: Ignored) -> Option<u32> {
        state.load_with_room(ignored)
    }

    #[inline]
    fn acquire(&self, _state: &EndpointState, _ignored: Ignored, take: impl FnOnce() -> bool) -> bool {
        take()
    }

    #[inline]
    fn end_throttle(&self, state: &EndpointState) {
        state.throttle(false);
    }
}

/// A pick that is only explained: it takes no slot and no turn.
#[derive(Debug, Default)]
pub struct Explaining {
    steps: RefCell<Vec<Step>>,
    /// How far each counter would have moved, by its address.
    moved: RefCell<Vec<(usize, u64)>>,
    are_throttles_ended: Cell<bool>,
}

impl Explaining {
    pub(crate) fn into_steps(self) -> Vec<Step> {
        self.steps.into_inner()
    }
}

impl Witness for Explaining {
    const IS_DRY: bool = true;

    fn advance(&self, cursor: &AtomicU64, by: u64) -> u64 {
        let address = std::ptr::from_ref(cursor).addr();
        let stands = cursor.load(Ordering::Relaxed);
        let mut moved = self.moved.borrow_mut();
        if let Some((_, moved)) = moved.iter_mut().find(|(of, _)| *of == address) {
            let before = *moved;
            *moved = before.wrapping_add(by);
            return stands.wrapping_add(before);
        }
        moved.push((address, by));
        stands
    }

    fn note(&self, step: impl FnOnce() -> Step) {
        self.steps.borrow_mut().push(step());
    }

    fn load_with_room(&self, state: &EndpointState, ignored: Ignored) -> Option<u32> {
        if self.are_throttles_ended.get() {
            return state.load_with_room_unthrottled(ignored);
        }
        state.load_with_room(ignored)
    }

    fn acquire(&self, state: &EndpointState, ignored: Ignored, _take: impl FnOnce() -> bool) -> bool {
        self.load_with_room(state, ignored).is_some()
    }

    fn end_throttle(&self, _state: &EndpointState) {
        self.are_throttles_ended.set(true);
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Live {}
    impl Sealed for super::Explaining {}
}

/// One thing a pick did, in the order in which it did them. Places are those in the cluster's list of members.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// It looked for the endpoint that the request sticks to; none if there is none that may serve it.
    Sticky {
        /// The endpoint.
        endpoint: Option<Index>,
    },
    /// It turned to the tier of this priority.
    Tier {
        /// The priority.
        priority: u8,
    },
    /// It turned to the endpoints of the zone in this place of the zones that have any.
    Zone {
        /// The place.
        place: usize,
    },
    /// It measured how many requests an endpoint may have in flight for each unit of its weight.
    Bound {
        /// So many.
        per_weight: f64,
    },
    /// It hashed the key to this.
    Hashed {
        /// The hash.
        hash: u64,
    },
    /// The hash belongs to this endpoint.
    Owner {
        /// The endpoint.
        endpoint: Index,
    },
    /// It was this endpoint's turn; none if the turn was nobody's.
    Turn {
        /// The number of the turn.
        turn: u64,
        /// The endpoint.
        endpoint: Option<Index>,
    },
    /// It drew this endpoint at random, in proportion to weight.
    Draw {
        /// The endpoint.
        endpoint: Index,
    },
    /// It gave this endpoint a score.
    Score {
        /// The endpoint.
        endpoint: Index,
        /// What the score is of, and whether less or more of it wins.
        of: &'static str,
        /// The score.
        score: f64,
    },
    /// The policy's table settled on this endpoint; none if it found none in a bounded number of draws.
    Settled {
        /// The endpoint.
        endpoint: Option<Index>,
    },
    /// The endpoint warms up and this request was kept from it.
    Thinned {
        /// The endpoint.
        endpoint: Index,
    },
    /// It looked at every member of the tier, since the table had found none.
    Searched {
        /// The endpoint.
        endpoint: Option<Index>,
    },
    /// Nobody else could serve, so it turned to endpoints that cool down.
    CoolingDown {
        /// The endpoint.
        endpoint: Option<Index>,
    },
    /// Nobody else could serve, so endpoints that are throttled to one request at a time would have been relieved of that.
    ThrottlesEnded,
    /// The table is one that does not explain its picks.
    Unexplained,
}

impl Step {
    /// The endpoint it is about.
    #[must_use]
    pub const fn endpoint(&self) -> Option<Index> {
        match *self {
            Self::Owner { endpoint }
            | Self::Draw { endpoint }
            | Self::Score { endpoint, .. }
            | Self::Thinned { endpoint } => Some(endpoint),
            Self::Sticky { endpoint }
            | Self::Turn { endpoint, .. }
            | Self::Settled { endpoint }
            | Self::Searched { endpoint }
            | Self::CoolingDown { endpoint } => endpoint,
            Self::Tier { .. }
            | Self::Zone { .. }
            | Self::Bound { .. }
            | Self::Hashed { .. }
            | Self::ThrottlesEnded
            | Self::Unexplained => None,
        }
    }
}
