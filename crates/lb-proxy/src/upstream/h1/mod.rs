//! HTTP/1 towards endpoints: one request at a time on each connection.

mod body;
mod bound;
mod call;
mod connection;
mod strays;
mod upload;

pub(crate) use body::Owner;
pub(crate) use bound::Bound;
pub(super) use bound::ReservedConnections;
pub(crate) use call::Call;
pub(crate) use connection::Connection;
pub(crate) use upload::Upload;
