//! HTTP over TLS is HTTP: bodies of every size, pipelining, kept connections, both ends.

use super::{Secure, to};
use crate::support::{Client, Endpoint, Wire, text};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    requests_and_bodies_pass_through,
    the_endpoint_gets_the_scheme_https,
    a_response_that_is_cut_is_not_closed_in_good_order,
    a_half_closed_client_gets_its_answer,
    plain_http_on_a_tls_port_gets_a_400,
    sticky_cookies_can_be_secure,
);

/// As many bytes as the request's path says.
fn sized() -> Endpoint {
    Endpoint::answering(|request| {
        let size = request.head.target().trim_start_matches('/').parse().unwrap_or(0);
        let seen = request.body.data.len();
        text(200, &"x".repeat(size)).replacen("\r\n", &format!("\r\nSeen: {seen}\r\n"), 1)
    })
}

fn requests_and_bodies_pass_through(workers: usize) {
    let endpoint = sized();
    let secure = Secure::start(workers, &to(&endpoint.at(), ""), "");
    let mut client = Client::tls(secure.proxy.web(), "a.test", &secure.client());
    // One record holds 16 KiB; what waits for the socket is bounded at 128 KiB.
    for size in [0, 1, 1000, 16_384, 16_385, 65_536, 131_072, 3_000_000] {
        let answer = client.get(&format!("/{size}"));
        assert_eq!((answer.status(), answer.body.data.len()), (200, size));
        client.send(format!("POST /1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: {size}\r\n\r\n"));
        client.send(vec![b'y'; size]);
        assert_eq!(client.answer("POST").header("Seen"), Some(&*size.to_string()));
    }
    let two = "GET /5 HTTP/1.1\r\nHost: a.test\r\n\r\n".repeat(2);
    client.send(two);
    assert_eq!(client.answer("GET").text(), "xxxxx");
    assert_eq!(client.answer("GET").text(), "xxxxx", "the second of two in one record");
    client.send("GET /7 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    assert_eq!(client.answer("GET").text(), "xxxxxxx");
    assert_eq!(client.read_to_end().unwrap(), b"", "closed in good order");
    secure.count_handshakes(&["\"web\"", "\"full\""], 1.0);
}

fn the_endpoint_gets_the_scheme_https(workers: usize) {
    let endpoint = Endpoint::named("a");
    let secure = Secure::start(
        workers,
        &(to(&endpoint.at(), "headers.response.set = { X-Scheme = \"{scheme}\" }")
            + "[[listener]]\nname = \"plain\"\naddress = \"127.0.0.2:0\"\nredirect = \"https\"\n"),
        "",
    );
    let web = secure.proxy.web();
    let answer = Client::tls(web, "a.test", &secure.client()).ask("GET / HTTP/1.1\nHost: a.test");
    assert_eq!(answer.header("X-Scheme"), Some("https"));
    let told = endpoint.last();
    assert_eq!(told.header("X-Forwarded-Proto"), Some("https"));
    assert_eq!(told.header("X-Forwarded-Port"), Some(&*web.port().to_string()));
    let answer = Client::connect(secure.proxy.listener("plain")).ask("GET /x?y HTTP/1.1\nHost: a.test:80");
    let location = format!("https://a.test:{}/x?y", web.port());
    assert_eq!((answer.status(), answer.header("Location")), (301, Some(&*location)));
}

fn a_response_that_is_cut_is_not_closed_in_good_order(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| {
        wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")?;
        wire.reset_on_close();
        Ok(())
    });
    let secure = Secure::start(workers, &to(&endpoint.at(), ""), "");
    // HTTP/1.0 has no chunks: only the end of the connection tells that the body is whole.
    let mut client = Client::tls(secure.proxy.web(), "a.test", &secure.client());
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert!(client.read_to_end().is_err(), "an orderly end would make a cut body look whole");
}

fn a_half_closed_client_gets_its_answer(workers: usize) {
    let endpoint = sized();
    let secure = Secure::start(workers, &to(&endpoint.at(), ""), "");
    let mut client = Client::tls(secure.proxy.web(), "a.test", &secure.client());
    client.send("GET /70000 HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.finish();
    assert_eq!(client.answer("GET").body.data.len(), 70_000);
    assert_eq!(client.read_to_end().unwrap(), b"");
}

fn plain_http_on_a_tls_port_gets_a_400(workers: usize) {
    let endpoint = sized();
    let secure = Secure::start(workers, &to(&endpoint.at(), ""), "");
    let answer = crate::support::exchange(secure.proxy.web(), "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("\r\n\r\nthis port speaks HTTPS only\n"),
        "{answer}"
    );
    assert_eq!(endpoint.requests(), 0);
    secure.count_handshakes(&["\"failed\""], 1.0);
}

fn sticky_cookies_can_be_secure(workers: usize) {
    let endpoint = Endpoint::named("a");
    let sticky = "sticky = { cookie = \"id\", secure = true, secret = \"a secret of enough bytes\" }";
    let secure = Secure::start(workers, &to(&endpoint.at(), sticky), "");
    let mut client = Client::tls(secure.proxy.web(), "a.test", &secure.client());
    let cookie = client.get("/").header("Set-Cookie").unwrap().to_owned();
    assert!(cookie.contains("; Secure"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    assert_eq!(client.ask(&format!("GET / HTTP/1.1\nCookie: {pair}")).header("Set-Cookie"), None);
}
