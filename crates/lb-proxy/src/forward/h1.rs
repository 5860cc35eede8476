//! Attempts over HTTP/1: a connection of its own for each request, kept or made.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;

use super::opening::Opening;
use super::protocol::{Attempt, Protocol};
use super::silence;
use crate::downstream::WriteBuffer;
use crate::exchange::Body;
use crate::exchange::Exchange;
use crate::message::ResponseHead;
use crate::net::clock;
use crate::rules::login;
use crate::upstream::h1::{Call, Owner, Upload};
use crate::upstream::{AttemptError, Bound, Connection};
use crate::wire::h1;
use crate::wire::proxy_protocol::{self, ProxyHeader};

/// An attempt over HTTP/1.
pub(super) struct Http1 {
    /// A connection ended under the request: from then on it has a new one, so that there is one resend at most.
    is_again: bool,
}

impl Protocol for Http1 {
    type Call = Call;

    fn new(_: Attempt<'_>) -> Self {
        Self { is_again: false }
    }

    async fn begin(&mut self, attempt: Attempt<'_>) -> Result<Call, AttemptError> {
        let request = attempt.request;
        let mut opening = None;
        let mut reused = None;
        if !self.is_again {
            if request.exchange.is_multiplexed {
                attempt.admit()?;
            }
            // A client that gives up while the end of its body is waited for must not have cost a connection.
            if Opening::has_to_wait(request) {
                opening = Some(Box::new(Opening::found(request).await?));
            }
            reused = kept(attempt);
        }
        let mut connection = match reused {
            Some(connection) => connection,
            None => connect(attempt).await?,
        };
        connection.begin();
        connection.is_bound |= login::has_credentials(&request.exchange.head);
        let opening = match opening {
            Some(opening) => *opening,
            None if Opening::is_vague(request) => Opening::found(request).await?,
            None => Opening::announced(request),
        };
        let changes = !request.exchange.head.method().is_safe();
        Ok(Call::new(attempt.endpoint, connection, upload(attempt, opening), changes))
    }

    fn on_resend(&mut self, _: bool) {
        self.is_again = true;
    }

    fn body(call: Call, head: &ResponseHead, attempt: Attempt<'_>) -> Option<Body> {
        if head.status() == 101 {
            return call.into_tunnel().map(Body::Tunnel);
        }
        let exchange = &attempt.request.exchange;
        Some(
            call.into_body(&exchange.head, head, exchange.connection().worker, || owner(attempt))
                .map_or(Body::Empty, Body::Source),
        )
    }
}

/// An idle connection: the client's own, if it has one, or one of the endpoint's pool.
fn kept(attempt: Attempt<'_>) -> Option<Box<Connection>> {
    let Attempt { endpoint, request, .. } = attempt;
    let exchange = &request.exchange;
    let now = clock::mono();
    let bound = exchange.bound_affinity.and_then(|_| Bound::take(&exchange.client, endpoint, now));
    bound.or_else(|| {
        // A body may outgrow what is kept of it, and then cannot be sent again either.
        let is_only_chance = request.body.is_some() || !request.is_repeatable();
        endpoint.checkout(exchange.connection().worker, is_only_chance, now)
    })
}

/// Makes a connection.
async fn connect(attempt: Attempt<'_>) -> Result<Box<Connection>, AttemptError> {
    let Attempt { endpoint, request, .. } = attempt;
    let limit = request.route().options.timeout.connect;
    let proxy_header = endpoint.proxy_protocol().map(|version| proxy_header(version, &request.exchange));
    attempt.admit()?;
    let made = endpoint.make(request.exchange.connection().worker, limit, proxy_header);
    let made = silence::connecting(attempt, made).await?;
    made.map_err(|error| AttemptError::connecting(&error, endpoint))
}

/// The client's address, for an endpoint that reads PROXY headers. A client on a Unix socket has none.
#[cold]
fn proxy_header(version: proxy_protocol::Version, exchange: &Exchange) -> BytesMut {
    let said = match (exchange.connection().peer, exchange.connection().local) {
        (Some(from), Some(to)) => {
            // A listener on `[::]` sees IPv4 within IPv6.
            let [from, to] = [from, to].map(|end| SocketAddr::new(end.ip().to_canonical(), end.port()));
            ProxyHeader::Client { from, to }
        }
        _ => ProxyHeader::Nothing,
    };
    let mut header = BytesMut::new();
    proxy_protocol::write(&mut header, version, said);
    header
}

/// The client that a connection to which a login is tied belongs to.
fn owner(attempt: Attempt<'_>) -> Owner {
    let Attempt { request, affinity, .. } = attempt;
    let cluster = request.route().cluster().map_or_else(|| Arc::from(""), |cluster| Arc::clone(&cluster.name));
    Owner { client: request.exchange.client.clone(), cluster, affinity }
}

/// Begins with the head as this endpoint is to receive it.
fn upload(attempt: Attempt<'_>, opening: Opening) -> Upload {
    let head = &attempt.request.exchange.head;
    let Opening { framing, first, body } = opening;
    let connection = if head.upgrade().is_some() { h1::Connection::Upgrade } else { h1::Connection::Implicit };
    let mut out = WriteBuffer::default();
    h1::encode_request(out.front(), head, &attempt.edits(), framing, connection);
    let mut upload = Upload::new(out, framing, body);
    if let Some(frame) = first {
        upload.push(frame);
    }
    upload
}
