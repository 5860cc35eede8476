//! Turns are taken in order, whatever worker a request lands on.

use super::{answers, balancing, list, named, one_cluster};
use crate::support::Proxy;
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    endpoints_are_visited_in_order,
    weights_interleave_as_nginx_does,
    a_weight_of_zero_gets_no_requests,
    the_first_policy_takes_the_first,
    random_reaches_every_endpoint,
);

fn endpoints_are_visited_in_order(workers: usize) {
    let endpoints = named(["a", "b", "c"]);
    let proxy = balancing(workers, "", &list(&endpoints), "");
    let seen = answers(&proxy, 12);
    let rounds = ["abc", "bca", "cab"].map(|round| round.repeat(4));
    assert!(rounds.contains(&seen), "{seen}");
}

fn weights_interleave_as_nginx_does(workers: usize) {
    let [a, b, c] = named(["a", "b", "c"]);
    let endpoints = format!(
        "[{{ address = \"{}\", weight = 3 }}, {{ address = \"{}\", weight = 2 }}, \"{}\"]",
        a.at(),
        b.at(),
        c.at()
    );
    let proxy = balancing(workers, "", &endpoints, "");
    // Smooth weighted round robin over 3, 2, 1, worked out by hand from nginx's rule: a b a c b a.
    let seen = answers(&proxy, 24);
    assert!("abacba".repeat(6).contains(&seen), "{seen}");
}

fn a_weight_of_zero_gets_no_requests(workers: usize) {
    let [a, b] = named(["a", "b"]);
    let with = |weight: u32| {
        let endpoints = format!("[\"{}\", {{ address = \"{}\", weight = {weight} }}]", a.at(), b.at());
        one_cluster(workers, "", &endpoints, "")
    };
    let mut proxy = Proxy::start(&with(0));
    assert_eq!(answers(&proxy, 8), "aaaaaaaa");
    assert_eq!(proxy.endpoint("app", &b.at())["state"], "drain");
    proxy.reload(&with(1));
    assert!(answers(&proxy, 4).contains('b'));
}

fn the_first_policy_takes_the_first(workers: usize) {
    let mut endpoints = named(["a", "b", "c"]);
    let proxy = balancing(workers, "policy = \"first\"", &list(&endpoints), "");
    assert_eq!(answers(&proxy, 8), "aaaaaaaa");
    endpoints[0].stop();
    assert_eq!(answers(&proxy, 8), "bbbbbbbb");
}

fn random_reaches_every_endpoint(workers: usize) {
    let endpoints = named(["a", "b", "c"]);
    for policy in ["random", "weighted_random", "p2c"] {
        let proxy = balancing(workers, &format!("policy = \"{policy}\""), &list(&endpoints), "");
        let seen = answers(&proxy, 60);
        // Each share is 1/3: that one of them misses all 60 has a probability of 3 · (2/3)^60 < 1e-10.
        for name in ["a", "b", "c"] {
            assert!(seen.contains(name), "{policy}: {seen}");
        }
    }
}
