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

impl RouteRetryPolicy {
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

impl RetryPolicy<Request, Box<Response>, lb_tower::Error<AttemptError>> for RouteRetryPolicy {
    fn save(&self, request: &Request) -> Option<Request> {
        Some(request.clone())
    }

    fn verdict(&self, saved: &mut Request, result: &Result<Box<Response>, lb_tower::Error<AttemptError>>) -> Verdict {
        let (uid, class, is_unsent, is_free) = match result {
            Ok(response) => {
                let Some(held) = &response.held else { return Verdict::Return };
                (held.endpoint().uid(), held.class().unwrap_or(Class::Cancelled), false, false)
            }
            Err(lb_tower::Error::Endpoint { uid, source, .. }) => {
                let class = if source.may_go_elsewhere { Class::ConnectError } else { source.class };
                // A refused stream is safe to send again, but most often it means that the endpoint is overloaded.
                (*uid, class, source.is_unsent, source.is_unsent && !source.has_declined())
            }
            Err(_) => return Verdict::Return,
        };
        let is_safe = if is_unsent { saved.is_replayable() } else { saved.is_repeatable() };
        if !is_safe || !self.listed(class) {
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
