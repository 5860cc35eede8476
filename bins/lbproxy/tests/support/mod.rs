//! What the scenarios share: the real proxy as a child process, scripted endpoints, raw clients, a load.
//!
//! Everything is on loopback and on ports that the kernel chose. Every wait is for an event (a line of a log, a
//! connection, a byte) with a deadline that only a failure reaches; nothing sleeps for a fixed time and hopes.

mod client;
mod endpoint;
mod link;
mod load;
mod message;
mod ports;
mod proxy;
mod tls;
mod wire;

use std::time::{Duration, Instant};

pub(crate) use client::{Client, exchange, get, post};
pub(crate) use endpoint::{Endpoint, Gate, Refusing, Seen, last_text, text};
pub(crate) use load::{Load, until_refused};
pub(crate) use message::{Head, Message, SWITCHED, WEBSOCKET};
pub(crate) use ports::left_waiting;
pub(crate) use proxy::{Proxy, config, failed_start};
pub(crate) use tls::{Authority, Issued};
pub(crate) use wire::Wire;

/// How long a wait may last before the scenario has failed. The machine may be busy with other things.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The pause between two looks where nothing tells that there is something to see.
const LOOK: Duration = Duration::from_millis(2);

/// Waits until `look` sees something.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(start.elapsed() < DEADLINE, "waited in vain for {what}");
        std::thread::sleep(LOOK);
    }
}

/// Waits until this is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    wait_for(what, || is_so().then_some(()));
}

/// Makes two tests of each scenario, a function of the number of workers.
#[macro_export]
macro_rules! with_one_and_four_workers {
    ($($scenario:ident),+ $(,)?) => {$(
        mod $scenario {
            #[test]
            fn one_worker() {
                super::$scenario(1);
            }

            #[test]
            fn four_workers() {
                super::$scenario(4);
            }
        }
    )+};
}
