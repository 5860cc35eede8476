//! A route's edits of request headers, as far as they are the same for every endpoint. Those that name the endpoint are applied by
//! each [attempt](crate::forward).

use std::sync::Arc;

use super::{Filter, Flow, Scope};
use crate::exchange::Exchange;
use crate::rules::headers::{HeaderError, HeaderRules};

pub(super) struct RequestHeaders {
    rules: Arc<HeaderRules>,
}

impl Filter for RequestHeaders {
    fn new(scope: &Scope<'_>) -> Result<Option<Self>, HeaderError> {
        let rules = scope.request_headers.filter(|rules| !rules.is_empty() && scope.forwarding().is_some());
        Ok(rules.map(|rules| Self { rules: Arc::clone(rules) }))
    }

    fn on_request(&self, exchange: &mut Exchange) -> Flow {
        let mut edits = std::mem::take(&mut exchange.edits);
        self.rules.apply(&exchange.facts(exchange.route()), &mut edits);
        exchange.edits = edits;
        Flow::Go
    }
}
