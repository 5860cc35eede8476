//! A request and its response, between the router and the writer.

mod body;
pub(crate) mod trace;
pub(crate) mod visit;

use std::sync::Arc;

use lb_policy::Tried;

use crate::downstream::RequestBody;
use crate::exchange::visit::Visit;
use crate::message::ResponseHead;
use crate::runtime::snapshot::RouteRuntime;
use crate::upstream::InFlightGuard;

pub(crate) use body::Body;

/// A request below the router. Clones send the same request again.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) visit: Arc<Visit>,
    /// Where its route stands in the visit's snapshot.
    pub(crate) route: usize,
    pub(crate) body: Option<RequestBody>,
    /// Boxed, since most requests try one endpoint.
    pub(crate) tried: Option<Box<Tried>>,
}

impl Request {
    pub(crate) fn route(&self) -> &RouteRuntime {
        &self.visit.snapshot.shared.routes[self.route]
    }

    /// Whether it may be sent a second time even if an endpoint has acted on the first.
    pub(crate) fn is_repeatable(&self) -> bool {
        let forced = self.route().options.retry.as_ref().is_some_and(|retry| retry.unsafe_methods);
        (forced || self.visit.head.method().is_idempotent()) && self.is_replayable()
    }

    /// Whether its body can be read from the start again.
    pub(crate) fn is_replayable(&self) -> bool {
        self.body.as_ref().is_none_or(RequestBody::is_replayable)
    }
}

/// A response, before it is written.
pub(crate) struct Response {
    pub(crate) head: ResponseHead,
    pub(crate) body: Body,
    /// The in-flight slot of its endpoint; our own answers hold none.
    pub(crate) held: Option<InFlightGuard>,
}
