//! Connections that come to nothing leave nothing behind.

use std::net::TcpStream;
use std::time::Duration;

use crate::support::{Client, Endpoint, Proxy, config, get, wait_until};
use crate::{app, with_one_and_four_workers};

with_one_and_four_workers!(thousands_of_quick_and_half_open_clients_leave_no_descriptors);

fn descriptors(proxy: &Proxy) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", proxy.id())).unwrap().count()
}

fn thousands_of_quick_and_half_open_clients_leave_no_descriptors(workers: usize) {
    let endpoint = Endpoint::named("done");
    // No connection to the endpoint is kept, so that what is open belongs to clients.
    let proxy = Proxy::start(&config(
        workers,
        &format!("limits.head_timeout = \"500ms\"\n{}", app(&[&endpoint.at()], "keep_alive = { idle = 0 }")),
    ));
    let web = proxy.web();
    get(web, "/");
    wait_until("the first connections to close", || {
        proxy.metric("lbproxy_connections", &[]) == 0.0 && endpoint.open() == 0
    });
    let before = descriptors(&proxy);

    let beginnings: [&[u8]; 4] = [b"", b"GET", b"GET / HTTP/1.1\r\nHost: a\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for turn in 0..2_500 {
                    let mut client = Client::connect(web);
                    // It may be broken off already.
                    let _ = client.write(beginnings[turn % 4]);
                    if turn % 50 == 0 {
                        client.finish();
                    } else {
                        // A reset leaves no port of ours in TIME_WAIT.
                        client.reset_on_close();
                    }
                }
            });
        }
    });
    // These stay on our side, silent, in the middle of a head, or with their own side closed.
    let mut half_open: Vec<_> = (0..200)
        .map(|turn| {
            let mut client = Client::connect(web);
            let _ = client.write(beginnings[turn % 3]);
            if turn % 2 == 0 {
                client.finish();
            }
            client
        })
        .collect();
    for client in &mut half_open {
        client.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        client.read_to_end().ok();
    }
    drop(half_open);
    wait_until("every descriptor to be given back", || descriptors(&proxy) <= before);
    wait_until("no connections", || proxy.metric("lbproxy_connections", &[]) == 0.0);
    assert_eq!(proxy.endpoint("app", &endpoint.at())["in_flight"], 0);
    assert_eq!(TcpStream::connect(web).map(drop).ok(), Some(()));
    assert_eq!(get(web, "/").text(), "done");
    assert_eq!(proxy.metric("lbproxy_panics_total", &[]), 0.0);
}
