//! Requests at once: places, their queue, and that none is ever lost.

use super::{balancing, one_cluster};
use crate::http2::{Caller, run, until};
use crate::support::{Client, Endpoint, Gate, Proxy, SWITCHED, WEBSOCKET, get, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    what_comes_beyond_is_refused_or_waits_in_order,
    no_way_to_end_keeps_a_place,
    a_tunnel_has_its_place_until_it_ends,
    each_key_has_its_own_places,
    critical_requests_go_first,
    a_route_and_its_cluster_have_a_limit_each_and_a_reload_changes_it,
    a_limit_that_finds_itself_says_why,
);

/// An endpoint that answers with the path once the gate is open.
fn busy(gate: &Gate) -> Endpoint {
    let gate = gate.clone();
    Endpoint::answering(move |request| {
        gate.wait();
        text(200, request.head.target())
    })
}

fn at(endpoint: &Endpoint) -> String {
    format!("[\"{}\"]", endpoint.at())
}

/// In flight and waiting, of the limit of this name.
fn counts(proxy: &Proxy, name: &str) -> (u64, u64) {
    let limit = &proxy.status()["concurrency"][name];
    (limit["in_flight"].as_u64().unwrap(), limit["waiting"].as_u64().unwrap())
}

fn wait_for_counts(proxy: &Proxy, name: &str, expected: (u64, u64)) {
    wait_until("so many in flight and waiting", || counts(proxy, name) == expected);
}

/// Asks for this path on a connection of its own, and does not wait for the answer.
fn asking(proxy: &Proxy, path: &str, header: &str) -> Client {
    let mut client = Client::connect(proxy.web());
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{header}\r\n"));
    client
}

fn what_comes_beyond_is_refused_or_waits_in_order(workers: usize) {
    let gate = Gate::default();
    let endpoint = busy(&gate);
    let routes = "name = \"main\"\nconcurrency = { limit = 1, queue = { size = 2, timeout = \"60s\" } }\n\
                  [[route]]\nname = \"bare\"\npath = \"/bare\"\ncluster = \"app\"\nconcurrency = { limit = 1 }\n\
                  [[route]]\nname = \"hasty\"\npath = \"/hasty\"\ncluster = \"app\"\n\
                  concurrency = { limit = 1, queue = { size = 9, timeout = \"100ms\" } }\n";
    let proxy = balancing(workers, routes, &at(&endpoint), "");
    let mut line = Vec::new();
    for n in 0..3 {
        line.push(asking(&proxy, &format!("/{n}"), ""));
        wait_for_counts(&proxy, "main", (1, n));
    }
    let refused = |path: &str, cause: &str| {
        let answer = get(proxy.web(), path);
        assert_eq!((answer.status(), answer.header("Retry-After")), (503, Some("1")), "{answer:?}");
        assert_eq!(proxy.access_of(path)["cause"], cause);
    };
    refused("/late", "queue_full");
    let _held = [asking(&proxy, "/bare", ""), asking(&proxy, "/hasty", "")];
    wait_for_counts(&proxy, "bare", (1, 0));
    wait_for_counts(&proxy, "hasty", (1, 0));
    refused("/bare/x", "concurrency_limited");
    refused("/hasty/x", "queue_timeout");
    assert_eq!(endpoint.requests(), 3, "those that wait are not sent");
    gate.open();
    for client in &mut line {
        assert_eq!(client.answer("GET").status(), 200);
    }
    let order: Vec<_> = endpoint.messages().iter().map(|message| message.head.target().to_owned()).collect();
    let order: Vec<_> = order.iter().filter(|path| path.len() == 2).collect();
    assert_eq!(order, ["/0", "/1", "/2"]);
    wait_for_counts(&proxy, "main", (0, 0));
    assert_eq!(proxy.metric("lbproxy_concurrency_waited_total", &["main"]), 2.0);
    assert_eq!(proxy.metric("lbproxy_concurrency_refused_total", &["hasty"]), 1.0);
    assert_eq!(proxy.metric("lbproxy_concurrency_limit", &["main"]), 1.0);
}

fn no_way_to_end_keeps_a_place(workers: usize) {
    let gate = Gate::default();
    let endpoint = busy(&gate);
    let route = "name = \"main\"\nconcurrency = { limit = 1, queue = { size = 9, timeout = \"60s\" } }\n\
                 [[route]]\nname = \"gone\"\npath = \"/gone\"\ncluster = \"gone\"\nconcurrency = { limit = 1 }\n\
                 [[route]]\nname = \"slow\"\npath = \"/slow\"\ncluster = \"app\"\nconcurrency = { limit = 1 }\ntimeout.response = \"100ms\"\n";
    let proxy = balancing(workers, route, &at(&endpoint), "[cluster.gone]\nendpoints = [\"127.0.0.1:1\"]");
    // One that runs and one that waits, both gone; the third has its turn.
    let (first, second) = (asking(&proxy, "/0", ""), asking(&proxy, "/1", ""));
    wait_for_counts(&proxy, "main", (1, 1));
    let third = asking(&proxy, "/2", "");
    wait_for_counts(&proxy, "main", (1, 2));
    [first, second].into_iter().for_each(|client| client.into_wire().reset_on_close());
    wait_for_counts(&proxy, "main", (1, 0));
    third.into_wire().reset_on_close();
    wait_for_counts(&proxy, "main", (0, 0));
    // Streams that are reset, on a connection that goes on.
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        for _ in 0..3 {
            let request = caller.request("POST", "/h2").body(()).unwrap();
            let (response, mut body) = caller.begin(request, false).await;
            let (one, status) = (&proxy, "main");
            until(|| counts(one, status) == (1, 0)).await;
            body.send_reset(h2::Reason::CANCEL);
            drop(response);
            until(|| counts(one, status) == (0, 0)).await;
        }
    });
    // Failures: of the endpoint, of time.
    for (path, status) in [("/gone", 502), ("/gone", 502), ("/slow", 504), ("/slow", 504)] {
        // The client has the answer a moment before the place is free.
        wait_for_counts(&proxy, &path[1..], (0, 0));
        assert_eq!(get(proxy.web(), path).status(), status, "{path}");
    }
    gate.open();
    assert_eq!(get(proxy.web(), "/end").status(), 200);
    for name in ["main", "gone", "slow"] {
        wait_for_counts(&proxy, name, (0, 0));
    }
}

fn a_tunnel_has_its_place_until_it_ends(workers: usize) {
    let endpoint = Endpoint::on_head(|wire, head| {
        if head.header("Upgrade").is_none() {
            return wire.write(text(200, "plain"));
        }
        wire.write(SWITCHED)?;
        wire.read_to_end().map(drop)
    });
    let proxy = balancing(workers, "name = \"main\"\nconcurrency = { limit = 1 }", &at(&endpoint), "");
    let mut client = asking(&proxy, "/ws", WEBSOCKET);
    assert_eq!(client.read_head().unwrap().unwrap().status(), 101);
    assert_eq!((counts(&proxy, "main"), get(proxy.web(), "/x").status()), ((1, 0), 503));
    drop(client);
    wait_for_counts(&proxy, "main", (0, 0));
    assert_eq!(get(proxy.web(), "/x").status(), 200);
}

fn each_key_has_its_own_places(workers: usize) {
    let gate = Gate::default();
    let endpoint = busy(&gate);
    let route = "name = \"main\"\nconcurrency = { limit = 1, key = \"{header:x-key}\" }";
    let proxy = balancing(workers, route, &at(&endpoint), "");
    let mut held = [asking(&proxy, "/a", "X-Key: a\r\n"), asking(&proxy, "/b", "X-Key: b\r\n")];
    wait_until("both to run", || endpoint.requests() == 2);
    let refused = Client::connect(proxy.web()).ask("GET /late HTTP/1.1\nX-Key: a");
    assert_eq!((refused.status(), refused.header("Retry-After")), (429, Some("1")));
    assert_eq!(proxy.access_of("/late")["cause"], "concurrency_limited");
    gate.open();
    for client in &mut held {
        assert_eq!(client.answer("GET").status(), 200);
    }
    wait_until("its place to be free", || {
        Client::connect(proxy.web()).ask("GET /again HTTP/1.1\nX-Key: a").status() == 200
    });
    let limit = &proxy.status()["concurrency"]["main"];
    assert!(limit["in_flight"].is_null() && limit["refused"].as_u64().unwrap() >= 1, "{limit}");
}

fn critical_requests_go_first(workers: usize) {
    let gate = Gate::default();
    let endpoint = busy(&gate);
    let route = "name = \"main\"\nconcurrency = { limit = 1, priority = \"{header:x-priority}\", queue = { size = 2, timeout = \"60s\" } }";
    let proxy = balancing(workers, route, &at(&endpoint), "");
    let mut first = asking(&proxy, "/0", "");
    wait_for_counts(&proxy, "main", (1, 0));
    let mut low = asking(&proxy, "/low", "X-Priority: low\r\n");
    wait_for_counts(&proxy, "main", (1, 1));
    let mut normal = asking(&proxy, "/normal", "");
    wait_for_counts(&proxy, "main", (1, 2));
    let mut critical = asking(&proxy, "/critical", "X-Priority: critical\r\n");
    assert_eq!(low.answer("GET").status(), 503, "its place in the queue was needed");
    gate.open();
    for client in [&mut first, &mut critical, &mut normal] {
        assert_eq!(client.answer("GET").status(), 200);
    }
    let order: Vec<_> = endpoint.messages().iter().map(|message| message.head.target().to_owned()).collect();
    assert_eq!(order, ["/0", "/critical", "/normal"]);
}

fn a_route_and_its_cluster_have_a_limit_each_and_a_reload_changes_it(workers: usize) {
    let gate = Gate::default();
    let endpoint = busy(&gate);
    let route = "name = \"main\"\nconcurrency = { limit = 2 }\n[[route]]\nname = \"other\"\npath = \"/other\"\ncluster = \"app\"\n";
    let cluster = |limit: u32| {
        format!(
            "concurrency = {{ limit = {limit}, queue = {{ size = 9, timeout = \"60s\", order = \"adaptive_lifo\" }} }}"
        )
    };
    let mut proxy = balancing(workers, route, &at(&endpoint), &cluster(1));
    let mut held = vec![asking(&proxy, "/0", "")];
    wait_for_counts(&proxy, "cluster:app", (1, 0));
    held.push(asking(&proxy, "/1", ""));
    wait_for_counts(&proxy, "cluster:app", (1, 1));
    held.push(asking(&proxy, "/other", ""));
    wait_for_counts(&proxy, "cluster:app", (1, 2));
    assert_eq!((counts(&proxy, "main"), get(proxy.web(), "/2").status()), ((2, 0), 503));
    proxy.reload(&one_cluster(workers, route, &at(&endpoint), &cluster(3)));
    wait_for_counts(&proxy, "cluster:app", (3, 0));
    gate.open();
    for client in &mut held {
        assert_eq!(client.answer("GET").status(), 200);
    }
    wait_for_counts(&proxy, "cluster:app", (0, 0));
}

fn a_limit_that_finds_itself_says_why(workers: usize) {
    let endpoint = Endpoint::named("ok");
    let proxy = balancing(workers, "name = \"main\"\nconcurrency = { limit = \"auto\" }", &at(&endpoint), "");
    let limit = || proxy.status()["concurrency"]["main"].clone();
    assert_eq!(limit()["why"], "measures how long requests take while few are in flight", "{}", limit());
    assert_eq!(limit()["limit"], 3);
    let mut client = Client::connect(proxy.web());
    // Fifty requests measure.
    wait_until("it to have measured", || {
        assert_eq!(client.get("/").status(), 200);
        limit()["why"].as_str().unwrap().starts_with("requests take ")
    });
}
