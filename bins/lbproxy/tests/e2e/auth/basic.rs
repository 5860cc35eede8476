//! A name and a password.

use std::path::Path;

use tempfile::TempDir;

use crate::http2::{Caller, run};
use crate::support::{Client, Endpoint, Message, Proxy, WEBSOCKET, config, failed_start, get};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    only_who_knows_the_password_gets_in,
    http2_and_grpc_are_asked_as_well,
    no_way_of_asking_is_a_way_around,
    a_reload_reads_the_users_again_and_keeps_the_last_good,
    a_client_that_guesses_is_refused_and_others_are_not,
    what_the_route_says_by_itself_is_behind_the_password_too,
);

/// `ann` with `secret` by bcrypt, `bob` with `open sesame` by apr1.
const USERS: &str = "ann:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n\
                     bob:$apr1$r31.....$F82NbYp0z5OJAIBItkz3D1\n";
/// `ann:secret`
const ANN: &str = "Basic YW5uOnNlY3JldA==";
/// `bob:open sesame`
const BOB: &str = "Basic Ym9iOm9wZW4gc2VzYW1l";
/// `ann:wrong`
const WRONG: &str = "Basic YW5uOndyb25n";
/// `eve:secret`
const UNKNOWN: &str = "Basic ZXZlOnNlY3JldA==";

fn users(text: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("users"), text).unwrap();
    directory
}

fn at(directory: &Path) -> String {
    directory.join("users").display().to_string()
}

/// A route for `/admin/` behind a password, and one for the rest without.
fn guarded(workers: usize, users: &Path, endpoint: &Endpoint, more: &str) -> String {
    config(
        workers,
        &format!(
            "[[route]]\npath = \"/admin/\"\ncluster = \"app\"\n\
             auth = {{ basic = {{ users = \"{}\", realm = \"the back room\"{more} }} }}\n\
             headers.request.set.x-user = \"{{user}}\"\n\
             [[route]]\ncluster = \"app\"\n\
             [cluster.app]\nendpoints = [\"{}\"]\n",
            at(users),
            endpoint.at()
        ),
    )
}

fn ask(client: &mut Client, path: &str, authorization: &str) -> Message {
    client.ask(&format!("GET {path} HTTP/1.1\nAuthorization: {authorization}"))
}

fn only_who_knows_the_password_gets_in(workers: usize) {
    let (directory, endpoint) = (users(USERS), Endpoint::named("app"));
    let proxy = Proxy::start(&guarded(workers, directory.path(), &endpoint, ""));
    let mut client = Client::connect(proxy.web());
    let answer = client.get("/admin/");
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.header("WWW-Authenticate"), Some("Basic realm=\"the back room\", charset=\"UTF-8\""));
    assert!(answer.text().starts_with("401 authentication is required\n"), "{}", answer.text());
    for wrong in [WRONG, UNKNOWN, "Basic", "Bearer YW5uOnNlY3JldA==", "Basic !!!"] {
        assert_eq!(ask(&mut client, "/admin/", wrong).status(), 401, "{wrong}");
    }
    assert_eq!(endpoint.requests(), 0);
    for (right, user) in [(ANN, "ann"), (BOB, "bob"), (ANN, "ann")] {
        assert_eq!(ask(&mut client, "/admin/x", right).text(), "app");
        let head = endpoint.last().head;
        assert_eq!((head.header("x-user"), head.header("authorization")), (Some(user), None));
    }
    let line = proxy.wait_access(|line| line["path"] == "/admin/x" && line["user"] == "bob");
    assert_eq!(line["status"], 200);
    let line = proxy.access_of("/admin/");
    assert_eq!((line["status"].as_u64(), &line["cause"], line.get("user")), (Some(401), &"unauthorized".into(), None));
    // The other route asks nobody, and passes on what comes.
    assert_eq!(ask(&mut client, "/open", WRONG).text(), "app");
    assert_eq!(endpoint.last().head.header("authorization"), Some(WRONG));
    assert!(!proxy.log().join("\n").contains("secret") && !proxy.ask_admin("/status").text().contains("$2y$"));
}

fn http2_and_grpc_are_asked_as_well(workers: usize) {
    let (directory, endpoint) = (users(USERS), Endpoint::named("app"));
    let proxy = Proxy::start(&guarded(workers, directory.path(), &endpoint, ", pass = true"));
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let answer = caller.get("/admin/").await;
        assert_eq!((answer.status, answer.header("www-authenticate").starts_with("Basic realm")), (401, true));
        let with =
            |path: &str, value: &str| caller.request("GET", path).header("authorization", value).body(()).unwrap();
        let (wrong, right) = (with("/admin/", WRONG), with("/admin/", BOB));
        let websocket = caller.request("POST", "/admin/s/m").header("content-type", "application/grpc");
        let call = websocket.body(()).unwrap();
        assert_eq!(caller.ask(wrong).await.status, 401);
        assert_eq!(caller.ask(right).await.text(), "app");
        // UNAUTHENTICATED
        assert_eq!(caller.send(call, &[b""], None).await.header("grpc-status"), "16");
    });
    assert_eq!(endpoint.requests(), 1);
    assert_eq!(endpoint.last().head.header("authorization"), Some(BOB), "as `pass` says");
}

fn no_way_of_asking_is_a_way_around(workers: usize) {
    let (directory, endpoint) = (users(USERS), Endpoint::named("app"));
    let proxy = Proxy::start(&guarded(workers, directory.path(), &endpoint, ""));
    for path in ["/admin/../admin/", "/x/../admin/y", "//admin/", "/%61dmin/", "/admin", "/./admin/x", "/admin/%2e/"] {
        let status = get(proxy.web(), path).status();
        assert!(matches!(status, 401 | 400), "{path}: {status}");
    }
    for method in ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND", "get"] {
        let answer = Client::connect(proxy.web()).ask(&format!("{method} /admin/ HTTP/1.1\nContent-Length: 0"));
        assert!(matches!(answer.status(), 401 | 400 | 405 | 501), "{method}: {}", answer.status());
    }
    let mut client = Client::connect(proxy.web());
    assert_eq!(client.ask(&format!("GET /admin/ HTTP/1.1\n{WEBSOCKET}")).status(), 401);
    assert_eq!(client.ask("GET http://example.test/admin/ HTTP/1.1").status(), 401);
    // Two headers say two things.
    let two = format!("GET /admin/ HTTP/1.1\nAuthorization: {ANN}\nAuthorization: {WRONG}");
    assert_eq!(client.ask(&two).status(), 401);
    // A header of the connection is none of the message, to anybody.
    let hop = format!("GET /admin/ HTTP/1.1\nConnection: Authorization\nAuthorization: {WRONG}");
    assert_eq!(client.ask(&hop).status(), 401);
    assert_eq!(endpoint.requests(), 0);
    // With the password none of the look-alikes is passed on either.
    let alike = format!("GET /admin/ HTTP/1.1\nAuthorization: {ANN}\nX_User: root\nX-User: root");
    assert_eq!(client.ask(&alike).status(), 200);
    let head = endpoint.last().head;
    assert_eq!((head.all("x-user"), head.header("x_user")), (vec!["ann"], None));
    // A body that nobody reads does not become the next request.
    client.send(
        "POST /admin/ HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(client.answer("POST").status(), 401);
    assert_eq!(client.get("/open").text(), "app");
    assert_eq!(endpoint.requests(), 2);
}

fn a_reload_reads_the_users_again_and_keeps_the_last_good(workers: usize) {
    let (directory, endpoint) = (users(USERS), Endpoint::named("app"));
    let text = guarded(workers, directory.path(), &endpoint, "");
    let mut proxy = Proxy::start(&text);
    let mut client = Client::connect(proxy.web());
    assert_eq!(ask(&mut client, "/admin/", ANN).status(), 200);
    let file = directory.path().join("users");
    std::fs::write(&file, USERS.lines().last().unwrap()).unwrap();
    proxy.reload(&text);
    assert_eq!(ask(&mut client, "/admin/", ANN).status(), 401, "what is remembered ends with the file");
    assert_eq!(ask(&mut client, "/admin/", BOB).status(), 200);
    std::fs::write(&file, "bob:hunter2\n").unwrap();
    proxy.reload(&text);
    let said = proxy.wait_log("the users that were read before stay in force");
    assert!(said.contains("line 1: the user `bob` has a password in the clear") && !said.contains("hunter2"), "{said}");
    assert_eq!(ask(&mut client, "/admin/", BOB).status(), 200);
    // What was never good is no start.
    drop(proxy);
    let exit = failed_start(&text);
    assert!(exit.code != Some(0) && exit.log.join("\n").contains("in the clear"), "{exit:?}");
}

fn a_client_that_guesses_is_refused_and_others_are_not(workers: usize) {
    let (directory, endpoint) = (users(USERS), Endpoint::named("app"));
    let trusting = guarded(workers, directory.path(), &endpoint, "") + "trusted_proxies = [\"127.0.0.1\"]\n";
    let proxy = Proxy::start(&trusting);
    let mut client = Client::connect(proxy.web());
    let mut from = |address: &str, authorization: &str| {
        client.ask(&format!("GET /admin/ HTTP/1.1\nAuthorization: {authorization}\nX-Forwarded-For: {address}"))
    };
    assert_eq!(from("192.0.2.1", ANN).status(), 200);
    let statuses: Vec<u16> = (0..21).map(|_| from("192.0.2.1", WRONG).status()).collect();
    assert!(statuses[..20].iter().all(|status| *status == 401), "{statuses:?}");
    // One comes back every six seconds.
    let limited = std::iter::repeat_with(|| from("192.0.2.1", UNKNOWN)).take(20).find(|answer| answer.status() == 429);
    let limited = limited.expect("guesses come to an end");
    assert!(limited.header("Retry-After").is_some_and(|after| (1..=6).contains(&after.parse().unwrap())));
    assert_eq!(from("192.0.2.1", ANN).status(), 200, "who was right a moment ago costs no guess");
    assert_eq!(from("192.0.2.2", BOB).status(), 200);
    assert_eq!(from("192.0.2.2", WRONG).status(), 401);
}

fn what_the_route_says_by_itself_is_behind_the_password_too(workers: usize) {
    let directory = users(USERS);
    let auth = format!("auth = {{ basic = {{ users = \"{}\" }} }}", at(directory.path()));
    let proxy = Proxy::start(&config(
        workers,
        &format!(
            "[[route]]\npath = \"/fixed\"\nrespond = {{ body = \"for {{user}}\" }}\n{auth}\n\
             [[route]]\npath = \"/moved\"\nredirect = {{ to = \"/elsewhere\" }}\n{auth}\n\
             [[route]]\npath = \"/limited\"\nrespond = {{}}\nrate_limit = {{ rate = \"1/h\" }}\n{auth}\n"
        ),
    ));
    let mut client = Client::connect(proxy.web());
    assert_eq!((client.get("/fixed").status(), client.get("/moved").status()), (401, 401));
    assert_eq!(ask(&mut client, "/fixed", ANN).text(), "for ann");
    assert_eq!(ask(&mut client, "/moved", ANN).header("Location"), Some("/elsewhere"));
    // The rate limit comes first.
    assert_eq!((client.get("/limited").status(), client.get("/limited").status()), (401, 429));
}
