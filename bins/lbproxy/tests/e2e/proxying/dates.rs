//! `Date`: every response has one, generated or not (RFC 9110 §6.6.1).

use crate::failures::forwarding;
use crate::http2::{Caller, run};
use crate::support::{Client, Endpoint, Message, Proxy, get, text};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(a_response_without_a_date_gets_the_time_it_came_at);

const THEIRS: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn endpoint() -> Endpoint {
    Endpoint::answering(|request: &Message| match request.head.target() {
        "/dated" => text(200, "ok").replacen("\r\n", &format!("\r\nDate: {THEIRS}\r\n"), 1),
        "/hint" => format!("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n{}", text(200, "ok")),
        _ => text(200, "ok"),
    })
}

/// What `ask` gives is the date of an answer of the proxy's own of the same second.
#[track_caller]
fn is_now(proxy: &Proxy, mut ask: impl FnMut() -> String) {
    let own = || get(proxy.web(), "/own").header("Date").unwrap_or_default().to_owned();
    for _ in 0..100 {
        let (before, date, after) = (own(), ask(), own());
        if before == after {
            assert_eq!(date, before);
            return;
        }
    }
    panic!("no two answers within a second");
}

fn a_response_without_a_date_gets_the_time_it_came_at(workers: usize) {
    let endpoint = endpoint();
    let proxy = forwarding(workers, &endpoint.at(), "[[route]]\npath = \"/own\"\nrespond = {}");
    let date_of = |message: Message| message.header("Date").unwrap_or_default().to_owned();
    is_now(&proxy, || date_of(get(proxy.web(), "/")));
    assert_eq!(get(proxy.web(), "/dated").header("Date"), Some(THEIRS), "and one that has its own keeps it");
    let ask = |path: &'static str| {
        run(async { Caller::connect(proxy.web()).await.get(path).await.header("date").to_owned() })
    };
    is_now(&proxy, || ask("/"));
    assert_eq!(ask("/dated"), THEIRS);
    let mut client = Client::connect(proxy.web());
    client.send("GET /hint HTTP/1.1\r\nHost: a\r\n\r\n");
    let hint = client.read_head().unwrap().unwrap();
    assert_eq!((hint.status(), hint.header("Date")), (103, None), "an interim response needs none");
    assert!(client.answer("GET").head.has("Date"));
}

#[test]
fn a_route_that_sets_or_removes_dates_has_its_way() {
    let endpoint = endpoint();
    let proxy = forwarding(1, &endpoint.at(), "headers.response.remove = [\"Date\"]");
    assert_eq!((get(proxy.web(), "/").header("Date"), get(proxy.web(), "/dated").header("Date")), (None, None));
    let proxy = forwarding(1, &endpoint.at(), &format!("headers.response.set = {{ Date = \"{THEIRS}\" }}"));
    assert_eq!(get(proxy.web(), "/").header("Date"), Some(THEIRS));
}
