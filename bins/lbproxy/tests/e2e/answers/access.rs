//! Who is served: `allow` and `deny` of routes and listeners, by the client's address.

use crate::http2::{Caller, run};
use crate::support::{Client, Proxy, config, exchange, get, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    a_route_serves_the_networks_it_allows_and_none_that_it_denies,
    no_spelling_of_a_path_gets_around_a_denial,
    a_listener_closes_connections_of_networks_that_it_does_not_serve,
    a_reload_reads_lists_again_and_keeps_the_last_good_one,
);

const ROUTES: &str = "networks.office = [\"203.0.113.0/24\"]\n\
     [[route]]\nname = \"office\"\npath = \"/office\"\nallow = [\"office\", \"2001:db8::/32\"]\n\
     deny = [\"203.0.113.66\"]\nrespond = { body = \"in\" }\n\
     [[route]]\nname = \"but\"\npath = \"/but\"\ndeny = [\"office\"]\nrate_limit = { rate = \"1/h\", key = \"{host}\" }\n\
     respond = { body = \"in\" }\n\
     [[route]]\npath = \"/\"\nrespond = { body = \"all\" }\n";

/// Behind a trusted proxy, so that whoever asks says who it is.
#[track_caller]
fn proxy(workers: usize) -> Proxy {
    Proxy::start(&format!("{}trusted_proxies = [\"loopback\"]\n", config(workers, ROUTES)))
}

fn status(proxy: &Proxy, path: &str, client: &str) -> u16 {
    Client::connect(proxy.web()).ask(&format!("GET {path} HTTP/1.1\nHost: a\nX-Forwarded-For: {client}")).status()
}

fn a_route_serves_the_networks_it_allows_and_none_that_it_denies(workers: usize) {
    let proxy = proxy(workers);
    for (path, client, expected) in [
        ("/office", "203.0.113.9", 200),
        ("/office", "::ffff:203.0.113.9", 200),
        ("/office", "2001:db8::7", 200),
        ("/office", "203.0.113.66", 403),
        ("/office", "192.0.2.1", 403),
        ("/office", "6.6.6.6, 192.0.2.1", 403),
        ("/office", "203.0.113.9, 192.0.2.1", 403),
        ("/but", "203.0.113.9", 403),
        ("/", "192.0.2.1", 200),
        // Who was denied has used up nothing of the limit.
        ("/but", "192.0.2.1", 200),
        ("/but", "192.0.2.1", 429),
    ] {
        assert_eq!(status(&proxy, path, client), expected, "{path} {client}");
    }
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        for (client, expected) in [("203.0.113.9", 200), ("192.0.2.1", 403), ("203.0.113.66", 403)] {
            let request = caller.request("GET", "/office").header("x-forwarded-for", client);
            assert_eq!(caller.ask(request.body(()).unwrap()).await.status, expected, "{client} over HTTP/2");
        }
        let call = caller.request("POST", "/office").header("content-type", "application/grpc");
        let answer = caller.ask(call.body(()).unwrap()).await;
        assert_eq!((answer.status, answer.header("grpc-status")), (200, "7"), "permission denied");
    });
    let head = Client::connect(proxy.web()).ask("HEAD /office HTTP/1.1\nHost: a\nX-Forwarded-For: 192.0.2.1");
    assert_eq!((head.status(), head.text().as_str()), (403, ""));
    let line = proxy.wait_access(|line| line["status"] == 403 && line["client"] == "203.0.113.66");
    assert_eq!((&line["cause"], &line["route"], &line["attempts"]), (&"denied".into(), &"office".into(), &0.into()));
    assert_eq!(proxy.metric("lbproxy_requests_denied_total", &["office"]), 8.0);
    assert_eq!(proxy.metric("lbproxy_requests_denied_total", &["but"]), 1.0);
}

fn no_spelling_of_a_path_gets_around_a_denial(workers: usize) {
    let proxy = proxy(workers);
    for path in
        ["/office", "/office/", "/office/x", "//office", "/./office", "/x/../office", "/%6fffice", "/x/%2e%2e/office"]
    {
        assert_eq!(status(&proxy, path, "192.0.2.1"), 403, "{path}");
    }
    // A service could take these for `/office`, and no route is certain.
    for path in ["/x/..%2foffice", "/office;x", "/;x/office", "/x/..;/office", "/x%5c..%5coffice", "/x//../office"] {
        assert!(matches!(status(&proxy, path, "192.0.2.1"), 400 | 403), "{path}");
    }
    // This is another path.
    assert_eq!(status(&proxy, "/officer", "192.0.2.1"), 200);
}

fn a_listener_closes_connections_of_networks_that_it_does_not_serve(workers: usize) {
    let rest = "[[route]]\nrespond = { body = \"in\" }\n\
         [[listener]]\nname = \"closed\"\naddress = \"127.0.0.2:0\"\ndeny = [\"loopback\"]\n\
         [[listener]]\nname = \"office\"\naddress = \"127.0.0.3:0\"\nallow = [\"203.0.113.0/24\"]\n\
         proxy_protocol = [\"loopback\"]\n\
         [[listener]]\nname = \"local\"\naddress = \"127.0.0.4:0\"\nallow = [\"127.0.0.1\"]\n";
    let proxy = Proxy::start(&config(workers, rest));
    let ask = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(exchange(proxy.listener("closed"), ask), "");
    assert!(exchange(proxy.listener("local"), ask).starts_with("HTTP/1.1 200"));
    let proxied = |client: &str| format!("PROXY TCP4 {client} 127.0.0.3 5000 80\r\n{ask}");
    assert!(exchange(proxy.listener("office"), proxied("203.0.113.9")).starts_with("HTTP/1.1 200"));
    assert_eq!(exchange(proxy.listener("office"), proxied("192.0.2.1")), "");
    for (listener, count) in [("closed", 1.0), ("office", 1.0), ("local", 0.0), ("web", 0.0)] {
        let name = format!("listener=\"{listener}\"");
        wait_until("the count", || proxy.metric("lbproxy_connections_denied_total", &[&name]) == count);
    }
    proxy.wait_log("connection denied client=127.0.0.1 listener=closed");
}

fn a_reload_reads_lists_again_and_keeps_the_last_good_one(workers: usize) {
    let directory = tempfile::tempdir().unwrap();
    let list = directory.path().join("list.txt");
    std::fs::write(&list, "# nobody yet\n").unwrap();
    let rest = format!("[[route]]\nrespond = {{ body = \"in\" }}\nallow = {{ file = \"{}\" }}\n", list.display());
    let config = config(workers, &rest);
    let mut proxy = Proxy::start(&config);
    assert_eq!(get(proxy.web(), "/").status(), 403, "an empty list allows nobody");
    std::fs::write(&list, "127.0.0.0/8\n").unwrap();
    proxy.reload(&config);
    assert_eq!(get(proxy.web(), "/").status(), 200);
    std::fs::write(&list, "127.0.0.0/8\n127.0.0.0/88\n").unwrap();
    let refused = proxy.reload_refused(&config);
    assert!(refused.contains("line 2 of ") && refused.contains("list.txt"), "{refused}");
    std::fs::remove_file(&list).unwrap();
    let refused = proxy.reload_refused(&config);
    assert!(refused.contains("cannot read "), "{refused}");
    assert_eq!(get(proxy.web(), "/").status(), 200);
}
