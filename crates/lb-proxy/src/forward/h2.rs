//! Attempts over HTTP/2: a stream on a connection that many requests share.

use super::protocol::{Attempt, Protocol};
use super::silence;
use crate::exchange::Body;
use crate::message::ResponseHead;
use crate::rules::login;
use crate::upstream::h2::Call;
use crate::upstream::{AttemptError, Full, Lease};

/// An attempt over HTTP/2.
pub(super) struct Http2 {
    /// The request has a connection of its own.
    is_alone: bool,
}

impl Protocol for Http2 {
    type Call = Call;

    fn new(attempt: Attempt<'_>) -> Self {
        // What the endpoint may tie to the connection must reach no other request.
        Self { is_alone: login::has_credentials(&attempt.request.exchange.head) }
    }

    async fn begin(&mut self, attempt: Attempt<'_>) -> Result<Call, AttemptError> {
        let Attempt { endpoint, request, .. } = attempt;
        let limit = request.route().options.timeout.connect;
        let lease = async || match self.is_alone {
            false => endpoint.lease(request.exchange.connection().worker, limit).await,
            true => endpoint.lease_alone(limit).await,
        };
        let mut leased = silence::connecting(attempt, lease()).await?;
        if leased.as_ref().is_err_and(|failure| Full::of(failure.error()).is_some()) {
            attempt.admit()?;
            leased = silence::connecting(attempt, lease()).await?;
        }
        let lease: Lease = leased.map_err(|failure| AttemptError::connecting(failure.error(), endpoint))?;
        let scheme = if endpoint.tls().is_some() { "https" } else { "http" };
        Call::new(lease, &request.exchange.head, &attempt.edits(), scheme, request.body.clone()).await
    }

    fn on_resend(&mut self, is_last: bool) {
        // An endpoint that sends GOAWAY after a few requests leaves out those that come late on a connection. On a connection of its
        // own, the last sending does not depend on luck.
        self.is_alone |= is_last;
    }

    fn body(call: Call, head: &ResponseHead, _: Attempt<'_>) -> Option<Body> {
        if head.status() == 101 {
            return call.into_tunnel().map(Body::Tunnel);
        }
        Some(call.into_body(head).map_or(Body::Empty, Body::Source))
    }
}
