//! Outlier detection of a cluster, and what is logged and counted of it.

use std::sync::Arc;

use lb_core::Axis;
use lb_policy::{Cluster, Identity};
use lb_tower::{Passive, Transition};

use super::EndpointService;
use crate::observe::app_log::{self, Subject};

/// Outlier detection of a cluster.
pub(crate) type Outliers = Passive<EndpointService, EjectionReporter>;

/// Logs and counts the transitions of outlier detection.
pub(crate) struct EjectionReporter {
    cluster: Arc<str>,
    members: Cluster<EndpointService>,
}

impl EjectionReporter {
    pub(crate) fn new(cluster: Arc<str>, members: Cluster<EndpointService>) -> Self {
        Self { cluster, members }
    }
}

impl lb_tower::Watch for EjectionReporter {
    fn on_transition(&self, endpoint: &Identity, transition: Transition) {
        let resolved = (endpoint.name != endpoint.address).then_some(&*endpoint.address);
        let subject = Subject { cluster: &self.cluster, endpoint: &endpoint.name, resolved };
        let members = self.members.endpoints();
        let known = members.iter().find(|known| known.identity() == endpoint);
        match transition {
            Transition::Ejected { eject_for, failures, window, last } => {
                let noun = if failures.get() == 1 { "failure" } else { "failures" };
                let why = format!("{failures} {noun} in {window:?}, the last a {}", last.name());
                if let Some(known) = known {
                    let upstream = &known.value().upstream;
                    upstream.metrics.on_ejection();
                    upstream.ejected_for.store(Some(Arc::new(why.clone())));
                }
                app_log::endpoint_ejected(subject, eject_for, why);
            }
            Transition::Readmitted => {
                let others: Vec<Axis> = known.map_or_else(Vec::new, |known| known.state().reasons().collect());
                app_log::endpoint_up(subject, "its ejection is over", &others);
            }
            Transition::Spared { last } => {
                let cluster = &self.cluster;
                let name = &endpoint.name;
                tracing::warn!(
                    "endpoint {name} is failing ({}) and not ejected: too few others of cluster {cluster} are left",
                    last.name()
                );
            }
        }
    }
}
