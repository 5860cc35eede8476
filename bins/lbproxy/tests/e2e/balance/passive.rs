//! Outlier detection: judged by what clients got.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::{answers, balancing, list};
use crate::support::{Endpoint, Refusing, get, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    an_endpoint_that_fails_requests_is_ejected_for_a_while,
    an_endpoint_that_refuses_is_ejected_without_a_failed_request,
    the_last_one_is_never_ejected,
);

fn an_endpoint_that_fails_requests_is_ejected_for_a_while(workers: usize) {
    let status = Arc::new(AtomicU16::new(500));
    let sick = {
        let status = Arc::clone(&status);
        Endpoint::answering(move |_| text(status.load(Ordering::SeqCst), "s"))
    };
    let endpoints = [sick, Endpoint::named("h"), Endpoint::named("h")];
    let passive = "health.passive = { failures = 3, window = \"30s\", eject_for = \"400ms\" }";
    let proxy = balancing(workers, "retry = \"off\"", &list(&endpoints), passive);
    let at = endpoints[0].at();
    let start = Instant::now();
    let failed = (0..30).filter(|_| get(proxy.web(), "/").status() == 500).count();
    assert_eq!(failed, 3, "three failures eject");
    let line = proxy.wait_log(&format!("endpoint {at} ejected for "));
    assert!(line.contains("3 failures") && line.contains("cluster=app"), "{line}");
    assert_eq!(proxy.endpoint("app", &at)["state"], "ejected");
    assert_eq!(proxy.metric("lbproxy_ejections_total", &[&at]), 1.0);
    assert_eq!(endpoints[0].requests(), 3);

    status.store(200, Ordering::SeqCst);
    proxy.wait_log(&format!("endpoint {at} is up: "));
    assert!(start.elapsed() >= Duration::from_millis(390), "after {:?}", start.elapsed());
    wait_until("it to take part again", || answers(&proxy, 3).contains('s'));
}

fn an_endpoint_that_refuses_is_ejected_without_a_failed_request(workers: usize) {
    let refusing = Refusing::new();
    let healthy = [Endpoint::named("h"), Endpoint::named("h")];
    let endpoints = format!("[\"{}\", \"{}\", \"{}\"]", refusing.address, healthy[0].at(), healthy[1].at());
    let proxy = balancing(workers, "", &endpoints, "health.passive = { failures = 2 }");
    assert_eq!(answers(&proxy, 12), "h".repeat(12));
    let line = proxy.wait_log(&format!("endpoint {} ejected for ", refusing.address));
    assert!(line.contains("connect_error"), "{line}");
    assert_eq!(proxy.endpoint("app", &refusing.address.to_string())["failures"], 2, "no further attempt on it");
}

fn the_last_one_is_never_ejected(workers: usize) {
    let endpoints = [Endpoint::answering(|_| text(500, "a")), Endpoint::answering(|_| text(500, "b"))];
    let proxy = balancing(workers, "retry = \"off\"", &list(&endpoints), "health.passive = { failures = 1 }");
    for _ in 0..12 {
        let answer = get(proxy.web(), "/");
        assert_eq!(
            (answer.status(), answer.header("Retry-After")),
            (500, None),
            "an endpoint's own answer: {answer:?}"
        );
    }
    let states = endpoints.each_ref().map(|endpoint| proxy.endpoint("app", &endpoint.at())["state"].clone());
    assert_eq!(states.iter().filter(|state| *state == "ejected").count(), 1, "{states:?}");
    proxy.wait_log("not ejected");
}
