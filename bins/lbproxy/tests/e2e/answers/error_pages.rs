//! Error pages of the route, the listener and the proxy, for HTML and for JSON.

use std::path::Path;

use super::answering;
use crate::http2::{Caller, run};
use crate::support::{Client, Endpoint, Proxy, Refusing, config, exchange, failed_start};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    a_failure_has_the_page_of_its_status_and_the_nearest_place,
    an_endpoints_error_is_replaced_only_where_that_is_asked_for,
    programs_get_json_without_any_page,
);

fn pages(directory: &Path, pages: &[(&str, &str)]) {
    for (name, text) in pages {
        std::fs::write(directory.join(name), text).unwrap();
    }
}

fn a_failure_has_the_page_of_its_status_and_the_nearest_place(workers: usize) {
    let directory = tempfile::tempdir().unwrap();
    pages(
        directory.path(),
        &[
            ("route.html", "<h1>down</h1>{path}<style>p {color: red}</style>"),
            ("any.html", "any"),
            ("global.html", "<b>{uri}</b>"),
            ("global.json", "{\"path\":\"{uri}\"}"),
            ("bad.txt", "bad request, {request_id}"),
        ],
    );
    let at = directory.path().display();
    let endpoint = Refusing::new();
    let proxy = answering(
        workers,
        &format!(
            "errors = {{ \"404\" = \"{at}/global.html\", \"404.json\" = \"{at}/global.json\", \"502\" = \"{at}/any.html\" }}\n\
             [[listener]]\nname = \"other\"\naddress = \"127.0.0.2:0\"\nerrors.\"400\" = \"{at}/bad.txt\"\n\
             [[route]]\npath = \"/app/\"\ncluster = \"app\"\nerrors = {{ \"5xx\" = \"{at}/any.html\", \"502\" = \"{at}/route.html\" }}\n\
             [[route]]\npath = \"/fixed/\"\nrespond = {{ status = 404, body = \"as written\" }}\n\
             [[route]]\npath = \"/bare/\"\nrespond = {{ status = 404 }}\n\
             [cluster.app]\nendpoints = [\"{}\"]\n",
            endpoint.address,
        ),
    );
    let mut client = Client::connect(proxy.web());
    let page = "<h1>down</h1>/app/&lt;i&gt;<style>p {color: red}</style>";
    let answer = client.get("/app/<i>");
    assert_eq!((answer.status(), answer.text().as_str()), (502, page));
    assert_eq!(answer.header("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer.header("Cache-Control"), Some("no-store"));
    assert!(answer.head.has("X-Request-Id") && answer.head.has("Date"), "{answer:?}");
    let answer = client.ask("HEAD /app/<i> HTTP/1.1");
    assert_eq!((answer.status(), answer.header("Content-Length")), (502, Some(page.len().to_string().as_str())));
    let answer = client.get("/nothing?a=\"&b");
    assert_eq!((answer.status(), answer.text().as_str()), (404, "<b>/nothing?a=&quot;&amp;b</b>"));
    let answer = client.ask("GET /nothing?a=\"&b HTTP/1.1\nAccept: application/json");
    assert_eq!(
        (answer.text().as_str(), answer.header("Content-Type")),
        ("{\"path\":\"/nothing?a=\\\"&b\"}", Some("application/json"))
    );
    // No page in JSON: the generated one.
    let answer = client.ask("GET /app/ HTTP/1.1\nAccept: application/json");
    let body: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(
        (answer.status(), &body["status"], &body["error"]),
        (502, &502.into(), &"the service cannot be reached".into())
    );
    assert_eq!(body["request_id"].as_str(), answer.header("X-Request-Id"));
    // What the configuration wrote itself stays; what it left empty is filled, and says that it depends on `Accept`.
    assert_eq!(client.get("/fixed/").text(), "as written");
    let answer = client.get("/bare/");
    assert_eq!(
        (answer.status(), answer.text().as_str(), answer.header("Vary")),
        (404, "<b>/bare/</b>", Some("Accept"))
    );
    // What cannot be read as a request has the page of its listener.
    let answer = exchange(proxy.listener("other"), "GET / HTTP/1.1\r\nBad Header\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("\r\n\r\nbad request, "), "{answer}");
    assert!(!answer.ends_with(", "), "it has its id: {answer}");
    let answer = exchange(proxy.web(), "GET / HTTP/1.1\r\nBad Header\r\n\r\n");
    assert!(!answer.contains("bad request, "), "another listener's: {answer}");

    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let answer = caller.get("/app/").await;
        assert_eq!((answer.status, answer.text().as_str()), (502, "<h1>down</h1>/app/<style>p {color: red}</style>"));
        let request = caller.request("HEAD", "/app/").body(()).unwrap();
        let answer = caller.ask(request).await;
        assert_eq!((answer.status, answer.header("content-length"), answer.body.len()), (502, "47", 0));
        let request = caller.request("GET", "/nothing").header("accept", "application/json").body(()).unwrap();
        assert_eq!(caller.ask(request).await.text(), "{\"path\":\"/nothing\"}");
        // A call of gRPC has its own form of errors.
        let request = caller.request("POST", "/nothing").header("content-type", "application/grpc").body(()).unwrap();
        let answer = caller.ask(request).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0));
    });
}

fn an_endpoints_error_is_replaced_only_where_that_is_asked_for(workers: usize) {
    let directory = tempfile::tempdir().unwrap();
    pages(directory.path(), &[("page.html", "ours")]);
    let at = directory.path().display();
    let endpoint = Endpoint::answering(|message| {
        let status = if message.head.target().ends_with("/ok") { 200 } else { 404 };
        format!(
            "HTTP/1.1 {status} X\r\nContent-Length: 6\r\nContent-Type: text/x\r\nContent-Encoding: x\r\nETag: \"1\"\r\n\
             Set-Cookie: a=b\r\nCache-Control: max-age=9\r\n\r\ntheirs"
        )
    });
    let proxy = answering(
        workers,
        &format!(
            "errors.\"4xx\" = \"{at}/page.html\"\n\
             [[route]]\npath = \"/plain/\"\ncluster = \"app\"\n\
             [[route]]\npath = \"/mine/\"\ncluster = \"app\"\nerrors = {{ \"404\" = \"{at}/page.html\", intercept = true }}\n\
             [cluster.app]\nendpoints = [\"{}\"]\n",
            endpoint.at(),
        ),
    );
    let mut client = Client::connect(proxy.web());
    let answer = client.get("/plain/a");
    assert_eq!((answer.text().as_str(), answer.header("ETag")), ("theirs", Some("\"1\"")));
    assert_eq!(client.get("/mine/ok").text(), "theirs");
    let answer = client.get("/mine/a");
    assert_eq!((answer.status(), answer.text().as_str()), (404, "ours"));
    for gone in ["ETag", "Content-Encoding"] {
        assert!(!answer.head.has(gone), "{gone}: {answer:?}");
    }
    for (name, value) in [
        ("Set-Cookie", "a=b"),
        ("Cache-Control", "max-age=9"),
        ("Vary", "Accept"),
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Length", "4"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let answer = client.ask("GET /mine/a HTTP/1.1\nAccept: application/json");
    let body: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!((&body["status"], &body["error"]), (&404.into(), &"Not Found".into()));
    let answer = client.ask("HEAD /mine/a HTTP/1.1");
    assert_eq!((answer.status(), answer.header("Content-Length")), (404, Some("4")));
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let answer = caller.get("/mine/a").await;
        assert_eq!((answer.status, answer.text().as_str(), answer.header("set-cookie")), (404, "ours", "a=b"));
    });
}

fn programs_get_json_without_any_page(workers: usize) {
    let proxy = answering(workers, "[[route]]\npath = \"/a/\"\nrespond = {}\n");
    let mut client = Client::connect(proxy.web());
    assert!(client.ask("GET / HTTP/1.1\nAccept: */*").text().starts_with("404 no route matches\n"));
    let answer = client.ask("GET / HTTP/1.1\nAccept: application/json, text/plain, */*");
    let body: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(body["status"], 404);
    assert_eq!(answer.header("Cache-Control"), Some("no-store"));
}

#[test]
fn a_reload_reads_pages_anew_and_keeps_the_last_good() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("404.html");
    let text =
        config(1, &format!("errors.\"404\" = \"{}\"\n[[route]]\npath = \"/a\"\nrespond = {{}}\n", file.display()));
    let exit = failed_start(&text);
    assert!(
        exit.log.iter().any(|line| line.contains("cannot use the error page") && line.contains("404.html")),
        "{exit:?}"
    );
    std::fs::write(&file, "first").unwrap();
    let mut proxy = Proxy::start(&text);
    let mut client = Client::connect(proxy.web());
    assert_eq!(client.get("/").text(), "first");
    std::fs::write(&file, "second").unwrap();
    proxy.reload(&text);
    assert_eq!(client.get("/").text(), "second");
    std::fs::write(&file, vec![b'x'; 1024 * 1024 + 1]).unwrap();
    proxy.reload(&text);
    proxy.wait_log("it is larger than 1 MiB; the page that was read before stays in force");
    assert_eq!(client.get("/").text(), "second");
    let refused = proxy.reload_refused(&text.replace("404.html", "none.html"));
    assert!(refused.contains("none.html"), "{refused}");
    assert_eq!(client.get("/").text(), "second");
}
