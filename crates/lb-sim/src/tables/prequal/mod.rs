//! Prequal's testbed: many clients, many replicas, and neighbours that take the processor at any time.
//!
//! After Wydrowski et al., *Load is not what you should balance* (NSDI 2024): 100 clients and 100 replicas, each replica with a tenth of
//! a machine for certain and whatever its neighbours leave besides; work normal with σ = µ, cut off at zero; a deadline of 5 s.
//! The **ramp** raises the load by 10/9 a step from 0.75 of what is allotted. The **rules** compare policies at 70 and 90 %.
//!
//! How the neighbours behaved is not published, nor what made the replicas of the second experiment differ. So milliseconds cannot be
//! compared, and are not; the shape can: weighted round robin, which sends every replica its allotted share, falls over a cliff
//! where the load reaches what the unluckiest are allotted, and Prequal, which goes where there is room, does not. Ours:
//!
//! - a machine has 40 cores, a replica 4 for certain; at any time a quarter of the machines are taken up wholly by neighbours, the others
//!   leave a replica 1.5 to 3.5 times its share; it changes every 20 s on average;
//! - a query takes 80 ms of a core on average before the cut, and at most runs on one;
//! - for the rules every other replica is of an older kind and needs three times the work of the others;
//! - weighted round robin gets its weights from q/u (queries a second per core used), as in the paper, smoothed, renewed each
//!   2 s; probes take no time; a replica's latency is the median of the latest eight queries that met as many others there.
//!
//! Clients have run for different times. Those that began together and take turns by the same weights walk through the same order side by
//! side, and meet at the same replicas; a row shows what that does.
//!
//! One thing does not fit: in the paper's second experiment weighted round robin is past its cliff at 90 % (p90 1.7 s, p99 at the
//! deadline), though on its ramp it is not at 93 %. On our bed it is not past it at either, so what the paper shows at 90 % is judged at 1.14.

mod small;
mod testbed;

use lb_policy::{BuiltIn, LeastRequest, P2c, PeakEwma, Prequal, RoundRobin};

use crate::report::{Judge, Report, Row, Unit};
use crate::stats::{Effort, Estimate};

pub use testbed::{Found, Setting, run};

/// A policy as it is used on the testbed.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What it is called in tables.
    pub name: &'static str,
    /// The policy.
    pub policy: BuiltIn,
    /// Whether clients probe the replicas.
    pub probes: bool,
    /// Whether weights follow q/u.
    pub weighs: bool,
    /// Whether all clients have picked equally often before, so that policies by turns are in step.
    pub in_step: bool,
}

/// Weighted round robin.
#[must_use]
pub fn weighted() -> Rule {
    Rule { name: "weighted round_robin", policy: RoundRobin.into(), probes: false, weighs: true, in_step: false }
}

/// Prequal with its probes.
#[must_use]
pub fn probing() -> Rule {
    Rule { name: "prequal, probing", policy: Prequal::default().into(), probes: true, weighs: false, in_step: false }
}

fn plain(policy: impl Into<BuiltIn>) -> Rule {
    let policy = policy.into();
    Rule { name: policy.name(), policy, probes: false, weighs: false, in_step: false }
}

/// The steps of the ramp: load relative to what is allotted.
#[must_use]
pub fn ramp() -> Vec<f64> {
    (0..9).map(|step| 0.75 * (10.0_f64 / 9.0).powi(step)).collect()
}

/// The table.
#[must_use]
pub fn report(effort: &Effort) -> Report {
    let mut report = Report::new(
        "Prequal's testbed: 100 clients, 100 replicas with noisy neighbours, deadline 5 s. Only the shape is comparable.\n\
         Published (Wydrowski et al. 2024) are p99 in ms, and the steps of the ramp at which queries begin to fail.",
    );
    ramp_rows(effort, &mut report.rows);
    rule_rows(effort, &mut report.rows);
    report.rows.extend(small::rows(effort));
    report
}

fn p99(found: &[Found]) -> Estimate {
    Estimate::of(&found.iter().map(|found| found.times.quantile(0.99) as f64 / 1e9).collect::<Vec<_>>())
}

fn failed(found: &[Found]) -> Estimate {
    Estimate::of(&found.iter().map(|found| 1.0 - found.success()).collect::<Vec<_>>())
}

fn ramp_rows(effort: &Effort, rows: &mut Vec<Row>) {
    let seconds = effort.pick(30.0, 40.0);
    let steps = if effort.quick { vec![ramp()[2], ramp()[4], ramp()[7]] } else { ramp() };
    for rule in [weighted(), probing()] {
        let mut cliff = None;
        for &load in &steps {
            let setting = Setting { load, is_mixed: false, seconds };
            let found = effort.run(|seed| run(&rule, setting, seed));
            let failed = failed(&found);
            if failed.mean > 0.001 {
                cliff.get_or_insert(load);
            }
            rows.push(Row::shown(format!("{}, load {load:.2}: p99", rule.name), p99(&found)).unit(Unit::Millis));
            let row = Row::shown(format!("{}, load {load:.2}: failed", rule.name), failed);
            // No time-outs through 1.57.
            let is_promised = rule.probes && load < 1.6;
            let row = if is_promised { Row { published: Some(0.0), judge: Judge::AtMost, ..row } } else { row };
            rows.push(row.unit(Unit::Share));
        }
        if rule.weighs {
            // The first step at which one query in a thousand failed; published 1.03, and we accept a step to either side.
            let cliff = Estimate::exact(cliff.unwrap_or(f64::INFINITY));
            rows.push(Row::new(
                format!("{}: load at which queries begin to fail", rule.name),
                cliff,
                1.03,
                Judge::Near(0.12),
            ));
        }
    }
}

fn rule_rows(effort: &Effort, rows: &mut Vec<Row>) {
    // The paper's p99 in seconds at 70 and at 90 %; the deadline where it was missed.
    let rules = [
        (plain(RoundRobin), Some([5.0, 5.0])),
        (weighted(), Some([0.314, 5.0])),
        (plain(LeastRequest::exact()), Some([1.804, 2.654])),
        (Rule { name: "weighted round_robin in step", in_step: true, ..weighted() }, None),
        (plain(P2c), None),
        (plain(PeakEwma::default()), None),
        (plain(Prequal::default()), None),
        (probing(), Some([0.281, 0.286])),
    ];
    let seconds = effort.pick(20.0, 24.0);
    for (place, load) in [0.7, 0.9, 1.14].into_iter().enumerate() {
        let setting = Setting { load, is_mixed: true, seconds };
        let mut p99s = Vec::new();
        for (rule, published) in rules.iter().filter(|(rule, _)| place == 0 || !rule.in_step) {
            let found = effort.run(|seed| run(rule, setting, seed));
            let p99 = p99(&found);
            p99s.push(p99.mean);
            let published = published.and_then(|published| published.get(place).copied());
            let row = Row { published, ..Row::shown(format!("{}, {load:.2}, mixed: p99", rule.name), p99) };
            rows.push(row.unit(Unit::Millis));
            rows.push(Row::shown(format!("{}, {load:.2}, mixed: failed", rule.name), failed(&found)).unit(Unit::Share));
        }
        let &[turns, by_weight, least, .., probing] = p99s.as_slice() else { continue };
        let mut ratio = |name: &str, ratio: f64, least: f64| {
            rows.push(Row::new(
                format!("{load:.2}, mixed: p99 of {name}"),
                Estimate::exact(ratio),
                least,
                Judge::AtLeast,
            ));
        };
        // The order of the paper, and how far apart at least.
        match place {
            0 => {
                ratio("weighted round_robin ∕ prequal", by_weight / probing, 1.1);
                ratio("least_request ∕ weighted round_robin", least / by_weight, 1.0);
                ratio("round_robin ∕ least_request", turns / least, 1.0);
            }
            1 => {
                ratio("least_request ∕ prequal", least / probing, 2.654 / 0.286);
                ratio("round_robin ∕ least_request", turns / least, 1.0);
            }
            _ => ratio("weighted round_robin ∕ prequal", by_weight / probing, 10.0),
        }
    }
}
