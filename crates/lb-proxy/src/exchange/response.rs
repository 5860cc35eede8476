//! The response of an exchange.

use super::Body;
use crate::message::ResponseHead;
use crate::upstream::InFlightGuard;

/// A response, before it is written.
pub(crate) struct Response {
    pub(crate) head: ResponseHead,
    pub(crate) body: Body,
    /// The in-flight slot of its endpoint; our own answers hold none.
    pub(crate) held: Option<InFlightGuard>,
}
