//! Listeners that come and go.

use std::io::ErrorKind;
use std::net::TcpStream;

use crate::support::{Client, Endpoint, Gate, Load, Proxy, config, get, text, until_refused, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    a_listener_that_goes_finishes_what_it_has,
    a_listener_removed_under_load_answers_every_accepted_connection,
    listeners_on_port_zero_are_distinct,
    a_unix_socket_serves_like_any_other,
);

fn a_listener_that_goes_finishes_what_it_has(workers: usize) {
    let gate = Gate::default();
    let endpoint = {
        let gate = gate.clone();
        Endpoint::answering(move |request| {
            if request.head.target() == "/slow" {
                gate.wait();
            }
            text(200, "ok")
        })
    };
    let with = |more: &str| {
        let at = endpoint.at();
        config(workers, &format!("[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{at}\"]\n{more}"))
    };
    let mut proxy = Proxy::start(&with("[[listener]]\nname = \"extra\"\naddress = \"127.0.0.2:0\"\n"));
    let extra = proxy.listener("extra");
    let load = Load::start(proxy.web(), 4);
    let mut idle = Client::connect(extra);
    assert_eq!(idle.get("/").status(), 200);
    let mut busy = Client::connect(extra);
    busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the request to arrive", || endpoint.messages().iter().any(|message| message.head.target() == "/slow"));

    proxy.reload(&with(""));
    proxy.wait_log("no longer listening on ");
    assert!(idle.is_closed_silently(), "an idle connection is closed");
    wait_until(
        "the port to be closed",
        || matches!(TcpStream::connect(extra), Err(error) if error.kind() == ErrorKind::ConnectionRefused),
    );
    gate.open();
    let answer = busy.answer("GET");
    assert_eq!((answer.status(), answer.head.says_close()), (200, true), "{answer:?}");
    assert!(busy.is_closed_silently());
    load.wait_for_more(20);
    load.stop().expect_no_failure();
}

fn a_listener_removed_under_load_answers_every_accepted_connection(workers: usize) {
    let with = |more: &str| config(workers, &format!("[[route]]\nrespond = {{ body = \"ok\" }}\n{more}"));
    let extra = "[[listener]]\nname = \"extra\"\naddress = \"127.0.0.2:0\"\n";
    let mut proxy = Proxy::start(&with(""));
    for _ in 0..3 {
        proxy.reload(&with(extra));
        let clients = until_refused(proxy.listener("extra"), 8);
        let before = proxy.metric("lbproxy_requests_total", &["extra"]);
        wait_until("the load to run", || proxy.metric("lbproxy_requests_total", &["extra"]) > before + 100.0);
        proxy.reload(&with(""));
        for client in clients {
            client.join().unwrap().expect("no request fails");
        }
    }
}

fn listeners_on_port_zero_are_distinct(workers: usize) {
    let rest = "[[route]]\nlisteners = [\"web\"]\nrespond = { body = \"web\" }\n\
                [[route]]\nlisteners = [\"other\"]\nrespond = { body = \"other\" }\n\
                [[listener]]\nname = \"other\"\naddress = \"127.0.0.2:0\"\n";
    let mut proxy = Proxy::start(&config(workers, rest));
    let addresses = [proxy.listener("web"), proxy.listener("other")];
    for _ in 0..2 {
        assert_eq!(addresses.map(|address| get(address, "/").text()), ["web", "other"]);
        proxy.reload(&config(workers, rest));
        assert_eq!([proxy.listener("web"), proxy.listener("other")], addresses, "a reload keeps what it was given");
    }
    // By its address a reload knows a listener again, so two may not have one.
    let twice = proxy.reload_refused(&config(workers, &rest.replace("127.0.0.2", "127.0.0.1")));
    assert!(twice.contains("cannot be distinguished"), "{twice}");
}

fn a_unix_socket_serves_like_any_other(workers: usize) {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("web.sock");
    let endpoint = Endpoint::named("ok");
    let rest = format!(
        "[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\"]\n\
         [[listener]]\nname = \"local\"\naddress = \"unix:{}\"\n",
        endpoint.at(),
        path.display()
    );
    let proxy = Proxy::start(&config(workers, &rest));
    for _ in 0..8 {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
    }
    assert_eq!(endpoint.last().header("X-Forwarded-For"), Some("127.0.0.1"));
    assert_eq!(proxy.access_of("/")["client"], "unix");
    assert_eq!(proxy.terminate().code, Some(0));
    assert!(!path.exists(), "the socket file is removed");
}
