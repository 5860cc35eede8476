//! When a response is given up.

use std::task::{Context, Poll};
use std::time::Duration;

use lb_core::End;
use tokio::time::Instant;

use super::{OWN_RESPONSE_IDLE, Written};
use crate::exchange::Exchange;
use crate::message::{ResponseHead, name};
use crate::net::Timer;
use crate::net::timer::far;
use crate::rules::cause::Cause;

/// When a response is given up.
pub(super) struct Limits {
    /// Longest pause on either side.
    idle: Duration,
    /// When the whole request must be over.
    deadline: Option<Instant>,
}

impl Limits {
    /// Those of the route, for a response of an endpoint. A stream of server-sent events has no deadline, but a gRPC call keeps
    /// the one that its client set.
    pub(super) fn of(exchange: &Exchange, head: &ResponseHead, is_own: bool) -> Self {
        let Some(route) = exchange.route().filter(|_| !is_own) else {
            return Self { idle: OWN_RESPONSE_IDLE, deadline: None };
        };
        let timeouts = &route.options.timeout;
        let is_stream = head.header(name::CONTENT_TYPE).is_some_and(|kind| kind.starts_with(b"text/event-stream"));
        let total = timeouts.total.filter(|_| !is_stream).into_iter().chain(exchange.grpc_timeout).min();
        Self { idle: timeouts.idle, deadline: total.map(|total| far(exchange.started, total)) }
    }

    pub(super) fn poll(&self, cx: &mut Context<'_>, timer: &mut Timer, client_is_slow: bool) -> Poll<Written> {
        if timer.poll_after(cx, self.idle).is_ready() {
            // A client that stopped reading may start again: what was cut must not look whole to it, and must not wait
            // in the kernel for it either.
            let end = if client_is_slow { End::Cancelled } else { End::UpstreamAborted };
            return Poll::Ready((end, Some(Cause::IdleTimeout)));
        }
        match self.deadline {
            Some(deadline) => timer.poll_until(cx, deadline).map(|()| (End::Cancelled, Some(Cause::TotalTimeout))),
            None => Poll::Pending,
        }
    }
}
