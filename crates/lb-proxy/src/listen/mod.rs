//! Listeners: accepting connections, and what comes before the first request: a PROXY header, the TLS handshake.

pub(crate) mod accept;
pub(crate) mod admin;
mod places;
mod proxy_protocol;
mod tls;
