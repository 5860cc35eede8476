//! Connections are used again, on both sides, as long as both sides agree.

use std::sync::Arc;
use std::time::Duration;

use crate::failures::forwarding;
use crate::support::{Client, Endpoint, Proxy, config, get, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    connections_are_kept_on_both_sides,
    pipelined_requests_are_answered_in_order,
    endpoints_decide_how_long_theirs_are_kept,
    the_file_decides_how_many_are_kept,
);

fn connections_are_kept_on_both_sides(workers: usize) {
    let endpoint = Endpoint::named("ok");
    let proxy = forwarding(workers, &endpoint.at(), "");
    let mut client = Client::connect(proxy.web());
    for _ in 0..50 {
        let answer = client.get("/");
        assert_eq!(answer.text(), "ok");
        assert!(!answer.head.has("Connection") && !answer.head.has("Keep-Alive"), "{answer:?}");
    }
    assert_eq!(endpoint.connections(), 1);
    assert_eq!(endpoint.last().head.all("Connection"), [""; 0]);
    // A client that wants to close is closed; the endpoint's connection goes on.
    let answer = client.ask("GET / HTTP/1.1\nConnection: close");
    assert!(answer.head.says_close() && client.is_closed_silently());
    if workers == 1 {
        assert_eq!(get(proxy.web(), "/").status(), 200);
        assert_eq!(endpoint.connections(), 1);
    }
}

fn pipelined_requests_are_answered_in_order(workers: usize) {
    let endpoint = Endpoint::answering(|request| text(200, &format!("{} {}", request.head.target(), request.text())));
    let proxy = forwarding(workers, &endpoint.at(), "");
    let mut client = Client::connect(proxy.web());
    let mut all = String::new();
    for n in 0..50 {
        all += &match n % 3 {
            0 => format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n"),
            1 => format!("POST /{n} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"),
            _ => format!("POST /{n} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"),
        };
    }
    client.send(all);
    for n in 0..50 {
        let body = if n % 3 == 0 { "" } else { "body" };
        assert_eq!(client.answer("GET").text(), format!("/{n} {body}"));
    }
    // A byte at a time, too.
    for byte in b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n" {
        client.send([*byte]);
    }
    assert_eq!(client.answer("GET").text(), "/slow ");
    assert_eq!(client.answer("GET").text(), "/next ");
    // More of them than is read ahead, from a client that reads none before all is written.
    let many = 5_000;
    let sender = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        use std::io::Write;
        (&sender).write_all("GET /many HTTP/1.1\r\nHost: a\r\n\r\n".repeat(many).as_bytes())
    });
    for _ in 0..many {
        assert_eq!(client.answer("GET").text(), "/many ");
    }
    sending.join().unwrap().unwrap();
}

fn endpoints_decide_how_long_theirs_are_kept(workers: usize) {
    // Says close, and means it.
    let endpoint = Endpoint::answering(|request| match request.head.target() {
        "/close" => "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok".to_owned(),
        "/1.0" => "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
        "/advertised" => "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok".to_owned(),
        _ => text(200, "ok"),
    });
    let proxy = forwarding(workers, &endpoint.at(), "");
    let mut client = Client::connect(proxy.web());
    for (n, path) in ["/close", "/1.0", "/advertised", "/"].into_iter().enumerate() {
        let answer = client.get(path);
        assert_eq!(answer.text(), "ok", "{path}");
        assert!(
            !answer.head.says_close() && !answer.head.has("Keep-Alive"),
            "the client's connection is ours: {answer:?}"
        );
        assert_eq!(endpoint.connections(), n + 1, "{path}: the one before was not used again");
    }
    assert_eq!(client.get("/").text(), "ok");
    assert_eq!(endpoint.connections(), 4);
    // What an endpoint sends out of turn belongs to no request.
    drop(proxy);
    let endpoint = Arc::new(Endpoint::answering(|request| match request.head.target() {
        "/more" => text(200, "ok") + "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
        _ => text(200, "right"),
    }));
    let proxy = forwarding(workers, &endpoint.at(), "");
    let mut client = Client::connect(proxy.web());
    assert_eq!(client.get("/more").text(), "ok");
    assert_eq!(client.get("/").text(), "right");
    assert_eq!(endpoint.connections(), 2);
}

fn the_file_decides_how_many_are_kept(workers: usize) {
    let endpoint = Endpoint::named("ok");
    let with = |keep_alive: &str| {
        Proxy::start(&config(
            workers,
            &format!(
                "[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\"]\nkeep_alive = {{ {keep_alive} }}\n",
                endpoint.at()
            ),
        ))
    };
    let connections_for = |proxy: &Proxy, requests: usize| {
        let before = endpoint.connections();
        let mut client = Client::connect(proxy.web());
        for _ in 0..requests {
            assert_eq!(client.get("/").text(), "ok");
        }
        endpoint.connections() - before
    };
    assert_eq!(connections_for(&with("idle = 0"), 5), 5);
    assert_eq!(connections_for(&with("requests = 3"), 9), 3);
    let proxy = with("timeout = \"2s\"");
    assert_eq!(connections_for(&proxy, 3), 1);
    wait_until("the idle one to be closed", || endpoint.open() == 0);
    let proxy = with("age = \"300ms\"");
    let mut client = Client::connect(proxy.web());
    let before = endpoint.connections();
    wait_until("the old one to be replaced", || {
        assert_eq!(client.get("/").text(), "ok");
        std::thread::sleep(Duration::from_millis(10));
        endpoint.connections() == before + 2
    });
}
