//! Policies that go by weight, by turn, by chance, or by what is in flight.

use super::{asked, balancing, counted, three};
use crate::support::{Client, Endpoint, Gate, get, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    turns_are_those_of_nginx_over_all_workers_together,
    chance_follows_the_weights_where_they_count,
    the_first_of_the_list_is_picked,
    the_least_busy_is_picked
);

const WEIGHTS: [&str; 3] = [", weight = 3", ", weight = 2", ""];

fn turns_are_those_of_nginx_over_all_workers_together(workers: usize) {
    let [a, b, c] = three();
    let endpoints = [(&a, WEIGHTS[0]), (&b, WEIGHTS[1]), (&c, WEIGHTS[2])];
    let proxy = balancing(workers, &endpoints, "\"round_robin\"");
    // A connection each, so that every worker has its part.
    let asked_each: String = (0..12).map(|_| get(proxy.web(), "/").text()).collect();
    assert_eq!(asked_each, "abacbaabacba");
    // While no endpoint is busy, turns decide here too.
    let proxy = balancing(workers, &endpoints, "\"least_request\"");
    assert_eq!(asked(&proxy, 12), "abacbaabacba");
    let proxy = balancing(workers, &endpoints, "\"static_stride\"");
    assert_eq!(counted(&asked(&proxy, 600)), [('a', 300), ('b', 200), ('c', 100)].into());
}

fn chance_follows_the_weights_where_they_count(workers: usize) {
    let [a, b, c] = three();
    let endpoints = [(&a, WEIGHTS[0]), (&b, WEIGHTS[1]), (&c, WEIGHTS[2])];
    for (policy, expected) in [
        ("\"random\"", [300, 200, 100]),
        ("\"weighted_random\"", [300, 200, 100]),
        ("{ name = \"least_request\", choices = 1 }", [300, 200, 100]),
    ] {
        let proxy = balancing(workers, &endpoints, policy);
        let counts = counted(&asked(&proxy, 600));
        for (name, expected) in ['a', 'b', 'c'].into_iter().zip(expected) {
            // σ is at most √(600·½·½) ≈ 12.2; 75 is six of them.
            assert!(counts[&name].abs_diff(expected) < 75, "{policy}: {counts:?}");
        }
    }
    // Of two draws the idle ones are equal; only that every endpoint is picked is certain.
    let proxy = balancing(workers, &endpoints, "\"p2c\"");
    assert_eq!(counted(&asked(&proxy, 300)).len(), 3);
}

fn the_first_of_the_list_is_picked(workers: usize) {
    let [mut a, b, c] = three();
    let proxy = balancing(workers, &[(&a, ""), (&b, ""), (&c, "")], "\"first\"");
    assert_eq!(asked(&proxy, 5), "aaaaa");
    a.stop();
    assert_eq!(asked(&proxy, 5), "bbbbb");
}

fn the_least_busy_is_picked(workers: usize) {
    for policy in ["\"least_request\"", "\"p2c\"", "\"least_time\""] {
        let gate = Gate::default();
        let endpoints = [(); 2].map(|()| {
            let gate = gate.clone();
            Endpoint::answering(move |_| {
                gate.wait();
                text(200, "done")
            })
        });
        let proxy = balancing(workers, &[(&endpoints[0], ""), (&endpoints[1], "")], policy);
        let mut clients: Vec<Client> = (1..=6)
            .map(|held| {
                let mut client = Client::connect(proxy.web());
                client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                let requests = || endpoints.iter().map(Endpoint::requests).sum::<usize>();
                wait_until("the request to be held", || requests() == held);
                // Two endpoints, both looked at: neither is ever more than one ahead.
                let ahead = endpoints[0].requests().abs_diff(endpoints[1].requests());
                assert!(ahead <= 1, "{policy}: {ahead} ahead with {held} held");
                client
            })
            .collect();
        gate.open();
        assert!(clients.iter_mut().all(|client| client.answer("GET").status() == 200));
    }
}
