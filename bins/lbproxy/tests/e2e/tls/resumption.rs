//! Sessions are taken up again, whichever worker gets the client.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::HandshakeKind::{Full, Resumed};
use rustls::version::{TLS12, TLS13};

use super::Secure;
use crate::support::Client;
use crate::with_one_and_four_workers;

with_one_and_four_workers!(a_second_connection_resumes_the_session);

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
