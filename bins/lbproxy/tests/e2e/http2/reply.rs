//! Answers: whole, without bodies, with trailers, with hints before them, and our own.

use http::HeaderMap;

use super::{Caller, proxy, run};
use crate::support::{Endpoint, Gate, Wire, text};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    requests_of_one_connection_are_answered_side_by_side,
    answers_without_a_body_and_trailers_come_as_they_are,
    hints_come_before_the_answer,
    answers_of_our_own,
    limits_hold_for_answers_of_our_own,
);

fn requests_of_one_connection_are_answered_side_by_side(workers: usize) {
    let gate = Gate::default();
    let held = gate.clone();
    let endpoint = Endpoint::answering(move |message| {
        if message.head.target() == "/slow" {
            held.wait();
        }
        text(200, message.head.target())
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("GET", "/slow").body(()).unwrap();
        let (slow, _) = caller.begin(request, true).await;
        for path in ["/a?x=1", "/b"] {
            let answer = caller.get(path).await;
            assert_eq!((answer.status, answer.text().as_str()), (200, path));
            assert_eq!(answer.header("content-length"), path.len().to_string());
        }
        gate.open();
        assert_eq!(super::peer::read(slow).await.text(), "/slow");
    });
    let line = proxy.access_of("/slow");
    assert_eq!((&line["protocol"], &line["status"]), (&"HTTP/2.0".into(), &200.into()), "{line}");
    assert_eq!((&line["bytes_out"], &line["cause"]), (&5.into(), &serde_json::Value::Null), "{line}");
    assert_eq!(proxy.metric("lbproxy_requests_total", &["code=\"200\""]), 3.0);
}

fn answers_without_a_body_and_trailers_come_as_they_are(workers: usize) {
    let endpoint = Endpoint::answering(|message| {
        match (message.head.first.split(' ').next().unwrap(), message.head.target()) {
        ("HEAD", _) => "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n".to_owned(),
        (_, "/204") => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        (_, "/304") => "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: \"x\"\r\n\r\n".to_owned(),
        (_, "/empty") => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
        _ => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nKeep-Alive: timeout=9\r\nConnection: x-own\r\nX-Own: 1\r\n\r\n\
              4\r\npart\r\n3\r\n2nd\r\n0\r\nX-Sum: 7\r\n\r\n"
            .to_owned(),
    }
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("HEAD", "/").body(()).unwrap();
        let answer = caller.ask(request).await;
        assert_eq!((answer.status, answer.header("content-length"), answer.body.len()), (200, "12345", 0));
        let answer = caller.get("/204").await;
        assert_eq!((answer.status, answer.header("content-length"), answer.body.len()), (204, "", 0));
        let answer = caller.get("/304").await;
        assert_eq!((answer.status, answer.header("content-length"), answer.body.len()), (304, "7", 0));
        let answer = caller.get("/empty").await;
        assert_eq!((answer.status, answer.header("content-length"), answer.reset), (200, "0", None));
        let answer = caller.get("/trailers").await;
        assert_eq!((answer.text().as_str(), answer.trailer("x-sum"), answer.reset), ("part2nd", "7", None));
        for name in ["transfer-encoding", "connection", "keep-alive", "x-own"] {
            assert_eq!(answer.header(name), "", "{name} belongs to one connection");
        }
    });
}

fn hints_come_before_the_answer(workers: usize) {
    let gate = Gate::default();
    let held = gate.clone();
    let endpoint = Endpoint::on_head(move |wire: &mut Wire, _| {
        wire.write("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")?;
        held.wait();
        wire.write(text(200, "page"))
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("GET", "/").body(()).unwrap();
        let (mut response, _) = caller.begin(request, true).await;
        let hint = std::future::poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
        assert_eq!((hint.status().as_u16(), &hint.headers()["link"]), (103, &"</a.css>".parse().unwrap()));
        gate.open();
        assert_eq!(super::peer::read(response).await.text(), "page");
    });
}

fn answers_of_our_own(workers: usize) {
    let endpoint = Endpoint::named("app");
    let route = "path = \"/app/\"\n[[route]]\npath = \"/fixed\"\nrespond = { status = 200, body = \"fixed\" }\n\
                 [[route]]\npath = \"/old/\"\nredirect = { to = \"/new/\", status = 308 }\n";
    let proxy = proxy(workers, &endpoint.at(), "", route, "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let answer = caller.get("/fixed").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "fixed"));
        assert!(!answer.header("date").is_empty());
        let answer = caller.get("/old/x").await;
        assert_eq!((answer.status, answer.header("location")), (308, "/new/x"));
        let answer = caller.get("/none").await;
        assert_eq!((answer.status, answer.headers.contains_key("x-request-id")), (404, true));
        let request = caller.request("HEAD", "/fixed").body(()).unwrap();
        let answer = caller.ask(request).await;
        assert_eq!((answer.header("content-length"), answer.body.len()), ("5", 0));
        assert_eq!(answer.trailers, None::<HeaderMap>);
    });
    assert_eq!(proxy.access_of("/none")["cause"], "no_route");
}

fn limits_hold_for_answers_of_our_own(workers: usize) {
    let endpoint = Endpoint::named("app");
    let limit = "rate_limit = [{ rate = \"1/h\", headers = true }, { rate = \"1/s\", burst = 9 }]";
    let route = format!(
        "path = \"/app/\"\n[[route]]\npath = \"/fixed\"\nrespond = {{ body = \"fixed\" }}\n{limit}\n\
         [[route]]\npath = \"/old/\"\nredirect = {{ to = \"/new/\", status = 308 }}\n{limit}\n"
    );
    let proxy = proxy(workers, &endpoint.at(), "", &route, "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        for (path, passing) in [("/fixed", 200), ("/old/x", 308)] {
            assert_eq!(caller.get(path).await.status, passing);
            let refused = caller.get(path).await;
            assert_eq!((refused.status, refused.header("retry-after").is_empty()), (429, false));
            let told = refused.header("ratelimit");
            assert!(told.starts_with('"') && told.contains(";r=0;t="), "{told}");
        }
    });
}
