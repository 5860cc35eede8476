//! The parts of a pick, one upon the other.
//!
//! A table is only shown to its cluster, so the inner layers are measured from inside: a policy that wraps another and
//! repeats its pick when told to.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lb_core::{Axis, Class, End, Mono};
use lb_policy::{Candidate, Cluster, Entropy, Index, Learning, PickCx, Policy, Reader, Selector, Signals, Table, View};

use crate::counts::counted;
use crate::fleet::Shape;
use crate::rounds::Subject;

/// How much of a pick is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The table's pick with its eligibility check.
    Table,
    /// And taking the slot in flight and giving it back.
    Slot,
    /// All of it, by a worker's reader: snapshot, table, slot, ticket.
    Reader,
    /// All of it, without a reader of one's own.
    Selector,
}

/// Repetitions of this much of a pick from a cluster of this shape.
#[must_use]
pub fn subject<P: Policy>(name: &str, policy: P, shape: Shape, layer: Layer) -> Subject {
    if matches!(layer, Layer::Reader | Layer::Selector) {
        return whole(name, policy, shape, layer);
    }
    let cluster = shape.cluster();
    let mut pick = picker(policy, &cluster, &mut as_many_as_fit(shape.endpoints));
    Subject::new(name, shape.endpoints, move |repeat| pick(layer, repeat))
}

/// The whole pick, as it is without a wrapper that waits for orders.
fn whole<P: Policy>(name: &str, policy: P, shape: Shape, layer: Layer) -> Subject {
    let cluster = shape.cluster();
    let selector = cluster.selector(policy);
    teach(&selector, &mut as_many_as_fit(shape.endpoints));
    let mut reader = selector.reader();
    let mut entropy = Entropy::seeded(7);
    Subject::new(name, shape.endpoints, move |repeat| {
        let _keep = &cluster;
        match layer {
            Layer::Selector => timed(repeat, &mut entropy, |cx| drop(black_box(selector.pick(cx)))),
            _ => timed(repeat, &mut entropy, |cx| drop(black_box(reader.pick(cx)))),
        }
    })
}

/// Repeats so much of a pick so often, and tells how long that took. The endpoints are known by so many requests.
pub fn picker<P: Policy>(
    policy: P,
    cluster: &Cluster<usize>,
    lessons: &mut dyn Iterator<Item = u64>,
) -> impl FnMut(Layer, u64) -> Duration + use<P> {
    let cluster = cluster.clone();
    let orders = Arc::new(Orders::default());
    let selector = cluster.selector(Repeated { policy, orders: Arc::clone(&orders) });
    teach(&selector, lessons);
    let mut reader = selector.reader();
    let mut entropy = Entropy::seeded(7);
    move |layer, repeat| {
        let _keep = &cluster;
        match layer {
            Layer::Table | Layer::Slot => {
                orders.takes_slot.store(layer == Layer::Slot, Ordering::Relaxed);
                orders.repeat.store(repeat, Ordering::Relaxed);
                drop(selector.pick(&mut PickCx::new(later(0), &mut entropy).key(Some(&[0; 16]))));
                orders.repeat.store(0, Ordering::Relaxed);
                Duration::from_nanos(orders.took_ns.load(Ordering::Relaxed))
            }
            Layer::Reader => timed(repeat, &mut entropy, |cx| drop(black_box(reader.pick(cx)))),
            Layer::Selector => timed(repeat, &mut entropy, |cx| drop(black_box(selector.pick(cx)))),
        }
    }
}

/// The whole pick by two threads at a time, each with a reader of its own; the time of one pick of one thread.
#[must_use]
pub fn with_two_threads<P: Policy>(name: &str, policy: P, shape: Shape) -> Subject {
    let cluster = shape.cluster();
    let selector = cluster.selector(policy);
    teach(&selector, &mut as_many_as_fit(shape.endpoints));
    Subject::new(name, shape.endpoints, move |repeat| {
        let _keep = &cluster;
        let barrier = Barrier::new(2);
        let one = |seed| {
            let mut reader = selector.reader();
            let mut entropy = Entropy::seeded(seed);
            barrier.wait();
            timed(repeat, &mut entropy, |cx| drop(black_box(reader.pick(cx))))
        };
        std::thread::scope(|scope| {
            let other = scope.spawn(|| one(1));
            let ours = one(2);
            ours.max(other.join().unwrap_or(ours))
        })
    })
    // Long enough for the two to meet although one starts later.
    .batch(Duration::from_millis(5))
}

/// The whole pick by a reader while somebody ejects or readmits an endpoint a hundred times a second.
#[must_use]
pub fn while_updating<P: Policy>(name: &str, policy: P, shape: Shape) -> Subject {
    let cluster = shape.cluster();
    let selector = cluster.selector(policy);
    teach(&selector, &mut as_many_as_fit(shape.endpoints));
    let updater = Updater::start(&cluster);
    let mut reader = selector.reader();
    let mut entropy = Entropy::seeded(7);
    Subject::new(name, shape.endpoints, move |repeat| {
        let _keep = (&cluster, &updater);
        updater.on.store(true, Ordering::Relaxed);
        updater.thread.thread().unpark();
        let took = timed(repeat, &mut entropy, |cx| drop(black_box(reader.pick(cx))));
        updater.on.store(false, Ordering::Relaxed);
        took
    })
    // Long enough to meet several changes.
    .batch(Duration::from_millis(40))
}

/// A thread that changes a cluster while it is switched on.
struct Updater {
    on: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Updater {
    fn start(cluster: &Cluster<usize>) -> Self {
        let (on, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (cluster, its_on, its_ended) = (cluster.clone(), Arc::clone(&on), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            let (start, mut is_out, mut place) = (Instant::now(), false, 0);
            while !its_ended.load(Ordering::Relaxed) {
                if !its_on.load(Ordering::Relaxed) {
                    std::thread::park();
                    continue;
                }
                std::thread::sleep(Duration::from_millis(10));
                is_out = !is_out;
                place += usize::from(is_out);
                let endpoints = cluster.endpoints();
                if let Some(endpoint) = endpoints.get(place % endpoints.len().max(1)) {
                    cluster.set(
                        endpoint.uid(),
                        Axis::Ejected,
                        is_out,
                        Mono::from_nanos(start.elapsed().as_nanos() as u64),
                    );
                }
            }
        });
        Self { on, ended, thread }
    }
}

impl Drop for Updater {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
    }
}

/// The moment of the n-th pick: a million picks a second.
fn later(n: u64) -> Mono {
    Mono::from_nanos(1_000_000_000_000 + n * 1000)
}

fn key(n: u64) -> [u8; 16] {
    u128::from(n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).to_le_bytes()
}

fn timed(repeat: u64, entropy: &mut Entropy, mut pick: impl FnMut(&mut PickCx<'_>)) -> Duration {
    let start = Instant::now();
    counted(&mut || {
        for n in 0..repeat {
            pick(&mut PickCx::new(later(n), entropy).key(Some(&key(n))));
        }
    });
    start.elapsed()
}

/// Lets the endpoints be known: responses between 1 and 20 ms, a request for each number.
fn teach<P: Policy, T: Send + Sync + 'static>(selector: &Selector<P, T>, lessons: &mut dyn Iterator<Item = u64>) {
    let mut reader: Reader<P, T> = selector.reader();
    let mut entropy = Entropy::seeded(3);
    for n in lessons {
        let start = Mono::from_nanos(n * 1000);
        let Ok(mut ticket) = reader.pick(&mut PickCx::new(start, &mut entropy).key(Some(&key(n)))) else { return };
        let end = Mono::from_nanos(n * 1000 + 1_000_000 * (1 + n % 20));
        ticket.on_head(Class::Status(200), end);
        ticket.on_end(End::Completed, end);
    }
}

/// As many lessons as fit in [`LESSON`]; policies that look at everybody would take minutes over the largest clusters.
fn as_many_as_fit(endpoints: usize) -> impl Iterator<Item = u64> {
    let began = Instant::now();
    (0..(4 * endpoints as u64).min(20_000)).take_while(move |_| began.elapsed() <= LESSON)
}

const LESSON: Duration = Duration::from_millis(50);

/// A policy whose tables repeat a pick when told to.
struct Repeated<P> {
    policy: P,
    orders: Arc<Orders>,
}

/// What the next pick of a [`Repeated`] does: nothing special unless `repeat` is above zero.
#[derive(Default)]
struct Orders {
    repeat: AtomicU64,
    takes_slot: AtomicBool,
    took_ns: AtomicU64,
}

struct RepeatedTable<T> {
    table: T,
    orders: Arc<Orders>,
}

impl<P: Policy> Policy for Repeated<P> {
    type Table = RepeatedTable<P::Table>;

    fn signals(&self) -> Signals {
        self.policy.signals()
    }

    fn build(&self, candidates: &[Candidate<'_>], previous: Option<&Self::Table>) -> Self::Table {
        let table = self.policy.build(candidates, previous.map(|previous| &previous.table));
        RepeatedTable { table, orders: Arc::clone(&self.orders) }
    }

    fn learning(&self) -> Learning {
        self.policy.learning()
    }
}

impl<T: Table> Table for RepeatedTable<T> {
    #[inline]
    fn pick(&self, view: &View<'_>, cx: &mut PickCx<'_>) -> Option<Index> {
        let repeat = self.orders.repeat.load(Ordering::Relaxed);
        if repeat > 0 {
            let took = if self.orders.takes_slot.load(Ordering::Relaxed) {
                timed(repeat, cx.entropy, |cx| {
                    if let Some(index) = self.table.pick(view, cx)
                        && black_box(view.hold(index))
                    {
                        view.let_go(index);
                    }
                })
            } else {
                timed(repeat, cx.entropy, |cx| {
                    black_box(self.table.pick(view, cx));
                })
            };
            self.orders.took_ns.store(took.as_nanos() as u64, Ordering::Relaxed);
        }
        self.table.pick(view, cx)
    }
}
