//! curl and h2load, in the clear and over TLS.

use std::process::{Command, Stdio};

use super::support::{Endpoint, Proxy, last_text, text};
use super::{Certificates, configured, skip};

/// Whether there is such a program; where not, says so.
#[track_caller]
fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    let command = command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let is_there = command.status().is_ok_and(|status| status.success());
    if !is_there {
        skip(&format!("{program} is not installed"));
    }
    is_there
}

/// Tells the method, the target and how much came.
fn telling() -> Endpoint {
    Endpoint::answering(|request| match request.head.target() {
        "/large" => text(200, &"x".repeat(10_000_000)),
        target => text(200, &format!("{} {target} {}", request.head.method(), request.body.data.len())),
    })
}

fn proxy(endpoint: &Endpoint, secured: Option<&Certificates>) -> Proxy {
    let rest = format!("[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\"]\n", endpoint.at());
    Proxy::start(&configured(&rest, secured))
}

/// What a program says when it has succeeded.
#[track_caller]
fn said(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn curl_speaks_http2_both_ways() {
    if !is_there("curl") {
        return;
    }
    let (endpoint, certificates) = (telling(), Certificates::new());
    for secured in [None, Some(&certificates)] {
        let proxy = proxy(&endpoint, secured);
        let port = proxy.web().port();
        let body = certificates.path("body");
        std::fs::write(&body, vec![b'y'; 5_000_000]).unwrap();
        let curl = |arguments: &[&str], paths: &[&str]| {
            let mut command = Command::new("curl");
            command.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "30"]);
            command.args(["--write-out", "|%{http_version} %{response_code} %{num_connects}\n"]);
            command.arg("--resolve").arg(format!("a.test:{port}:127.0.0.1"));
            match secured {
                Some(certificates) => command.arg("--http2").arg("--cacert").arg(certificates.path("ca.pem")),
                None => command.arg("--http2-prior-knowledge"),
            };
            let scheme = if secured.is_some() { "https" } else { "http" };
            command.args(arguments).args(paths.iter().map(|path| format!("{scheme}://a.test:{port}{path}")));
            said(&mut command)
        };
        if secured.is_some() {
            // By prior knowledge, curl 7.88 can use no connection twice, with any server.
            assert_eq!(curl(&[], &["/a?b", "/c"]), "GET /a?b 0|2 200 1\nGET /c 0|2 200 0\n", "one connection");
        }
        assert_eq!(curl(&[], &["/a?b"]), "GET /a?b 0|2 200 1\n");
        let upload = format!("@{}", body.display());
        assert_eq!(curl(&["--data-binary", &upload], &["/up"]), "POST /up 5000000|2 200 1\n");
        assert_eq!(
            curl(&["--data-binary", &upload, "--header", "Expect: 100-continue"], &["/up"]),
            "POST /up 5000000|2 200 1\n"
        );
        assert!(curl(&["--head"], &["/h"]).ends_with("|2 200 1\n"));
        let large = curl(&[], &["/large"]);
        assert_eq!((large.len(), &large[large.len() - 9..]), (10_000_009, "|2 200 1\n"));
        if secured.is_none() {
            // An offer to change over in the middle is not taken up, and nothing is lost.
            let offered = said(
                Command::new("curl")
                    .args(["--silent", "--noproxy", "*", "--http2"])
                    .args(["-w", "|%{http_version}"])
                    .arg(format!("http://{}/x", proxy.web())),
            );
            assert_eq!(offered, "GET /x 0|1.1");
        }
    }
}

#[test]
fn h2load_gets_all_its_answers() {
    if !is_there("h2load") {
        return;
    }
    let (endpoint, certificates) = (telling(), Certificates::new());
    let body = certificates.path("body");
    std::fs::write(&body, vec![b'y'; 20_000]).unwrap();
    for secured in [None, Some(&certificates)] {
        let proxy = proxy(&endpoint, secured);
        let scheme = if secured.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}/", proxy.web());
        for (requests, more) in [("4000", vec![]), ("500", vec!["-d", body.to_str().unwrap()])] {
            let mut command = Command::new("h2load");
            let told = said(command.args(["-n", requests, "-c", "8", "-m", "100"]).args(&more).arg(&url));
            let all = format!(
                "{requests} total, {requests} started, {requests} done, {requests} succeeded, 0 failed, 0 errored"
            );
            assert!(told.contains(&all), "{told}");
        }
    }
}

/// Where requests are refused before they have come whole, by the proxy or by an endpoint.
const REFUSING: &str = "[[route]]\ncluster = \"app\"\n\
    [[route]]\npath = \"/limited\"\nrespond = { status = 429 }\n\
    [[route]]\npath = \"/small\"\ncluster = \"app\"\nbody_limit = \"1KiB\"\n";

/// A reset right behind the answer, as RFC 9113 §8.1 has it, is what curl 7.88 stumbles over where its body is still on the
/// way. What it sends is let to come in, as long as that is not too much.
#[test]
fn curl_gets_responses_sent_before_its_body_is_complete() {
    if !is_there("curl") {
        return;
    }
    let certificates = Certificates::new();
    // Answers as soon as it has the head, and reads the rest later.
    let endpoint = Endpoint::on_head(|wire, _| {
        wire.write(last_text(404, "no such hook"))?;
        wire.read_to_end().map(drop)
    });
    for secured in [None, Some(&certificates)] {
        let cluster = format!("[cluster.app]\nendpoints = [\"{}\"]\n", endpoint.at());
        let proxy = Proxy::start(&configured(&(REFUSING.to_owned() + &cluster), secured));
        let port = proxy.web().port();
        let posted = |path: &str, body: &str| {
            let mut command = Command::new("curl");
            command.args(["--silent", "--noproxy", "*", "--max-time", "60", "--output", "/dev/null"]);
            command.args(["--write-out", "%{exitcode} %{response_code}\n", "--data-binary", body]);
            command.arg("--resolve").arg(format!("a.test:{port}:127.0.0.1"));
            let scheme = match secured {
                Some(certificates) => {
                    command.arg("--http2").arg("--cacert").arg(certificates.path("ca.pem"));
                    "https"
                }
                None => {
                    command.arg("--http2-prior-knowledge");
                    "http"
                }
            };
            command.arg(format!("{scheme}://a.test:{port}{path}"));
            let output = command.stdin(Stdio::null()).output().unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        for (path, code) in [("/hook", "0 404\n"), ("/limited", "0 429\n")] {
            let failed: Vec<_> = (0..200).map(|_| posted(path, "{}")).filter(|said| said != code).collect();
            assert!(failed.is_empty(), "{} of 200 for {path}: {:?}", failed.len(), failed.first());
        }
        for megabytes in [1, 2, 100] {
            let body = certificates.path("upload");
            std::fs::File::create(&body).unwrap().set_len(megabytes * 1_000_000).unwrap();
            for _ in 0..5 {
                assert_eq!(posted("/small", &format!("@{}", body.display())), "0 413\n", "of {megabytes} MB");
            }
        }
    }
}
