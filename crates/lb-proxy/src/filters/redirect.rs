//! A route that redirects.

use lb_config::{Action, PathPattern};

use super::{Filter, Flow, Scope};
use crate::exchange::Exchange;
use crate::rules::headers::HeaderError;
use crate::rules::redirect;

pub(super) struct Redirect {
    to: lb_config::Redirect,
    /// The path that the route matches, of which a part may be replaced.
    pattern: PathPattern,
}

impl Filter for Redirect {
    fn new(scope: &Scope<'_>) -> Result<Option<Self>, HeaderError> {
        Ok(scope.route.and_then(|route| match &route.action {
            Action::Redirect(to) => Some(Self { to: to.clone(), pattern: route.matcher.path.clone() }),
            _ => None,
        }))
    }

    fn on_request(&self, exchange: &mut Exchange) -> Flow {
        let https_port = exchange.snapshot.shared.https_port;
        let reply = redirect::write(&self.to, &self.pattern, &exchange.facts(exchange.route()), https_port);
        Flow::Answer(exchange.own(reply))
    }
}
