//! What the layers above a balancer and the balancer exchange without touching requests, responses or errors.
//!
//! A retry must know which endpoint has just failed, and the next pick which endpoints not to repeat. Passing that along in
//! requests, responses and errors ties every layer to every type: a timeout between the two, or an error that was boxed, and
//! the knowledge is lost. All of them are polled within one another on one thread, so it goes through a cell of that
//! thread instead: a few bytes, no allocation, and any layer may be between.
//!
//! ```text
//!  Retry, Hedge ── Scope: endpoints tried ─────────────▶ Balance: does not pick them
//!               ◀── picked, and how the attempt ended ──
//! ```
//!
//! A layer that moves its inner service to another task (tower's `Buffer`) cuts the connection: retries work, but may go to the
//! same endpoint. None is needed, since a [`Balance`](crate::Balance) can be cloned.

use std::cell::Cell;

use lb_core::Class;
use lb_policy::{Tried, Uid};

/// How the attempt that has just ended on this thread fared, as its [`Balance`](crate::Balance) or
/// [`Timeout`](crate::Timeout) saw it.
///
/// For a [`RetryPolicy`](crate::RetryPolicy) or [`HedgePolicy`](crate::HedgePolicy): read it in their methods, where it is
/// that of the result at hand, whatever error type it has become on its way up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LastAttempt {
    /// No layer below has reported: classify the result itself.
    #[default]
    Unknown,
    /// There was no endpoint for it; nothing was sent.
    NoEndpoint,
    /// It was at this endpoint.
    At {
        /// Which endpoint.
        uid: Uid,
        /// How it fared up to its response head; [`Class::ConnectError`] only if nothing was sent.
        class: Class,
    },
    /// A limit of time ended it, somewhere.
    TimedOut,
}

impl LastAttempt {
    /// The attempt whose result is being looked at.
    #[must_use]
    pub fn read() -> Self {
        LAST.get()
    }

    /// How it fared, if that is known.
    #[must_use]
    pub const fn class(self) -> Option<Class> {
        match self {
            Self::At { class, .. } => Some(class),
            Self::TimedOut => Some(Class::Timeout),
            Self::Unknown | Self::NoEndpoint => None,
        }
    }

    /// Where it was, if that is known.
    #[must_use]
    pub const fn uid(self) -> Option<Uid> {
        if let Self::At { uid, .. } = self { Some(uid) } else { None }
    }

    /// Whether there was no endpoint for it.
    #[must_use]
    pub const fn is_no_endpoint(self) -> bool {
        matches!(self, Self::NoEndpoint)
    }

    pub(crate) fn clear() {
        LAST.set(Self::Unknown);
    }

    pub(crate) fn note(self) {
        LAST.set(self);
    }
}

thread_local! {
    static LAST: Cell<LastAttempt> = const { Cell::new(LastAttempt::Unknown) };
    static PICKED: Cell<Option<Uid>> = const { Cell::new(None) };
    // Whether there is a scope: read by every pick, and cheaper than what follows, which has a destructor.
    static IS_SCOPED: Cell<bool> = const { Cell::new(false) };
    // Boxed, so that it moves in and out by its pointer; there is none in the first attempt of a request.
    static TRIED: Cell<Option<Box<Tried>>> = const { Cell::new(None) };
}

/// While it lives, picks on this thread pass over these endpoints.
#[must_use = "it ends when it is dropped"]
pub(crate) struct Scope {
    outer: Option<Box<Tried>>,
}

impl Scope {
    /// These, and those of the scope around it.
    pub(crate) fn enter(tried: &Tried) -> Self {
        let outer = TRIED.take();
        let inner = outer.as_deref().map_or_else(|| tried.clone(), |outer| union(tried, outer));
        set(Some(Box::new(inner)));
        Self { outer }
    }

    /// None: what is called within balances over another cluster, whose numbers mean other endpoints. Costs a load where there is
    /// no scope.
    pub(crate) fn shield() -> Option<Self> {
        IS_SCOPED.get().then(|| {
            let outer = TRIED.take();
            set(None);
            Self { outer }
        })
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        set(self.outer.take());
    }
}

fn set(tried: Option<Box<Tried>>) {
    IS_SCOPED.set(tried.is_some());
    TRIED.set(tried);
}

/// Whether there is a scope, so that some endpoints may not be picked.
pub(crate) fn is_scoped() -> bool {
    IS_SCOPED.get()
}

/// What the scope says not to be picked, for one pick.
pub(crate) fn tried() -> Option<Box<Tried>> {
    if !is_scoped() {
        return None;
    }
    let tried = TRIED.take();
    let copy = tried.clone();
    TRIED.set(tried);
    copy
}

/// The endpoints of both.
pub(crate) fn union(one: &Tried, other: &Tried) -> Tried {
    let mut all = one.clone();
    other.iter().for_each(|uid| all.push(uid));
    all
}

/// This endpoint was picked for the attempt that is being polled.
pub(crate) fn note_pick(uid: Uid) {
    PICKED.set(Some(uid));
}

/// Forgets the last pick, and says which it was.
pub(crate) fn take_pick() -> Option<Uid> {
    PICKED.take()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cluster_of, uids};

    fn is_tried(uid: Uid) -> bool {
        tried().is_some_and(|tried| tried.contains(uid))
    }

    fn one(uid: Uid) -> Tried {
        let mut tried = Tried::new();
        tried.push(uid);
        tried
    }

    #[test]
    fn scopes_add_up_and_end_in_their_order() {
        let uids = uids(&cluster_of([(), ()]));
        assert!(tried().is_none());
        let outer = Scope::enter(&one(uids[0]));
        assert!(is_tried(uids[0]) && !is_tried(uids[1]));
        let inner = Scope::enter(&one(uids[1]));
        assert!(is_tried(uids[0]) && is_tried(uids[1]));
        let shield = Scope::shield();
        assert!(!is_tried(uids[0]) && !is_tried(uids[1]), "numbers of another cluster");
        drop(shield);
        assert!(is_tried(uids[1]));
        drop(inner);
        assert!(is_tried(uids[0]) && !is_tried(uids[1]));
        drop(outer);
        assert!(tried().is_none() && Scope::shield().is_none());
    }
}
