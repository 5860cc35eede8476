//! Server-sent events: each arrives when it is sent, not when a buffer is full.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use crate::failures::forwarding;
use crate::support::{Client, Endpoint, Wire, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(each_event_arrives_when_it_is_sent);

fn each_event_arrives_when_it_is_sent(workers: usize) {
    let (say, hear) = mpsc::channel::<&str>();
    let hear = Arc::new(Mutex::new(hear));
    let endpoint = Endpoint::on_head(move |wire: &mut Wire, head| {
        let chunked = head.target() == "/chunked";
        let framing = if chunked { "Transfer-Encoding: chunked\r\n" } else { "" };
        wire.write(format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{framing}\r\n"))?;
        while let Ok(event) = hear.lock().unwrap().recv() {
            match (event, chunked) {
                ("", true) => return wire.write_chunk(""),
                ("", false) => return Ok(()),
                (event, true) => wire.write_chunk(event)?,
                (event, false) => wire.write(event)?,
            }
        }
        Ok(())
    });
    let proxy = forwarding(workers, &endpoint.at(), "timeout = { total = \"1s\" }");
    for path in ["/chunked", "/until-the-end"] {
        let mut client = Client::connect(proxy.web());
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.read_head().unwrap().unwrap().status(), 200, "the head does not wait for an event");
        for event in ["data: 1\n\n", "data: two\n\n", ":\n\n"] {
            say.send(event).unwrap();
            assert_eq!(client.read_chunk().unwrap().unwrap(), event.as_bytes());
        }
        assert_eq!(proxy.endpoint("app", &endpoint.at())["in_flight"], 1);
        say.send("").unwrap();
        assert_eq!(client.read_chunk().unwrap(), None);
        wait_until("the slot to be free", || proxy.endpoint("app", &endpoint.at())["in_flight"] == 0);
    }
}
