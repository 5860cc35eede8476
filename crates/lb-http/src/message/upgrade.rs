//! Whether a 101 is an answer to what the request offered.
//!
//! Behind a 101 no rule of ours holds any more. It may begin only what the client asked for and its route allowed, and
//! only where the endpoint knows that protocol: otherwise a proxy behind us that forwards any `Upgrade`, and whose own
//! endpoint answers 101, would open a way past our rules.

use lb_core::is_same_protocol;

use super::{RequestHead, ResponseHead, websocket};

/// What is wrong with this 101, for the log; `None` if it is an answer to the request.
#[must_use]
pub fn mismatch(asked: &RequestHead, answer: &ResponseHead) -> Option<&'static str> {
    let (Some(offered), Some(agreed)) = (asked.upgrade(), answer.upgrade()) else { return Some("unexpected_switch") };
    if !is_same_protocol(offered, agreed) {
        return Some("other_protocol");
    }
    (websocket::is_asked(asked) && !websocket::is_accepted(asked, answer)).then_some("bad_websocket_accept")
}
