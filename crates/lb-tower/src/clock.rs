//! Which clocks the layers read.
//!
//! What the layers share (a cluster's latencies, a table of limits, a retry budget) remembers instants, and instants of
//! two clocks must not be mixed. Were each layer to make a clock of its own, a limit that survives a reload would
//! see the time start over. So the default is one clock for the process.

use std::sync::LazyLock;

use lb_core::{Clock, Mono, SystemClock};
use tokio::time::Instant;

/// The clock of every layer that is not given another: the system's, with one origin for the whole process.
///
/// Whatever is shared with the layers should be told the time by it, such as
/// [`Cluster::apply`](lb_policy::Cluster::apply).
#[must_use]
pub fn system_clock() -> SystemClock {
    static CLOCK: LazyLock<SystemClock> = LazyLock::new(SystemClock::new);
    *CLOCK
}

/// Tells the time of tokio's timers: the operating system's monotonic clock, except in a test that pauses it.
///
/// Give it to the layers where such tests should see limits of time pass. Its origin is the moment it was made; copies
/// share it. It needs no runtime.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    origin: Instant,
}

impl TokioClock {
    /// A clock whose origin is now.
    #[must_use]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Mono {
        Mono::ZERO.saturating_add(Instant::now().saturating_duration_since(self.origin))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_default_clock_has_one_origin() {
        let (first, second) = (system_clock(), system_clock());
        let instant = std::time::Instant::now();
        assert_eq!(first.at(instant), second.at(instant));
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_of_tokio_follows_a_paused_test() {
        let clock = TokioClock::new();
        let before = clock.now();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(clock.now().saturating_since(before), Duration::from_secs(3));
    }
}
