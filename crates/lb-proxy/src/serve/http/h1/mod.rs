//! HTTP/1 towards clients.

mod connection;
mod sink;

pub(crate) use connection::serve;
