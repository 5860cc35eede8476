//! What is too large or too many.

use super::{guarded, is_cut, is_refused};
use crate::http2::H2Endpoint;
use crate::support::{Client, Endpoint, Message, Proxy, config, get, post};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    what_is_too_large_is_refused_with_its_status,
    response_heads_have_limits_of_their_own_whatever_the_endpoint_speaks,
);

fn what_is_too_large_is_refused_with_its_status(workers: usize) {
    let (proxy, endpoint) = guarded(workers);
    let refused =
        |name: &str, request: String, status| is_refused(&proxy, &endpoint, name, request.replace('|', "\r\n"), status);
    refused("a long target", format!("GET /{} HTTP/1.1|Host: a||", "a".repeat(512)), 414);
    refused("a target that does not end", format!("GET /{}", "a".repeat(4096)), 414);
    refused("a large head", format!("GET / HTTP/1.1|Host: a|X-A: {}||", "a".repeat(2048)), 431);
    refused("a line that does not end", format!("GET / HTTP/1.1|Host: a|X-A: {}", "a".repeat(4096)), 431);
    refused("many headers", format!("GET / HTTP/1.1|Host: a|{}|", "X: y|".repeat(10)), 431);
    refused("a method that does not end", "A".repeat(600), 501);
    refused("a length that is too long", "POST / HTTP/1.1|Host: a|Content-Length: 1025||".to_owned(), 413);
    let expecting = "POST / HTTP/1.1|Host: a|Content-Length: 1025|Expect: 100-continue||";
    refused("a body announced and held back", expecting.to_owned(), 413);

    // What fits exactly passes.
    assert_eq!(get(proxy.web(), &format!("/{}", "a".repeat(511))).status(), 200);
    assert_eq!(
        Client::connect(proxy.web()).ask(&format!("GET / HTTP/1.1\nHost: a\n{}", "X: y\n".repeat(9))).status(),
        200
    );
    assert_eq!(post(proxy.web(), "/", &"a".repeat(1024)).status(), 200);
    assert_eq!(endpoint.last().body.data.len(), 1024);

    let chunked = format!("POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||400|{}|1|a|0||", "a".repeat(1024));
    is_cut(&proxy, &endpoint, "chunks beyond the limit", chunked.replace('|', "\r\n"), 413);
    let fitting = format!("POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||400|{}|0||", "a".repeat(1024));
    let mut client = Client::connect(proxy.web());
    client.send(fitting.replace('|', "\r\n"));
    assert_eq!(client.answer("POST").status(), 200);
}

/// 17 cookies of 4 KB, as a login with many claims has them; 400 lines; and a head that fits no default.
fn headers_for(path: &str) -> Vec<(&'static str, String)> {
    match path {
        "/cookies" => (0..17).map(|n| ("set-cookie", format!("c{n:02}={}", "v".repeat(4080)))).collect(),
        "/lines" => (0..400).map(|n| ("x-line", n.to_string())).collect(),
        "/larger" => vec![("x-large", "v".repeat(140 * 1024))],
        _ => (0..501).map(|n| ("x-line", n.to_string())).collect(),
    }
}

fn response_heads_have_limits_of_their_own_whatever_the_endpoint_speaks(workers: usize) {
    let http1 = Endpoint::answering(|request: &Message| {
        let lines = headers_for(request.head.target()).into_iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        format!("HTTP/1.1 200 OK\r\n{}Content-Length: 2\r\n\r\nok", lines.collect::<String>())
    });
    let http2 = H2Endpoint::answering(|parts, _, _| {
        let headers = headers_for(parts.uri.path());
        let head = headers.into_iter().fold(http::Response::builder(), |head, (name, value)| head.header(name, value));
        (head.body(()).unwrap(), "ok".into(), None)
    });
    for (at, protocol) in [(http1.at(), "http1"), (http2.at(), "h2")] {
        let proxy = |limits: &str| {
            let rest = format!(
                "{limits}\n[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{at}\"]\nprotocol = \"{protocol}\"\n"
            );
            Proxy::start(&config(workers, &rest))
        };
        let status = |proxy: &Proxy, path: &str| get(proxy.web(), path).status();
        let default = proxy("");
        for (path, expected) in [("/cookies", 200), ("/lines", 200), ("/larger", 502), ("/more", 502)] {
            assert_eq!(status(&default, path), expected, "{protocol} {path}");
        }
        for path in ["/larger", "/more"] {
            let cause = default.access_of(path)["cause"].as_str().unwrap_or_default().to_owned();
            assert!(cause.starts_with("response_too_large"), "{protocol} {path}: {cause}");
        }
        let wide = proxy("limits = { response_head = \"256KiB\", response_headers = 600 }");
        let tight = proxy("limits = { response_head = \"64KiB\", response_headers = 200 }");
        for path in ["/cookies", "/lines", "/larger", "/more"] {
            assert_eq!((status(&wide, path), status(&tight, path)), (200, 502), "{protocol} {path}");
        }
    }
}
