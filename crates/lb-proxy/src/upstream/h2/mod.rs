//! HTTP/2 towards endpoints: many requests at once on each connection.

mod body;
mod call;
mod connection;
mod connections;
mod upload;

pub(crate) use call::Call;
pub(super) use connections::Http2Connections;
pub(crate) use connections::Lease;
