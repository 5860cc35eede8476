//! What an attempt consists of, and what it needs of a protocol.

use std::borrow::Cow;
use std::sync::Arc;

use crate::exchange::{Body, Request};
use crate::message::{Edits, ResponseHead};
use crate::rules::forwarded;
use crate::rules::template::Facts;
use crate::upstream::{self, AttemptError, Call, Upstream};

/// A request, and the endpoint that was picked for it.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) endpoint: &'a Arc<Upstream>,
    /// The value by which a pick prefers this endpoint.
    pub(super) affinity: u64,
    pub(super) request: &'a Request,
}

/// How requests are sent to endpoints of one protocol. A value lives as long as the attempt, sendings on further connections included.
pub(super) trait Protocol {
    type Call: Call;

    /// An attempt begins.
    fn new(attempt: Attempt<'_>) -> Self;

    /// Finds or makes a connection and begins the request on it.
    async fn begin(&mut self, attempt: Attempt<'_>) -> Result<Self::Call, AttemptError>;

    /// The next [`begin`](Self::begin) sends the same request again, `is_last`: for the last time.
    fn on_resend(&mut self, is_last: bool);

    /// What follows the final response head.
    fn body(call: Self::Call, head: &ResponseHead, attempt: Attempt<'_>) -> Option<Body>;
}

impl<'a> Attempt<'a> {
    /// Whether the request may have another connection or, if it is one of many of its client's connection, a connection at all.
    pub(super) fn admit(self) -> Result<(), AttemptError> {
        let exchange = &self.request.exchange;
        let clusters = &exchange.snapshot.shared.clusters;
        let admitted = upstream::admit(self.endpoint.share(), exchange.is_multiplexed, |each| {
            for cluster in clusters {
                cluster.members.endpoints().iter().for_each(|endpoint| each(&endpoint.value().upstream));
            }
        });
        admitted.map_err(|full| AttemptError::full(full, self.endpoint))
    }

    /// The edits of the head, with those that depend on the endpoint.
    pub(super) fn edits(self) -> Cow<'a, Edits> {
        let (exchange, route) = (&self.request.exchange, self.request.route());
        // HTTP/1.0 needs no host, and HTTP/1.1 does; many endpoints refuse an empty one.
        let lacks_host = exchange.head.host().is_none() && !exchange.edits.sets_host();
        if !route.edits_differ_by_endpoint && !lacks_host {
            return Cow::Borrowed(&exchange.edits);
        }
        let mut edits = exchange.edits.clone();
        if !route.options.forwarded.preserve_host || lacks_host {
            forwarded::set_host(&self.endpoint.configured, self.endpoint.tls().is_some(), &mut edits);
        }
        if route.edits_differ_by_endpoint {
            let facts = Facts { endpoint: &self.endpoint.name, ..exchange.facts(Some(route)) };
            route.request_headers.apply(&facts, &mut edits);
        }
        Cow::Owned(edits)
    }
}
