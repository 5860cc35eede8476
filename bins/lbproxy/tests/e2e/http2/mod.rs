//! HTTP/2, with a library on the other side where it behaves and raw frames where it does not.

mod abuse;
mod attempts;
mod bodies;
mod breaks;
pub(crate) mod endpoint;
mod grpc;
mod heads;
mod lifecycle;
mod peer;
pub(crate) mod raw;
mod reply;
mod upstream;
mod websocket;

pub(crate) use endpoint::H2Endpoint;
pub(crate) use peer::{Caller, push, read, run, until};
pub(crate) use raw::Raw;

use crate::support::{Proxy, config};

/// A proxy that forwards everything to one address, with these lines at the top, on the route and on the cluster.
#[track_caller]
pub(crate) fn proxy(workers: usize, at: &str, top: &str, route: &str, cluster: &str) -> Proxy {
    let rest =
        format!("{top}\n[[route]]\ncluster = \"app\"\n{route}\n[cluster.app]\nendpoints = [\"{at}\"]\n{cluster}\n");
    Proxy::start(&config(workers, &rest))
}
