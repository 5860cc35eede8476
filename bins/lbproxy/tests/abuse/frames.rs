//! Attacks by frames of HTTP/2.
//!
//! Each act is one connection that sends a fixed number of frames: more than the proxy stands, and the same number to
//! the sink.

use crate::paced::{paced, sent};
use crate::raw::*;
use crate::trial::{ANSWERED_HERE, Trial};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Frames of a connection: twice what is allowed at once.
const FRAMES: u32 = 2_000;

/// The frames of a connection: the preface, settings, and what follows.
fn connection(frames: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let begin = [PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[])];
    begin.into_iter().chain(frames).flatten().collect()
}

pub(crate) fn head(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(&get_fields(path)))
}

/// Requests all at once that the proxy answers itself: what is tried is the protocol, and not what an endpoint can do.
fn streams(count: u32) -> Vec<u8> {
    connection((0..count).map(|n| head(2 * n + 1, ANSWERED_HERE)))
}

/// The reason of the GOAWAY among what came, if there is one; and whether streams were refused.
pub(crate) fn judged(mut read: &[u8]) -> String {
    let mut refused = 0;
    while let Some((head, rest)) = read.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        match (head[3], payload.last()) {
            // The library's own word may come first, without a reason.
            (GO_AWAY, _) if payload.get(4..8) != Some(&[0; 4]) => return format!("goaway {}", payload[7]),
            (RST_STREAM, Some(7)) => refused += 1,
            _ => {}
        }
        read = rest;
    }
    if refused > 0 { "refused".to_owned() } else { "closed".to_owned() }
}

/// What one connection holds: a head, windows, the queue of answers to pings. Two are open at once.
pub(crate) const CONNECTION: u64 = 2 << 20;

fn flood(name: &'static str, a_second: u32, bytes: &[u8], answer: &str) -> Trial {
    let trial = Trial::new(name, "");
    trial.run(2 * CONNECTION, &paced(a_second, |at| sent(at, bytes).map(|read| judged(&read))));
    trial.expect_answer(answer);
    trial
}

/// ENHANCE_YOUR_CALM.
const CALM: &str = "goaway 11";

pub(crate) fn is_counted(trial: &Trial) {
    trial.expect_metric("lbproxy_http2_abuse_total", &[]);
    trial.proxy.wait_log("closing an abusive HTTP/2 connection");
}

#[test]
fn pings_settings_and_windows_end_with_goaway() {
    let kinds = |n: u32| match n % 3 {
        0 => frame(PING, 0, 0, &[0; 8]),
        1 => frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]),
        _ => frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
    };
    is_counted(&flood("frame flood", 50, &connection((0..FRAMES).map(kinds)), CALM));
}

#[test]
fn rapid_reset_ends_with_goaway() {
    let pair = |n: u32| [head(2 * n + 1, "/flood"), frame(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8])].concat();
    is_counted(&flood("rapid reset", 50, &connection((0..FRAMES).map(pair)), CALM));
}

#[test]
fn continuations_without_end_end_with_goaway() {
    let first = frame(HEADERS, END_STREAM, 1, &block(&get_fields("/flood")));
    let more = (0..FRAMES).map(|_| frame(CONTINUATION, 0, 1, &block(&[("x-more", "value")])));
    is_counted(&flood("continuation flood", 50, &connection(std::iter::once(first).chain(more)), CALM));
}

/// Streams beyond the limit, 128, are refused one by one, which is what the protocol asks for; the others are served.
#[test]
fn streams_beyond_the_limit_are_refused() {
    let trial = flood("many streams", 20, &streams(200), "refused");
    trial.expect_metric("lbproxy_requests_total", &["code=\"204\"", "listener=\"web\""]);
}

/// So many are no client's that has read what the limit is.
#[test]
fn streams_far_beyond_the_limit_end_with_goaway() {
    is_counted(&flood("stream flood", 20, &streams(1_000), CALM));
}

/// Data without data costs the sender nine octets and no window.
#[test]
fn empty_data_ends_with_goaway() {
    let first = frame(
        HEADERS,
        END_HEADERS,
        1,
        &block(&[(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/flood")]),
    );
    let more = (0..FRAMES).map(|_| frame(DATA, 0, 1, &[]));
    is_counted(&flood("empty data", 50, &connection(std::iter::once(first).chain(more)), CALM));
}

/// Once put into the table, a field of 4000 octets is repeated by one octet: a head of 16 KiB would be one of 64 MB.
#[test]
fn heads_that_unfold_end_with_goaway() {
    let mut fields = block(&get_fields("/flood"));
    // A literal with indexing (RFC 7541 §6.2.1): the first entry of the dynamic table, number 62.
    fields.push(0x40);
    fields.extend_from_slice(&block(&[("x-bomb", &"b".repeat(4_000))])[1..]);
    fields.resize(16_000, 0x80 | 62);
    let bomb = frame(HEADERS, END_STREAM | END_HEADERS, 1, &fields);
    is_counted(&flood("header bomb", 50, &connection([bomb]), CALM));
}
