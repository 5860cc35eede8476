//! What a hostile client may try: its connection ends, that is counted and logged, and nobody else notices.

use super::raw::{self, *};
use super::{Caller, proxy, run};
use crate::support::{Endpoint, Proxy, Wire, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    floods_of_frames_end_the_connection,
    requests_given_up_without_end_end_the_connection,
    a_head_without_end_ends_the_connection,
    streams_beyond_the_limit_are_refused,
);

/// An attack: sends until the connection takes no more, and tells how often it got that far.
type Attack = fn(&mut Raw, u32) -> std::io::Result<()>;

use super::Raw;

fn attacked(proxy: &Proxy, what: &str, attack: Attack, reason: &str) {
    let before = proxy.metric("lbproxy_http2_abuse_total", &[]);
    let mut raw = Raw::connect(proxy.web());
    let sent = (0..200_000u32).take_while(|n| attack(&mut raw, *n).is_ok()).count();
    assert!(sent < 200_000, "{what}: still taken");
    wait_until(what, || proxy.metric("lbproxy_http2_abuse_total", &[]) == before + 1.0);
    if !reason.is_empty() {
        proxy.wait_log(&format!("reason={reason}"));
    }
    run(async {
        assert_eq!(Caller::connect(proxy.web()).await.get("/other").await.status, 200, "{what}: others are served");
    });
}

fn floods_of_frames_end_the_connection(workers: usize) {
    let endpoint = Endpoint::named("app");
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    let attacks: [(&str, Attack); 6] = [
        ("pings", |raw, _| raw.try_send(PING, 0, 0, &[0; 8])),
        ("settings", |raw, _| raw.try_send(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])),
        ("windows", |raw, _| raw.try_send(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("priorities", |raw, n| raw.try_send(PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 1])),
        ("unknown frames", |raw, _| raw.try_send(0xfe, 0, 0, &[])),
        ("empty data", |raw, n| {
            if n == 0 {
                let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/")];
                raw.try_send(HEADERS, END_HEADERS, 1, &raw::block(&fields))?;
            }
            raw.try_send(DATA, 0, 1, &[])
        }),
    ];
    for (what, attack) in attacks {
        attacked(&proxy, what, attack, "");
    }
    proxy.wait_log("closing an abusive HTTP/2 connection");
}

fn requests_given_up_without_end_end_the_connection(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| match head.target() {
        "/other" => wire.write(text(200, "other")),
        _ => wire.read_to_end().map(drop),
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    let attack: Attack = |raw, n| {
        let stream = 2 * n + 1;
        raw.try_send(HEADERS, END_STREAM | END_HEADERS, stream, &raw::block(&raw::get_fields("/victim")))?;
        raw.try_send(RST_STREAM, 0, stream, &[0, 0, 0, 8])
    };
    attacked(&proxy, "rapid reset", attack, "");
    wait_until("the endpoint's connections to close", || endpoint.open() == 0);
}

fn a_head_without_end_ends_the_connection(workers: usize) {
    let endpoint = Endpoint::named("app");
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    attacked(
        &proxy,
        "continuations",
        |raw, n| {
            if n == 0 {
                raw.try_send(HEADERS, END_STREAM, 1, &raw::block(&raw::get_fields("/")))?;
            }
            raw.try_send(CONTINUATION, 0, 1, &raw::block(&[("x-more", "value")]))
        },
        "",
    );
}

fn streams_beyond_the_limit_are_refused(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| match head.target() {
        "/other" => wire.write(text(200, "other")),
        _ => wire.read_to_end().map(drop),
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    let mut raw = Raw::connect(proxy.web());
    let settings = raw.until(SETTINGS);
    let most = settings.payload.chunks(6).find(|entry| entry[..2] == [0, 3]).map(|entry| entry[5]);
    assert_eq!(most, Some(128));
    for n in 0..129 {
        raw.get(2 * n + 1, "/held");
    }
    let refused = raw.until(RST_STREAM);
    assert_eq!((refused.stream, refused.reason()), (257, 7), "REFUSED_STREAM, and only the one too many");
    wait_until("the others", || endpoint.requests() == 128);
}
