//! Edits of response headers: a route's, or a listener's where no route took the request.

use std::sync::Arc;

use super::{Filter, Scope};
use crate::exchange::{Exchange, Response};
use crate::rules::headers::{HeaderError, HeaderRules};
use crate::rules::template::Facts;

pub(super) struct ResponseHeaders {
    rules: Arc<HeaderRules>,
}

impl Filter for ResponseHeaders {
    fn new(scope: &Scope<'_>) -> Result<Option<Self>, HeaderError> {
        let rules = Arc::clone(scope.response_headers);
        Ok((!rules.is_empty()).then_some(Self { rules }))
    }

    fn on_response(&self, exchange: &Exchange, response: &mut Response) {
        let attempts = exchange.trace.attempts();
        let endpoint = attempts.last_name();
        self.rules.apply(&Facts { endpoint, ..exchange.facts(exchange.route()) }, &mut response.edits);
    }
}
