//! Trailers: what no client may say in a head, it may not say behind a body either.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use crate::failures::forwarding;
use crate::http2::{Caller, H2Endpoint, run};
use crate::support::{Client, Endpoint, Message, Proxy, config};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    trailers_say_no_more_than_heads_may_whatever_both_sides_speak,
    a_trusted_proxy_may_say_in_trailers_what_it_may_in_heads,
);

const FORGED: [&str; 8] = [
    "x-forwarded-user",
    "x-forwarded-for",
    "x_forwarded_prefix",
    "forwarded",
    "x-ssl-client-verify",
    "x-request-id",
    "proxy",
    "x-secret",
];

const ROUTE: &str = "headers.request = { remove = [\"X-Secret\"], set = { X-Set = \"ours\" } }\n\
                     headers.response = { remove = [\"X-Secret\"], set = { X-Set = \"ours\" } }";

/// All that are forged, one that is the route's to set, and one that passes.
fn all() -> impl Iterator<Item = &'static str> {
    FORGED.into_iter().chain(["x-set", "x-sum"])
}

fn lines() -> String {
    all().map(|name| format!("{name}: theirs\r\n")).collect()
}

fn map() -> HeaderMap {
    all().map(|name| (HeaderName::from_static(name), HeaderValue::from_static("theirs"))).collect()
}

/// The names of trailers.
fn names(trailers: &HeaderMap) -> Vec<String> {
    let mut names: Vec<_> = trailers.keys().map(|name| name.as_str().to_owned()).collect();
    names.sort();
    names
}

/// A request by each protocol; the names of the trailers that came back.
fn ask_both(proxy: &Proxy) -> [Vec<String>; 2] {
    let mut client = Client::connect(proxy.web());
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(format!("{head}2\r\nhi\r\n0\r\n{}\r\n", lines()));
    let mut http1: Vec<_> = client.answer("POST").body.trailers.into_iter().map(|(name, _)| name).collect();
    http1.sort();
    let http2 = run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("POST", "/").body(()).unwrap();
        let answer = caller.send(request, &[b"hi"], Some(map())).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        names(&answer.trailers.unwrap_or_default())
    });
    [http1, http2]
}

/// An endpoint by each protocol that has the same trailers to say, and says in `x-got` of its head which it was given.
fn endpoints() -> (Endpoint, H2Endpoint) {
    let http1 = Endpoint::answering(|request: &Message| {
        assert!(request.body.is_whole);
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n{}\r\n", lines())
    });
    let http2 = H2Endpoint::answering(|_, _, trailers| {
        let got = trailers.map(names).unwrap_or_default().join(",");
        (http::Response::builder().header("x-got", got).body(()).unwrap(), "ok".into(), Some(map()))
    });
    (http1, http2)
}

fn trailers_say_no_more_than_heads_may_whatever_both_sides_speak(workers: usize) {
    let (http1, http2) = endpoints();
    let proxy = forwarding(workers, &http1.at(), ROUTE);
    // What an endpoint says of clients is its own affair; what the route takes out of its responses is not.
    let kept = ["proxy", "x-forwarded-user", "x-request-id", "x-ssl-client-verify", "x-sum", "x_forwarded_prefix"];
    assert_eq!(ask_both(&proxy), [kept, kept]);
    for message in http1.messages() {
        let names: Vec<_> = message.body.trailers.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["x-sum"]);
    }
    let rest = format!(
        "[[route]]\ncluster = \"app\"\n{ROUTE}\n[cluster.app]\nendpoints = [\"{}\"]\nprotocol = \"h2\"\n",
        http2.at()
    );
    let proxy = Proxy::start(&config(workers, &rest));
    assert_eq!(ask_both(&proxy), [kept, kept]);
    let mut client = Client::connect(proxy.web());
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}\r\n", lines()));
    assert_eq!(client.answer("POST").header("x-got"), Some("x-sum"));
}

fn a_trusted_proxy_may_say_in_trailers_what_it_may_in_heads(workers: usize) {
    let (http1, _http2) = endpoints();
    let rest = format!("[[route]]\ncluster = \"app\"\n{ROUTE}\n[cluster.app]\nendpoints = [\"{}\"]\n", http1.at());
    let proxy = Proxy::start(&(config(workers, &rest) + "trusted_proxies = [\"127.0.0.0/8\"]\n"));
    ask_both(&proxy);
    for message in http1.messages() {
        let mut names: Vec<_> = message.body.trailers.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        assert_eq!(names, ["x-forwarded-user", "x-ssl-client-verify", "x-sum", "x_forwarded_prefix"]);
    }
}
