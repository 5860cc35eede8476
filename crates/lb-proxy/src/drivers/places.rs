//! Places for checks under way, handed out fairly between clusters ([`FairShare`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lb_health::FairShare;
use tokio::sync::oneshot;

/// Clones share the places.
#[derive(Clone)]
pub(super) struct Places(Arc<Mutex<Line>>);

struct Line {
    share: FairShare<Arc<str>>,
    waiting: HashMap<u64, oneshot::Sender<Place>>,
    next: u64,
}

/// A place, given back when dropped.
pub(super) struct Place {
    places: Places,
    cluster: Arc<str>,
}

impl Places {
    pub(super) fn new(places: usize) -> Self {
        Self(Arc::new(Mutex::new(Line { share: FairShare::new(places), waiting: HashMap::new(), next: 0 })))
    }

    /// Whether several clusters check, so that some places are kept for those that check little.
    pub(super) fn set_shared(&self, shared: bool) {
        self.lock().share.set_shared(shared);
    }

    /// Waits for a place. Dropping the future gives the wait up, or the place.
    pub(super) async fn take(&self, cluster: &Arc<str>) -> Place {
        let receiver = {
            let mut line = self.lock();
            let waiter = line.next;
            line.next += 1;
            if line.share.take(Arc::clone(cluster), waiter) {
                return self.place(cluster);
            }
            let (sender, receiver) = oneshot::channel();
            line.waiting.insert(waiter, sender);
            receiver
        };
        // The line is never dropped while this waits; if it were, one check too many would be no harm.
        receiver.await.unwrap_or_else(|_| self.place(cluster))
    }

    fn place(&self, cluster: &Arc<str>) -> Place {
        Place { places: self.clone(), cluster: Arc::clone(cluster) }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let woken = {
            let mut line = self.places.lock();
            let next = line.share.release(&self.cluster);
            next.and_then(|(cluster, waiter)| line.waiting.remove(&waiter).map(|sender| (cluster, sender)))
        };
        if let Some((cluster, sender)) = woken {
            // One that waits no longer leaves the place with the error, which gives it back in turn.
            drop(sender.send(self.places.place(&cluster)));
        }
    }
}
