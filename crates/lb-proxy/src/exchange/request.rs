//! The request of an exchange, as attempts send it.

use std::sync::Arc;

use lb_policy::Tried;

use super::Exchange;
use crate::downstream::RequestBody;
use crate::runtime::snapshot::RouteRuntime;

/// A request below the router. Clones send the same request again.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) exchange: Arc<Exchange>,
    /// Where its route stands in the exchange's snapshot.
    pub(crate) route: usize,
    pub(crate) body: Option<RequestBody>,
    /// Boxed, since most requests try one endpoint.
    pub(crate) tried: Option<Box<Tried>>,
}

impl Request {
    pub(crate) fn route(&self) -> &RouteRuntime {
        &self.exchange.snapshot.shared.routes[self.route]
    }

    /// Whether it may be sent a second time even if an endpoint has acted on the first.
    pub(crate) fn is_repeatable(&self) -> bool {
        let forced = self.route().options.retry.as_ref().is_some_and(|retry| retry.unsafe_methods);
        (forced || self.exchange.head.method().is_idempotent()) && self.is_replayable()
    }

    /// Whether its body can be read from the start again.
    pub(crate) fn is_replayable(&self) -> bool {
        self.body.as_ref().is_none_or(RequestBody::is_replayable)
    }
}
