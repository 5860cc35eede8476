//! The control thread: what must be done, but not on the request path.
//!
//! One thread with a runtime of its own resolves names, runs active checks, ends ejections, and serves the admin
//! listener. It must answer when the workers are at their limits, so it shares nothing with them but the atomics.

mod check_results;
mod tracker;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lb_config::{Config, ListenAddress};
use lb_discovery::{Discovery, Listing, Resolver};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use self::check_results::CheckResults;
use self::tracker::StatusTracker;
use crate::drivers::checks::{Checks, NetProber};
use crate::drivers::discovery::{self, LocalLookup, PutInForce};
use crate::error::EngineError;
use crate::events::Event;
use crate::listen::admin::Admin;
use crate::net::descriptors;
use crate::observe::status::{Status, StatusSource};
use crate::runtime::orders::Order;
use crate::runtime::registry::Registry;
use crate::runtime::snapshot::{Snapshot, response_limits};
use crate::serve::admin::{Access, AdminState};
use crate::wire::h1::HeadLimits;
use crate::worker::shared::Shared;

/// How often ejections end, tables catch up, and states are looked at for `since`.
const TICK: Duration = Duration::from_millis(100);
/// How long a configuration waits for its names: long enough for a resolver that works, short enough not to hold up a
/// start, or a reload, for one that does not.
const FIRST_ROUND: Duration = Duration::from_secs(2);

/// The control thread.
pub(crate) struct Control {
    runtime: Handle,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
    discovery: Discovery,
    resolver: Resolver,
    checks: Arc<Checks>,
    registry: Arc<Mutex<Registry>>,
    tracker: Arc<StatusTracker>,
    admin: Mutex<Option<RunningAdmin>>,
    admin_state: Arc<AdminState>,
}

/// The admin listener of a configuration that is to be taken over.
pub(crate) enum NextAdmin {
    /// None is wanted.
    None,
    /// The one that runs.
    Same,
    /// A new one, and the address as configured.
    Bound(Admin, ListenAddress),
}

struct RunningAdmin {
    configured: ListenAddress,
    actual: ListenAddress,
    stop: CancellationToken,
}

impl Control {
    pub(crate) fn start(shared: &Arc<Shared>, registry: &Arc<Mutex<Registry>>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let stop = CancellationToken::new();
        let tracker = Arc::new(StatusTracker::new(Arc::clone(shared)));
        let prober = {
            let limits_of = Arc::downgrade(&tracker);
            NetProber::with_limits(move || {
                let snapshot = limits_of.upgrade().and_then(|tracker| tracker.snapshot.load_full());
                snapshot.map_or(HeadLimits::response(), |snapshot| response_limits(&snapshot.config.limits))
            })
        };
        let at_once = descriptors::checks_at_once(descriptors::limit());
        let results = CheckResults { tracker: Arc::downgrade(&tracker) };
        let checks = Arc::new(Checks::new(handle.clone(), prober, results, at_once));
        // Set here and not by `StatusTracker::new`, because the driver tells the watch its verdicts.
        let _ = tracker.checks.set(Arc::clone(&checks));
        let (discovery, driver) = {
            let (registry, checks) = (Arc::clone(registry), Arc::clone(&checks));
            let put = move |listing: &Listing| {
                let mut registry = lock(&registry);
                registry.on_listing(listing);
                checks.apply(registry.check_targets());
            };
            Discovery::new(PutInForce { put, events: Arc::clone(&shared.events) })
        };
        handle.spawn(driver.run());
        let (ticking, until) = (Arc::clone(&tracker), stop.clone());
        let thread = std::thread::Builder::new().name("control".to_owned()).spawn(move || {
            runtime.block_on(async {
                let mut tick = tokio::time::interval(TICK);
                tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    tokio::select! {
                        _ = tick.tick() => ticking.on_tick(),
                        () = until.cancelled() => return,
                    }
                }
            });
            // A lookup may hang in the system's resolver; nobody waits for it any more.
            runtime.shutdown_background();
        })?;
        let source: Arc<dyn StatusSource> = Arc::clone(&tracker) as _;
        Ok(Self {
            runtime: handle,
            stop,
            thread: Some(thread),
            discovery,
            resolver: Resolver::new(LocalLookup),
            checks,
            registry: Arc::clone(registry),
            admin: Mutex::new(None),
            admin_state: Arc::new(AdminState::new(Arc::clone(&shared.metrics), source, Access::default())),
            tracker,
        })
    }

    /// Takes over a snapshot: what is resolved and checked, and where the admin listener is.
    pub(crate) fn adopt(&self, snapshot: &Arc<Snapshot>, admin: NextAdmin) {
        self.adopt_admin(&snapshot.config, admin);
        self.tracker.snapshot.store(Some(Arc::clone(snapshot)));
        let known = self.apply_sources(&snapshot.config);
        let mut registry = lock(&self.registry);
        for listing in &known {
            registry.on_listing(listing);
        }
        // Under the registry's lock, so that no older list can come after a newer one.
        self.checks.apply(registry.check_targets());
        drop(registry);
        self.tracker.on_tick();
    }

    /// Where the endpoints of a configuration are that is to be taken over. Waits a moment for names that nobody has
    /// asked for yet, so that the first requests find endpoints. Until it is adopted, the clusters in force keep what
    /// they have.
    pub(crate) fn look_up(&self, config: &Config) -> Vec<Listing> {
        self.apply_sources(config);
        // A thread of its own, because the caller's may belong to a runtime, where blocking on one is refused.
        std::thread::scope(|scope| {
            scope.spawn(|| self.runtime.block_on(self.discovery.first_round(FIRST_ROUND)));
        });
        // Nothing is looked up again by this.
        self.apply_sources(config)
    }

    fn apply_sources(&self, config: &Config) -> Vec<Listing> {
        self.discovery.apply(discovery::sources(&config.clusters, &self.resolver))
    }

    /// Binds the admin listener of a configuration that is to be taken over, unless it is the one that runs.
    pub(crate) fn bind_admin(&self, config: &Config) -> Result<NextAdmin, EngineError> {
        let running = lock(&self.admin);
        let Some(wanted) = &config.admin else { return Ok(NextAdmin::None) };
        if running.as_ref().is_some_and(|running| running.configured == wanted.address) {
            return Ok(NextAdmin::Same);
        }
        let address = &wanted.address;
        let bound = Admin::bind(address);
        let admin = bound.map_err(|source| EngineError::Bind { address: crate::show(address), source })?;
        Ok(NextAdmin::Bound(admin, address.clone()))
    }

    fn adopt_admin(&self, config: &Config, next: NextAdmin) {
        let access =
            config.admin.as_ref().map(|admin| Access { allow: admin.allow.clone(), hosts: admin.hosts.clone() });
        self.admin_state.set_access(access.unwrap_or_default());
        let started = match next {
            NextAdmin::Same => return,
            NextAdmin::None => None,
            NextAdmin::Bound(admin, configured) => {
                let actual = admin.local_addr().map_or_else(|| configured.clone(), ListenAddress::Tcp);
                let stop = self.stop.child_token();
                let serving = admin.serve(Arc::clone(&self.admin_state), stop.clone());
                self.runtime.spawn(async move {
                    if let Err(error) = serving.await {
                        tracing::error!("the admin listener has ended: {error}");
                    }
                });
                Some(RunningAdmin { configured, actual, stop })
            }
        };
        if let Some(old) = std::mem::replace(&mut *lock(&self.admin), started) {
            old.stop.cancel();
        }
    }

    pub(crate) fn admin_address(&self) -> Option<ListenAddress> {
        lock(&self.admin).as_ref().map(|admin| admin.actual.clone())
    }

    /// Gives an order about an endpoint, or takes it back; returns whether there is one of this name.
    pub(crate) fn order(&self, cluster: &str, endpoint: &str, order: Option<Order>) -> bool {
        let is_known = lock(&self.registry).order(cluster, endpoint, order);
        let (cluster, endpoint) = (cluster.into(), endpoint.into());
        self.tracker.shared.events.emit(Event::Ordered { cluster, endpoint, order: order.map(Order::axis) });
        is_known
    }

    pub(crate) fn status(&self) -> Status {
        self.tracker.status()
    }

    pub(crate) fn on_shutdown(&self) {
        self.admin_state.set_stopping();
    }

    pub(crate) fn stop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // It has nothing to say that its log lines have not said.
            let _ = thread.join();
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stop();
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
