//! The in-flight slot of an attempt, and what is counted of it.

use std::sync::Arc;
use std::time::Duration;

use lb_core::{Class, End, Mono};
use lb_policy::Endpoint;
use lb_tower::{Events, Guard, RetryEvents};

use super::{EndpointService, Outliers};
use crate::net::clock::TurnClock;
use crate::observe::metrics::RouteMetrics;

/// The in-flight slot of an attempt; ends with it.
pub(crate) type InFlightGuard = Guard<EndpointService, TurnClock, Arc<AttemptEvents>>;

/// Metrics of the endpoints, and outlier detection if the cluster has it.
#[derive(Clone)]
pub(crate) struct AttemptEvents {
    pub(crate) outliers: Option<Outliers>,
}

impl Events<EndpointService> for AttemptEvents {
    fn on_pick(&self, endpoint: &Arc<Endpoint<EndpointService>>, now: Mono) {
        self.outliers.on_pick(endpoint, now);
    }

    fn on_head(&self, endpoint: &Arc<Endpoint<EndpointService>>, class: Class, elapsed: Duration, now: Mono) {
        // An endpoint that refuses connections is not fast. A timeout is as slow as the wait for it was long.
        let upstream = &endpoint.value().upstream;
        if matches!(class, Class::Status(_) | Class::Busy(_) | Class::Timeout) {
            upstream.metrics.on_head(elapsed);
        }
        if !matches!(class, Class::Timeout | Class::Cancelled) {
            upstream.usual.silence.on_answer(now);
        }
        upstream.chronicle.outcomes.record(endpoint.state().requests(), class);
        self.outliers.on_head(endpoint, class, elapsed, now);
    }

    fn on_end(&self, endpoint: &Arc<Endpoint<EndpointService>>, class: Class, end: End, elapsed: Duration, now: Mono) {
        if end == End::UpstreamAborted && class.status().is_some() {
            endpoint.value().upstream.chronicle.outcomes.on_cut(endpoint.state().requests());
        }
        self.outliers.on_end(endpoint, class, end, elapsed, now);
    }
}

/// Counts the retries of a route.
#[derive(Clone)]
pub(crate) struct RetryCounter {
    /// Of the first listener: retries are counted for the route, whichever listener received the request.
    pub(crate) route: Arc<RouteMetrics>,
}

impl RetryEvents for RetryCounter {
    fn on_retry(&self, _class: Class, _attempt: u32) {
        self.route.on_retry();
    }
}
