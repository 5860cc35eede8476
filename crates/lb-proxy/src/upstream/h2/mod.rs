//! HTTP/2 towards endpoints: many requests at once on each connection.

pub(crate) mod call;
mod connection;

pub(super) use connection::Http2Connections;
pub(crate) use connection::Lease;
