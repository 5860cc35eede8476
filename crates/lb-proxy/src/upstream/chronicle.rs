//! What has happened to an endpoint lately, for the status page: why it is in its state, and how often it left it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use lb_core::Mono;
use lb_health::Recent;

use crate::events::Event;
use crate::observe::status::State;

/// What has happened to one endpoint.
#[derive(Default)]
pub(crate) struct Chronicle {
    /// What came of its attempts; written on the request path.
    pub(crate) outcomes: Recent,
    told: Mutex<Told>,
    seen: Mutex<Seen>,
}

/// The endpoint as it was when somebody looked.
#[derive(Default)]
struct Seen {
    /// And since when.
    state: Option<(State, SystemTime)>,
    declared: Option<u8>,
}

/// What events have told.
#[derive(Default)]
struct Told {
    ejected: Option<String>,
    cooling: Option<String>,
    suspected: Option<String>,
    ejections: u64,
    /// When checks or traffic took it out, while nothing else did.
    flaps: VecDeque<Mono>,
}

impl Chronicle {
    /// Takes the state that the endpoint is in at this time. Answers since when it is in it, as far as anybody has looked: one that nobody
    /// has seen yet has begun just now.
    pub(crate) fn see(&self, state: State, at: SystemTime) -> SystemTime {
        let mut seen = self.seen();
        match seen.state {
            Some((known, since)) if known == state => since,
            _ => {
                seen.state = Some((state, at));
                at
            }
        }
    }

    /// Takes what is declared of the endpoint, a bit each. Answers the bits that have changed; none the first time.
    pub(crate) fn see_declared(&self, declared: u8) -> u8 {
        self.seen().declared.replace(declared).map_or(0, |before| before ^ declared)
    }

    /// Takes an event about this endpoint.
    pub(crate) fn on_event(&self, event: &Event, now: Mono) {
        let mut told = self.lock();
        match event {
            Event::Ejected { why, .. } => {
                told.ejected = Some(why.clone());
                told.ejections += 1;
            }
            Event::CoolingDown { length, status, .. } => {
                told.cooling = Some(format!("it answered {status}, cools down for {length:?}"));
            }
            Event::Suspected { silent_for, .. } => told.suspected = Some(format!("no answer for {silent_for:?}")),
            Event::Cleared { .. } | Event::Readmitted { .. } => told.suspected = None,
            _ => {}
        }
        if let Event::Ejected { others, .. } | Event::CheckedDown { others, .. } = event
            && others.is_empty()
        {
            if told.flaps.len() >= MAX_FLAPS {
                told.flaps.pop_front();
            }
            told.flaps.push_back(now);
        }
    }

    /// Why it was ejected last.
    pub(crate) fn ejected_for(&self) -> Option<String> {
        self.lock().ejected.clone()
    }

    /// Why it cools down, or did last.
    pub(crate) fn cooling_for(&self) -> Option<String> {
        self.lock().cooling.clone()
    }

    /// Why it is suspected; `None` if it is not.
    pub(crate) fn suspected_for(&self) -> Option<String> {
        self.lock().suspected.clone()
    }

    /// How often it was ejected.
    pub(crate) fn ejections(&self) -> u64 {
        self.lock().ejections
    }

    /// How often it was taken out in the hour before `now`.
    pub(crate) fn flaps(&self, now: Mono) -> usize {
        self.lock().flaps.iter().filter(|at| now.saturating_since(**at) <= FLAPS_OF).count()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const FLAPS_OF: Duration = Duration::from_secs(3_600);

const MAX_FLAPS: usize = 64;

#[cfg(test)]
mod tests {
    use lb_core::Axis;

    use super::*;
    use crate::events::Subject;

    #[test]
    fn flaps_are_those_of_the_last_hour_that_took_it_out() {
        let chronicle = Chronicle::default();
        let endpoint = || Subject { cluster: "app".into(), endpoint: "a:1".into(), resolved: None };
        let down = |others| Event::CheckedDown { endpoint: endpoint(), why: String::new(), others };
        let at = |minutes: u64| Mono::from_millis(minutes * 60_000);
        chronicle.on_event(&down(vec![]), at(0));
        chronicle.on_event(&down(vec![Axis::Ejected]), at(1));
        let why = "3 failures in 30s".to_owned();
        let ejected = Event::Ejected { endpoint: endpoint(), eject_for: FLAPS_OF, why: why.clone(), others: vec![] };
        chronicle.on_event(&ejected, at(30));
        assert_eq!([at(31), at(61), at(91)].map(|now| chronicle.flaps(now)), [2, 1, 0]);
        assert_eq!((chronicle.ejections(), chronicle.ejected_for()), (1, Some(why)));
        (0..100).for_each(|_| chronicle.on_event(&down(vec![]), at(100)));
        assert_eq!(chronicle.flaps(at(100)), MAX_FLAPS);
    }

    #[test]
    fn a_state_lasts_since_it_was_first_seen() {
        let chronicle = Chronicle::default();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let states = [(State::Up, 1), (State::Up, 2), (State::Down, 3), (State::Down, 4), (State::Up, 5)];
        assert_eq!(states.map(|(state, now)| chronicle.see(state, at(now))), [1, 1, 3, 3, 5].map(at));
        assert_eq!([5, 5, 4].map(|declared| chronicle.see_declared(declared)), [0, 0, 1]);
    }

    #[test]
    fn a_suspicion_is_told_until_it_is_over() {
        let chronicle = Chronicle::default();
        let endpoint = || Subject { cluster: "app".into(), endpoint: "a:1".into(), resolved: None };
        let silent_for = Duration::from_millis(1_200);
        chronicle.on_event(&Event::Suspected { endpoint: endpoint(), silent_for, others: vec![] }, Mono::ZERO);
        assert_eq!(chronicle.suspected_for().as_deref(), Some("no answer for 1.2s"));
        chronicle.on_event(&Event::Cleared { endpoint: endpoint(), others: vec![] }, Mono::ZERO);
        assert_eq!(chronicle.suspected_for(), None);
    }
}
