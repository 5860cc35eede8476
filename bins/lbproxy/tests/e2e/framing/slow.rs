//! Clients that never finish what they begin.

use std::time::{Duration, Instant};

use super::guarded;
use crate::support::{Client, DEADLINE, get};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(a_head_that_takes_too_long_is_given_up);

fn a_head_that_takes_too_long_is_given_up(workers: usize) {
    let (proxy, endpoint) = guarded(workers);

    // Half a head, then nothing.
    let mut half = Client::connect(proxy.web());
    half.send("GET / HTTP/1.1\r\nHost: a\r\n");
    let start = Instant::now();
    let answer = half.answer("GET");
    assert_eq!(answer.status(), 408, "{answer:?}");
    assert!(start.elapsed() >= Duration::from_millis(1_900), "head_timeout is 2 s: {:?}", start.elapsed());
    assert!(answer.head.says_close());
    assert!(half.is_closed_silently());

    // A byte at a time, never slow enough for a timeout between bytes.
    let mut drip = Client::connect(proxy.web());
    let start = Instant::now();
    drip.send("GET / HTTP/1.1\r\n");
    while drip.write("X").is_ok() && drip.is_silent_for(Duration::from_millis(20)) {
        assert!(start.elapsed() < DEADLINE, "a dripping head is never given up");
    }
    assert_eq!(drip.answer("GET").status(), 408);

    // Empty lines before a request are tolerated, but are no request.
    let mut empty = Client::connect(proxy.web());
    let start = Instant::now();
    while empty.write("\r\n").is_ok() && empty.is_silent_for(Duration::from_millis(100)) {
        assert!(start.elapsed() < DEADLINE, "empty lines keep a connection alive");
    }

    // Nothing at all: there is no request to answer.
    let mut silent = Client::connect(proxy.web());
    assert!(silent.is_closed_silently());

    // A connection that was refused lingers, for the client to read the answer.
    drop((half, drip, empty));
    assert_eq!(endpoint.connections(), 0);
    assert_eq!(get(proxy.web(), "/").text(), "reached");
    let logged = proxy.terminate().access(|line| line["status"] == 408);
    assert!(logged.len() >= 2 && logged.iter().all(|line| line["cause"] == "head_timeout"), "{logged:?}");
}
