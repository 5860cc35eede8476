//! What active checks find, on its way to selection.

use std::sync::{Arc, Weak};
use std::time::Duration;

use lb_core::Axis;

use super::tracker::StatusTracker;
use crate::drivers::Identity;
use crate::drivers::checks::Targets;
use crate::events::Event;

/// Passes the results of active checks on to selection.
pub(super) struct CheckResults {
    pub(super) tracker: Weak<StatusTracker>,
}

impl Targets for CheckResults {
    fn on_checked(&self, endpoint: &Identity, is_up: bool) -> Vec<Axis> {
        self.set(endpoint, is_up).unwrap_or_default()
    }

    fn emit(&self, endpoint: &Identity, event: Event) {
        let Some(tracker) = self.tracker.upgrade() else { return };
        if let Some(snapshot) = tracker.snapshot.load_full()
            && let Some(cluster) = snapshot.clusters.iter().find(|cluster| cluster.name == endpoint.cluster)
        {
            let identity = lb_policy::Identity::new(Arc::clone(&endpoint.endpoint), endpoint.address.to_string());
            let members = cluster.members.endpoints();
            if let Some(known) = members.iter().find(|known| *known.identity() == identity) {
                known.value().upstream.chronicle.on_event(&event, tracker.shared.now());
            }
        }
        tracker.shared.events.emit(event);
    }

    fn on_result(&self, endpoint: &Identity, passed: bool, took: Duration) {
        let Some(tracker) = self.tracker.upgrade() else { return };
        let Some(snapshot) = tracker.snapshot.load_full() else { return };
        let Some(cluster) = snapshot.clusters.iter().find(|cluster| cluster.name == endpoint.cluster) else { return };
        // Most of the time none is ejected, and thousands of checks a second need not look for their endpoint.
        let Some(passive) = cluster.passive.as_ref().filter(|passive| passive.ejected() > 0) else { return };
        let identity = lb_policy::Identity::new(Arc::clone(&endpoint.endpoint), endpoint.address.to_string());
        if let Some(uid) = cluster.members.uid_of(&identity) {
            let now = tracker.shared.now();
            passive.on_check(uid, passed, now.saturating_sub(took), now);
        }
    }
}

impl CheckResults {
    fn set(&self, endpoint: &Identity, is_up: bool) -> Option<Vec<Axis>> {
        let tracker = self.tracker.upgrade()?;
        let snapshot = tracker.snapshot.load_full()?;
        let cluster = snapshot.clusters.iter().find(|cluster| cluster.name == endpoint.cluster)?;
        let identity = lb_policy::Identity::new(Arc::clone(&endpoint.endpoint), endpoint.address.to_string());
        let uid = cluster.members.uid_of(&identity)?;
        cluster.members.set(uid, Axis::Check, !is_up, tracker.shared.now());
        let members = cluster.members.endpoints();
        let known = members.iter().find(|known| known.uid() == uid)?;
        Some(known.state().reasons().filter(|&axis| axis != Axis::Check).collect())
    }
}
