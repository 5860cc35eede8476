//! The way of a request, one file a stage, each taking what the one before it gave:
//! accept → tls → http → route → limit → select → send → outcome.

pub(crate) mod accept;
pub(crate) mod http;
pub(crate) mod http2;
pub(crate) mod limit;
pub(crate) mod outcome;
pub(crate) mod proxied;
pub(crate) mod reply;
pub(crate) mod route;
pub(crate) mod stream;
pub(crate) mod tls;
pub(crate) mod tunnel;
pub(crate) mod visit;
