//! The admin listener.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{Client, Endpoint, Proxy, config, get, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    health_says_whether_to_send_more,
    the_status_says_what_each_endpoint_is_doing_and_why,
    metrics_count_what_happened,
    strangers_are_not_told,
);

fn sample(workers: usize, endpoints: &str) -> String {
    config(workers, &format!("[[route]]\nname = \"main\"\ncluster = \"app\"\n[cluster.app]\nendpoints = {endpoints}\n"))
}

fn health_says_whether_to_send_more(workers: usize) {
    let proxy = Proxy::start(&config(workers, "[[route]]\nrespond = {}\n"));
    let answer = proxy.ask_admin("/healthz");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "healthy\n"));
    assert_eq!(proxy.ask_admin("/").status(), 404);
    assert_eq!(proxy.ask_admin("/status?pretty").status(), 200);
}

fn the_status_says_what_each_endpoint_is_doing_and_why(workers: usize) {
    let endpoint = Endpoint::named("ok");
    let list = format!(
        "[\"{0}\", {{ address = \"localhost:{1}\", weight = 0 }}, \"app.invalid:80\"]",
        endpoint.at(),
        endpoint.address.port()
    );
    let proxy = Proxy::start(&sample(workers, &list));
    for _ in 0..3 {
        assert_eq!(get(proxy.web(), "/").status(), 200);
    }
    wait_until("the requests to be over", || proxy.endpoint("app", &endpoint.at())["in_flight"] == 0);
    let answer = proxy.ask_admin("/status");
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    let status = proxy.status();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(keys(&status), BTreeSet::from(["generation", "uptime_s", "limits", "clusters"].map(str::to_owned)));
    assert_eq!(status["generation"], 1);
    let endpoints = status["clusters"]["app"]["endpoints"].as_array().unwrap();
    let documented = [
        "address",
        "resolved",
        "eligible",
        "state",
        "reason",
        "since",
        "in_flight",
        "requests",
        "failures",
        "last_check",
    ];
    for endpoint in endpoints {
        assert!(documented.iter().all(|key| endpoint.get(key).is_some()), "{endpoint}");
    }
    let by = |name: &str| endpoints.iter().find(|it| it["address"].as_str().unwrap().starts_with(name)).unwrap();
    let up = by("127.0.0.1");
    assert_eq!(
        (&up["state"], &up["eligible"], &up["requests"], &up["failures"]),
        (&"up".into(), &true.into(), &3.into(), &0.into()),
        "{up}"
    );
    assert_eq!((&by("localhost")["state"], &by("localhost")["eligible"]), (&"drain".into(), &false.into()));
    assert!(by("localhost")["resolved"].as_str().unwrap().contains("127.0.0.1"), "{}", by("localhost"));
    let unresolved = by("app.invalid");
    assert_eq!((&unresolved["state"], &unresolved["resolved"]), (&"unresolved".into(), &Value::Null), "{unresolved}");
}

fn metrics_count_what_happened(workers: usize) {
    let endpoint = Endpoint::answering(|request| {
        crate::support::text(if request.head.target() == "/500" { 500 } else { 200 }, "")
    });
    let proxy = Proxy::start(&sample(workers, &format!("[\"{}\"]", endpoint.at())));
    for path in ["/", "/", "/", "/500"] {
        get(proxy.web(), path);
    }
    get(proxy.web(), "/a-very-special-path");
    let labels = ["listener=\"web\"", "route=\"main\"", "cluster=\"app\"", &format!("endpoint=\"{}\"", endpoint.at())];
    let with = |code: &str| {
        let code = format!("code=\"{code}\"");
        let mut all = labels.to_vec();
        all.push(&code);
        proxy.metric("lbproxy_requests_total", &all)
    };
    wait_until("every request to be counted", || (with("200"), with("500")) == (4.0, 1.0));
    assert_eq!(proxy.metric("lbproxy_request_duration_seconds_count", &["main"]), 5.0);
    assert_eq!(proxy.metric("lbproxy_endpoint_duration_seconds_count", &[&endpoint.at()]), 5.0);
    assert_eq!(proxy.metric("lbproxy_endpoint_eligible", &[&endpoint.at()]), 1.0);
    assert_eq!(proxy.metric("lbproxy_in_flight", &[]), 0.0);
    assert_eq!(proxy.metric("lbproxy_panics_total", &[]), 0.0);
    let _open = Client::connect(proxy.web());
    wait_until("a connection to be counted", || proxy.metric("lbproxy_connections", &["web"]) == 1.0);
    let page = proxy.ask_admin("/metrics").text();
    assert!(!page.contains("special"), "labels never come from a request");
    for name in [
        "requests_total",
        "request_duration_seconds",
        "endpoint_duration_seconds",
        "in_flight",
        "connections",
        "connections_limit",
        "endpoint_connections",
        "endpoint_connections_limit",
        "endpoint_connections_refused_total",
        "endpoint_eligible",
        "retries_total",
        "rate_limited_total",
        "checks_total",
        "ejections_total",
        "config_generation",
        "panics_total",
    ] {
        assert!(
            page.contains(&format!("# TYPE lbproxy_{name} "))
                || page.contains(&format!("# TYPE lbproxy_{} ", name.trim_end_matches("_total"))),
            "{name}"
        );
    }
}

fn strangers_are_not_told(workers: usize) {
    let proxy = Proxy::start(&config(workers, "[[route]]\nrespond = {}\n"));
    // A page in a browser whose name was pointed here.
    let answer = Client::connect(proxy.admin()).ask("GET /status HTTP/1.1\nHost: evil.test");
    assert_eq!(answer.status(), 403);
    assert!(!answer.text().contains("generation"));
    let answer = Client::connect(proxy.admin()).ask("POST /status HTTP/1.1\nHost: localhost\nContent-Length: 0");
    assert_eq!(answer.status(), 405);
    // And nothing of it on a listener for everybody.
    for path in ["/status", "/metrics"] {
        assert!(!get(proxy.web(), path).text().contains("lbproxy_"), "{path}");
    }
}
