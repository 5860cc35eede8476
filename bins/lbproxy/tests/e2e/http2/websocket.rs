//! WebSocket over HTTP/2 (RFC 8441), on either side of the proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::Response;
use rustix::process::Signal;

use super::endpoint::{Asked, H2Endpoint, answer};
use super::peer::{Answer, push, read, read_body, settled, until};
use super::{Caller, proxy, run};
use crate::support::{Client, Endpoint, Head, WEBSOCKET, Wire, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    a_stream_becomes_an_upgrade_and_each_direction_ends_alone,
    a_stream_reaches_a_stream,
    a_client_of_http1_reaches_a_stream,
    an_endpoint_without_extended_connect_gets_a_plain_get,
    what_is_no_websocket_is_no_open_stream,
    an_idle_tunnel_is_reset_and_a_busy_one_is_not,
    what_breaks_is_reset_on_the_other_side,
    a_slow_client_stops_the_endpoint,
    a_stop_waits_for_tunnels,
    a_route_may_not_allow_it,
);

const H2: &str = "protocol = \"h2\"";

/// A 101 as RFC 6455 wants it, for the key of this request.
fn switch(head: &Head) -> String {
    let key = head.header("Sec-WebSocket-Key").unwrap();
    assert_eq!(STANDARD.decode(key).unwrap().len(), 16);
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()));
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    )
}

/// Asks for a WebSocket.
async fn ask(caller: &mut Caller, path: &str) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
    ask_for(caller, path, "websocket").await
}

async fn ask_for(caller: &mut Caller, path: &str, protocol: &str) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
    until(|| caller.send.is_extended_connect_protocol_enabled()).await;
    let request = caller.request("CONNECT", path).extension(Protocol::from(protocol));
    let request = request.header("sec-websocket-version", "13").header("sec-websocket-protocol", "chat");
    caller.begin(request.header("cookie", "a=1").header("cookie", "b=2").body(()).unwrap(), false).await
}

/// An open WebSocket.
struct Open {
    send: SendStream<Bytes>,
    body: RecvStream,
}

async fn open(caller: &mut Caller, path: &str) -> Open {
    let (response, send) = ask(caller, path).await;
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    for name in ["sec-websocket-accept", "upgrade", "connection", "content-length"] {
        assert!(!response.headers().contains_key(name), "{response:?}");
    }
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    Open { send, body: response.into_body() }
}

impl Open {
    async fn say(&mut self, bytes: impl Into<Bytes>) {
        push(&mut self.send, bytes.into(), false).await.unwrap();
    }

    async fn hear(&mut self, n: usize) -> Vec<u8> {
        let mut heard = Vec::new();
        while heard.len() < n {
            let piece = self.body.data().await.unwrap().unwrap();
            self.body.flow_control().release_capacity(piece.len()).unwrap();
            heard.extend_from_slice(&piece);
        }
        heard
    }

    /// What comes up to the end, or the reset.
    async fn rest(self) -> (Answer, SendStream<Bytes>) {
        (read_body(Response::new(self.body)).await, self.send)
    }
}

fn end(send: &mut SendStream<Bytes>) {
    send.send_data(Bytes::new(), true).unwrap();
}

fn a_stream_becomes_an_upgrade_and_each_direction_ends_alone(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        assert_eq!(
            (head.method(), head.header("Upgrade"), head.header("Connection")),
            ("GET", Some("websocket"), Some("upgrade"))
        );
        assert_eq!((head.header("Cookie"), head.header("Sec-WebSocket-Version")), (Some("a=1; b=2"), Some("13")));
        assert_eq!(head.header("Sec-WebSocket-Protocol"), Some("chat"));
        assert!(!head.has("Content-Length") && !head.has("Transfer-Encoding"));
        let switch = switch(&head);
        if head.target() == "/client-ends-first?a" {
            wire.write(format!("{switch}hello"))?;
            let all = wire.read_to_end()?;
            return wire.write(format!("you said {} bytes", all.len()));
        }
        wire.write(format!("{switch}goodbye"))?;
        wire.finish();
        assert_eq!(wire.read_to_end()?, b"after the end");
        Ok(())
    });
    let proxy = proxy(workers, &endpoint.at(), "", "methods = [\"GET\"]", "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let mut socket = open(&mut caller, "/client-ends-first?a").await;
        assert_eq!(socket.hear(5).await, b"hello", "what came with the 101 is not lost");
        socket.say(vec![0; 1 << 20]).await;
        end(&mut socket.send);
        let (rest, _) = socket.rest().await;
        assert_eq!((rest.text().as_str(), rest.reset), ("you said 1048576 bytes", None));

        let socket = open(&mut caller, "/endpoint-ends-first").await;
        let (rest, mut send) = socket.rest().await;
        assert_eq!((rest.text().as_str(), rest.reset), ("goodbye", None));
        push(&mut send, Bytes::from_static(b"after the end"), true).await.unwrap();
        until(|| endpoint.open() == 0).await;
    });
    wait_until("the slots to be free", || proxy.endpoint("app", &endpoint.at())["in_flight"] == 0);
    let line = proxy.access_of("/client-ends-first");
    assert_eq!((&line["status"], &line["cause"]), (&200.into(), &serde_json::Value::Null), "{line}");
    assert_eq!((&line["method"], &line["protocol"]), (&"GET".into(), &"HTTP/2.0".into()), "{line}");
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&(1 << 20).into(), &27.into()), "{line}");
}

/// Echoes data on streams that were opened for a WebSocket, and declines those for `/declined`.
fn streams() -> H2Endpoint {
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol();
    H2Endpoint::serving(builder, |asked: Asked| async move {
        let Asked { request, mut respond, .. } = asked;
        assert_eq!((request.method(), request.uri().path().len() > 1), (&http::Method::CONNECT, true));
        assert_eq!(request.extensions().get::<Protocol>().map(Protocol::as_str), Some("websocket"));
        assert!(!request.headers().contains_key("sec-websocket-key") && !request.headers().contains_key("upgrade"));
        if request.uri().path() == "/declined" {
            let head = Response::builder().status(403).body(()).unwrap();
            return answer(&mut respond, head, Bytes::from_static(b"no"), None).await;
        }
        let head = Response::builder().header("sec-websocket-protocol", "chat").body(()).unwrap();
        let mut send = respond.send_response(head, false).unwrap();
        let mut body = request.into_body();
        while let Some(Ok(piece)) = body.data().await {
            body.flow_control().release_capacity(piece.len()).unwrap();
            if &piece[..] == b"break" {
                return send.send_reset(Reason::INTERNAL_ERROR);
            }
            if push(&mut send, piece, false).await.is_err() {
                return;
            }
        }
        let _ = send.send_data(Bytes::from_static(b"bye"), true);
    })
}

fn a_stream_reaches_a_stream(workers: usize) {
    let endpoint = streams();
    let proxy = proxy(workers, &endpoint.at(), "", "", H2);
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let mut one = open(&mut caller, "/one").await;
        let mut other = open(&mut caller, "/other").await;
        for n in 0..20 {
            let text = format!("message {n}").into_bytes();
            one.say(text.clone()).await;
            other.say(text.clone()).await;
            assert_eq!((one.hear(text.len()).await, other.hear(text.len()).await), (text.clone(), text));
        }
        end(&mut one.send);
        let (rest, _) = one.rest().await;
        assert_eq!((rest.text().as_str(), rest.reset), ("bye", None));
        other.say("break").await;
        let (rest, _) = other.rest().await;
        assert_eq!(rest.reset, Some(Reason::CANCEL), "what breaks is not an end");

        let (response, _send) = ask(&mut caller, "/declined").await;
        let answer = read(response).await;
        assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
    });
    assert_eq!((endpoint.requests(), endpoint.open()), (3, 1), "all over one connection");
    wait_until("the slots to be free", || proxy.endpoint("app", &endpoint.at())["in_flight"] == 0);
}

fn a_client_of_http1_reaches_a_stream(workers: usize) {
    let endpoint = streams();
    let proxy = proxy(workers, &endpoint.at(), "", "", H2);
    let ask = |path: &str| {
        let mut client = Client::connect(proxy.web());
        client.send(format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ));
        client
    };
    let mut client = ask("/one");
    let head = client.read_head().unwrap().unwrap();
    assert_eq!(
        (head.status(), head.header("Upgrade"), head.header("Connection")),
        (101, Some("websocket"), Some("upgrade"))
    );
    assert_eq!(head.header("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "as in RFC 6455");
    assert_eq!(head.header("Sec-WebSocket-Protocol"), Some("chat"));
    client.send("hello");
    assert_eq!(client.read_exactly(5).unwrap(), b"hello");
    client.finish();
    assert_eq!(client.read_to_end().unwrap(), b"bye");
    assert_eq!(proxy.access_of("/one")["status"], 101);
    let mut client = ask("/declined");
    assert_eq!(client.answer("GET").status(), 403);
    client.send(format!("GET /declined HTTP/1.1\r\nHost: a\r\n{WEBSOCKET}\r\n"));
    assert_eq!(client.answer("GET").status(), 403, "the connection goes on");
}

fn an_endpoint_without_extended_connect_gets_a_plain_get(workers: usize) {
    let endpoint = H2Endpoint::answering(|parts, _, _| {
        assert!(parts.method == "GET" && !parts.headers.contains_key("upgrade"));
        let status = if parts.uri.path() == "/declined" { 426 } else { 200 };
        (Response::builder().status(status).body(()).unwrap(), Bytes::from_static(b"plain"), None)
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", H2);
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        for (path, status) in [("/", 502), ("/declined", 426)] {
            let (response, _send) = ask(&mut caller, path).await;
            assert_eq!(read(response).await.status, status, "{path}");
        }
    });
}

fn what_is_no_websocket_is_no_open_stream(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| match head.target() {
        "/plain" => wire.write(text(200, "what upgrade?")),
        "/declined" => wire.write(text(426, "another one")),
        _ => wire.write(switch(&head).replace("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: x")),
    });
    let own = "[[route]]\npath = \"/own\"\nrespond = { body = \"own\" }";
    let proxy = proxy(workers, &endpoint.at(), own, "", "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        for (path, status) in [("/plain", 502), ("/declined", 426), ("/wrong", 502), ("/own", 502)] {
            let (response, _send) = ask(&mut caller, path).await;
            assert_eq!(read(response).await.status, status, "{path}");
        }
        let (response, _send) = ask_for(&mut caller, "/other", "connect-udp").await;
        assert_eq!(read(response).await.status, 501);
        assert_eq!(caller.get("/declined").await.status, 426, "the connection goes on");
    });
    assert_eq!(proxy.access_of("/plain")["cause"], "invalid_response: no_upgrade");
    assert_eq!(proxy.access_of("/wrong")["cause"], "invalid_response: bad_websocket_accept");
    wait_until("the slots to be free", || proxy.endpoint("app", &endpoint.at())["in_flight"] == 0);
}

fn an_idle_tunnel_is_reset_and_a_busy_one_is_not(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        wire.write(switch(&head))?;
        while wire.fill()? > 0 {
            let echoed = std::mem::take(&mut wire.buffer);
            wire.write(echoed)?;
        }
        Ok(())
    });
    let timeouts = "timeout = { tunnel = \"2s\", idle = \"100ms\", total = \"100ms\", response = \"2s\" }";
    let proxy = proxy(workers, &endpoint.at(), "", timeouts, "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let mut socket = open(&mut caller, "/ws").await;
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            socket.say("tick").await;
            assert_eq!(socket.hear(4).await, b"tick");
        }
        assert_eq!(socket.rest().await.0.reset, Some(Reason::CANCEL));
    });
    wait_until("the endpoint's connection to be closed", || endpoint.open() == 0);
    let line = proxy.access_of("/ws");
    assert_eq!((&line["status"], &line["cause"]), (&200.into(), &"idle_timeout".into()), "{line}");
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&32.into(), &32.into()), "{line}");
}

fn what_breaks_is_reset_on_the_other_side(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        wire.write(switch(&head))?;
        if head.target() == "/breaks" {
            wire.read_exactly(1)?;
            wire.reset_on_close();
            return Ok(());
        }
        wire.read_to_end().map(drop)
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let mut socket = open(&mut caller, "/breaks").await;
        socket.say("!").await;
        assert_eq!(socket.rest().await.0.reset, Some(Reason::CANCEL));
        let mut left = open(&mut caller, "/left").await;
        left.send.send_reset(Reason::CANCEL);
        until(|| endpoint.open() == 0).await;
        // Also where the client had ended its own direction before.
        let mut left = open(&mut caller, "/left").await;
        end(&mut left.send);
        drop(left);
        until(|| endpoint.open() == 0).await;
        let gone = open(&mut caller, "/left").await;
        drop((caller, gone));
    });
    wait_until("the endpoint's connections to be closed", || endpoint.open() == 0);
    wait_until("the slots to be free", || proxy.endpoint("app", &endpoint.at())["in_flight"] == 0);
}

fn a_slow_client_stops_the_endpoint(workers: usize) {
    const PIECE: usize = 64 * 1024;
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol();
    let endpoint = H2Endpoint::serving(builder, move |mut asked: Asked| {
        let count = Arc::clone(&count);
        async move {
            let head = Response::builder().header("sec-websocket-protocol", "chat").body(()).unwrap();
            let mut send = asked.respond.send_response(head, false).unwrap();
            for _ in 0..256 {
                push(&mut send, Bytes::from(vec![b'x'; PIECE]), false).await.unwrap();
                count.fetch_add(PIECE, Ordering::SeqCst);
            }
            send.send_data(Bytes::new(), true).unwrap();
        }
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", H2);
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let mut socket = open(&mut caller, "/flood").await;
        let last = settled(|| sent.load(Ordering::SeqCst)).await;
        // The client's window, our buffers, and the window that we gave the endpoint.
        assert!(last < 1 << 20, "{last} bytes were taken from the endpoint for a client that reads nothing");
        end(&mut socket.send);
        let (rest, _) = socket.rest().await;
        assert_eq!((rest.body.len(), rest.reset), (256 * PIECE, None));
    });
}

fn a_stop_waits_for_tunnels(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        wire.write(switch(&head))?;
        let all = wire.read_to_end()?;
        wire.write(all)
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let mut socket = open(&mut caller, "/ws").await;
        proxy.signal(Signal::TERM);
        proxy.wait_log("stopping");
        socket.say("still here").await;
        end(&mut socket.send);
        let (rest, _) = socket.rest().await;
        assert_eq!((rest.text().as_str(), rest.reset), ("still here", None));
    });
    let exit = proxy.ended(Instant::now());
    assert_eq!(exit.code, Some(0), "{:#?}", exit.log);
}

fn a_route_may_not_allow_it(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| wire.write(switch(&head)));
    for (key, status) in [("\"off\"", 501), ("[\"spdy\"]", 501), ("[\"websocket\"]", 200)] {
        let proxy = proxy(workers, &endpoint.at(), "", &format!("upgrade = {key}"), "");
        run(async {
            let mut caller = Caller::connect(proxy.web()).await;
            let (response, _send) = ask(&mut caller, "/ws").await;
            assert_eq!(response.await.unwrap().status(), status, "{key}");
        });
    }
}
