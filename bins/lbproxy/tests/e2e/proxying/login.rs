//! Logins that an endpoint ties to a connection: NTLM, and Negotiate where it carries that.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Response;

use crate::http2::endpoint::{Asked, H2Endpoint, answer};
use crate::http2::{Caller, proxy, run};
use crate::support::{Client, Endpoint, Head, Message, Proxy, Seen, Wire, get, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    a_login_of_one_client_is_no_other_clients,
    a_login_goes_on_among_several_endpoints_and_with_nothing_kept,
    a_challenge_alone_makes_a_connection_one_clients,
    a_bound_connection_ends_with_its_client,
    a_bound_connection_that_the_endpoint_closed_is_replaced,
    bound_connections_that_rest_give_way_to_requests,
    clients_of_http2_share_no_login,
    endpoints_of_http2_get_credentials_on_a_connection_of_their_own,
    a_login_works_behind_a_proxy_header,
);

/// What a server that authenticates connections says to a request on a connection in this state.
fn login(user: &mut Option<String>, challenged: &mut bool, credentials: Option<&str>) -> (u16, String) {
    match credentials.and_then(|value| value.split_once(' ')) {
        Some((_, "type1")) => *challenged = true,
        // The third message answers a challenge of this connection, and no other.
        Some((_, answer)) if *challenged => *user = answer.strip_prefix("type3-").map(str::to_owned),
        Some(_) => return (401, "NTLM".to_owned()),
        None => {}
    }
    match (user, challenged, credentials) {
        (Some(user), ..) => (200, format!("hello {user}")),
        (None, true, Some(_)) => (401, "NTLM type2".to_owned()),
        _ => (401, "Negotiate, NTLM".to_owned()),
    }
}

fn serve(wire: &mut Wire, seen: &Arc<Seen>) -> io::Result<()> {
    let (mut user, mut challenged) = (None, false);
    while let Some(head) = wire.read_head()? {
        let body = wire.read_request_body(&head)?;
        let (status, says) = login(&mut user, &mut challenged, head.header("authorization"));
        seen.note(Message { head, body });
        wire.write(match status {
            200 => text(200, &says),
            _ => text(401, "log in").replacen("\r\n", &format!("\r\nWWW-Authenticate: {says}\r\n"), 1),
        })?;
    }
    Ok(())
}

fn windows() -> Endpoint {
    Endpoint::scripted(serve)
}

fn with(client: &mut Client, credentials: &str) -> Message {
    client.ask(&format!("GET / HTTP/1.1\nAuthorization: {credentials}"))
}

/// The three requests of a login.
#[track_caller]
fn logged_in(proxy: &Proxy, user: &str) -> Client {
    let mut client = Client::connect(proxy.web());
    assert_eq!(client.get("/").head.header("www-authenticate"), Some("Negotiate, NTLM"));
    assert_eq!(with(&mut client, "NTLM type1").head.header("www-authenticate"), Some("NTLM type2"));
    assert_eq!(with(&mut client, &format!("NTLM type3-{user}")).text(), format!("hello {user}"));
    client
}

fn a_login_of_one_client_is_no_other_clients(workers: usize) {
    let endpoint = windows();
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    let mut alice = logged_in(&proxy, "alice");
    for _ in 0..8 {
        assert_eq!(get(proxy.web(), "/").status(), 401, "of another client");
    }
    // What an idle pool would hand out at once.
    let mut bob = logged_in(&proxy, "bob");
    for _ in 0..3 {
        assert_eq!(alice.get("/").text(), "hello alice");
        assert_eq!(bob.get("/").text(), "hello bob");
    }
    drop((alice, bob));
    for _ in 0..8 {
        assert_eq!(get(proxy.web(), "/").status(), 401, "after those have left");
    }
}

fn a_login_goes_on_among_several_endpoints_and_with_nothing_kept(workers: usize) {
    let endpoints = [windows(), windows(), windows()];
    let all = endpoints.iter().map(Endpoint::at).collect::<Vec<_>>().join("\", \"");
    for kept in ["", "keep_alive = { idle = 0 }", "keep_alive = { requests = 1 }", "policy = \"random\""] {
        let proxy = proxy(workers, &all, "", "", kept);
        let mut clients = ["alice", "bob", "carol", "dave"].map(|user| (user, logged_in(&proxy, user)));
        for _ in 0..4 {
            for (user, client) in &mut clients {
                assert_eq!(client.get("/").text(), format!("hello {user}"), "{kept}");
            }
        }
        // A body is no obstacle.
        let (user, client) = &mut clients[0];
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(client.answer("POST").text(), format!("hello {user}"));
    }
}

fn a_challenge_alone_makes_a_connection_one_clients(workers: usize) {
    let connections = AtomicUsize::new(0);
    let endpoint = Endpoint::scripted(move |wire, _| {
        let number = connections.fetch_add(1, Ordering::SeqCst).to_string();
        while let Some(head) = wire.read_head()? {
            let refusal =
                text(401, &number).replacen("\r\n", "\r\nWWW-Authenticate: Basic realm=\"a, b\", negotiate\r\n", 1);
            wire.write(if head.target() == "/" { refusal } else { text(200, &number) })?;
        }
        Ok(())
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    let mut client = Client::connect(proxy.web());
    assert_eq!(client.get("/").text(), "0");
    assert_ne!(get(proxy.web(), "/other").text(), "0");
    assert_eq!(client.get("/open").text(), "0", "it is still the first client's");
}

fn a_bound_connection_ends_with_its_client(workers: usize) {
    let endpoint = windows();
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    let client = logged_in(&proxy, "alice");
    assert_eq!(endpoint.open(), 1);
    drop(client);
    wait_until("its connection to be closed", || endpoint.open() == 0);
}

fn a_bound_connection_that_the_endpoint_closed_is_replaced(workers: usize) {
    let mut endpoint = windows();
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    let mut client = logged_in(&proxy, "alice");
    endpoint.stop();
    endpoint.start();
    wait_until("the old connection to be closed", || endpoint.open() == 0);
    let answer = client.get("/");
    assert_eq!((answer.status(), answer.head.header("www-authenticate")), (401, Some("Negotiate, NTLM")));
}

fn bound_connections_that_rest_give_way_to_requests(workers: usize) {
    let endpoint = windows();
    let proxy = proxy(workers, &endpoint.at(), "limits.endpoint_connections = 4", "", "");
    let mut resting: Vec<_> = (0..12).map(|_| Client::connect(proxy.web())).collect();
    for (number, client) in resting.iter_mut().enumerate() {
        assert_eq!(with(client, "NTLM x").status(), 401, "client {number}");
    }
    for _ in 0..4 {
        let answer = get(proxy.web(), "/");
        assert_eq!(answer.status(), 401, "{answer:?}");
    }
    // That one lost its connection is no obstacle to a login.
    let mut alice = logged_in(&proxy, "alice");
    assert_eq!(alice.get("/").text(), "hello alice");
    assert!(resting.iter_mut().all(|client| client.get("/").status() == 401));
    assert_eq!(proxy.metric("lbproxy_endpoint_connections_refused_total", &[]), 0.0);
    assert!(proxy.metric("lbproxy_endpoint_connections", &[]) <= 4.0);
}

/// A connection of HTTP/2 may come from another proxy, and be many users'.
fn clients_of_http2_share_no_login(workers: usize) {
    let endpoint = windows();
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        for credentials in ["", "NTLM type1", "NTLM type3-alice", "Negotiate type1", ""] {
            let mut request = caller.request("GET", "/");
            if !credentials.is_empty() {
                request = request.header("authorization", credentials);
            }
            let answer = caller.ask(request.body(()).unwrap()).await;
            assert_eq!(answer.status, 401, "{credentials}");
        }
    });
    assert_eq!(endpoint.connections(), 5, "each is used once");
    assert_eq!(get(proxy.web(), "/").status(), 401);
}

/// A server of this kind behind HTTP/2; each answer names the connection.
fn endpoints_of_http2_get_credentials_on_a_connection_of_their_own(workers: usize) {
    let user = Arc::new(std::sync::Mutex::new(std::collections::HashMap::new()));
    let endpoint = H2Endpoint::serving(h2::server::Builder::new(), move |mut asked: Asked| {
        let user = Arc::clone(&user);
        async move {
            let said = asked.request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
            let known = {
                let mut users = user.lock().unwrap();
                said.into_iter().for_each(|said| drop(users.insert(asked.connection, said)));
                users.get(&asked.connection).cloned()
            };
            let status = if known.is_some() { 200 } else { 401 };
            let response = Response::builder().status(status).header("www-authenticate", "Negotiate");
            answer(&mut asked.respond, response.body(()).unwrap(), Bytes::from(known.unwrap_or_default()), None).await;
        }
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", "protocol = \"h2\"");
    let mut alice = Client::connect(proxy.web());
    let mut bob = Client::connect(proxy.web());
    for _ in 0..3 {
        assert_eq!(alice.get("/").status(), 401);
        assert_eq!(with(&mut alice, "Negotiate alice").text(), "Negotiate alice");
        assert_eq!(bob.get("/").status(), 401);
        assert_eq!(with(&mut bob, "Negotiate bob").text(), "Negotiate bob");
    }
    wait_until("those to be closed", || endpoint.open() <= workers);
}

fn a_login_works_behind_a_proxy_header(workers: usize) {
    let endpoint = Endpoint::scripted(|wire, seen| {
        assert!(Head::parse(&wire.read_through(b"\r\n")?).first.starts_with("PROXY TCP4 127.0.0.1 "));
        serve(wire, seen)
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", "proxy_protocol = \"v1\"");
    let mut alice = logged_in(&proxy, "alice");
    assert_eq!(get(proxy.web(), "/").status(), 401);
    assert_eq!(alice.get("/").text(), "hello alice");
}
