//! Balls in bins: how full the fullest gets when each ball looks at one bin, or at two.
//!
//! Two questions. **Static**: n balls into n bins, none ever leaves. The fullest bin holds about ln n ∕ ln ln n balls if bins are
//! drawn at random, and ln ln n ∕ ln 2 + O(1) if each ball takes the emptier of two (Azar et al. 1994). For such n as there are
//! these leading terms are far off, so ours are compared with the distributions behind them: Poisson for one choice, and for two the
//! fluid limit dsᵢ/dt = sᵢ₋₁² − sᵢ² at t = 1 (Mitzenmacher 1996), where sᵢ is the share of bins with i balls or more. The fullest has i
//! or more with a probability of 1 − exp(−n·sᵢ).
//!
//! **Moving**: a much-read simulation of 2013 (P. Bailis on Heroku's routing): 200 endpoints, 1000 steps; in each 200 requests
//! come and every endpoint serves one. At a load of exactly one, random queues grow like √t, and those of two choices do not. What was
//! published is a single run, and does not state whether queues are measured before or after the service: hence 10 and 15 %.

use lb_core::{Class, End, Mono};
use lb_policy::{BuiltIn, P2c, Random, Ticket};

use crate::client::Client;
use crate::fifo::Fifo;
use crate::histogram::Histogram;
use crate::report::{Judge, Report, Row};
use crate::seed::Seed;
use crate::stats::{Effort, Estimate};

/// The table.
#[must_use]
pub fn report(effort: &Effort) -> Report {
    let mut report = Report::new(
        "Balls in bins: the fullest of n endpoints after n requests that never end (theory: Poisson, fluid limit);\n\
         and queues at 200 endpoints, 1000 steps, each with 200 arrivals and one service everywhere (published by P. Bailis).",
    );
    for &n in effort.pick(&[1_000, 10_000][..], &[1_000, 10_000, 100_000, 1_000_000][..]) {
        let mut client = Client::new(Random.into(), n, Seed::new(0));
        let one = fullest(&mut client, n, effort.seeds);
        // A whole number of balls that hardly varies is known no better than to a fraction of a ball.
        report.rows.push(Row::new(
            format!("random, n = {n}: fullest"),
            one,
            expected_fullest(n, &poisson()),
            Judge::Within(0.1),
        ));
        client = client.with(P2c.into());
        let two = fullest(&mut client, n, effort.seeds);
        report.rows.push(Row::new(
            format!("p2c, n = {n}: fullest"),
            two,
            expected_fullest(n, &fluid_of_two()),
            Judge::Near(0.3),
        ));
        let leading = (n as f64).ln().ln() / std::f64::consts::LN_2;
        let constant = Estimate { mean: two.mean - leading, ..two };
        report.rows.push(Row::new("  beyond ln ln n ∕ ln 2: O(1)".to_owned(), constant, 1.0, Judge::AtMost));
    }
    for (policy, mean, p99) in [(BuiltIn::from(Random), 16.87, 58.7), (P2c.into(), 3.73, 5.40)] {
        let found = effort.run(|seed| batches(&policy, seed));
        let means = Estimate::of(&found.iter().map(Histogram::mean).collect::<Vec<_>>());
        let p99s = Estimate::of(&found.iter().map(|found| found.quantile(0.99) as f64).collect::<Vec<_>>());
        let name = policy.name();
        report.rows.push(Row::new(format!("{name}, batches: mean queue"), means, mean, Judge::Within(0.1)));
        report.rows.push(Row::new(format!("{name}, batches: p99 of queues"), p99s, p99, Judge::Within(0.15)));
    }
    report
}

/// The fullest endpoint after `n` picks. One client serves all seeds, since a million endpoints take longer to make than to fill.
fn fullest(client: &mut Client, n: usize, seeds: u64) -> Estimate {
    let run = |number: u64| {
        *client.entropy() = Seed::new(number).entropy();
        let held: Vec<_> = (0..n).filter_map(|_| client.pick(Mono::ZERO)).collect();
        let fullest = client.cluster().endpoints().iter().map(|endpoint| endpoint.state().in_flight()).max();
        drop(held);
        f64::from(fullest.unwrap_or(0))
    };
    Estimate::of(&(0..seeds).map(run).collect::<Vec<_>>())
}

/// Queue lengths of all endpoints after every step, arrivals before services.
fn batches(policy: &BuiltIn, seed: Seed) -> Histogram {
    const ENDPOINTS: usize = 200;
    const STEPS: u64 = 1_000;
    let mut client = Client::new(policy.clone(), ENDPOINTS, seed);
    let mut serving: Vec<Option<Ticket<usize>>> = (0..ENDPOINTS).map(|_| None).collect();
    let mut queues: Vec<Fifo<Ticket<usize>>> = (0..ENDPOINTS).map(|_| Fifo::new(1)).collect();
    let mut lengths = Histogram::new();
    for step in 0..STEPS {
        let now = Mono::from_millis(step);
        for _ in 0..ENDPOINTS {
            let Some(ticket) = client.pick(now) else { continue };
            let place = *ticket.endpoint().value();
            if let Some(started) = queues.get_mut(place).and_then(|queue| queue.arrive(ticket))
                && let Some(slot) = serving.get_mut(place)
            {
                *slot = Some(started);
            }
        }
        for (queue, slot) in queues.iter_mut().zip(&mut serving) {
            lengths.record(queue.len() as u64);
            if let Some(mut ticket) = slot.take() {
                ticket.on_head(Class::Status(200), now);
                ticket.on_end(End::Completed, now);
                *slot = queue.finish();
            }
        }
    }
    lengths
}

/// Shares of bins with i balls or more, from i = 1 on, after one ball a bin.
type Tail = Vec<f64>;

const LONGEST: usize = 30;

fn poisson() -> Tail {
    let mut term = (-1.0_f64).exp();
    let mut tail = Vec::with_capacity(LONGEST);
    let mut terms = Vec::with_capacity(LONGEST * 2);
    for i in 0..LONGEST * 2 {
        terms.push(term);
        term /= (i + 1) as f64;
    }
    // Summed from the far end, where a difference from one would be lost in rounding.
    let mut sum = 0.0;
    for &term in terms.iter().skip(1).rev() {
        sum += term;
        tail.push(sum);
    }
    tail.reverse();
    tail.truncate(LONGEST);
    tail
}

fn fluid_of_two() -> Tail {
    const STEPS: usize = 20_000;
    let mut tail = vec![0.0_f64; LONGEST];
    let flow = |tail: &[f64]| -> Vec<f64> {
        let before = std::iter::once(1.0).chain(tail.iter().copied());
        before.zip(tail).map(|(before, here)| before * before - here * here).collect()
    };
    for _ in 0..STEPS {
        // The midpoint rule: an error of the order of STEPS⁻².
        let step = 1.0 / STEPS as f64;
        let halfway: Vec<f64> = tail.iter().zip(flow(&tail)).map(|(s, f)| s + f * step / 2.0).collect();
        for (share, flow) in tail.iter_mut().zip(flow(&halfway)) {
            *share += flow * step;
        }
    }
    tail
}

/// The mean of the fullest of `n` bins, taken as independent.
fn expected_fullest(n: usize, tail: &Tail) -> f64 {
    tail.iter().map(|share| 1.0 - (-(n as f64) * share).exp()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn theory_gives_what_is_known() {
        let one = poisson();
        // 1 − 1/e, 1 − 2/e.
        assert!((one[0] - 0.632_12).abs() < 1e-5 && (one[1] - 0.264_24).abs() < 1e-5, "{one:?}");
        let two = fluid_of_two();
        // The shares add up to the balls, one a bin; the first is tanh 1, for ds/dt = 1 − s².
        assert!((two.iter().sum::<f64>() - 1.0).abs() < 1e-6);
        assert!((two[0] - 1.0_f64.tanh()).abs() < 1e-6, "{two:?}");
    }

    #[test]
    fn the_fullest_of_a_thousand_is_as_expected() {
        for (policy, tail, near) in [(BuiltIn::from(Random), poisson(), 1.0), (P2c.into(), fluid_of_two(), 0.5)] {
            let mut client = Client::new(policy, 1_000, Seed::new(0));
            let found = fullest(&mut client, 1_000, 8);
            // One run varies by about 0.8 and 0.2, so eight by 0.3 and 0.1.
            assert!((found.mean - expected_fullest(1_000, &tail)).abs() < near, "{found:?}");
            assert_eq!(client.cluster().endpoints().iter().map(|e| e.state().in_flight()).sum::<u32>(), 0);
        }
    }
}
