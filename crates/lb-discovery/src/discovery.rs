//! Sources of many clusters: which of them run, and what is known.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::abortable;
use tokio::sync::mpsc;

use crate::driver::{Driver, Job};
use crate::sink::{EndpointSink, Listing, Observer, Report, Running, RunningSource, Shared, State};
use crate::source::Source;
use crate::supervisor::Supervisor;

/// The sources wanted for one cluster.
pub struct Sources {
    cluster: Arc<str>,
    sources: Vec<Arc<dyn Source>>,
}

impl Sources {
    /// None yet: a cluster without endpoints.
    #[must_use]
    pub fn new(cluster: impl Into<Arc<str>>) -> Self {
        Self { cluster: cluster.into(), sources: Vec::new() }
    }

    /// Adds a source. Of two with one name the first counts.
    #[must_use]
    pub fn with(mut self, source: impl Source) -> Self {
        self.add(source);
        self
    }

    /// Adds a source, as [`with`](Self::with) does.
    pub fn add(&mut self, source: impl Source) {
        self.sources.push(Arc::new(source));
    }
}

/// Runs the sources of clusters. Dropping it ends them all.
///
/// All state is behind one lock, which nothing holds while it waits. A list costs O(its endpoints), and its publication
/// O(the endpoints of its cluster).
pub struct Discovery {
    shared: Arc<Shared>,
    jobs: mpsc::UnboundedSender<Job>,
}

impl Discovery {
    /// Without sources, and the driver that is to run them. `observer` is called from the driver's future.
    #[must_use]
    pub fn new(observer: impl Observer) -> (Self, Driver) {
        let shared = Arc::new(Shared::new(observer));
        let (jobs, starting) = mpsc::unbounded_channel();
        (Self { shared: Arc::clone(&shared), jobs }, Driver::new(shared, starting))
    }

    /// Makes these the sources that run, and returns what is known of each cluster, in their order: what sources know
    /// without waiting, and the last good lists of those that the cluster had before. A source whose name and settings
    /// stay the same goes on undisturbed. Everything later comes through the observer, and never from a source that a
    /// completed `apply` removed.
    ///
    /// Of two entries for one cluster the later counts.
    pub fn apply(&self, clusters: Vec<Sources>) -> Vec<Listing> {
        let mut state = self.shared.lock();
        let mut old = std::mem::take(&mut state.clusters);
        let mut known = Vec::with_capacity(clusters.len());
        for wanted in clusters {
            let earlier = state.clusters.remove(&wanted.cluster);
            let before = earlier.or_else(|| old.remove(&wanted.cluster)).unwrap_or_default();
            let running = self.replace(&mut state, &wanted, before);
            known.push(running.listing(&wanted.cluster));
            state.clusters.insert(wanted.cluster, running);
        }
        old.values().flat_map(|gone| &gone.sources).for_each(|source| source.abort.abort());
        self.shared.silent.send_replace(state.silent());
        known
    }

    /// Waits until every source has reported once, a list or a failure, but no longer than `max`. Returns whether all have.
    pub async fn first_round(&self, max: Duration) -> bool {
        let mut silent = self.shared.silent.subscribe();
        tokio::time::timeout(max, silent.wait_for(|&sources| sources == 0)).await.is_ok()
    }

    /// How every source is, by cluster.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        self.shared.reports()
    }

    /// A cluster's sources after a change: those that stay the same, and new ones with what their predecessors had.
    fn replace(&self, state: &mut State, wanted: &Sources, before: Running) -> Running {
        let mut old = before.sources;
        let mut running = Running { sources: Vec::with_capacity(wanted.sources.len()), ..before };
        for source in &wanted.sources {
            let (name, settings) = (source.name(), source.settings());
            if running.sources.iter().any(|twin| twin.name == name) {
                continue;
            }
            let known = old.iter().position(|known| known.name == name).map(|place| old.swap_remove(place));
            running.sources.push(match known {
                Some(same) if same.settings == settings => same,
                changed => {
                    let supervisor = changed.map(|changed| {
                        changed.abort.abort();
                        changed.supervisor
                    });
                    self.start(state, &wanted.cluster, source, supervisor.unwrap_or_default())
                }
            });
        }
        old.iter().for_each(|gone| gone.abort.abort());
        running
    }

    fn start(
        &self,
        state: &mut State,
        cluster: &Arc<str>,
        source: &Arc<dyn Source>,
        mut supervisor: Supervisor,
    ) -> RunningSource {
        state.last_number += 1;
        let number = state.last_number;
        if let Some(known) = source.known() {
            supervisor.on_list(known, self.shared.now());
        }
        let sink = EndpointSink::new(Arc::clone(&self.shared), Arc::clone(cluster), number);
        let (job, abort) = abortable(keep_running(Arc::clone(source), sink));
        // Without a driver nothing runs, and what is known without waiting is all there is.
        let _ = self.jobs.send(Box::pin(job.map(drop)));
        RunningSource { number, name: source.name(), settings: source.settings(), supervisor, abort }
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.apply(Vec::new());
    }
}

/// Runs a source, and starts it again whenever it ends.
async fn keep_running(source: Arc<dyn Source>, sink: EndpointSink) {
    loop {
        // A panic costs this source its turn, and no other source anything.
        let turn = async { Arc::clone(&source).run(sink.clone()).await };
        let ended = AssertUnwindSafe(turn).catch_unwind().await;
        tokio::time::sleep(sink.ended(ended.is_err())).await;
    }
}
