//! Everything at once, and then nothing: whatever was counted up is counted down again.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Endpoint, Load, Proxy, SWITCHED, Wire, config, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(after_a_storm_nothing_is_left);

/// Long enough for hundreds of each.
const STORM: Duration = Duration::from_millis(1_500);

/// Takes whatever comes, at its own pace; upgrades where asked to; breaks off now and then.
fn moody(name: &'static str) -> Endpoint {
    Endpoint::on_head(move |wire: &mut Wire, head| {
        if head.has("Upgrade") {
            wire.write(SWITCHED)?;
            return wire.read_to_end().map(drop);
        }
        match head.target() {
            "/broken" => return wire.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
            "/early" => wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n")?,
            "/garbage" => return wire.write("garbage\r\n\r\n"),
            _ => {}
        }
        let body = wire.read_request_body(&head)?;
        if head.target() == "/early" {
            return wire.write_chunk("");
        }
        if body.is_whole { wire.write(text(200, name)) } else { Ok(()) }
    })
}

/// What a client does that never behaves: sends something, perhaps reads something, and is gone.
fn misbehave(proxy: std::net::SocketAddr, n: usize) -> std::io::Result<()> {
    const CASES: [&str; 13] = [
        "",
        "GET /half-a-head HTTP/1.1\r\nHo",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /broken HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /garbage HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf",
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nhello",
        "POST /exec HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 100\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nhalf",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    let mut wire = Wire::new(TcpStream::connect(proxy)?);
    wire.stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    wire.write(CASES[n % CASES.len()])?;
    if n % 5 < 2 {
        // As much as comes in that time.
        let _ = wire.fill();
    }
    match n % 3 {
        0 => wire.reset_on_close(),
        1 => wire.finish(),
        _ => {}
    }
    Ok(())
}

fn after_a_storm_nothing_is_left(workers: usize) {
    let mut endpoints = ["a", "b", "c"].map(moody);
    let steady = Endpoint::named("steady");
    let addresses = endpoints.each_ref().map(Endpoint::at);
    let with = |generation: usize| {
        let weights = addresses.iter().enumerate().map(|(at, address)| {
            format!("{{ address = \"{address}\", weight = {}, max_in_flight = 8 }}", 1 + (at + generation) % 3)
        });
        let policy = ["round_robin", "least_request", "p2c", "random"][generation % 4];
        config(
            workers,
            &format!(
                "[[route]]\npath = \"/load\"\ncluster = \"steady\"\n\
                 [[route]]\ncluster = \"moody\"\nretry = {{ on = [\"connect_error\", \"reset\", \"invalid_response\"] }}\n\
                 timeout = {{ idle = \"500ms\", response = \"500ms\", tunnel = \"300ms\" }}\n\
                 [cluster.steady]\nendpoints = [\"{}\"]\n\
                 [cluster.moody]\npolicy = \"{policy}\"\nendpoints = [{}]\n\
                 health.passive = {{ failures = 5, eject_for = \"100ms\" }}\n\
                 health.active = {{ tcp = true, interval = \"50ms\" }}\n",
                steady.at(),
                weights.collect::<Vec<_>>().join(", ")
            ),
        )
    };
    let extra = "[[listener]]\nname = \"extra\"\naddress = \"127.0.0.2:0\"\n";
    let mut proxy = Proxy::start(&format!("{}{extra}", with(0)));
    let web = proxy.web();
    // A reload ends a listener at every worker, which by then has opened what it needs for the others.
    proxy.reload(&with(0));
    let files = |proxy: &Proxy| std::fs::read_dir(format!("/proc/{}/fd", proxy.id())).unwrap().count();
    let files_before = files(&proxy);

    let over = Arc::new(AtomicBool::new(false));
    let load = Load::start(web, 4);
    let hooligans: Vec<_> = (0..6)
        .map(|k| {
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                let mut n = k * 5;
                while !over.load(Ordering::SeqCst) {
                    // The proxy may refuse to have more of it.
                    let _ = misbehave(web, n);
                    n += 1;
                }
                n
            })
        })
        .collect();
    let start = Instant::now();
    let mut generation = 0;
    while start.elapsed() < STORM {
        generation += 1;
        let victim = generation % 3;
        endpoints[victim].stop();
        proxy.reload(&with(generation));
        load.wait_for_more(20);
        endpoints[victim].start();
    }
    over.store(true, Ordering::SeqCst);
    let visits: usize = hooligans.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert!(visits > 12, "all of them came, in every way: {visits}");
    load.stop().expect_no_failure();

    wait_until("every connection to be closed", || proxy.metric("lbproxy_connections", &["web"]) == 0.0);
    wait_until("every slot to be free", || proxy.metric("lbproxy_in_flight", &[]) == 0.0);
    // One that comes back from an ejection proves itself by requests, of which there are none any more.
    wait_until("every endpoint to be eligible", || {
        addresses.iter().all(|address| proxy.endpoint("moody", address)["eligible"] == true)
    });
    wait_until("connections to endpoints to be closed", || endpoints.iter().all(|endpoint| endpoint.open() == 0));
    // The admin listener's last connection may still be closing.
    wait_until("every file to be closed", || files(&proxy) <= files_before + 1 + steady.open());
    assert_eq!(proxy.metric("lbproxy_panics_total", &[]), 0.0);
    let exit = proxy.terminate();
    assert_eq!(exit.code, Some(0), "{:#?}", exit.log);
}
