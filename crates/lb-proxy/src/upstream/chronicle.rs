//! What has happened to an endpoint lately, for the status page: why it is in its state, and how often it left it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lb_core::Mono;
use lb_health::Recent;

use crate::events::Event;

/// What has happened to one endpoint.
#[derive(Default)]
pub(crate) struct Chronicle {
    /// What came of its attempts; written on the request path.
    pub(crate) outcomes: Recent,
    told: Mutex<Told>,
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
