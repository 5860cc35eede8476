//! Affinity by cookie.

use super::{list, named, one_cluster};
use crate::support::{Client, Endpoint, Message, Proxy, SWITCHED, WEBSOCKET, config, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    a_cookie_keeps_a_client_at_its_endpoint,
    a_cookie_whose_endpoint_is_gone_is_renewed,
    a_cookie_that_is_not_ours_is_ignored,
    a_cookie_of_another_cluster_leads_nowhere,
    a_cookie_leads_an_upgrade_to_its_endpoint,
    rotating_secrets_moves_no_client,
);

const ROUTE: &str = "sticky = { cookie = \"affinity\", secure = true, same_site = \"lax\", max_age = \"1h\" }";

/// Asks with a cookie, on a connection of its own.
fn ask(proxy: &Proxy, cookie: Option<&str>) -> Message {
    let cookie = cookie.map(|cookie| format!("\nCookie: theme=dark; affinity={cookie}; x=y")).unwrap_or_default();
    let answer = Client::connect(proxy.web()).ask(&format!("GET / HTTP/1.1{cookie}"));
    assert_eq!(answer.status(), 200, "{answer:?}");
    answer
}

/// The value that a response sets.
fn cookie_of(answer: &Message) -> String {
    let line = answer.header("Set-Cookie").expect("a cookie");
    let pair = line.split(';').next().unwrap();
    pair.strip_prefix("affinity=").expect("ours").to_owned()
}

fn a_cookie_keeps_a_client_at_its_endpoint(workers: usize) {
    let endpoints = named(["a", "b", "c"]);
    let proxy = Proxy::start(&one_cluster(workers, ROUTE, &list(&endpoints), ""));
    proxy.wait_log("secret");
    for _ in 0..6 {
        let first = ask(&proxy, None);
        let line = first.header("Set-Cookie").unwrap();
        let attributes: Vec<_> = line.split("; ").skip(1).collect();
        assert_eq!(attributes, ["Path=/", "Max-Age=3600", "Secure", "HttpOnly", "SameSite=Lax"], "{line}");
        let cookie = cookie_of(&first);
        for _ in 0..5 {
            let answer = ask(&proxy, Some(&cookie));
            assert_eq!(answer.text(), first.text());
            assert_eq!(answer.header("Set-Cookie"), None, "it is good for another while");
        }
    }
    let served: Vec<_> = endpoints.iter().map(Endpoint::requests).collect();
    assert_eq!(served, [12, 12, 12], "newcomers take turns");
    let passed_on = endpoints[0].last();
    let cookies = passed_on.header("Cookie").unwrap();
    assert!(cookies.starts_with("theme=dark; ") && cookies.ends_with("; x=y"), "{cookies}");
}

fn a_cookie_whose_endpoint_is_gone_is_renewed(workers: usize) {
    let mut endpoints = named(["a", "b"]);
    let mut proxy = Proxy::start(&one_cluster(workers, ROUTE, &list(&endpoints), ""));
    let first = ask(&proxy, None);
    let cookie = cookie_of(&first);
    let home = usize::from(first.text() == "b");
    let other = ["b", "a"][home];

    endpoints[home].stop();
    let moved = ask(&proxy, Some(&cookie));
    assert_eq!(moved.text(), other);
    let renewed = cookie_of(&moved);
    assert_ne!(renewed, cookie);
    endpoints[home].start();
    assert_eq!(ask(&proxy, Some(&renewed)).text(), other, "it stays where it was moved to");
    assert_eq!(ask(&proxy, Some(&cookie)).text(), first.text(), "the old one is still good");

    // Taken out of the configuration, it is gone for good.
    let remaining = format!("[\"{}\"]", endpoints[1 - home].at());
    proxy.reload(&one_cluster(workers, ROUTE, &remaining, ""));
    let moved = ask(&proxy, Some(&cookie));
    assert_eq!(moved.text(), other);
    assert_ne!(cookie_of(&moved), cookie);
}

fn a_cookie_that_is_not_ours_is_ignored(workers: usize) {
    let endpoints = named(["a", "b"]);
    let proxy = Proxy::start(&one_cluster(workers, ROUTE, &list(&endpoints), ""));
    let cookie = cookie_of(&ask(&proxy, None));
    let mut flipped = cookie.clone().into_bytes();
    flipped[20] = if flipped[20] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();
    for forged in ["", "a", &endpoints[0].at(), &flipped, &cookie[..39], &format!("{cookie}A"), &"A".repeat(5000)] {
        let answers = [ask(&proxy, Some(forged)), ask(&proxy, Some(forged))];
        assert_ne!(answers[0].text(), answers[1].text(), "it leads nowhere: {forged}");
        cookie_of(&answers[0]);
    }
}

fn a_cookie_of_another_cluster_leads_nowhere(workers: usize) {
    let endpoints = named(["a", "b"]);
    let sticky = "sticky = { cookie = \"affinity\", secret = \"one and the same secret for both of them\" }";
    let [a, b] = endpoints.each_ref().map(Endpoint::at);
    let proxy = Proxy::start(&config(
        workers,
        &format!(
            "[[route]]\npath = \"/one/\"\ncluster = \"one\"\n{sticky}\n[[route]]\npath = \"/two/\"\ncluster = \"two\"\n{sticky}\n\
             [cluster.one]\nendpoints = [\"{a}\"]\n\
             [cluster.two]\nendpoints = [{{ address = \"{a}\", drain = true }}, \"{b}\"]\n"
        ),
    ));
    let ask = |path: &str, cookie: &str| {
        Client::connect(proxy.web()).ask(&format!("GET {path} HTTP/1.1\nCookie: affinity={cookie}"))
    };
    let of_one = cookie_of(&ask("/one/", ""));
    assert_eq!(ask("/one/", &of_one).header("Set-Cookie"), None, "it is good where it was made");
    let elsewhere = ask("/two/", &of_one);
    assert_eq!(elsewhere.text(), "b", "there, the endpoint drains");
    cookie_of(&elsewhere);
}

fn a_cookie_leads_an_upgrade_to_its_endpoint(workers: usize) {
    let endpoints = ["a", "b", "c"].map(|name| {
        Endpoint::on_head(move |wire, head| {
            if !head.has("Upgrade") {
                return wire.write(crate::support::text(200, name));
            }
            wire.write(SWITCHED)?;
            wire.write(name)?;
            wire.read_to_end().map(drop)
        })
    });
    let proxy = Proxy::start(&one_cluster(workers, ROUTE, &list(&endpoints), ""));
    for _ in 0..6 {
        let first = ask(&proxy, None);
        let cookie = cookie_of(&first);
        let mut client = Client::connect(proxy.web());
        client.send(format!("GET /ws HTTP/1.1\r\nHost: a\r\n{WEBSOCKET}Cookie: affinity={cookie}\r\n\r\n"));
        assert_eq!(client.read_head().unwrap().unwrap().status(), 101);
        assert_eq!(client.read_exactly(1).unwrap(), first.text().as_bytes());
    }
}

fn rotating_secrets_moves_no_client(workers: usize) {
    let endpoints = named(["a", "b", "c"]);
    let with = |secret: &str| {
        let route = format!("sticky = {{ cookie = \"affinity\", secret = {secret} }}");
        one_cluster(workers, &route, &list(&endpoints), "")
    };
    let mut proxy = Proxy::start(&with("\"one\""));
    let first = ask(&proxy, None);
    let old = cookie_of(&first);
    proxy.reload(&with("[\"two\", \"one\"]"));
    let answer = ask(&proxy, Some(&old));
    assert_eq!(answer.text(), first.text());
    let new = cookie_of(&answer);
    proxy.reload(&with("\"two\""));
    for _ in 0..4 {
        let answer = ask(&proxy, Some(&new));
        assert_eq!((answer.text(), answer.header("Set-Cookie")), (first.text(), None));
    }
    wait_until("the old one to lead nowhere", || ask(&proxy, Some(&old)).text() != first.text());
    // Another process with the same secret selects the same endpoint.
    let twin = Proxy::start(&with("\"two\""));
    for _ in 0..4 {
        assert_eq!(ask(&twin, Some(&new)).text(), first.text());
    }
    assert!(!proxy.log().iter().any(|line| line.contains("two")), "secrets are not logged");
}
