//! The machines, the neighbours, the clients.

use std::time::Duration;

use lb_core::{Class, End, Mono, Weight};
use lb_policy::{Entropy, PickCx, Prequal, Probe, ProbePool, ProbeTuning, Ticket, Update};

use super::Rule;
use crate::client::{Client, members};
use crate::histogram::Histogram;
use crate::queue::EventQueue;
use crate::seed::{Seed, Stream, later};
use crate::sharing::{Place, Sharing};

const CLIENTS: usize = 100;
const REPLICAS: usize = 100;
/// Cores a replica has for certain.
const ALLOTTED: f64 = 4.0;
/// Mean and standard deviation of a query's work before it is cut off at zero, in core seconds.
const WORK: f64 = 0.08;
/// The mean of max(0, N(1, 1)): Φ(1) + φ(1).
const CUT_MEAN: f64 = 0.841_345 + 0.241_971;
const DEADLINE: f64 = 5.0;
/// The share of machines that neighbours take up wholly, for how long on average, and what others leave.
const TAKEN: f64 = 0.25;
const SPELL: f64 = 20.0;
const SPARE: (f64, f64) = (1.5, 3.5);
/// How much more work an older replica has with the same query.
const OLDER: f64 = 3.0;
const REWEIGH: Duration = Duration::from_secs(2);
/// What the latest interval counts for.
const SMOOTHING: f64 = 0.3;
/// Weights are whole numbers; the heaviest replica has this one.
const HEAVIEST: f64 = 32.0;
/// The part of a run that is not counted.
const WARM_UP: f64 = 0.25;

/// One experiment.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Load relative to what is allotted.
    pub load: f64,
    /// Whether every other replica is of an older kind; all together can do as much as if none was.
    pub is_mixed: bool,
    /// Simulated time; the first quarter is not counted.
    pub seconds: f64,
}

/// What a run found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Times of the queries, the deadline for those that missed it, in nanoseconds.
    pub times: Histogram,
    /// Queries that missed it.
    pub failed: u64,
}

impl Found {
    /// The share of queries that met their deadline; one if there were none.
    #[must_use]
    pub fn success(&self) -> f64 {
        if self.times.count() == 0 { 1.0 } else { 1.0 - self.failed as f64 / self.times.count() as f64 }
    }
}

#[derive(Clone, Copy)]
enum Event {
    Query,
    /// The next end of a query there, unless something has changed since.
    End {
        replica: usize,
        epoch: u64,
    },
    /// The oldest query under way may have missed its deadline.
    Deadline,
    Neighbours(usize),
    Reweigh,
}

struct Replica {
    machine: Sharing<usize>,
    epoch: u64,
    neighbours: Stream,
    /// Relative to a usual one.
    work_factor: f64,
    latencies: Latencies,
    finished: f64,
    /// Finished and core seconds spent when it was weighed last.
    weighed: (f64, f64),
    /// Both over a while, smoothed.
    managed: f64,
    used: f64,
}

struct Query {
    ticket: Ticket<usize>,
    place: Place,
    /// Queries it met at its replica, itself included.
    met: usize,
}

struct Dispatcher {
    client: Client,
    pool: Option<ProbePool>,
    probes: Entropy,
}

/// Makes one run.
#[must_use]
pub fn run(rule: &Rule, setting: Setting, seed: Seed) -> Found {
    let mut bed = Testbed::new(rule, setting, seed);
    let end = later(Mono::ZERO, setting.seconds);
    while let Some((now, event)) = bed.events.take_before(end) {
        bed.on(event, now);
    }
    bed.found
}

struct Testbed {
    replicas: Vec<Replica>,
    dispatchers: Vec<Dispatcher>,
    /// By arrival; those before `oldest` have ended.
    queries: Vec<Option<Query>>,
    oldest: usize,
    arrivals: Stream,
    works: Stream,
    gap: f64,
    counted_from: Mono,
    events: EventQueue<Event>,
    found: Found,
}

impl Testbed {
    fn new(rule: &Rule, setting: Setting, seed: Seed) -> Self {
        let rate = setting.load * ALLOTTED * REPLICAS as f64 / (WORK * CUT_MEAN);
        let mut bed = Self {
            replicas: (0..REPLICAS).map(|n| Replica::new(n, setting.is_mixed, seed.child(0))).collect(),
            dispatchers: (0..CLIENTS as u64).map(|n| Dispatcher::new(rule, seed.child(1).child(n))).collect(),
            queries: Vec::new(),
            oldest: 0,
            arrivals: seed.child(2).stream(),
            works: seed.child(3).stream(),
            gap: 1.0 / rate,
            counted_from: later(Mono::ZERO, setting.seconds * WARM_UP),
            events: EventQueue::new(),
            found: Found::default(),
        };
        bed.events.schedule(Mono::ZERO, Event::Query);
        bed.events.schedule(later(Mono::ZERO, DEADLINE), Event::Deadline);
        for replica in 0..REPLICAS {
            bed.events.schedule(Mono::ZERO, Event::Neighbours(replica));
        }
        if rule.weighs {
            bed.events.schedule(Mono::ZERO.saturating_add(REWEIGH), Event::Reweigh);
        }
        bed
    }

    fn on(&mut self, event: Event, now: Mono) {
        match event {
            Event::Query => self.on_query(now),
            Event::End { replica, epoch } => self.on_end(replica, epoch, now),
            Event::Deadline => self.on_deadline(now),
            Event::Neighbours(replica) => self.on_neighbours(replica, now),
            Event::Reweigh => self.on_reweigh(now),
        }
    }

    fn on_query(&mut self, now: Mono) {
        self.events.schedule(later(now, self.arrivals.exponential(self.gap)), Event::Query);
        let work = self.works.normal(WORK, WORK).max(0.0);
        let chooser = self.arrivals.below(CLIENTS as u64) as usize;
        let Some(dispatcher) = self.dispatchers.get_mut(chooser) else { return };
        let Some(ticket) = dispatcher.dispatch(&self.replicas, now) else { return };
        let number = *ticket.endpoint().value();
        let Some(replica) = self.replicas.get_mut(number) else { return };
        let query = self.queries.len();
        let place = replica.machine.arrive(query, work * replica.work_factor, now);
        self.queries.push(Some(Query { ticket, place, met: replica.machine.len() }));
        self.expect_end(number);
    }

    fn expect_end(&mut self, number: usize) {
        let Some(replica) = self.replicas.get_mut(number) else { return };
        replica.epoch += 1;
        if let Some(end) = replica.machine.next_end() {
            self.events.schedule(end, Event::End { replica: number, epoch: replica.epoch });
        }
    }

    fn on_end(&mut self, number: usize, epoch: u64, now: Mono) {
        let Some(replica) = self.replicas.get_mut(number).filter(|replica| replica.epoch == epoch) else { return };
        while let Some(query) = replica.machine.finish(now) {
            let Some(Query { mut ticket, met, .. }) = self.queries.get_mut(query).and_then(Option::take) else {
                continue;
            };
            let took = now.saturating_since(ticket.started());
            replica.finished += 1.0;
            replica.latencies.record(met, took);
            if ticket.started() >= self.counted_from {
                self.found.times.record(took.as_nanos() as u64);
            }
            ticket.on_head(Class::Status(200), now);
            ticket.on_end(End::Completed, now);
        }
        self.expect_end(number);
    }

    /// All have the same time, so the oldest is the next to miss it: one event for all of them instead of one each, which
    /// would mostly come long after their queries have ended.
    fn on_deadline(&mut self, now: Mono) {
        while let Some(slot) = self.queries.get_mut(self.oldest) {
            match slot.take_if(|query| later(query.ticket.started(), DEADLINE) <= now) {
                Some(query) => self.on_missed(query, now),
                None => {
                    if let Some(query) = slot {
                        let due = later(query.ticket.started(), DEADLINE);
                        self.events.schedule(due, Event::Deadline);
                        return;
                    }
                }
            }
            self.oldest += 1;
        }
        self.events.schedule(later(now, DEADLINE), Event::Deadline);
    }

    fn on_missed(&mut self, Query { mut ticket, place, met }: Query, now: Mono) {
        let number = *ticket.endpoint().value();
        if let Some(replica) = self.replicas.get_mut(number) {
            replica.machine.cancel(place, now);
            replica.latencies.record(met, Duration::from_secs_f64(DEADLINE));
        }
        if ticket.started() >= self.counted_from {
            self.found.times.record((DEADLINE * 1e9) as u64);
            self.found.failed += 1;
        }
        ticket.on_head(Class::Timeout, now);
        ticket.on_end(End::Cancelled, now);
        self.expect_end(number);
    }

    fn on_neighbours(&mut self, number: usize, now: Mono) {
        let Some(replica) = self.replicas.get_mut(number) else { return };
        let cores = replica.left_by_neighbours();
        replica.machine.set_cores(cores, now);
        let spell = replica.neighbours.exponential(SPELL);
        self.events.schedule(later(now, spell), Event::Neighbours(number));
        self.expect_end(number);
    }

    fn on_reweigh(&mut self, now: Mono) {
        self.events.schedule(now.saturating_add(REWEIGH), Event::Reweigh);
        let weights: Vec<f64> = self.replicas.iter_mut().map(Replica::weigh).collect();
        let heaviest = weights.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let weight = |weight: f64| Weight::new((weight / heaviest * HEAVIEST).round().max(1.0) as u16);
        let all = members("endpoint", 0..REPLICAS).into_iter().zip(&weights);
        let weighed: Vec<_> = all.map(|(member, &managed)| member.weight(weight(managed))).collect();
        for dispatcher in &self.dispatchers {
            dispatcher.client.cluster().apply(Update::Upsert(weighed.clone()), now);
        }
    }
}

impl Replica {
    fn new(number: usize, is_mixed: bool, seed: Seed) -> Self {
        // Their harmonic mean is one: the load is as stated if every replica gets as much as it can do.
        let work_factor = match (is_mixed, number % 2) {
            (false, _) => 1.0,
            (true, 0) => (1.0 + OLDER) / 2.0,
            (true, _) => (1.0 + 1.0 / OLDER) / 2.0,
        };
        Self {
            machine: Sharing::new(ALLOTTED),
            epoch: 0,
            neighbours: seed.child(number as u64).stream(),
            work_factor,
            latencies: Latencies::default(),
            finished: 0.0,
            weighed: (0.0, 0.0),
            managed: 0.0,
            used: 0.0,
        }
    }

    fn left_by_neighbours(&mut self) -> f64 {
        let (least, most) = SPARE;
        if self.neighbours.unit() <= TAKEN {
            ALLOTTED
        } else {
            ALLOTTED * (least + (most - least) * self.neighbours.unit())
        }
    }

    /// Queries a core second, lately: the smoothed numerator over the smoothed denominator, so that a replica which
    /// happened to get one tiny query does not look like a miracle.
    fn weigh(&mut self) -> f64 {
        let (finished, spent) = std::mem::replace(&mut self.weighed, (self.finished, self.machine.spent()));
        self.managed += SMOOTHING * (self.finished - finished - self.managed);
        self.used += SMOOTHING * (self.machine.spent() - spent - self.used);
        if self.used > 0.0 { self.managed / self.used } else { 0.0 }
    }

    fn answer(&self) -> (u32, Duration) {
        (self.machine.len() as u32, self.latencies.at(self.machine.len()))
    }
}

impl Dispatcher {
    fn new(rule: &Rule, seed: Seed) -> Self {
        let mut client = Client::new(rule.policy.clone(), REPLICAS, seed.child(0));
        let before = if rule.in_step { 0 } else { seed.child(2).stream().below(10_000) };
        for _ in 0..before {
            drop(client.pick(Mono::ZERO));
        }
        Self {
            client,
            pool: rule.probes.then(|| ProbePool::new(ProbeTuning::default())),
            probes: seed.child(1).entropy(),
        }
    }

    fn dispatch(&mut self, replicas: &[Replica], now: Mono) -> Option<Ticket<usize>> {
        let Some(pool) = &mut self.pool else { return self.client.pick(now) };
        let due = pool.on_query(Prequal::QUANTILE, now);
        let mut asked: Vec<usize> = Vec::with_capacity(due as usize);
        while asked.len() < (due as usize).min(replicas.len()) {
            let number = self.probes.below(replicas.len() as u64) as usize;
            if !asked.contains(&number) {
                asked.push(number);
            }
        }
        for number in asked {
            let (Some(replica), Some(uid)) = (replicas.get(number), self.client.uid(number)) else { continue };
            let (in_flight, latency) = replica.answer();
            pool.on_probe(Probe { uid, in_flight, latency }, replicas.len(), &mut self.probes, now);
        }
        let selector = self.client.selector().clone();
        selector.pick(&mut PickCx::new(now, self.client.entropy()).probes(Some(pool))).ok()
    }
}

/// How long queries took that met so many others: the latest few for each number of them.
#[derive(Debug, Default)]
struct Latencies {
    by_met: Vec<Latest>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Latest {
    took: [Duration; 8],
    count: usize,
}

impl Latencies {
    fn record(&mut self, met: usize, took: Duration) {
        if met >= self.by_met.len() {
            self.by_met.resize(met + 1, Latest::default());
        }
        if let Some(latest) = self.by_met.get_mut(met) {
            if let Some(slot) = latest.took.get_mut(latest.count % 8) {
                *slot = took;
            }
            latest.count += 1;
        }
    }

    /// The median of the latest that met about as many; zero if there are none.
    fn at(&self, in_flight: usize) -> Duration {
        // A query sent now would meet one more than there are.
        let here = in_flight + 1;
        let known = |met: usize| self.by_met.get(met).filter(|latest| latest.count > 0);
        let nearest = (0..self.by_met.len().max(here)).find_map(|off| {
            let fewer = here.checked_sub(off).and_then(known);
            fewer.or_else(|| known(here + off))
        });
        nearest.map_or(Duration::ZERO, Latest::median)
    }
}

impl Latest {
    fn median(&self) -> Duration {
        let mut took = self.took;
        let took = took.get_mut(..self.count.min(8)).unwrap_or_default();
        took.sort_unstable();
        took.get(took.len() / 2).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::prequal::{plain, probing, weighted};

    #[test]
    fn a_latency_is_that_of_queries_that_met_about_as_many() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.at(3), Duration::ZERO);
        for ms in [10, 30, 20] {
            latencies.record(2, Duration::from_millis(ms));
        }
        latencies.record(9, Duration::from_millis(90));
        assert_eq!(latencies.at(1), Duration::from_millis(20));
        assert_eq!(latencies.at(0), Duration::from_millis(20));
        assert_eq!(latencies.at(40), Duration::from_millis(90));
        (0..8).for_each(|_| latencies.record(2, Duration::from_millis(5)));
        assert_eq!(latencies.at(1), Duration::from_millis(5), "the latest eight only");
    }

    #[test]
    fn above_what_is_allotted_weights_are_slower_than_probes() {
        let setting = Setting { load: 1.14, is_mixed: false, seconds: 6.0 };
        let p99 = |rule: &Rule| run(rule, setting, Seed::new(1)).times.quantile(0.99);
        let (by_weight, by_probes) = (p99(&weighted()), p99(&probing()));
        assert!(by_weight > 2 * by_probes, "{by_weight} {by_probes}");
    }

    #[test]
    fn no_request_fails_while_there_is_plenty() {
        let setting = Setting { load: 0.3, is_mixed: false, seconds: 3.0 };
        for rule in [plain(lb_policy::RoundRobin), weighted(), probing()] {
            let found = run(&rule, setting, Seed::new(1));
            // 0.3·400 cores ∕ 87 ms, for the 2.25 s that are counted, less those still under way: about 3050 ± 55.
            assert!(found.failed == 0 && (2_600..3_600).contains(&found.times.count()), "{}", found.times.count());
        }
    }
}
