//! Towards the endpoints: their connections, kept and made.

mod connection;
mod pool;

pub(crate) use connection::Connection;
pub(crate) use pool::Upstream;
