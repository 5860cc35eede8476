//! The HTTP engine of lbproxy: listeners, routes, upstream connections, forwarding.
#![forbid(unsafe_code)]

pub mod observe;
