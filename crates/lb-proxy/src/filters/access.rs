//! A route's `allow` and `deny`: which client networks it serves.

use super::{Filter, Flow, Scope};
use crate::exchange::Exchange;
use crate::rules::cause::Cause;
use crate::rules::headers::HeaderError;
use crate::rules::networks::Access;

pub(super) struct AccessFilter {
    access: Access,
}

impl Filter for AccessFilter {
    fn new(scope: &Scope<'_>) -> Result<Option<Self>, HeaderError> {
        let Some(options) = scope.route.map(|route| &route.options) else { return Ok(None) };
        Ok(Access::new(options.allow.as_deref(), &options.deny).map(|access| Self { access }))
    }

    fn on_request(&self, exchange: &mut Exchange) -> Flow {
        if !self.access.denies(exchange.origin.client) {
            return Flow::Go;
        }
        if let Some(route) = exchange.route() {
            route.metrics[exchange.listener].on_denied();
        }
        Flow::Answer(exchange.refusal(Cause::Denied, None))
    }
}
