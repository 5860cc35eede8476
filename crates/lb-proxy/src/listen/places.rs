//! Places at the admin listener: who gets one, and who must leave for it.
//!
//! Anybody who may connect can be silent. Were a newcomer turned away when all places are taken, sixty-four silent
//! connections would be enough to have `/healthz` fail, and whoever restarts what fails would restart the proxy. So
//! it is the longest silent one that leaves; of the newcomer's own address, where that has its share already. A client
//! that only rests between two scrapes loses a connection that costs it nothing to make again.

use std::collections::HashMap;
use std::fs::File;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::{AbortHandle, Id};

use crate::net::clock;

/// The share of the places that one address may have.
const SHARE: usize = 4;

/// When a client was last heard of.
#[derive(Clone, Debug)]
pub(super) struct Heard(Arc<AtomicU64>);

impl Heard {
    pub(super) fn now() -> Self {
        let heard = Self(Arc::default());
        heard.again();
        heard
    }

    pub(super) fn again(&self) {
        self.0.store(clock::mono().as_nanos(), Ordering::Relaxed);
    }

    fn at(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The connections that have one.
pub(super) struct Places {
    most: usize,
    taken: HashMap<Id, Place>,
}

struct Place {
    /// `None` on a Unix socket.
    address: Option<IpAddr>,
    heard: Heard,
    task: AbortHandle,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: HashMap::new() }
    }

    /// Makes room for a client of this address, by ending what has been silent longest where need be.
    pub(super) fn make_room(&mut self, address: Option<IpAddr>) {
        let share = (self.most / SHARE).max(1);
        if address.is_some() && self.taken.values().filter(|place| place.address == address).count() >= share {
            self.end_longest_silent(|place| place.address == address);
        }
        if self.taken.len() >= self.most {
            self.end_longest_silent(|_| true);
        }
    }

    /// Ends the connection that has been silent longest, to have its descriptor.
    pub(super) fn shrink(&mut self) {
        self.end_longest_silent(|_| true);
    }

    pub(super) fn take(&mut self, address: Option<IpAddr>, heard: Heard, task: AbortHandle) {
        self.taken.insert(task.id(), Place { address, heard, task });
    }

    /// A connection has ended.
    pub(super) fn leave(&mut self, id: Id) {
        self.taken.remove(&id);
    }

    fn end_longest_silent(&mut self, is_meant: impl Fn(&Place) -> bool) {
        let meant = self.taken.iter().filter(|(_, place)| is_meant(place));
        let Some((&id, _)) = meant.min_by_key(|(_, place)| place.heard.at()) else { return };
        if let Some(place) = self.taken.remove(&id) {
            place.task.abort();
        }
    }
}

/// Descriptors kept for when there are no others.
///
/// A process that may open nothing more cannot accept either. With these given back it can, so that a health check, or
/// an operator who wants to know what has happened, has an answer.
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

    fn heard(at: u64) -> Heard {
        Heard(Arc::new(at.into()))
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
            places.take(address, heard(at), task);
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
