//! What a reload does not touch: limits already drawn on, cookies, ejections, checks, connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Client, Endpoint, Gate, Proxy, config, get, text, wait_for, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    limits_that_were_drawn_on_stay_drawn_on,
    cookies_stay_good_without_a_secret_in_the_file,
    ejections_and_checks_outlive_a_reload,
    slots_in_flight_are_still_counted,
    kept_connections_to_endpoints_are_kept,
);

/// One route, one cluster over `endpoints`, and a header that changes with `generation`.
fn numbered(workers: usize, generation: usize, route: &str, endpoints: &[&Endpoint], cluster: &str) -> String {
    let endpoints: Vec<_> = endpoints.iter().map(|endpoint| format!("\"{}\"", endpoint.at())).collect();
    config(
        workers,
        &format!(
            "[[route]]\nname = \"main\"\ncluster = \"app\"\nheaders.response.set = {{ X-Generation = \"{generation}\" }}\n\
             {route}\n[cluster.app]\nendpoints = [{}]\n{cluster}\n",
            endpoints.join(", ")
        ),
    )
}

fn limits_that_were_drawn_on_stay_drawn_on(workers: usize) {
    let endpoint = Endpoint::named("ok");
    let with = |generation, burst| {
        let limit = format!("rate_limit = {{ rate = \"1/m\", burst = {burst} }}");
        numbered(workers, generation, &limit, &[&endpoint], "")
    };
    let mut proxy = Proxy::start(&with(1, 2));
    let statuses = |proxy: &Proxy, n: usize| (0..n).map(|_| get(proxy.web(), "/").status()).collect::<Vec<_>>();
    assert_eq!(statuses(&proxy, 4), [200, 200, 200, 429]);
    proxy.reload(&with(2, 2));
    let answer = get(proxy.web(), "/");
    assert_eq!((answer.status(), answer.header("X-Generation")), (429, Some("2")));
    // A larger burst adds the difference, not a fresh start.
    proxy.reload(&with(3, 4));
    assert_eq!(statuses(&proxy, 4), [200, 200, 429, 429]);
}

fn cookies_stay_good_without_a_secret_in_the_file(workers: usize) {
    let endpoints = ["a", "b", "c"].map(Endpoint::named);
    let with = |generation| {
        let [a, b, c] = &endpoints;
        numbered(workers, generation, "sticky = { cookie = \"affinity\" }", &[a, b, c], "")
    };
    let mut proxy = Proxy::start(&with(1));
    let first = get(proxy.web(), "/");
    let cookie = first.header("Set-Cookie").unwrap().split(';').next().unwrap().to_owned();
    for generation in 2..5 {
        proxy.reload(&with(generation));
        for _ in 0..3 {
            let answer = Client::connect(proxy.web()).ask(&format!("GET / HTTP/1.1\nCookie: {cookie}"));
            assert_eq!((answer.text(), answer.header("Set-Cookie")), (first.text(), None));
        }
    }
}

fn ejections_and_checks_outlive_a_reload(workers: usize) {
    let is_sick = Arc::new(AtomicBool::new(true));
    let ejected = Endpoint::answering(|_| text(500, "e"));
    let down = {
        let is_sick = Arc::clone(&is_sick);
        Endpoint::answering(move |request| match request.head.target() {
            "/health" if is_sick.load(Ordering::SeqCst) => text(500, ""),
            "/health" => text(200, ""),
            _ => text(200, "d"),
        })
    };
    let (healthy, other) = (Endpoint::answering(|_| text(200, "h")), Endpoint::answering(|_| text(200, "h")));
    let with = |generation| {
        // In clusters of their own: a check that passes would end the ejection.
        let eject_for = if generation == 1 { "1h" } else { "2h" };
        let clusters = format!(
            "health.passive = {{ failures = 1, eject_for = \"{eject_for}\" }}\n[cluster.checked]\nendpoints = [\"{}\"]\n\
             health.active = {{ path = \"/health\", interval = \"50ms\", fall = 1, rise = 1 }}",
            down.at()
        );
        numbered(workers, generation, "retry = \"off\"", &[&ejected, &healthy, &other], &clusters)
    };
    let mut proxy = Proxy::start(&with(1));
    proxy.wait_log(&format!("endpoint {} is down: ", down.at()));
    wait_until("a failed request to eject", || {
        get(proxy.web(), "/");
        proxy.endpoint("app", &ejected.at())["state"] == "ejected"
    });
    let states = |proxy: &Proxy| {
        [("app", &ejected), ("checked", &down)].map(|(cluster, endpoint)| {
            let status = proxy.endpoint(cluster, &endpoint.at());
            (status["state"].clone(), status["since"].clone())
        })
    };
    let before = wait_for("the states to be seen", || Some(states(&proxy)).filter(|seen| *seen == states(&proxy)));
    for generation in 2..4 {
        proxy.reload(&with(generation));
        for _ in 0..8 {
            assert_eq!(get(proxy.web(), "/").text(), "h");
        }
        assert_eq!(states(&proxy), before);
    }
    is_sick.store(false, Ordering::SeqCst);
    wait_until("it to be up", || proxy.endpoint("checked", &down.at())["state"] == "up");
}

fn slots_in_flight_are_still_counted(workers: usize) {
    let gate = Gate::default();
    let endpoint = {
        let gate = gate.clone();
        Endpoint::answering(move |request| {
            if request.head.target() == "/slow" {
                gate.wait();
            }
            text(200, "ok")
        })
    };
    let with = |generation: usize| {
        config(
            workers,
            &format!(
                "[[route]]\ncluster = \"app\"\nheaders.response.set = {{ X-Generation = \"{generation}\" }}\n\
                 [cluster.app]\nendpoints = [{{ address = \"{}\", max_in_flight = 1 }}]\n",
                endpoint.at()
            ),
        )
    };
    let mut proxy = Proxy::start(&with(1));
    let mut client = Client::connect(proxy.web());
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("it to be in flight", || endpoint.requests() == 1);
    proxy.reload(&with(2));
    assert_eq!(get(proxy.web(), "/").status(), 503, "still full");
    assert_eq!(proxy.endpoint("app", &endpoint.at())["in_flight"], 1);
    gate.open();
    assert_eq!(client.answer("GET").status(), 200);
    wait_until("the slot to be free", || get(proxy.web(), "/").status() == 200);
    wait_until("nothing to be in flight", || proxy.endpoint("app", &endpoint.at())["in_flight"] == 0);
}

fn kept_connections_to_endpoints_are_kept(workers: usize) {
    let endpoint = Endpoint::named("ok");
    let with = |generation| numbered(workers, generation, "", &[&endpoint], "");
    let mut proxy = Proxy::start(&with(1));
    let mut client = Client::connect(proxy.web());
    for generation in 2..6 {
        assert_eq!(client.get("/").status(), 200);
        proxy.reload(&with(generation));
    }
    assert_eq!(client.get("/").header("X-Generation"), Some("5"));
    assert_eq!((endpoint.connections(), endpoint.requests()), (1, 5));
}
