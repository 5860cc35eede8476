//! The well-behaved client.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::Client;

/// From one request to the next: 200 a second, a tenth or less of what the proxy can do.
const EVERY: Duration = Duration::from_millis(5);

/// Asks on a kept connection for this long, at a fixed rate; how long each request took, from when it was due. A pause
/// of the proxy so counts for every request that it delays.
#[track_caller]
pub(crate) fn measured(at: SocketAddr, span: Duration) -> Vec<Duration> {
    let mut client = Client::connect(at);
    let mut due = Instant::now();
    let until = due + span;
    let mut took = Vec::new();
    while due < until {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let answer = client.get("/well-behaved");
        assert_eq!((answer.status(), answer.body.is_whole), (200, true), "{:?}", answer.head);
        took.push(due.elapsed());
        due += EVERY;
    }
    took
}

/// What 99 of 100 stay within.
pub(crate) fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[(took.len() * 99 / 100).min(took.len() - 1)]
}

/// The middle one, of two the larger; nothing where there is none.
pub(crate) fn median(mut values: Vec<Duration>) -> Duration {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
