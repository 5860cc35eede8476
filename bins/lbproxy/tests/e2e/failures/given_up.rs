//! Requests that are given up leave a connection to the next one, or no trace: no port in TIME_WAIT, which would be gone
//! for a minute.

use crate::failures::forwarding;
use crate::support::{
    Authority, Client, Endpoint, Gate, Message, Proxy, Wire, config, get, left_waiting, text, wait_until,
};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    a_connection_that_was_being_made_serves_the_next_request,
    requests_given_up_leave_no_port_behind,
    answers_given_up_leave_no_port_behind,
    a_request_that_changes_something_arrives_though_its_client_has_left,
    more_connections_than_are_kept_leave_no_port_behind,
);

/// Sends this, waits for that, and is gone.
fn leaves(proxy: &Proxy, request: &str, until: impl FnMut() -> bool) {
    let mut client = Client::connect(proxy.web());
    client.send(request);
    wait_until("the time to leave", until);
    client.reset_on_close();
}

fn a_connection_that_was_being_made_serves_the_next_request(workers: usize) {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
    let gate = Gate::default();
    let endpoint = {
        let gate = gate.clone();
        let own = authority.issue(&["127.0.0.1"]);
        Endpoint::secured_script(authority.server(&own, false), move |wire: &mut Wire, seen| {
            // The handshake begins with the first read.
            gate.wait();
            while let Some(head) = wire.read_head()? {
                seen.note(Message { head, ..Message::default() });
                wire.write(text(200, "ok"))?;
            }
            Ok(())
        })
    };
    let ca = directory.path().join("ca.pem");
    let rest = format!(
        "limits.endpoint_connections = 1\n[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\"]\n\
         tls.ca = \"{}\"\n",
        endpoint.at(),
        ca.display()
    );
    let proxy = Proxy::start(&config(workers, &rest));
    leaves(&proxy, "GET /left HTTP/1.1\r\nHost: a\r\n\r\n", || endpoint.connections() == 1);
    assert_eq!(proxy.access_of("/left")["status"], 499);
    gate.open();
    if workers == 1 {
        // It is made in its own time; until then there may be no other, and a request is refused.
        wait_until("the next request to find it", || get(proxy.web(), "/next").text() == "ok");
        assert_eq!(endpoint.connections(), 1);
    }
    assert!(endpoint.messages().iter().all(|message| message.head.target() == "/next"));
}

fn requests_given_up_leave_no_port_behind(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| wire.read_to_end().map(drop));
    let proxy = forwarding(workers, &endpoint.at(), "");
    let before = left_waiting(endpoint.address);
    for (n, request) in
        ["GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\nContent-Length: 2\r\n", "POST / HTTP/1.1\r\nContent-Length: 9\r\n"]
            .iter()
            .cycle()
            .take(12)
            .enumerate()
    {
        let body = if request.starts_with("POST") { "ab" } else { "" };
        leaves(&proxy, &format!("{request}Host: a\r\n\r\n{body}"), || endpoint.requests() == n + 1);
        wait_until("its connection to be closed", || endpoint.open() == 0);
    }
    let left = left_waiting(endpoint.address);
    assert!(left <= before, "{left} ports in TIME_WAIT, {before} before");
}

fn answers_given_up_leave_no_port_behind(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| {
        wire.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nfirst")?;
        wire.read_to_end().map(drop)
    });
    let proxy = forwarding(workers, &endpoint.at(), "");
    let before = left_waiting(endpoint.address);
    for _ in 0..5 {
        let mut client = Client::connect(proxy.web());
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.read_through(b"first").unwrap();
        client.reset_on_close();
        drop(client);
        wait_until("its connection to be closed", || endpoint.open() == 0);
    }
    let left = left_waiting(endpoint.address);
    assert!(left <= before, "{left} ports in TIME_WAIT, {before} before");
}

fn a_request_that_changes_something_arrives_though_its_client_has_left(workers: usize) {
    let (begun, gate) = (Gate::default(), Gate::default());
    let endpoint = {
        let (begun, gate) = (begun.clone(), gate.clone());
        Endpoint::scripted(move |wire: &mut Wire, seen| {
            begun.open();
            gate.wait();
            let head = wire.read_head()?.unwrap_or_default();
            let body = wire.read_request_body(&head)?;
            seen.note(Message { head, body });
            Ok(())
        })
    };
    let proxy = forwarding(workers, &endpoint.at(), "");
    let size = 50_000;
    let mut client = Client::connect(proxy.web());
    client.send(format!("POST /order HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"));
    client.send(vec![b'x'; size]);
    begun.wait();
    // The proxy cannot signal more than this: the endpoint reads nothing yet.
    wait_until("the request to be under way", || proxy.endpoint("app", &endpoint.at())["in_flight"] == 1);
    assert!(client.is_silent_for(std::time::Duration::from_millis(50)));
    client.reset_on_close();
    drop(client);
    assert_eq!(proxy.access_of("/order")["status"], 499);
    gate.open();
    wait_until("the request to arrive", || endpoint.requests() == 1);
    assert_eq!((endpoint.last().body.data.len(), endpoint.last().body.is_whole), (size, true));
}

fn more_connections_than_are_kept_leave_no_port_behind(workers: usize) {
    let gate = Gate::default();
    let endpoint = {
        let gate = gate.clone();
        Endpoint::answering(move |_| {
            gate.wait();
            text(200, "ok")
        })
    };
    let rest = format!(
        "[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\"]\nkeep_alive = {{ idle = 1 }}\n",
        endpoint.at()
    );
    let proxy = Proxy::start(&config(workers, &rest));
    let before = left_waiting(endpoint.address);
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(proxy.web())).collect();
    clients.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    wait_until("all to be there", || endpoint.connections() == 20);
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.answer("GET").text(), "ok"));
    wait_until("the surplus to be closed", || endpoint.open() <= workers);
    let left = left_waiting(endpoint.address);
    assert!(left <= before, "{left} ports in TIME_WAIT, {before} before");
}
