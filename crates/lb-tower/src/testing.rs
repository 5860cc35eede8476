//! What the tests share: a cluster whose endpoints' services do as they are told.

use std::sync::Arc;

use lb_core::Mono;
use lb_policy::{Cluster, Identity, Member, Update};

/// A cluster of these services, named `a`, `b`, …
pub(crate) fn cluster_of<S: Send + Sync + 'static>(services: impl IntoIterator<Item = S>) -> Cluster<S> {
    let names = ('a'..='z').map(String::from);
    let members = names.zip(services).map(|(name, service)| Member::new(Identity::literal(name), service));
    let cluster = Cluster::new("test");
    cluster.apply(Update::Reset(members.collect()), Mono::ZERO);
    cluster
}

/// The error of an endpoint that failed like this.
#[cfg(feature = "http")]
pub(crate) fn failed_endpoint<E>(source: E) -> crate::Error<E> {
    let cluster = cluster_of([()]);
    let endpoint = Arc::clone(&cluster.endpoints()[0]);
    crate::Error::Endpoint { uid: endpoint.uid(), name: Arc::clone(&endpoint.identity().name), source }
}
