//! WebSocket over TLS: a tunnel whose ends are passed on.

use super::{Secure, to};
use crate::http2::Raw;
use crate::http2::raw::{self, DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS};
use crate::support::{Client, Endpoint, SWITCHED, WEBSOCKET, Wire};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(bytes_flow_both_ways_and_each_direction_ends_alone, a_stream_of_http2_is_a_tunnel_too);

fn bytes_flow_both_ways_and_each_direction_ends_alone(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| {
        wire.write(format!("{SWITCHED}hello"))?;
        let all = wire.read_to_end()?;
        // The client's end was passed on; the other direction is still open.
        wire.write(format!("you said {} bytes", all.len()))?;
        wire.write(vec![b'z'; 1 << 20])
    });
    let secure = Secure::start(workers, &to(&endpoint.at(), ""), "");
    let mut client = Client::tls(secure.proxy.web(), "a.test", &secure.client());
    client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{WEBSOCKET}\r\n"));
    assert_eq!(client.read_head().unwrap().unwrap().status(), 101);
    assert_eq!(client.read_exactly(5).unwrap(), b"hello");
    client.send(vec![0; 1 << 20]);
    client.finish();
    let rest = client.read_to_end().unwrap();
    assert!(rest.starts_with(b"you said 1048576 bytes"), "{}", rest.len());
    assert_eq!(rest.len(), 22 + (1 << 20));
}

/// As browsers do it, frame by frame.
fn a_stream_of_http2_is_a_tunnel_too(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
        use base64::Engine;
        let text = format!("{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11", head.header("Sec-WebSocket-Key").unwrap());
        let sum = digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        let accept = base64::engine::general_purpose::STANDARD.encode(sum);
        let switch = SWITCHED.replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", &accept);
        wire.write(format!("{switch}hello"))?;
        let all = wire.read_to_end()?;
        wire.write(format!("you said {}", String::from_utf8_lossy(&all)))
    });
    let secure = Secure::start(workers, &to(&endpoint.at(), ""), "");
    let mut config = secure.authority.client();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut raw = Raw::over(Client::tls(secure.proxy.web(), "a.test", &std::sync::Arc::new(config)).into_wire());
    let settings = raw.until(SETTINGS);
    assert!(settings.payload.chunks(6).any(|entry| entry == [0, 8, 0, 0, 0, 1]), "extended CONNECT is offered");
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", "a.test"),
        (":path", "/chat"),
        ("sec-websocket-version", "13"),
    ];
    raw.send(HEADERS, END_HEADERS, 1, &raw::block(&fields));
    assert_eq!(raw.until(HEADERS).payload.first(), Some(&0x88), "200");
    assert_eq!(raw.until(DATA).payload, b"hello");
    raw.send(DATA, END_STREAM, 1, b"goodbye");
    let mut heard = Vec::new();
    loop {
        let frame = raw.until(DATA);
        heard.extend_from_slice(&frame.payload);
        if frame.flags & END_STREAM != 0 {
            break;
        }
    }
    assert_eq!(heard, b"you said goodbye");
}
