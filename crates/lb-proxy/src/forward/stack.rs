//! The tower stack of a route: it finds an endpoint for a request, and another one when that fails.
//!
//! ```text
//! total timeout → retry → balance → attempt
//! ```
//!
//! Every route has one on every worker, so that the counters of its shared parts stay in that worker's cache.

use std::sync::Arc;
use std::time::Duration;

use atomic_refcell::{AtomicRefCell, AtomicRefMut};
use lb_core::{Class, Clock};
use lb_policy::{PickCx, Selector, Signals, Zone};
use lb_tower::{Balance, Inspect, Observe, QueueError, Retry, RetryLayer, Timeout, TimeoutError};
use tower_layer::Layer;

use super::retry::RouteRetryPolicy;
use crate::exchange::{Request, Response};
use crate::net::clock::{self, TurnClock};
use crate::rules::cause::Cause;
use crate::rules::{grpc, load_report, retry_after};
use crate::runtime::placement::ZonedPolicy;
use crate::runtime::snapshot::RouteRuntime;
use crate::upstream::{AttemptError, AttemptEvents, EndpointService, InFlightGuard, Outliers, RetryCounter};

type Balanced = Balance<ZonedPolicy, EndpointService, ReadRequest, AttachGuard, TurnClock, Arc<AttemptEvents>>;

/// The stack of a route.
pub(crate) type Stack = Timeout<Retry<RouteRetryPolicy, Balanced, TurnClock, RetryCounter>>;

/// Why the stack has no response.
pub(crate) type StackError = TimeoutError<lb_tower::Error<AttemptError>>;

/// The stack of a route over this cluster's members.
///
/// `zone` is where this proxy is, if that matters.
pub(crate) fn stack(
    route: &Arc<RouteRuntime>,
    selector: Selector<ZonedPolicy, EndpointService>,
    zone: Option<Zone>,
    clock: TurnClock,
) -> Stack {
    let outliers = route.cluster().and_then(|cluster| cluster.passive.clone());
    let reports = selector.signals().contains(Signals::REPORT).then_some(clock);
    let balance = Balance::builder(selector)
        .inspect(ReadRequest { zone })
        .observe(AttachGuard { reports, outliers: outliers.clone(), clock })
        .clock(clock)
        .events(Arc::new(AttemptEvents { outliers }))
        .build();
    let retry = route.options.retry.as_ref();
    let retry = RetryLayer::new(RouteRetryPolicy { route: Arc::clone(route) })
        .attempts(retry.map_or(1, |retry| retry.attempts.get()))
        .within(retry.and_then(|retry| retry.within))
        .interval(retry.map(|retry| retry.interval).unwrap_or_default())
        .budget(route.budget.clone())
        .clock(clock)
        .events(RetryCounter { route: Arc::clone(&route.metrics[0]) })
        .layer(balance);
    Timeout::new(retry, route.options.timeout.total)
}

/// A worker's stacks: one a route; `None` where the route does not forward.
pub(crate) struct RouteStacks(Vec<Option<AtomicRefCell<Stack>>>);

impl RouteStacks {
    pub(crate) fn new(routes: &[Arc<RouteRuntime>]) -> Self {
        let of_route = |route: &Arc<RouteRuntime>| {
            let selector = route.selector.clone()?;
            Some(AtomicRefCell::new(stack(route, selector, route.cluster()?.zone, TurnClock)))
        };
        Self(routes.iter().map(of_route).collect())
    }

    /// The stack of a route. Only this worker borrows it, for the length of a call.
    pub(crate) fn of(&self, route: usize) -> Option<AtomicRefMut<'_, Stack>> {
        Some(self.0.get(route)?.as_ref()?.borrow_mut())
    }
}

/// `Retry-After` of a local shortage: it passes as connections end, of which there are thousands.
const SHORTAGE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The facts of a request that a pick uses.
#[derive(Clone, Copy)]
pub(crate) struct ReadRequest {
    zone: Option<Zone>,
}

impl Inspect<Request> for ReadRequest {
    fn inspect<'a>(&'a self, request: &'a Request, cx: &mut PickCx<'a>) {
        cx.key = request.exchange.hash_key.as_deref();
        // A login that is tied to a connection takes precedence over a cookie.
        cx.preferred =
            request.exchange.bound_affinity.or_else(|| request.exchange.affinity_hint.map(|hint| hint.affinity));
        if let Some(tried) = &request.tried {
            cx.tried = tried;
        }
        cx.zone = self.zone;
    }
}

/// Keeps the in-flight slot in the response until both bodies have ended, and records the load that the endpoint reports.
#[derive(Clone)]
pub(crate) struct AttachGuard {
    /// Set only if the policy uses load reports: other routes do not pay for parsing.
    reports: Option<TurnClock>,
    outliers: Option<Outliers>,
    clock: TurnClock,
}

impl Observe<Box<Response>, AttemptError, InFlightGuard> for AttachGuard {
    type Output = Box<Response>;

    fn class(&self, result: &Result<Box<Response>, AttemptError>) -> Class {
        match result {
            Ok(response) => match grpc::status_of(&response.head) {
                503 => Class::of_response(503, retry_after::is_said(&response.head)),
                status => Class::of_response(status, false),
            },
            Err(error) => error.class,
        }
    }

    fn attach(&self, mut response: Box<Response>, held: InFlightGuard) -> Box<Response> {
        if let Some(clock) = self.reports
            && let Some(report) = load_report::reported(&response.head)
        {
            held.endpoint().on_report(report, clock.now());
        }
        if let Some(Class::Busy(status)) = held.class()
            && let Some(outliers) = &self.outliers
            && let Some(wait) = retry_after::of(&response.head, clock::wall())
        {
            outliers.on_back_pressure(held.endpoint(), status, Some(wait), self.clock.now());
        }
        response.held = Some(held);
        response
    }
}

/// What the error of a stack means to the client and the log: the cause, its detail, and `Retry-After`.
pub(crate) fn refusal_of(error: &StackError) -> (Cause, Option<String>, Option<Duration>) {
    match error {
        TimeoutError::Elapsed => (Cause::TotalTimeout, None, None),
        TimeoutError::Inner(lb_tower::Error::NoEndpoint(error)) => (Cause::NoEndpoint, Some(error.to_string()), None),
        TimeoutError::Inner(lb_tower::Error::Queue(QueueError::Full(_))) => (Cause::QueueFull, None, None),
        TimeoutError::Inner(lb_tower::Error::Queue(_)) => (Cause::QueueTimeout, None, None),
        TimeoutError::Inner(lb_tower::Error::Endpoint { source, .. }) => {
            let is_short =
                matches!(source.cause, Cause::LocalResources | Cause::LocalPermission | Cause::EndpointConnections);
            let retry_after = is_short.then_some(SHORTAGE_RETRY_AFTER);
            (source.cause, source.detail.clone(), retry_after)
        }
        _ => (Cause::Internal, None, None),
    }
}
