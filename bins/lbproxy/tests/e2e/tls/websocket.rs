//! WebSocket over TLS: a tunnel whose ends are passed on.

use super::{Secure, to};
use crate::support::{Client, Endpoint, Wire};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(bytes_flow_both_ways_and_each_direction_ends_alone);

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const ASK: &str = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

fn bytes_flow_both_ways_and_each_direction_ends_alone(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| {
        wire.write(format!("{SWITCH}hello"))?;
        let all = wire.read_to_end()?;
        // The client's end was passed on; the other direction is still open.
        wire.write(format!("you said {} bytes", all.len()))?;
        wire.write(vec![b'z'; 1 << 20])
    });
    let secure = Secure::start(workers, &to(&endpoint.at(), ""), "");
    let mut client = Client::tls(secure.proxy.web(), "a.test", &secure.client());
    client.send(ASK);
    assert_eq!(client.read_head().unwrap().unwrap().status(), 101);
    assert_eq!(client.read_exactly(5).unwrap(), b"hello");
    client.send(vec![0; 1 << 20]);
    client.finish();
    let rest = client.read_to_end().unwrap();
    assert!(rest.starts_with(b"you said 1048576 bytes"), "{}", rest.len());
    assert_eq!(rest.len(), 22 + (1 << 20));
}
