//! Every case of the codec's corpus, sent to the real proxy: what is refused is refused with that status for that cause and nothing
//! of it arrives; what passes arrives as one message that no two parsers read differently, and what follows it is what
//! its sender meant.

use std::collections::BTreeMap;

use lb_http::message::Framing;

use super::{is_cut, is_refused};
use crate::support::{Client, Endpoint, Message, Proxy, config, wait_until};

#[path = "../../../../../crates/lb-http/tests/corpus/mod.rs"]
mod corpus;

use corpus::{CHUNKED, Case, REQUESTS, Verdict};

const AFTER: &str = "GET /after HTTP/1.1\r\nHost: a\r\n\r\n";

fn open() -> (Proxy, Endpoint) {
    let endpoint = Endpoint::named("reached");
    let rest = format!("[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\"]\n", endpoint.at());
    (Proxy::start(&config(1, &rest)), endpoint)
}

/// What a codec takes for a request and the proxy does not serve.
fn refused_above_the_codec(case: &Case) -> Option<u16> {
    (case.name == "connect").then_some(501)
}

/// What the sender means to come after a head: the rest of its body, or of the next request.
fn rest_of(framing: Framing, left: usize, name: &str) -> Vec<u8> {
    match framing {
        Framing::Length(length) => vec![b'x'; length as usize - left],
        Framing::Chunked => b"0\r\n\r\n".to_vec(),
        _ if name == "pipelined" => b"Host: a\r\n\r\n".to_vec(),
        _ => Vec::new(),
    }
}

/// The targets of what the endpoint has been asked since.
fn asked(endpoint: &Endpoint, since: usize) -> Vec<Message> {
    endpoint.messages().split_off(since)
}

/// Unambiguous: one interpretation.
fn is_plain(message: &Message, name: &str) {
    let framings = message.head.all("Content-Length").len() + message.head.all("Transfer-Encoding").len();
    assert!(framings <= 1 && message.head.all("Host").len() == 1, "{name}: {:?}", message.head);
    assert!(message.body.is_whole, "{name}");
}

fn passes(proxy: &Proxy, endpoint: &Endpoint, case: &Case, framing: Framing, left: usize) {
    let name = case.name;
    let before = endpoint.requests();
    let mut client = Client::connect(proxy.web());
    client.send(case.bytes);
    client.send(rest_of(framing, left, name));
    assert_eq!(client.answer("GET").status(), 200, "{name}");
    let is_last = case.bytes.windows(8).any(|window| window == b"HTTP/1.0");
    let has_next = left > 0 && framing.is_empty();
    match name {
        _ if is_last => {}
        "nuls_behind" => assert_eq!(client.answer("GET").status(), 400, "{name}"),
        _ => {
            if !has_next {
                client.send(AFTER);
            }
            assert_eq!(client.answer("GET").status(), 200, "{name}: what follows");
        }
    }
    let seen = asked(endpoint, before);
    let others = usize::from(!is_last && name != "nuls_behind");
    assert_eq!(seen.len(), 1 + others, "{name}: {seen:?}");
    seen.iter().for_each(|message| is_plain(message, name));
    if others > 0 && !has_next {
        assert_eq!(seen[1].head.target(), "/after", "{name}");
    }
}

fn comes_to_nothing(proxy: &Proxy, endpoint: &Endpoint, name: &str, bytes: &[u8]) {
    let before = endpoint.requests();
    let mut client = Client::connect(proxy.web());
    client.send(bytes);
    client.finish();
    // A truncated request gets no response, or an error.
    let _ = client.read_to_end();
    assert_eq!(endpoint.requests(), before, "{name}");
}

#[test]
fn requests_are_refused_or_arrive_as_their_sender_meant() {
    let (proxy, endpoint) = open();
    let mut causes: BTreeMap<&str, usize> = BTreeMap::new();
    for case in REQUESTS {
        match case.verdict {
            // No request of HTTP/1, and the beginning of HTTP/2, which has tests of its own.
            Verdict::Refused(..) if case.name == "h2_preface" => {}
            Verdict::Refused(status, cause) => {
                *causes.entry(cause).or_default() += 1;
                is_refused(&proxy, &endpoint, case.name, case.bytes, status);
            }
            Verdict::Head(_) if refused_above_the_codec(case).is_some() => {
                let before = endpoint.requests();
                let mut client = Client::connect(proxy.web());
                client.send(case.bytes);
                assert_eq!(Some(client.answer("GET").status()), refused_above_the_codec(case), "{}", case.name);
                assert_eq!(endpoint.requests(), before, "{}", case.name);
            }
            Verdict::Head(framing) => passes(&proxy, &endpoint, case, framing, 0),
            Verdict::HeadThen(framing, left) => passes(&proxy, &endpoint, case, framing, left),
            Verdict::Waits => comes_to_nothing(&proxy, &endpoint, case.name, case.bytes),
            Verdict::Body(..) => panic!("{}: a head has no body", case.name),
        }
    }
    // What is behind the head of `nuls_behind` is refused on its own.
    *causes.entry("bad_request_line").or_default() += 1;
    let mut logged: BTreeMap<String, usize> = BTreeMap::new();
    for line in proxy.terminate().access(|line| line["cause"].as_str().is_some_and(|cause| cause.contains(": "))) {
        let cause = line["cause"].as_str().unwrap_or_default();
        let detail = cause.rsplit(": ").next().unwrap_or_default();
        *logged.entry(detail.to_owned()).or_default() += 1;
    }
    let logged: BTreeMap<&str, usize> = logged.iter().map(|(cause, count)| (&**cause, *count)).collect();
    assert_eq!(logged, causes);
}

#[test]
fn chunked_bodies_are_truncated_or_arrive_unchanged() {
    let (proxy, endpoint) = open();
    for case in CHUNKED {
        let name = case.name;
        let head = &b"POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"[..];
        let bytes = [head, case.bytes].concat();
        match case.verdict {
            Verdict::Refused(status, _) => is_cut(&proxy, &endpoint, name, bytes, status),
            Verdict::Body(data, left) => {
                let before = endpoint.requests();
                let mut client = Client::connect(proxy.web());
                client.send(bytes);
                client.send(if left > 0 { "Host: a\r\n\r\n" } else { AFTER });
                assert_eq!((client.answer("POST").status(), client.answer("GET").status()), (200, 200), "{name}");
                let seen = asked(&endpoint, before);
                assert_eq!((seen.len(), &*seen[0].body.data), (2, data.as_bytes()), "{name}");
                seen.iter().for_each(|message| is_plain(message, name));
            }
            Verdict::Waits => comes_to_nothing(&proxy, &endpoint, name, &bytes),
            Verdict::Head(_) | Verdict::HeadThen(..) => panic!("{name}: a body has no head"),
        }
    }
    wait_until("the endpoint's connections to be given up", || endpoint.open() <= 1);
}
