//! The end of connections, and clients that are slow to begin.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use super::{Secure, to};
use crate::support::{Client, Endpoint, Wire};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    a_silent_client_is_closed_in_the_time_for_a_head,
    an_idle_client_gets_close_notify,
    a_stop_ends_handshakes_and_idle_connections,
);

const ROUTE: &str = "[[route]]\nrespond = { status = 200, body = \"ok\" }\n";

fn a_silent_client_is_closed_in_the_time_for_a_head(workers: usize) {
    let secure = Secure::start(workers, &format!("limits.head_timeout = \"2s\"\n{ROUTE}"), "");
    let mut silent = Wire::new(TcpStream::connect(secure.proxy.web()).unwrap());
    // The beginning of a handshake record.
    silent.write([22, 3, 1, 2, 0]).unwrap();
    assert!(silent.is_closed_silently());
    secure.count_handshakes(&["\"timeout\""], 1.0);
    // One that has shaken hands and then trickles has no longer.
    let mut slow = Client::tls(secure.proxy.web(), "a.test", &secure.client());
    slow.send("GET / HTTP/1.1\r\n");
    assert_eq!(slow.answer("GET").status(), 408);
    // Other connections do not block the shutdown.
    assert_eq!(Client::tls(secure.proxy.web(), "a.test", &secure.client()).get("/").text(), "ok");
}

fn an_idle_client_gets_close_notify(workers: usize) {
    let secure = Secure::start(workers, &format!("limits.idle_timeout = \"100ms\"\n{ROUTE}"), "");
    let mut client = Client::tls(secure.proxy.web(), "a.test", &secure.client());
    assert_eq!(client.get("/").text(), "ok");
    assert_eq!(client.read_to_end().unwrap(), b"", "an end that is said, not a cut");
}

fn a_stop_ends_handshakes_and_idle_connections(workers: usize) {
    let endpoint = Endpoint::named("a");
    let secure = Secure::start(workers, &to(&endpoint.at(), ""), "");
    let mut silent = TcpStream::connect(secure.proxy.web()).unwrap();
    silent.write_all(&[22, 3, 1, 2, 0]).unwrap();
    let mut client = Client::tls(secure.proxy.web(), "a.test", &secure.client());
    assert_eq!(client.get("/").text(), "a");
    let exit = secure.proxy.terminate();
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert!(exit.took < Duration::from_secs(10), "{exit:?}");
    assert_eq!(client.read_to_end().unwrap(), b"");
}
