//! Too few healthy endpoints: health is ignored, and that is visible.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use super::{answers, balancing, list};
use crate::support::{Endpoint, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    panic_mode_is_loud,
    one_of_three_that_passes_its_check_gets_every_request,
    where_none_is_left_the_ejected_come_last,
    a_cluster_that_must_not_panic_does_not,
);

const CHECKS: &str = "policy = \"round_robin\"
    health.active = { path = \"/health\", interval = \"20ms\", timeout = \"5s\", rise = 1, fall = 1 }";

/// An endpoint that answers its requests whatever its check says.
fn checked(name: &'static str, health: &Arc<AtomicU16>) -> Endpoint {
    let health = Arc::clone(health);
    Endpoint::answering(move |request| match request.head.target() {
        "/health" => text(health.load(Ordering::SeqCst), ""),
        _ => text(200, name),
    })
}

fn panic_mode_is_loud(workers: usize) {
    let health = Arc::new(AtomicU16::new(200));
    let endpoints = [checked("a", &health), checked("b", &health), Endpoint::answering(|_| text(200, "c"))];
    let cluster = format!("{CHECKS}\npanic_threshold = \"50%\"");
    let proxy = balancing(workers, "name = \"main\"\npolicy = \"p2c\"", &list(&endpoints), &cluster);
    wait_until("a first check", || proxy.endpoint("app", &endpoints[0].at())["last_check"]["ok"] == true);
    let state = || {
        let status = proxy.status();
        let app = &status["clusters"]["app"];
        (app["panic"].as_bool().unwrap(), app["panic_picks"].as_u64().unwrap())
    };
    assert_eq!(state(), (false, 0));
    assert_eq!(proxy.metric("lbproxy_panic_mode", &["app"]), 0.0);
    assert_eq!(proxy.metric("lbproxy_cluster_policy", &["app", "policy=\"round_robin\""]), 1.0);
    assert_eq!(proxy.metric("lbproxy_route_policy", &["main", "app", "policy=\"p2c\""]), 1.0);
    let app = &proxy.status()["clusters"]["app"];
    assert_eq!((&app["policy"], &app["routes"]["main"]), (&"round_robin".into(), &"p2c".into()), "{app}");

    // One of three is well: less than half.
    health.store(500, Ordering::SeqCst);
    let line = proxy.wait_log("cluster app is in panic mode");
    assert!(line.contains("1 of 3 endpoints eligible") && line.contains("50%"), "{line}");
    let seen = answers(&proxy, 30);
    assert!(seen.contains('a') && seen.contains('b'), "their health is ignored: {seen}");
    wait_until("the page to tell", || state() == (true, 30));
    assert_eq!(proxy.metric("lbproxy_panic_mode", &["app"]), 1.0);
    assert_eq!(proxy.metric("lbproxy_panic_mode_picks_total", &["app"]), 30.0);

    health.store(200, Ordering::SeqCst);
    proxy.wait_log("cluster app has left panic mode");
    answers(&proxy, 6);
    assert_eq!(state(), (false, 30), "picks are counted only in panic mode");
}

fn one_of_three_that_passes_its_check_gets_every_request(workers: usize) {
    let sick = || Endpoint::answering(|_| text(500, "sick"));
    let endpoints = [sick(), sick(), Endpoint::named("c")];
    let proxy = balancing(workers, "retry = \"off\"", &list(&endpoints), CHECKS);
    for endpoint in &endpoints[..2] {
        proxy.wait_log(&format!("endpoint {} is down: ", endpoint.at()));
    }
    assert_eq!(answers(&proxy, 30), "c".repeat(30));
    assert_eq!(proxy.metric("lbproxy_panic_mode", &["app"]), 0.0);
    assert!(!proxy.log().iter().any(|line| line.contains("panic mode")), "{:#?}", proxy.log());
}

fn where_none_is_left_the_ejected_come_last(workers: usize) {
    let health = Arc::new(AtomicU16::new(200));
    let failing_health = Arc::new(AtomicU16::new(200));
    let failing = Endpoint::answering(move |request| match request.head.target() {
        "/health" => text(failing_health.load(Ordering::SeqCst), ""),
        _ => {
            // From here on, so that no check that passes ends the ejection.
            failing_health.store(500, Ordering::SeqCst);
            text(500, "f")
        }
    });
    let endpoints = [failing, checked("b", &health), checked("c", &health)];
    let cluster = format!("{CHECKS}\nhealth.passive = {{ failures = 1, eject_for = \"1h\" }}");
    let proxy = balancing(workers, "retry.on = [\"500\"]", &list(&endpoints), &cluster);
    answers(&proxy, 6);
    proxy.wait_log(&format!("endpoint {} ejected for ", endpoints[0].at()));
    health.store(500, Ordering::SeqCst);
    proxy.wait_log("cluster app is in panic mode: none of 3");
    // They only fail their check; the other one failed a request.
    let seen = answers(&proxy, 20);
    assert!(seen.contains('b') && seen.contains('c'), "{seen}");
    let asked = endpoints[0].messages().into_iter().filter(|message| message.head.target() == "/");
    assert_eq!(asked.count(), 1);
    assert_eq!(proxy.metric("lbproxy_panic_mode_picks_total", &["app"]), 20.0);
}

fn a_cluster_that_must_not_panic_does_not(workers: usize) {
    let health = Arc::new(AtomicU16::new(500));
    let endpoints = [checked("a", &health), checked("b", &health), Endpoint::answering(|_| text(200, "c"))];
    let cluster = format!("{CHECKS}\npanic_threshold = \"0%\"");
    let proxy = balancing(workers, "", &list(&endpoints), &cluster);
    for endpoint in &endpoints[..2] {
        proxy.wait_log(&format!("endpoint {} is down: ", endpoint.at()));
    }
    wait_until("both to be passed over", || proxy.metric("lbproxy_endpoint_eligible", &[&endpoints[1].at()]) == 0.0);
    assert_eq!(answers(&proxy, 6), "cccccc");
    assert_eq!(proxy.metric("lbproxy_panic_mode_picks_total", &["app"]), 0.0);
}
