//! Events: what happens to the proxy as a whole, passed on to everything that wants to know.
//!
//! An ejection is a log line, a count, perhaps an alert, perhaps a line of a history. Were each written where the ejection
//! is made, every new reader would have to find all these places. So what happens is an [`Event`], emitted once, and readers
//! are [`Subscriber`]s of one bus.
//!
//! Events are transitions and limits reached, at most a few a second each; nothing that a single request does is one. So
//! emitting may allocate, takes a lock, and is never on the request path.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use lb_core::Axis;

/// Which endpoint an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its cluster.
    pub cluster: Arc<str>,
    /// Its name.
    pub endpoint: Arc<str>,
    /// Its address, where it differs from the name.
    pub resolved: Option<String>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Active checks have found an endpoint down.
    CheckedDown {
        /// Which.
        endpoint: Subject,
        /// `status 500 from /healthz (3 of 3)`
        why: String,
        /// What else keeps it from new requests.
        others: Vec<Axis>,
    },
    /// Active checks have found an endpoint up.
    CheckedUp {
        /// Which.
        endpoint: Subject,
        /// `status 200 from /healthz (2 of 2)`
        why: String,
        /// What else keeps it from new requests.
        others: Vec<Axis>,
    },
    /// Outlier detection has ejected an endpoint.
    Ejected {
        /// Which.
        endpoint: Subject,
        /// For how long.
        eject_for: Duration,
        /// `3 failures in 30s, the last a reset`
        why: String,
        /// What else keeps it from new requests.
        others: Vec<Axis>,
    },
    /// An ejection is over.
    Readmitted {
        /// Whose.
        endpoint: Subject,
        /// What else keeps it from new requests.
        others: Vec<Axis>,
    },
    /// An endpoint would have been ejected, were there enough others.
    Spared {
        /// Which.
        endpoint: Subject,
        /// The kind of its last failure.
        last: &'static str,
    },
    /// An endpoint asked for less, and is picked last for a while.
    CoolingDown {
        /// Which.
        endpoint: Subject,
        /// For how long, as far as it is known.
        length: Duration,
        /// What it answered.
        status: u16,
        /// What else keeps it from new requests.
        others: Vec<Axis>,
    },
    /// That is over.
    CooledDown {
        /// Which.
        endpoint: Subject,
        /// What else keeps it from new requests.
        others: Vec<Axis>,
    },
    /// An endpoint answers nothing, and gets one request at a time.
    Suspected {
        /// Which.
        endpoint: Subject,
        /// How long a request has waited.
        silent_for: Duration,
        /// What else keeps it from new requests.
        others: Vec<Axis>,
    },
    /// It has answered, or is needed.
    Cleared {
        /// Which.
        endpoint: Subject,
        /// What else keeps it from new requests.
        others: Vec<Axis>,
    },
    /// What the configuration, a source of endpoints or an operator says about an endpoint has changed.
    Declared {
        /// Which.
        endpoint: Subject,
        /// What is said.
        axis: Axis,
        /// Whether it is said from now on, or no longer.
        on: bool,
        /// What else keeps it from new requests.
        others: Vec<Axis>,
    },
    /// A cluster ignores health from now on.
    PanicBegan {
        /// Which.
        cluster: Arc<str>,
        /// Endpoints that are eligible.
        eligible: usize,
        /// All its endpoints.
        all: usize,
        /// The share below which failing checks are ignored, where that is the reason; else no endpoint is eligible.
        threshold: Option<f64>,
    },
    /// A cluster goes by health again.
    PanicEnded {
        /// Which.
        cluster: Arc<str>,
        /// Endpoints that are eligible.
        eligible: usize,
        /// All its endpoints.
        all: usize,
    },
    /// A source of endpoints has another list, or has one again.
    Resolved {
        /// The cluster.
        cluster: Arc<str>,
        /// The source; a name that is looked up is called like its endpoint.
        source: Arc<str>,
        /// What it found, `10.0.0.1,10.0.0.2`.
        addresses: String,
    },
    /// A source of endpoints has begun to fail; its last list stays in force.
    ResolutionFailed {
        /// The cluster.
        cluster: Arc<str>,
        /// The source.
        source: Arc<str>,
        /// Why.
        why: String,
        /// Whether this machine could not ask, rather than the other side not answer.
        is_local: bool,
        /// What stays in force.
        kept: String,
    },
    /// An operator has given an order about an endpoint, or taken it back.
    Ordered {
        /// The cluster.
        cluster: Arc<str>,
        /// The endpoint's name.
        endpoint: Arc<str>,
        /// The axis of the order; `None` if it was taken back.
        order: Option<Axis>,
    },
    /// Connections are closed before their first request; at most once a second for each reason.
    Refused {
        /// The listener.
        listener: Arc<str>,
        /// Why.
        refusal: Refusal,
    },
    /// Files of TLS cannot be used; what was read before stays in force.
    TlsKept {
        /// What is wrong with them.
        why: String,
        /// `the certificate that was read before stays in force`
        kept: &'static str,
    },
    /// An error page cannot be used; the one that was read before stays in force.
    PageKept {
        /// What is wrong with it.
        why: String,
    },
    /// A file that the configuration names cannot be used; what was read of it before stays in force.
    FileKept {
        /// What is wrong with it.
        why: String,
        /// `the users that were read before stay in force`
        kept: &'static str,
    },
    /// The directory that files are served from is no longer there; until it is, requests get 404.
    RootGone {
        /// What is wrong with it.
        why: String,
    },
    /// Another configuration is in force.
    Reloaded {
        /// Its number.
        generation: u64,
    },
}

/// Why a connection is closed before its first request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There are as many as there may be.
    Full {
        /// How many there may be.
        max: usize,
    },
    /// The listener does not serve this client's network.
    Denied {
        /// The client.
        client: IpAddr,
    },
    /// This client has as many as it may have.
    Client {
        /// The client.
        client: IpAddr,
        /// How many it may have.
        max: usize,
    },
    /// It should have begun with a PROXY header.
    Unproxied {
        /// What connected; `None` on a Unix socket.
        peer: Option<SocketAddr>,
        /// What is wrong.
        why: String,
    },
}

/// What reads events.
pub trait Subscriber: Send + Sync + 'static {
    /// Something happened. Called by the thread that it happened on, with locks held: it must neither wait nor emit.
    fn on_event(&self, event: &Event);
}

/// The bus: passes events to all subscribers, and keeps the latest for those that come later.
#[derive(Default)]
pub struct Events {
    subscribers: Vec<Box<dyn Subscriber>>,
    latest: Mutex<VecDeque<(SystemTime, Event)>>,
}

impl Events {
    /// A bus with these subscribers, called in this order.
    #[must_use]
    pub fn new(subscribers: Vec<Box<dyn Subscriber>>) -> Self {
        Self { subscribers, latest: Mutex::default() }
    }

    /// Passes on what happened.
    pub fn emit(&self, event: Event) {
        for subscriber in &self.subscribers {
            subscriber.on_event(&event);
        }
        let mut latest = self.lock();
        if latest.len() >= MAX_LATEST {
            latest.pop_front();
        }
        latest.push_back((SystemTime::now(), event));
    }

    /// The latest events, oldest first: 256 at most.
    #[must_use]
    pub fn latest(&self) -> Vec<(SystemTime, Event)> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(SystemTime, Event)>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("subscribers", &self.subscribers.len()).finish_non_exhaustive()
    }
}

/// A few hundred bytes each.
const MAX_LATEST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Noted(Arc<Mutex<Vec<u64>>>);

    impl Subscriber for Noted {
        fn on_event(&self, event: &Event) {
            let Event::Reloaded { generation } = event else { return };
            self.0.lock().unwrap().push(*generation);
        }
    }

    #[test]
    fn every_subscriber_is_called_and_the_latest_events_are_kept() {
        let (one, two) = (Noted::default(), Noted::default());
        let events = Events::new(vec![Box::new(one.clone()), Box::new(two.clone())]);
        let all: Vec<u64> = (0..300).collect();
        all.iter().for_each(|&generation| events.emit(Event::Reloaded { generation }));
        assert_eq!((&*one.0.lock().unwrap(), &*two.0.lock().unwrap()), (&all, &all));
        let latest: Vec<_> = events.latest().into_iter().map(|(_, event)| event).collect();
        assert_eq!(latest.len(), MAX_LATEST);
        assert_eq!(latest[0], Event::Reloaded { generation: 300 - MAX_LATEST as u64 });
    }
}
