//! Clients that leave: the endpoint is told at once, by its connection, so that it works for nobody no longer.

use super::{forwarding, is_logged};
use crate::support::{Client, Endpoint, Gate, Proxy, Wire, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    a_client_that_leaves_before_the_answer_is_a_499,
    a_client_that_leaves_mid_response_closes_the_endpoints_connection,
    a_client_that_leaves_mid_upload_closes_the_endpoints_connection,
    a_client_that_says_no_more_still_gets_its_answer,
);

/// Reads until the other side closes.
fn hang(wire: &mut Wire) -> std::io::Result<()> {
    wire.read_to_end().map(drop)
}

fn a_client_that_leaves_before_the_answer_is_a_499(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| hang(wire));
    let proxy = forwarding(workers, &endpoint.at(), "");
    let mut client = Client::connect(proxy.web());
    client.send("GET /gone HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the request to arrive", || endpoint.requests() == 1);
    // A reset is no half-closed connection: nobody waits behind it.
    client.reset_on_close();
    drop(client);
    wait_until("the endpoint's connection to be closed", || endpoint.open() == 0);
    is_logged(&proxy, "/gone", 499, "client_closed");
    is_idle(&proxy, &endpoint);
}

/// The slot is free again, and nothing of it was the endpoint's failure.
fn is_idle(proxy: &Proxy, endpoint: &Endpoint) {
    wait_until("the slot to be free", || proxy.endpoint("app", &endpoint.at())["in_flight"] == 0);
    assert_eq!(proxy.endpoint("app", &endpoint.at())["failures"], 0);
}

fn a_client_that_leaves_mid_response_closes_the_endpoints_connection(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
        if head.target() == "/silent" {
            return hang(wire);
        }
        while wire.write_chunk([0; 64 * 1024]).is_ok() {}
        Ok(())
    });
    let proxy = forwarding(workers, &endpoint.at(), "");
    for path in ["/silent", "/flood"] {
        let mut client = Client::connect(proxy.web());
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.read_through(b"first").unwrap();
        client.reset_on_close();
        drop(client);
        wait_until("the endpoint's connection to be closed", || endpoint.open() == 0);
        let line = is_logged(&proxy, path, 200, "client_closed");
        assert!(line["bytes_out"].as_u64().unwrap() >= 5, "{line}");
    }
    is_idle(&proxy, &endpoint);
}

fn a_client_that_leaves_mid_upload_closes_the_endpoints_connection(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        wire.read_exactly(4)?;
        if head.target() == "/answered" {
            wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
        }
        hang(wire)
    });
    let proxy = forwarding(workers, &endpoint.at(), "");
    for (path, status) in [("/unanswered", 499), ("/answered", 200)] {
        let before = endpoint.requests();
        let mut client = Client::connect(proxy.web());
        client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf"));
        wait_until("the request to arrive", || endpoint.requests() > before);
        if path == "/answered" {
            client.read_through(b"first").unwrap();
        }
        drop(client);
        wait_until("the endpoint's connection to be closed", || endpoint.open() == 0);
        is_logged(&proxy, path, status, "client_closed");
    }
    is_idle(&proxy, &endpoint);
}

fn a_client_that_says_no_more_still_gets_its_answer(workers: usize) {
    let gate = Gate::default();
    let endpoint = {
        let gate = gate.clone();
        Endpoint::on_head(move |wire: &mut Wire, _| {
            gate.wait();
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        })
    };
    let proxy = forwarding(workers, &endpoint.at(), "");
    let mut client = Client::connect(proxy.web());
    client.send("GET /half-closed HTTP/1.1\r\nHost: a\r\n\r\n");
    client.finish();
    wait_until("the request to arrive", || endpoint.requests() == 1);
    gate.open();
    assert_eq!(client.answer("GET").text(), "ok");
    assert!(client.is_closed_silently());
}
