//! Limit: what a request must keep to before an endpoint is looked for, and what the endpoint will be told.
//!
//! The rate limit comes first, before whatever the route does: a redirect and a fixed answer are limited as well.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lb_ratelimit::Verdict;

use crate::downstream::{RequestBody, RequestBodyState};
use crate::exchange::Exchange;
use crate::exchange::Request;
use crate::message::{Edits, Framing, Version};
use crate::net::clock;
use crate::rules::cause::Cause;
use crate::rules::client_cert;
use crate::rules::forwarded::{self, ForwardedHeaderCache};
use crate::rules::limit_key;
use crate::rules::sticky::AffinityHint;
use crate::rules::template::{Place, fill};
use crate::runtime::snapshot::{HashKey, RouteRuntime};

/// What a request takes along: what is to be different about its head, what its cookie says, and what a policy is to hash.
type Admitted = (Edits, Option<AffinityHint>, Option<Bytes>);

/// Leaves an offer to switch protocols out where the route does not allow it (RFC 9110 §7.8 lets us). In HTTP/2 the
/// request is nothing but the offer (RFC 8441), and is refused.
pub(crate) fn keep_to_upgrades(exchange: &mut Exchange) -> Result<(), Cause> {
    let Some(protocol) = exchange.head.upgrade() else { return Ok(()) };
    if exchange.may_upgrade_to(protocol) {
        return Ok(());
    }
    if exchange.head.version() == Version::Http2 {
        return Err(Cause::NotImplemented);
    }
    exchange.head = exchange.head.without_upgrade();
    Ok(())
}

/// Checks the announced length and prepares head and body.
pub(crate) fn admit(exchange: &Exchange, cache: &mut Option<Box<ForwardedHeaderCache>>) -> Result<Admitted, Cause> {
    let route = exchange.route().ok_or(Cause::Internal)?;
    let framing = exchange.head.framing();
    let limit = route.options.body_limit;
    let keep = route.options.retry.as_ref().map_or(0, |retry| retry.body_limit);
    if !framing.is_empty() {
        exchange.client.expect(RequestBodyState::new(framing, limit, keep, exchange.head.expects_continue()));
    }
    if let (Framing::Length(length), Some(limit)) = (framing, limit)
        && length > limit
    {
        return Err(Cause::BodyTooLarge);
    }
    let stuck = route.sticky.as_ref().and_then(|sticky| sticky.read(&exchange.head, clock::unix_ms() / 1000));
    let mut edits = Edits::new();
    let (kinds, origin, head) = (route.options.forwarded, &exchange.origin, &exchange.head);
    let certificate = exchange.connection().certificate_lines();
    if origin.is_trusted || certificate.is_some() || forwarded::has_claims(head) {
        forwarded::write(kinds, origin, head, &mut edits);
        client_cert::write(certificate, origin.is_trusted, head, &mut edits);
        exchange.id.write(&mut edits);
    } else {
        edits.extend(ForwardedHeaderCache::write(cache, kinds, exchange.snapshot.shared.generation, origin, head));
        exchange.id.write_new(&mut edits);
    }
    if !route.edits_differ_by_endpoint {
        route.request_headers.apply(&exchange.facts(Some(route)), &mut edits);
    }
    Ok((edits, stuck, key_of(exchange, route)))
}

/// Counts the request against the limit of its route; the time until it would pass where it does not.
pub(crate) fn refused_for(exchange: &Exchange, route: &RouteRuntime) -> Option<Duration> {
    let (limiter, limit) = (route.limiter.as_ref()?, route.options.rate_limit.as_ref()?);
    // Only routes with a limit allocate it.
    let mut key = Vec::with_capacity(KEY_BYTES);
    limit_key::write(&limit.key, &exchange.facts(Some(route)), &mut key);
    match limiter.check(&key, clock::mono()) {
        Verdict::Pass => None,
        Verdict::Refuse { retry_after } => Some(retry_after),
    }
}

/// Room for most keys.
const KEY_BYTES: usize = 64;

/// The request as the stack takes it.
pub(crate) fn request(exchange: Arc<Exchange>, route: usize) -> Request {
    let body = (!exchange.head.framing().is_empty()).then(|| RequestBody::new(exchange.clone()));
    Request { exchange, route, body, tried: None }
}

/// What a hashing policy is to hash.
fn key_of(exchange: &Exchange, route: &RouteRuntime) -> Option<Bytes> {
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
