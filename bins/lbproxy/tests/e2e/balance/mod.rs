//! Which endpoint gets a request, and which one after a failure.

mod active;
mod caution;
mod concurrency;
mod full;
mod hashing;
mod kill;
mod least_request;
mod panic;
mod passive;
mod queue;
mod retry;
mod sharing;
mod sticky;
mod turns;

use crate::support::{Endpoint, Proxy, config, get};

/// Endpoints that answer with their names.
pub(crate) fn named<const N: usize>(names: [&'static str; N]) -> [Endpoint; N] {
    names.map(Endpoint::named)
}

/// The addresses as a configuration lists them.
pub(crate) fn list(endpoints: &[Endpoint]) -> String {
    let quoted: Vec<_> = endpoints.iter().map(|endpoint| format!("\"{}\"", endpoint.at())).collect();
    format!("[{}]", quoted.join(", "))
}

/// A proxy with one route and one cluster over these endpoints, with further keys for each.
#[track_caller]
pub(crate) fn balancing(workers: usize, route: &str, endpoints: &str, cluster: &str) -> Proxy {
    Proxy::start(&one_cluster(workers, route, endpoints, cluster))
}

/// The configuration of [`balancing`].
pub(crate) fn one_cluster(workers: usize, route: &str, endpoints: &str, cluster: &str) -> String {
    config(
        workers,
        &format!("[[route]]\ncluster = \"app\"\n{route}\n[cluster.app]\nendpoints = {endpoints}\n{cluster}\n"),
    )
}

/// Who answers so many requests, each on a connection of its own: with several workers, they land on any of them.
#[track_caller]
pub(crate) fn answers(proxy: &Proxy, requests: usize) -> String {
    let answers: Vec<_> = (0..requests)
        .map(|_| {
            let answer = get(proxy.web(), "/");
            assert_eq!(answer.status(), 200, "{answer:?}");
            answer.text()
        })
        .collect();
    answers.concat()
}
