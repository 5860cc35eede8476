//! How long an endpoint usually takes for a response head, and so how long it may be silent.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lb_core::EndpointState;
use lb_health::{Patience, Silence};

use crate::observe::cells::Histogram;
use crate::observe::metrics::EndpointMetrics;

/// What is usual for an endpoint.
#[derive(Default)]
pub(crate) struct Usual {
    /// When it answered last, and how long it may answer nothing.
    pub(crate) silence: Silence,
    learned: Mutex<Learned>,
}

/// The counters when something was learned last.
#[derive(Default)]
struct Learned {
    requests: u64,
    failures: u64,
    durations: Option<Histogram>,
}

impl Usual {
    /// Learns from the requests since it did so last, if they are enough. `floor` is the least silence that counts; `None` counts none.
    ///
    /// What an endpoint does that is out, suspected, or fails more than one request in ten is not usual. Costs three loads and an
    /// uncontended lock while there are too few requests.
    pub(crate) fn learn(&self, metrics: &EndpointMetrics, state: &EndpointState, floor: Option<Duration>) {
        let Some(floor) = floor else { return self.silence.set_limit(None) };
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        let (requests, failures) = (state.requests(), state.failures());
        let (added, failed) = (requests.saturating_sub(learned.requests), failures.saturating_sub(learned.failures));
        if added < Patience::MIN_ANSWERS {
            return;
        }
        let durations = metrics.durations();
        let since = durations.since(learned.durations.as_ref());
        *learned = Learned { requests, failures, durations: Some(durations) };
        drop(learned);
        let is_usual = state.is_eligible() && !state.is_throttled() && failed * 10 <= added;
        if !is_usual || since.count < Patience::MIN_ANSWERS {
            return;
        }
        let [median, p99] = [0.5, 0.99].map(|share| since.quantile_ms(share).unwrap_or_default());
        let [median, p99] = [median, p99].map(|millis| Duration::from_secs_f64(millis.max(0.0) / 1_000.0));
        let patience = Patience { floor, ..Patience::default() };
        self.silence.set_limit(Some(patience.limit(median, p99)));
    }
}
