//! The engine as its user sees it: start, reload, shut down.
//!
//! Everything that serves runs on the workers' threads. One more thread, *control*, carries what is not on the request
//! path: name resolution, active checks, the admin listener and the ticks of outlier detection.

mod listeners;
mod worker_loop;
mod workers;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use lb_config::{Config, ListenAddress};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::listeners::{NewListeners, https_port, remove_socket_file};
use crate::auth::{self, Loaded};
use crate::control::Control;
use crate::error::EngineError;
use crate::events::{Event, Events};
use crate::filters::{Chains, Parts};
use crate::net::bind;
use crate::net::descriptors::{self, Shares};
use crate::observe::access_log::AccessLog;
use crate::observe::metrics::Metrics;
use crate::runtime::headers::Headers;
use crate::runtime::limiters::Limiters;
use crate::runtime::orders::Order;
use crate::runtime::pages::{PageStore, Pages};
use crate::runtime::registry::Registry;
use crate::runtime::snapshot::Snapshot;
use crate::tls::Store;
use crate::worker::shared::Shared;
use crate::worker::state::{Command, WorkerHandle};

/// How long the access log may take to write what it still has.
const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// A running proxy.
pub struct Engine {
    shared: Arc<Shared>,
    workers: Arc<[WorkerHandle]>,
    state: Mutex<State>,
    threads: Vec<JoinHandle<()>>,
    control: Control,
    failures: Mutex<mpsc::UnboundedReceiver<String>>,
    force: ForceShutdown,
}

/// Ends a shutdown that takes too long. Clones are for the same engine.
#[derive(Clone, Debug, Default)]
pub struct ForceShutdown(CancellationToken);

impl ForceShutdown {
    /// Ends the grace period of a shutdown, now or to come: what runs is cut.
    pub fn trigger(&self) {
        self.0.cancel();
    }
}

/// What a reload changes.
struct State {
    registry: Arc<Mutex<Registry>>,
    snapshot: Arc<Snapshot>,
    /// The configured address of every bound listener, and what it was bound to.
    bound: HashMap<ListenAddress, ListenAddress>,
    /// Certificates and ticket keys.
    tls: Store,
    /// Error pages.
    pages: PageStore,
    /// Who may come in.
    auth: auth::Store,
}

/// Whether the engine can carry this configuration out, as far as that can be known without binding, opening or starting
/// anything.
///
/// # Errors
/// What [`Engine::start`] would refuse with. Addresses in use and logs that cannot be written show only at the start.
pub fn validate(config: &Config) -> Result<(), EngineError> {
    let headers = Headers::new(config)?;
    // No table, no user and no secret makes a filter that cannot be built.
    let parts = Parts {
        auth: &Loaded::default(),
        limiters: &Limiters::default(),
        limit_log: &Arc::default(),
        sticky_secret: &[0; 32],
        pages: &Pages::default(),
        metrics: &Arc::new(Metrics::new(1)),
    };
    Chains::new(config, &headers, parts)?;
    Ok(())
}

impl Engine {
    /// Binds every listener and starts to serve.
    ///
    /// # Errors
    /// An address is in use or cannot be bound, or the access log cannot be opened. Nothing is left running then.
    pub fn start(config: Config) -> Result<Self, EngineError> {
        let config = Arc::new(config);
        let workers = config
            .workers
            .map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), std::num::NonZeroUsize::get);
        let mut tls = Store::default();
        // Nothing has been read before that could stay in force, which is the only event there is.
        let terminators = tls.load(&config, &Events::default())?;
        let mut page_store = PageStore::default();
        let pages = page_store.load(&config, &Events::default())?;
        let mut auth = auth::Store::default();
        let users = auth.load(&config, &Events::default())?;
        let fresh = NewListeners::bind(config.listeners.iter(), workers)?;
        let metrics = Arc::new(Metrics::new(workers + 1));
        let access_log = AccessLog::start(config.log.access.as_ref(), metrics.access_log_dropped())
            .map_err(EngineError::AccessLog)?;
        let shared = Arc::new(Shared::new(metrics, access_log));
        let (limit, shares) = share_descriptors(&shared, workers, &config);
        shares.tell_few(limit, &config.limits);
        let registry = Arc::new(Mutex::new(Registry::new(
            shared.clock,
            Arc::clone(&shared.metrics),
            Arc::clone(&shared.events),
            Arc::clone(&shared.room),
            workers,
        )));
        let control = Control::start(&shared, &registry).map_err(EngineError::Thread)?;
        let admin = control.bind_admin(&config)?;
        let resolved = control.look_up(&config);
        let https_port = https_port(&config, &HashMap::new(), &fresh);
        let headers = Headers::new(&config)?;
        let limiters = lock(&registry).limiters(&config)?;
        let chains = chains(&config, &headers, &pages, &shared, &registry, &limiters, &users)?;
        let snapshot =
            lock(&registry).build(Arc::clone(&config), &resolved, terminators, limiters, &headers, https_port);
        control.adopt(&snapshot, admin);

        let (failure, failures) = mpsc::unbounded_channel();
        let mut handles = Vec::new();
        let mut threads = Vec::new();
        for index in 0..workers {
            let (handle, thread) = workers::start(index, &shared, &snapshot, &chains, &failure)?;
            handles.push(handle);
            threads.push(thread);
        }
        let workers: Arc<[_]> = handles.into();
        workers.iter().for_each(|handle| handle.worker.introduce(&workers));
        let engine = Self {
            state: Mutex::new(State { registry, snapshot, bound: HashMap::new(), tls, pages: page_store, auth }),
            shared,
            workers,
            threads,
            control,
            failures: Mutex::new(failures),
            force: ForceShutdown::default(),
        };
        engine.listen(&mut engine.state(), fresh);
        Ok(engine)
    }

    /// Puts another configuration in force. What did not change keeps its connections, health, learned state, limiter
    /// cells and cookies. Certificates are read anew, also where nothing has changed. `workers` cannot change while
    /// running; that is logged and otherwise ignored. Names of endpoints that are new are looked up first, for two
    /// seconds at most.
    ///
    /// # Errors
    /// A new address cannot be bound, a log cannot be opened, there is no memory for a rate limit, or a certificate cannot be
    /// used and was not in use before.
    /// The old configuration stays in force, unchanged.
    pub fn reload(&self, config: Config) -> Result<(), EngineError> {
        let mut state = self.state();
        let state = &mut *state;
        let config = Arc::new(config);
        if config.workers != state.snapshot.config.workers {
            tracing::warn!("workers has changed; the new number takes effect at the next start");
        }
        // Certificates first: their files may have changed although the text has not.
        let terminators = state.tls.load(&config, &self.shared.events)?;
        let pages = state.pages.load(&config, &self.shared.events)?;
        let users = state.auth.load(&config, &self.shared.events)?;
        let new = config.listeners.iter().filter(|listener| !state.bound.contains_key(&listener.address));
        let fresh = NewListeners::bind(new, self.threads.len())?;
        let admin = self.control.bind_admin(&config)?;
        let headers = Headers::new(&config)?;
        let limiters = lock(&state.registry).limiters(&config)?;
        let chains = chains(&config, &headers, &pages, &self.shared, &state.registry, &limiters, &users)?;
        self.shared.access_log.apply(config.log.access.as_ref()).map_err(EngineError::AccessLog)?;
        // From here on nothing fails.
        let registry = Arc::clone(&state.registry);
        // Names that are new here would have no address for a while, and those they replace none any more.
        let resolved = self.control.look_up(&config);
        let https_port = https_port(&config, &state.bound, &fresh);
        let snapshot =
            lock(&registry).build(Arc::clone(&config), &resolved, terminators, limiters, &headers, https_port);
        self.control.adopt(&snapshot, admin);
        // Before the snapshot that does not know them: what the kernel has queued for them is still served.
        let gone: Vec<_> = state.bound.keys().filter(|address| snapshot.listener(address).is_none()).cloned().collect();
        for address in gone {
            state.bound.remove(&address);
            remove_socket_file(&address);
            self.unlisten(&address);
        }
        for handle in &*self.workers {
            handle.worker.publish(&snapshot, &chains);
        }
        self.change_sockets(&state.snapshot.config, &config);
        share_descriptors(&self.shared, self.threads.len(), &config);
        self.listen(state, fresh);
        state.snapshot = snapshot;
        self.shared.events.emit(Event::Reloaded { generation: state.snapshot.generation });
        Ok(())
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.state().snapshot.config)
    }

    /// Every listener by name, with the address it was bound to: port 0 is replaced by the one the kernel chose.
    #[must_use]
    pub fn listeners(&self) -> Vec<(Arc<str>, ListenAddress)> {
        let state = self.state();
        let listeners = state.snapshot.config.listeners.iter();
        listeners
            .map(|listener| {
                let actual = state.bound.get(&listener.address).unwrap_or(&listener.address);
                (Arc::clone(&listener.name), actual.clone())
            })
            .collect()
    }

    /// The address the admin listener was bound to, if there is one.
    #[must_use]
    pub fn admin(&self) -> Option<ListenAddress> {
        self.control.admin_address()
    }

    /// How things stand, as `/status` shows it.
    #[must_use]
    pub fn status(&self) -> crate::observe::status::Status {
        self.control.status()
    }

    /// Gives an order about the endpoint of this name, wherever the name leads, or takes it back with `None`. It holds over
    /// reloads, whatever checks, traffic and name servers say, and for an endpoint that is yet to come. Returns whether the
    /// cluster has an endpoint of this name now.
    pub fn order(&self, cluster: &str, endpoint: &str, order: Option<Order>) -> bool {
        // The registry alone, since a reload that waits for names holds the engine's state.
        self.control.order(cluster, endpoint, order)
    }

    /// What happened to this proxy, the latest events.
    #[must_use]
    pub fn events(&self) -> &Arc<Events> {
        &self.shared.events
    }

    /// The metrics of this proxy.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// Opens the log files anew, after they were moved away.
    ///
    /// # Errors
    /// They cannot be opened; lines go on to the old ones.
    pub fn reopen_logs(&self) -> io::Result<()> {
        self.shared.access_log.reopen()
    }

    /// Waits until a worker dies, which only a bug can bring about; tells why.
    pub async fn worker_failed(&self) -> String {
        std::future::poll_fn(|cx| {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.poll_recv(cx)
        })
        .await
        .unwrap_or_else(|| "all workers have ended".to_owned())
    }

    /// Cuts short the [`shutdown`](Self::shutdown) that takes this engine away.
    #[must_use]
    pub fn force_shutdown(&self) -> ForceShutdown {
        self.force.clone()
    }

    /// Stops accepting, lets what runs finish for at most `grace`, and ends. Returns how many requests were cut.
    pub fn shutdown(mut self, grace: Duration) -> usize {
        self.control.on_shutdown();
        // First, and never again: once nobody listens there, a successor may put its own in their place.
        for address in self.state().bound.keys() {
            remove_socket_file(address);
        }
        let deadline = Instant::now() + grace;
        let mut answers = Vec::new();
        for handle in &*self.workers {
            let (done, answer) = oneshot::channel();
            if handle.commands.send(Command::Stop(deadline, self.force.0.clone(), done)).is_ok() {
                answers.push(answer);
            }
        }
        let cut = answers.into_iter().filter_map(|answer| answer.blocking_recv().ok()).sum();
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so already.
            let _ = thread.join();
        }
        self.control.stop();
        self.shared.failure_log.finish();
        if !self.shared.access_log.close(LOG_FLUSH_TIMEOUT) {
            tracing::error!("access log flush timed out after {LOG_FLUSH_TIMEOUT:?}, last lines lost");
        }
        cut
    }

    /// Has every worker accept on its sockets.
    fn listen(&self, state: &mut State, mut fresh: NewListeners) {
        for (address, actual, sockets) in std::mem::take(&mut fresh.listeners) {
            for (handle, socket) in self.workers.iter().zip(sockets) {
                // A worker that died ends the process; see `worker_failed`.
                let _ = handle.commands.send(Command::Listen(address.clone(), socket));
            }
            state.bound.insert(address, actual);
        }
    }

    /// Has listeners that stay listen anew where the length of their queue is another one now, and changes permissions.
    fn change_sockets(&self, old: &Config, new: &Config) {
        for listener in &new.listeners {
            let before = old.listeners.iter().find(|before| before.address == listener.address);
            if let (ListenAddress::Unix(path), Some(before)) = (&listener.address, before)
                && before.mode != listener.mode
                && let Err(error) = bind::set_mode(path, listener.mode)
            {
                tracing::warn!("cannot change the permissions of listener {}: {error}", crate::show(&listener.address));
            }
            if before.is_some_and(|before| before.backlog != listener.backlog) {
                for handle in &*self.workers {
                    // A worker that has ended listens no more.
                    let _ = handle.commands.send(Command::Backlog(listener.address.clone(), listener.backlog));
                }
            }
        }
    }

    /// Ends a listener: when this returns, whatever the kernel had queued for it is being served.
    fn unlisten(&self, address: &ListenAddress) {
        // The second order finds nothing to end. Its answer tells that a worker has seen all that was handed over to it
        // before the others answered the first.
        for _ in 0..2 {
            let mut answers = Vec::new();
            for handle in &*self.workers {
                let (done, answer) = oneshot::channel();
                // A worker that has ended has nothing to stop.
                if handle.commands.send(Command::Unlisten(address.clone(), done)).is_ok() {
                    answers.push(answer);
                }
            }
            for answer in answers {
                // A worker that dies meanwhile ends the process; see `worker_failed`.
                let _ = answer.blocking_recv();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// The filters of a configuration.
fn chains(
    config: &Config,
    headers: &Headers,
    pages: &Pages,
    shared: &Shared,
    registry: &Mutex<Registry>,
    limiters: &Limiters,
    users: &Loaded,
) -> Result<Arc<Chains>, EngineError> {
    let sticky_secret = *lock(registry).sticky_secret();
    let parts = Parts {
        auth: users,
        limiters,
        limit_log: &shared.limit_log,
        sticky_secret: &sticky_secret,
        pages,
        metrics: &shared.metrics,
    };
    Ok(Arc::new(Chains::new(config, headers, parts)?))
}

/// Puts in effect what the open files have room for; tells how many files that are, and the shares.
fn share_descriptors(shared: &Shared, workers: usize, config: &Config) -> (usize, Shares) {
    let limit = descriptors::limit();
    let shares = descriptors::share(limit, workers, config.listeners.len(), &config.limits);
    shares.tell(limit, &config.limits);
    shared.set_shares(&shares, config.clusters.len());
    (limit, shares)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn no_worker_has_more_than_twice_what_another_has() {
        for workers in [2, 4] {
            let text = format!(
                "workers = {workers}\nlog.access = \"off\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
                 [[route]]\nrespond = {{ status = 204 }}\n"
            );
            let config = Config::parse(&text, &|_| None).unwrap_or_else(|errors| panic!("{errors}")).config;
            let engine = Engine::start(config).unwrap();
            let [(_, ListenAddress::Tcp(address))] = engine.listeners()[..] else { panic!("one listener") };
            let mut clients = Vec::new();
            for count in 1..=200 {
                let mut client = TcpStream::connect(address).unwrap();
                client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                assert_ne!(client.read(&mut [0; 512]).unwrap(), 0);
                clients.push(client);
                let each = engine.workers.iter().map(|own| own.worker.connections.load(Ordering::Relaxed));
                let each: Vec<_> = each.collect();
                assert_eq!(each.iter().sum::<usize>(), count, "{each:?}");
                // Who has so many takes one more. One against none is left alone.
                let (least, most) = (each.iter().min().unwrap(), each.iter().max().unwrap());
                assert!(*most <= (2 * least + 1).max(2), "{each:?}");
            }
            drop(clients);
            assert_eq!(engine.shutdown(Duration::from_secs(20)), 0);
        }
    }
}
