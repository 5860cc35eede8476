//! Waiting while every endpoint is full.

use super::{balancing, one_cluster};
use crate::support::{Client, Endpoint, Gate, Proxy, get, text, wait_until};
use crate::with_one_and_four_workers;

/// An endpoint that answers with the path once the gate is open, and takes one request at a time.
fn busy(gate: &Gate) -> Endpoint {
    let gate = gate.clone();
    Endpoint::answering(move |request| {
        gate.wait();
        text(200, request.head.target())
    })
}

fn one_at_a_time(endpoint: &Endpoint) -> String {
    format!("[{{ address = \"{}\", max_in_flight = 1 }}]", endpoint.at())
}

fn waiting(proxy: &Proxy) -> u64 {
    proxy.status()["clusters"]["app"]["queue"]["length"].as_u64().unwrap()
}

/// Asks for this path on a connection of its own, and does not wait for the answer.
fn asking(proxy: &Proxy, path: &str) -> Client {
    let mut client = Client::connect(proxy.web());
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client
}

/// One request that holds the only slot, and so many behind it, one after another.
fn line(proxy: &Proxy, endpoint: &Endpoint, behind: u64) -> Vec<Client> {
    let mut line = vec![asking(proxy, "/0")];
    wait_until("the slot to be taken", || endpoint.requests() == 1);
    for n in 1..=behind {
        line.push(asking(proxy, &format!("/{n}")));
        wait_until("it to wait", || waiting(proxy) == n);
    }
    line
}

fn assert_refused(proxy: &Proxy, path: &str, cause: &str) {
    let answer = get(proxy.web(), path);
    assert_eq!(answer.status(), 503, "{answer:?}");
    assert!(answer.header("Retry-After").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(proxy.access_of(path)["cause"], cause);
}

with_one_and_four_workers!(
    waiting_requests_are_served_in_order_and_a_full_queue_refuses,
    a_wait_that_is_over_is_a_503_and_counts_in_the_total,
    a_client_that_goes_away_leaves_the_queue,
    a_reload_that_raises_the_limit_serves_waiting_requests,
);

fn waiting_requests_are_served_in_order_and_a_full_queue_refuses(workers: usize) {
    let gate = Gate::default();
    let endpoint = busy(&gate);
    let proxy = balancing(workers, "", &one_at_a_time(&endpoint), "queue = { size = 5, timeout = \"60s\" }");
    let line = line(&proxy, &endpoint, 5);
    assert_refused(&proxy, "/late", "queue_full");
    assert_eq!(proxy.metric("lbproxy_queue_length", &["app"]), 5.0);
    gate.open();
    for mut client in line {
        assert_eq!(client.answer("GET").status(), 200);
    }
    let order: Vec<_> = endpoint.messages().iter().map(|message| message.head.target().to_owned()).collect();
    assert_eq!(order, ["/0", "/1", "/2", "/3", "/4", "/5"]);
    assert_eq!(proxy.metric("lbproxy_queue_requests_total", &["app", "\"served\""]), 5.0);
    assert_eq!(proxy.metric("lbproxy_queue_requests_total", &["app", "\"full\""]), 1.0);
    assert!(proxy.metric("lbproxy_queue_wait_seconds_total", &["app"]) > 0.0);
    assert_eq!(proxy.metric("lbproxy_queue_length", &["app"]), 0.0);
}

fn a_wait_that_is_over_is_a_503_and_counts_in_the_total(workers: usize) {
    let gate = Gate::default();
    let endpoint = busy(&gate);
    let route = "[[route]]\ncluster = \"app\"\npath = \"/hasty/\"\ntimeout.total = \"200ms\"\n";
    let cluster = "queue = { size = 5, timeout = \"2s\" }";
    let proxy = balancing(workers, route, &one_at_a_time(&endpoint), cluster);
    let line = line(&proxy, &endpoint, 0);
    assert_refused(&proxy, "/late", "queue_timeout");
    assert_eq!(get(proxy.web(), "/hasty/x").status(), 504);
    assert_eq!(proxy.access_of("/hasty/x")["cause"], "total_timeout");
    assert_eq!((waiting(&proxy), endpoint.requests()), (0, 1));
    gate.open();
    for mut client in line {
        assert_eq!(client.answer("GET").status(), 200);
    }
    assert_eq!(proxy.metric("lbproxy_queue_requests_total", &["app", "\"timeout\""]), 1.0);
    assert_eq!(proxy.metric("lbproxy_queue_requests_total", &["app", "\"cancelled\""]), 1.0);
}

fn a_client_that_goes_away_leaves_the_queue(workers: usize) {
    let gate = Gate::default();
    let endpoint = busy(&gate);
    let proxy = balancing(workers, "", &one_at_a_time(&endpoint), "queue = { size = 5, timeout = \"60s\" }");
    let mut line = line(&proxy, &endpoint, 2);
    let mut last = line.pop().unwrap();
    line.pop().unwrap().reset_on_close();
    wait_until("it to leave", || waiting(&proxy) == 1);
    gate.open();
    assert_eq!(last.answer("GET").text(), "/2");
    assert_eq!(endpoint.requests(), 2, "a cancelled request is not sent");
}

fn a_reload_that_raises_the_limit_serves_waiting_requests(workers: usize) {
    let gate = Gate::default();
    let endpoint = busy(&gate);
    let cluster = "queue = { size = 5, timeout = \"60s\" }";
    let mut proxy = balancing(workers, "", &one_at_a_time(&endpoint), cluster);
    let mut line = line(&proxy, &endpoint, 2);
    let other = Endpoint::named("other");
    let both = format!("[{{ address = \"{}\", max_in_flight = 2 }}, \"{}\"]", endpoint.at(), other.at());
    proxy.reload(&one_cluster(workers, "", &both, cluster));
    // One goes where the limit was raised and stays there, or both go to the endpoint that joined.
    wait_until("an empty queue", || waiting(&proxy) == 0);
    gate.open();
    for client in &mut line {
        assert_eq!(client.answer("GET").status(), 200);
    }
}
