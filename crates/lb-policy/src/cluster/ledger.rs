//! The endpoints that a cluster knows, members or not.
//!
//! Discovery forgets and remembers: a container restarts, a name briefly resolves to half of its addresses. What was
//! learned about an endpoint must survive that, and yet not for ever: a fleet that changes its addresses daily would fill
//! the memory. So a removed endpoint is remembered until ten minutes after its last ticket, and never more than four
//! times as many of them (at least 1 024) as there are members.
//!
//! What happens to the axes of one that comes back:
//!
//! | axes                              | on return | because                                                          |
//! |-----------------------------------|-----------|------------------------------------------------------------------|
//! | drain, drain ordered, maintenance, other | kept | an order holds until it is taken back                            |
//! | ejected, breaker                  | kept      | a verdict with a timer; its owner can still clear it by its uid  |
//! | check, unresolved, not ready      | cleared   | its observer has stopped; the new one starts over                 |
//! | weight zero, removed              | set again | they follow from the update                                      |

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lb_core::{Axis, EndpointState, InFlightLimit, Mono, Weight};

use crate::estimate::ladder::{Ladders, Lane};
use crate::identity::{Identity, Uid};
use crate::index::Index;

/// How long a removed endpoint is remembered after its last ticket.
pub(crate) const REMEMBER: Duration = Duration::from_secs(600);
const REMEMBER_AT_LEAST: usize = 1_024;
const REMEMBER_PER_MEMBER: usize = 4;

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    uids: BTreeMap<Identity, Uid>,
    known: BTreeMap<Uid, Known>,
    ladders: Ladders,
    /// A policy picks by the fewest requests in flight.
    is_mirrored: bool,
    last_uid: u64,
}

#[derive(Debug)]
pub(crate) struct Known {
    identity: Identity,
    pub(crate) state: Arc<EndpointState>,
    lane: Lane,
    /// Its place in the published list, if it is a member.
    pub(crate) place: Option<Index>,
    /// When it was found to be neither a member nor in use.
    idle_since: Option<Mono>,
}

/// An identity that was looked up, and whether it had been away or never seen.
pub(crate) struct Found {
    pub(crate) uid: Uid,
    pub(crate) state: Arc<EndpointState>,
    pub(crate) lane: Lane,
    pub(crate) joins: bool,
}

impl Ledger {
    pub(crate) fn uid_of(&self, identity: &Identity) -> Option<Uid> {
        self.uids.get(identity).copied()
    }

    pub(crate) fn known(&self, uid: Uid) -> Option<&Known> {
        self.known.get(&uid)
    }

    /// The endpoint of this identity, made if it is unknown; then its lane is among those of this weight. It is not yet a member.
    pub(crate) fn find_or_make(&mut self, identity: &Identity, weight: Weight) -> Found {
        if let Some((uid, known)) = self.uid_of(identity).and_then(|uid| Some((uid, self.known.get(&uid)?))) {
            let joins = known.place.is_none();
            if joins {
                for axis in [Axis::Removed, Axis::Check, Axis::Unresolved, Axis::NotReady] {
                    known.state.set(axis, false);
                }
            }
            return Found { uid, state: Arc::clone(&known.state), lane: known.lane.clone(), joins };
        }
        self.last_uid += 1;
        let uid = Uid::new(self.last_uid);
        let state = Arc::new(EndpointState::new(InFlightLimit::NONE));
        let lane = self.ladders.take(weight.value());
        if self.is_mirrored {
            lane.mirror(&state);
        }
        self.uids.insert(identity.clone(), uid);
        let known = Known {
            identity: identity.clone(),
            state: Arc::clone(&state),
            lane: lane.clone(),
            place: None,
            idle_since: None,
        };
        self.known.insert(uid, known);
        Found { uid, state, lane, joins: true }
    }

    /// From now on the requests in flight of all endpoints are mirrored on the ladders, including endpoints that join later.
    pub(crate) fn mirror(&mut self) {
        if !self.is_mirrored {
            self.known.values().for_each(|known| known.lane.mirror(&known.state));
            self.is_mirrored = true;
        }
    }

    pub(crate) fn is_mirrored(&self) -> bool {
        self.is_mirrored
    }

    /// These are the members now, in this order; all others are removed.
    pub(crate) fn commit(&mut self, members: impl Iterator<Item = Uid>, now: Mono) {
        let mut gone: BTreeMap<Uid, ()> =
            self.known.iter().filter(|(_, known)| known.place.is_some()).map(|(&uid, _)| (uid, ())).collect();
        for (uid, place) in members.zip(0..) {
            gone.remove(&uid);
            if let Some(known) = self.known.get_mut(&uid) {
                known.place = Some(Index::new(place));
                known.idle_since = None;
            }
        }
        for uid in gone.into_keys() {
            if let Some(known) = self.known.get_mut(&uid) {
                known.place = None;
                known.state.set(Axis::Removed, true);
            }
        }
        self.forget(now);
    }

    /// Forgets endpoints that have been away for long enough.
    pub(crate) fn forget(&mut self, now: Mono) {
        let mut away = Vec::new();
        let mut old = Vec::new();
        for (&uid, known) in self.known.iter_mut().filter(|(_, known)| known.place.is_none()) {
            if known.state.in_flight() > 0 {
                known.idle_since = None;
                continue;
            }
            let since = *known.idle_since.get_or_insert(now);
            if now.saturating_since(since) >= REMEMBER { old.push(uid) } else { away.push((since, uid)) }
        }
        let members = self.known.len() - away.len() - old.len();
        let most = REMEMBER_AT_LEAST.max(members.saturating_mul(REMEMBER_PER_MEMBER));
        let surplus = away.len().saturating_sub(most);
        if surplus > 0 {
            away.sort_unstable();
        }
        for uid in old.into_iter().chain(away.into_iter().take(surplus).map(|(_, uid)| uid)) {
            if let Some(known) = self.known.remove(&uid) {
                self.uids.remove(&known.identity);
                self.ladders.give_back(&known.lane);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(ledger: &mut Ledger, names: &[&str], now: Mono) -> Vec<Found> {
        let found: Vec<_> =
            names.iter().map(|&name| ledger.find_or_make(&Identity::literal(name), Weight::ONE)).collect();
        ledger.commit(found.iter().map(|found| found.uid), now);
        found
    }

    #[test]
    fn it_remembers_until_ten_minutes_after_the_last_ticket() {
        let mut ledger = Ledger::default();
        let state = join(&mut ledger, &["a"], Mono::ZERO).remove(0).state;
        let _ = state.acquire();
        join(&mut ledger, &[], Mono::ZERO);
        ledger.forget(Mono::ZERO.saturating_add(REMEMBER * 5));
        assert_eq!(ledger.len(), 1, "in use");
        state.release();
        let last = Mono::ZERO.saturating_add(REMEMBER * 6);
        ledger.forget(last);
        ledger.forget(last.saturating_add(REMEMBER - Duration::from_nanos(1)));
        assert_eq!(ledger.len(), 1);
        ledger.forget(last.saturating_add(REMEMBER));
        assert_eq!(ledger.len(), 0);
        let again = join(&mut ledger, &["a"], last).remove(0);
        assert!(again.joins && again.uid == Uid::new(2) && again.state.is_eligible());
    }

    #[test]
    fn it_stays_bounded_and_forgets_the_oldest_first() {
        let mut ledger = Ledger::default();
        for n in 0..3_000_u64 {
            join(&mut ledger, &[&format!("e{n}")], Mono::from_millis(n));
        }
        join(&mut ledger, &[], Mono::from_millis(3_000));
        assert_eq!(ledger.len(), REMEMBER_AT_LEAST);
        assert!(ledger.uid_of(&Identity::literal("e2999")).is_some());
        assert!(ledger.uid_of(&Identity::literal("e0")).is_none());
    }

    #[test]
    fn a_returning_endpoint_keeps_orders_and_verdicts_but_no_stale_observation() {
        let mut ledger = Ledger::default();
        let state = join(&mut ledger, &["a"], Mono::ZERO).remove(0).state;
        for axis in Axis::ALL {
            state.set(axis, true);
        }
        state.set(Axis::WeightZero, false);
        join(&mut ledger, &[], Mono::ZERO);
        let again = join(&mut ledger, &["a"], Mono::ZERO).remove(0);
        assert!(again.joins && Arc::ptr_eq(&again.state, &state));
        let kept: Vec<_> = state.reasons().collect();
        assert_eq!(
            kept,
            [
                Axis::Drain,
                Axis::DrainOrdered,
                Axis::Maintenance,
                Axis::Ejected,
                Axis::Breaker,
                Axis::CoolDown,
                Axis::Other
            ]
        );
    }
}
