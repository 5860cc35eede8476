//! Redirects.

use super::answering;
use crate::support::Client;
use crate::with_one_and_four_workers;

with_one_and_four_workers!(a_redirect_says_where);

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
