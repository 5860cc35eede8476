//! What the endpoint learns about the client: `X-Forwarded-…` or `Forwarded`, the client's certificate, and the request's id.

use super::{Filter, Flow, Scope};
use crate::exchange::Exchange;
use crate::rules::client_cert;
use crate::rules::forwarded;
use crate::rules::headers::HeaderError;

pub(super) struct Forwarded {
    kinds: lb_config::Forwarded,
}

impl Filter for Forwarded {
    fn new(scope: &Scope<'_>) -> Result<Option<Self>, HeaderError> {
        Ok(scope.forwarding().map(|route| Self { kinds: route.options.forwarded }))
    }

    fn on_request(&self, exchange: &mut Exchange) -> Flow {
        let Exchange { origin, head, client, id, edits, forwarded_cache, snapshot, .. } = exchange;
        let certificate = client.connection().certificate_lines();
        if origin.is_trusted || certificate.is_some() || forwarded::has_claims(head) {
            forwarded::write(self.kinds, origin, head, edits);
            client_cert::write(certificate, origin.is_trusted, head, edits);
            id.write(edits);
        } else {
            let generation = snapshot.shared.generation;
            forwarded_cache.write(self.kinds, generation, origin, head, edits);
            id.write_new(edits);
        }
        Flow::Go
    }
}
