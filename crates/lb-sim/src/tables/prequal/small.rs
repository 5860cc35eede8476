//! A small open experiment with Prequal (sathwick-p/prequal): 16 endpoints, two of them sixteen times slower, 500 requests a second.
//!
//! Published are p99 of 94 ms for Prequal, 807 for round robin and 803 for the least loaded. From these follows about 50 ms for an
//! endpoint and 800 for a slow one; how their times vary is not stated, here by a hundredth. Each endpoint serves 64 at once.

use lb_core::{Class, End, Mono};
use lb_policy::{LeastRequest, P2c, PeakEwma, Prequal, RoundRobin, Ticket};

use super::{Rule, plain};
use crate::client::Client;
use crate::fifo::Fifo;
use crate::histogram::Histogram;
use crate::queue::EventQueue;
use crate::report::{Judge, Row, Unit};
use crate::seed::{Seed, later};
use crate::stats::{Effort, Estimate};

const ENDPOINTS: usize = 16;
const SLOW: usize = 2;
const USUAL: f64 = 0.05;
const SLOWNESS: f64 = 16.0;
const SERVERS: usize = 64;
const RATE: f64 = 500.0;
/// Simulated seconds, and those at the beginning that are not counted.
const SECONDS: u64 = 40;
const WARM_UP: u64 = 5;

enum Event {
    Arrival,
    End(Ticket<usize>),
}

fn run(rule: &Rule, seed: Seed) -> Histogram {
    let mut client = Client::new(rule.policy.clone(), ENDPOINTS, seed.child(0));
    let (mut arrivals, mut works) = (seed.child(1).stream(), seed.child(2).stream());
    let mut endpoints: Vec<Fifo<Ticket<usize>>> = (0..ENDPOINTS).map(|_| Fifo::new(SERVERS)).collect();
    let mut events = EventQueue::new();
    let mut times = Histogram::new();
    events.schedule(Mono::ZERO, Event::Arrival);
    while let Some((now, event)) = events.take_before(Mono::from_millis(SECONDS * 1_000)) {
        let started = match event {
            Event::Arrival => {
                events.schedule(later(now, arrivals.exponential(1.0 / RATE)), Event::Arrival);
                let Some(ticket) = client.pick(now) else { continue };
                let Some(endpoint) = endpoints.get_mut(*ticket.endpoint().value()) else { continue };
                endpoint.arrive(ticket)
            }
            Event::End(mut ticket) => {
                if ticket.started() >= Mono::from_millis(WARM_UP * 1_000) {
                    times.record(now.saturating_since(ticket.started()).as_nanos() as u64);
                }
                let number = *ticket.endpoint().value();
                ticket.on_head(Class::Status(200), now);
                ticket.on_end(End::Completed, now);
                endpoints.get_mut(number).and_then(Fifo::finish)
            }
        };
        if let Some(ticket) = started {
            let factor = if *ticket.endpoint().value() < SLOW { SLOWNESS } else { 1.0 };
            let takes = works.normal(USUAL, USUAL / 100.0) * factor;
            events.schedule(later(now, takes), Event::End(ticket));
        }
    }
    times
}

/// The rows.
pub(super) fn rows(effort: &Effort) -> Vec<Row> {
    let rules = [
        (plain(RoundRobin), Some((0.807, Judge::Within(0.05)))),
        (plain(LeastRequest::exact()), Some((0.803, Judge::Within(0.05)))),
        (plain(P2c), None),
        (plain(PeakEwma::default()), None),
        (plain(Prequal::default()), Some((0.094, Judge::AtMost))),
    ];
    let row = |(rule, published): (Rule, Option<(f64, Judge)>)| {
        let found = effort.run(|seed| run(&rule, seed).quantile(0.99) as f64 / 1e9);
        let row = Row::shown(format!("{}, 2 of 16 slow: p99", rule.name), Estimate::of(&found)).unit(Unit::Millis);
        match published {
            Some((published, judge)) => Row { published: Some(published), judge, ..row },
            None => row,
        }
    };
    rules.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_robin_meets_the_slow_ones_and_prequal_hardly_ever() {
        let p99 = |rule: &Rule| run(rule, Seed::new(1)).quantile(0.99);
        // An eighth of round robin's requests take 800 ± 8 ms; 99 in 100 of all is the 92nd of a hundred of these: 811.
        let turns = p99(&plain(RoundRobin));
        assert!((800_000_000..830_000_000).contains(&turns), "{turns}");
        let learned = p99(&plain(Prequal::default()));
        assert!(learned < 94_000_000, "{learned}");
    }
}
