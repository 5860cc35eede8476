//! Clients of the distribution: what curl and openssl make of us. Where they are missing the tests are skipped, with a
//! note; with `LBPROXY_REQUIRE_PEERS=1` they fail.

use std::process::{Command, Output, Stdio};

use super::Secure;

const ROUTE: &str = "[[route]]\nrespond = { status = 200, body = \"ok\" }\n";

/// What a program said to both its outputs; `None` where there is no such program.
#[expect(clippy::print_stderr, reason = "whoever runs the tests should know what was not tried")]
fn run(program: &str, arguments: &[&str]) -> Option<(bool, String)> {
    match Command::new(program).args(arguments).stdin(Stdio::null()).output() {
        Ok(Output { status, stdout, stderr }) => {
            let both = [stdout, stderr].concat();
            Some((status.success(), String::from_utf8_lossy(&both).into_owned()))
        }
        Err(_) => {
            let required = std::env::var_os("LBPROXY_REQUIRE_PEERS").is_some_and(|it| it == "1");
            assert!(!required, "{program} is not installed");
            eprintln!("skipped: {program} is not installed");
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
fn openssl_takes_up_a_session_in_both_versions() {
    let secure = Secure::start(2, ROUTE, "");
    let at = secure.proxy.web().to_string();
    let session = secure.directory.path().join("session");
    let session = session.to_str().unwrap();
    let ca = secure.directory.path().join("ca.pem");
    for version in ["-tls1_2", "-tls1_3"] {
        let common = ["s_client", "-connect", &at, "-servername", "a.test", "-CAfile", ca.to_str().unwrap(), version];
        // Tickets of TLS 1.3 come after the handshake: it waits for the end of the answer to a request.
        let ask = |way: &str| {
            let arguments = [&common[..], &[way, session, "-ign_eof"]].concat();
            let mut command = Command::new("openssl");
            let child = command.args(&arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = child.spawn().ok()?;
            let asked = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), asked).unwrap();
            let output = child.wait_with_output().unwrap();
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        if ask("-sess_out").is_none() {
            // Says that it was skipped, or fails where it must not be.
            run("openssl", &[]);
            return;
        }
        let second = ask("-sess_in").unwrap();
        assert!(second.contains("Reused, "), "{version}: {second}");
        assert!(second.contains("HTTP/1.1 200 OK"), "{version}: {second}");
    }
}
