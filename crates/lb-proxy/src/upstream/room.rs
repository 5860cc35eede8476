//! Room for connections to endpoints: one limit for the process, `limits.endpoint_connections`, and each cluster's share.
//!
//! Nothing else bounds them. A client of HTTP/2 has 128 requests on one connection, each of which may need an endpoint
//! connection of its own, so that a few clients of a hanging endpoint could take every descriptor.
//!
//! Counted when a connection is made and when it ends; a request on a kept connection counts nothing. When a bound is reached, idle
//! connections are closed first, those idle longest, to any endpoint. Only then is a request refused.
//!
//! **A share for every client.** A request that runs beside others of its client's connection may not take the last quarter of the
//! room, neither by a new connection nor by a kept one. Without that, a client with many requests would get all connections: each one
//! that another client's request gives back would be taken by the next of the many. So clients with one request at a time go on,
//! one for each of their connections.
//!
//! **A share for every cluster.** If there are several clusters, none has more than three quarters of the room, so that one whose
//! endpoints hang cannot starve the others. The first rule applies within that share too, and is relaxed for a cluster that has less
//! than an eighth: requests beside others may take half of the last quarter for it, since those to the cluster that hangs may have
//! taken everything else.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use lb_core::Mono;

/// For how long idle connections are not searched again after there were too few.
const BARREN: Duration = Duration::from_millis(20);

/// All but a quarter.
fn without_reserve(max: usize) -> usize {
    max - max / 4
}

/// How many connections there are, of all or of one cluster.
#[derive(Debug, Default)]
pub(super) struct Tally {
    open: AtomicUsize,
    /// Until when closing idle connections is known to make no room; milliseconds.
    barren: AtomicU64,
    /// For which bounds, and smaller ones, that is known.
    barren_bound: AtomicUsize,
}

impl Tally {
    /// Counts one more, unless there are `max`.
    fn enter(&self, max: usize) -> bool {
        let is_in = self.open.fetch_add(1, Ordering::Relaxed) < max;
        if !is_in {
            self.leave();
        }
        is_in
    }

    fn leave(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether closing idle connections was just found not to leave fewer than `bound`.
    pub(super) fn is_barren(&self, bound: usize, now: Mono) -> bool {
        now.as_millis() < self.barren.load(Ordering::Relaxed) && bound <= self.barren_bound.load(Ordering::Relaxed)
    }

    /// Closing idle connections does not leave fewer than `bound`.
    pub(super) fn on_barren(&self, bound: usize, now: Mono) {
        self.barren_bound.store(bound, Ordering::Relaxed);
        self.barren.store(now.saturating_add(BARREN).as_millis(), Ordering::Relaxed);
    }
}

/// The number of connections to endpoints, and its limit.
#[derive(Debug)]
pub(crate) struct Room {
    all: Tally,
    max: AtomicUsize,
    /// Whether there are several clusters.
    is_shared: AtomicBool,
    refused: AtomicU64,
}

/// The part of the room that one cluster uses.
#[derive(Debug, Default)]
pub(crate) struct Share {
    room: Arc<Room>,
    own: Tally,
}

/// The numbers that connections must be below for a request to have one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// In all.
    pub(super) all: usize,
    /// To the endpoints of its cluster.
    pub(super) own: usize,
    /// Beyond the bound in all, the bounds for a cluster that has little.
    pub(super) modest: Option<Modest>,
}

/// As in [`Bounds`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Modest {
    pub(super) all: usize,
    pub(super) own: usize,
}

/// One connection's place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Share>);

/// No connection can be made, because a limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    /// For any request.
    #[error("all {max} connections to endpoints are in use (limits.endpoint_connections)")]
    All {
        /// The limit.
        max: usize,
    },
    /// For one that runs beside others of its client's connection.
    #[error(
        "its client's connection has other requests, and three quarters of the {max} connections to endpoints are in use \
         (limits.endpoint_connections)"
    )]
    Share {
        /// The limit.
        max: usize,
    },
    /// For any request to this cluster.
    #[error(
        "its cluster has its share, {share} of the {max} connections to endpoints (limits.endpoint_connections); the rest \
         is for other clusters"
    )]
    Cluster {
        /// The limit of a cluster.
        share: usize,
        /// The limit.
        max: usize,
    },
    /// For one to this cluster that runs beside others of its client's connection.
    #[error(
        "its client's connection has other requests, and three quarters of its cluster's share are in use, which is {share} \
         of the {max} connections to endpoints (limits.endpoint_connections)"
    )]
    ClusterShare {
        /// The limit of a cluster.
        share: usize,
        /// The limit.
        max: usize,
    },
}

impl Full {
    /// The inner error, if it is this.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl Default for Room {
    /// Without a limit, for one cluster.
    fn default() -> Self {
        Self {
            all: Tally::default(),
            max: AtomicUsize::new(usize::MAX),
            is_shared: AtomicBool::new(false),
            refused: AtomicU64::new(0),
        }
    }
}

impl Room {
    /// Sets the limit, and the number of clusters that share it. Connections beyond a smaller limit stay open.
    pub(crate) fn set_max(&self, max: usize, clusters: usize) {
        self.max.store(max, Ordering::Relaxed);
        self.is_shared.store(clusters > 1, Ordering::Relaxed);
    }

    /// The limit.
    pub(crate) fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// The number of connections.
    pub(crate) fn open(&self) -> usize {
        self.all.open()
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.all
    }

    /// Requests refused for want of a connection.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Why a request gets no connection.
    pub(super) fn full(&self, is_multiplexed: bool) -> Full {
        let max = self.max();
        if is_multiplexed { Full::Share { max } } else { Full::All { max } }
    }

    /// A request was refused.
    pub(crate) fn on_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::Relaxed)
    }

    /// The limit of a cluster.
    fn share(&self) -> usize {
        let max = self.max();
        if self.is_shared() { without_reserve(max) } else { max }
    }
}

impl Share {
    /// A cluster's, with no connections yet.
    pub(crate) fn of(room: &Arc<Room>) -> Self {
        Self { room: Arc::clone(room), own: Tally::default() }
    }

    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.own
    }

    /// Takes a place for a new connection.
    ///
    /// # Errors
    /// There is none; the error's inner one is [`Full`].
    pub(crate) fn enter(self: &Arc<Self>) -> io::Result<Place> {
        if !self.own.enter(self.room.share()) {
            return Err(io::Error::other(self.full(false)));
        }
        if !self.room.all.enter(self.room.max()) {
            self.own.leave();
            return Err(io::Error::other(self.room.full(false)));
        }
        Ok(Place(Arc::clone(self)))
    }

    /// What a request is bound by; `is_multiplexed` if it runs beside others of its client's connection.
    pub(super) fn bounds(&self, is_multiplexed: bool) -> Bounds {
        let (max, share) = (self.room.max(), self.room.share());
        if !is_multiplexed {
            return Bounds { all: max, own: share, modest: None };
        }
        let eighth = max / 8;
        let modest = self.room.is_shared().then_some(Modest { all: max - eighth, own: eighth });
        Bounds { all: without_reserve(max), own: without_reserve(share), modest }
    }

    /// Why a request to this cluster gets no connection.
    pub(super) fn full(&self, is_multiplexed: bool) -> Full {
        let (max, share) = (self.room.max(), self.room.share());
        match (self.room.is_shared(), is_multiplexed) {
            (false, _) => self.room.full(is_multiplexed),
            (true, false) => Full::Cluster { share, max },
            (true, true) => Full::ClusterShare { share, max },
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.own.leave();
        self.0.room.all.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(max: usize, clusters: usize) -> Arc<Room> {
        let room = Room::default();
        room.set_max(max, clusters);
        Arc::new(room)
    }

    fn share(room: &Arc<Room>) -> Arc<Share> {
        Arc::new(Share::of(room))
    }

    fn full(refused: io::Result<Place>) -> Option<Full> {
        Full::of(&refused.unwrap_err())
    }

    #[test]
    fn a_place_is_for_one_connection_and_free_when_it_ends() {
        let room = room(2, 1);
        let share = share(&room);
        let first = share.enter().unwrap();
        let second = share.enter().unwrap();
        assert_eq!(full(share.enter()), Some(Full::All { max: 2 }));
        assert!(Full::of(&io::ErrorKind::TimedOut.into()).is_none());
        assert_eq!((room.open(), share.own.open()), (2, 2), "a refusal takes no place");
        drop(first);
        let third = share.enter().unwrap();
        drop((second, third));
        assert_eq!((room.open(), share.own.open()), (0, 0));
    }

    #[test]
    fn no_cluster_takes_the_last_quarter() {
        let room = room(8, 2);
        let (one, two) = (share(&room), share(&room));
        let held: Vec<_> = (0..6).map(|_| one.enter().unwrap()).collect();
        assert_eq!(full(one.enter()), Some(Full::Cluster { share: 6, max: 8 }));
        let others: Vec<_> = (0..2).map(|_| two.enter().unwrap()).collect();
        assert_eq!(full(two.enter()), Some(Full::All { max: 8 }));
        assert_eq!((one.own.open(), two.own.open()), (6, 2), "a refusal takes no place");
        drop((held, others));
        room.set_max(8, 1);
        let all: Vec<_> = (0..8).map(|_| one.enter().unwrap()).collect();
        assert_eq!(all.len(), 8, "one cluster alone may have them all");
    }

    #[test]
    fn requests_beside_others_leave_a_quarter_of_the_room_and_of_the_share() {
        let alone = share(&room(64, 1));
        assert_eq!(alone.bounds(false), Bounds { all: 64, own: 64, modest: None });
        assert_eq!(alone.bounds(true), Bounds { all: 48, own: 48, modest: None });
        let one_of_two = share(&room(64, 2));
        assert_eq!(one_of_two.bounds(false), Bounds { all: 64, own: 48, modest: None });
        let modest = Some(Modest { all: 56, own: 8 });
        assert_eq!(one_of_two.bounds(true), Bounds { all: 48, own: 36, modest });
    }

    #[test]
    fn what_is_known_to_make_no_room_is_known_for_lower_bounds_only() {
        let tally = Tally::default();
        let (now, later) = (Mono::from_millis(1_000), Mono::from_millis(1_020));
        tally.on_barren(30, now);
        assert!(tally.is_barren(30, now) && tally.is_barren(8, now));
        assert!(!tally.is_barren(40, now) && !tally.is_barren(30, later));
    }
}
