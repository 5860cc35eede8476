//! Room for connections to endpoints: one limit for the process, `limits.endpoint_connections`.
//!
//! Nothing else bounds them. A client of HTTP/2 has 128 requests on one connection, each of which may need an endpoint
//! connection of its own, so that a few clients of a hanging endpoint could take every descriptor.
//!
//! Counted where a connection is made and where it ends; a request on a kept connection counts nothing. Where the limit is
//! reached, idle connections give way first, those that rest longest, of whichever endpoint. Only then is a request refused.
//!
//! **A share for everybody.** A request that runs beside others of its client's connection may not take the last quarter
//! of the room, neither by a new connection nor by a kept one. Without that, who has many requests would have them all:
//! each connection that another client's request gives back would be taken by the next of the many. So clients with one
//! request at a time go on, one for each of their connections.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use lb_core::Mono;

/// For how long idle connections are not looked for where there were none.
const BARREN: Duration = Duration::from_millis(20);

/// How many connections to endpoints there are, and may be.
#[derive(Debug)]
pub(crate) struct Room {
    open: AtomicUsize,
    most: AtomicUsize,
    refused: AtomicU64,
    /// Until when it is known that no connection is idle; milliseconds.
    barren: AtomicU64,
}

/// One connection's place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Room>);

/// No connection can be made, because there are as many as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    /// For any request.
    #[error("all {most} connections that there may be to endpoints are in use (limits.endpoint_connections)")]
    All {
        /// The limit.
        most: usize,
    },
    /// For one that runs beside others of its client's connection.
    #[error(
        "its client's connection has other requests, and three quarters of the {most} connections that there may be to \
         endpoints are in use (limits.endpoint_connections)"
    )]
    Share {
        /// The limit.
        most: usize,
    },
}

impl Full {
    /// What an error says, if it is this.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl Default for Room {
    /// Without a limit.
    fn default() -> Self {
        Self {
            open: AtomicUsize::new(0),
            most: AtomicUsize::new(usize::MAX),
            refused: AtomicU64::new(0),
            barren: AtomicU64::new(0),
        }
    }
}

impl Room {
    /// Sets the limit. What is beyond a smaller one runs on.
    pub(crate) fn set_most(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// The limit.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// Connections that there are.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Requests refused for want of a connection.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Takes a place for a new connection.
    ///
    /// # Errors
    /// There is none; the error's inner one is [`Full`].
    pub(crate) fn enter(self: &Arc<Self>) -> io::Result<Place> {
        let most = self.most();
        if self.open.fetch_add(1, Ordering::Relaxed) >= most {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(io::Error::other(self.full(false)));
        }
        Ok(Place(Arc::clone(self)))
    }

    /// How many connections there must be fewer than for a request to have another one. `is_one_of_many` if it runs beside
    /// others of its client's connection.
    pub(super) fn bound(&self, is_one_of_many: bool) -> usize {
        let most = self.most();
        if is_one_of_many { most - most / 4 } else { most }
    }

    /// Whether it was seen just now that no connection is idle.
    pub(super) fn is_barren(&self, now: Mono) -> bool {
        now.as_millis() < self.barren.load(Ordering::Relaxed)
    }

    /// No connection is idle.
    pub(super) fn on_barren(&self, now: Mono) {
        self.barren.store(now.saturating_add(BARREN).as_millis(), Ordering::Relaxed);
    }

    /// What is said where there is none.
    pub(super) fn full(&self, is_one_of_many: bool) -> Full {
        let most = self.most();
        if is_one_of_many { Full::Share { most } } else { Full::All { most } }
    }

    /// A request was refused.
    pub(crate) fn on_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_for_one_connection_and_free_when_it_ends() {
        let room = Arc::new(Room::default());
        room.set_most(2);
        let first = room.enter().unwrap();
        let second = room.enter().unwrap();
        let full = room.enter().unwrap_err();
        assert_eq!(Full::of(&full), Some(Full::All { most: 2 }));
        assert!(Full::of(&io::ErrorKind::TimedOut.into()).is_none());
        assert_eq!(room.open(), 2, "a refusal takes no place");
        drop(first);
        let third = room.enter().unwrap();
        drop((second, third));
        assert_eq!(room.open(), 0);
    }
}
