//! Connections to endpoints that begin with a PROXY header.

use std::io;
use std::sync::{Arc, Mutex};

use crate::support::{Client, Endpoint, Message, Proxy, Wire, config, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    a_connection_begins_with_the_clients_address_and_serves_that_client_only,
    the_client_of_a_header_is_passed_on,
    a_check_sends_a_header_without_an_address,
    a_reload_begins_and_ends_it,
);

/// The headers that an endpoint was sent, in order.
type Headers = Arc<Mutex<Vec<Vec<u8>>>>;

/// An endpoint that reads a header where one comes, and answers requests until the connection ends.
fn reading() -> (Endpoint, Headers) {
    let headers = Headers::default();
    let seen_headers = Arc::clone(&headers);
    let endpoint = Endpoint::scripted(move |wire, seen| {
        while wire.buffer.len() < 6 && wire.fill()? > 0 {}
        if wire.buffer.starts_with(b"PROXY ") || wire.buffer.starts_with(b"\r\n\r\n\0") {
            let header = header(wire)?;
            seen_headers.lock().unwrap().push(header);
        }
        while let Some(head) = wire.read_head()? {
            seen.note(Message { head, ..Message::default() });
            wire.write(text(200, "a"))?;
        }
        Ok(())
    });
    (endpoint, headers)
}

fn header(wire: &mut Wire) -> io::Result<Vec<u8>> {
    if wire.buffer.starts_with(b"PROXY ") {
        return wire.read_through(b"\r\n");
    }
    let mut header = wire.read_exactly(16)?;
    let length = u16::from_be_bytes([header[14], header[15]]);
    header.extend(wire.read_exactly(length.into())?);
    Ok(header)
}

fn sending(workers: usize, endpoint: &Endpoint, cluster: &str) -> String {
    let endpoint = endpoint.at();
    config(workers, &format!("[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{endpoint}\"]\n{cluster}\n"))
}

fn take(headers: &Headers) -> Vec<Vec<u8>> {
    std::mem::take(&mut headers.lock().unwrap())
}

fn a_connection_begins_with_the_clients_address_and_serves_that_client_only(workers: usize) {
    let (endpoint, headers) = reading();
    let proxy = Proxy::start(&sending(workers, &endpoint, "proxy_protocol = \"v1\""));
    let mut client = Client::connect(proxy.web());
    assert_eq!((client.get("/").status(), client.get("/").status()), (200, 200));
    let line = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", client.local_port(), proxy.web().port());
    assert_eq!(take(&headers), [line.as_bytes(), line.as_bytes()], "one for each request");
    assert_eq!(endpoint.connections(), 2);
    wait_until("both to be closed", || endpoint.open() == 0);
}

fn the_client_of_a_header_is_passed_on(workers: usize) {
    let (endpoint, headers) = reading();
    let listener = "proxy_protocol = [\"127.0.0.1\"]\n";
    let proxy = Proxy::start(&(sending(workers, &endpoint, "proxy_protocol = \"v2\"") + listener));
    let mut client = Client::connect(proxy.web());
    client.send("PROXY TCP4 203.0.113.9 192.0.2.2 8080 80\r\n");
    assert_eq!(client.ask("GET / HTTP/1.1\nX-Forwarded-For: 198.51.100.1").status(), 200);
    let header = take(&headers).pop().unwrap();
    assert_eq!(header[..16], *b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
    let port = proxy.web().port().to_be_bytes();
    assert_eq!(header[16..], [203, 0, 113, 9, 127, 0, 0, 1, 0x1f, 0x90, port[0], port[1]]);
}

fn a_check_sends_a_header_without_an_address(workers: usize) {
    for (version, expected) in [("v1", &b"PROXY UNKNOWN\r\n"[..]), ("v2", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0")] {
        let (endpoint, headers) = reading();
        let cluster = format!("proxy_protocol = \"{version}\"\nhealth.active = {{ initial = \"down\", rise = 1 }}");
        let proxy = Proxy::start(&sending(workers, &endpoint, &cluster));
        proxy.wait_log("is up");
        assert_eq!(take(&headers), [expected]);
    }
}

fn a_reload_begins_and_ends_it(workers: usize) {
    let (endpoint, headers) = reading();
    let (with, without) = ("proxy_protocol = \"v1\"", "");
    let mut proxy = Proxy::start(&sending(workers, &endpoint, without));
    let mut client = Client::connect(proxy.web());
    for (cluster, introduced) in [(without, 0), (with, 2), (without, 0)] {
        proxy.reload(&sending(workers, &endpoint, cluster));
        assert_eq!((client.get("/").status(), client.get("/").status()), (200, 200));
        assert_eq!(take(&headers).len(), introduced);
    }
    assert_eq!(endpoint.connections(), 4);
}
