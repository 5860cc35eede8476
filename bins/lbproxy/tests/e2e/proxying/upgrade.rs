//! WebSocket and whatever else follows a 101: bytes both ways, each direction to its own end.

use std::time::Duration;

use crate::failures::forwarding;
use crate::support::{Client, Endpoint, SWITCHED, WEBSOCKET, Wire, last_text, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    bytes_flow_both_ways_and_each_direction_ends_alone,
    an_idle_tunnel_is_closed_and_a_busy_one_is_not,
    an_upgrade_that_is_refused_is_an_ordinary_answer,
    a_tunnel_that_breaks_is_broken_on_both_sides,
    a_body_goes_before_the_tunnel,
    a_101_may_come_before_the_body_is_through,
    a_body_that_breaks_off_breaks_the_tunnel,
    what_follows_a_refused_upgrade_with_a_body_is_http,
    a_101_must_answer_to_what_was_offered,
    a_route_says_which_protocols_pass,
    a_426_says_what_to_ask_for,
);

/// The key of RFC 6455 §1.3, and what answers to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// What `docker exec` asks for, and what the engine answers.
const EXEC: &str = "POST /exec/1/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n";
const EXECUTING: &str = "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n\
     Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n";

#[track_caller]
fn open(proxy: &crate::support::Proxy, path: &str) -> Client {
    let mut client = Client::connect(proxy.web());
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{WEBSOCKET}\r\n"));
    let head = client.read_head().unwrap().unwrap();
    assert_eq!((head.status(), head.header("Sec-WebSocket-Accept")), (101, Some(ACCEPT)));
    assert_eq!(head.header("Upgrade").map(str::to_ascii_lowercase).as_deref(), Some("websocket"));
    assert_eq!(head.header("Connection").map(str::to_ascii_lowercase).as_deref(), Some("upgrade"));
    client
}

fn bytes_flow_both_ways_and_each_direction_ends_alone(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        assert_eq!(head.header("Upgrade"), Some("websocket"));
        assert_eq!(head.header("Connection"), Some("upgrade"));
        assert_eq!(head.header("Sec-WebSocket-Key"), Some(KEY));
        match head.target() {
            "/client-ends-first" => {
                wire.write(format!("{SWITCHED}hello"))?;
                let all = wire.read_to_end()?;
                // The client's end was passed on; the other direction is still open.
                wire.write(format!("you said {} bytes", all.len()))
            }
            _ => {
                wire.write(format!("{SWITCHED}goodbye"))?;
                wire.finish();
                let all = wire.read_to_end()?;
                assert_eq!(all, b"after the end");
                Ok(())
            }
        }
    });
    let proxy = forwarding(workers, &endpoint.at(), "");
    let mut client = open(&proxy, "/client-ends-first");
    assert_eq!(client.read_exactly(5).unwrap(), b"hello", "what came with the 101 is not lost");
    client.send(vec![0; 1 << 20]);
    client.finish();
    assert_eq!(client.read_to_end().unwrap(), b"you said 1048576 bytes");

    let mut client = open(&proxy, "/endpoint-ends-first");
    assert_eq!(client.read_to_end().unwrap(), b"goodbye");
    client.send("after the end");
    client.finish();
    wait_until("the endpoint to have heard it all", || endpoint.open() == 0);

    // Data sent by the client before it received the 101 is not lost either.
    let mut eager = Client::connect(proxy.web());
    eager.send(format!("GET /client-ends-first HTTP/1.1\r\nHost: a\r\n{WEBSOCKET}\r\neager"));
    eager.finish();
    let all = String::from_utf8(eager.read_to_end().unwrap()).unwrap();
    assert!(all.ends_with("helloyou said 5 bytes"), "{all}");

    wait_until("the slots to be free", || proxy.endpoint("app", &endpoint.at())["in_flight"] == 0);
    let line = proxy.access_of("/client-ends-first");
    assert_eq!((&line["status"], &line["cause"]), (&101.into(), &serde_json::Value::Null), "{line}");
    assert_eq!(proxy.metric("lbproxy_connections", &["web"]), 0.0);
}

fn an_idle_tunnel_is_closed_and_a_busy_one_is_not(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| {
        wire.write(SWITCHED)?;
        while wire.fill()? > 0 {
            let echoed = std::mem::take(&mut wire.buffer);
            wire.write(echoed)?;
        }
        Ok(())
    });
    // The other timeouts do not hold for tunnels.
    let proxy = forwarding(
        workers,
        &endpoint.at(),
        "timeout = { tunnel = \"2s\", idle = \"100ms\", total = \"100ms\", response = \"2s\" }",
    );
    let mut client = open(&proxy, "/ws");
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(300));
        client.send("tick");
        assert_eq!(client.read_exactly(4).unwrap(), b"tick");
    }
    assert!(client.is_closed_silently());
    wait_until("the endpoint's connection to be closed", || endpoint.open() == 0);
    let line = proxy.access_of("/ws");
    assert_eq!((&line["status"], &line["cause"]), (&101.into(), &"idle_timeout".into()), "{line}");
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&32.into(), &32.into()), "{line}");
}

fn an_upgrade_that_is_refused_is_an_ordinary_answer(workers: usize) {
    let endpoint = Endpoint::answering(|request| {
        text(if request.head.has("Upgrade") { 426 } else { 200 }, request.header("Upgrade").unwrap_or("plain"))
    });
    let proxy = forwarding(workers, &endpoint.at(), "");
    let mut client = Client::connect(proxy.web());
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{WEBSOCKET}\r\n"));
    let answer = client.answer("GET");
    assert_eq!((answer.status(), answer.text().as_str()), (426, "websocket"));
    assert_eq!(client.get("/").text(), "plain", "the connection goes on in HTTP");
    // Protocols that carry requests past us are not offered to the endpoint; nor is one that `Connection` does not name.
    for offer in [
        "Connection: Upgrade\nUpgrade: h2c",
        "Upgrade: websocket",
        "Connection: Upgrade\nUpgrade: TLS/1.2",
        "Connection: Upgrade\nUpgrade: HTTP/3",
        "Connection: Upgrade\nUpgrade: websocket, h2c",
    ] {
        assert_eq!(client.ask(&format!("GET / HTTP/1.1\n{offer}")).text(), "plain", "{offer}");
    }
}

fn a_tunnel_that_breaks_is_broken_on_both_sides(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        wire.write(SWITCHED)?;
        if head.target() == "/breaks" {
            wire.read_exactly(1)?;
            wire.reset_on_close();
            return Ok(());
        }
        wire.read_to_end().map(drop)
    });
    let proxy = forwarding(workers, &endpoint.at(), "");
    let mut client = open(&proxy, "/breaks");
    client.send("!");
    assert!(client.is_closed_silently());
    let client = open(&proxy, "/left");
    client.reset_on_close();
    drop(client);
    wait_until("the endpoint's connections to be closed", || endpoint.open() == 0);
    wait_until("the slots to be free", || proxy.endpoint("app", &endpoint.at())["in_flight"] == 0);
}

/// Sends hello, and then echoes.
fn echo(wire: &mut Wire) -> std::io::Result<()> {
    wire.write("hello")?;
    while !wire.buffer.is_empty() || wire.fill()? > 0 {
        let said = std::mem::take(&mut wire.buffer);
        wire.write(said)?;
    }
    Ok(())
}

fn a_body_goes_before_the_tunnel(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        assert_eq!((head.header("Upgrade"), head.header("Connection")), (Some("tcp"), Some("upgrade")));
        let body = wire.read_request_body(&head)?;
        assert_eq!(body.data, b"{}");
        wire.write(EXECUTING)?;
        echo(wire)
    });
    let proxy = forwarding(workers, &endpoint.at(), "");
    for (framing, body) in [("Content-Length: 2", "{}"), ("Transfer-Encoding: chunked", "2\r\n{}\r\n0\r\n\r\n")] {
        let mut client = Client::connect(proxy.web());
        // What stands behind the body is for the tunnel, however early it comes.
        client.send(format!("{EXEC}{framing}\r\n\r\n{body}GET /not-http HTTP/1.1\r\n\r\n"));
        let head = client.read_head().unwrap().unwrap();
        assert_eq!((head.status(), head.header("Upgrade")), (101, Some("tcp")), "{framing}");
        assert_eq!(client.read_exactly(31).unwrap(), b"helloGET /not-http HTTP/1.1\r\n\r\n");
        client.send("more");
        assert_eq!(client.read_exactly(4).unwrap(), b"more");
        client.finish();
        assert_eq!(client.read_to_end().unwrap(), b"");
        wait_until("the endpoint's connection to be closed", || endpoint.open() == 0);
        let line = proxy.wait_access(|line| line["path"] == "/exec/1/start");
        assert_eq!((&line["status"], &line["cause"]), (&101.into(), &serde_json::Value::Null), "{line}");
        assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&32.into(), &35.into()), "{line}");
    }
}

fn a_101_may_come_before_the_body_is_through(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        wire.write(format!("{EXECUTING}early"))?;
        let body = wire.read_request_body(&head)?;
        wire.write(format!("{} bytes", body.data.len()))?;
        echo(wire)
    });
    let proxy = forwarding(workers, &endpoint.at(), "");
    for (framing, pieces) in [
        ("Content-Length: 4", ["bo", "dytunnel"]),
        ("Transfer-Encoding: chunked", ["2\r\nbo\r\n2\r", "\ndy\r\n0\r\n\r\ntunnel"]),
    ] {
        let mut client = Client::connect(proxy.web());
        client.send(format!("{EXEC}{framing}\r\n\r\n"));
        assert_eq!(client.read_head().unwrap().unwrap().status(), 101, "{framing}");
        assert_eq!(client.read_exactly(5).unwrap(), b"early");
        for piece in pieces {
            client.send(piece);
        }
        assert_eq!(client.read_exactly(18).unwrap(), b"4 byteshellotunnel", "{framing}");
        client.finish();
        assert_eq!(client.read_to_end().unwrap(), b"");
    }
    // As large as it likes, and slower than what comes the other way.
    let mut client = Client::connect(proxy.web());
    client.send(format!("{EXEC}Content-Length: 3000000\r\n\r\n"));
    assert_eq!(client.read_head().unwrap().unwrap().status(), 101);
    client.send(vec![b'x'; 3_000_006]);
    assert_eq!(client.read_exactly(29).unwrap(), b"early3000000 byteshelloxxxxxx");
}

fn a_body_that_breaks_off_breaks_the_tunnel(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| {
        wire.write(EXECUTING)?;
        wire.read_to_end().map(drop)
    });
    let proxy = forwarding(workers, &endpoint.at(), "");
    for (at, rest) in ["", "5\r\nbody\r\n", "2\r\nbodies\r\n0\r\n\r\n"].into_iter().enumerate() {
        let mut client = Client::connect(proxy.web());
        client.send(format!("{EXEC}Transfer-Encoding: chunked\r\n\r\n"));
        assert_eq!(client.read_head().unwrap().unwrap().status(), 101);
        client.send(rest);
        client.finish();
        assert!(client.is_closed_silently(), "{rest:?}");
        wait_until("the endpoint's connection to be closed", || endpoint.open() == 0);
        assert_eq!(endpoint.connections(), at + 1);
    }
    wait_until("the slots to be free", || proxy.endpoint("app", &endpoint.at())["in_flight"] == 0);
}

fn what_follows_a_refused_upgrade_with_a_body_is_http(workers: usize) {
    let endpoint = Endpoint::answering(|request| {
        text(200, &format!("{} {} {}", request.head.target(), request.header("Upgrade").unwrap_or("-"), request.text()))
    });
    let proxy = forwarding(workers, &endpoint.at(), "");
    let mut client = Client::connect(proxy.web());
    client.send(format!("{EXEC}Content-Length: 2\r\n\r\n{{}}GET /next HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(client.answer("POST").text(), "/exec/1/start tcp {}");
    assert_eq!(client.answer("GET").text(), "/next - ");
    // Whether the endpoint took the body for a body, or for what follows a 101, is its secret.
    assert_eq!(endpoint.connections(), 2, "a connection that is in doubt carries nothing more");
    assert_eq!(client.get("/more").text(), "/more - ");
    assert_eq!(endpoint.connections(), 2);
    // Another answer before the body is through.
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| wire.write(last_text(403, "no")));
    let proxy = forwarding(workers, &endpoint.at(), "");
    let mut client = Client::connect(proxy.web());
    client.send(format!("{EXEC}Content-Length: 4\r\n\r\n"));
    assert_eq!(client.answer("POST").status(), 403);
}

fn a_101_must_answer_to_what_was_offered(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        let answer = head.header("X-Answer").unwrap().replace('|', "\r\n");
        wire.write(format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n{answer}\r\n\r\ntunnel"))
    });
    let proxy = forwarding(workers, &endpoint.at(), "retry = \"off\"");
    let socket = format!("Upgrade: websocket\r\nSec-WebSocket-Key: {KEY}\r\n");
    let cases = [
        ("Upgrade: foo\r\n", "Upgrade: foo", None),
        ("Upgrade: foo/1\r\n", "Upgrade: FOO/1", None),
        ("Upgrade: foo/1\r\n", "Upgrade: foo", None),
        ("Upgrade: foo/1\r\n", "Upgrade: foo/2", Some("other_protocol")),
        ("Upgrade: foo\r\n", "Upgrade: websocket", Some("other_protocol")),
        ("Upgrade: foo\r\n", "Upgrade: foo, bar", Some("unexpected_switch")),
        ("Upgrade: foo\r\n", "X-None: 1", Some("unexpected_switch")),
        ("", "Upgrade: foo", Some("unexpected_switch")),
        (&socket, &format!("Upgrade: WebSocket|Sec-WebSocket-Accept: {ACCEPT}"), None),
        (&socket, "Upgrade: websocket", Some("bad_websocket_accept")),
        (&socket, "Upgrade: websocket|Sec-WebSocket-Accept: y", Some("bad_websocket_accept")),
        // What answers to an empty key.
        (
            "Upgrade: websocket\r\n",
            "Upgrade: websocket|Sec-WebSocket-Accept: Kfh9QIsMVZcl6xEPYxPHzW8SZ8w=",
            Some("bad_websocket_accept"),
        ),
        ("Upgrade: websocket\r\n", "Upgrade: websocket", Some("bad_websocket_accept")),
    ];
    for (at, (offer, answer, mismatch)) in cases.into_iter().enumerate() {
        let mut client = Client::connect(proxy.web());
        client
            .send(format!("GET /{at} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n{offer}X-Answer: {answer}\r\n\r\n"));
        let head = client.read_head().unwrap().unwrap();
        if let Some(mismatch) = mismatch {
            assert_eq!(head.status(), 502, "{offer:?} {answer:?}");
            let line = proxy.access_of(&format!("/{at}"));
            assert_eq!(line["cause"], format!("invalid_response: {mismatch}"), "{line}");
        } else {
            assert_eq!(head.status(), 101, "{offer:?} {answer:?}");
            assert_eq!(client.read_exactly(6).unwrap(), b"tunnel");
        }
        wait_until("the endpoint's connection to be closed", || endpoint.open() == 0);
    }
}

fn a_route_says_which_protocols_pass(workers: usize) {
    let endpoint = Endpoint::answering(|request| text(200, request.header("Upgrade").unwrap_or("-")));
    let offered = |proxy: &crate::support::Proxy, protocol: &str| {
        let request =
            format!("POST / HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: {protocol}\nContent-Length: 2\n\n{{}}");
        Client::connect(proxy.web()).ask(&request).text()
    };
    for (key, passing, stopped) in [
        ("\"any\"", &["websocket", "tcp", "SPDY/3.1"][..], &["h2c", "HTTP/2.0", "TLS/1.3"][..]),
        ("\"off\"", &[], &["websocket", "tcp"]),
        ("[\"websocket\", \"spdy/3.1\"]", &["WebSocket", "SPDY/3.1"], &["tcp", "SPDY/4"]),
    ] {
        let proxy = forwarding(workers, &endpoint.at(), &format!("upgrade = {key}"));
        for protocol in passing {
            assert_eq!(offered(&proxy, protocol), *protocol, "{key}");
        }
        for protocol in stopped {
            assert_eq!(offered(&proxy, protocol), "-", "{key} {protocol}");
        }
    }
    // An endpoint that switches all the same was not asked to.
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| wire.write(SWITCHED));
    let proxy = forwarding(workers, &endpoint.at(), "upgrade = \"off\"\nretry = \"off\"");
    let mut client = Client::connect(proxy.web());
    client.send(format!("GET /off HTTP/1.1\r\nHost: a\r\n{WEBSOCKET}\r\n"));
    assert_eq!(client.answer("GET").status(), 502);
    assert_eq!(proxy.access_of("/off")["cause"], "invalid_response: unexpected_switch");
}

fn a_426_says_what_to_ask_for(workers: usize) {
    let endpoint = Endpoint::answering(|request| {
        let protocol = &request.head.target()[1..];
        format!(
            "HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\nContent-Length: 0\r\n\r\n"
        )
    });
    for (key, protocol, passes) in [
        ("\"any\"", "websocket", true),
        ("\"any\"", "h2c", false),
        ("\"off\"", "websocket", false),
        ("[\"websocket\"]", "tcp", false),
    ] {
        let proxy = forwarding(workers, &endpoint.at(), &format!("upgrade = {key}"));
        let mut client = Client::connect(proxy.web());
        for _ in 0..2 {
            let answer = client.get(&format!("/{protocol}"));
            assert_eq!(answer.status(), 426);
            let named = (answer.header("Upgrade"), answer.header("Connection"));
            assert_eq!(
                named,
                if passes { (Some(protocol), Some("upgrade")) } else { (None, None) },
                "{key} {protocol}"
            );
        }
    }
}
