//! A route with a fixed response.

use lb_config::Action;

use super::{Filter, Flow, Scope};
use crate::exchange::Exchange;
use crate::rules::cause::Cause;
use crate::rules::headers::HeaderError;
use crate::rules::respond::Responder;

pub(super) struct Respond {
    responder: Responder,
}

impl Filter for Respond {
    fn new(scope: &Scope<'_>) -> Result<Option<Self>, HeaderError> {
        let Some(Action::Respond(respond)) = scope.route.map(|route| &route.action) else { return Ok(None) };
        Ok(Some(Self { responder: Responder::new(respond)? }))
    }

    fn on_request(&self, exchange: &mut Exchange) -> Flow {
        let reply = self.responder.write(&exchange.facts(exchange.route()));
        // Only if a rendered header exceeds the size limit.
        Flow::Answer(exchange.own(reply.map_err(|_| Cause::Internal)))
    }
}
