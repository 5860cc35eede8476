//! Which certificate a client gets.

use std::sync::Arc;

use super::Secure;
use crate::support::Client;
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    exact_then_wildcard_then_the_first,
    a_combined_file_is_one_certificate,
    a_site_brings_its_certificate
);

const ROUTE: &str = "[[route]]\nrespond = { status = 200, body = \"ok\" }\n";

/// The certificate shown for a name, verified by that name or not at all.
fn shown(secure: &Secure, name: &str) -> Option<Vec<u8>> {
    let mut client = Client::try_tls(secure.proxy.web(), name, &secure.client()).ok()?;
    Some(client.stream.tls().peer_certificates()?[0].to_vec())
}

fn exact_then_wildcard_then_the_first(workers: usize) {
    let secure = Secure::start(workers, ROUTE, "");
    let issue = |name: &str, names: &[&str]| {
        let issued = secure.authority.issue(names);
        issued.write(secure.directory.path(), name);
        issued.chain()[0].to_vec()
    };
    let (wild, exact, first) = (
        issue("wild", &["*.b.test", "*.deep.b.test"]),
        issue("exact", &["x.b.test", "B.test"]),
        issue("a", &["a.test"]),
    );
    let tls = "tls.certificates = [{ cert = \"DIR/a.pem\", key = \"DIR/a.key\" }, \
               { cert = \"DIR/wild.pem\", key = \"DIR/wild.key\" }, { cert = \"DIR/exact.pem\", key = \"DIR/exact.key\" }]";
    let mut secure = secure;
    let config = super::secured(workers, ROUTE, secure.directory.path(), tls);
    secure.proxy.reload(&config);
    for (name, expected) in [
        ("a.test", Some(&first)),
        ("x.b.test", Some(&exact)),
        ("X.B.test", Some(&exact)),
        ("b.test", Some(&exact)),
        ("y.b.test", Some(&wild)),
        ("z.deep.b.test", Some(&wild)),
        // Nobody's name: the first, which a client that checks names refuses.
        ("y.y.b.test", None),
        ("other.test", None),
    ] {
        assert_eq!(shown(&secure, name).as_ref(), expected, "{name}");
    }
    // Without a name: an address is not asked for.
    let mut client = secure.authority.client();
    client.enable_sni = false;
    let mut client = Client::tls(secure.proxy.web(), "a.test", &Arc::new(client));
    assert_eq!(client.get("/").text(), "ok");
}

fn a_combined_file_is_one_certificate(workers: usize) {
    let mut secure = Secure::start(workers, ROUTE, "");
    let issued = secure.authority.issue(&["c.test"]);
    std::fs::write(secure.directory.path().join("all.pem"), issued.combined()).unwrap();
    let tls = "tls.certificates = [{ pem = \"DIR/all.pem\" }]";
    let config = super::secured(workers, ROUTE, secure.directory.path(), tls);
    secure.proxy.reload(&config);
    assert_eq!(shown(&secure, "c.test"), Some(issued.chain()[0].to_vec()));
}

fn a_site_brings_its_certificate(workers: usize) {
    let mut secure = Secure::start(workers, ROUTE, "");
    let issued = secure.authority.issue(&["site.test"]);
    issued.write(secure.directory.path(), "site");
    let routes = format!(
        "[[site]]\nhosts = [\"site.test\"]\ntls = {{ cert = \"{0}/site.pem\", key = \"{0}/site.key\" }}\n\
         respond = {{ body = \"of the site\" }}\n{ROUTE}",
        secure.directory.path().display()
    );
    for tls in ["tls = { cert = \"DIR/a.pem\", key = \"DIR/a.key\" }", "tls = {}"] {
        let config = super::secured(workers, &routes, secure.directory.path(), tls);
        secure.proxy.reload(&config);
        let mut client = Client::tls(secure.proxy.web(), "site.test", &secure.client());
        assert_eq!(client.stream.tls().peer_certificates().unwrap()[0].to_vec(), issued.chain()[0].to_vec());
        assert_eq!(client.ask("GET / HTTP/1.1\nHost: site.test").text(), "of the site");
    }
}
