//! HTTP/1 towards clients.

mod connection;
mod sink;

pub(in crate::serve) use connection::serve;
