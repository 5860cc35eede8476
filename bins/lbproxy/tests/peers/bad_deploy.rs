//! A bad deploy of two of three endpoints, beside nginx: never more failed requests than with its plain rule.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::programs::{Nginx, Ports, has_nginx};
use crate::support::{Endpoint, Proxy, config, get, text};

/// Requests a second and in all: five seconds of it.
const RATE: u32 = 200;
const REQUESTS: u32 = 1_000;

/// Two that fail every request, and one that is well.
fn endpoints() -> [Endpoint; 3] {
    [Endpoint::answering(|_| text(500, "a")), Endpoint::answering(|_| text(500, "b")), Endpoint::named("c")]
}

/// How many requests failed, of those that arrive by the clock and not one after the other.
fn failed(at: SocketAddr) -> usize {
    let start = Instant::now();
    let statuses: Vec<_> = (0..REQUESTS)
        .map(|number| {
            let due = Duration::from_secs(1) * number / RATE;
            // The rate is what is tried here; a request that is late is sent at once.
            std::thread::sleep(due.saturating_sub(start.elapsed()));
            get(at, "/").status()
        })
        .collect();
    statuses.into_iter().filter(|&status| status != 200).count()
}

#[test]
fn two_of_three_endpoints_that_fail_cost_no_more_requests_than_with_nginx() {
    if !has_nginx() {
        return;
    }
    let (ours, theirs) = (endpoints(), endpoints());
    let list: Vec<_> = ours.iter().map(|endpoint| format!("\"{}\"", endpoint.at())).collect();
    let proxy = Proxy::start(&config(
        2,
        &format!(
            "[[route]]\ncluster = \"app\"\nretry = {{ attempts = 3, on = [\"connect_error\", \"timeout\", \"500\"] }}\n\
             [cluster.app]\nendpoints = [{}]\nhealth.passive = {{}}\n",
            list.join(", ")
        ),
    ));
    let servers: String =
        theirs.iter().map(|endpoint| format!("server {} max_fails=3 fail_timeout=10s; ", endpoint.at())).collect();
    let http = format!(
        "upstream app {{ zone app 64k; {servers} }}
         server {{ listen PORT0; location / {{ proxy_pass http://app; proxy_next_upstream error timeout http_500; }} }}"
    );
    let ports = Ports::new(1);
    let nginx = Nginx::start("", &http, &ports, |_| ());
    let [with_us, with_nginx] = std::thread::scope(|scope| {
        let runs = [proxy.web(), ports.at(0)].map(|at| scope.spawn(move || failed(at)));
        runs.map(|run| run.join().expect("it asks"))
    });
    let asked = |endpoints: &[Endpoint; 3]| endpoints.each_ref().map(Endpoint::requests);
    let seen = format!("failed {with_us} and {with_nginx}, asked {:?} and {:?}", asked(&ours), asked(&theirs));
    assert!(with_us <= with_nginx, "{seen}");
    // Three failures each, and those that were under way meanwhile.
    assert!(ours[0].requests() + ours[1].requests() <= 20, "{seen}");
    drop(nginx);
}
