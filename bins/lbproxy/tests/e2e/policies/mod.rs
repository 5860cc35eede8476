//! Every policy by its name in the file, and the keys of endpoints: which are picked, and which are not.

mod affinity;
mod latency;
mod placement;
mod roles;
mod turns;

use std::collections::BTreeMap;

use crate::support::{Client, Endpoint, Proxy, config};

/// The lines of a cluster `app` of these endpoints, each with further keys of its own, and of a route to it with this policy.
fn app(endpoints: &[(&Endpoint, &str)], policy: &str, cluster: &str) -> String {
    let endpoints: Vec<String> =
        endpoints.iter().map(|(endpoint, keys)| format!("{{ address = \"{}\"{keys} }}", endpoint.at())).collect();
    let endpoints = endpoints.join(", ");
    // Endpoints that were away are to be back at once.
    let passive = if cluster.contains("health") { "" } else { "health.passive = \"off\"\n" };
    format!(
        "[[route]]\ncluster = \"app\"\nsticky = {{ cookie = \"id\", secret = \"one secret of enough bytes\" }}\n\
         [cluster.app]\npolicy = {policy}\nendpoints = [{endpoints}]\n{passive}{cluster}\n"
    )
}

/// A proxy before these endpoints, which believes what clients say of where they come from.
#[track_caller]
fn balancing(workers: usize, endpoints: &[(&Endpoint, &str)], policy: &str) -> Proxy {
    Proxy::start(&(config(workers, &app(endpoints, policy, "")) + "trusted_proxies = [\"127.0.0.0/8\"]\n"))
}

/// Three endpoints, `a`, `b` and `c`.
fn three() -> [Endpoint; 3] {
    ["a", "b", "c"].map(Endpoint::named)
}

/// Who answered so many requests on one connection, one after the other.
#[track_caller]
fn asked(proxy: &Proxy, times: usize) -> String {
    let mut client = Client::connect(proxy.web());
    (0..times).map(|_| client.get("/").text()).collect()
}

/// How often each of them did.
fn counted(asked: &str) -> BTreeMap<char, usize> {
    asked.chars().fold(BTreeMap::new(), |mut counts, name| {
        *counts.entry(name).or_default() += 1;
        counts
    })
}
