//! Caution short of an ejection: endpoints that cool down, and endpoints under suspicion.
//!
//! Neither is a verdict. An endpoint that asks for less is well, and gets what no other one can take; one that is silent
//! gets one request at a time, which is lost if it hangs indeed, and ends the suspicion if it does not.

use std::time::Duration;

use lb_core::{Axis, Mono};
use lb_policy::{Endpoint, Identity, Uid};

use super::{Books, Passive, Record, Shared, Transition, Watch, readable};

impl<S: Send + Sync + 'static, W: Watch> Passive<S, W> {
    /// Takes an answer by which an endpoint asks for less, and the time that it names. It then cools down. Called for every
    /// [`Class::Busy`](lb_core::Class::Busy) by itself, without a time; a caller that has read one calls it as well.
    pub fn on_back_pressure(&self, endpoint: &Endpoint<S>, status: u16, retry_after: Option<Duration>, now: Mono) {
        // While it cools, only another time could change anything.
        if retry_after.is_none() && endpoint.state().is_set(Axis::CoolDown) {
            return;
        }
        if let Some(transition) = self.shared.cool_down(endpoint, status, retry_after, now) {
            self.shared.watch.on_transition(endpoint.identity(), transition);
        }
    }

    /// Suspects an endpoint at which a request has waited for so long while it answered nothing: it gets one request at a time
    /// until one succeeds. Without effect while it is ejected or on probation, or where every other endpoint gets one at a time as well.
    pub fn suspect(&self, uid: Uid, silent_for: Duration) {
        if let Some((identity, transition)) = self.shared.suspect(uid, silent_for) {
            self.shared.watch.on_transition(&identity, transition);
        }
    }
}

impl<S: Send + Sync + 'static, W> Shared<S, W> {
    fn cool_down(
        &self,
        endpoint: &Endpoint<S>,
        status: u16,
        retry_after: Option<Duration>,
        now: Mono,
    ) -> Option<Transition> {
        if self.cluster.len() < 2 {
            return None;
        }
        let mut books = self.lock();
        let rule = self.rule.load();
        let config = rule.cool_down.as_ref().filter(|_| !books.is_closed)?;
        let uid = endpoint.uid();
        let record = books.records.entry(uid).or_insert_with(|| Record::new(endpoint.identity(), &rule.ejection));
        let until = record.cool_down.on_back_pressure(config, retry_after, now, fastrand::u64(..));
        if !record.cool_down.is_in_force(now) {
            return None;
        }
        record.is_cooling = true;
        let is_new = self.cluster.set(uid, Axis::CoolDown, true, now);
        is_new.then(|| Transition::CoolingDown { length: readable(until.saturating_since(now)), status })
    }

    fn suspect(&self, uid: Uid, silent_for: Duration) -> Option<(Identity, Transition)> {
        let mut books = self.lock();
        let endpoints = self.cluster.endpoints();
        let endpoint = endpoints.iter().find(|endpoint| endpoint.uid() == uid)?;
        let is_there = |other: &Endpoint<S>| {
            let state = other.state();
            other.uid() != uid && state.is_eligible() && !state.is_throttled()
        };
        if books.is_closed || endpoint.state().is_throttled() || !endpoints.iter().any(|other| is_there(other)) {
            return None;
        }
        let rule = self.rule.load();
        let record = books.records.entry(uid).or_insert_with(|| Record::new(endpoint.identity(), &rule.ejection));
        if record.outlier.is_ejected() || record.outlier.is_on_probation() {
            return None;
        }
        record.is_suspected = true;
        endpoint.state().throttle(true);
        Some((record.identity.clone(), Transition::Suspected { silent_for: readable(silent_for) }))
    }

    /// Ends cool-downs whose time is over, and suspicions of endpoints that have since been given all their requests.
    pub(super) fn end_caution(&self, books: &mut Books, now: Mono, changes: &mut Vec<(Identity, Transition)>) {
        let endpoints = self.cluster.endpoints();
        for (&uid, record) in books.records.iter_mut().filter(|(_, record)| record.has_caution()) {
            if record.is_cooling && !record.cool_down.is_in_force(now) {
                record.is_cooling = false;
                if self.cluster.set(uid, Axis::CoolDown, false, now) {
                    changes.push((record.identity.clone(), Transition::CooledDown));
                }
            }
            let is_throttled = || endpoints.iter().any(|known| known.uid() == uid && known.state().is_throttled());
            if record.is_suspected && !record.outlier.is_ejected() && !is_throttled() {
                record.is_suspected = false;
                changes.push((record.identity.clone(), Transition::Cleared));
            }
        }
    }
}

impl Record {
    /// Whether it cools down or is suspected.
    pub(super) fn has_caution(&self) -> bool {
        self.is_cooling || self.is_suspected
    }
}
