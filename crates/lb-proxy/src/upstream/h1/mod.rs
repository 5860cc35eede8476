//! HTTP/1 towards endpoints: one request at a time on each connection.

mod body;
mod bound;
mod call;
mod connection;
mod reserved;
mod strays;
mod upload;

pub(crate) use body::Owner;
pub(crate) use bound::Bound;
pub(crate) use call::Call;
pub(crate) use connection::Connection;
pub(super) use reserved::ReservedConnections;
pub(crate) use upload::Upload;
