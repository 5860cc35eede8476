//! HTTP/2 towards clients.

mod connection;
mod shared;
mod sink;
mod stream;

pub(super) use connection::{Start, serve};
