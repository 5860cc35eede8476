//! Requests that are given up: each costs the client one small frame.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::frames::{CONNECTION, PREFACE, head, is_counted, judged};
use crate::raw::*;
use crate::trial::{Target, Trial, UNANSWERED};

/// Requests of a connection, fewer than one is allowed at once; so many are given up together.
const REQUESTS: u32 = 450;
const TOGETHER: u32 = 10;
/// How long they are under way: not long enough for an answer.
const UNDER_WAY: Duration = Duration::from_millis(4);
/// What the connections of one address may give up at once, and a second.
const AT_ONCE: f64 = 501.0;
const A_SECOND: f64 = 50.0;

/// One connection; how it ended. It stops at the first word that it is to stop.
fn connection(at: SocketAddr, frame_of: impl Fn(u32) -> Vec<u8>) -> io::Result<String> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_nodelay(true)?;
    // No port of ours is left in TIME_WAIT.
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    let mut read = Vec::new();
    stream.write_all(&[PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[])].concat())?;
    for first in (0..REQUESTS).step_by(TOGETHER as usize) {
        let streams = || (first..first + TOGETHER).map(|n| 2 * n + 1);
        let heads: Vec<u8> = streams().flat_map(|stream| head(stream, UNANSWERED)).collect();
        let ends: Vec<u8> = streams().flat_map(&frame_of).collect();
        if stream.write_all(&heads).is_err() {
            break;
        }
        std::thread::sleep(UNDER_WAY);
        if stream.write_all(&ends).is_err() || is_over(&mut stream, &mut read)? {
            break;
        }
    }
    Ok(judged(&read))
}

/// Reads what there is; whether that is all there will be.
fn is_over(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<bool> {
    let mut piece = [0; 4096];
    stream.set_nonblocking(true)?;
    let is_over = loop {
        match stream.read(&mut piece) {
            Ok(0) => break true,
            Ok(n) => read.extend_from_slice(&piece[..n]),
            Err(error) => break error.kind() != ErrorKind::WouldBlock,
        }
    };
    stream.set_nonblocking(false)?;
    Ok(is_over)
}

/// One client, one connection at a time, each of which stays below what one connection is allowed.
fn attacked(name: &'static str, frame_of: impl Fn(u32) -> Vec<u8> + Sync) {
    let trial = Trial::new(name, "");
    let (before, were_left) = trial.endpoint_connections();
    let start = Instant::now();
    trial.run(2 * CONNECTION, &|target: &Target<'_>| {
        target.begin();
        while !target.is_over() {
            let end = connection(target.at, &frame_of);
            target.answers.note(end.unwrap_or_else(|error| crate::answers::failed(&error)));
        }
    });
    is_counted(&trial);
    let (after, left) = trial.endpoint_connections();
    let made = after - before;
    // On each further connection one request is let in, and given up.
    let allowed =
        AT_ONCE + A_SECOND * start.elapsed().as_secs_f64() + trial.proxy.metric("lbproxy_http2_abuse_total", &[]);
    assert!((made as f64) < 2.0 * allowed, "{made} connections to the endpoint, {allowed} allowed");
    // What the other client's idle connections leave behind, one every few seconds, is no concern here.
    assert!(left <= were_left + 16, "{left} ports in TIME_WAIT, {made} connections");
    trial.report(&format!("{made} connections to the endpoint, {left} ports left"));
}

#[test]
fn requests_given_up_over_many_connections_cost_no_ports() {
    attacked("requests given up", |stream| frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
}

/// The client resets nothing, but breaks the rules so that we do.
#[test]
fn streams_that_we_must_reset_cost_no_ports() {
    attacked("windows that overflow", |stream| {
        [[0x7f, 0xff, 0xff, 0xff]; 2].map(|by| frame(WINDOW_UPDATE, 0, stream, &by)).concat()
    });
}
