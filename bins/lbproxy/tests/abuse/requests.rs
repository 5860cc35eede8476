//! Attacks by many short connections of HTTP/1 and TLS.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::answers::status;
use crate::paced::{paced, sent};
use crate::support::Authority;
use crate::trial::Trial;

/// Keys of a listener with TLS, whose certificate is written here.
pub(crate) fn secured(directory: &Path) -> String {
    let (cert, key) = Authority::new().issue(&["a.test"]).write(directory, "a");
    format!("tls.certificates = [{{ cert = \"{}\", key = \"{}\" }}]", cert.display(), key.display())
}

/// Each holds a head of at most `limits.request_head`, and there are never more than two at once.
#[test]
fn heads_without_end_are_answered_431() {
    let trial = Trial::new("header flood", "");
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}", "X-A: b\r\n".repeat(8_000));
    let huge = format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: {}", "b".repeat(200_000));
    trial.run(
        1 << 20,
        &paced(300, |at| {
            sent(at, many.as_bytes())?;
            sent(at, huge.as_bytes()).map(|read| status(&read))
        }),
    );
    trial.expect_answer("431");
    trial.expect_metric("lbproxy_requests_total", &["code=\"431\""]);
}

#[test]
fn garbage_is_answered_400() {
    let trial = Trial::new("garbage", "");
    let garbage: [&[u8]; 5] = [
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ];
    trial.run(
        1 << 20,
        &paced(300, |at| {
            let mut last = Vec::new();
            for bytes in garbage {
                last = sent(at, bytes)?;
            }
            Ok(status(&last))
        }),
    );
    trial.expect_answer("400");
    trial.expect_metric("lbproxy_requests_total", &["code=\"400\""]);
}

/// Connections that open and close, some with half a request.
#[test]
fn connection_churn_leaves_nothing() {
    let trial = Trial::new("connection churn", "");
    trial.run(
        1 << 20,
        &paced(1_000, |at| {
            let mut stream = std::net::TcpStream::connect(at)?;
            let _ = stream.write(b"GET / HT");
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
            Ok("gone".to_owned())
        }),
    );
    trial.expect_answer("gone");
    crate::support::wait_until("no connections", || trial.proxy.metric("lbproxy_connections", &[]) == 0.0);
}
