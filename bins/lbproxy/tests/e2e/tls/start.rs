//! What keeps the proxy from starting, and what does not.

use rcgen::date_time_ymd;

use super::{Secure, secured};
use crate::support::{Authority, Client, Proxy, failed_start};

const ROUTE: &str = "[[route]]\nrespond = { status = 200, body = \"ok\" }\n";

#[test]
fn a_certificate_that_cannot_be_used_is_exit_code_3_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let config = secured(1, ROUTE, directory.path(), "");
    let exit = failed_start(&config);
    assert_eq!(exit.code, Some(3));
    let told = |log: &[String], parts: &[&str]| {
        let line = log.iter().find(|line| line.contains("cannot start")).unwrap().clone();
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    };
    told(&exit.log, &["a.pem", "cannot be read"]);
    let authority = Authority::new();
    let (one, other) = (authority.issue(&["a.test"]), authority.issue(&["a.test"]));
    one.write(directory.path(), "a");
    std::fs::write(directory.path().join("a.key"), &other.key).unwrap();
    let exit = failed_start(&config);
    assert_eq!(exit.code, Some(3));
    told(&exit.log, &["a.key", "does not belong to the certificate in", "a.pem"]);
    assert!(!exit.log.join("\n").contains("PRIVATE KEY"));
}

#[test]
fn an_expired_certificate_is_served_with_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let expired = authority.issue_with(&["a.test"], |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    expired.write(directory.path(), "a");
    let proxy = Proxy::start(&secured(1, ROUTE, directory.path(), ""));
    let line = proxy.wait_log("the certificate expired");
    assert!(line.contains("WARN") && line.contains("a.pem"), "{line}");
    let why = Client::try_tls(proxy.web(), "a.test", &std::sync::Arc::new(authority.client())).err().unwrap();
    assert!(why.to_string().contains("xpired"), "the client judges for itself: {why}");
}

#[test]
fn a_failed_handshake_is_logged_at_debug_level_with_the_client() {
    let secure = Secure::start(1, &format!("log.level = \"debug\"\n{ROUTE}"), "");
    crate::support::exchange(secure.proxy.web(), "hello?\r\n\r\n");
    let line = secure.proxy.wait_log("TLS handshake failed");
    assert!(line.contains("client=127.0.0.1:") && line.contains("listener=web"), "{line}");
}
