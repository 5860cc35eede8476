//! The supermarket model: customers that look at d of n queues and join the shortest.
//!
//! Poisson arrivals of rate λn, n endpoints with one server each, exponential service of mean one. As n grows the share of endpoints with
//! i customers or more tends to λ^((dⁱ − 1)/(d − 1)) and the mean time in the system to Σ λ^((dⁱ − d)/(d − 1)) (Vvedenskaya et al. 1996,
//! Mitzenmacher 2001). **Exact theory, so this table tests the simulator and the policy at once.**
//!
//! At λ = .99 an empty system would need some ten thousand service times to forget that it was empty. So a run starts with the
//! stationary law's queues, dealt out to the endpoints at random; a simulator or a policy that were wrong would drift away from them.
//! The drift shows in the mean, which is taken over a time that is long beside the fluctuations of the whole system. The mean time
//! comes from the mean number by Little's law, which spares us from waiting for the last customer to leave.

use std::collections::VecDeque;

use lb_core::{Class, End, Mono};
use lb_policy::{BuiltIn, LeastRequest, P2c, Random, Ticket};

use crate::client::Client;
use crate::fifo::Fifo;
use crate::queue::EventQueue;
use crate::report::{Judge, Report, Row, Unit};
use crate::seed::{Seed, Stream, later};
use crate::stats::{Effort, Estimate};

/// One system.
#[derive(Clone, Copy, Debug)]
pub struct Market {
    /// n.
    pub endpoints: usize,
    /// d: 1 to 8.
    pub choices: u8,
    /// λ, below one.
    pub load: f64,
    /// Service times before anything is measured.
    pub warm_up: f64,
    /// Service times that are measured.
    pub measured: f64,
    /// Whether it starts with the stationary law's queues, or empty.
    pub stationary: bool,
}

/// What a run found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The mean time in the system, in services.
    pub mean_time: f64,
    /// The share of endpoints with i customers or more, from i = 1 on.
    pub tail: Vec<f64>,
}

/// Σ λ^((dⁱ − d)/(d − 1)), in services.
#[must_use]
pub fn mean_time(load: f64, choices: u8) -> f64 {
    (1..).map(|i| tail(load, choices, i) / load).take_while(|&term| term > 1e-12).sum()
}

/// The share of endpoints with `i` customers or more: λ^((dⁱ − 1)/(d − 1)).
#[must_use]
pub fn tail(load: f64, choices: u8, i: i32) -> f64 {
    let d = f64::from(choices);
    let exponent = if choices == 1 { f64::from(i) } else { (d.powi(i) - 1.0) / (d - 1.0) };
    load.powf(exponent)
}

impl Market {
    /// The table's system; longer the closer λ is to one.
    #[must_use]
    pub fn of_table(load: f64, choices: u8) -> Self {
        // The number of customers wanders with a memory of about 1/(1 − λ) for d ≥ 2 and 1/(1 − λ)² for d = 1.
        let (warm_up, measured) = match (load, choices) {
            (0.99.., 1) => (50.0, 1_500.0),
            (0.95.., 1) => (50.0, 1_000.0),
            (0.99.., _) => (200.0, 800.0),
            (0.95.., _) => (50.0, 400.0),
            (0.85.., _) => (30.0, 300.0),
            _ => (20.0, 100.0),
        };
        Self { endpoints: 1_000, choices, load, warm_up, measured, stationary: true }
    }

    fn policy(&self) -> BuiltIn {
        match self.choices {
            1 => Random.into(),
            2 => P2c.into(),
            more => LeastRequest::choices(more).into(),
        }
    }

    /// Makes one run.
    #[must_use]
    pub fn run(&self, seed: Seed) -> Found {
        let mut shop = Shop::new(self, seed);
        if self.stationary {
            shop.fill(self, &mut seed.child(FILLING).stream());
        }
        let begin = later(Mono::ZERO, self.warm_up);
        let end = later(begin, self.measured);
        shop.serve(begin);
        shop.lengths.restart(begin);
        shop.serve(end);
        let tail = shop.lengths.shares(self.endpoints, begin, end);
        // Σ s_i is the mean number at an endpoint; λ come there a service time.
        Found { mean_time: tail.iter().sum::<f64>() / self.load, tail }
    }
}

const ARRIVALS: u64 = 0;
const PICKS: u64 = 1;
const FILLING: u64 = 2;
const SERVICES: u64 = 3;

enum Event {
    Arrival,
    Departure(Ticket<usize>),
}

struct Shop {
    client: Client,
    queues: Vec<Fifo<Ticket<usize>>>,
    services: Vec<Stream>,
    arrivals: Stream,
    gap: f64,
    events: EventQueue<Event>,
    lengths: Lengths,
}

impl Shop {
    fn new(market: &Market, seed: Seed) -> Self {
        let n = market.endpoints;
        let mut shop = Self {
            client: Client::new(market.policy(), n, seed.child(PICKS)),
            queues: (0..n).map(|_| Fifo::new(1)).collect(),
            services: (0..n as u64).map(|endpoint| seed.child(SERVICES).child(endpoint).stream()).collect(),
            arrivals: seed.child(ARRIVALS).stream(),
            gap: 1.0 / (market.load * n as f64),
            events: EventQueue::new(),
            lengths: Lengths::default(),
        };
        shop.expect_arrival();
        shop
    }

    /// Deals out queues by the stationary law: as many of each length as it gives, to endpoints at random.
    fn fill(&mut self, market: &Market, stream: &mut Stream) {
        let n = self.queues.len();
        let mut places: Vec<usize> = (0..n).collect();
        stream.shuffle(&mut places);
        for (endpoint, place) in places.into_iter().enumerate() {
            let level = (place as f64 + stream.unit()) / n as f64;
            let length = (1..).take_while(|&i| tail(market.load, market.choices, i) >= level).count();
            for _ in 0..length {
                if let Some(ticket) = self.client.pick_at(endpoint, Mono::ZERO) {
                    self.join(ticket, Mono::ZERO);
                }
            }
        }
    }

    /// Lets everything happen that happens before `end`.
    fn serve(&mut self, end: Mono) {
        while let Some((now, event)) = self.events.take_before(end) {
            match event {
                Event::Arrival => {
                    self.expect_arrival();
                    if let Some(ticket) = self.client.pick(now) {
                        self.join(ticket, now);
                    }
                }
                Event::Departure(ticket) => self.leave(ticket, now),
            }
        }
    }

    fn expect_arrival(&mut self) {
        let at = later(self.events.now(), self.arrivals.exponential(self.gap));
        self.events.schedule(at, Event::Arrival);
    }

    fn join(&mut self, ticket: Ticket<usize>, now: Mono) {
        let endpoint = *ticket.endpoint().value();
        let Some(queue) = self.queues.get_mut(endpoint) else { return };
        let started = queue.arrive(ticket);
        self.lengths.on_growth(queue.len(), now);
        self.expect_departure(endpoint, started, now);
    }

    fn leave(&mut self, mut ticket: Ticket<usize>, now: Mono) {
        let endpoint = *ticket.endpoint().value();
        ticket.on_head(Class::Status(200), now);
        ticket.on_end(End::Completed, now);
        let Some(queue) = self.queues.get_mut(endpoint) else { return };
        self.lengths.on_shrinkage(queue.len(), now);
        let started = queue.finish();
        self.expect_departure(endpoint, started, now);
    }

    fn expect_departure(&mut self, endpoint: usize, started: Option<Ticket<usize>>, now: Mono) {
        if let (Some(ticket), Some(services)) = (started, self.services.get_mut(endpoint)) {
            self.events.schedule(later(now, services.exponential(1.0)), Event::Departure(ticket));
        }
    }
}

/// How many queues were how long for how much time.
#[derive(Debug, Default)]
struct Lengths {
    /// For each length from one on.
    levels: VecDeque<Level>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Level {
    /// Queues of this length or more.
    count: u64,
    since: Mono,
    /// Their number times nanoseconds, up to `since`.
    area: f64,
}

impl Level {
    fn add(&mut self, delta: i64, now: Mono) {
        self.area += self.count as f64 * (now.as_nanos() - self.since.as_nanos()) as f64;
        self.since = now;
        self.count = self.count.saturating_add_signed(delta);
    }
}

impl Lengths {
    fn on_growth(&mut self, length: usize, now: Mono) {
        if length > self.levels.len() {
            self.levels.push_back(Level { since: now, ..Level::default() });
        }
        if let Some(level) = self.levels.get_mut(length - 1) {
            level.add(1, now);
        }
    }

    fn on_shrinkage(&mut self, length: usize, now: Mono) {
        if let Some(level) = length.checked_sub(1).and_then(|place| self.levels.get_mut(place)) {
            level.add(-1, now);
        }
    }

    fn restart(&mut self, now: Mono) {
        for level in &mut self.levels {
            level.add(0, now);
            level.area = 0.0;
        }
    }

    fn shares(&mut self, queues: usize, begin: Mono, end: Mono) -> Vec<f64> {
        let whole = queues as f64 * (end.as_nanos() - begin.as_nanos()) as f64;
        let share = |level: &mut Level| {
            level.add(0, end);
            level.area / whole
        };
        self.levels.iter_mut().map(share).collect()
    }
}

/// The table.
#[must_use]
pub fn report(effort: &Effort) -> Report {
    let mut report = Report::new(
        "Supermarket model: mean time in the system, in services; 1000 endpoints, exponential service, d choices.\n\
         Published: exact for infinitely many endpoints.",
    );
    let loads: &[f64] = effort.pick(&[0.5, 0.9, 0.95], &[0.5, 0.7, 0.8, 0.9, 0.95, 0.99]);
    for &choices in effort.pick(&[1, 2][..], &[1, 2, 3, 5][..]) {
        for &load in loads {
            let market = Market::of_table(load, choices);
            let found = effort.run(|seed| market.run(seed));
            let ours = Estimate::of(&found.iter().map(|found| found.mean_time).collect::<Vec<_>>());
            let tolerance = if load < 0.99 { 0.02 } else { 0.05 };
            let name = format!("d = {choices}, λ = {load:.2}");
            report.rows.push(Row::new(name, ours, mean_time(load, choices), Judge::Within(tolerance)));
            if (choices, load) == (2, 0.9) {
                report.rows.extend(tail_rows(&market, &found));
            }
        }
    }
    report
}

/// How the share of long queues falls off: doubly exponentially.
fn tail_rows(market: &Market, found: &[Found]) -> impl Iterator<Item = Row> {
    (1..=6).map(|i: i32| {
        let shares: Vec<f64> =
            found.iter().map(|found| found.tail.get(i as usize - 1).copied().unwrap_or(0.0)).collect();
        let theory = tail(market.load, market.choices, i);
        // Long queues are few, and with a thousand endpoints instead of infinitely many a few more.
        let judge = if theory > 0.1 { Judge::Within(0.02) } else { Judge::Near(0.002) };
        let name = format!("  share of endpoints with {i} or more");
        Row::new(name, Estimate::of(&shares), theory, judge).unit(Unit::Share)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formula_gives_the_published_table() {
        for (load, expected) in [
            (0.5, [2.000, 1.266, 1.125, 1.031]),
            (0.9, [10.00, 2.614, 2.028, 1.633]),
            (0.99, [100.0, 5.432, 3.858, 2.902]),
        ] {
            for (choices, expected) in [1, 2, 3, 5].into_iter().zip(expected) {
                let time = mean_time(load, choices);
                assert!((time - expected).abs() < 6e-4 * expected, "{load} {choices}: {time}");
            }
        }
        let tails: Vec<f64> = (1..=6).map(|i| tail(0.9, 2, i)).collect();
        for (ours, published) in tails.iter().zip([0.9, 0.729, 0.4783, 0.2059, 0.0382, 0.0013]) {
            assert!((ours - published).abs() < 6e-5, "{tails:?}");
        }
    }

    #[test]
    fn one_choice_is_m_m_1_even_from_empty() {
        let market =
            Market { endpoints: 200, choices: 1, load: 0.5, warm_up: 60.0, measured: 300.0, stationary: false };
        let found = market.run(Seed::new(1));
        // M/M/1: mean time 1/(1 − λ) = 2, P(i or more) = λⁱ. The time average of the number over t has a variance of about
        // 2λ(1 + λ)/((1 − λ)⁴·t) a queue: 24/300 ≈ 0.08, over 200 queues 0.0004, so 0.02 for the number and 0.04 for the time.
        // 0.2 is five of these.
        assert!((found.mean_time - 2.0).abs() < 0.2, "{found:?}");
        for (share, expected) in found.tail.iter().zip([0.5, 0.25, 0.125]) {
            assert!((share - expected).abs() < 0.03, "{found:?}");
        }
    }

    #[test]
    fn two_choices_are_as_the_formula_says() {
        let market = Market { endpoints: 300, choices: 2, load: 0.8, warm_up: 20.0, measured: 100.0, stationary: true };
        let found = market.run(Seed::new(2));
        // 24 000 customers, whose times vary by about one service and are correlated within a dozen services: 1 % at most. 300
        // instead of infinitely many endpoints: another 1 %.
        assert!((found.mean_time - mean_time(0.8, 2)).abs() < 0.05 * 1.947, "{found:?}");
    }

    #[test]
    fn the_same_seed_finds_the_same() {
        let market = Market { endpoints: 50, choices: 3, load: 0.9, warm_up: 5.0, measured: 20.0, stationary: true };
        let times = [1, 1, 2].map(|seed| market.run(Seed::new(seed)).mean_time.to_bits());
        assert!(times[0] == times[1] && times[1] != times[2]);
    }

    #[test]
    fn lengths_add_up_over_time() {
        let at = Mono::from_millis;
        let mut lengths = Lengths::default();
        lengths.on_growth(1, at(0));
        lengths.on_growth(2, at(10));
        lengths.restart(at(20));
        lengths.on_shrinkage(2, at(50));
        // From 20 to 120: one of two queues has one or more all the time, two or more for 30 of 100.
        let shares = lengths.shares(2, at(20), at(120));
        assert!((shares[0] - 0.5).abs() < 1e-12 && (shares[1] - 0.15).abs() < 1e-12, "{shares:?}");
    }
}
