//! Clients that disconnect: the endpoint's connection ends at once, so it can stop working on the request.

use std::time::Duration;

use super::{forwarding, is_logged};
use crate::support::{Client, Endpoint, Gate, Proxy, Wire, last_text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    a_client_that_leaves_before_the_answer_is_a_499,
    a_client_that_leaves_mid_response_closes_the_endpoints_connection,
    a_client_that_leaves_mid_upload_closes_the_endpoints_connection,
    a_client_that_truncates_its_upload_gets_no_complete_response,
    a_client_that_says_no_more_still_gets_its_answer,
    a_client_that_says_no_more_after_a_slow_upload_still_gets_its_answer,
    a_client_that_disconnects_while_waiting_is_noticed,
    a_client_that_does_not_read_is_given_up,
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
    // A reset is no half-closed connection: no client waits behind it.
    client.reset_on_close();
    drop(client);
    wait_until("the endpoint's connection to be closed", || endpoint.open() == 0);
    is_logged(&proxy, "/gone", 499, "client_closed");
    is_idle(&proxy, &endpoint);
}

fn a_client_that_truncates_its_upload_gets_no_complete_response(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| {
        wire.write("HTTP/1.1 200 OK\r\n\r\nfirst")?;
        hang(wire)
    });
    let proxy = forwarding(workers, &endpoint.at(), "");
    let mut client = Client::connect(proxy.web());
    // In HTTP/1.0 the end of the connection would be the end of the response.
    client.send("POST /short HTTP/1.0\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
    client.read_through(b"first").unwrap();
    client.finish();
    assert!(client.read_to_end().is_err(), "what was cut does not look whole");
    wait_until("the endpoint's connection to be closed", || endpoint.open() == 0);
    is_logged(&proxy, "/short", 200, "client_closed");
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

fn a_client_that_says_no_more_after_a_slow_upload_still_gets_its_answer(workers: usize) {
    let gate = Gate::default();
    let endpoint = {
        let gate = gate.clone();
        Endpoint::on_head(move |wire: &mut Wire, head| {
            let body = wire.read_request_body(&head)?;
            gate.wait();
            wire.write(last_text(200, &format!("{} bytes", body.data.len())))
        })
    };
    let proxy = forwarding(workers, &endpoint.at(), "");
    let mut client = Client::connect(proxy.web());
    client.send("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n");
    for _ in 0..12 {
        std::thread::sleep(Duration::from_millis(100));
        client.send("x");
    }
    client.finish();
    // Not answered before the proxy has had the time to see the end.
    assert!(client.is_silent_for(Duration::from_millis(100)));
    gate.open();
    assert_eq!(client.answer("POST").text(), "12 bytes");
}

fn a_client_that_disconnects_while_waiting_is_noticed(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| hang(wire));
    let proxy = forwarding(workers, &endpoint.at(), "");
    let mut client = Client::connect(proxy.web());
    client.send("GET /given-up HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the request to arrive", || endpoint.requests() == 1);
    // An ordinary close, later than any client would take to half-close.
    assert!(client.is_silent_for(Duration::from_millis(1_100)));
    drop(client);
    wait_until("the endpoint's connection to be closed", || endpoint.open() == 0);
    is_logged(&proxy, "/given-up", 499, "client_closed");
    is_idle(&proxy, &endpoint);
}

fn a_client_that_does_not_read_is_given_up(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| {
        wire.write("HTTP/1.1 200 OK\r\n\r\n")?;
        while wire.write([0; 64 * 1024]).is_ok() {}
        Ok(())
    });
    let proxy = forwarding(workers, &endpoint.at(), "timeout = { idle = \"300ms\" }");
    let mut client = Client::connect(proxy.web());
    // To a client of HTTP/1.0 an orderly end of the connection is the end of the response.
    client.send("GET /unread HTTP/1.0\r\nHost: a\r\n\r\n");
    wait_until("the request to arrive", || endpoint.requests() == 1);
    wait_until("the endpoint's connection to be closed", || endpoint.open() == 0);
    is_logged(&proxy, "/unread", 200, "idle_timeout");
    is_idle(&proxy, &endpoint);
    assert!(client.read_to_end().is_err(), "what was cut does not look whole");
}
