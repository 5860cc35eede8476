//! Listeners: accepting connections, and what comes before the first request: a PROXY header, the TLS handshake.

pub(crate) mod accept;
mod proxy_protocol;
mod tls;
