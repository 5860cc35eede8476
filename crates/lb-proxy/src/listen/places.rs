//! Connection slots of the admin listener: admission and eviction.
//!
//! If a new connection were refused when all slots are in use, sixty-four idle connections would be enough to make
//! `/healthz` fail, and a supervisor would restart the proxy. So the connection that has been idle for longest is
//! closed instead: among those of the new client's address if that address has its share already. A client that is
//! idle between two scrapes loses a connection that is cheap to reopen.

use std::collections::HashMap;
use std::fs::File;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::{AbortHandle, Id};

use crate::net::clock;

/// The share of the places that one address may have.
const SHARE: usize = 4;

/// When a client last sent a request.
#[derive(Clone, Debug)]
pub(super) struct LastActivity(Arc<AtomicU64>);

impl LastActivity {
    pub(super) fn now() -> Self {
        let last_activity = Self(Arc::default());
        last_activity.touch();
        last_activity
    }

    pub(super) fn touch(&self) {
        self.0.store(clock::mono().as_nanos(), Ordering::Relaxed);
    }

    fn at(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The connections that have one.
pub(super) struct Places {
    max: usize,
    taken: HashMap<Id, Place>,
}

struct Place {
    /// `None` on a Unix socket.
    address: Option<IpAddr>,
    last_activity: LastActivity,
    task: AbortHandle,
}

impl Places {
    pub(super) fn new(max: usize) -> Self {
        Self { max, taken: HashMap::new() }
    }

    /// Makes room for a client of this address, by ending what has been silent longest where need be.
    pub(super) fn make_room(&mut self, address: Option<IpAddr>) {
        let share = (self.max / SHARE).max(1);
        if address.is_some() && self.taken.values().filter(|place| place.address == address).count() >= share {
            self.end_longest_silent(|place| place.address == address);
        }
        if self.taken.len() >= self.max {
            self.end_longest_silent(|_| true);
        }
    }

    /// Ends the connection that has been silent longest, to have its descriptor.
    pub(super) fn shrink(&mut self) {
        self.end_longest_silent(|_| true);
    }

    pub(super) fn take(&mut self, address: Option<IpAddr>, last_activity: LastActivity, task: AbortHandle) {
        self.taken.insert(task.id(), Place { address, last_activity, task });
    }

    /// A connection has ended.
    pub(super) fn leave(&mut self, id: Id) {
        self.taken.remove(&id);
    }

    fn end_longest_silent(&mut self, is_meant: impl Fn(&Place) -> bool) {
        let meant = self.taken.iter().filter(|(_, place)| is_meant(place));
        let Some((&id, _)) = meant.min_by_key(|(_, place)| place.last_activity.at()) else { return };
        if let Some(place) = self.taken.remove(&id) {
            place.task.abort();
        }
    }
}

/// Descriptors kept for when there are no others.
///
/// A process without free descriptors cannot accept connections. Closing these frees some, so health checks and operators
/// still get a response.
#[derive(Debug, Default)]
pub(super) struct Spare(Vec<File>);

impl Spare {
    const COUNT: usize = 4;

    /// Takes what is missing, as far as there is any.
    pub(super) fn refill(&mut self) {
        while self.0.len() < Self::COUNT {
            let Ok(file) = File::open("/dev/null") else { return };
            self.0.push(file);
        }
    }

    /// Gives one back to the system; whether there was one.
    pub(super) fn give(&mut self) -> bool {
        self.0.pop().is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::task::JoinSet;

    use super::*;

    fn last_activity(at: u64) -> LastActivity {
        LastActivity(Arc::new(at.into()))
    }

    #[tokio::test]
    async fn the_longest_silent_of_an_address_with_its_share_leaves_and_then_the_longest_silent_of_all() {
        let mut tasks = JoinSet::new();
        let mut places = Places::new(8);
        let mut come = |places: &mut Places, address: u8, at: u64| {
            let address = Some(IpAddr::from([127, 0, 0, address]));
            places.make_room(address);
            let task = tasks.spawn(pending::<()>());
            let id = task.id();
            places.take(address, last_activity(at), task);
            id
        };
        let ids: Vec<_> = (0..4).map(|n| come(&mut places, 1, 10 + n)).collect();
        assert!(
            !places.taken.contains_key(&ids[0]) && !places.taken.contains_key(&ids[1]),
            "two are a quarter of eight"
        );
        assert_eq!(places.taken.len(), 2);
        for address in 2..5 {
            come(&mut places, address, 20);
            come(&mut places, address, 21);
        }
        assert_eq!(places.taken.len(), 8);
        come(&mut places, 9, 30);
        assert_eq!(places.taken.len(), 8);
        assert!(!places.taken.contains_key(&ids[2]), "silent since 12");
        assert!(places.taken.contains_key(&ids[3]), "silent since 13");
        places.leave(ids[3]);
        assert_eq!(places.taken.len(), 7);
    }
}
