//! What a hostile client may try: its connection ends, that is counted and logged, and other clients are unaffected.

use std::time::Duration;

use super::raw::{self, *};
use super::{Caller, Raw, proxy, run};
use crate::support::{Endpoint, Gate, Message, Proxy, Wire, config, last_text, left_waiting, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    floods_of_frames_end_the_connection,
    a_flood_ends_with_a_goaway_reason,
    requests_given_up_without_end_end_the_connection,
    requests_that_make_us_give_up_end_the_connection,
    requests_given_up_are_counted_over_all_connections_of_a_client,
    a_client_that_gets_answers_may_give_up_as_many,
    requests_given_up_behind_a_trusted_proxy_are_counted_for_each_connection,
    a_small_block_that_means_much_is_refused,
    a_head_without_end_ends_the_connection,
    streams_beyond_the_limit_are_refused,
    heads_beyond_what_a_connection_may_hold_are_refused,
    streams_that_are_not_read_stop_no_other,
);

/// An attack: sends until the connection takes no more, and tells how often it got that far.
type Attack = fn(&mut Raw, u32) -> std::io::Result<()>;

/// The status with which a request on this stream is answered, as a static table's index says it.
fn answered(raw: &mut Raw, stream: u32) -> Option<u8> {
    raw.get(stream, "/other");
    let head = std::iter::from_fn(|| raw.frame()).find(|frame| frame.kind == HEADERS && frame.stream == stream)?;
    head.payload.first().copied()
}

/// `:status: 200`.
const OK: Option<u8> = Some(0x88);

fn attacked(proxy: &Proxy, what: &str, attack: Attack, reason: &str) {
    let before = proxy.metric("lbproxy_http2_abuse_total", &[]);
    let mut bystander = Raw::connect(proxy.web());
    assert_eq!(answered(&mut bystander, 1), OK);
    let mut raw = Raw::connect(proxy.web());
    let sent = (0..200_000u32).take_while(|n| attack(&mut raw, *n).is_ok()).count();
    assert!(sent < 200_000, "{what}: still taken");
    wait_until(what, || proxy.metric("lbproxy_http2_abuse_total", &[]) == before + 1.0);
    proxy.wait_log(&format!("closing an abusive HTTP/2 connection client=127.0.0.1 reason={reason}"));
    assert_eq!(answered(&mut bystander, 3), OK, "{what}: another connection goes on");
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
        attacked(&proxy, what, attack, "frame_flood");
    }
}

fn a_flood_ends_with_a_goaway_reason(workers: usize) {
    let endpoint = Endpoint::named("app");
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    let mut raw = Raw::connect(proxy.web());
    raw.until(SETTINGS);
    // What is free at once, but for what the beginning of the connection took and earned: allowed.
    for _ in 0..900 {
        raw.send(PING, 0, 0, &[0; 8]);
    }
    assert_eq!(answered(&mut raw, 1), OK);
    let pings: Vec<u8> = (0..1200).flat_map(|_| raw::frame(PING, 0, 0, &[0; 8])).collect();
    raw.wire.write(pings).unwrap();
    let frames = raw.rest();
    let goaway = frames.iter().find(|frame| frame.kind == GO_AWAY);
    assert_eq!(goaway.map(Frame::reason), Some(11), "ENHANCE_YOUR_CALM");
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
    wait_until("the endpoint's connections to close", || endpoint.open() <= 2 * workers);
}

/// Begins ten requests from this stream on, and gives them up once they are on their way.
fn ten_given_up(raw: &mut Raw, first: u32, under_way: impl Fn()) -> std::io::Result<()> {
    let streams = || (first..).step_by(2).take(10);
    let fields = raw::block(&raw::get_fields("/victim"));
    for stream in streams() {
        raw.try_send(HEADERS, END_STREAM | END_HEADERS, stream, &fields)?;
    }
    under_way();
    for stream in streams() {
        raw.try_send(RST_STREAM, 0, stream, &[0, 0, 0, 8])?;
    }
    Ok(())
}

fn requests_given_up_are_counted_over_all_connections_of_a_client(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| wire.read_to_end().map(drop));
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    let before = left_waiting(endpoint.address);
    // Each stays below what is allowed at once, 500; together they do not.
    let mut sent = 0;
    for _ in 0..10 {
        let mut raw = Raw::connect(proxy.web());
        for n in 0..45 {
            // Four milliseconds: time to begin some of it, and not to be answered.
            if ten_given_up(&mut raw, 20 * n + 1, || std::thread::sleep(Duration::from_millis(4))).is_err() {
                break;
            }
            sent += 10;
        }
    }
    assert!(proxy.metric("lbproxy_http2_abuse_total", &[]) >= 5.0, "of ten connections");
    // 500, 50 a second, and ten on each further connection.
    assert!(endpoint.connections() < sent.min(1_500), "{} of {sent}", endpoint.connections());
    wait_until("the endpoint's connections to close", || endpoint.open() == 0);
    let left = left_waiting(endpoint.address);
    assert!(left <= before, "{left} ports in TIME_WAIT, {before} before");
    proxy.wait_log("closing an abusive HTTP/2 connection client=127.0.0.1 reason=");
}

/// The address is the proxy's: what one client gives up must not take the streams of all others.
fn requests_given_up_behind_a_trusted_proxy_are_counted_for_each_connection(workers: usize) {
    let endpoint = Endpoint::scripted(|wire: &mut Wire, seen| {
        while let Some(head) = wire.read_head()? {
            if head.target() == "/victim" {
                seen.note(Message { head, ..Message::default() });
                return wire.read_to_end().map(drop);
            }
            wire.write(text(200, "ok"))?;
        }
        Ok(())
    });
    let rest = format!("[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\"]\n", endpoint.at());
    let proxy = Proxy::start(&format!("{}trusted_proxies = [\"127.0.0.0/8\"]\n", config(workers, &rest)));
    // Each stays below 500; together they are far beyond.
    let mut begun = 0;
    for _ in 0..3 {
        let mut raw = Raw::connect(proxy.web());
        for n in 0..40 {
            begun += 10;
            let under_way = || wait_until("all to be under way", || endpoint.requests() == begun);
            ten_given_up(&mut raw, 20 * n + 1, under_way).unwrap();
        }
        assert_eq!(answered(&mut raw, 801), OK);
    }
    assert_eq!(proxy.metric("lbproxy_http2_abuse_total", &[]), 0.0);
    // More on one connection is too much there as well.
    let mut raw = Raw::connect(proxy.web());
    let pause = || std::thread::sleep(Duration::from_millis(4));
    assert!((0..1_000).any(|n| ten_given_up(&mut raw, 20 * n + 1, pause).is_err()));
    wait_until("it to be counted", || proxy.metric("lbproxy_http2_abuse_total", &[]) > 0.0);
}

fn a_client_that_gets_answers_may_give_up_as_many(workers: usize) {
    let endpoint = Endpoint::scripted(|wire: &mut Wire, seen| {
        while let Some(head) = wire.read_head()? {
            if head.target() == "/victim" {
                seen.note(Message { head, ..Message::default() });
                return wire.read_to_end().map(drop);
            }
            wire.write(text(200, "ok"))?;
        }
        Ok(())
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    let mut raw = Raw::connect(proxy.web());
    let mut stream = 1;
    for n in 1..=80 {
        for _ in 0..10 {
            assert_eq!(answered(&mut raw, stream), OK);
            stream += 2;
        }
        let under_way = || wait_until("all to be under way", || endpoint.requests() == 10 * n);
        ten_given_up(&mut raw, stream, under_way).unwrap();
        stream += 20;
    }
    assert_eq!(answered(&mut raw, stream), OK);
    assert_eq!(proxy.metric("lbproxy_http2_abuse_total", &[]), 0.0);
}

fn requests_that_make_us_give_up_end_the_connection(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| match head.target() {
        "/other" => wire.write(text(200, "other")),
        _ => wire.read_to_end().map(drop),
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    // As CVE-2025-8671 has it: the client resets nothing, but breaks the rules so that we do.
    let by_window: Attack = |raw, n| {
        let stream = 2 * n + 1;
        raw.try_send(HEADERS, END_HEADERS, stream, &raw::block(&raw::get_fields("/victim")))?;
        raw.try_send(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff])
    };
    attacked(&proxy, "windows that overflow", by_window, "protocol_flood");
}

fn a_small_block_that_means_much_is_refused(workers: usize) {
    let endpoint = Endpoint::named("app");
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    let mut raw = Raw::connect(proxy.web());
    raw.until(SETTINGS);
    let before = proxy.resident_bytes();
    // One header of 3900 octets goes into the table, and 12 000 references to it into one frame: 47 MB in all.
    let value = vec![b'x'; 3_900];
    let mut block = raw::block(&raw::get_fields("/"));
    block.extend_from_slice(&[0x40, 3, b'x', b'-', b'a', 127]);
    let mut rest = value.len() - 127;
    while rest >= 128 {
        block.push((rest % 128 + 128) as u8);
        rest /= 128;
    }
    block.push(rest as u8);
    block.extend_from_slice(&value);
    block.extend_from_slice(&[0xbe; 12_000]);
    // The connection may end before all of them are sent.
    let is_sent = |n: &u32| raw.try_send(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, &block).is_ok();
    assert_ne!((0..20).take_while(is_sent).count(), 0);
    let statuses: Vec<_> = std::iter::from_fn(|| raw.frame()).filter(|frame| frame.kind == HEADERS).take(20).collect();
    assert!(statuses.iter().all(|frame| frame.payload.first() != Some(&0x88)), "{statuses:?}");
    let most = proxy.resident_bytes();
    assert!(most < before + (16 << 20), "from {before} to {most} bytes");
    assert_eq!(endpoint.requests(), 0);
    assert_eq!(answered(&mut Raw::connect(proxy.web()), 1), OK);
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

fn heads_beyond_what_a_connection_may_hold_are_refused(workers: usize) {
    let gate = Gate::default();
    let held = gate.clone();
    let endpoint = Endpoint::on_head(move |wire: &mut Wire, head| {
        if head.target() == "/held" {
            held.wait();
        }
        wire.write(last_text(200, "other"))
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    let mut raw = Raw::connect(proxy.web());
    raw.until(SETTINGS);
    // Seven fields of 3900 octets, sent once and then repeated by index: 27 380 octets each and an index of some hundred,
    // of which 1 MiB holds 37.
    for n in 0..100 {
        let mut fields = raw::block(&raw::get_fields("/held"));
        if n == 0 {
            fields.push(0x40);
            fields.extend_from_slice(&raw::block(&[("x-a", &"x".repeat(3_900))])[1..]);
        }
        fields.resize(fields.len() + 7 - usize::from(n == 0), 0x80 | 62);
        raw.send(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, &fields);
    }
    let refused: Vec<_> = (0..63).map(|_| raw.until(RST_STREAM)).collect();
    assert!(refused.iter().all(|frame| frame.reason() == 7 && frame.stream > 74), "REFUSED_STREAM: {refused:?}");
    wait_until("those that were not refused", || endpoint.requests() == 37);
    proxy.wait_log("refusing streams of an HTTP/2 connection");
    gate.open();
    let answers: Vec<_> = (0..37).map(|_| raw.until(HEADERS)).collect();
    assert!(answers.iter().all(|frame| frame.payload.first().copied() == OK && frame.stream < 74), "{answers:?}");
    assert_eq!(answered(&mut raw, 201), OK, "there is room again");
}

fn streams_that_are_not_read_stop_no_other(workers: usize) {
    const LENGTH: usize = 200_000;
    let endpoint = Endpoint::answering(|_| text(200, &"x".repeat(LENGTH)));
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    // SETTINGS_INITIAL_WINDOW_SIZE: no octet of a body unless it is asked for.
    let mut raw = Raw::with_settings(proxy.web(), &[(4, 0)]);
    raw.send(WINDOW_UPDATE, 0, 0, &10_000_000_u32.to_be_bytes());
    for n in 0..120 {
        raw.get(2 * n + 1, "/");
    }
    // All that the connection may hold is held now.
    (0..120).for_each(|_| drop(raw.until(HEADERS)));
    for stream in [239, 1] {
        raw.send(WINDOW_UPDATE, 0, stream, &(LENGTH as u32).to_be_bytes());
        let mut read = 0;
        while read < LENGTH {
            let piece = raw.until(DATA);
            assert_eq!(piece.stream, stream, "no other stream was opened");
            read += piece.payload.len();
        }
        assert_eq!(read, LENGTH);
    }
}
