//! Outlier detection of a cluster, and the events of it.

use std::sync::Arc;

use lb_core::Axis;
use lb_policy::{Cluster, Identity};
use lb_tower::{Passive, Transition};

use super::EndpointService;
use crate::events::{Event, Events, Subject};
use crate::net::clock;

/// Outlier detection of a cluster.
pub(crate) type Outliers = Passive<EndpointService, EjectionReporter>;

/// Emits the transitions of outlier detection.
pub(crate) struct EjectionReporter {
    cluster: Arc<str>,
    members: Cluster<EndpointService>,
    events: Arc<Events>,
}

impl EjectionReporter {
    pub(crate) fn new(cluster: Arc<str>, members: Cluster<EndpointService>, events: Arc<Events>) -> Self {
        Self { cluster, members, events }
    }
}

impl lb_tower::Watch for EjectionReporter {
    fn on_transition(&self, endpoint: &Identity, transition: Transition) {
        let resolved = (endpoint.name != endpoint.address).then(|| endpoint.address.to_string());
        let subject = Subject { cluster: Arc::clone(&self.cluster), endpoint: Arc::clone(&endpoint.name), resolved };
        let members = self.members.endpoints();
        let known = members.iter().find(|known| known.identity() == endpoint);
        let others = |own: &[Axis]| -> Vec<Axis> {
            known.map_or_else(Vec::new, |known| known.state().reasons().filter(|axis| !own.contains(axis)).collect())
        };
        let event = match transition {
            Transition::Ejected { eject_for, failures, window, last, evidence } => {
                let noun = if failures.get() == 1 { "failure" } else { "failures" };
                let counted = evidence.map_or_else(|| format!("{failures} {noun} in {window:?}"), |it| it.to_string());
                let why = format!("{counted}, the last a {}", last.name());
                Event::Ejected { endpoint: subject, eject_for, why, others: others(&[Axis::Ejected]) }
            }
            Transition::Readmitted => Event::Readmitted { endpoint: subject, others: others(&[]) },
            Transition::CoolingDown { length, status } => {
                Event::CoolingDown { endpoint: subject, length, status, others: others(&[Axis::CoolDown]) }
            }
            Transition::CooledDown => Event::CooledDown { endpoint: subject, others: others(&[]) },
            Transition::Suspected { silent_for } => {
                Event::Suspected { endpoint: subject, silent_for, others: others(&[]) }
            }
            Transition::Cleared => Event::Cleared { endpoint: subject, others: others(&[]) },
            Transition::Spared { last } => Event::Spared { endpoint: subject, last: last.name() },
        };
        if let Some(known) = known {
            known.value().upstream.chronicle.on_event(&event, clock::mono());
        }
        self.events.emit(event);
    }
}
