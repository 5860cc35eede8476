//! Endpoints with a limit on what they take at once.

use super::balancing;
use crate::support::{Client, Endpoint, Gate, get, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(a_full_endpoint_is_passed_over_and_a_full_cluster_is_a_503);

fn a_full_endpoint_is_passed_over_and_a_full_cluster_is_a_503(workers: usize) {
    let gate = Gate::default();
    let [a, b] = ["a", "b"].map(|name| {
        let gate = gate.clone();
        Endpoint::answering(move |request| {
            if request.head.target() == "/slow" {
                gate.wait();
            }
            text(200, name)
        })
    });
    let endpoints = format!(
        "[{{ address = \"{}\", max_in_flight = 1 }}, {{ address = \"{}\", max_in_flight = 2 }}]",
        a.at(),
        b.at()
    );
    let proxy = balancing(workers, "policy = \"first\"", &endpoints, "");
    let mut slow = Vec::new();
    for (in_a, in_b) in [(1, 0), (1, 1), (1, 2)] {
        let mut client = Client::connect(proxy.web());
        client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
        slow.push(client);
        wait_until("it to be in flight", || (a.requests(), b.requests()) == (in_a, in_b));
    }
    let answer = get(proxy.web(), "/quick");
    assert_eq!(answer.status(), 503, "{answer:?}");
    assert!(answer.header("Retry-After").unwrap().parse::<u64>().unwrap() >= 1);
    let cause = proxy.access_of("/quick")["cause"].as_str().unwrap().to_owned();
    assert!(cause.starts_with("no_endpoint") && cause.contains("full"), "{cause}");
    assert_eq!((a.requests(), b.requests()), (1, 2), "no endpoint exceeds its limit");

    gate.open();
    for mut client in slow {
        assert_eq!(client.answer("GET").status(), 200);
    }
    wait_until("a slot to be free", || get(proxy.web(), "/again").text() == "a");
}
