//! curl as a client, in what it does that other clients seldom do.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::programs::is_there;
use crate::support::{Endpoint, Message, Proxy, Wire, config, last_text, text, wait_until};

/// The output of curl and the response.
pub(crate) struct Said {
    /// Its exit code; 0 where all went well.
    pub(crate) code: i32,
    /// Bodies, and what `--write-out` asked for.
    pub(crate) out: Vec<u8>,
    /// What `--verbose` tells of.
    pub(crate) log: String,
}

impl Said {
    /// The bodies as text.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        assert_eq!(self.code, 0, "{}", self.log);
        std::str::from_utf8(&self.out).unwrap()
    }
}

/// Runs curl with these arguments and `input` to read, without the configuration and the proxies of the user who runs the
/// tests.
#[track_caller]
pub(crate) fn curl<const N: usize>(arguments: [&str; N], input: &[u8]) -> Said {
    let mut command = Command::new("curl");
    command.args(["-q", "--silent", "--verbose", "--max-time", "60", "--noproxy", "unproxied"]).args(arguments);
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it is there");
    let (mut stdin, input) = (child.stdin.take().expect("piped"), input.to_owned());
    // It may end without having read all of it.
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &input));
    let output = child.wait_with_output().expect("our child");
    let _ = writer.join().expect("it writes and no more");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    Said { code: output.status.code().unwrap_or(-1), out: output.stdout, log }
}

/// Whether there is a curl; see [`is_there`].
#[track_caller]
pub(crate) fn has_curl() -> bool {
    is_there("curl", "--version")
}

/// A proxy in front of one endpoint, with further keys of its route, and its URL.
fn before(endpoint: &Endpoint, route: &str) -> (Proxy, String) {
    let rest = format!("[[route]]\ncluster = \"app\"\n{route}\n[cluster.app]\nendpoints = [\"{}\"]\n", endpoint.at());
    let proxy = Proxy::start(&config(2, &rest));
    let url = format!("http://{}", proxy.web());
    (proxy, url)
}

/// Tells what it was sent: method, target, length of the body and how that was framed.
fn telling() -> Endpoint {
    Endpoint::answering(|Message { head, body }| {
        let framing = head.header("Transfer-Encoding").or(head.header("Content-Length")).unwrap_or("none");
        text(200, &format!("{} {} {} {framing}", head.method(), head.target(), body.data.len()))
    })
}

#[test]
fn an_upload_that_waits_for_a_100_is_told_to_go_on_or_not_to() {
    if !has_curl() {
        return;
    }
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        if head.target() == "/no" {
            return wire.write(last_text(413, "no"));
        }
        wire.write("HTTP/1.1 100 Continue\r\n\r\n")?;
        let body = wire.read_request_body(&head)?;
        wire.write(last_text(200, &format!("{} bytes", body.data.len())))
    });
    let (_proxy, url) = before(&endpoint, "");
    let body = vec![b'x'; 3_000_000];
    for framing in ["Content-Length: 3000000", "Transfer-Encoding: chunked"] {
        let headers = ["-H", "Expect: 100-continue", "-H", framing, "--expect100-timeout", "30"];
        let [a, b, c, d, e, f] = headers;
        let said = curl([a, b, c, d, e, f, "--data-binary", "@-", &format!("{url}/yes")], &body);
        assert_eq!(said.text(), "3000000 bytes", "{}", said.log);
        assert!(said.log.contains("< HTTP/1.1 100 Continue"), "{}", said.log);
        let out = "%{http_code} %{size_upload}";
        let said = curl([a, b, c, d, e, f, "--data-binary", "@-", "-w", out, &format!("{url}/no")], &body);
        assert_eq!(said.text(), "no413 0", "{}", said.log);
    }
}

#[test]
fn a_refusal_of_ours_keeps_the_body_at_home() {
    if !has_curl() {
        return;
    }
    let endpoint = telling();
    let (_proxy, url) = before(&endpoint, "body_limit = \"1MiB\"");
    let body = vec![b'x'; 3_000_000];
    let out = "%{http_code} %{size_upload}";
    let arguments = ["-H", "Expect: 100-continue", "--expect100-timeout", "30", "-o", "/dev/null", "-w", out];
    let [a, b, c, d, e, f, g, h] = arguments;
    assert_eq!(curl([a, b, c, d, e, f, g, h, "--data-binary", "@-", &url], &body).text(), "413 0");
    // Of unknown length, it is refused when it has grown too long.
    let said = curl(["-T", "-", "-o", "/dev/null", "-w", "%{http_code}", &url], &body);
    assert_eq!(said.text(), "413", "{}", said.log);
    assert_eq!(endpoint.requests(), 0);
}

#[test]
fn what_it_reads_from_a_pipe_is_passed_on_in_chunks() {
    if !has_curl() {
        return;
    }
    let endpoint = telling();
    let (_proxy, url) = before(&endpoint, "");
    for length in [0, 1, 65_536, 5_000_001] {
        let said = curl(["-T", "-", &format!("{url}/up")], &vec![b'x'; length]);
        assert_eq!(said.text(), format!("PUT /up {length} chunked"));
    }
}

#[test]
fn methods_and_targets_arrive_as_they_were_sent() {
    if !has_curl() {
        return;
    }
    let endpoint = telling();
    let (_proxy, url) = before(&endpoint, "");
    let at = format!("{url}/a");
    let encoded = format!("{url}/a%2Fb/%7e?q=%00&r=a+b&&=");
    for (arguments, expected) in [
        (["-X", "DELETE", "-H", "A: b", &at], "DELETE /a 0 none"),
        (["-X", "PURGE", "-H", "A: b", &at], "PURGE /a 0 none"),
        (["-X", "GET", "-d", "body", &at], "GET /a 4 4"),
        (["-X", "OPTIONS", "--request-target", "*", &at], "OPTIONS * 0 none"),
        (["-H", "A: b", "-H", "Connection: close", &encoded], "GET /a%2Fb/%7e?q=%00&r=a+b&&= 0 none"),
        (["-H", "Content-Length: 0", "-X", "POST", &at], "POST /a 0 0"),
        (["-H", "A: b", "-H", "Host:", &at], ""),
    ] {
        let said = curl(arguments, b"");
        if expected.is_empty() {
            assert!(said.log.contains("< HTTP/1.1 400 "), "a request of HTTP/1.1 has a host: {}", said.log);
        } else {
            assert_eq!(said.text(), expected);
        }
    }
    let said = curl(["--path-as-is", &format!("{url}/a/../b/./c//d")], b"");
    assert_eq!(said.text(), "GET /a/../b/./c//d 0 none");
    // As to a proxy that was configured as one: the target says the whole address.
    let said = curl(["--proxy", &url, "http://shop.test:81/a?b"], b"");
    assert_eq!((said.text(), endpoint.last().header("Host")), ("GET /a?b 0 none", Some("shop.test:81")));
    let said = curl(["--proxytunnel", "--proxy", &url, "http://shop.test/"], b"");
    assert_ne!(said.code, 0, "tunnels are refused: {}", said.log);
    assert!(said.log.contains("< HTTP/1.1 4") || said.log.contains("< HTTP/1.1 501"), "{}", said.log);
}

#[test]
fn http_1_0_gets_what_it_understands() {
    if !has_curl() {
        return;
    }
    let endpoint = Endpoint::answering(|Message { head, .. }| match head.target() {
        "/chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".into(),
        _ => text(200, &format!("{} {:?}", head.first, head.header("Host").is_some())),
    });
    let (_proxy, url) = before(&endpoint, "");
    let said = curl(["--http1.0", &format!("{url}/chunked")], b"");
    assert_eq!(said.text(), "abcde");
    assert!(!said.log.to_lowercase().contains("transfer-encoding"), "{}", said.log);
    let said = curl(["--http1.0", &format!("{url}/who")], b"");
    assert_eq!(said.text(), "GET /who HTTP/1.1 true");
    // Kept where it asks for that and there is a length.
    let who = format!("{url}/who");
    let said = curl(["--http1.0", "-H", "Connection: keep-alive", "-w", " %{num_connects} ", &who, &who], b"");
    assert!(said.text().ends_with(" 0 "), "{}", said.text());
    let said = curl(["--http1.0", "-d", "body", &who], b"");
    assert_eq!(said.text(), "POST /who HTTP/1.1 true");
}

#[test]
fn a_connection_is_kept_for_as_many_requests_as_it_likes_and_closed_where_it_asks() {
    if !has_curl() {
        return;
    }
    let endpoint = telling();
    let (proxy, url) = before(&endpoint, "");
    let many = format!("{url}/[1-200]");
    let said = curl(["-w", "\n%{num_connects}\n", &many], b"");
    let connects: Vec<_> = said.text().lines().skip(1).step_by(2).collect();
    assert_eq!((connects.len(), connects[0]), (200, "1"));
    assert!(connects[1..].iter().all(|connects| *connects == "0"), "{connects:?}");
    let said = curl(["-H", "Connection: close", "-w", "\n%{num_connects}\n", &format!("{url}/[1-3]")], b"");
    assert_eq!(said.text().lines().skip(1).step_by(2).collect::<Vec<_>>(), ["1"; 3]);
    assert_eq!(said.log.matches("< Connection: close").count(), 3, "{}", said.log);
    // Fifty at once.
    let said = curl(["--parallel", "--parallel-max", "50", &format!("{url}/[1-500]")], b"");
    let mut seen: Vec<u32> =
        said.text().split(" 0 none").filter_map(|one| one.strip_prefix("GET /")?.parse().ok()).collect();
    seen.sort_unstable();
    assert_eq!(seen, (1..=500).collect::<Vec<_>>());
    assert_eq!(proxy.metric("lbproxy_requests_total", &["code=\"200\""]), 703.0);
}

#[test]
fn a_head_has_a_length_and_no_body_and_trailers_are_passed_on() {
    if !has_curl() {
        return;
    }
    let endpoint = Endpoint::answering(|Message { head, .. }| {
        if head.method() == "HEAD" {
            return "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n".into();
        }
        "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\n\r\n"
            .into()
    });
    let (_proxy, url) = before(&endpoint, "");
    // Both on one connection: what follows the first is not taken for its body.
    let said = curl(["-I", "-w", "%{num_connects}", &url, "--next", "-s", "-D", "-", &url], b"");
    let text = said.text();
    assert!(text.contains("Content-Length: 1234\r\n"), "{text}");
    assert!(text.contains("X-Sum: 42\r\n"), "{text}");
    assert!(said.log.contains("Re-using existing connection"), "{}", said.log);
}

#[test]
fn the_header_of_the_proxy_protocol_is_understood() {
    if !has_curl() {
        return;
    }
    let endpoint = telling();
    let rest = format!("[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\"]\n", endpoint.at());
    let proxy = Proxy::start(&(config(1, &rest) + "proxy_protocol = [\"127.0.0.0/8\"]\n"));
    let url = format!("http://{}/a", proxy.web());
    assert_eq!(curl(["--haproxy-protocol", "--interface", "127.0.0.9", &url], b"").text(), "GET /a 0 none");
    assert_eq!(endpoint.last().header("X-Forwarded-For"), Some("127.0.0.9"));
    assert_ne!(curl([&url], b"").code, 0, "without one there is no answer");
}

#[test]
fn a_unix_socket_is_a_listener_like_any_other() {
    if !has_curl() {
        return;
    }
    let endpoint = telling();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("web.sock");
    let rest = format!(
        "[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\"]\n[[listener]]\naddress = \"unix:{}\"\n",
        endpoint.at(),
        path.display()
    );
    let _proxy = Proxy::start(&config(1, &rest));
    let said = curl(["--unix-socket", path.to_str().unwrap(), "http://any/a", "http://any/b"], b"");
    assert_eq!(said.text(), "GET /a 0 noneGET /b 0 none");
}

#[test]
fn a_client_timeout_frees_the_endpoint() {
    if !has_curl() {
        return;
    }
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| {
        wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")?;
        wire.read_to_end().map(drop)
    });
    let (proxy, url) = before(&endpoint, "");
    // One that closes within a second may only have finished sending.
    let said = curl(["--max-time", "1.5", &format!("{url}/slow")], b"");
    assert_eq!((said.code, said.out), (28, b"ok".to_vec()), "its code for a timeout: {}", said.log);
    wait_until("the endpoint to be left", || endpoint.open() == 0);
    assert_eq!(proxy.access_of("/slow")["cause"], "client_closed");
}

/// What a proxy that keeps nothing may grow by: buffers, what an allocator does with them, and code that had not run. It
/// is well below a body.
const ROOM: u64 = 40 << 20;

#[test]
fn bodies_much_larger_than_memory_should_hold_pass_both_ways() {
    if !has_curl() {
        return;
    }
    const LARGE: usize = 64 << 20;
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        let whole = if head.has("Transfer-Encoding") {
            let mut length = 0;
            while let Some(chunk) = wire.read_chunk()? {
                length += chunk.len();
            }
            length == LARGE
        } else {
            wire.skip(LARGE as u64)?;
            true
        };
        assert!(whole);
        wire.write(format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {LARGE}\r\n\r\n"))?;
        wire.write(vec![b'y'; LARGE])
    });
    let (proxy, url) = before(&endpoint, "body_limit = \"none\"");
    let (directory, body) = (tempfile::tempdir().unwrap(), vec![b'x'; LARGE]);
    let file = directory.path().join("body");
    std::fs::write(&file, &body).unwrap();
    let before = proxy.resident_bytes();
    let (done, is_done) = channel();
    let transfers = std::thread::spawn(move || {
        for input in [path(&file), "-"] {
            let said = curl(["-T", input, "-o", "/dev/null", "-w", "%{size_download}", &url], &body);
            assert_eq!(said.text(), LARGE.to_string(), "{}", said.log);
        }
        // Ignored if the test has failed.
        let _ = done.send(());
    });
    let mut most = 0;
    // They end by curl's own timeout.
    while is_done.recv_timeout(Duration::from_millis(2)) == Err(RecvTimeoutError::Timeout) {
        most = most.max(proxy.resident_bytes());
    }
    transfers.join().unwrap();
    assert!(most < before + ROOM, "from {before} to {most} bytes");
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
