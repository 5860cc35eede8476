//! Which requests of a route are retried.

use std::sync::Arc;

use lb_config::Condition;
use lb_core::Class;
use lb_tower::{RetryPolicy, Verdict};

use crate::exchange::{Request, Response};
use crate::runtime::snapshot::RouteRuntime;
use crate::upstream::AttemptError;

/// The retry rule of a route.
#[derive(Clone)]
pub(crate) struct RouteRetryPolicy {
    pub(super) route: Arc<RouteRuntime>,
}

/// Whether a route retries what ended like this. An endpoint that is silent has as good as broken the connection, so where that is retried
/// (as by default), it is too.
fn is_listed(route: &RouteRuntime, class: Class, is_silent: bool) -> bool {
    let conditions = route.options.retry.as_ref().map_or(&[][..], |retry| &retry.on);
    conditions.iter().any(|condition| match (*condition, class) {
        (Condition::ConnectError, Class::ConnectError)
        | (Condition::Reset, Class::Reset)
        | (Condition::Timeout, Class::Timeout)
        | (Condition::InvalidResponse, Class::InvalidResponse) => true,
        (Condition::Reset, Class::Timeout) => is_silent,
        (Condition::Status { from, to }, Class::Status(status) | Class::Busy(status)) => (from..=to).contains(&status),
        _ => false,
    })
}

/// Whether a request would get another attempt if its endpoint, which is silent, were given up with this class.
pub(super) fn may_go_elsewhere(request: &Request, class: Class) -> bool {
    let Some(retry) = &request.route().options.retry else { return false };
    let is_safe = if class == Class::ConnectError { request.is_replayable() } else { request.is_repeatable() };
    let attempts = request.tried.as_ref().map_or(0, |tried| tried.len()) + 1;
    is_safe && attempts < retry.attempts.get() as usize && is_listed(request.route(), class, true)
}

impl RetryPolicy<Request, Box<Response>, lb_tower::Error<AttemptError>> for RouteRetryPolicy {
    fn save(&self, request: &Request) -> Option<Request> {
        Some(request.clone())
    }

    fn verdict(&self, saved: &mut Request, result: &Result<Box<Response>, lb_tower::Error<AttemptError>>) -> Verdict {
        let mut is_silent = false;
        let (uid, class, is_unsent, is_free) = match result {
            Ok(response) => {
                let Some(held) = &response.held else { return Verdict::Return };
                (held.endpoint().uid(), held.class().unwrap_or(Class::Cancelled), false, false)
            }
            Err(lb_tower::Error::Endpoint { uid, source, .. }) => {
                is_silent = source.is_silent;
                let class = if source.may_go_elsewhere { Class::ConnectError } else { source.class };
                // A refused stream is safe to send again, but most often it means that the endpoint is overloaded.
                (*uid, class, source.is_unsent, source.is_unsent && !source.has_declined())
            }
            Err(_) => return Verdict::Return,
        };
        let is_safe = if is_unsent { saved.is_replayable() } else { saved.is_repeatable() };
        if !is_safe || !is_listed(&self.route, class, is_silent) {
            return Verdict::Return;
        }
        saved.tried.get_or_insert_default().push(uid);
        Verdict::Retry { free: is_free, class }
    }

    fn is_exhausted(&self, error: &lb_tower::Error<AttemptError>) -> bool {
        error.is_no_endpoint()
    }

    fn may_return(&self, result: &Result<Box<Response>, lb_tower::Error<AttemptError>>) -> bool {
        matches!(result, Err(lb_tower::Error::Endpoint { source, .. }) if source.has_declined())
    }

    fn forget_tried(&self, saved: &mut Request) {
        saved.tried = None;
    }
}
