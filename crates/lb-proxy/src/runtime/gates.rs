//! Places for requests at once: the limits of `concurrency`, with their queues. They outlive a configuration.
//!
//! ```text
//!  enter ──► a place ──────────────────────────────► dropped with the request: the next one that waits gets it
//!    │         ▲
//!    └─► waits ┴─► refused: no room in the queue, timed out, or shed
//! ```
//!
//! A place is given back by being dropped, and by nothing else: at the end of the response or of a tunnel, when the client has
//! gone, when a stream was reset, and also if it was granted to a request that no longer waits for it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lb_config::{self as valid, Config, LimitKey, WaitOrder};
use lb_core::Mono;
use lb_ratelimit::adaptive::{Gradient, GradientConfig, Limit, Sample};
use lb_ratelimit::{
    Concurrency, KeyPermit, KeyedConcurrency, Order, Permit, Ratio, Shed, WaitQueue, WaitQueueConfig, Waiting,
};
use tokio::sync::oneshot;

use crate::error::EngineError;
use crate::net::clock;

/// Memory of a limit for each key: room for 131 000 keys with requests under way, half of which keeps it from being crowded.
const KEYED_BYTES: usize = 1 << 20;
/// Of the places of a limit with a `priority`, what is kept for critical requests.
const RESERVED: u16 = 10;
/// The class of requests without a priority.
const NORMAL: usize = 2;

/// The gates of a configuration.
#[derive(Clone, Default)]
pub(crate) struct Gates(Vec<(GateId, Gate)>);

/// What makes a gate the same one in the next configuration.
#[derive(Clone, PartialEq, Eq)]
struct GateId {
    name: Arc<str>,
    key: Option<LimitKey>,
}

/// A limit on requests at once.
#[derive(Clone)]
pub(crate) enum Gate {
    /// Of all requests.
    Shared(Arc<SharedGate>),
    /// Of each key.
    Keyed(Arc<KeyedGate>),
}

/// A limit of each key.
pub(crate) struct KeyedGate {
    table: Arc<KeyedConcurrency>,
    refused: AtomicU64,
}

/// A limit of all requests, with a queue.
pub(crate) struct SharedGate {
    concurrency: Arc<Concurrency>,
    queue: Mutex<WaitQueue<Sender>>,
    /// How many wait, for a look without the lock.
    waiting: AtomicUsize,
    /// A share of the places is for critical requests.
    reserves: AtomicBool,
    /// Finds the limit; `None` where it is fixed.
    rule: Mutex<Option<Gradient>>,
    learns: AtomicBool,
    waited: AtomicU64,
    refused: AtomicU64,
}

/// Tells a request that waits what became of it.
type Sender = oneshot::Sender<Result<Permit, Shed>>;

/// A gate as the status page shows it.
pub(crate) struct GateState {
    pub(crate) name: Arc<str>,
    pub(crate) limit: u32,
    /// Of a limit for each key, nobody counts them all.
    pub(crate) in_flight: Option<u32>,
    pub(crate) waiting: usize,
    pub(crate) waited: u64,
    pub(crate) refused: u64,
    pub(crate) why: String,
}

/// All limits of a configuration, with their names.
fn all(config: &Config) -> impl Iterator<Item = (Arc<str>, &valid::Concurrency)> {
    let of_routes = config.routes.iter().map(|route| (Arc::clone(&route.name), &route.options.concurrency));
    let of_clusters = config.clusters.iter().map(|cluster| (name_of_cluster(&cluster.name), &cluster.concurrency));
    of_routes.chain(of_clusters).filter_map(|(name, limit)| Some((name, limit.as_ref()?)))
}

/// The name of a cluster's limit, beside those of routes.
pub(crate) fn name_of_cluster(cluster: &str) -> Arc<str> {
    format!("cluster:{cluster}").into()
}

impl Gates {
    /// The gates of the next configuration: those in force where they are the same, unchanged until [`configure`](Self::configure),
    /// and new ones.
    ///
    /// # Errors
    /// There is not as much memory.
    pub(super) fn next(&self, config: &Config, seed: [u64; 2]) -> Result<Self, EngineError> {
        let made = all(config).map(|(name, limit)| {
            let id = GateId { name, key: limit.key.clone() };
            let gate = match self.find(&id) {
                Some(same) => same.clone(),
                None => Gate::new(&id, limit, seed)?,
            };
            Ok((id, gate))
        });
        Ok(Self(made.collect::<Result<_, EngineError>>()?))
    }

    /// Puts the values of this configuration in force.
    pub(super) fn configure(&self, config: &Config) {
        for (name, limit) in all(config) {
            if let Some(gate) = self.find(&GateId { name, key: limit.key.clone() }) {
                gate.configure(limit);
            }
        }
    }

    fn find(&self, id: &GateId) -> Option<&Gate> {
        self.0.iter().find(|(known, _)| known == id).map(|(_, gate)| gate)
    }

    /// The gate of a limit of this name.
    pub(crate) fn of(&self, name: &Arc<str>, limit: &valid::Concurrency) -> Option<Gate> {
        self.find(&GateId { name: Arc::clone(name), key: limit.key.clone() }).cloned()
    }

    /// What the status page shows.
    pub(crate) fn states(&self) -> impl Iterator<Item = GateState> {
        self.0.iter().map(|(id, gate)| gate.state(Arc::clone(&id.name)))
    }
}

impl Gate {
    fn new(id: &GateId, limit: &valid::Concurrency, seed: [u64; 2]) -> Result<Self, EngineError> {
        let most = limit.limit.map_or(1, std::num::NonZero::get);
        let gate = match &id.key {
            None => Self::Shared(Arc::new(SharedGate::new())),
            Some(_) => {
                let table = KeyedConcurrency::try_new(most, KEYED_BYTES, seed);
                let table = table.map_err(|source| EngineError::Memory { limit: Arc::clone(&id.name), source })?;
                Self::Keyed(Arc::new(KeyedGate { table, refused: AtomicU64::new(0) }))
            }
        };
        gate.configure(limit);
        Ok(gate)
    }

    fn configure(&self, limit: &valid::Concurrency) {
        match self {
            Self::Shared(gate) => gate.configure(limit),
            Self::Keyed(gate) => gate.table.set_limit(limit.limit.map_or(1, std::num::NonZero::get)),
        }
    }

    fn state(&self, name: Arc<str>) -> GateState {
        match self {
            Self::Shared(gate) => gate.state(name),
            Self::Keyed(gate) => GateState {
                name,
                limit: gate.table.limit(),
                in_flight: None,
                waiting: 0,
                waited: 0,
                refused: gate.refused.load(Ordering::Relaxed),
                why: "fixed, for each key".to_owned(),
            },
        }
    }
}

impl KeyedGate {
    /// A place, if the key has one left.
    pub(crate) fn enter(&self, key: &[u8]) -> Option<Place> {
        let permit = self.table.try_acquire(key).ok();
        if permit.is_none() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        permit.map(|permit| Place::OfKey { _permit: permit })
    }
}

/// A place among the requests at once, until it is dropped.
pub(crate) enum Place {
    OfKey { _permit: KeyPermit },
    Shared(SharedPlace),
}

/// A place of a shared gate.
pub(crate) struct SharedPlace {
    gate: Arc<SharedGate>,
    /// Taken when it is dropped.
    permit: Option<Permit>,
    started: Mono,
}

impl Place {
    /// The endpoint has answered, in time or not: what limits that find themselves learn from.
    pub(crate) fn learn(&self, is_lost: bool) {
        if let Self::Shared(place) = self
            && let Some(permit) = &place.permit
        {
            place.gate.learn(place.started, permit.in_flight(), is_lost);
        }
    }
}

impl Drop for SharedPlace {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.gate.wake();
    }
}

/// What a gate says to a request.
pub(crate) enum Entry {
    In(Place),
    Wait(Waiter),
    /// There is no room, in the queue neither; whether there is a queue at all.
    Refused {
        has_queue: bool,
    },
}

impl SharedGate {
    fn new() -> Self {
        Self {
            concurrency: Concurrency::new(1),
            queue: Mutex::new(WaitQueue::new(WaitQueueConfig::default())),
            waiting: AtomicUsize::new(0),
            reserves: AtomicBool::new(false),
            rule: Mutex::new(None),
            learns: AtomicBool::new(false),
            waited: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    fn configure(&self, limit: &valid::Concurrency) {
        let order = match limit.queue.order {
            WaitOrder::Fifo => {
                WaitQueueConfig { order: Order::Fifo, target: Duration::MAX, ..WaitQueueConfig::default() }
            }
            WaitOrder::AdaptiveLifo => WaitQueueConfig::default(),
        };
        self.queue().set_config(WaitQueueConfig { max_len: limit.queue.size, ..order });
        self.reserves.store(limit.priority.is_some(), Ordering::Relaxed);
        self.learns.store(limit.limit.is_none(), Ordering::Relaxed);
        {
            let mut rule = self.rule.lock().unwrap_or_else(PoisonError::into_inner);
            match (limit.limit, &mut *rule) {
                (Some(fixed), rule) => {
                    *rule = None;
                    self.concurrency.set_limit(fixed.get());
                }
                (None, Some(_)) => {}
                (None, rule) => {
                    let new = Gradient::new(GradientConfig::default(), clock::mono(), fastrand::u64(..));
                    self.concurrency.set_limit(new.limit());
                    *rule = Some(new);
                }
            }
        }
        self.wake();
    }

    fn queue(&self) -> MutexGuard<'_, WaitQueue<Sender>> {
        // A panic in between leaves a queue that can be used.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_acquire(&self, class: usize) -> Option<Permit> {
        if class > 0 && self.reserves.load(Ordering::Relaxed) {
            self.concurrency.try_acquire_reserving(Ratio::percent(RESERVED))
        } else {
            self.concurrency.try_acquire()
        }
    }

    /// A place now, or a wait of at most `timeout`. Who comes while others wait goes to its place in the queue.
    pub(crate) fn enter(self: &Arc<Self>, class: usize, timeout: Duration, now: Mono) -> Entry {
        if self.waiting.load(Ordering::Relaxed) == 0
            && let Some(permit) = self.try_acquire(class)
        {
            return Entry::In(self.place(permit));
        }
        let (sender, receiver) = oneshot::channel();
        let mut queue = self.queue();
        let Ok((waiting, displaced)) = queue.push(sender, class, now.saturating_add(timeout), now) else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Entry::Refused { has_queue: !queue.is_empty() };
        };
        if let Some(displaced) = displaced {
            let _ = displaced.send(Err(Shed::Displaced));
        }
        self.waited.fetch_add(1, Ordering::Relaxed);
        self.serve(queue);
        Entry::Wait(Waiter { gate: Arc::clone(self), waiting, receiver, timeout })
    }

    fn place(self: &Arc<Self>, permit: Permit) -> Place {
        Place::Shared(SharedPlace { gate: Arc::clone(self), permit: Some(permit), started: clock::mono() })
    }

    /// Gives free places to those who wait. To be called after each change that may have freed one.
    fn wake(&self) {
        // Pairs with the one in `serve`: either this sees who waits, or who waits sees the place.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.serve(self.queue());
        }
    }

    fn serve(&self, mut queue: MutexGuard<'_, WaitQueue<Sender>>) {
        self.waiting.store(queue.len(), Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let (now, mut shed) = (clock::mono(), Vec::new());
        while let Some(class) = queue.first_class() {
            let Some(permit) = self.try_acquire(class) else { break };
            match queue.pop(now, &mut shed) {
                // If it waits no more, the permit comes back at once.
                Some(sender) => drop(sender.send(Ok(permit))),
                None => break,
            }
        }
        self.waiting.store(queue.len(), Ordering::Relaxed);
        drop(queue);
        for (sender, why) in shed {
            let _ = sender.send(Err(why));
        }
    }

    fn learn(&self, started: Mono, in_flight: u32, dropped: bool) {
        if !self.learns.load(Ordering::Relaxed) {
            return;
        }
        // A sample that finds another one being learned is left out.
        let Ok(mut rule) = self.rule.try_lock() else { return };
        let Some(gradient) = &mut *rule else { return };
        let before = gradient.limit();
        let rtt = clock::mono().saturating_since(started);
        let limit = gradient.on_sample(&Sample { started, rtt, in_flight, dropped }, fastrand::u64(..));
        self.concurrency.set_limit(limit);
        drop(rule);
        if limit > before {
            self.wake();
        }
    }

    fn state(&self, name: Arc<str>) -> GateState {
        let why = match &*self.rule.lock().unwrap_or_else(PoisonError::into_inner) {
            None => "fixed".to_owned(),
            Some(rule) => match (rule.min_rtt(), rule.is_measuring()) {
                (None, _) => "measures how long requests take while few are in flight".to_owned(),
                (Some(rtt), true) => format!("measures again; requests took {} with few in flight", shown(rtt)),
                (Some(rtt), false) => format!("requests take {} with few in flight", shown(rtt)),
            },
        };
        GateState {
            name,
            limit: self.concurrency.limit(),
            in_flight: Some(self.concurrency.in_flight()),
            waiting: self.waiting.load(Ordering::Relaxed),
            waited: self.waited.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            why,
        }
    }
}

fn shown(time: Duration) -> String {
    format!("{:.1}ms", time.as_secs_f64() * 1e3)
}

/// A request that waits for a place. Dropped, it leaves the queue.
pub(crate) struct Waiter {
    gate: Arc<SharedGate>,
    waiting: Waiting,
    receiver: oneshot::Receiver<Result<Permit, Shed>>,
    timeout: Duration,
}

impl Waiter {
    /// Waits.
    ///
    /// # Errors
    /// Why it got no place.
    pub(crate) async fn wait(mut self) -> Result<Place, Shed> {
        let granted = tokio::time::timeout(self.timeout, &mut self.receiver).await;
        let result = match granted {
            Ok(Ok(Ok(permit))) => Ok(self.gate.place(permit)),
            Ok(Ok(Err(shed))) => Err(shed),
            // The gate lives as long as this.
            Ok(Err(_)) => Err(Shed::Overload),
            Err(_) => Err(Shed::Late),
        };
        if result.is_err() {
            self.gate.refused.fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        {
            let mut queue = self.gate.queue();
            drop(queue.remove(self.waiting));
            self.gate.waiting.store(queue.len(), Ordering::Relaxed);
        }
        // A place that was granted meanwhile goes to the next one.
        self.receiver.close();
        if let Ok(Ok(permit)) = self.receiver.try_recv() {
            drop(permit);
        }
        self.gate.wake();
    }
}

/// The class of a priority; what is no word of ours is normal.
pub(crate) fn class_of(priority: &[u8]) -> usize {
    const WORDS: [&[u8]; 4] = [b"critical", b"high", b"normal", b"low"];
    WORDS.iter().position(|word| priority.eq_ignore_ascii_case(word)).unwrap_or(NORMAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// The gate of this limit on a route.
    fn gate(concurrency: &str) -> Arc<SharedGate> {
        let text = format!(
            "listener = [{{ address = \"127.0.0.1:0\" }}]\nroute = [{{ cluster = \"a\", concurrency = {concurrency} }}]\n\
             [cluster.a]\nendpoints = [\"a:1\", \"b:1\"]\n"
        );
        let config = Config::parse(&text, &|_| None).unwrap_or_else(|errors| panic!("{errors}")).config;
        let gates = Gates::default().next(&config, [1, 2]).unwrap();
        let (_, Gate::Shared(gate)) = &gates.0[0] else { panic!("a shared gate") };
        Arc::clone(gate)
    }

    fn enter(gate: &Arc<SharedGate>, class: usize) -> Entry {
        gate.enter(class, LONG, clock::mono())
    }

    fn place(gate: &Arc<SharedGate>, class: usize) -> Place {
        let Entry::In(place) = enter(gate, class) else { panic!("no place") };
        place
    }

    fn waiter(gate: &Arc<SharedGate>, class: usize) -> Waiter {
        let Entry::Wait(waiter) = enter(gate, class) else { panic!("it does not wait") };
        waiter
    }

    #[tokio::test(start_paused = true)]
    async fn places_go_to_those_who_wait_in_order_and_none_is_lost() {
        let gate = gate("{ limit = 1, queue = { size = 2 } }");
        let first = place(&gate, NORMAL);
        let (second, third) = (waiter(&gate, NORMAL), waiter(&gate, NORMAL));
        assert!(matches!(enter(&gate, NORMAL), Entry::Refused { has_queue: true }));
        drop(first);
        assert!(matches!(enter(&gate, NORMAL), Entry::Wait(_)), "one is granted, and one waits before it");
        let second = second.wait().await.unwrap();
        // Granted to one that has gone before it looked.
        drop(second);
        drop(third);
        assert_eq!((gate.concurrency.in_flight(), gate.waiting.load(Ordering::Relaxed)), (0, 0));
        let again = place(&gate, NORMAL);
        let late = waiter(&gate, NORMAL).wait().await;
        assert_eq!(late.err(), Some(Shed::Late));
        drop(again);
        assert_eq!((gate.concurrency.in_flight(), gate.waiting.load(Ordering::Relaxed)), (0, 0));
    }

    #[tokio::test]
    async fn critical_requests_have_a_tenth_and_go_first() {
        let gate = gate("{ limit = 10, priority = \"{header:x-priority}\", queue = { size = 2 } }");
        let mut places: Vec<_> = (0..9).map(|_| place(&gate, NORMAL)).collect();
        let low = waiter(&gate, class_of(b"low"));
        let normal = waiter(&gate, class_of(b""));
        // While others wait for a place that is not theirs, a critical one has it.
        let critical = waiter(&gate, class_of(b"Critical")).wait().await.unwrap();
        assert_eq!(low.wait().await.err(), Some(Shed::Displaced), "the queue was full");
        drop(places.pop());
        drop(critical);
        assert!(normal.wait().await.is_ok());
        assert_eq!([b"high".as_slice(), b"2", b"LOW"].map(class_of), [1, 2, 3]);
    }

    #[tokio::test]
    async fn threads_neither_lose_places_nor_wait_for_ever() {
        let gate = gate("{ limit = 3, queue = { size = 1000 } }");
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let gate = Arc::clone(&gate);
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(async {
                        let ask = |n: u32| {
                            let gate = Arc::clone(&gate);
                            async move {
                                for _ in 0..50 {
                                    let place = match enter(&gate, NORMAL) {
                                        Entry::In(place) => place,
                                        // Some do not wait to the end.
                                        Entry::Wait(waiter) if n == 0 => {
                                            drop(waiter);
                                            continue;
                                        }
                                        Entry::Wait(waiter) => {
                                            waiter.wait().await.unwrap_or_else(|why| panic!("{why:?}"))
                                        }
                                        Entry::Refused { .. } => panic!("there is room"),
                                    };
                                    assert!(gate.concurrency.in_flight() <= 3);
                                    tokio::task::yield_now().await;
                                    drop(place);
                                }
                            }
                        };
                        futures_util::future::join_all((0..5).map(ask)).await;
                    });
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!((gate.concurrency.in_flight(), gate.waiting.load(Ordering::Relaxed)), (0, 0));
    }

    #[tokio::test]
    async fn a_higher_limit_wakes_those_who_wait() {
        let gate = gate("{ limit = 1, queue = { size = 9 } }");
        let _first = place(&gate, NORMAL);
        let second = waiter(&gate, NORMAL);
        gate.concurrency.set_limit(2);
        gate.wake();
        assert!(second.wait().await.is_ok());
    }
}
