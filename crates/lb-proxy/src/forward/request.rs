//! What a request is picked and sent by, once it is clear that an endpoint is to answer it.

use std::sync::Arc;

use bytes::Bytes;

use crate::downstream::RequestBody;
use crate::exchange::{Exchange, Request};
use crate::rules::template::{Place, fill};
use crate::runtime::snapshot::{HashKey, RouteRuntime};
use crate::upstream::Bound;

/// Finds out what a pick depends on: the hash key, and the endpoint that the client has a connection of its own to.
pub(crate) fn prepare(exchange: &mut Exchange) {
    let Some(route) = exchange.route() else { return };
    let bound = route.cluster().and_then(|cluster| Bound::affinity_in(&exchange.client, &cluster.name));
    (exchange.hash_key, exchange.bound_affinity) = (hash_key(exchange, route), bound);
}

/// The request as the stack of its route takes it.
pub(crate) fn request(exchange: &Arc<Exchange>, route: usize) -> Request {
    let body = (!exchange.head.framing().is_empty()).then(|| RequestBody::new(Arc::clone(exchange) as _));
    Request { exchange: Arc::clone(exchange), route, body, tried: None }
}

/// What a hashing policy hashes.
fn hash_key(exchange: &Exchange, route: &RouteRuntime) -> Option<Bytes> {
    let key: Bytes = match route.key.as_ref()? {
        HashKey::ClientIp => match exchange.origin.client {
            std::net::IpAddr::V4(address) => Bytes::copy_from_slice(&address.octets()),
            std::net::IpAddr::V6(address) => Bytes::copy_from_slice(&address.octets()),
        },
        HashKey::Text(template) => {
            let mut text = Vec::new();
            fill(template, Place::Key, &exchange.facts(Some(route)), &mut text);
            text.into()
        }
    };
    // All requests without the cookie or header that is hashed must not end up at one endpoint.
    (!key.is_empty()).then_some(key)
}
