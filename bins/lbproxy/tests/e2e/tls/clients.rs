//! Certificates of clients: required, optional, absent, from another authority; and the headers to the endpoint.

use std::sync::Arc;

use rustls::ClientConfig;

use super::{Secure, to};
use crate::http2::{Raw, raw};
use crate::support::{Authority, Client, Endpoint, Issued, Message};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    a_required_certificate_is_required,
    an_optional_certificate_is_forwarded,
    certificate_headers_cannot_be_forged,
    another_host_is_misdirected_where_clients_are_asked,
);

/// The answer to a request of a client with this certificate. In TLS 1.3 the refusal comes after the handshake.
fn ask(secure: &Secure, own: Option<&Issued>, request: &str) -> Option<Message> {
    let config: Arc<ClientConfig> = Arc::new(secure.authority.client_with(own));
    let mut client = Client::try_tls(secure.proxy.web(), "a.test", &config).ok()?;
    client.write(format!("{request}\r\n\r\n").replace('\n', "\r\n").replace("\r\r", "\r")).ok()?;
    client.read_response("GET").ok()
}

const GET: &str = "GET / HTTP/1.1\nHost: a.test";

fn a_required_certificate_is_required(workers: usize) {
    let endpoint = Endpoint::named("a");
    let secure = Secure::start(workers, &to(&endpoint.at(), ""), "tls.client_auth.ca = \"DIR/ca.pem\"");
    assert_eq!(ask(&secure, None, GET), None, "none");
    let stranger = Authority::new().issue(&["alice"]);
    assert_eq!(ask(&secure, Some(&stranger), GET), None, "somebody else's");
    assert_eq!(endpoint.requests(), 0);
    let alice = secure.authority.issue(&["alice"]);
    assert_eq!(ask(&secure, Some(&alice), GET).unwrap().text(), "a");
    let told = endpoint.last();
    assert_eq!(told.header("X-SSL-Client-Verify"), Some("SUCCESS"));
    assert_eq!(told.header("X-SSL-Client-S-DN"), Some("CN=alice"));
    assert_eq!(told.header("X-SSL-Client-I-DN"), Some("CN=test authority"));
    assert!(told.header("Client-Cert").unwrap().starts_with(":MII"));
    assert!(told.header("X-Forwarded-Client-Cert").unwrap().contains(";Subject=\"CN=alice\""));
    secure.count_handshakes(&["\"failed\""], 2.0);
    // The session that is taken up again is the same client's.
    let config = Arc::new(secure.authority.client_with(Some(&alice)));
    for resumed in [false, true] {
        let mut client = Client::tls(secure.proxy.web(), "a.test", &config);
        assert_eq!(client.ask(GET).text(), "a");
        let kind = client.stream.tls().handshake_kind();
        assert_eq!(kind == Some(rustls::HandshakeKind::Resumed), resumed);
        assert_eq!(endpoint.last().header("X-SSL-Client-S-DN"), Some("CN=alice"));
    }
}

fn an_optional_certificate_is_forwarded(workers: usize) {
    let endpoint = Endpoint::named("a");
    let auth = "tls.client_auth = { ca = \"DIR/ca.pem\", mode = \"optional\" }";
    let secure = Secure::start(workers, &to(&endpoint.at(), ""), auth);
    ask(&secure, None, GET).unwrap();
    let told = endpoint.last();
    assert_eq!((told.header("X-SSL-Client-Verify"), told.header("Client-Cert")), (Some("NONE"), None));
    ask(&secure, Some(&secure.authority.issue(&["bob"])), GET).unwrap();
    assert_eq!(endpoint.last().header("X-SSL-Client-S-DN"), Some("CN=bob"));
    assert_eq!(ask(&secure, Some(&Authority::new().issue(&["eve"])), GET), None);
}

fn certificate_headers_cannot_be_forged(workers: usize) {
    let endpoint = Endpoint::named("a");
    let claim = "GET / HTTP/1.1\nHost: a.test\nX-SSL-Client-Verify: SUCCESS\nx_ssl_client_s_dn: CN=root\nClient-Cert: :AA==:\n\
                 X-Forwarded-Client-Cert: Hash=1\nX-SSL-Client-Other: x";
    let auth = "tls.client_auth = { ca = \"DIR/ca.pem\", mode = \"optional\" }";
    for tls in ["", auth] {
        let secure = Secure::start(workers, &to(&endpoint.at(), ""), tls);
        ask(&secure, None, claim).unwrap();
        let told = endpoint.last();
        let about: Vec<_> =
            told.head.headers.iter().filter(|(name, _)| name.to_lowercase().contains("client")).collect();
        let expected = if tls.is_empty() { vec![] } else { vec![("X-SSL-Client-Verify".into(), "NONE".into())] };
        assert_eq!(about, expected.iter().collect::<Vec<_>>());
    }
}

fn another_host_is_misdirected_where_clients_are_asked(workers: usize) {
    let endpoint = Endpoint::named("a");
    let certificates = "tls.certificates = [{ cert = \"DIR/a.pem\", key = \"DIR/a.key\" }, { pem = \"DIR/b.pem\" }]\n";
    for (auth, status) in [("", 200), ("tls.client_auth = { ca = \"DIR/ca.pem\", mode = \"optional\" }\n", 421)] {
        let mut secure = Secure::start(workers, &to(&endpoint.at(), ""), "");
        let other = secure.authority.issue(&["b.test", "c.test"]);
        std::fs::write(secure.directory.path().join("b.pem"), other.combined()).unwrap();
        let tls = format!("{certificates}{auth}");
        let config = super::secured(workers, &to(&endpoint.at(), ""), secure.directory.path(), &tls);
        secure.proxy.reload(&config);
        let client = secure.client();
        let asked = |name: &str, host: &str| {
            let mut client = Client::tls(secure.proxy.web(), name, &client);
            client.ask(&format!("GET / HTTP/1.1\nHost: {host}")).status()
        };
        assert_eq!(asked("a.test", "A.test:443"), 200);
        assert_eq!(asked("b.test", "c.test"), 200, "one certificate");
        assert_eq!(asked("a.test", "b.test"), status);
        assert_eq!(asked("b.test", "a.test"), status);
        assert_eq!(asked("b.test", "nobody.test"), status);
        // What counts is whom the request is for, wherever that stands.
        let ask = |request: &str| Client::tls(secure.proxy.web(), "a.test", &client).ask(request).status();
        assert_eq!(ask("GET https://b.test/ HTTP/1.1\nHost: a.test"), status);
        assert_eq!(ask("GET https://a.test/ HTTP/1.1\nHost: b.test"), 200);
        let mut http2 = secure.authority.client();
        http2.alpn_protocols = vec![b"h2".to_vec()];
        let mut raw = Raw::over(Client::tls(secure.proxy.web(), "b.test", &Arc::new(http2)).into_wire());
        raw.get(1, "/");
        let indexed = raw.until(raw::HEADERS).payload[0] == 0x88;
        assert_eq!(indexed, status == 200, "its requests are for another host: 200, by the static table, or not");
    }
}
