//! Interim responses (1xx), passed on as they come.

use crate::exchange::Exchange;
use crate::message::{Edits, ResponseHead, Version};
use crate::rules::cause::Cause;
use crate::upstream::AttemptError;

/// Each interim response is passed on and restarts the wait for the final one. Without a limit an endpoint could hold a request, and
/// fill our memory, for ever.
const MAX_INTERIM: u32 = 64;

/// Counts the interim responses of one sending.
#[derive(Default)]
pub(super) struct Interim(u32);

impl Interim {
    /// Passes a 1xx on if the client can understand it.
    ///
    /// A 100 is passed on if it was asked for, with or without a body, and none is made up: whether and when the body may come is
    /// between the client and the endpoint, which saw the same `Expect`. Only one is, since each attempt may earn another.
    ///
    /// # Errors
    /// There were too many.
    pub(super) fn pass_on(&mut self, head: &ResponseHead, exchange: &Exchange) -> Result<(), AttemptError> {
        self.0 += 1;
        if self.0 > MAX_INTERIM {
            return Err(AttemptError::invalid(Cause::InvalidResponse, "too_many_interim"));
        }
        let is_due = match head.status() {
            100 => exchange.client.takes_continue(),
            _ => exchange.head.version() != Version::Http10,
        };
        if is_due {
            // Headers that a route removes from its responses are removed here too.
            let mut edits = Edits::new();
            if let Some(rules) = exchange.route().map(|route| &route.response_headers) {
                let removed = head.iter().enumerate().filter(|(_, (name, _))| rules.takes_out(name));
                removed.for_each(|(index, _)| edits.drop_at(index));
            }
            exchange.client.on_interim(head, &edits);
        }
        Ok(())
    }
}
