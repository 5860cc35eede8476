//! Headers that a route sets, adds and removes, on whatever it answers.

use crate::http2::{Caller, run};
use crate::support::{Client, Endpoint, Proxy, config, get};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    headers_are_set_added_and_removed,
    every_answer_of_our_own_passes_the_response_filters,
    answers_that_no_route_made_have_the_listeners_headers,
);

fn headers_are_set_added_and_removed(workers: usize) {
    let endpoint = Endpoint::answering(|_| {
        "HTTP/1.1 200 OK\r\nX-Set: theirs\r\nX-Set: twice\r\nX-Add: theirs\r\nServer: theirs\r\nX-Powered-By: x\r\n\
         Content-Length: 0\r\n\r\n"
            .to_owned()
    });
    let proxy = Proxy::start(&config(
        workers,
        &format!(
            "[defaults.route]\nheaders.response.set = {{ X-Default = \"yes\" }}\n\
             [[route]]\nname = \"edits\"\ncluster = \"app\"\n\
             headers.request = {{ set = {{ X-Set = \"{{client_ip}} {{route}} {{cluster}} {{endpoint}}\", Authorization = \"Bearer s\" }}, \
             add = {{ X-Add = \"{{header:x-a}}\" }}, remove = [\"X-Debug\", \"cookie\"] }}\n\
             headers.response = {{ set = {{ X-Set = \"ours {{request_id}}\" }}, add = {{ X-Add = \"ours\" }}, \
             remove = [\"Server\", \"x-powered-by\"] }}\n[cluster.app]\nendpoints = [\"{}\"]\n",
            endpoint.at()
        ),
    ));
    let answer = Client::connect(proxy.web()).ask(
        "GET / HTTP/1.1\nX-Set: mine\nx-set: again\nX-Add: mine\nX-A: a\nX-Debug: 1\nCookie: c=1\nAuthorization: x",
    );
    let id = endpoint.last().header("X-Request-Id").unwrap().to_owned();
    assert_eq!(answer.header("X-Set"), Some(&*format!("ours {id}")));
    assert_eq!(answer.head.all("X-Add"), ["theirs", "ours"]);
    assert!(!answer.head.has("Server") && !answer.head.has("X-Powered-By"), "{answer:?}");
    let seen = endpoint.last().head;
    assert_eq!(seen.header("X-Set"), Some(&*format!("127.0.0.1 edits app {}", endpoint.at())));
    assert_eq!(seen.all("X-Add"), ["mine", "a"]);
    assert_eq!(seen.header("Authorization"), Some("Bearer s"));
    assert!(!seen.has("X-Debug") && !seen.has("Cookie"), "{seen:?}");
}

/// Of a route, or of the listener where no route took the request; over both versions of HTTP.
fn every_answer_of_our_own_passes_the_response_filters(workers: usize) {
    let routes = "[defaults.route]\nheaders.response.set = { X-By = \"{route}\" }\n\
         [[route]]\nname = \"refused\"\npath = \"/refused\"\ncluster = \"app\"\n\
         [[route]]\nname = \"fixed\"\npath = \"/fixed\"\nrespond = {}\n\
         [[route]]\nname = \"moved\"\npath = \"/moved\"\nredirect = { to = \"/\" }\n\
         [[route]]\nname = \"limited\"\npath = \"/limited\"\ncluster = \"app\"\nrate_limit = { rate = \"1/h\" }\n\
         [[route]]\nname = \"limited-fixed\"\npath = \"/limited-fixed\"\nrespond = {}\nrate_limit = { rate = \"1/h\" }\n\
         [[route]]\nname = \"small\"\npath = \"/small\"\nmethods = [\"POST\"]\ncluster = \"app\"\nbody_limit = \"1B\"\n\
         [cluster.app]\nendpoints = [\"127.0.0.1:1\"]\n";
    let listener = "headers.response.set = { X-By = \"listener\" }\n";
    let proxy = Proxy::start(&format!("{}{listener}", config(workers, routes)));
    get(proxy.web(), "/limited");
    get(proxy.web(), "/limited-fixed");
    for (method, path, status, by) in [
        ("GET", "/refused", 502, "refused"),
        ("GET", "/fixed", 200, "fixed"),
        ("HEAD", "/fixed", 200, "fixed"),
        ("GET", "/moved", 308, "moved"),
        ("GET", "/limited", 429, "limited"),
        ("GET", "/limited-fixed", 429, "limited-fixed"),
        ("POST", "/small", 413, "small"),
        ("GET", "/small", 405, "listener"),
        ("GET", "/nothing", 404, "listener"),
        ("GET", "/%zz", 400, "listener"),
    ] {
        let body = if method == "POST" { "too much" } else { "" };
        let mut client = Client::connect(proxy.web());
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{length}\r\n{body}"));
        let answer = client.answer(method);
        assert_eq!((answer.status(), answer.header("X-By")), (status, Some(by)), "{method} {path}");
        let answer = run(async {
            let mut caller = Caller::connect(proxy.web()).await;
            let request = caller.request(method, path);
            match body {
                "" => caller.ask(request.body(()).unwrap()).await,
                _ => {
                    let request = request.header("content-length", body.len()).body(()).unwrap();
                    caller.send(request, &[body.as_bytes()], None).await
                }
            }
        });
        assert_eq!((answer.status, answer.header("x-by")), (status, by), "{method} {path} over HTTP/2");
    }
}

fn answers_that_no_route_made_have_the_listeners_headers(workers: usize) {
    let routes = "limits = { headers = 6, request_head = \"2KiB\", uri = \"1KiB\" }\n[[route]]\npath = \"/only\"\nmethods = [\"GET\"]\nrespond = {}\n";
    let headers = "headers.response = { set = { X-Frame-Options = \"DENY\", X-Path = \"{path}\" }, remove = [\"Cache-Control\"] }\n";
    let plain = "[[listener]]\nname = \"plain\"\naddress = \"127.0.0.2:0\"\nredirect = \"https\"\n";
    let proxy = Proxy::start(&format!("{}{headers}{plain}{headers}", config(workers, routes)));
    let ask = |listener: &str, request: &str| Client::connect(proxy.listener(listener)).ask(request);
    for (listener, request, status, path) in [
        ("web", "GET /none HTTP/1.1", 404, "/none"),
        ("web", "PUT /only HTTP/1.1", 405, "/only"),
        ("web", "GET /a/../../b HTTP/1.1", 400, "/a/../../b"),
        ("plain", "GET /x HTTP/1.1", 301, "/x"),
    ] {
        let answer = ask(listener, request);
        assert_eq!(answer.status(), status, "{request}: {answer:?}");
        assert_eq!(answer.header("X-Frame-Options"), Some("DENY"), "{request}");
        assert_eq!(answer.header("X-Path"), Some(path), "{request}");
        assert!(!answer.head.has("Cache-Control"), "{request}");
    }
    // Of what could not be read nothing is filled in.
    let large = format!("GET / HTTP/1.1\nX-Large: {}", "x".repeat(4096));
    for (request, status) in [("GET / HTTP/1.1\nBad Header", 400), (&*large, 431)] {
        let answer = ask("web", request);
        assert_eq!((answer.status(), answer.header("X-Frame-Options")), (status, Some("DENY")), "{answer:?}");
        assert!(!answer.head.has("X-Path") && answer.head.has("Date"), "{answer:?}");
    }
    // What a route answers is the route's.
    assert!(!ask("web", "GET /only HTTP/1.1").head.has("X-Frame-Options"));
    // Over HTTP/2 as well.
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let answer = caller.get("/none").await;
        assert_eq!((answer.status, answer.header("x-frame-options"), answer.header("x-path")), (404, "DENY", "/none"));
        let mut request = caller.request("GET", "/");
        for n in 0..8 {
            request = request.header(format!("x-{n}"), "1");
        }
        let answer = caller.ask(request.body(()).unwrap()).await;
        assert_eq!((answer.status, answer.header("x-frame-options"), answer.header("x-path")), (431, "DENY", ""));
    });
}
