//! An authentication service decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::http2::{Caller, H2Endpoint, run};
use crate::support::{Client, Endpoint, Message, Proxy, SWITCHED, WEBSOCKET, config, failed_start, text};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    the_service_hears_of_the_request_and_the_endpoint_of_the_user,
    a_refusal_or_redirect_of_the_service_is_the_clients_answer,
    nobody_gets_in_while_the_service_does_not_say_so,
    nobody_says_by_himself_what_only_the_service_may,
    websockets_pass_with_the_service_and_not_without,
    a_service_over_http2_decides_about_http2,
    all_ways_of_a_list_must_let_a_request_pass,
);

/// A service that lets in whoever has the cookie `sid=ann`, and says so in two headers.
fn service() -> Endpoint {
    Endpoint::answering(|message| match message.head.header("cookie") {
        Some("sid=ann") => "HTTP/1.1 200 OK\r\nRemote-User: ann\r\nRemote-Groups: a,b\r\nRemote-Groups: c\r\n\
                            X-Own: secret\r\nContent-Length: 4\r\n\r\nfine"
            .to_owned(),
        Some("sid=bob") => "HTTP/1.1 204 Fine\r\nremote_user: bob\r\n\r\n".to_owned(),
        Some("sid=eve") => text(403, "not you"),
        _ => "HTTP/1.1 302 Found\r\nLocation: https://login.test/?rd=x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
              Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
            .to_owned(),
    })
}

fn routes(service: &str, endpoint: &str, more: &str) -> String {
    format!(
        "[[route]]\ncluster = \"app\"\n\
         auth = {{ forward = {{ cluster = \"auth\", path = \"/api/verify?x=1\", copy = [\"Remote-User\", \"Remote-Groups\"]{more} }} }}\n\
         [cluster.app]\nendpoints = [\"{endpoint}\"]\n\
         [cluster.auth]\nendpoints = [\"{service}\"]\n"
    )
}

fn proxy(workers: usize, service: &Endpoint, endpoint: &Endpoint, more: &str) -> Proxy {
    Proxy::start(&config(workers, &routes(&service.at(), &endpoint.at(), more)))
}

fn the_service_hears_of_the_request_and_the_endpoint_of_the_user(workers: usize) {
    let (service, endpoint) = (service(), Endpoint::named("app"));
    let proxy = proxy(workers, &service, &endpoint, "");
    let mut client = Client::connect(proxy.web());
    client.send(
        "POST /a/b?c=d%20 HTTP/1.1\r\nHost: Shop.test:81\r\nCookie: sid=ann\r\nAuthorization: Bearer t\r\nX-Own: mine\r\n\
         Content-Type: text/plain\r\nIf-None-Match: \"e\"\r\nRange: bytes=0-1\r\nContent-Length: 5\r\n\r\nhello",
    );
    assert_eq!(client.answer("POST").text(), "app");
    let asked = service.last();
    assert_eq!(asked.head.first, "GET /api/verify?x=1 HTTP/1.1");
    assert!(asked.body.data.is_empty());
    for (name, value) in [
        ("host", Some("Shop.test:81")),
        ("authorization", Some("Bearer t")),
        ("x-own", Some("mine")),
        ("x-original-url", Some("http://Shop.test:81/a/b?c=d%20")),
        ("x-original-method", Some("POST")),
        ("x-forwarded-uri", Some("/a/b?c=d%20")),
        ("x-forwarded-method", Some("POST")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-host", Some("Shop.test:81")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("content-length", None),
        ("content-type", None),
        ("if-none-match", None),
        ("range", None),
    ] {
        assert_eq!(asked.head.header(name), value, "{name}");
    }
    let got = endpoint.last();
    assert_eq!((got.head.first.as_str(), &*got.body.data), ("POST /a/b?c=d%20 HTTP/1.1", &b"hello"[..]));
    assert_eq!(got.head.all("remote-user"), ["ann"]);
    assert_eq!(got.head.all("remote-groups"), ["a,b", "c"]);
    assert_eq!((got.head.header("x-own"), got.head.header("authorization")), (Some("mine"), Some("Bearer t")));
    assert_eq!((got.head.header("if-none-match"), got.head.header("x-original-url")), (Some("\"e\""), None));
    assert_eq!(got.head.header("x-request-id"), asked.head.header("x-request-id"), "one id for both");
}

fn a_refusal_or_redirect_of_the_service_is_the_clients_answer(workers: usize) {
    let (service, endpoint) = (service(), Endpoint::named("app"));
    let proxy = proxy(workers, &service, &endpoint, "");
    let mut client = Client::connect(proxy.web());
    let answer = client.get("/page");
    assert_eq!((answer.status(), answer.text().as_str()), (302, "hi"));
    assert_eq!(answer.header("Location"), Some("https://login.test/?rd=x"));
    assert_eq!(answer.head.all("set-cookie"), ["a=1", "b=2"]);
    let answer = client.ask("GET /page HTTP/1.1\nCookie: sid=eve");
    assert_eq!((answer.status(), answer.text().as_str()), (403, "not you"));
    let answer = client.ask("HEAD /page HTTP/1.1\nCookie: sid=eve");
    assert_eq!((answer.status(), answer.header("Content-Length")), (403, Some("7")));
    assert_eq!(endpoint.requests(), 0);
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let answer = caller.get("/page").await;
        assert_eq!((answer.status, answer.text().as_str()), (302, "hi"));
        assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
        let call =
            caller.request("POST", "/s/m").header("content-type", "application/grpc").header("cookie", "sid=eve");
        let answer = caller.send(call.body(()).unwrap(), &[b""], None).await;
        assert_eq!((answer.status, answer.header("grpc-status")), (200, "7"), "PERMISSION_DENIED");
    });
    assert_eq!(endpoint.requests(), 0);
    let line = proxy.wait_access(|line| line["status"] == 403 && line["method"] == "GET");
    assert_eq!((&line["cause"], line["attempts"].as_u64()), (&"forbidden".into(), Some(0)), "{line}");
}

fn nobody_gets_in_while_the_service_does_not_say_so(workers: usize) {
    let turn = Arc::new(AtomicUsize::new(0));
    let turns = Arc::clone(&turn);
    let answers: [&'static str; 6] = [
        "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 503 Oh\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhalf",
        "not HTTP\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        "",
    ];
    let mut service = Endpoint::on_head(move |wire, _| {
        let answer = answers[turns.load(Ordering::SeqCst)];
        if answer.is_empty() {
            // It is silent until the other side gives up.
            return wire.read_to_end().map(drop);
        }
        wire.write(answer)
    });
    let endpoint = Endpoint::named("app");
    let proxy = proxy(workers, &service, &endpoint, ", timeout = \"300ms\"");
    let refused = |what: &str| {
        let answer = Client::connect(proxy.web()).get("/in");
        assert_eq!(answer.status(), 503, "{what}");
        assert!(answer.header("Retry-After").is_some(), "{what}");
    };
    for (at, answer) in answers.iter().enumerate() {
        turn.store(at, Ordering::SeqCst);
        refused(answer);
    }
    service.stop();
    refused("it is down");
    assert_eq!(endpoint.requests(), 0);
    let line = proxy.wait_access(|line| line["cause"].as_str().is_some_and(|cause| cause.contains("connect_refused")));
    assert!(line["cause"].as_str().unwrap().starts_with("auth_unavailable: connect_refused: "), "{line}");
    proxy.wait_log("cause=auth_unavailable");
}

fn nobody_says_by_himself_what_only_the_service_may(workers: usize) {
    let (service, endpoint) = (service(), Endpoint::named("app"));
    let proxy = proxy(workers, &service, &endpoint, "");
    let forged = "Remote-User: root\nremote-user: root\nREMOTE_USER: root\nRemote.User: root\nRemote_Groups: root\n\
                  X-Original-URL: http://a/public\nX_Original_Url: http://a/public\nX-Original.Method: GET\n\
                  X-Forwarded-Prefix: /x\nX-Forwarded-Uri: /public\nX_Forwarded_Method: GET";
    let seen = |message: &Message| {
        let all = format!("{:?}", message.head.headers).to_lowercase();
        assert!(!all.contains("root") && !all.contains("/public") && !all.contains("prefix"), "{all}");
    };
    let mut client = Client::connect(proxy.web());
    // The service says who it is, but nothing of groups: what it does not say, nobody says.
    for cookie in ["sid=ann", "sid=bob"] {
        assert_eq!(client.ask(&format!("GET /private HTTP/1.1\nCookie: {cookie}\n{forged}")).status(), 200);
        seen(&service.last());
        seen(&endpoint.last());
        assert_eq!(service.last().head.all("x-original-url"), ["http://example.test/private"]);
        assert_eq!(service.last().head.all("x-forwarded-uri"), ["/private"]);
    }
    let head = endpoint.last().head;
    assert!(!head.has("remote-user") && !head.has("remote-groups"), "`remote_user` of the service is another name");
    // Nor by naming it as the connection's, nor behind the body.
    let hop = format!("GET /private HTTP/1.1\nCookie: sid=ann\nConnection: Remote-User, X-Original-URL\n{forged}");
    assert_eq!(client.ask(&hop).status(), 200);
    assert_eq!(endpoint.last().head.all("remote-user"), ["ann"]);
    client.send(
        "POST /private HTTP/1.1\r\nHost: a\r\nCookie: sid=ann\r\nTransfer-Encoding: chunked\r\nTrailer: Remote-User\r\n\r\n\
         2\r\nhi\r\n0\r\nRemote-User: root\r\nremote_groups: root\r\nX-Sum: 1\r\n\r\n",
    );
    assert_eq!(client.answer("POST").status(), 200);
    let trailers = format!("{:?}", endpoint.last().body);
    assert!(!trailers.contains("root"), "{trailers}");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("GET", "/private").header("cookie", "sid=bob").header("remote-user", "root");
        assert_eq!(caller.ask(request.header("remote_groups", "root").body(()).unwrap()).await.status, 200);
    });
    seen(&endpoint.last());
}

fn websockets_pass_with_the_service_and_not_without(workers: usize) {
    let service = service();
    let endpoint = Endpoint::on_head(|wire, _| {
        wire.write(SWITCHED)?;
        wire.write("echo")
    });
    let proxy = proxy(workers, &service, &endpoint, "");
    let answer = Client::connect(proxy.web()).ask(&format!("GET /ws HTTP/1.1\n{WEBSOCKET}"));
    assert_eq!((answer.status(), endpoint.requests()), (302, 0));
    let mut client = Client::connect(proxy.web());
    let answer = client.ask(&format!("GET /ws HTTP/1.1\nCookie: sid=ann\n{WEBSOCKET}"));
    assert_eq!(answer.status(), 101);
    assert!(!service.last().head.has("upgrade"), "the service is asked, and switches to nothing");
    assert_eq!(endpoint.last().head.all("remote-user"), ["ann"]);
}

fn a_service_over_http2_decides_about_http2(workers: usize) {
    let endpoint = Endpoint::named("app");
    let service = H2Endpoint::answering(|request, _, _| {
        let is_known = request.headers.get("cookie").is_some_and(|cookie| cookie == "sid=ann");
        let status = if is_known { 200 } else { 401 };
        let response = http::Response::builder().status(status).header("remote-user", "ann").body(()).unwrap();
        (response, bytes::Bytes::from_static(b"said"), None)
    });
    let proxy = Proxy::start(&config(workers, &(routes(&service.at(), &endpoint.at(), "") + "protocol = \"h2\"\n")));
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        assert_eq!(caller.get("/").await.status, 401);
        let request = caller.request("GET", "/").header("cookie", "sid=ann").body(()).unwrap();
        assert_eq!(caller.ask(request).await.text(), "app");
    });
    assert_eq!(endpoint.last().head.all("remote-user"), ["ann"]);
}

fn all_ways_of_a_list_must_let_a_request_pass(workers: usize) {
    let (service, endpoint) = (service(), Endpoint::named("app"));
    let directory = tempfile::tempdir().unwrap();
    let users = directory.path().join("users");
    std::fs::write(&users, "bob:$apr1$r31.....$F82NbYp0z5OJAIBItkz3D1\n").unwrap();
    let auth = |ways: &str| {
        format!(
            "[[route]]\ncluster = \"app\"\nauth = {ways}\n[cluster.app]\nendpoints = [\"{}\"]\n[cluster.auth]\nendpoints = [\"{}\"]\n",
            endpoint.at(),
            service.at()
        )
    };
    let basic = format!("{{ basic = {{ users = \"{}\" }} }}", users.display());
    let forward = "{ forward = { cluster = \"auth\", copy = [\"Remote-User\"] } }";
    for ways in [format!("[{basic}, {forward}]"), format!("[{forward}, {basic}]")] {
        let proxy = Proxy::start(&config(workers, &auth(&ways)));
        let mut client = Client::connect(proxy.web());
        let password = "Authorization: Basic Ym9iOm9wZW4gc2VzYW1l";
        let mut status = |lines: &str| client.ask(&format!("GET / HTTP/1.1\n{lines}")).status();
        let before = endpoint.requests();
        assert!(matches!(status("X-A: b"), 302 | 401));
        assert_eq!((status(password), status("Cookie: sid=ann")), (302, 401));
        assert_eq!(endpoint.requests(), before, "{ways}");
        assert_eq!(status(&format!("Cookie: sid=ann\n{password}")), 200);
        let head = endpoint.last().head;
        assert_eq!((head.all("remote-user"), head.header("authorization")), (vec!["ann"], None));
        drop(proxy);
    }
    let exit = failed_start(&config(1, &auth("[]")));
    assert!(exit.log.join("\n").contains("an empty list lets everybody in"), "{exit:?}");
    let exit = failed_start(&config(1, &auth("{ forward = { cluster = \"outh\" } }")));
    assert!(exit.log.join("\n").contains("did you mean `auth`?"), "{exit:?}");
}
