//! Sessions are taken up again, whichever worker gets the client.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::HandshakeKind::{Full, Resumed};
use rustls::version::{TLS12, TLS13};

use super::Secure;
use crate::support::{Client, Issued, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(a_second_connection_resumes_the_session, a_session_ends_with_the_client_certificate);

fn a_second_connection_resumes_the_session(workers: usize) {
    let secure = Secure::start(workers, "[[route]]\nrespond = { status = 200, body = \"ok\" }\n", "");
    for version in [&TLS12, &TLS13] {
        let mut roots = rustls::RootCertStore::empty();
        let ca = secure.directory.path().join("ca.pem");
        roots.add(rustls::pki_types::pem::PemObject::from_pem_file(ca).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
        let config = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
        for round in 0..8 {
            let mut client = Client::tls(secure.proxy.web(), "a.test", &config);
            assert_eq!(client.get("/").text(), "ok");
            let expected = if round == 0 { Full } else { Resumed };
            assert_eq!(client.stream.tls().handshake_kind(), Some(expected), "{version:?}, {round}");
        }
    }
    secure.count_handshakes(&["\"full\""], 2.0);
    secure.count_handshakes(&["\"resumed\""], 14.0);
}

/// A client certificate, issued now, that holds for some seconds.
fn short_lived(secure: &Secure, seconds: u64) -> Issued {
    secure.authority.issue_with(&["bob"], |params| {
        params.not_after = (std::time::SystemTime::now() + std::time::Duration::from_secs(seconds)).into();
    })
}

fn a_session_ends_with_the_client_certificate(workers: usize) {
    let routes = "[[route]]\nrespond = { status = 200, body = \"ok\" }\n";
    let secure = Secure::start(workers, routes, "tls.client_auth.ca = \"DIR/ca.pem\"");
    for version in [&TLS12, &TLS13] {
        let bob = short_lived(&secure, 4);
        let config = Arc::new(secure.authority.client_of(Some(&bob), &[version]));
        // One round is a request on a connection of its own; each gives new tickets. In TLS 1.3 the refusal comes after
        // the handshake.
        let ask = || {
            let mut client = Client::try_tls(secure.proxy.web(), "a.test", &config).ok()?;
            client.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").ok()?;
            let answer = client.read_response("GET").ok()?;
            assert_eq!(answer.text(), "ok");
            Some(client.stream.tls().handshake_kind())
        };
        assert_eq!(ask(), Some(Some(Full)), "{version:?}");
        assert_eq!(ask(), Some(Some(Resumed)), "{version:?}");
        wait_until("the refusal of a certificate that has expired", || ask().is_none());
        assert_eq!(ask(), None, "{version:?}: and it stays refused");
    }
}
