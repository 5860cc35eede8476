//! The admin listener.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::support::{Client, Endpoint, Message, Proxy, Refusing, Wire, config, get, wait_for, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    health_says_whether_to_send_more,
    the_status_says_what_each_endpoint_is_doing_and_why,
    people_get_a_page,
    an_ejected_endpoint_says_what_failed,
    metrics_count_what_happened,
    an_endpoint_that_refuses_has_no_response_times,
    foreign_hosts_get_nothing_from_the_admin_listener,
    silent_clients_keep_no_other_from_the_admin_listener,
    a_name_that_is_not_in_the_file_is_refused_with_networks_too,
);

fn sample(workers: usize, endpoints: &str) -> String {
    config(workers, &format!("[[route]]\nname = \"main\"\ncluster = \"app\"\n[cluster.app]\nendpoints = {endpoints}\n"))
}

fn health_says_whether_to_send_more(workers: usize) {
    let proxy = Proxy::start(&config(workers, "[[route]]\nrespond = {}\n"));
    let answer = proxy.ask_admin("/healthz");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "healthy\n"));
    assert_eq!(proxy.ask_admin("/nothing").status(), 404);
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
    let documented = [
        "version",
        "generation",
        "uptime_s",
        "requests_per_s",
        "response_ms",
        "limits",
        "rate_limits",
        "concurrency",
        "listeners",
        "certificates",
        "clusters",
    ];
    assert_eq!(keys(&status), BTreeSet::from(documented.map(str::to_owned)));
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    let web = &status["listeners"]["web"];
    assert_eq!((&web["address"], &web["tls"], &web["requests"]), (&"127.0.0.1:0".into(), &false.into(), &3.into()));
    // Nothing was asked before, so all of it is of the last seconds.
    wait_until("a rate", || proxy.status()["requests_per_s"].as_f64().unwrap() > 0.0);
    let status = proxy.status();
    assert!(status["response_ms"]["p50"].as_f64().unwrap() > 0.0, "{status}");
    assert!(status["listeners"]["web"]["response_ms"]["p99"].as_f64().unwrap() > 0.0, "{status}");
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
        "requests_per_s",
        "response_ms",
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
    assert_eq!(unresolved["reason"], "its name does not resolve");
}

fn people_get_a_page(workers: usize) {
    let endpoint = Endpoint::named("ok");
    let proxy = Proxy::start(&sample(workers, &format!("[\"{}\"]", endpoint.at())));
    get(proxy.web(), "/");
    let browser = "Host: localhost\nAccept: text/html,application/xhtml+xml,*/*;q=0.8";
    for request in [
        "GET / HTTP/1.1\nHost: localhost".to_owned(),
        "GET /status?format=html HTTP/1.1\nHost: localhost".to_owned(),
        format!("GET /status HTTP/1.1\n{browser}"),
    ] {
        let answer = Client::connect(proxy.admin()).ask(&request);
        assert_eq!(
            (answer.status(), answer.header("Content-Type")),
            (200, Some("text/html; charset=utf-8")),
            "{request}"
        );
        assert!(answer.header("Content-Security-Policy").unwrap().starts_with("default-src 'none'"), "{answer:?}");
        let page = answer.text();
        assert!(page.contains(&endpoint.at()) && page.contains("Cluster app") && !page.contains("<script"), "{page}");
    }
    let json = Client::connect(proxy.admin()).ask(&format!("GET /status?format=json HTTP/1.1\n{browser}"));
    assert_eq!(json.header("Content-Type"), Some("application/json"));
}

fn an_ejected_endpoint_says_what_failed(workers: usize) {
    let sick = Endpoint::answering(|_| crate::support::text(500, "sick"));
    let well = Endpoint::named("well");
    let passive =
        "retry = \"off\"\n[cluster.app]\nhealth.passive = { failures = 2, window = \"30s\", eject_for = \"1h\" }";
    let list = format!("[\"{}\", \"{}\"]", sick.at(), well.at());
    let proxy = Proxy::start(&sample(workers, &list).replace("[cluster.app]", passive));
    wait_until("its ejection", || {
        get(proxy.web(), "/");
        proxy.endpoint("app", &sick.at())["state"] == "ejected"
    });
    let endpoint = proxy.endpoint("app", &sick.at());
    assert_eq!(endpoint["reason"], "2 failures in 30s, the last a 5xx", "{endpoint}");
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
        "rate_limit_passed_total",
        "rate_limit_delayed_total",
        "rate_limit_would_refuse_total",
        "rate_limit_evicted_total",
        "rate_limit_crowded_total",
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

fn an_endpoint_that_refuses_has_no_response_times(workers: usize) {
    let refusing = Refusing::new();
    let proxy = Proxy::start(&sample(workers, &format!("[\"{}\"]", refusing.address)));
    assert_eq!(get(proxy.web(), "/").status(), 502);
    wait_until("the attempt to be counted", || proxy.endpoint("app", &refusing.address.to_string())["failures"] == 1);
    let endpoint = proxy.endpoint("app", &refusing.address.to_string());
    assert!(endpoint["response_ms"].is_null(), "{endpoint}");
    assert_eq!(proxy.metric("lbproxy_endpoint_duration_seconds_count", &[&refusing.address.to_string()]), 0.0);
}

fn foreign_hosts_get_nothing_from_the_admin_listener(workers: usize) {
    let proxy = Proxy::start(&config(workers, "[[route]]\nrespond = {}\n"));
    // A page in a browser whose name was pointed here.
    let answer = Client::connect(proxy.admin()).ask("GET /status HTTP/1.1\nHost: evil.test");
    assert_eq!(answer.status(), 403);
    assert!(!answer.text().contains("generation"));
    let answer = Client::connect(proxy.admin()).ask("POST /status HTTP/1.1\nHost: localhost\nContent-Length: 0");
    assert_eq!(answer.status(), 405);
    // And nothing of it on a public listener.
    for path in ["/status", "/metrics"] {
        assert!(!get(proxy.web(), path).text().contains("lbproxy_"), "{path}");
    }
}

/// A connection to the admin listener from this address of loopback.
fn admin_from(proxy: &Proxy, last: u8) -> Wire {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, last], 0)).into()).unwrap();
    socket.connect(&proxy.admin().into()).unwrap();
    Wire::new(TcpStream::from(socket))
}

fn asked_by(proxy: &Proxy, last: u8, host: &str) -> Message {
    let mut wire = admin_from(proxy, last);
    wire.write(format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n")).unwrap();
    wire.read_response("GET").unwrap()
}

fn silent_clients_keep_no_other_from_the_admin_listener(workers: usize) {
    let proxy = Proxy::start(&config(workers, "admin.allow = [\"127.0.0.2/32\"]\n[[route]]\nrespond = {}\n"));
    let _strangers: Vec<_> = (0..100).map(|_| admin_from(&proxy, 3)).collect();
    assert_eq!(asked_by(&proxy, 2, "localhost").status(), 200, "a rejected client takes no slot");
    let _silent: Vec<_> = (0..100).map(|_| admin_from(&proxy, 2)).collect();
    assert_eq!(asked_by(&proxy, 2, "localhost").status(), 200, "the longest silent one leaves");
    // Once the first rejected clients are gone, one gets the 403.
    let answer = wait_for("an answer to a stranger", || {
        let mut wire = admin_from(&proxy, 3);
        wire.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").ok()?;
        wire.read_response("GET").ok()
    });
    assert_eq!((answer.status(), &*answer.text()), (403, "your address is not in admin.allow\n"));
}

fn a_name_that_is_not_in_the_file_is_refused_with_networks_too(workers: usize) {
    let mut proxy = Proxy::start(&config(workers, "admin.allow = [\"127.0.0.2/32\"]\n[[route]]\nrespond = {}\n"));
    for (host, status) in [("127.0.0.1:9", 200), ("localhost", 200), ("evil.test", 403), ("lb.test", 403)] {
        assert_eq!(asked_by(&proxy, 2, host).status(), status, "{host}");
    }
    let named = "admin.allow = [\"127.0.0.0/8\"]\nadmin.hosts = [\"lb.test\"]\n[[route]]\nrespond = {}\n";
    proxy.reload(&config(workers, named));
    assert_eq!((asked_by(&proxy, 2, "lb.test:9").status(), asked_by(&proxy, 2, "evil.test").status()), (200, 403));
}
