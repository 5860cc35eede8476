//! Uploads and answers that cross.

use super::forwarding;
use crate::support::{Client, Endpoint, Wire, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    an_early_refusal_reaches_a_client_that_is_still_sending,
    both_directions_flow_at_the_same_time,
    a_body_that_grows_too_large_ends_both_sides,
);

/// More than the kernel's buffers on the way hold.
const LARGE: usize = 48 << 20;

fn an_early_refusal_reaches_a_client_that_is_still_sending(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| {
        wire.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")?;
        wire.finish();
        // Reads on, as a careful program does, lest a reset overtakes the answer.
        wire.read_to_end().map(drop)
    });
    let proxy = forwarding(workers, &endpoint.at(), "");
    let mut client = Client::connect(proxy.web());
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"));
    client.send(vec![b'a'; LARGE / 2]);
    let answer = client.answer("POST");
    assert_eq!((answer.status(), answer.text().as_str()), (403, "no"));
    // The rest is taken and thrown away, so that no reset destroys the answer on its way; then the end.
    let _ = client.write(vec![b'a'; LARGE / 2]);
    client.finish();
    assert!(client.is_closed_silently());
}

fn both_directions_flow_at_the_same_time(workers: usize) {
    let piece = vec![b'x'; 64 * 1024];
    let endpoint = Endpoint::on_head(move |wire: &mut Wire, _| {
        // Sends it all while the client does not read, and takes the upload meanwhile.
        let mut other = Wire::new(wire.stream.try_clone()?);
        let piece = piece.clone();
        let sending = std::thread::spawn(move || {
            other.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"))?;
            (0..LARGE / piece.len()).try_for_each(|_| other.write(&piece))
        });
        wire.skip(LARGE as u64)?;
        sending.join().expect("no panic")
    });
    let proxy = forwarding(workers, &endpoint.at(), "timeout = { idle = \"3s\" }");
    let mut client = Client::connect(proxy.web());
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"));
    client.send(vec![b'a'; LARGE]);
    let answer = client.answer("POST");
    assert_eq!((answer.status(), answer.body.is_whole, answer.body.data.len()), (200, true, LARGE));
}

fn a_body_that_grows_too_large_ends_both_sides(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        if head.target() == "/answered" {
            wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
        }
        wire.read_to_end().map(drop)
    });
    let proxy = forwarding(workers, &endpoint.at(), "body_limit = \"100KiB\"");
    let mut client = Client::connect(proxy.web());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let _ = client.write_chunk(vec![b'a'; 200 * 1024]);
    let answer = client.answer("POST");
    assert_eq!(answer.status(), 413, "{answer:?}");
    wait_until("the endpoint's connection to be closed", || endpoint.open() == 0);
    // After the head all that can be done is to break off.
    let mut client = Client::connect(proxy.web());
    client.send("POST /answered HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.read_through(b"first\r\n").unwrap();
    let _ = client.write_chunk(vec![b'a'; 200 * 1024]);
    assert!(client.is_closed_silently());
    wait_until("the endpoint's connections to be closed", || endpoint.open() == 0);
}
