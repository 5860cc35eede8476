//! What no route takes, and which route takes what.

use super::answering;
use crate::support::{Client, Endpoint, Proxy, config, get, text};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    what_no_route_takes_is_a_404_or_a_405,
    at_level_debug_a_404_says_which_hosts_there_are,
    the_most_specific_route_wins,
    a_route_for_some_methods_leaves_the_others_to_wider_ones,
    trace_is_taken_only_by_a_route_that_names_it,
);

fn what_no_route_takes_is_a_404_or_a_405(workers: usize) {
    let proxy = answering(
        workers,
        "[[route]]\npath = \"/read\"\nmethods = [\"GET\", \"HEAD\"]\nrespond = {}\n\
         [[route]]\npath = \"/read\"\nmethods = [\"DELETE\"]\nrespond = {}\n\
         [[route]]\npath = \"/host\"\nhosts = [\"only.test\"]\nrespond = {}\n",
    );
    let mut client = Client::connect(proxy.web());
    let answer = client.get("/nowhere");
    assert_eq!(answer.status(), 404);
    assert!(answer.text().contains("request_id"));
    assert_eq!(answer.header("Cache-Control"), Some("no-store"));
    let line = proxy.access_of("/nowhere");
    assert_eq!((&line["cause"], &line["route"]), (&"no_route".into(), &serde_json::Value::Null));

    let answer = client.ask("POST /read HTTP/1.1\nContent-Length: 0");
    assert_eq!(answer.status(), 405);
    let mut allowed: Vec<_> = answer.header("Allow").unwrap().split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD"]);
    assert_eq!(client.get("/host").status(), 404);
    assert_eq!(client.ask("GET /host HTTP/1.1\nHost: ONLY.test:99").status(), 200);
}

fn at_level_debug_a_404_says_which_hosts_there_are(workers: usize) {
    let text = config(
        workers,
        "[[route]]\nhosts = [\"a.test\", \"*.b.test\"]\nrespond = {}\n\
         [[route]]\nhosts = [\"other.test\"]\nlisteners = [\"other\"]\nrespond = {}\n\
         [[listener]]\nname = \"other\"\naddress = \"127.0.0.2:0\"\n",
    );
    let mut proxy = Proxy::start(&text);
    let ask = |proxy: &Proxy| Client::connect(proxy.web()).ask("GET /x HTTP/1.1\nHost: localhost").status();
    assert_eq!(ask(&proxy), 404);
    let quiet = proxy.log();
    assert!(!quiet.iter().any(|line| line.contains("no route host=")), "{quiet:#?}");
    proxy.reload(&text.replace("log.access", "log.level = \"debug\"\nlog.access"));
    assert_eq!(ask(&proxy), 404);
    proxy.wait_log("no route host=localhost path=/x listener=web: its routes are for *.b.test, a.test");
}

fn the_most_specific_route_wins(workers: usize) {
    let mut rest = String::new();
    for (name, matcher) in [
        ("any", "path = \"/\""),
        ("prefix", "path = \"/api/\""),
        ("longer", "path = \"/api/v1\""),
        ("exact", "path = \"=/api/v1\""),
        ("regex", "path = \"~^/r[0-9]+$\""),
        ("host", "path = \"/\"\nhosts = [\"a.example.test\"]"),
        ("wildcard", "path = \"/\"\nhosts = [\"*.example.test\"]"),
        ("header", "path = \"/api/\"\nheaders_match = { X-Beta = \"~^(yes|on)$\" }"),
        ("method", "path = \"/api/\"\nmethods = [\"PUT\"]"),
    ] {
        rest += &format!("[[route]]\nname = \"{name}\"\n{matcher}\nrespond = {{ body = \"{{route}}\" }}\n");
    }
    let proxy = answering(workers, &rest);
    for (path, winner) in [
        ("/", "any"),
        ("/apix", "any"),
        ("/api", "prefix"),
        ("/api/", "prefix"),
        ("/api/v2", "prefix"),
        ("/api/v1", "exact"),
        ("/api/v1/x", "longer"),
        ("/%61pi/v1/x", "longer"),
        ("/r12", "regex"),
        ("/r12x", "any"),
    ] {
        assert_eq!(get(proxy.web(), path).text(), winner, "{path}");
    }
    let ask = |request: &str| Client::connect(proxy.web()).ask(request).text();
    assert_eq!(ask("GET /api/v1 HTTP/1.1\nHost: A.EXAMPLE.TEST:80"), "host", "the host comes first");
    assert_eq!(ask("GET /api/v1 HTTP/1.1\nHost: b.example.test"), "wildcard");
    assert_eq!(ask("GET / HTTP/1.1\nHost: example.test"), "any", "a wildcard is not its own parent");
    assert_eq!(ask("GET /api/x HTTP/1.1\nX-Beta: yes"), "header");
    assert_eq!(ask("GET /api/x HTTP/1.1\nX-Beta: no"), "prefix");
    assert_eq!(ask("PUT /api/x HTTP/1.1\nContent-Length: 0"), "method");
}

fn a_route_for_some_methods_leaves_the_others_to_wider_ones(workers: usize) {
    let proxy = answering(
        workers,
        "[[route]]\npath = \"/admin/\"\nmethods = [\"POST\"]\nrespond = { status = 403 }\n\
         [[route]]\npath = \"/closed/\"\nmethods = [\"GET\"]\nrespond = { body = \"{route}\" }\n\
         [[route]]\npath = \"/closed/\"\nrespond = { status = 405, headers = { Allow = \"GET, HEAD\" } }\n\
         [[route]]\nname = \"wider\"\nrespond = { body = \"{route}\" }\n",
    );
    let mut client = Client::connect(proxy.web());
    let mut ask = |method: &str, path: &str| {
        let answer = client.ask(&format!("{method} {path} HTTP/1.1\nContent-Length: 0"));
        (answer.status(), answer.header("Allow").map(str::to_owned), answer.text())
    };
    assert_eq!(ask("POST", "/admin/x").0, 403);
    // Not a 405: another route takes it.
    assert_eq!(ask("GET", "/admin/x"), (200, None, "wider".to_owned()));
    assert_eq!(ask("DELETE", "/admin/x"), (200, None, "wider".to_owned()));
    // As the manual says how to close a path.
    assert_eq!(ask("GET", "/closed/x"), (200, None, "/closed/@GET".to_owned()));
    for method in ["POST", "DELETE", "OPTIONS", "PROPFIND"] {
        let (status, allow, _) = ask(method, "/closed/x");
        assert_eq!((status, allow.as_deref()), (405, Some("GET, HEAD")), "{method}");
    }
}

fn trace_is_taken_only_by_a_route_that_names_it(workers: usize) {
    let endpoint = Endpoint::answering(|request| text(200, request.head.method()));
    let proxy = answering(
        workers,
        &format!(
            "[[route]]\ncluster = \"app\"\n\
             [[route]]\npath = \"/trace\"\nmethods = [\"GET\", \"TRACE\"]\ncluster = \"app\"\n\
             [[route]]\npath = \"/get\"\nmethods = [\"GET\"]\ncluster = \"app\"\n\
             [[route]]\npath = \"/fixed\"\nrespond = {{}}\n\
             [cluster.app]\nendpoints = [\"{}\"]\n",
            endpoint.at()
        ),
    );
    let mut client = Client::connect(proxy.web());
    for path in ["/", "/get", "/fixed"] {
        let answer = client.ask(&format!("TRACE {path} HTTP/1.1"));
        assert_eq!(answer.status(), 405, "{path}");
        assert_eq!(answer.header("Allow"), Some("DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"), "{path}");
    }
    assert_eq!(proxy.access_of("/get")["cause"], "method_not_allowed");
    assert_eq!(endpoint.requests(), 0);
    assert_eq!(client.ask("TRACE /trace HTTP/1.1").text(), "TRACE");
    assert_eq!(client.ask("PURGE / HTTP/1.1").text(), "PURGE", "any other method is for the endpoint to judge");
}
