//! Offers to switch to another protocol, which a route passes on or does not.

use super::{Filter, Flow, Scope};
use crate::exchange::Exchange;
use crate::message::Version;
use crate::rules::cause::Cause;
use crate::rules::headers::HeaderError;

/// Leaves an offer out where the route does not allow it (RFC 9110 §7.8 lets us). In HTTP/2 the request is nothing but the offer
/// (RFC 8441), and is refused.
pub(super) struct UpgradeGuard;

impl Filter for UpgradeGuard {
    fn new(scope: &Scope<'_>) -> Result<Option<Self>, HeaderError> {
        Ok(scope.forwarding().map(|_| Self))
    }

    fn on_request(&self, exchange: &mut Exchange) -> Flow {
        let Some(protocol) = exchange.head.upgrade() else { return Flow::Go };
        if exchange.may_upgrade_to(protocol) {
            return Flow::Go;
        }
        if exchange.head.version() == Version::Http2 {
            return Flow::Answer(exchange.refusal(Cause::NotImplemented, Some("upgrade_not_allowed".to_owned())));
        }
        exchange.head = exchange.head.without_upgrade();
        Flow::Go
    }
}
