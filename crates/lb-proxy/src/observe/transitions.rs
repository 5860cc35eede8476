//! Events as transitions of an endpoint from one state to another.
//!
//! Each reason to keep requests from an endpoint comes and goes by itself, and the state is the first of those that hold
//! ([`State::of`]). So an event is a step of one reason, and with the other ones that hold it is a step between two states;
//! of an endpoint that is down and ejected, the end of the ejection is a step from `down` to `down`.

use lb_core::Axis;

use super::status::State;
use crate::events::{Event, Subject};

/// A step of an endpoint.
#[derive(Debug, PartialEq)]
pub(super) struct Transition<'a> {
    pub(super) endpoint: &'a Subject,
    pub(super) from: State,
    pub(super) to: State,
    /// What has changed: `check`, `outlier`, `back_pressure`, `silence`, or the name of an axis.
    pub(super) reason: &'static str,
}

impl<'a> Transition<'a> {
    /// `None` for what is none of an endpoint.
    pub(super) fn of(event: &'a Event) -> Option<Self> {
        let (endpoint, axis, on, others, reason) = match event {
            Event::CheckedDown { endpoint, others, .. } => (endpoint, Axis::Check, true, others, "check"),
            Event::CheckedUp { endpoint, others, .. } => (endpoint, Axis::Check, false, others, "check"),
            Event::Ejected { endpoint, others, .. } => (endpoint, Axis::Ejected, true, others, "outlier"),
            Event::Readmitted { endpoint, others } => (endpoint, Axis::Ejected, false, others, "outlier"),
            Event::CoolingDown { endpoint, others, .. } => (endpoint, Axis::CoolDown, true, others, "back_pressure"),
            Event::CooledDown { endpoint, others } => (endpoint, Axis::CoolDown, false, others, "back_pressure"),
            Event::Declared { endpoint, axis, on, others } => (endpoint, *axis, *on, others, axis.name()),
            Event::Suspected { endpoint, others, .. } => return Some(Self::silence(endpoint, true, others)),
            Event::Cleared { endpoint, others } => return Some(Self::silence(endpoint, false, others)),
            _ => return None,
        };
        let without = State::of(others);
        let mut all = others.clone();
        all.push(axis);
        let with = State::of(&all);
        let (from, to) = if on { (without, with) } else { (with, without) };
        Some(Self { endpoint, from, to, reason })
    }

    /// A suspicion is no axis: an endpoint under suspicion takes requests, one at a time.
    fn silence(endpoint: &'a Subject, on: bool, others: &[Axis]) -> Self {
        let without = State::of(others);
        let with = if without == State::Up { State::Suspected } else { without };
        let (from, to) = if on { (without, with) } else { (with, without) };
        Self { endpoint, from, to, reason: "silence" }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn subject() -> Subject {
        Subject { cluster: "app".into(), endpoint: "a:1".into(), resolved: None }
    }

    fn step(event: &Event) -> (State, State, &'static str) {
        let transition = Transition::of(event).expect("an endpoint's");
        (transition.from, transition.to, transition.reason)
    }

    #[test]
    fn a_step_is_between_the_states_that_the_other_reasons_leave() {
        let endpoint = subject;
        let why = String::new;
        let ejected = |others| Event::Ejected { endpoint: endpoint(), eject_for: Duration::ZERO, why: why(), others };
        assert_eq!(step(&ejected(vec![])), (State::Up, State::Ejected, "outlier"));
        assert_eq!(step(&ejected(vec![Axis::Check])), (State::Down, State::Down, "outlier"));
        assert_eq!(step(&ejected(vec![Axis::CoolDown])), (State::Cooling, State::Ejected, "outlier"));
        let readmitted = |others| Event::Readmitted { endpoint: endpoint(), others };
        assert_eq!(step(&readmitted(vec![])), (State::Ejected, State::Up, "outlier"));
        assert_eq!(step(&readmitted(vec![Axis::Maintenance])), (State::Maintenance, State::Maintenance, "outlier"));
        let up = |others| Event::CheckedUp { endpoint: endpoint(), why: why(), others };
        assert_eq!(step(&up(vec![Axis::Ejected])), (State::Down, State::Ejected, "check"));
        let drained = Event::Declared { endpoint: endpoint(), axis: Axis::DrainOrdered, on: true, others: vec![] };
        assert_eq!(step(&drained), (State::Up, State::Drain, "drain_ordered"));
    }

    #[test]
    fn a_suspicion_shows_only_where_nothing_else_does() {
        let suspected = |others| Event::Suspected { endpoint: subject(), silent_for: Duration::ZERO, others };
        assert_eq!(step(&suspected(vec![])), (State::Up, State::Suspected, "silence"));
        assert_eq!(step(&suspected(vec![Axis::Drain])), (State::Drain, State::Drain, "silence"));
        let cleared = Event::Cleared { endpoint: subject(), others: vec![] };
        assert_eq!(step(&cleared), (State::Suspected, State::Up, "silence"));
        assert_eq!(Transition::of(&Event::Reloaded { generation: 1 }), None);
        assert_eq!(Transition::of(&Event::Spared { endpoint: subject(), last: "reset" }), None, "it stays what it is");
    }
}
