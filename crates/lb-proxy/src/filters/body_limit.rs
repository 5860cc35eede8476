//! The largest request body, and how much of one is kept for another attempt.

use super::{Filter, Flow, Scope};
use crate::downstream::RequestBodyState;
use crate::exchange::Exchange;
use crate::message::Framing;
use crate::rules::cause::Cause;
use crate::rules::headers::HeaderError;

pub(super) struct BodyLimit {
    /// In octets; `None` for any.
    max: Option<u64>,
    /// Kept, in octets.
    keep: u64,
}

impl Filter for BodyLimit {
    fn new(scope: &Scope<'_>) -> Result<Option<Self>, HeaderError> {
        Ok(scope.forwarding().map(|route| Self {
            max: route.options.body_limit,
            keep: route.options.retry.as_ref().map_or(0, |retry| retry.body_limit),
        }))
    }

    /// A body of unknown length is measured as it is received.
    fn on_request(&self, exchange: &mut Exchange) -> Flow {
        let framing = exchange.head.framing();
        if framing.is_empty() {
            return Flow::Go;
        }
        let awaits_continue = exchange.head.expects_continue();
        exchange.client.expect(RequestBodyState::new(framing, self.max, self.keep, awaits_continue));
        match (framing, self.max) {
            (Framing::Length(length), Some(max)) if length > max => {
                Flow::Answer(exchange.refusal(Cause::BodyTooLarge, None))
            }
            _ => Flow::Go,
        }
    }
}
