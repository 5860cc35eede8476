//! Affinity by cookie: where the client's cookie points, and a cookie for the endpoint that answers.

use super::{Filter, Flow, Scope};
use crate::exchange::{Exchange, Response};
use crate::net::clock;
use crate::rules::headers::HeaderError;
use crate::rules::sticky::StickyCookie;

pub(super) struct Sticky {
    cookie: StickyCookie,
}

impl Filter for Sticky {
    fn new(scope: &Scope<'_>) -> Result<Option<Self>, HeaderError> {
        let Some(route) = scope.route else { return Ok(None) };
        let Some(sticky) = &route.options.sticky else { return Ok(None) };
        // On routes that do not forward no cookie is set; one that could not be written is refused all the same.
        let cluster = match route.action {
            lb_config::Action::Cluster(position) => &*scope.config.clusters[position].name,
            _ => "",
        };
        let cookie = StickyCookie::new(sticky, cluster, scope.parts.sticky_secret)?;
        Ok(Some(Self { cookie }))
    }

    fn on_request(&self, exchange: &mut Exchange) -> Flow {
        exchange.affinity_hint = self.cookie.read(&exchange.head, seconds());
        Flow::Go
    }

    fn on_response(&self, exchange: &Exchange, response: &mut Response) {
        let Some(held) = &response.held else { return };
        let affinity = held.endpoint().affinity();
        if self.cookie.is_due(exchange.affinity_hint, affinity) {
            self.cookie.write(affinity, seconds(), &mut response.edits);
        }
    }
}

/// Since 1970.
fn seconds() -> u64 {
    clock::unix_ms() / 1000
}
