//! Too few are well: health is ignored, and everybody is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use super::{answers, balancing, list};
use crate::support::{Endpoint, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(panic_mode_is_loud, a_cluster_that_must_not_panic_does_not);

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
    let proxy = balancing(workers, "name = \"main\"\npolicy = \"p2c\"", &list(&endpoints), CHECKS);
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
