//! Versions and cipher suites that are off are off.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedCipherSuite, SupportedProtocolVersion};

use super::Secure;
use crate::http2::{Raw, raw};
use crate::support::Client;
use crate::with_one_and_four_workers;

with_one_and_four_workers!(old_versions_are_refused, only_listed_suites_are_spoken, the_protocol_is_agreed_on);

const ROUTE: &str = "[[route]]\nrespond = { status = 200, body = \"ok\" }\n";

/// A client with these versions and this suite only.
fn client(
    secure: &Secure,
    versions: &[&'static SupportedProtocolVersion],
    suite: Option<SupportedCipherSuite>,
) -> Arc<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    let ca = secure.directory.path().join("ca.pem");
    roots.add(rustls::pki_types::pem::PemObject::from_pem_file(ca).unwrap()).unwrap();
    let all = default_provider();
    let cipher_suites = suite.map_or_else(|| all.cipher_suites.clone(), |suite| vec![suite]);
    let builder = ClientConfig::builder_with_provider(Arc::new(CryptoProvider { cipher_suites, ..all }));
    let builder = builder.with_protocol_versions(versions).unwrap().with_root_certificates(roots);
    Arc::new(builder.with_no_client_auth())
}

fn speaks(secure: &Secure, config: &Arc<ClientConfig>) -> bool {
    Client::try_tls(secure.proxy.web(), "a.test", config).is_ok_and(|mut client| client.get("/").text() == "ok")
}

fn old_versions_are_refused(workers: usize) {
    let secure = Secure::start(workers, ROUTE, "tls.min_version = \"1.3\"");
    assert!(speaks(&secure, &client(&secure, &[&TLS13], None)));
    assert!(!speaks(&secure, &client(&secure, &[&TLS12], None)));
    let both = Secure::start(workers, ROUTE, "");
    for version in [&TLS12, &TLS13] {
        assert!(speaks(&both, &client(&both, &[version], None)), "{version:?}");
    }
}

fn only_listed_suites_are_spoken(workers: usize) {
    let tls = "tls.cipher_suites = [\"TLS_AES_128_GCM_SHA256\", \"ECDHE-ECDSA-AES128-GCM-SHA256\"]";
    let secure = Secure::start(workers, ROUTE, tls);
    for (suite, is_spoken) in [
        (cipher_suite::TLS13_AES_128_GCM_SHA256, true),
        (cipher_suite::TLS13_AES_256_GCM_SHA384, false),
        (cipher_suite::TLS13_CHACHA20_POLY1305_SHA256, false),
        (cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, true),
        (cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, false),
    ] {
        let version = if suite.tls13().is_some() { &TLS13 } else { &TLS12 };
        assert_eq!(speaks(&secure, &client(&secure, &[version], Some(suite))), is_spoken, "{suite:?}");
    }
}

fn the_protocol_is_agreed_on(workers: usize) {
    let secure = Secure::start(workers, ROUTE, "");
    let with = |secure: &Secure, protocols: &[&[u8]]| {
        let mut config = secure.authority.client();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config
    };
    let both = with(&secure, &[b"http/1.1", b"h2"]);
    let both = Arc::new(both);
    let mut client = Client::tls(secure.proxy.web(), "a.test", &both);
    assert_eq!(client.stream.tls().alpn_protocol(), Some(&b"h2"[..]));
    let mut raw = Raw::over(client.into_wire());
    raw.get(1, "/over-tls");
    assert_eq!(raw.until(raw::HEADERS).payload.first(), Some(&0x88), "200, by the static table");
    assert_eq!(raw.until(raw::DATA).payload, b"ok");
    let line = secure.proxy.access_of("/over-tls");
    assert_eq!(line["protocol"], "HTTP/2.0", "{line}");

    let only = Secure::start(workers, ROUTE, "tls.alpn = [\"http/1.1\"]");
    let mut client = Client::tls(only.proxy.web(), "a.test", &Arc::new(with(&only, &[b"h2", b"http/1.1"])));
    assert_eq!(client.stream.tls().alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(client.get("/").text(), "ok");
    let mut client = Client::tls(secure.proxy.web(), "a.test", &Arc::new(with(&secure, &[])));
    assert_eq!(client.stream.tls().alpn_protocol(), None);
    assert_eq!(client.get("/").text(), "ok", "without ALPN, HTTP/1.1 is used");

    // `curl --http1.0` offers nothing else.
    for (offered, agreed) in [(&[&b"http/1.0"[..]][..], "http/1.0"), (&[b"http/1.0", b"http/1.1"], "http/1.1")] {
        let mut client = Client::tls(secure.proxy.web(), "a.test", &Arc::new(with(&secure, offered)));
        assert_eq!(client.stream.tls().alpn_protocol(), Some(agreed.as_bytes()));
        let answer = client.ask("GET /old HTTP/1.0\nHost: a.test");
        assert_eq!((answer.text().as_str(), answer.header("Connection")), ("ok", Some("close")), "{agreed}");
    }
    let line = secure.proxy.access_of("/old");
    assert_eq!(line["protocol"], "HTTP/1.0", "{line}");
}
