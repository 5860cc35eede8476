//! Endpoints behind a Unix socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

use crate::failures::forwarding;
use crate::support::Client;
use crate::with_one_and_four_workers;

with_one_and_four_workers!(an_endpoint_may_be_a_unix_socket);

fn an_endpoint_may_be_a_unix_socket(workers: usize) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let at = format!("unix:{}", path.display());
    let proxy = forwarding(workers, &at, "");
    let mut client = Client::connect(proxy.web());
    assert_eq!(client.get("/not-yet").status(), 502);
    assert_eq!(proxy.access_of("/not-yet")["cause"], "connect_refused");

    let listener = UnixListener::bind(&path).unwrap();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Both requests come over one connection.
        for _ in 0..2 {
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") {
                assert_eq!(stream.read(&mut byte).unwrap(), 1);
                request.push(byte[0]);
            }
            assert!(String::from_utf8(request).unwrap().contains("\r\nHost: example.test\r\n"));
            stream.write_all(crate::support::text(200, "local").as_bytes()).unwrap();
        }
    });
    assert_eq!(client.get("/").text(), "local");
    assert_eq!(client.get("/").text(), "local");
    serving.join().unwrap();
    assert_eq!(proxy.access_of("/")["endpoint"], at);
}
