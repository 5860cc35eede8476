//! Where sources report, and what is made of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::AbortHandle;
use lb_core::Mono;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::failure::Failure;
use crate::found::Found;
use crate::supervisor::Supervisor;

/// Everything that is known of a cluster's endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// The list of each of its sources, in the order of the sources.
    pub lists: Vec<List>,
}

impl Listing {
    /// All endpoints, in the order of the sources, then by name and address.
    pub fn found(&self) -> impl Iterator<Item = &Found> {
        self.lists.iter().flat_map(|list| &list.found)
    }
}

/// What one source has reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// The source's name.
    pub source: Arc<str>,
    /// Its last good list, sorted by name and address; empty if there has been none.
    pub found: Vec<Found>,
}

/// What an embedder makes of lists and failures.
///
/// The calls of one [`Discovery`](crate::Discovery) never overlap. None may call it back, nor wait for a lock that is held
/// while it is called.
pub trait Observer: Send + Sync + 'static {
    /// The list of a cluster has changed. Changes that come together are one call.
    fn on_listing(&self, listing: &Listing);

    /// A source has a list that differs from its last one, or has one again after failures.
    fn on_answer(&self, cluster: &str, source: &str, found: &[Found]) {
        let _ = (cluster, source, found);
    }

    /// A source has failed, for the first time since its last list; `kept` is that list, which stays in force.
    fn on_failure(&self, cluster: &str, source: &str, why: &Failure, kept: &[Found]) {
        let _ = (cluster, source, why, kept);
    }
}

/// How a source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its cluster's name.
    pub cluster: Arc<str>,
    /// Its own name.
    pub source: Arc<str>,
    /// Endpoints in its last good list.
    pub endpoints: usize,
    /// How long ago it confirmed that list; `None` if it never had one.
    pub age: Option<Duration>,
    /// Failures since.
    pub failures: u32,
    /// The reason of the last failure; `None` if it is well.
    pub why: Option<Failure>,
}

/// Where one source reports. A source that is no longer wanted reports in vain.
#[derive(Clone)]
pub struct EndpointSink {
    shared: Arc<Shared>,
    cluster: Arc<str>,
    number: u64,
}

impl EndpointSink {
    pub(crate) fn new(shared: Arc<Shared>, cluster: Arc<str>, number: u64) -> Self {
        Self { shared, cluster, number }
    }

    /// The cluster that the endpoints are for.
    #[must_use]
    pub fn cluster(&self) -> &Arc<str> {
        &self.cluster
    }

    /// These are all endpoints that the source knows of. Order means nothing, and the same list again changes nothing.
    pub fn set(&self, all: Vec<Found>) {
        self.shared.update(&self.cluster, self.number, |observer, running| {
            let update = running.supervisor.on_list(all, self.shared.now());
            if update.has_changed || update.has_recovered {
                observer.on_answer(&self.cluster, &running.name, running.supervisor.found());
            }
            update.has_changed
        });
    }

    /// There is no list at the moment. The last good one stays in force.
    pub fn failed(&self, why: Failure) {
        self.shared.update(&self.cluster, self.number, |observer, running| {
            let is_first = running.supervisor.on_failure(why);
            if let (true, Some(why)) = (is_first, running.supervisor.why()) {
                observer.on_failure(&self.cluster, &running.name, why, running.supervisor.found());
            }
            false
        });
    }

    /// The source's future has ended, perhaps by a panic. Returns how long to wait before it is started again.
    pub(crate) fn ended(&self, has_panicked: bool) -> Duration {
        let mut wait = Duration::ZERO;
        let why = if has_panicked { "the source has panicked" } else { "the source has ended" };
        self.failed(Failure::Local(why.to_owned()));
        self.shared.update(&self.cluster, self.number, |_, running| {
            wait = running.supervisor.on_end(fastrand::u64(..));
            false
        });
        wait
    }
}

/// What the handle, the driver and all sinks share.
pub(crate) struct Shared {
    observer: Box<dyn Observer>,
    start: Instant,
    state: Mutex<State>,
    /// A list has changed and is to be published.
    pub(crate) changed: Notify,
    /// Sources that have reported nothing yet.
    pub(crate) silent: watch::Sender<usize>,
}

/// Every cluster's sources. Publishing happens under its lock, so that nothing stale is published.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) clusters: BTreeMap<Arc<str>, Running>,
    pub(crate) last_number: u64,
}

/// A cluster's sources.
#[derive(Default)]
pub(crate) struct Running {
    pub(crate) sources: Vec<RunningSource>,
    pub(crate) has_changed: bool,
}

pub(crate) struct RunningSource {
    pub(crate) number: u64,
    pub(crate) name: Arc<str>,
    pub(crate) settings: String,
    pub(crate) supervisor: Supervisor,
    pub(crate) abort: AbortHandle,
}

impl Running {
    pub(crate) fn listing(&self, cluster: &Arc<str>) -> Listing {
        let lists = self
            .sources
            .iter()
            .map(|source| List { source: Arc::clone(&source.name), found: source.supervisor.found().to_vec() });
        Listing { cluster: Arc::clone(cluster), lists: lists.collect() }
    }
}

impl State {
    /// Sources that have reported nothing yet.
    pub(crate) fn silent(&self) -> usize {
        let sources = self.clusters.values().flat_map(|running| &running.sources);
        sources.filter(|source| !source.supervisor.has_reported()).count()
    }
}

impl Shared {
    pub(crate) fn new(observer: impl Observer) -> Self {
        Self {
            observer: Box::new(observer),
            start: Instant::now(),
            state: Mutex::default(),
            changed: Notify::new(),
            silent: watch::Sender::new(0),
        }
    }

    /// The runtime's clock, which a test may pause.
    pub(crate) fn now(&self) -> Mono {
        Mono::ZERO.saturating_add(Instant::now().saturating_duration_since(self.start))
    }

    /// The state is consistent between statements that can panic, so a poisoned lock is taken as it is.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a source's supervisor take an event, if the source is still wanted; `event` returns whether the list changed.
    fn update(&self, cluster: &str, number: u64, event: impl FnOnce(&dyn Observer, &mut RunningSource) -> bool) {
        let mut state = self.lock();
        let Some(running) = state.clusters.get_mut(cluster) else { return };
        let Some(source) = running.sources.iter_mut().find(|source| source.number == number) else { return };
        let was_silent = !source.supervisor.has_reported();
        let has_changed = event(&*self.observer, source);
        let has_reported = was_silent && source.supervisor.has_reported();
        running.has_changed |= has_changed;
        if has_changed {
            self.changed.notify_one();
        }
        if has_reported {
            self.silent.send_replace(state.silent());
        }
    }

    /// Passes on the lists that have changed.
    pub(crate) fn publish(&self) {
        let mut state = self.lock();
        for (cluster, running) in &mut state.clusters {
            if std::mem::take(&mut running.has_changed) {
                self.observer.on_listing(&running.listing(cluster));
            }
        }
    }

    pub(crate) fn reports(&self) -> Vec<Report> {
        let (state, now) = (self.lock(), self.now());
        let sources = state.clusters.iter().flat_map(|(cluster, running)| {
            running.sources.iter().map(move |source| Report {
                cluster: Arc::clone(cluster),
                source: Arc::clone(&source.name),
                endpoints: source.supervisor.found().len(),
                age: source.supervisor.age(now),
                failures: source.supervisor.failures(),
                why: source.supervisor.why().cloned(),
            })
        });
        sources.collect()
    }
}
