//! Outlier detection: judged by what clients got.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::{answers, balancing, list, one_cluster};
use crate::support::{Client, Endpoint, Gate, Proxy, Refusing, get, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    an_endpoint_that_fails_requests_is_ejected_for_a_while,
    an_endpoint_that_refuses_is_ejected_without_a_failed_request,
    the_last_one_is_never_ejected,
    two_of_three_that_fail_get_no_more_than_what_ejects_them,
    an_ejection_does_not_outlive_its_rule,
    a_changed_rule_holds_for_ejections_and_for_requests_in_flight,
    the_log_calls_no_endpoint_up_whose_check_still_fails,
    an_endpoint_that_hangs_until_the_total_timeout_is_ejected,
    a_client_that_is_slow_to_upload_has_no_endpoint_ejected,
    a_passed_check_brings_an_ejected_endpoint_back,
);

fn an_endpoint_that_fails_requests_is_ejected_for_a_while(workers: usize) {
    let status = Arc::new(AtomicU16::new(500));
    let sick = {
        let status = Arc::clone(&status);
        Endpoint::answering(move |_| text(status.load(Ordering::SeqCst), "s"))
    };
    let endpoints = [sick, Endpoint::named("h"), Endpoint::named("h")];
    let passive = "health.passive = { failures = 3, window = \"30s\", eject_for = \"4s\" }";
    let proxy = balancing(workers, "retry = \"off\"", &list(&endpoints), passive);
    let at = endpoints[0].at();
    let start = Instant::now();
    let failed = (0..30).filter(|_| get(proxy.web(), "/").status() == 500).count();
    assert_eq!(failed, 3, "three failures eject");
    let line = proxy.wait_log(&format!("endpoint {at} ejected for "));
    assert!(line.contains("3 failures") && line.contains("cluster=app"), "{line}");
    let seen = proxy.endpoint("app", &at);
    assert_eq!((&seen["state"], &seen["outcomes"], &seen["ejections"]), (&"ejected".into(), &"555".into(), &1.into()));
    assert!(seen["wait_s"].as_f64().is_some_and(|wait| wait > 0.0 && wait <= 4.4), "{seen}");
    assert_eq!(proxy.metric("lbproxy_ejections_total", &[&at]), 1.0);
    assert_eq!(proxy.metric("lbproxy_transitions_total", &[&at, "from=\"up\",to=\"ejected\",reason=\"outlier\""]), 1.0);
    assert_eq!(endpoints[0].requests(), 3);

    status.store(200, Ordering::SeqCst);
    proxy.wait_log(&format!("endpoint {at} is up: "));
    assert!(start.elapsed() >= Duration::from_millis(3_990), "after {:?}", start.elapsed());
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

/// A bad deploy of two of three: the second ejection must not bring the first endpoint back.
fn two_of_three_that_fail_get_no_more_than_what_ejects_them(workers: usize) {
    for threshold in ["off", "50%", "100%"] {
        let endpoints =
            [Endpoint::answering(|_| text(500, "a")), Endpoint::answering(|_| text(500, "b")), Endpoint::named("c")];
        let cluster = format!("panic_threshold = \"{threshold}\"\nhealth.passive = {{ eject_for = \"1h\" }}");
        let proxy = balancing(workers, "retry = { attempts = 3, on = [\"500\"] }", &list(&endpoints), &cluster);
        assert_eq!(answers(&proxy, 60), "c".repeat(60), "{threshold}");
        let asked: Vec<_> = endpoints.iter().map(Endpoint::requests).collect();
        assert_eq!(asked, [3, 3, 60], "{threshold}: three failures eject each");
        assert_eq!(proxy.metric("lbproxy_panic_mode_picks_total", &["app"]), 0.0);
    }
}

fn an_ejection_does_not_outlive_its_rule(workers: usize) {
    let gate = Gate::default();
    let waiting = gate.clone();
    let endpoints = [
        // It takes the request, and breaks off when the gate opens.
        Endpoint::on_head(move |_, _| {
            waiting.wait();
            Ok(())
        }),
        Endpoint::named("b"),
    ];
    let at = endpoints[0].at();
    let with = |passive: &str| one_cluster(workers, "retry = \"off\"", &list(&endpoints), passive);
    let rule = "health.passive = { failures = 1, eject_for = \"1h\" }";
    let mut proxy = Proxy::start(&with(rule));
    let mut client = Client::connect(proxy.web());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the request to hang", || endpoints[0].requests() == 1);
    proxy.reload(&with("health.passive = \"off\""));
    gate.open();
    assert_eq!(client.answer("GET").status(), 502);
    assert_eq!(proxy.endpoint("app", &at)["state"], "up");
    // Back in force, the rule starts with zero failures.
    proxy.reload(&with(rule));
    assert_eq!(proxy.endpoint("app", &at)["state"], "up");
    wait_until("the ejection", || {
        get(proxy.web(), "/");
        proxy.endpoint("app", &at)["state"] == "ejected"
    });
}

fn a_changed_rule_holds_for_ejections_and_for_requests_in_flight(workers: usize) {
    let gate = Gate::default();
    let waiting = gate.clone();
    let endpoints = [
        // It takes the request, and breaks off when the gate opens.
        Endpoint::on_head(move |_, _| {
            waiting.wait();
            Ok(())
        }),
        Endpoint::named("b"),
    ];
    let at = endpoints[0].at();
    let with = |passive: &str| one_cluster(workers, "retry = \"off\"", &list(&endpoints), passive);
    let mut proxy = Proxy::start(&with("health.passive = { failures = 1, eject_for = \"1h\" }"));
    let mut client = Client::connect(proxy.web());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the request to hang", || endpoints[0].requests() == 1);
    proxy.reload(&with("health.passive = { failures = 2, eject_for = \"1h\" }"));
    gate.open();
    assert_eq!(client.answer("GET").status(), 502);
    assert_eq!(proxy.endpoint("app", &at)["state"], "up", "it is one failure of two");
    wait_until("the ejection", || {
        get(proxy.web(), "/");
        proxy.endpoint("app", &at)["state"] == "ejected"
    });
    proxy.reload(&with("health.passive = { failures = 1, eject_for = \"1s\" }"));
    let line = proxy.wait_log("its ejection is over");
    assert!(line.contains(&format!("endpoint {at} is up: ")), "{line}");
    wait_until("the next ejection", || {
        get(proxy.web(), "/");
        proxy.endpoint("app", &at)["reason"] == "1 failure in 30s, the last a reset"
    });
}

fn the_log_calls_no_endpoint_up_whose_check_still_fails(workers: usize) {
    let health = Arc::new(AtomicU16::new(200));
    let sick = {
        let health = Arc::clone(&health);
        Endpoint::answering(move |request| match request.head.target() {
            "/health" => text(health.load(Ordering::SeqCst), ""),
            _ => {
                // From here on, so that no check that passes ends the ejection.
                health.store(500, Ordering::SeqCst);
                text(500, "a")
            }
        })
    };
    let endpoints = [sick, Endpoint::named("b"), Endpoint::named("c")];
    let rules = "health.active = { path = \"/health\", interval = \"20ms\", fall = 1 }
        health.passive = { failures = 1, eject_for = \"2s\" }";
    let proxy = balancing(workers, "retry.on = [\"500\"]", &list(&endpoints), rules);
    answers(&proxy, 3);
    let at = endpoints[0].at();
    proxy.wait_log(&format!("endpoint {at} ejected for "));
    proxy.wait_log(&format!("endpoint {at} is down: "));
    let line = proxy.wait_log("its ejection is over");
    assert!(line.contains(&format!("endpoint {at} is not up yet (check): its ejection is over")), "{line}");
    assert_eq!(proxy.endpoint("app", &at)["eligible"], false);
}

/// An endpoint that takes requests and answers none.
fn hanging() -> Endpoint {
    Endpoint::on_head(|wire, _| wire.read_to_end().map(drop))
}

fn an_endpoint_that_hangs_until_the_total_timeout_is_ejected(workers: usize) {
    let endpoints = [hanging(), Endpoint::named("h"), Endpoint::named("h")];
    let route = "retry = \"off\"\ntimeout = { total = \"300ms\" }";
    let rule = "health.passive = { failures = 2, eject_for = \"1h\" }";
    let proxy = balancing(workers, route, &list(&endpoints), rule);
    let failed = (0..20).filter(|_| get(proxy.web(), "/").status() == 504).count();
    assert_eq!(failed, 2, "two failures eject");
    let line = proxy.wait_log(&format!("endpoint {} ejected for ", endpoints[0].at()));
    assert!(line.contains("timeout"), "{line}");
    assert_eq!(proxy.endpoint("app", &endpoints[0].at())["failures"], 2);
}

fn a_client_that_is_slow_to_upload_has_no_endpoint_ejected(workers: usize) {
    let endpoints = [Endpoint::named("a"), Endpoint::named("b")];
    let route = "retry = \"off\"\ntimeout = { total = \"300ms\" }";
    let rule = "health.passive = { failures = 1, eject_for = \"1h\" }";
    let proxy = balancing(workers, route, &list(&endpoints), rule);
    for _ in 0..3 {
        let mut client = Client::connect(proxy.web());
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
        assert_eq!(client.answer("POST").status(), 504);
    }
    for endpoint in &endpoints {
        let seen = proxy.endpoint("app", &endpoint.at());
        assert_eq!((&seen["state"], &seen["failures"]), (&"up".into(), &0.into()), "{seen}");
    }
}

fn a_passed_check_brings_an_ejected_endpoint_back(workers: usize) {
    let is_well = Arc::new(AtomicU16::new(200));
    let endpoint = {
        let is_well = Arc::clone(&is_well);
        Endpoint::answering(move |_| text(is_well.load(Ordering::SeqCst), "a"))
    };
    let endpoints = [endpoint, Endpoint::named("b"), Endpoint::named("c")];
    let rules = "health.active = { path = \"/\", interval = \"50ms\", rise = 1, fall = 1000 }
        health.passive = { failures = 1, eject_for = \"1h\" }";
    let proxy = balancing(workers, "retry.on = [\"500\"]", &list(&endpoints), rules);
    let at = endpoints[0].at();
    wait_until("a first check", || proxy.endpoint("app", &at)["last_check"]["ok"] == true);
    is_well.store(500, Ordering::SeqCst);
    wait_until("a request that fails there", || {
        answers(&proxy, 3);
        proxy.endpoint("app", &at)["state"] == "ejected"
    });
    is_well.store(200, Ordering::SeqCst);
    wait_until("it to take part again", || answers(&proxy, 3).contains('a'));
}
