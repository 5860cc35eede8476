//! Clients of the distribution: what curl and openssl make of us. Where they are missing the tests are skipped, with a
//! note; with `LBPROXY_REQUIRE_PEERS=1` they fail.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::{Secure, to};
use crate::support::Endpoint;

const ROUTE: &str = "[[route]]\nrespond = { status = 200, body = \"ok\" }\n";

/// The stdout and stderr of a program; `None` if it is not installed.
fn run(program: &str, arguments: &[&str]) -> Option<(bool, String)> {
    match Command::new(program).args(arguments).stdin(Stdio::null()).output() {
        Ok(Output { status, stdout, stderr }) => {
            let both = [stdout, stderr].concat();
            Some((status.success(), String::from_utf8_lossy(&both).into_owned()))
        }
        Err(_) => {
            let required = std::env::var_os("LBPROXY_REQUIRE_PEERS").is_some_and(|it| it == "1");
            assert!(!required, "{program} is not installed");
            // Not by a macro, whose output is captured in passing tests.
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("skipped: {program} is not installed\n"),
            );
            None
        }
    }
}

#[test]
fn curl_asks_and_verifies() {
    let secure = Secure::start(1, ROUTE, "");
    let (ca, port) = (secure.directory.path().join("ca.pem"), secure.proxy.web().port());
    let (resolve, url) = (format!("a.test:{port}:127.0.0.1"), format!("https://a.test:{port}/"));
    let ca = ca.to_str().unwrap();
    for most in ["1.2", "1.3"] {
        let arguments = ["-sS", "--cacert", ca, "--resolve", &resolve, "--tls-max", most, &url];
        let Some((worked, said)) = run("curl", &arguments) else { return };
        assert!(worked && said == "ok", "{most}: {said}");
    }
}

#[test]
fn curl_takes_up_its_session() {
    let secure = Secure::start(4, ROUTE, "");
    let (ca, port) = (secure.directory.path().join("ca.pem"), secure.proxy.web().port());
    let (resolve, url) = (format!("a.test:{port}:127.0.0.1"), format!("https://a.test:{port}/[1-9]"));
    // A connection for each request, and so a handshake. In TLS 1.2 curl wants no tickets, and we have nothing else.
    let arguments = ["-sS", "--http1.1", "--tlsv1.3", "-H", "Connection: close", "--resolve", &resolve, "--cacert"];
    let Some((worked, said)) = run("curl", &[&arguments[..], &[ca.to_str().unwrap(), &url]].concat()) else { return };
    assert!(worked && said == "ok".repeat(9), "{said}");
    secure.count_handshakes(&["\"full\""], 1.0);
    secure.count_handshakes(&["\"resumed\""], 8.0);
}

/// Asks by `openssl s_client`; its output. `None` without openssl.
fn s_client(secure: &Secure, arguments: &[&str]) -> Option<String> {
    let (at, ca) = (secure.proxy.web().to_string(), secure.directory.path().join("ca.pem"));
    let mut command = Command::new("openssl");
    let common = ["s_client", "-connect", &at, "-verify_return_error", "-ign_eof", "-CAfile"];
    command.args(common).arg(ca).args(arguments);
    let Ok(mut child) = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() else {
        // Says that it was skipped, or fails where it must not be.
        run("openssl", &[]);
        return None;
    };
    // Tickets of TLS 1.3 come after the handshake: it waits for the end of the answer to a request.
    let asked = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), asked).unwrap();
    let output = child.wait_with_output().unwrap();
    Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn openssl_takes_up_a_session_from_any_worker_and_over_reloads() {
    let mut secure = Secure::start(4, ROUTE, "");
    let session = secure.directory.path().join("session");
    let session = session.to_str().unwrap().to_owned();
    let config = secure.config.clone();
    for version in ["-tls1_2", "-tls1_3"] {
        let Some(first) = s_client(&secure, &[version, "-servername", "a.test", "-sess_out", &session]) else { return };
        assert!(first.contains("New, ") && first.contains("HTTP/1.1 200 OK"), "{version}: {first}");
        for round in 0..8 {
            if round % 4 == 3 {
                // The certificate is another then, which a session that is taken up does not see.
                secure.renew(&secure.authority.issue(&["a.test"]));
                secure.proxy.reload(&config);
            }
            // A ticket is good for as long as its keys are, and not for one use.
            let again = s_client(&secure, &[version, "-servername", "a.test", "-sess_in", &session]).unwrap();
            assert!(again.contains("Reused, ") && again.contains("HTTP/1.1 200 OK"), "{version}, {round}: {again}");
        }
        // For another name it is no good.
        let other = s_client(&secure, &[version, "-servername", "b.test", "-sess_in", &session]).unwrap();
        assert!(other.contains("New, "), "{version}: {other}");
    }
}

#[test]
fn openssl_finds_only_what_is_switched_on() {
    let secure = Secure::start(1, ROUTE, "tls.min_version = \"1.2\"");
    for (arguments, expected) in [
        (&["-tls1_1"][..], "alert"),
        (&["-tls1_2", "-cipher", "AES128-SHA"], "alert handshake failure"),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"], "alert handshake failure"),
        (&["-tls1_3", "-groups", "P-521"], "alert handshake failure"),
        (&["-alpn", "spdy/3"], "alert no application protocol"),
        (&["-alpn", "spdy/3,http/1.1"], "ALPN protocol: http/1.1"),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], "HTTP/1.1 200 OK"),
        (&["-tls1_3", "-groups", "P-384"], "HTTP/1.1 200 OK"),
        // Not a name that there could be.
        (&["-servername", "127.0.0.1"], "HTTP/1.1 200 OK"),
        (&["-noservername"], "HTTP/1.1 200 OK"),
    ] {
        let Some(said) = s_client(&secure, arguments) else { return };
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

/// A certificate of RSA that has signed itself, `NAME.pem` with key and all, made by openssl as people make it.
fn rsa(directory: &Path, name: &str) -> Option<()> {
    let at = |end: &str| directory.join(format!("{name}.{end}")).display().to_string();
    let names = format!("subjectAltName=DNS:{name}");
    let subject = format!("/CN={name}");
    let arguments =
        ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", &subject, "-addext", &names];
    let (worked, said) = run("openssl", &[&arguments[..], &["-keyout", &at("key"), "-out", &at("crt")]].concat())?;
    assert!(worked, "{said}");
    let both = std::fs::read_to_string(at("key")).unwrap() + &std::fs::read_to_string(at("crt")).unwrap();
    std::fs::write(at("pem"), both).unwrap();
    Some(())
}

#[test]
fn a_client_without_ecdsa_gets_the_rsa_certificate() {
    let mut secure = Secure::start(1, ROUTE, "");
    let directory = secure.directory.path();
    if rsa(directory, "a.test").is_none() {
        return;
    }
    let both = "tls.certificates = [{ cert = \"DIR/a.pem\", key = \"DIR/a.key\" }, { pem = \"DIR/a.test.pem\" }]";
    let config = super::secured(1, ROUTE, directory, both);
    let ca = std::fs::read_to_string(directory.join("ca.pem")).unwrap();
    std::fs::write(directory.join("ca.pem"), ca + &std::fs::read_to_string(directory.join("a.test.crt")).unwrap())
        .unwrap();
    secure.proxy.reload(&config);
    for (arguments, expected) in [
        (&["-tls1_3"][..], "ECDSA"),
        (&["-tls1_3", "-sigalgs", "RSA-PSS+SHA256"], "RSA-PSS"),
        (&["-tls1_2", "-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"], "RSA"),
        (&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "RSA"),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], "ECDSA"),
    ] {
        let said = s_client(&secure, &[arguments, &["-servername", "a.test"]].concat()).unwrap();
        assert!(said.contains("HTTP/1.1 200 OK"), "{arguments:?}: {said}");
        let signed = said.lines().find_map(|line| line.strip_prefix("Peer signature type: ")).unwrap();
        assert!(signed.starts_with(expected), "{arguments:?}: {signed}");
    }
}

#[test]
fn certificates_of_clients_may_be_of_rsa() {
    let endpoint = Endpoint::named("a");
    let mut secure = Secure::start(1, ROUTE, "");
    let directory = secure.directory.path();
    if rsa(directory, "alice").is_none() {
        return;
    }
    let issued = secure.authority.issue(&["bob"]).combined();
    std::fs::write(directory.join("bob.pem"), issued).unwrap();
    // Whoever signs for itself is its own authority, here beside another.
    let both = ["ca.pem", "alice.crt"].map(|name| std::fs::read_to_string(directory.join(name)).unwrap()).concat();
    std::fs::write(directory.join("clients.pem"), both).unwrap();
    let config = super::secured(1, &to(&endpoint.at(), ""), directory, "tls.client_auth.ca = \"DIR/clients.pem\"");
    secure.proxy.reload(&config);
    let (ca, port) = (directory.join("ca.pem").display().to_string(), secure.proxy.web().port());
    let (resolve, url) = (format!("a.test:{port}:127.0.0.1"), format!("https://a.test:{port}/"));
    for (name, version) in [("alice", "1.2"), ("alice", "1.3"), ("bob", "1.2"), ("bob", "1.3")] {
        let own = directory.join(format!("{name}.pem")).display().to_string();
        let tls = format!("--tlsv{version}");
        let arguments =
            ["-sS", "--cacert", &ca, "--resolve", &resolve, "--cert", &own, &tls, "--tls-max", version, &url];
        let Some((worked, said)) = run("curl", &arguments) else { return };
        assert!(worked && said == "a", "{name}, {version}: {said}");
        assert_eq!(endpoint.last().header("X-SSL-Client-S-DN"), Some(&*format!("CN={name}")));
    }
}
