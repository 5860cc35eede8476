//! Name resolution: configured names to the addresses behind them, again and again.
//!
//! A container that restarts comes back under its name with another address, and one that is not there yet has no
//! address at all. So a name is looked up at start and every `dns_interval`, every A and AAAA record is an endpoint, the
//! last good answer stays in force while lookups fail, and a name that does not resolve keeps nobody from starting: it
//! is tried again after 1 s, 2 s, 4 s, … up to the interval. The system's resolver does the lookups (`/etc/hosts`, the
//! search list and whatever else the machine has), on threads of their own since it blocks; how long an answer may be
//! kept it does not tell, which is why there is an interval.
//!
//! How the engine uses it:
//!
//! ```text
//! let resolve = Resolve::new(control.handle().clone(), SystemLookup, move |resolution| engine.on_resolved(resolution));
//! resolve.apply(&config.clusters);                     // before a configuration is taken over, at start or by reload
//! resolve.first_round(Duration::from_secs(2)).await;   // give its new names a chance before the first request
//! let now = resolve.apply(&config.clusters);           // what is known by then, every cluster
//! ```
//!
//! `apply` answers with literals and the last good answers of names that stay; everything later comes through the
//! callback, only when a cluster's set of addresses has changed, and never for a cluster as it was before an `apply`
//! that has returned. The callback runs on the control runtime; it must not call `apply`, nor wait for a lock that
//! somebody holds while calling it.
//!
//! What this does not do: SRV records, ports from records, TTLs.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use lb_config::{Cluster, EndpointAddress};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Address;
use crate::net::Shortage;

/// Looks names up.
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of `name`, each with `port`, in any order. None at all counts as a failure.
    ///
    /// # Errors
    /// The name does not resolve, or nobody could be asked.
    fn lookup<'a>(&'a self, name: &'a str, port: u16) -> LookupFuture<'a>;
}

/// The answer to come.
pub type LookupFuture<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// The system's resolver, on the runtime's blocking threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup<'a>(&'a self, name: &'a str, port: u16) -> LookupFuture<'a> {
        Box::pin(async move { Ok(tokio::net::lookup_host((name, port)).await?.collect()) })
    }
}

/// A cluster's endpoints and where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// Its endpoints in the order of the file.
    pub endpoints: Vec<Resolved>,
}

/// One configured endpoint and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// As configured.
    pub endpoint: Arc<str>,
    /// Sorted, each once; empty while the name has never resolved.
    pub addresses: Vec<Address>,
}

/// The driver. Dropping it ends all lookups.
pub struct Resolve {
    common: Arc<Common>,
    runtime: Handle,
    running: Mutex<BTreeMap<Arc<str>, Running>>,
}

struct Common {
    lookup: Box<dyn Lookup>,
    on_change: Box<dyn Fn(Resolution) + Send + Sync>,
    /// Lookups at once, over all clusters: each holds a blocking thread.
    places: Semaphore,
    /// Names not yet looked up for the first time.
    pending: watch::Sender<usize>,
}

struct Running {
    config: Wanted,
    names: Arc<Mutex<Names>>,
    task: Option<AbortHandle>,
}

/// What of a cluster's configuration matters here.
#[derive(Clone, PartialEq)]
struct Wanted {
    cluster: Arc<str>,
    endpoints: Vec<(Arc<str>, EndpointAddress)>,
    interval: Duration,
}

type Key = (Arc<str>, u16);

/// A cluster's names. Whoever changes or publishes it holds the lock, so that nothing stale is published.
#[derive(Default)]
struct Names {
    by_key: BTreeMap<Key, Name>,
    /// Replaced by a newer configuration: publish nothing more.
    is_over: bool,
}

#[derive(Default)]
struct Name {
    /// The last good answer.
    addresses: Vec<SocketAddr>,
    /// Failures since.
    failures: u32,
    was_looked_up: bool,
}

impl Resolve {
    /// A driver with nothing to do yet, working on `runtime`, telling changes to `on_change`.
    pub fn new(runtime: Handle, lookup: impl Lookup, on_change: impl Fn(Resolution) + Send + Sync + 'static) -> Self {
        let common = Common {
            lookup: Box::new(lookup),
            on_change: Box::new(on_change),
            places: Semaphore::new(LOOKUPS_AT_ONCE),
            pending: watch::Sender::new(0),
        };
        Self { common: Arc::new(common), runtime, running: Mutex::default() }
    }

    /// Takes over these clusters and answers what is known of each, in their order: literals, and the last good answers
    /// of names that the cluster had before. Clusters that did not change go on undisturbed.
    pub fn apply(&self, clusters: &[Cluster]) -> Vec<Resolution> {
        let mut running = lock(&self.running);
        let mut old = std::mem::take(&mut *running);
        let mut known = Vec::with_capacity(clusters.len());
        for cluster in clusters {
            let config = Wanted::of(cluster);
            let entry = match old.remove(&cluster.name) {
                Some(same) if same.config == config => same,
                changed => self.start(config, changed),
            };
            known.push(entry.config.resolution(&lock(&entry.names)));
            running.insert(Arc::clone(&cluster.name), entry);
        }
        for gone in old.into_values() {
            self.stop(gone);
        }
        known
    }

    /// Waits until every name has been looked up once, whatever the answer, but no longer than `most`. Tells whether
    /// that was so.
    pub async fn first_round(&self, most: Duration) -> bool {
        let mut pending = self.common.pending.subscribe();
        tokio::time::timeout(most, pending.wait_for(|&names| names == 0)).await.is_ok()
    }

    fn start(&self, config: Wanted, before: Option<Running>) -> Running {
        let mut known = before.map(|before| self.stop(before)).unwrap_or_default();
        let keys = config.endpoints.iter().filter_map(|(_, address)| match address {
            EndpointAddress::Name(name, port) => Some((Arc::clone(name), *port)),
            EndpointAddress::Ip(_) | EndpointAddress::Unix(_) => None,
        });
        let mut by_key: BTreeMap<Key, Name> = BTreeMap::new();
        for key in keys {
            // A second endpoint of the same name finds it moved already.
            by_key.entry(key.clone()).or_insert_with(|| known.remove(&key).unwrap_or_default());
        }
        let new = by_key.values().filter(|name| !name.was_looked_up).count();
        self.common.pending.send_modify(|pending| *pending += new);
        let has_names = !by_key.is_empty();
        let names = Arc::new(Mutex::new(Names { by_key, is_over: false }));
        let task = has_names.then(|| {
            let work = work(Arc::clone(&self.common), config.clone(), Arc::clone(&names));
            self.runtime.spawn(work).abort_handle()
        });
        Running { config, names, task }
    }

    /// Ends a cluster's lookups and takes what they had learned. Nothing of it is published afterwards.
    fn stop(&self, running: Running) -> BTreeMap<Key, Name> {
        let known = {
            let mut names = lock(&running.names);
            names.is_over = true;
            std::mem::take(&mut names.by_key)
        };
        if let Some(task) = running.task {
            task.abort();
        }
        let never = known.values().filter(|name| !name.was_looked_up).count();
        self.common.pending.send_modify(|pending| *pending -= never);
        known
    }
}

impl Drop for Resolve {
    fn drop(&mut self) {
        self.apply(&[]);
    }
}

impl Wanted {
    fn of(cluster: &Cluster) -> Self {
        Self {
            cluster: Arc::clone(&cluster.name),
            endpoints: cluster.endpoints.iter().map(|e| (Arc::clone(&e.name), e.address.clone())).collect(),
            interval: cluster.dns_interval.max(SHORTEST_INTERVAL),
        }
    }

    fn resolution(&self, names: &Names) -> Resolution {
        let resolved = |(endpoint, address): &(Arc<str>, EndpointAddress)| Resolved {
            endpoint: Arc::clone(endpoint),
            addresses: match address {
                EndpointAddress::Ip(address) => vec![Address::Ip(*address)],
                EndpointAddress::Unix(path) => vec![Address::Unix(path.clone())],
                EndpointAddress::Name(name, port) => names
                    .by_key
                    .get(&(Arc::clone(name), *port))
                    .map(|name| name.addresses.iter().copied().map(Address::Ip).collect())
                    .unwrap_or_default(),
            },
        };
        Resolution { cluster: Arc::clone(&self.cluster), endpoints: self.endpoints.iter().map(resolved).collect() }
    }
}

/// Looks up a cluster's names, each when it is due, for ever.
async fn work(common: Arc<Common>, config: Wanted, names: Arc<Mutex<Names>>) {
    let ask = |key: Key, at: Instant| {
        let common = &common;
        async move {
            tokio::time::sleep_until(at).await;
            let answer = common.ask(&key).await;
            (key, answer)
        }
    };
    let now = Instant::now();
    let keys: Vec<Key> = lock(&names).by_key.keys().cloned().collect();
    let mut lookups: FuturesUnordered<_> = keys.into_iter().map(|key| ask(key, now)).collect();
    while let Some(first) = lookups.next().await {
        // What else is there already is published with it.
        let mut answers = vec![first];
        while let Some(Some(more)) = lookups.next().now_or_never() {
            answers.push(more);
        }
        let mut names = lock(&names);
        if names.is_over {
            return;
        }
        let mut has_changed = false;
        let mut new = 0;
        for (key, answer) in answers {
            let Some(name) = names.by_key.get_mut(&key) else { continue };
            new += usize::from(!std::mem::replace(&mut name.was_looked_up, true));
            has_changed |= name.on_answer(&config.cluster, &key, answer);
            let wait = name.next_after(config.interval);
            lookups.push(ask(key, Instant::now() + wait));
        }
        if has_changed {
            // Under the lock: after `stop` nothing of this cluster's past can come any more.
            (common.on_change)(config.resolution(&names));
        }
        drop(names);
        common.pending.send_modify(|pending| *pending -= new);
    }
}

impl Common {
    async fn ask(&self, (name, port): &Key) -> Result<Vec<SocketAddr>, Unresolved> {
        // The semaphore is never closed; if it were, one lookup too many would be no harm.
        let _place = self.places.acquire().await;
        let mut addresses = match tokio::time::timeout(PATIENCE, self.lookup.lookup(name, *port)).await {
            Ok(answer) => answer.map_err(|error| Unresolved::from(&error))?,
            Err(_) => return Err(Unresolved::Unanswered(format!("no answer within {PATIENCE:?}"))),
        };
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.is_empty() { Err(Unresolved::Unanswered("it has no address".to_owned())) } else { Ok(addresses) }
    }
}

/// Why a lookup gave no addresses.
enum Unresolved {
    /// The name has none, or none that could be learned.
    Unanswered(String),
    /// This machine could not ask.
    Short(Shortage),
}

impl From<&io::Error> for Unresolved {
    fn from(error: &io::Error) -> Self {
        match Shortage::of(error).or_else(Shortage::now) {
            Some(shortage) => Self::Short(shortage),
            None => Self::Unanswered(error.to_string()),
        }
    }
}

impl Name {
    /// Takes an answer; tells whether the addresses changed. Logs transitions only.
    fn on_answer(&mut self, cluster: &str, (name, port): &Key, answer: Result<Vec<SocketAddr>, Unresolved>) -> bool {
        match answer {
            Ok(addresses) => {
                let has_changed = addresses != self.addresses;
                if has_changed || self.failures > 0 {
                    tracing::info!(%cluster, "endpoint {name}:{port} resolves to {}", Listed(&addresses));
                }
                self.failures = 0;
                self.addresses = addresses;
                has_changed
            }
            Err(why) => {
                if self.failures == 0 {
                    let kept = Listed(&self.addresses);
                    match why {
                        Unresolved::Unanswered(why) => {
                            tracing::warn!(%cluster, %kept, "endpoint {name}:{port} does not resolve: {why}");
                        }
                        Unresolved::Short(lacked) => {
                            tracing::warn!(%cluster, %kept, "endpoint {name}:{port} cannot be looked up: {lacked}");
                        }
                    }
                }
                self.failures = self.failures.saturating_add(1);
                false
            }
        }
    }

    /// Up to a tenth less than planned, so that names do not fall into step.
    fn next_after(&self, interval: Duration) -> Duration {
        let planned = match self.failures {
            0 => interval,
            n => interval.min(FIRST_RETRY.saturating_mul(1 << (n - 1).min(16))),
        };
        planned.mul_f64(1.0 - 0.1 * fastrand::f64())
    }
}

/// Addresses in a log line; `nothing` for none.
struct Listed<'a>(&'a [SocketAddr]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.0.split_first() else { return f.write_str("nothing") };
        write!(f, "{}", first.ip())?;
        rest.iter().try_for_each(|address| write!(f, ",{}", address.ip()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lookup that takes longer has failed. Resolvers give up after 5 s to 30 s; their thread is lost until then.
const PATIENCE: Duration = Duration::from_secs(10);

/// Well below the runtime's 512 blocking threads, which the access to files shares.
const LOOKUPS_AT_ONCE: usize = 32;

const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Against an interval that would do nothing but look up.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use lb_config::{Endpoint, KeepAlive, Policy, PolicyKind};
    use tokio::sync::mpsc;

    use super::*;

    /// Answers from a script, the last answer for ever, and notes who asked when. Who is not in it waits for ever.
    #[derive(Clone, Default)]
    struct Script(Arc<Mutex<State>>);

    type Answer = Option<Vec<&'static str>>;

    #[derive(Default)]
    struct State {
        answers: BTreeMap<String, VecDeque<Answer>>,
        asked: Vec<(String, Instant)>,
    }

    impl Script {
        fn answer(&self, name: &str, answers: &[Option<&[&'static str]>]) {
            let answers = answers.iter().map(|answer| answer.map(<[_]>::to_vec)).collect();
            lock(&self.0).answers.insert(name.to_owned(), answers);
        }

        fn asked(&self, name: &str) -> Vec<Instant> {
            lock(&self.0).asked.iter().filter(|asked| asked.0 == name).map(|asked| asked.1).collect()
        }
    }

    impl Lookup for Script {
        fn lookup<'a>(&'a self, name: &'a str, port: u16) -> LookupFuture<'a> {
            let mut state = lock(&self.0);
            state.asked.push((name.to_owned(), Instant::now()));
            let answer = match state.answers.get_mut(name) {
                Some(answers) if answers.len() > 1 => answers.pop_front().flatten(),
                Some(answers) => answers.front().cloned().flatten(),
                None => return Box::pin(std::future::pending()),
            };
            Box::pin(std::future::ready(match answer {
                Some(ips) => Ok(ips.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), port)).collect()),
                None => Err(io::Error::other("no such name")),
            }))
        }
    }

    fn endpoint(text: &str) -> Endpoint {
        let address = match (text.parse(), text.strip_prefix("unix:")) {
            (Ok(address), _) => EndpointAddress::Ip(address),
            (_, Some(path)) => EndpointAddress::Unix(path.into()),
            _ => {
                let (name, port) = text.rsplit_once(':').unwrap();
                EndpointAddress::Name(name.into(), port.parse().unwrap())
            }
        };
        Endpoint { name: text.into(), ..Endpoint::at(address) }
    }

    fn cluster(name: &str, endpoints: &[&str]) -> Cluster {
        Cluster {
            name: name.into(),
            policy: Policy { kind: PolicyKind::RoundRobin, key: None, options: BTreeMap::new() },
            endpoints: endpoints.iter().map(|text| endpoint(text)).collect(),
            tls: None,
            proxy_protocol: None,
            http2: false,
            dns_interval: Duration::from_secs(10),
            keep_alive: KeepAlive {
                idle: 1,
                timeout: Duration::from_secs(4),
                requests: std::num::NonZeroU64::MIN,
                age: Duration::from_secs(60),
            },
            queue: lb_config::Queue { size: 0, timeout: Duration::from_secs(5) },
            slow_start: None,
            panic_threshold: None,
            spill: None,
            subset: None,
            active: None,
            passive: None,
        }
    }

    fn driver(script: &Script) -> (Resolve, mpsc::UnboundedReceiver<Resolution>) {
        let (tell, told) = mpsc::unbounded_channel();
        let resolve = Resolve::new(Handle::current(), script.clone(), move |resolution| {
            tell.send(resolution).ok();
        });
        (resolve, told)
    }

    /// `endpoint=address,address` for each endpoint.
    fn show(resolution: &Resolution) -> String {
        let one = |resolved: &Resolved| {
            let addresses: Vec<_> = resolved.addresses.iter().map(ToString::to_string).collect();
            format!("{}={}", resolved.endpoint, addresses.join(","))
        };
        resolution.endpoints.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[tokio::test(start_paused = true)]
    async fn literals_are_known_at_once_and_never_asked_for() {
        let script = Script::default();
        let (resolve, mut told) = driver(&script);
        let known =
            resolve.apply(&[cluster("c", &["10.0.0.1:80", "[::1]:80", "unix:/run/app.sock"]), cluster("d", &[])]);
        assert_eq!(show(&known[0]), "10.0.0.1:80=10.0.0.1:80 [::1]:80=[::1]:80 unix:/run/app.sock=unix:/run/app.sock");
        assert_eq!((&*known[1].cluster, show(&known[1]).as_str()), ("d", ""));
        assert!(resolve.first_round(Duration::ZERO).await);
        assert!(told.try_recv().is_err());
        assert!(lock(&script.0).asked.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn every_record_is_an_endpoint_sorted_and_once() {
        let script = Script::default();
        script.answer("app", &[Some(&["2001:db8::1", "10.0.0.2", "10.0.0.1", "10.0.0.2"])]);
        let (resolve, mut told) = driver(&script);
        let known = resolve.apply(&[cluster("c", &["app:80", "10.9.9.9:80", "app:81", "app:80"])]);
        assert_eq!(
            show(&known[0]),
            "app:80= 10.9.9.9:80=10.9.9.9:80 app:81= app:80=",
            "unresolved is an ordinary state"
        );
        assert!(resolve.first_round(Duration::from_secs(1)).await);
        assert_eq!(
            show(&told.recv().await.unwrap()),
            "app:80=10.0.0.1:80,10.0.0.2:80,[2001:db8::1]:80 10.9.9.9:80=10.9.9.9:80 \
             app:81=10.0.0.1:81,10.0.0.2:81,[2001:db8::1]:81 app:80=10.0.0.1:80,10.0.0.2:80,[2001:db8::1]:80",
            "both lookups in one change"
        );
        assert_eq!(script.asked("app").len(), 2, "the same name and port is one lookup");
    }

    #[tokio::test(start_paused = true)]
    async fn only_changes_are_told_and_the_order_of_records_is_none() {
        let script = Script::default();
        let (ab, ba): (&[_], &[_]) = (&["10.0.0.1", "10.0.0.2"], &["10.0.0.2", "10.0.0.1"]);
        script.answer("app", &[Some(ab), Some(ba), Some(ab), Some(&["10.0.0.3"])]);
        let (resolve, mut told) = driver(&script);
        resolve.apply(&[cluster("c", &["app:80"])]);
        let began = Instant::now();
        assert_eq!(show(&told.recv().await.unwrap()), "app:80=10.0.0.1:80,10.0.0.2:80");
        assert_eq!(show(&told.recv().await.unwrap()), "app:80=10.0.0.3:80");
        // Three intervals of 10 s, each up to a tenth shorter.
        let took = began.elapsed().as_secs_f64();
        assert!((27.0..=30.1).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_good_answer_outlives_failures_and_retries_come_sooner() {
        let script = Script::default();
        script.answer("app", &[Some(&["10.0.0.1"]), None, None, Some(&[]), None, None, None, Some(&["10.0.0.2"])]);
        let (resolve, mut told) = driver(&script);
        resolve.apply(&[cluster("c", &["app:80"])]);
        assert_eq!(show(&told.recv().await.unwrap()), "app:80=10.0.0.1:80");
        assert_eq!(show(&told.recv().await.unwrap()), "app:80=10.0.0.2:80", "nothing told in between");
        let asked = script.asked("app");
        let waits: Vec<f64> = asked.windows(2).map(|two| (two[1] - two[0]).as_secs_f64()).collect();
        let planned = [10.0, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0];
        assert_eq!(waits.len(), planned.len());
        for (wait, planned) in waits.iter().zip(planned) {
            assert!((planned * 0.9..=planned + 0.01).contains(wait), "{waits:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_hangs_is_given_up_and_holds_up_nobody() {
        let script = Script::default();
        script.answer("quick", &[Some(&["10.0.0.1"])]);
        let (resolve, mut told) = driver(&script);
        resolve.apply(&[cluster("c", &["hangs:80", "quick:80"])]);
        assert_eq!(show(&told.recv().await.unwrap()), "hangs:80= quick:80=10.0.0.1:80");
        assert!(!resolve.first_round(Duration::from_secs(5)).await, "still waiting for the one that hangs");
        assert!(resolve.first_round(Duration::from_secs(10)).await);
        script.answer("hangs", &[Some(&["10.0.0.9"])]);
        assert_eq!(show(&told.recv().await.unwrap()), "hangs:80=10.0.0.9:80 quick:80=10.0.0.1:80");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_keeps_answers_and_schedule_of_what_stays() {
        let script = Script::default();
        for name in ["a", "b", "c"] {
            script.answer(name, &[Some(&["10.0.0.1"])]);
        }
        let (resolve, mut told) = driver(&script);
        let same = cluster("same", &["a:80"]);
        resolve.apply(&[same.clone(), cluster("grows", &["b:80"]), cluster("goes", &["c:80"])]);
        for _ in 0..3 {
            told.recv().await.unwrap();
        }
        let known = resolve.apply(&[cluster("grows", &["c:80", "b:80"]), same]);
        assert_eq!(show(&known[0]), "c:80= b:80=10.0.0.1:80", "a name's answer stays with its cluster");
        assert_eq!(show(&known[1]), "a:80=10.0.0.1:80");
        assert_eq!(script.asked("a").len(), 1, "an unchanged cluster is not asked again");
        let grown = told.recv().await.unwrap();
        assert_eq!((&*grown.cluster, show(&grown).as_str()), ("grows", "c:80=10.0.0.1:80 b:80=10.0.0.1:80"));
        resolve.apply(&[]);
        let asked = lock(&script.0).asked.len();
        tokio::time::advance(Duration::from_secs(100)).await;
        tokio::task::yield_now().await;
        assert_eq!(lock(&script.0).asked.len(), asked, "nobody asks for what is gone");
        assert!(told.try_recv().is_err());
        assert!(resolve.first_round(Duration::ZERO).await);
    }

    #[tokio::test(start_paused = true)]
    async fn names_taken_away_before_their_first_answer_are_not_waited_for() {
        let script = Script::default();
        let (resolve, _told) = driver(&script);
        resolve.apply(&[cluster("c", &["hangs:80"])]);
        resolve.apply(&[cluster("c", &["10.0.0.1:80"])]);
        assert!(resolve.first_round(Duration::ZERO).await);
    }

    #[tokio::test]
    async fn the_system_resolves_localhost() {
        let addresses = SystemLookup.lookup("localhost", 80).await.unwrap();
        assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 80), "{addresses:?}");
        assert!(!addresses.is_empty());
    }
}
