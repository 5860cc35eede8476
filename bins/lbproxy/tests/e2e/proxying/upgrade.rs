//! WebSocket and whatever else follows a 101: bytes both ways, each direction to its own end.

use std::time::Duration;

use crate::failures::forwarding;
use crate::support::{Client, Endpoint, Wire, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    bytes_flow_both_ways_and_each_direction_ends_alone,
    an_idle_tunnel_is_closed_and_a_busy_one_is_not,
    an_upgrade_that_is_refused_is_an_ordinary_answer,
    a_tunnel_that_breaks_is_broken_on_both_sides,
);

const ASK: &str =
    "HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: y\r\n\r\n";

#[track_caller]
fn open(proxy: &crate::support::Proxy, path: &str) -> Client {
    let mut client = Client::connect(proxy.web());
    client.send(format!("GET {path} {ASK}"));
    let head = client.read_head().unwrap().unwrap();
    assert_eq!((head.status(), head.header("Sec-WebSocket-Accept")), (101, Some("y")));
    assert_eq!(head.header("Upgrade").map(str::to_ascii_lowercase).as_deref(), Some("websocket"));
    assert_eq!(head.header("Connection").map(str::to_ascii_lowercase).as_deref(), Some("upgrade"));
    client
}

fn bytes_flow_both_ways_and_each_direction_ends_alone(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        assert_eq!(head.header("Upgrade"), Some("websocket"));
        assert_eq!(head.header("Connection"), Some("upgrade"));
        assert_eq!(head.header("Sec-WebSocket-Key"), Some("x"));
        match head.target() {
            "/client-ends-first" => {
                wire.write(format!("{SWITCH}hello"))?;
                let all = wire.read_to_end()?;
                // The client's end was passed on; the other direction is still open.
                wire.write(format!("you said {} bytes", all.len()))
            }
            _ => {
                wire.write(format!("{SWITCH}goodbye"))?;
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

    // What the client says before it has heard the 101 is not lost either.
    let mut eager = Client::connect(proxy.web());
    eager.send(format!("GET /client-ends-first {ASK}eager"));
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
        wire.write(SWITCH)?;
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
        "timeout = { tunnel = \"400ms\", idle = \"100ms\", total = \"100ms\", response = \"2s\" }",
    );
    let mut client = open(&proxy, "/ws");
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(100));
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
    client.send(format!("GET / {ASK}"));
    let answer = client.answer("GET");
    assert_eq!((answer.status(), answer.text().as_str()), (426, "websocket"));
    assert_eq!(client.get("/").text(), "plain", "the connection goes on in HTTP");
    // Protocols that carry requests past us are not offered to the endpoint; nor is one that `Connection` does not name.
    for offer in ["Connection: Upgrade\nUpgrade: h2c", "Upgrade: websocket", "Connection: Upgrade\nUpgrade: TLS/1.2"] {
        assert_eq!(client.ask(&format!("GET / HTTP/1.1\n{offer}")).text(), "plain", "{offer}");
    }
}

fn a_tunnel_that_breaks_is_broken_on_both_sides(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        wire.write(SWITCH)?;
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
