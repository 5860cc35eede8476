//! One observer for everything that a stack of layers reports.
//!
//! Each layer has events of its own type, so that what is not observed costs nothing, not even a clock read. That is four traits for one
//! log or one set of metrics; here they come together in one, whose methods all default to doing nothing.
//!
//! ```
//! # use std::convert::Infallible;
//! # use tower::service_fn;
//! use lb_policy::{Cluster, Identity, P2c};
//! use lb_tower::{Balance, Immediate, Observed, Observer, Passive, PassiveRule, Transition};
//!
//! struct Ejections;
//!
//! impl Observer for Ejections {
//!     fn on_transition(&self, endpoint: &Identity, transition: &Transition) {
//!         eprintln!("endpoint {endpoint} is {transition}");
//!     }
//! }
//!
//! # type Client = tower::util::BoxCloneSyncService<u32, u32, Infallible>;
//! # let cluster = Cluster::<Client>::new("app");
//! let observed = Observed::new(Ejections);
//! let passive = Passive::new(cluster.clone(), PassiveRule::default(), observed.clone());
//! let balance = Balance::builder(cluster.selector(P2c)).observe(Immediate::new()).events((passive, observed)).build();
//! # drop(balance);
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lb_core::{Class, End, Mono};
use lb_policy::{Endpoint, Identity};

use crate::balance::Events;
use crate::hedge::HedgeEvents;
use crate::passive::{Transition, Watch};
use crate::retry::{GiveUp, RetryEvents};

/// Observes what balancing does. Called on the request path, so it must be quick. Everything defaults to doing nothing.
#[diagnostic::on_unimplemented(note = "implement `Observer`; all its methods have defaults")]
pub trait Observer: Send + Sync + 'static {
    /// An attempt goes to this endpoint.
    fn on_pick(&self, endpoint: &Identity) {
        let _ = endpoint;
    }

    /// An attempt is over, so long after its pick. `class` is that of its response head.
    fn on_outcome(&self, endpoint: &Identity, class: Class, end: End, elapsed: Duration) {
        let _ = (endpoint, class, end, elapsed);
    }

    /// There was no endpoint for a request.
    fn on_refused(&self) {}

    /// An endpoint was ejected, readmitted, or spared.
    fn on_transition(&self, endpoint: &Identity, transition: &Transition) {
        let _ = (endpoint, transition);
    }

    /// Attempt number `attempt` starts (2 is the first retry), because the one before it was of this class.
    fn on_retry(&self, class: Class, attempt: u32) {
        let _ = (class, attempt);
    }

    /// A retry was called for and is not made.
    fn on_give_up(&self, reason: GiveUp) {
        let _ = reason;
    }

    /// A copy of a request is sent.
    fn on_hedge(&self) {}

    /// The answer of a copy was the first.
    fn on_copy_won(&self) {}
}

/// An [`Observer`] as the events of every layer: give clones of it to the [`Balance`](crate::Balance), beside its [`Passive`](crate::Passive),
/// to that as its [`Watch`], to the [`Retry`](crate::Retry) and to the [`Hedge`](crate::Hedge).
pub struct Observed<O> {
    observer: Arc<O>,
}

impl<O: Observer> Observed<O> {
    /// Reports to this observer.
    pub fn new(observer: O) -> Self {
        Self { observer: Arc::new(observer) }
    }

    /// The observer.
    #[must_use]
    pub fn get_ref(&self) -> &O {
        &self.observer
    }
}

impl<O> Clone for Observed<O> {
    fn clone(&self) -> Self {
        Self { observer: Arc::clone(&self.observer) }
    }
}

impl<O> fmt::Debug for Observed<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").finish_non_exhaustive()
    }
}

impl<O: Observer, S> Events<S> for Observed<O> {
    fn on_refused(&self, _now: Mono) {
        self.observer.on_refused();
    }

    fn on_pick(&self, endpoint: &Arc<Endpoint<S>>, _now: Mono) {
        self.observer.on_pick(endpoint.identity());
    }

    fn on_end(&self, endpoint: &Arc<Endpoint<S>>, class: Class, end: End, elapsed: Duration, _now: Mono) {
        self.observer.on_outcome(endpoint.identity(), class, end, elapsed);
    }
}

impl<O: Observer> Watch for Observed<O> {
    fn on_transition(&self, endpoint: &Identity, transition: Transition) {
        self.observer.on_transition(endpoint, &transition);
    }
}

impl<O: Observer> RetryEvents for Observed<O> {
    fn on_retry(&self, class: Class, attempt: u32) {
        self.observer.on_retry(class, attempt);
    }

    fn on_give_up(&self, reason: GiveUp) {
        self.observer.on_give_up(reason);
    }
}

impl<O: Observer> HedgeEvents for Observed<O> {
    fn on_hedge(&self) {
        self.observer.on_hedge();
    }

    fn on_copy_won(&self) {
        self.observer.on_copy_won();
    }
}

/// Writes events of `tracing`, with the target `lb_tower`: ejections as warnings, the rest for debugging.
#[cfg(feature = "tracing")]
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingObserver;

#[cfg(feature = "tracing")]
impl Observer for TracingObserver {
    fn on_outcome(&self, endpoint: &Identity, class: Class, end: End, elapsed: Duration) {
        tracing::debug!(target: "lb_tower", %endpoint, class = class.name(), ?end, ?elapsed, "attempt over");
    }

    fn on_refused(&self) {
        tracing::warn!(target: "lb_tower", "no endpoint for a request");
    }

    fn on_transition(&self, endpoint: &Identity, transition: &Transition) {
        match transition {
            Transition::Readmitted | Transition::CoolingDown { .. } | Transition::CooledDown | Transition::Cleared => {
                tracing::info!(target: "lb_tower", %endpoint, "endpoint is {transition}");
            }
            _ => tracing::warn!(target: "lb_tower", %endpoint, "endpoint is {transition}"),
        }
    }

    fn on_retry(&self, class: Class, attempt: u32) {
        tracing::debug!(target: "lb_tower", class = class.name(), attempt, "retry");
    }

    fn on_give_up(&self, reason: GiveUp) {
        tracing::debug!(target: "lb_tower", reason = reason.name(), "no retry");
    }

    fn on_hedge(&self) {
        tracing::debug!(target: "lb_tower", "copy sent");
    }
}

/// Counts with the recorder of `metrics`. Labels come from the configuration and from fixed words, never from requests.
///
/// | metric | labels |
/// |---|---|
/// | `lb_attempts_total` | `endpoint`, `class` |
/// | `lb_attempt_seconds` (histogram) | `endpoint` |
/// | `lb_refused_total` | |
/// | `lb_transitions_total` | `endpoint`, `to`: `ejected`, `spared`, `readmitted` |
/// | `lb_retries_total`, `lb_retries_denied_total` | `class`; `reason` |
/// | `lb_hedges_total`, `lb_hedges_won_total` | |
#[cfg(feature = "metrics")]
#[derive(Clone, Copy, Debug, Default)]
pub struct MetricsObserver;

#[cfg(feature = "metrics")]
impl Observer for MetricsObserver {
    fn on_outcome(&self, endpoint: &Identity, class: Class, _end: End, elapsed: Duration) {
        let name = endpoint.name.to_string();
        metrics::counter!("lb_attempts_total", "endpoint" => name.clone(), "class" => class.name()).increment(1);
        metrics::histogram!("lb_attempt_seconds", "endpoint" => name).record(elapsed.as_secs_f64());
    }

    fn on_refused(&self) {
        metrics::counter!("lb_refused_total").increment(1);
    }

    fn on_transition(&self, endpoint: &Identity, transition: &Transition) {
        let to = match transition {
            Transition::Ejected { .. } => "ejected",
            Transition::Spared { .. } => "spared",
            Transition::Readmitted => "readmitted",
            Transition::CoolingDown { .. } => "cooling_down",
            Transition::CooledDown => "cooled_down",
            Transition::Suspected { .. } => "suspected",
            Transition::Cleared => "cleared",
        };
        metrics::counter!("lb_transitions_total", "endpoint" => endpoint.name.to_string(), "to" => to).increment(1);
    }

    fn on_retry(&self, class: Class, _attempt: u32) {
        metrics::counter!("lb_retries_total", "class" => class.name()).increment(1);
    }

    fn on_give_up(&self, reason: GiveUp) {
        metrics::counter!("lb_retries_denied_total", "reason" => reason.name()).increment(1);
    }

    fn on_hedge(&self) {
        metrics::counter!("lb_hedges_total").increment(1);
    }

    fn on_copy_won(&self) {
        metrics::counter!("lb_hedges_won_total").increment(1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::FutureExt;
    use lb_policy::RoundRobin;
    use tower_layer::Layer;
    use tower_service::Service;

    use super::*;
    use crate::testing::{Answer, Ask, Mock, cluster_of};
    use crate::{Backoff, Balance, Immediate, Passive, PassiveRule, RetryLayer, RetryPolicy, Verdict};

    #[derive(Default)]
    struct Log(Mutex<Vec<String>>);

    impl Log {
        fn write(&self, line: String) {
            self.0.lock().unwrap().push(line);
        }
    }

    impl Observer for Log {
        fn on_pick(&self, endpoint: &Identity) {
            self.write(format!("pick {endpoint}"));
        }

        fn on_outcome(&self, endpoint: &Identity, class: Class, _end: End, _elapsed: Duration) {
            self.write(format!("outcome {endpoint} {}", class.name()));
        }

        fn on_refused(&self) {
            self.write("refused".into());
        }

        fn on_transition(&self, endpoint: &Identity, _transition: &Transition) {
            self.write(format!("transition {endpoint}"));
        }

        fn on_retry(&self, class: Class, attempt: u32) {
            self.write(format!("retry {attempt} {}", class.name()));
        }
    }

    #[derive(Clone, Copy)]
    struct Always;

    impl<Res, Err> RetryPolicy<Ask, Res, Err> for Always {
        fn save(&self, ask: &Ask) -> Option<Ask> {
            Some(ask.clone())
        }

        fn verdict(&self, _saved: &mut Ask, result: &Result<Res, Err>) -> Verdict {
            let class = Class::Reset;
            if result.is_err() { Verdict::Retry { free: false, class } } else { Verdict::Return }
        }
    }

    #[test]
    fn one_observer_sees_everything() {
        let mocks = Mock::several(2);
        mocks[0].answers(&[Answer::Fail(Class::Reset)]);
        let cluster = cluster_of(mocks);
        let observed = Observed::new(Log::default());
        let passive = Passive::new(cluster.clone(), PassiveRule::default(), observed.clone());
        let builder = Balance::builder(cluster.selector(RoundRobin)).observe(Immediate::new());
        let balance = builder.events((passive, observed.clone())).build();
        let mut retry = RetryLayer::new(Always).backoff(Backoff::NONE).events(observed.clone()).layer(balance);
        let mut send = || retry.call(Ask::default()).now_or_never().unwrap();
        assert!(send().is_ok());
        let take = || std::mem::take(&mut *observed.get_ref().0.lock().unwrap());
        assert_eq!(take(), ["pick a", "outcome a reset", "pick b", "outcome b 2xx", "retry 2 reset"]);
        for _ in 0..5 {
            assert!(send().is_ok());
        }
        assert!(take().contains(&"transition a".to_owned()));
        cluster.apply(lb_policy::Update::Reset(Vec::new()), Mono::ZERO);
        assert!(send().is_err());
        assert_eq!(take(), ["refused"]);
    }
}
