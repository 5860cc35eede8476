//! Connections to endpoints: kept where the endpoint stays, closed where it goes.

use crate::support::{Client, Endpoint, Proxy, config, wait_until};
use crate::{app, with_one_and_four_workers};

with_one_and_four_workers!(
    connections_to_an_endpoint_that_stays_are_kept,
    connections_to_a_cluster_that_goes_are_closed,
);

fn connections_to_an_endpoint_that_stays_are_kept(workers: usize) {
    let [a, b] = ["a", "b"].map(Endpoint::named);
    let only = |text: &str, rest: &str| config(workers, &app(&[text], rest));
    let mut proxy = Proxy::start(&only(&a.at(), ""));
    let mut client = Client::connect(proxy.web());
    let weighted = format!(
        "[[route]]\nname = \"another\"\npath = \"/\"\ncluster = \"app\"\ntimeout = {{ response = \"1m\" }}\n\
         [cluster.app]\nendpoints = [{{ address = \"{}\", weight = 5, max_in_flight = 9 }}, {{ address = \"{}\", weight = 0 }}]\n",
        a.at(),
        b.at()
    );
    for text in [
        only(&a.at(), ""),
        only(&a.at(), "policy = \"least_request\""),
        config(workers, &weighted),
        only(&a.at(), "keep_alive = { idle = 3 }\nhealth.passive = { failures = 5 }"),
        only(&a.at(), "slow_start = \"10s\"\npanic_threshold = \"10%\""),
    ] {
        assert_eq!(client.get("/").text(), "a");
        assert_eq!(client.get("/").text(), "a");
        proxy.reload(&text);
    }
    assert_eq!(client.get("/").text(), "a");
    assert_eq!((a.requests(), a.connections(), b.connections()), (11, 1, 0));
}

fn connections_to_a_cluster_that_goes_are_closed(workers: usize) {
    let [a, b] = ["a", "b"].map(Endpoint::named);
    let long = "keep_alive = { timeout = \"1h\" }";
    let mut proxy = Proxy::start(&config(workers, &app(&[&a.at()], long)));
    let mut client = Client::connect(proxy.web());
    assert_eq!(client.get("/").text(), "a");
    assert_eq!(a.open(), 1);
    // The client's own connection stays, idle, and keeps nothing of it.
    proxy.reload(&config(workers, &app(&[&b.at()], long).replace("app", "other")));
    wait_until("the connection to close", || a.open() == 0);
    assert_eq!(client.get("/").text(), "b");
}
