//! HTTP/1 towards endpoints: one request at a time on each connection.

mod bound;
mod connection;
mod strays;
pub(crate) mod upload;

pub(crate) use bound::Bound;
pub(super) use bound::ReservedConnections;
pub(crate) use connection::Connection;
pub(crate) use strays::Entrusted;
