//! What fails, and how it shows: to the client, to the log, and to the other side.

mod aborted;
mod client_gone;
mod connections;
mod given_up;
mod invalid;
mod no_endpoint;
mod permission;
mod refused;
mod shortage;
mod sloppy;
mod timeouts;
mod upload;

use serde_json::Value;

use crate::support::{Proxy, config};

/// A proxy that forwards everything to one address, with these options on the route.
#[track_caller]
pub(crate) fn forwarding(workers: usize, at: &str, route: &str) -> Proxy {
    Proxy::start(&config(
        workers,
        &format!("[[route]]\ncluster = \"app\"\n{route}\n[cluster.app]\nendpoints = [\"{at}\"]\n"),
    ))
}

/// Checks what the access log says of the request for a path.
#[track_caller]
pub(crate) fn is_logged(proxy: &Proxy, path: &str, status: u16, cause: &str) -> Value {
    let line = proxy.access_of(path);
    assert_eq!((&line["status"], &line["cause"]), (&Value::from(status), &Value::from(cause)), "{line}");
    line
}
