//! Listeners that come and go by reload.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::Traffic;
use crate::support::{Client, Endpoint, Proxy, config, get};
use crate::{app, with_one_and_four_workers};

with_one_and_four_workers!(
    what_connected_before_its_listener_was_removed_is_answered,
    a_fixed_address_can_be_given_up_and_taken_back_at_once,
);

/// Another loopback address, so that its port 0 is distinct.
const SECOND: &str = "[[listener]]\nname = \"second\"\naddress = \"127.0.0.2:0\"\n";

fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

fn what_connected_before_its_listener_was_removed_is_answered(workers: usize) {
    let endpoint = Endpoint::named("done");
    let one = config(workers, &app(&[&endpoint.at()], ""));
    let two = format!("{one}{SECOND}");
    let mut proxy = Proxy::start(&one);
    for _ in 0..5 {
        proxy.reload(&two);
        let second = proxy.listener("second");
        // Some wait to be accepted when the reload comes, some have just been.
        let mut clients: Vec<_> = (0..20).map(|_| Client::connect(second)).collect();
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        proxy.reload(&one);
        for client in &mut clients {
            let answer = client.answer("GET");
            assert_eq!((answer.status(), answer.text().as_str()), (200, "done"));
        }
        assert!(is_refused(second));
    }
}

fn a_fixed_address_can_be_given_up_and_taken_back_at_once(workers: usize) {
    let endpoint = Endpoint::named("done");
    // Freed again at once; no other process uses ports of this address.
    let fixed = TcpListener::bind("127.0.0.3:0").unwrap().local_addr().unwrap();
    let one = config(workers, &app(&[&endpoint.at()], ""));
    let two = format!("{one}[[listener]]\nname = \"fixed\"\naddress = \"{fixed}\"\n");
    let mut proxy = Proxy::start(&two);
    let traffic = Traffic::start(proxy.web());
    for _ in 0..10 {
        assert_eq!(get(fixed, "/").text(), "done");
        proxy.reload(&one);
        assert!(is_refused(fixed));
        proxy.reload(&two);
    }
    traffic.expect_no_failure();
}
