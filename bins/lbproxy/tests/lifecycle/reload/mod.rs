//! A configuration put in force while the proxy serves.

mod counted;
mod listeners;
mod names;
mod refused;
mod survives;
mod under_load;
mod upstream;

use crate::support::Load;

/// Clients that keep their connections and clients that open one for each request.
struct Traffic {
    kept: Load,
    fresh: Load,
}

impl Traffic {
    fn start(address: std::net::SocketAddr) -> Self {
        Self {
            kept: Load::start(address, 2),
            fresh: Load::asking(address, 2, "GET /load HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n"),
        }
    }

    /// Waits until each kind has had so many more answers.
    #[track_caller]
    fn wait_for_more(&self, requests: usize) {
        self.kept.wait_for_more(requests);
        self.fresh.wait_for_more(requests);
    }

    /// Stops, and fails where any request did. How many were answered.
    #[track_caller]
    fn expect_no_failure(self) -> usize {
        let (kept, fresh) = (self.kept.stop(), self.fresh.stop());
        kept.expect_no_failure();
        fresh.expect_no_failure();
        kept.answered + fresh.answered
    }
}
