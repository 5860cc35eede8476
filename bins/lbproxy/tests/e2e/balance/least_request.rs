//! Whoever is busy gets less.

use super::{balancing, list};
use crate::support::{Client, Endpoint, Gate, get, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(a_busy_endpoint_is_spared);

fn a_busy_endpoint_is_spared(workers: usize) {
    let gate = Gate::default();
    let endpoints = ["a", "b", "c"].map(|name| {
        let gate = gate.clone();
        Endpoint::answering(move |request| {
            if request.head.target() == "/slow" {
                gate.wait();
            }
            text(200, name)
        })
    });
    let proxy = balancing(workers, "policy = \"least_request\"", &list(&endpoints), "");
    // Three slow requests: one for each, since each has fewer than those that have one already.
    let mut slow: Vec<_> = (0..3)
        .map(|n| {
            let mut client = Client::connect(proxy.web());
            client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
            wait_until("it to be in flight", || endpoints.iter().map(Endpoint::requests).sum::<usize>() == n + 1);
            client
        })
        .collect();
    assert_eq!(endpoints.each_ref().map(Endpoint::requests), [1, 1, 1]);
    // Another one makes one of them the busiest: the next ones go elsewhere.
    let mut another = Client::connect(proxy.web());
    another.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("it to be in flight", || endpoints.iter().any(|endpoint| endpoint.requests() == 2));
    let busiest = endpoints.iter().position(|endpoint| endpoint.requests() == 2).unwrap();
    let in_flight = || {
        let status = proxy.status();
        let counts = status["clusters"]["app"]["endpoints"].as_array().into_iter().flatten();
        counts.filter_map(|endpoint| endpoint["in_flight"].as_u64()).sum::<u64>()
    };
    for _ in 0..10 {
        assert_eq!(get(proxy.web(), "/quick").status(), 200);
        // The client may have its answer a moment before the slot is free.
        wait_until("its slot to be free", || in_flight() == 4);
    }
    assert_eq!(endpoints[busiest].requests(), 2, "the busiest got a request");
    assert_eq!(proxy.endpoint("app", &endpoints[busiest].at())["in_flight"], 2);
    gate.open();
    slow.push(another);
    for mut client in slow {
        assert_eq!(client.answer("GET").status(), 200);
    }
    wait_until("all slots to be free", || {
        endpoints.iter().all(|endpoint| proxy.endpoint("app", &endpoint.at())["in_flight"] == 0)
    });
}
