//! A PROXY header comes before TLS.

use super::{Secure, to};
use crate::support::{Client, Endpoint};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(the_header_is_taken_off_and_the_handshake_begins_behind_it);

fn the_header_is_taken_off_and_the_handshake_begins_behind_it(workers: usize) {
    let endpoint = Endpoint::named("a");
    let secure = Secure::start(workers, &to(&endpoint.at(), ""), "proxy_protocol = [\"127.0.0.1\"]");
    let header = b"PROXY TCP4 203.0.113.9 192.0.2.2 8080 443\r\n";
    for _ in 0..3 {
        let mut client = Client::try_tls_behind(secure.proxy.web(), header, "a.test", &secure.client()).unwrap();
        assert_eq!(client.get("/").status(), 200);
        let seen = endpoint.last().head;
        assert_eq!(
            (seen.header("X-Forwarded-For"), seen.header("X-Forwarded-Proto")),
            (Some("203.0.113.9"), Some("https"))
        );
    }
    assert!(Client::try_tls(secure.proxy.web(), "a.test", &secure.client()).is_err(), "TLS alone is no header");
    secure.proxy.wait_log("listener=web: no PROXY header");
}
