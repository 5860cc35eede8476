//! `Expect: 100-continue`: the endpoint decides whether the body is sent.

use crate::failures::forwarding;
use crate::support::{Client, Endpoint, Wire, last_text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(the_endpoint_decides_whether_the_body_is_sent);

const REQUEST: &str = "HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";

fn the_endpoint_decides_whether_the_body_is_sent(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        assert_eq!(head.header("Expect"), Some("100-continue"));
        match head.target() {
            "/asks" => {
                assert!(wire.buffer.is_empty(), "the body came before it was asked for");
                wire.write("HTTP/1.1 100 Continue\r\n\r\n")?;
                let body = wire.read_exactly(4)?;
                wire.write(last_text(200, &String::from_utf8_lossy(&body)))
            }
            "/refuses" => {
                wire.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")?;
                assert_eq!(wire.read_to_end()?, b"", "nobody sends what was refused");
                Ok(())
            }
            // Never says anything of it.
            _ => {
                let body = wire.read_exactly(4)?;
                wire.write(last_text(200, &String::from_utf8_lossy(&body)))
            }
        }
    });
    let proxy = forwarding(workers, &endpoint.at(), "");

    let mut client = Client::connect(proxy.web());
    client.send(format!("POST /asks {REQUEST}"));
    assert_eq!(client.read_head().unwrap().unwrap().first, "HTTP/1.1 100 Continue");
    client.send("body");
    assert_eq!(client.answer("POST").text(), "body");

    let mut client = Client::connect(proxy.web());
    client.send(format!("POST /refuses {REQUEST}"));
    let head = client.read_head().unwrap().unwrap();
    assert_eq!(head.status(), 403, "no 100 before it");
    assert_eq!(client.read_exactly(2).unwrap(), b"no");
    // Whether a body or another request comes next cannot be told, so the connection ends.
    client.finish();
    assert!(client.is_closed_silently());
    wait_until("the endpoint's connection to be closed", || endpoint.open() == 0);

    let mut client = Client::connect(proxy.web());
    client.send(format!("POST /silent {REQUEST}"));
    assert_eq!(client.read_head().unwrap().unwrap().status(), 100, "after a second, which RFC 9110 leaves to us");
    client.send("late");
    assert_eq!(client.answer("POST").text(), "late");

    // Whoever does not wait for it need not.
    let mut client = Client::connect(proxy.web());
    client.send(format!("POST /asks {REQUEST}soon"));
    assert_eq!(client.answer("POST").text(), "soon");
    assert_eq!(endpoint.requests(), 4);
}
