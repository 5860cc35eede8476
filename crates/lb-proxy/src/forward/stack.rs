//! Select: the tower stack that finds an endpoint for a request, and finds another one when that fails.
//!
//! ```text
//! total timeout → retry → balance → send
//! ```
//!
//! Every route has one on every worker, so that the counters of its shared parts stay in that worker's cache.

use std::sync::Arc;
use std::time::Duration;

use lb_core::{Class, Clock, Mono};
use lb_policy::{BuiltIn, Endpoint, PickCx, Selector, Zone};
use lb_tower::{
    Balance, Events, Guard, Inspect, Observe, QueueError, Retry, RetryEvents, RetryLayer, RetryPolicy, Timeout,
    TimeoutError, Verdict,
};
use tower_layer::Layer;

use crate::exchange::{Request, Response};
use crate::forward::attempt::SendError;
use crate::net::clock::TurnClock;
use crate::observe::metrics::RouteMetrics;
use crate::rules::cause::Cause;
use crate::rules::{grpc, load_report};
use crate::runtime::placement::ZonedPolicy;
use crate::runtime::snapshot::RouteRuntime;
use crate::upstream::{EndpointService, Outliers};
use lb_config::Condition;

/// The in-flight slot of an attempt; ends with it.
pub(crate) type Held = Guard<EndpointService, TurnClock, Heard>;

/// Who hears of an attempt: metrics, and outlier detection where the cluster has it.
type Heard = Arc<(Watch, Option<Outliers>)>;

type Balanced = Balance<ZonedPolicy, EndpointService, ReadRequest, HoldInResponse, TurnClock, Heard>;

/// The stack of a route.
pub(crate) type Stack = Timeout<Retry<Again, Balanced, TurnClock, Watch>>;

/// What the stack says when it has no response.
pub(crate) type StackError = TimeoutError<lb_tower::Error<SendError>>;

/// The stack of a route over this cluster's members.
///
/// `zone` is where this proxy is, if that matters.
pub(crate) fn stack(
    route: &Arc<RouteRuntime>,
    selector: Selector<ZonedPolicy, EndpointService>,
    zone: Option<Zone>,
    clock: TurnClock,
) -> Stack {
    let watch = Watch { route: Arc::clone(&route.metrics[0]) };
    let reports = matches!(selector.policy().inner(), BuiltIn::Orca(_) | BuiltIn::C3(_)).then_some(clock);
    let balance = Balance::builder(selector)
        .inspect(ReadRequest { zone })
        .observe(HoldInResponse { reports })
        .clock(clock)
        .events(Arc::new((watch.clone(), route.cluster().and_then(|cluster| cluster.passive.clone()))))
        .build();
    let retry = route.options.retry.as_ref();
    let retry = RetryLayer::new(Again { route: Arc::clone(route) })
        .attempts(retry.map_or(1, |retry| retry.attempts.get()))
        .within(retry.and_then(|retry| retry.within))
        .interval(retry.map(|retry| retry.interval).unwrap_or_default())
        .budget(route.budget.clone())
        .clock(clock)
        .events(watch)
        .layer(balance);
    Timeout::new(retry, route.options.timeout.total)
}

/// When to come back after a shortage of ours: it passes as connections end, of which there are thousands.
const SHORTAGE_LASTS: Duration = Duration::from_secs(1);

/// Tells a pick what the request knows.
#[derive(Clone, Copy)]
pub(crate) struct ReadRequest {
    zone: Option<Zone>,
}

impl Inspect<Request> for ReadRequest {
    fn inspect<'a>(&'a self, request: &'a Request, cx: &mut PickCx<'a>) {
        cx.key = request.visit.key.as_deref();
        // A login that an endpoint knows by the connection counts before a cookie.
        cx.preferred = request.visit.bound.or_else(|| request.visit.stuck.map(|stuck| stuck.affinity));
        if let Some(tried) = &request.tried {
            cx.tried = tried;
        }
        cx.zone = self.zone;
    }
}

/// Hears of every attempt of a route.
#[derive(Clone)]
pub(crate) struct Watch {
    /// Of the first listener: retries are counted for the route, whichever listener it was reached by.
    pub(crate) route: Arc<RouteMetrics>,
}

impl Events<EndpointService> for Watch {
    fn on_head(&self, endpoint: &Arc<Endpoint<EndpointService>>, class: Class, elapsed: Duration, _now: Mono) {
        // An endpoint that refuses connections is not fast. One that hangs is as slow as the wait for it was long.
        if matches!(class, Class::Status(_) | Class::Timeout) {
            endpoint.value().upstream.metrics.on_head(elapsed);
        }
    }
}

impl RetryEvents for Watch {
    fn on_retry(&self, _class: Class, _attempt: u32) {
        self.route.on_retry();
    }
}

/// Keeps the slot in the response, until both bodies have ended, and notes what the endpoint says of its load.
#[derive(Clone, Copy)]
pub(crate) struct HoldInResponse {
    /// Only where the policy goes by it: nobody else should pay for looking.
    reports: Option<TurnClock>,
}

impl Observe<Response, SendError, Held> for HoldInResponse {
    type Output = Response;

    fn class(&self, result: &Result<Response, SendError>) -> Class {
        match result {
            Ok(response) => Class::Status(grpc::status_of(&response.head)),
            Err(error) => error.class,
        }
    }

    fn attach(&self, mut response: Response, held: Held) -> Response {
        if let Some(clock) = self.reports
            && let Some(report) = load_report::reported(&response.head)
        {
            held.endpoint().on_report(report, clock.now());
        }
        response.held = Some(held);
        response
    }
}

/// Which requests are tried again, and when.
#[derive(Clone)]
pub(crate) struct Again {
    route: Arc<RouteRuntime>,
}

impl Again {
    fn listed(&self, class: Class) -> bool {
        let conditions = self.route.options.retry.as_ref().map_or(&[][..], |retry| &retry.on);
        conditions.iter().any(|condition| match (*condition, class) {
            (Condition::ConnectError, Class::ConnectError)
            | (Condition::Reset, Class::Reset)
            | (Condition::Timeout, Class::Timeout)
            | (Condition::InvalidResponse, Class::InvalidResponse) => true,
            (Condition::Status { from, to }, Class::Status(status)) => (from..=to).contains(&status),
            _ => false,
        })
    }
}

impl RetryPolicy<Request, Response, lb_tower::Error<SendError>> for Again {
    fn save(&self, request: &Request) -> Option<Request> {
        Some(request.clone())
    }

    fn verdict(&self, saved: &mut Request, result: &Result<Response, lb_tower::Error<SendError>>) -> Verdict {
        let (uid, class, unsent) = match result {
            Ok(response) => {
                let Some(held) = &response.held else { return Verdict::Return };
                (held.endpoint().uid(), held.class().unwrap_or(Class::Cancelled), false)
            }
            Err(lb_tower::Error::Endpoint { uid, source, .. }) => {
                let class = if source.elsewhere { Class::ConnectError } else { source.class };
                (*uid, class, source.unsent)
            }
            Err(_) => return Verdict::Return,
        };
        let safe = if unsent { saved.is_replayable() } else { saved.may_repeat() };
        if !safe || !self.listed(class) {
            return Verdict::Return;
        }
        saved.tried.get_or_insert_default().push(uid);
        Verdict::Retry { free: unsent, class }
    }

    fn is_exhausted(&self, error: &lb_tower::Error<SendError>) -> bool {
        error.is_no_endpoint()
    }

    fn may_return(&self, result: &Result<Response, lb_tower::Error<SendError>>) -> bool {
        matches!(result, Err(lb_tower::Error::Endpoint { source, .. }) if source.has_declined())
    }

    fn forget_tried(&self, saved: &mut Request) {
        saved.tried = None;
    }
}

/// What a failed stack means to the client and the log: the cause, more on it, and when to come back.
pub(crate) fn refusal_of(error: &StackError) -> (Cause, Option<String>, Option<Duration>) {
    match error {
        TimeoutError::Elapsed => (Cause::TotalTimeout, None, None),
        TimeoutError::Inner(lb_tower::Error::NoEndpoint(error)) => (Cause::NoEndpoint, Some(error.to_string()), None),
        TimeoutError::Inner(lb_tower::Error::Queue(QueueError::Full(_))) => (Cause::QueueFull, None, None),
        TimeoutError::Inner(lb_tower::Error::Queue(_)) => (Cause::QueueTimeout, None, None),
        TimeoutError::Inner(lb_tower::Error::Endpoint { source, .. }) => {
            let is_short =
                matches!(source.cause, Cause::LocalResources | Cause::LocalPermission | Cause::EndpointConnections);
            let retry_after = is_short.then_some(SHORTAGE_LASTS);
            (source.cause, source.detail.clone(), retry_after)
        }
        _ => (Cause::Internal, None, None),
    }
}
