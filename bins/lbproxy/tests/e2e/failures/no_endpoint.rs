//! Clusters without an eligible endpoint.

use super::is_logged;
use crate::support::{Client, Endpoint, Proxy, config, get, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(a_name_that_does_not_resolve_is_a_503_until_it_does, a_cluster_of_weight_zero_is_a_503);

fn a_name_that_does_not_resolve_is_a_503_until_it_does(workers: usize) {
    let endpoint = Endpoint::named("found");
    let with = |name: &str| {
        let port = endpoint.address.port();
        config(workers, &format!("[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{name}:{port}\"]\n"))
    };
    // RFC 6761 reserves `invalid`: no resolver knows it.
    let mut proxy = Proxy::start(&with("app.invalid"));
    let mut client = Client::connect(proxy.web());
    let answer = client.get("/unresolved");
    assert_eq!(answer.status(), 503, "{answer:?}");
    assert!(answer.header("Retry-After").unwrap().parse::<u64>().unwrap() >= 1, "{answer:?}");
    let line = proxy.access_of("/unresolved");
    assert!(line["cause"].as_str().unwrap().starts_with("no_endpoint"), "{line}");
    assert_eq!((&line["attempts"], &line["endpoint"]), (&0.into(), &serde_json::Value::Null), "{line}");
    let name = format!("app.invalid:{}", endpoint.address.port());
    assert_eq!(proxy.endpoint("app", &name)["state"], "unresolved");

    proxy.reload(&with("localhost"));
    wait_until("the name to resolve", || get(proxy.web(), "/").status() == 200);
    assert_eq!(client.get("/resolved").text(), "found", "on the connection that was there before");
}

fn a_cluster_of_weight_zero_is_a_503(workers: usize) {
    let endpoint = Endpoint::named("drained");
    let proxy = Proxy::start(&config(
        workers,
        &format!(
            "[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [{{ address = \"{}\", weight = 0 }}]\n",
            endpoint.at()
        ),
    ));
    assert_eq!(get(proxy.web(), "/drained").status(), 503);
    let line = proxy.access_of("/drained");
    assert!(line["cause"].as_str().unwrap().starts_with("no_endpoint"), "{line}");
    assert_eq!(endpoint.connections(), 0);
    is_logged(&proxy, "/drained", 503, line["cause"].as_str().unwrap());
}
