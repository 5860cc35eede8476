//! Redirects.

use super::answering;
use crate::support::Client;
use crate::with_one_and_four_workers;

with_one_and_four_workers!(a_redirect_says_where, a_redirecting_listener_asks_the_routes_that_name_it_first);

fn a_redirect_says_where(workers: usize) {
    let proxy = answering(
        workers,
        "[[route]]\npath = \"/old/\"\nredirect = { to = \"/new/\" }\n\
         [[route]]\npath = \"/gone\"\nredirect = { to = \"https://other.test/\", status = 302 }\n\
         [[route]]\npath = \"/as-is\"\nredirect = { to = \"https://{host}/x{uri}\", status = 307 }\n\
         [[route]]\npath = \"/secure\"\nredirect = \"https\"\n\
         [[listener]]\nname = \"plain\"\naddress = \"127.0.0.2:0\"\nredirect = \"https\"\n\
         [[listener]]\nname = \"behind\"\naddress = \"127.0.0.3:0\"\nredirect = \"https\"\n\
         trusted_proxies = [\"127.0.0.0/8\"]\n",
    );
    let ask = |listener: &str, request: &str| {
        let answer = Client::connect(proxy.listener(listener)).ask(request);
        (answer.status(), answer.header("Location").unwrap_or_default().to_owned())
    };
    let get = |path: &str| ask("web", &format!("GET {path} HTTP/1.1\nHost: Example.test:8080"));
    let to = |status: u16, location: &str| (status, location.to_owned());
    assert_eq!(get("/old/a/b?c=%20d"), to(308, "/new/a/b?c=%20d"));
    assert_eq!(get("/old"), to(308, "/new/"));
    assert_eq!(get("/gone/whatever?x"), to(302, "https://other.test/"));
    assert_eq!(get("/as-is?q=1"), to(307, "https://example.test/x/as-is?q=1"));
    // A host that there is not, as HTTP/1.0 allows.
    assert_eq!(ask("web", "GET /as-is HTTP/1.0\nHost:"), to(400, ""));
    assert_eq!(get("/secure?q=1"), to(301, "https://Example.test/secure?q=1"));
    // Nobody is sent to a place of the client's choice.
    assert_eq!(get("/old//evil.test/").0, 308);
    assert!(!get("/old//evil.test/").1.starts_with("//"));

    assert_eq!(ask("plain", "GET /a?b HTTP/1.1\nHost: a.test"), to(301, "https://a.test/a?b"));
    assert_eq!(ask("plain", "POST /a HTTP/1.1\nHost: a.test\nContent-Length: 0").0, 301);
    // Behind a proxy that has already made it https, there is nothing to redirect, and no route.
    assert_eq!(ask("behind", "GET /nobody HTTP/1.1\nHost: a.test\nX-Forwarded-Proto: https").0, 404);
    assert_eq!(ask("behind", "GET /nobody HTTP/1.1\nHost: a.test\nX-Forwarded-Proto: http").0, 301);
}

/// The usual file: TLS (here: a plain listener), a port 80 that redirects, and routes for all. Certbot's challenges are to
/// be answered in the clear.
fn a_redirecting_listener_asks_the_routes_that_name_it_first(workers: usize) {
    let proxy = answering(
        workers,
        "[[route]]\nhosts = [\"a.test\"]\nrespond = { body = \"site\" }\n\
         [[route]]\nrespond = { body = \"any\" }\n\
         [[route]]\npath = \"/.well-known/acme-challenge/\"\nlisteners = [\"plain\"]\nrespond = { body = \"token\" }\n\
         [[route]]\npath = \"/only-get\"\nmethods = [\"GET\"]\nlisteners = [\"plain\"]\nrespond = { body = \"got\" }\n\
         [[site]]\nhosts = [\"site.test\"]\nlisteners = [\"plain\"]\nrespond = { body = \"in the clear\" }\n\
         [[listener]]\nname = \"plain\"\naddress = \"127.0.0.2:0\"\nredirect = \"https\"\n\
         trusted_proxies = [\"127.0.0.0/8\"]\n",
    );
    let ask = |listener: &str, request: &str| {
        let answer = Client::connect(proxy.listener(listener)).ask(request);
        (answer.status(), answer.text())
    };
    let challenge = "GET /.well-known/acme-challenge/x HTTP/1.1\nHost: a.test";
    // By the rule of the host the route of `a.test` would take it, but that is for the other listener.
    assert_eq!(ask("plain", challenge), (200, "token".to_owned()));
    assert_eq!(ask("web", challenge), (200, "site".to_owned()));
    for host in ["a.test", "b.test"] {
        assert_eq!(ask("plain", &format!("GET / HTTP/1.1\nHost: {host}")).0, 301, "{host}");
    }
    assert_eq!(ask("plain", "GET / HTTP/1.1\nHost: site.test"), (200, "in the clear".to_owned()));
    // Nothing is refused where something can be redirected.
    assert_eq!(ask("plain", "GET /only-get HTTP/1.1\nHost: b.test"), (200, "got".to_owned()));
    assert_eq!(ask("plain", "DELETE /only-get HTTP/1.1\nHost: b.test").0, 301);
    // Over https, at a proxy in front, every route holds.
    let secure = "GET / HTTP/1.1\nHost: a.test\nX-Forwarded-Proto: https";
    assert_eq!(ask("plain", secure), (200, "site".to_owned()));
}
