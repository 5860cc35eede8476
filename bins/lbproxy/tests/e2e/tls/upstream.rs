//! TLS towards endpoints.

use rcgen::{DnType, date_time_ymd};
use serde_json::Value;
use tempfile::TempDir;

use super::Secure;
use crate::support::{
    Authority, Client, Endpoint, Issued, Proxy, SWITCHED, WEBSOCKET, config, get, post, text, wait_until,
};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    requests_bodies_and_kept_connections_pass,
    the_name_of_the_endpoint_is_sent_and_verified,
    a_certificate_that_does_not_hold_is_a_502_by_name,
    a_self_signed_certificate_is_trusted_if_configured,
    an_endpoint_that_fails_the_handshake_is_not_the_last_to_be_asked,
    an_endpoint_that_says_nothing_has_the_time_to_connect,
    verify_false_accepts_any_certificate_with_a_warning,
    the_client_certificate_is_sent_if_requested,
    what_is_no_tls_is_a_failed_handshake,
    a_truncated_body_is_not_taken_for_a_complete_one,
    checks_speak_tls_too,
    checks_resume_the_session_of_the_one_before,
    a_reload_takes_up_another_authority,
    a_tunnel_goes_through_tls_on_both_sides,
);

/// An authority, and a directory with its certificate as `ca.pem`.
fn authority() -> (Authority, TempDir) {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
    (authority, directory)
}

/// A configuration with one endpoint; `DIR` in `tls` is the directory.
fn configured(workers: usize, at: &str, tls: &str, directory: &TempDir) -> String {
    let tls = tls.replace("DIR", &directory.path().display().to_string());
    config(workers, &format!("[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{at}\"]\n{tls}\n"))
}

/// Checks what the access log says of a request that was answered with a 502.
#[track_caller]
fn is_caused(proxy: &Proxy, path: &str, cause: &str) -> Value {
    let line = proxy.access_of(path);
    let said = line["cause"].as_str().unwrap_or_default();
    assert!(line["status"] == 502 && said.starts_with(&format!("{cause}: ")), "{line}");
    line
}

fn requests_bodies_and_kept_connections_pass(workers: usize) {
    let (authority, directory) = authority();
    let own = authority.issue(&["127.0.0.1"]);
    let endpoint = Endpoint::secured(authority.server(&own, false), |request| {
        let size = request.head.target().trim_start_matches('/').parse().unwrap_or(0);
        text(200, &"x".repeat(size)).replacen("\r\n", &format!("\r\nSeen: {}\r\n", request.body.data.len()), 1)
    });
    let proxy = Proxy::start(&configured(workers, &endpoint.at(), "tls.ca = \"DIR/ca.pem\"", &directory));
    let mut client = Client::connect(proxy.web());
    for size in [0, 1, 16_384, 16_385, 131_072, 3_000_000] {
        let answer = client.get(&format!("/{size}"));
        assert_eq!((answer.status(), answer.body.data.len()), (200, size));
        client.send(format!("POST /0 HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"));
        client.send(vec![b'y'; size]);
        assert_eq!(client.answer("POST").header("Seen"), Some(&*size.to_string()));
    }
    assert_eq!(endpoint.connections(), 1, "kept, for POST as well: tickets do not make it look closed");
    assert_eq!(endpoint.last().header("X-Forwarded-Proto"), Some("http"), "that is the client's way");
}

fn the_name_of_the_endpoint_is_sent_and_verified(workers: usize) {
    let (authority, directory) = authority();
    let own = authority.issue(&["localhost", "app.internal"]);
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&asked);
    let endpoint = Endpoint::secured_script(authority.server(&own, false), move |wire, _| {
        let head = wire.read_head()?.unwrap();
        let name = wire.stream.server().server_name().map(str::to_owned);
        seen.lock().unwrap().push((name, head.header("Host").map(str::to_owned)));
        wire.write(text(200, "ok"))
    });
    let port = endpoint.address.port();
    let ca = "tls.ca = \"DIR/ca.pem\"";
    for (at, tls, name) in [
        (format!("localhost:{port}"), ca.to_owned(), Some("localhost")),
        (format!("https://localhost:{port}"), ca.to_owned(), Some("localhost")),
        (endpoint.at(), format!("{ca}\ntls.server_name = \"app.internal\""), Some("app.internal")),
    ] {
        let proxy = Proxy::start(&configured(workers, &at, &tls, &directory));
        assert_eq!(get(proxy.web(), "/").text(), "ok", "{at}");
        let expected = (name.map(str::to_owned), Some("example.test".to_owned()));
        assert_eq!(asked.lock().unwrap().pop(), Some(expected), "{at}");
    }
    // An address must be in the certificate as one.
    let proxy = Proxy::start(&configured(workers, &endpoint.at(), ca, &directory));
    assert_eq!(get(proxy.web(), "/").status(), 502);
    is_caused(&proxy, "/", "certificate_name");
}

fn a_certificate_that_does_not_hold_is_a_502_by_name(workers: usize) {
    let (authority, directory) = authority();
    let expired = authority.issue_with(&["127.0.0.1"], |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let stranger = Authority::new();
    let foreign = stranger.issue(&["127.0.0.1"]);
    let other = authority.issue(&["127.0.0.2", "other.test"]);
    for (own, cause) in
        [(&expired, "certificate_expired"), (&foreign, "certificate_untrusted"), (&other, "certificate_name")]
    {
        let endpoint = Endpoint::secured(authority.server(own, false), |_| text(200, "never"));
        let proxy = Proxy::start(&configured(workers, &endpoint.at(), "tls.ca = \"DIR/ca.pem\"", &directory));
        let answer = post(proxy.web(), "/x", "body");
        assert_eq!(answer.status(), 502, "{cause}");
        let line = is_caused(&proxy, "/x", cause);
        assert_eq!(line["endpoint"], endpoint.at(), "{line}");
        assert_eq!(endpoint.requests(), 0, "nothing was sent to it");
    }
}

fn a_self_signed_certificate_is_trusted_if_configured(workers: usize) {
    let (authority, directory) = authority();
    // As `openssl req -x509` makes them: it says of itself that it is an authority.
    let own = Authority::self_signed(&["127.0.0.1"]);
    std::fs::write(directory.path().join("own.pem"), &own.cert).unwrap();
    let endpoint = Endpoint::secured(authority.server(&own, false), |_| text(200, "ok"));
    let proxy = Proxy::start(&configured(workers, &endpoint.at(), "tls.ca = \"DIR/own.pem\"", &directory));
    assert_eq!(get(proxy.web(), "/").text(), "ok");
    let proxy = Proxy::start(&configured(workers, &endpoint.at(), "tls.ca = \"DIR/ca.pem\"", &directory));
    assert_eq!(get(proxy.web(), "/").status(), 502);
    let named = "tls = { ca = \"DIR/own.pem\", server_name = \"other.test\" }";
    let proxy = Proxy::start(&configured(workers, &endpoint.at(), named, &directory));
    assert_eq!(get(proxy.web(), "/").status(), 502);
    is_caused(&proxy, "/", "certificate_name");
}

fn an_endpoint_that_fails_the_handshake_is_not_the_last_to_be_asked(workers: usize) {
    let (authority, directory) = authority();
    let good = Endpoint::secured(authority.server(&authority.issue(&["127.0.0.1"]), false), |_| text(200, "good"));
    let bad = Endpoint::secured(authority.server(&authority.issue(&["other.test"]), false), |_| text(200, "bad"));
    let both = format!("{}\", \"{}", bad.at(), good.at());
    let tls = "tls.ca = \"DIR/ca.pem\"\nhealth.passive = { failures = 3, eject_for = \"1h\" }";
    let proxy = Proxy::start(&configured(workers, &both, tls, &directory));
    // Nothing of a request was sent before the handshake, so that any may be sent elsewhere.
    for _ in 0..20 {
        assert_eq!(post(proxy.web(), "/", "body").text(), "good");
    }
    assert_eq!(bad.requests(), 0);
    wait_until("its ejection", || proxy.endpoint("app", &bad.at())["eligible"] == false);
}

fn an_endpoint_that_says_nothing_has_the_time_to_connect(workers: usize) {
    let (_, directory) = authority();
    let silent = Endpoint::scripted(|wire, _| wire.read_to_end().map(drop));
    let route = "timeout.connect = \"100ms\"\nretry = \"off\"";
    let text = configured(workers, &silent.at(), "tls.verify = false", &directory);
    let proxy = Proxy::start(&text.replace("cluster = \"app\"", &format!("cluster = \"app\"\n{route}")));
    let answer = get(proxy.web(), "/");
    assert_eq!(answer.status(), 504);
    let line = proxy.access_of("/");
    assert!(line["cause"].as_str().unwrap().starts_with("connect_timeout"), "{line}");
    wait_until("the endpoint to be left", || silent.open() == 0);
}

fn verify_false_accepts_any_certificate_with_a_warning(workers: usize) {
    let (_, directory) = authority();
    let stranger = Authority::new();
    let foreign = stranger.issue(&["who.test"]);
    let endpoint = Endpoint::secured(stranger.server(&foreign, false), |_| text(200, "ok"));
    let proxy = Proxy::start(&configured(workers, &endpoint.at(), "tls.verify = false", &directory));
    let line = proxy.wait_log("tls.verify = false");
    assert!(line.contains("WARN") && line.contains("impersonate the endpoints of `app`"), "{line}");
    assert_eq!(get(proxy.web(), "/").text(), "ok");
}

fn the_client_certificate_is_sent_if_requested(workers: usize) {
    let (authority, directory) = authority();
    let own = authority.issue(&["127.0.0.1"]);
    let ours: Issued =
        authority.issue_with(&[], |params| params.distinguished_name.push(DnType::CommonName, "lbproxy"));
    ours.write(directory.path(), "ours");
    let endpoint = Endpoint::secured(authority.server(&own, true), |_| text(200, "ok"));
    let with = "tls = { ca = \"DIR/ca.pem\", client_cert = \"DIR/ours.pem\", client_key = \"DIR/ours.key\" }";
    let proxy = Proxy::start(&configured(workers, &endpoint.at(), with, &directory));
    assert_eq!(get(proxy.web(), "/").text(), "ok");
    let without = Proxy::start(&configured(workers, &endpoint.at(), "tls.ca = \"DIR/ca.pem\"", &directory));
    assert_eq!(get(without.web(), "/none").status(), 502);
    let line = without.access_of("/none");
    // In TLS 1.3 the endpoint says so after the handshake, or has closed by then.
    let cause = line["cause"].as_str().unwrap();
    assert!(["tls_handshake", "reset"].iter().any(|known| cause.starts_with(known)), "{line}");
}

fn what_is_no_tls_is_a_failed_handshake(workers: usize) {
    let (_, directory) = authority();
    let plain = Endpoint::on_head(|wire, _| wire.write("HTTP/1.1 400 Bad\r\n\r\n"));
    let speaking = Endpoint::scripted(|wire, _| {
        wire.fill()?;
        wire.write("HTTP/1.1 400 Bad\r\n\r\n")
    });
    let closing = Endpoint::scripted(|wire, _| wire.fill().map(drop));
    drop(plain);
    for endpoint in [&speaking, &closing] {
        let proxy = Proxy::start(&configured(workers, &endpoint.at(), "tls.ca = \"DIR/ca.pem\"", &directory));
        assert_eq!(get(proxy.web(), "/").status(), 502);
        is_caused(&proxy, "/", "tls_handshake");
    }
}

fn a_truncated_body_is_not_taken_for_a_complete_one(workers: usize) {
    let (authority, directory) = authority();
    let own = authority.issue(&["127.0.0.1"]);
    let endpoint = Endpoint::secured_script(authority.server(&own, false), |wire, _| {
        let head = wire.read_head()?.unwrap();
        wire.write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello")?;
        if head.target() == "/whole" {
            wire.finish();
            wire.read_to_end()?;
        }
        Ok(())
    });
    let proxy = Proxy::start(&configured(workers, &endpoint.at(), "tls.ca = \"DIR/ca.pem\"", &directory));
    let whole = get(proxy.web(), "/whole");
    assert!(whole.body.is_whole && whole.text() == "hello");
    let cut = get(proxy.web(), "/cut");
    assert!(!cut.body.is_whole, "the endpoint never said that this was the end: {cut:?}");
}

fn checks_resume_the_session_of_the_one_before(workers: usize) {
    let endpoint = Secure::start(workers, "[[route]]\nrespond = { status = 200, body = \"ok\" }\n", "");
    let rest = "tls = { ca = \"DIR/ca.pem\", server_name = \"a.test\" }\nhealth.active = { interval = \"20ms\" }";
    let at = format!("https://{}", endpoint.proxy.web());
    let proxy = Proxy::start(&configured(workers, &at, rest, &endpoint.directory));
    wait_until("checks", || proxy.metric("lbproxy_checks_total", &["result=\"pass\""]) >= 5.0);
    // A ticket of TLS 1.3 is for one use, and each answer brings new ones.
    let resumed = endpoint.proxy.metric("lbproxy_tls_handshakes_total", &["result=\"resumed\""]);
    assert!(resumed >= 4.0, "all but the first: {resumed}");
    assert_eq!(endpoint.proxy.metric("lbproxy_tls_handshakes_total", &["result=\"full\""]), 1.0);
}

fn checks_speak_tls_too(workers: usize) {
    let (authority, directory) = authority();
    let own = authority.issue(&["127.0.0.1"]);
    let check = "health.active = { interval = \"50ms\", rise = 1, fall = 1, initial = \"down\" }";
    let endpoint = Endpoint::secured(authority.server(&own, false), |_| text(200, "ok"));
    let tls = format!("tls.ca = \"DIR/ca.pem\"\n{check}");
    let proxy = Proxy::start(&configured(workers, &format!("https://{}", endpoint.at()), &tls, &directory));
    let name = format!("https://{}", endpoint.at());
    wait_until("a check to pass", || proxy.endpoint("app", &name)["last_check"]["ok"] == true);
    assert_eq!(endpoint.last().header("Host"), Some(&*endpoint.at()));
    assert_eq!(get(proxy.web(), "/").text(), "ok");
    let stranger = Authority::new();
    let foreign = Endpoint::secured(stranger.server(&stranger.issue(&["127.0.0.1"]), false), |_| text(200, "no"));
    let proxy = Proxy::start(&configured(workers, &foreign.at(), &tls, &directory));
    wait_until("a check to fail", || proxy.endpoint("app", &foreign.at())["last_check"]["ok"] == false);
    let detail = proxy.endpoint("app", &foreign.at())["last_check"]["detail"].to_string();
    assert!(detail.contains("certificate_untrusted"), "{detail}");
}

fn a_reload_takes_up_another_authority(workers: usize) {
    let (authority, directory) = authority();
    let own = authority.issue(&["127.0.0.1"]);
    let endpoint = Endpoint::secured(authority.server(&own, false), |_| text(200, "ok"));
    let text = configured(workers, &endpoint.at(), "tls.ca = \"DIR/ca.pem\"", &directory);
    let mut proxy = Proxy::start(&text);
    let mut client = Client::connect(proxy.web());
    assert_eq!(client.get("/").text(), "ok");
    proxy.reload(&text);
    assert_eq!(client.get("/").text(), "ok");
    assert_eq!(endpoint.connections(), 1, "nothing has changed, so the connection is kept");
    std::fs::write(directory.path().join("ca.pem"), Authority::new().pem()).unwrap();
    proxy.reload(&text);
    assert_eq!(client.get("/").status(), 502, "the connection that the old authority vouched for is gone");
    std::fs::write(directory.path().join("ca.pem"), "").unwrap();
    proxy.reload(&text);
    let line = proxy.wait_log("stays in force");
    assert!(line.contains("ca.pem: has no PEM"), "{line}");
}

fn a_tunnel_goes_through_tls_on_both_sides(workers: usize) {
    let (authority, directory) = authority();
    let own = authority.issue(&["127.0.0.1"]);
    let endpoint = Endpoint::secured_script(authority.server(&own, false), |wire, _| {
        wire.read_head()?;
        wire.write(format!("{SWITCHED}hello"))?;
        let all = wire.read_to_end()?;
        wire.write(format!("you said {} bytes", all.len()))?;
        wire.finish();
        Ok(())
    });
    authority.issue(&["a.test"]).write(directory.path(), "a");
    let rest = format!(
        "[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\"]\ntls.ca = \"{}/ca.pem\"\n",
        endpoint.at(),
        directory.path().display()
    );
    let proxy = Proxy::start(&super::secured(workers, &rest, directory.path(), ""));
    let mut client = Client::tls(proxy.web(), "a.test", &std::sync::Arc::new(authority.client()));
    client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{WEBSOCKET}\r\n"));
    assert_eq!(client.read_head().unwrap().unwrap().status(), 101);
    assert_eq!(client.read_exactly(5).unwrap(), b"hello");
    client.send(vec![0; 500_000]);
    client.finish();
    assert_eq!(client.read_to_end().unwrap(), b"you said 500000 bytes");
}
