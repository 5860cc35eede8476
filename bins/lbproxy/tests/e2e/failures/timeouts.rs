//! Each timeout by its name: a 504 before the head, a visible abort after it.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{forwarding, is_logged};
use crate::support::{Client, Endpoint, Gate, Wire, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    an_endpoint_that_does_not_take_the_connection_is_a_504,
    an_endpoint_that_does_not_answer_is_a_504,
    an_endpoint_that_stops_in_the_middle_is_cut_off,
    what_moves_slowly_is_left_alone,
    the_total_time_is_kept_whatever_moves,
    an_upload_that_stops_is_a_408,
    an_upload_that_the_endpoint_does_not_take_is_a_504,
);

/// Tells how long something took.
fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    (act(), start.elapsed())
}

/// Reads until the other side closes.
fn hang(wire: &mut Wire) -> std::io::Result<()> {
    wire.read_to_end().map(drop)
}

fn an_endpoint_that_does_not_take_the_connection_is_a_504(workers: usize) {
    // A queue of one that is full: the kernel drops what comes next.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(50)) {
        queued.push(stream);
    }
    let proxy = forwarding(workers, &address.to_string(), "timeout = { connect = \"200ms\" }\nretry = \"off\"");
    let (answer, took) = timed(|| Client::connect(proxy.web()).get("/full"));
    assert_eq!(answer.status(), 504, "{answer:?}");
    assert!(took >= Duration::from_millis(190), "{took:?}");
    is_logged(&proxy, "/full", 504, "connect_timeout");
}

fn an_endpoint_that_does_not_answer_is_a_504(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        if head.target() == "/half-a-head" {
            wire.write("HTTP/1.1 200 OK\r\nX-A: b\r\n")?;
        }
        hang(wire)
    });
    let proxy = forwarding(workers, &endpoint.at(), "timeout = { response = \"200ms\" }");
    for path in ["/silent", "/half-a-head"] {
        let (answer, took) = timed(|| Client::connect(proxy.web()).get(path));
        assert_eq!(answer.status(), 504, "{path}: {answer:?}");
        assert!(took >= Duration::from_millis(190), "{path}: {took:?}");
        is_logged(&proxy, path, 504, "response_timeout");
    }
    wait_until("the endpoint's connections to be closed", || endpoint.open() == 0);
    assert_eq!(proxy.endpoint("app", &endpoint.at())["failures"], 2);
}

fn an_endpoint_that_stops_in_the_middle_is_cut_off(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| {
        wire.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")?;
        hang(wire)
    });
    let proxy = forwarding(workers, &endpoint.at(), "timeout = { idle = \"200ms\" }");
    let (answer, took) = timed(|| Client::connect(proxy.web()).get("/stops"));
    assert_eq!((answer.status(), answer.body.is_whole, answer.text().as_str()), (200, false, "half"));
    assert!(took >= Duration::from_millis(190), "{took:?}");
    is_logged(&proxy, "/stops", 200, "idle_timeout");
    wait_until("the endpoint's connections to be closed", || endpoint.open() == 0);
}

fn what_moves_slowly_is_left_alone(workers: usize) {
    const PAUSE: Duration = Duration::from_millis(250);
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| match head.target() {
        // Answers at once, then takes the rest of a slow upload.
        "/early" => {
            wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n")?;
            wire.read_exactly(10)?;
            wire.write("4\r\ndone\r\n0\r\n\r\n")
        }
        "/upload" => {
            wire.read_exactly(10)?;
            wire.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\ndone")
        }
        _ => {
            wire.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\n")?;
            for _ in 0..10 {
                std::thread::sleep(PAUSE);
                wire.write("a")?;
            }
            Ok(())
        }
    });
    // Ten pauses are longer than any of these.
    let timeouts = "timeout = { idle = \"2s\", response = \"2s\" }";
    let proxy = forwarding(workers, &endpoint.at(), timeouts);
    let answer = Client::connect(proxy.web()).get("/download");
    assert!(answer.body.is_whole, "a slow download: {answer:?}");
    for path in ["/upload", "/early"] {
        let mut client = Client::connect(proxy.web());
        client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"));
        for _ in 0..10 {
            std::thread::sleep(PAUSE);
            client.send("a");
        }
        let answer = client.answer("POST");
        assert!(answer.body.is_whole && answer.text().ends_with("done"), "a slow upload, {path}: {answer:?}");
    }
}

fn the_total_time_is_kept_whatever_moves(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        let kind = match head.target() {
            "/silent" => return hang(wire),
            "/events" => "text/event-stream",
            _ => "text/plain",
        };
        wire.write(format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"))?;
        for _ in 0..15 {
            std::thread::sleep(Duration::from_millis(200));
            wire.write_chunk("tick")?;
        }
        wire.write_chunk("")
    });
    let proxy = forwarding(workers, &endpoint.at(), "timeout = { total = \"2s\" }");
    let (answer, took) = timed(|| Client::connect(proxy.web()).get("/silent"));
    assert_eq!(answer.status(), 504);
    assert!(took >= Duration::from_millis(1_990), "{took:?}");
    is_logged(&proxy, "/silent", 504, "total_timeout");
    let answer = Client::connect(proxy.web()).get("/ticking");
    assert_eq!((answer.status(), answer.body.is_whole), (200, false), "{answer:?}");
    assert!(answer.text().starts_with("tick"));
    is_logged(&proxy, "/ticking", 200, "total_timeout");
    let answer = Client::connect(proxy.web()).get("/events");
    assert!(answer.body.is_whole, "it ends at the head for event streams: {answer:?}");
    wait_until("the endpoint's connections to be closed", || endpoint.open() == 0);
}

fn an_upload_that_stops_is_a_408(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| hang(wire));
    let proxy = forwarding(workers, &endpoint.at(), "timeout = { idle = \"200ms\" }");
    let mut client = Client::connect(proxy.web());
    client.send("POST /stalled HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
    let answer = client.answer("POST");
    assert_eq!(answer.status(), 408, "{answer:?}");
    assert!(answer.head.says_close());
    let line = is_logged(&proxy, "/stalled", 408, "upload_timeout");
    assert_eq!(line["bytes_in"], 4);
    assert_eq!(proxy.endpoint("app", &endpoint.at())["failures"], 0, "it is not the endpoint that failed");
    wait_until("the endpoint's connections to be closed", || endpoint.open() == 0);
}

fn an_upload_that_the_endpoint_does_not_take_is_a_504(workers: usize) {
    let gate = Gate::default();
    let endpoint = {
        let gate = gate.clone();
        Endpoint::on_head(move |_: &mut Wire, _| {
            gate.wait();
            Ok(())
        })
    };
    let proxy = forwarding(workers, &endpoint.at(), "timeout = { idle = \"300ms\" }\nbody_limit = \"none\"");
    let mut client = Client::connect(proxy.web());
    client.send("PUT /untaken HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
    let mut sender = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        use std::io::Write;
        // Ends when the proxy has had enough.
        while sender.write_all(&[0; 64 * 1024]).is_ok() {}
    });
    let answer = client.answer("PUT");
    assert_eq!((answer.status(), answer.head.says_close()), (504, true), "{answer:?}");
    is_logged(&proxy, "/untaken", 504, "idle_timeout");
    drop(proxy);
    gate.open();
    sending.join().unwrap();
}
