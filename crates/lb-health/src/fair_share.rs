//! Places for checks, shared fairly between clusters.
//!
//! Checks under way are bounded, or a network that drops packets would hold all file descriptors. With one line for all,
//! a large cluster that is dead holds every place for a whole timeout, again and again: five thousand endpoints whose
//! SYNs are dropped left a healthy cluster with interval 1 s gaps of 5 to 20 s between its checks. Here
//!
//! - a place that becomes free goes to the cluster that holds the fewest (max-min fairness), first come first served
//!   within it;
//! - where several clusters check, none holds more than seven of eight places, so that another finds one without waiting
//!   for a timeout. Where there is one place, it may have that.
//!
//! Pure: it hands out numbers of waiters, and the caller wakes them.

use std::collections::{BTreeMap, VecDeque};

/// Places of clusters named by `K`. Costs O(clusters that check or wait) where somebody waits, else O(log of these).
#[derive(Debug)]
pub struct FairShare<K> {
    places: usize,
    in_use: usize,
    is_shared: bool,
    clusters: BTreeMap<K, Cluster>,
}

#[derive(Debug, Default)]
struct Cluster {
    in_use: usize,
    waiting: VecDeque<u64>,
}

impl<K: Ord + Clone> FairShare<K> {
    /// So many places; zero is taken as one.
    #[must_use]
    pub fn new(places: usize) -> Self {
        Self { places: places.max(1), in_use: 0, is_shared: true, clusters: BTreeMap::new() }
    }

    /// Whether there is more than one cluster; default yes. The only one may have all places.
    pub fn set_shared(&mut self, shared: bool) {
        self.is_shared = shared;
    }

    /// Asks for a place; if there is none, `waiter` waits for [`release`](Self::release) to name it.
    #[must_use = "a place that was taken must be given back"]
    pub fn take(&mut self, cluster: K, waiter: u64) -> bool {
        let (is_free, limit) = (self.in_use < self.places, self.limit());
        let cluster = self.clusters.entry(cluster).or_default();
        // Those that wait do so although a place is free only because of the limit of their own cluster.
        if is_free && cluster.in_use < limit {
            cluster.in_use += 1;
            self.in_use += 1;
            return true;
        }
        cluster.waiting.push_back(waiter);
        false
    }

    /// Gives a place back, which may go to one that waits: that one has it then.
    pub fn release(&mut self, cluster: &K) -> Option<(K, u64)> {
        let known = self.clusters.get_mut(cluster)?;
        debug_assert!(known.in_use > 0, "gave back a place that was not taken");
        known.in_use = known.in_use.saturating_sub(1);
        self.in_use = self.in_use.saturating_sub(1);
        self.forget(cluster);
        let limit = self.limit();
        let waiting = self.clusters.iter_mut().filter(|(_, known)| known.in_use < limit && !known.waiting.is_empty());
        let (cluster, next) = waiting.min_by_key(|(_, known)| known.in_use)?;
        let waiter = next.waiting.pop_front()?;
        next.in_use += 1;
        self.in_use += 1;
        Some((cluster.clone(), waiter))
    }

    /// The waiter waits no longer.
    pub fn give_up(&mut self, cluster: &K, waiter: u64) {
        if let Some(known) = self.clusters.get_mut(cluster) {
            known.waiting.retain(|other| *other != waiter);
        }
        self.forget(cluster);
    }

    /// Places in use.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.in_use
    }

    fn limit(&self) -> usize {
        if self.is_shared { self.places - self.places / 8 } else { self.places }
    }

    fn forget(&mut self, cluster: &K) {
        if self.clusters.get(cluster).is_some_and(|known| known.in_use == 0 && known.waiting.is_empty()) {
            self.clusters.remove(cluster);
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn a_dead_cluster_leaves_places_for_others() {
        let mut share = FairShare::new(16);
        let taken = (0..5_000).filter(|waiter| share.take("big", *waiter)).count();
        assert_eq!(taken, 14);
        assert!(share.take("app", 9_000) && share.take("app", 9_001) && !share.take("app", 9_002));
        assert_eq!(share.release(&"big"), Some(("app", 9_002)), "it has the fewest");
        assert_eq!(share.release(&"app"), Some(("big", 14)), "first come first served");
        assert_eq!(share.in_use(), 16);
    }

    #[test]
    fn a_place_given_back_is_free_where_none_waits() {
        let mut share = FairShare::new(0);
        assert!(share.take(1, 1) && !share.take(1, 2) && !share.take(2, 3));
        share.give_up(&1, 2);
        assert_eq!(share.release(&1), Some((2, 3)));
        assert_eq!((share.release(&2), share.in_use()), (None, 0));
        assert!(share.clusters.is_empty(), "nothing is remembered");
        share.give_up(&7, 7);
    }

    #[test]
    fn the_only_cluster_may_have_all_places() {
        let mut share = FairShare::new(16);
        share.set_shared(false);
        assert_eq!((0..99).filter(|waiter| share.take("only", *waiter)).count(), 16);
    }
}
