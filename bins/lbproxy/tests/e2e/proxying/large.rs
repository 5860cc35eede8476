//! Bodies much larger than memory should ever hold of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::failures::forwarding;
use crate::support::{Client, Endpoint, Proxy, Wire, last_text, wait_for, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(a_large_body_flows_through_flat_memory, a_slow_reader_holds_the_sender_up);

/// What a proxy that keeps nothing may grow by while it carries a body: buffers of at most 256 KiB on each side, and
/// what an allocator does with them.
const ROOM: u64 = 24 << 20;

/// Enough to show a body that is kept, several times over.
const LARGE: u64 = 128 << 20;
const PIECE: usize = 1 << 20;

/// Carries memory's largest size while something runs.
fn largest<T>(proxy: &Proxy, act: impl FnOnce(&mut dyn FnMut()) -> T) -> (T, u64) {
    let mut largest = 0;
    let result = act(&mut || largest = largest.max(proxy.resident_bytes()));
    (result, largest)
}

fn a_large_body_flows_through_flat_memory(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        if head.method() == "POST" {
            wire.skip(LARGE)?;
            return wire.write(last_text(200, "taken"));
        }
        let piece = vec![b'x'; PIECE];
        let chunked = head.target() == "/chunked";
        let framing =
            if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {LARGE}") };
        wire.write(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{framing}\r\n\r\n"))?;
        for _ in 0..LARGE / PIECE as u64 {
            if chunked {
                wire.write_chunk(&piece)?;
            } else {
                wire.write(&piece)?;
            }
        }
        if chunked { wire.write_chunk("") } else { Ok(()) }
    });
    let proxy = forwarding(workers, &endpoint.at(), "body_limit = \"none\"");
    assert_eq!(Client::connect(proxy.web()).ask("GET /length HTTP/1.1\nRange: x").status(), 200);
    let before = proxy.resident_bytes();

    let mut client = Client::connect(proxy.web());
    let ((), most) = largest(&proxy, |look| {
        client.send("GET /length HTTP/1.1\r\nHost: a\r\n\r\n");
        client.read_head().unwrap();
        for _ in 0..LARGE / PIECE as u64 {
            client.skip(PIECE as u64).unwrap();
            look();
        }
    });
    assert!(most < before + ROOM, "downloading: from {before} to {most} bytes");

    let mut client = Client::connect(proxy.web());
    let (received, most) = largest(&proxy, |look| {
        client.send("GET /chunked HTTP/1.1\r\nHost: a\r\n\r\n");
        client.read_head().unwrap();
        let mut received = 0;
        while let Some(chunk) = client.read_chunk().unwrap() {
            if received / (8 * PIECE) != (received + chunk.len()) / (8 * PIECE) {
                look();
            }
            received += chunk.len();
        }
        received
    });
    assert_eq!(received as u64, LARGE);
    assert!(most < before + ROOM, "downloading chunks: from {before} to {most} bytes");

    let mut client = Client::connect(proxy.web());
    let ((), most) = largest(&proxy, |look| {
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"));
        let piece = vec![b'x'; PIECE];
        for _ in 0..LARGE / PIECE as u64 {
            client.send(&piece);
            look();
        }
        assert_eq!(client.answer("POST").text(), "taken");
    });
    assert!(most < before + ROOM, "uploading: from {before} to {most} bytes");
}

fn a_slow_reader_holds_the_sender_up(workers: usize) {
    let sent = Arc::new(AtomicU64::new(0));
    let endpoint = {
        let sent = Arc::clone(&sent);
        Endpoint::on_head(move |wire: &mut Wire, _| {
            wire.write("HTTP/1.1 200 OK\r\n\r\n")?;
            let piece = vec![b'x'; 64 * 1024];
            while sent.load(Ordering::SeqCst) < LARGE {
                wire.write(&piece)?;
                sent.fetch_add(piece.len() as u64, Ordering::SeqCst);
            }
            Ok(())
        })
    };
    let proxy = forwarding(workers, &endpoint.at(), "");
    let before = proxy.resident_bytes();
    let mut clients: Vec<_> = (0..4).map(|_| Client::connect(proxy.web())).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.read_head().unwrap();
    }
    // Nobody reads: soon nothing moves any more.
    let mut last = (u64::MAX, std::time::Instant::now());
    let stalled_at = wait_for("the sender to be held up", || {
        let now = sent.load(Ordering::SeqCst);
        if now != last.0 {
            last = (now, std::time::Instant::now());
        }
        (last.1.elapsed().as_millis() > 300).then_some(now)
    });
    assert!(stalled_at < LARGE, "all of it was accepted without a reader");
    let now = proxy.resident_bytes();
    // The allocator keeps for each thread what was once in use there.
    let room = ROOM + workers as u64 * (8 << 20);
    assert!(now < before + room, "from {before} to {now} bytes");
    // Once one of them reads, it goes on.
    wait_until("the sender to go on", || {
        clients[0].skip(PIECE as u64).unwrap();
        sent.load(Ordering::SeqCst) > stalled_at
    });
}
