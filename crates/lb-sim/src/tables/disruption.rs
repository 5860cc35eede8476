//! Disruption: which keys lose their endpoint when the list of endpoints changes, and how even the shares are.
//!
//! When an endpoint leaves, its keys must go elsewhere, and when one joins, it must get some. Every key that moves beyond these is a
//! cache entry or a session lost for nothing: the **excess**. It is counted key by key: after a removal a key that moved though its
//! endpoint stayed; after an addition one that moved to an endpoint that was there before. A **flap** is an endpoint that fails its
//! check: nothing is rebuilt for it, and no other keys may move.
//!
//! The **spread** is the standard deviation of the endpoints' shares relative to their mean, less what the finite number of keys adds.

use std::collections::BTreeMap;

use lb_core::{Axis, Mono};
use lb_policy::{
    BuiltIn, Cluster, Entropy, Hash, Identity, IpHash, Maglev, Memento, PickCx, Rendezvous, RingHash, Selector, Uid,
    Update,
};

use crate::client::{endpoint_name, members};
use crate::report::{Judge, Report, Row, Unit};
use crate::seed::Seed;
use crate::stats::{Effort, Estimate};

/// What happens to the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// One leaves.
    RemoveOne,
    /// One in twenty leave.
    RemoveTwentieth,
    /// One joins.
    AddOne,
    /// One is found ill, and stays a member.
    Flap,
}

impl Change {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::RemoveOne, Self::RemoveTwentieth, Self::AddOne, Self::Flap];

    /// What it is called in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RemoveOne => "remove 1",
            Self::RemoveTwentieth => "remove 5 %",
            Self::AddOne => "add 1",
            Self::Flap => "1 fails its check",
        }
    }
}

/// What a run found; all are shares of one.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Of the keys that move needlessly at each change, in the order of [`Change::ALL`].
    pub excess: [f64; 4],
    /// The variance of the endpoints' shares relative to their mean, less what the finite number of keys adds; below zero by chance.
    pub variance: f64,
    /// The greatest share relative to the mean.
    pub fullest: f64,
}

/// The hashes.
#[must_use]
pub fn policies() -> [BuiltIn; 6] {
    [
        Rendezvous::new().into(),
        Memento::new().into(),
        RingHash::new().into(),
        Maglev::new().into(),
        Hash::new().into(),
        IpHash::new().into(),
    ]
}

/// Makes one run with `n` endpoints. Changes are tried on a fifth of the keys.
#[must_use]
pub fn run(policy: &BuiltIn, n: usize, keys: usize, seed: Seed) -> Found {
    let fleet = Fleet::new(policy, n, seed);
    let before = fleet.owners(keys);
    let mut found = Found::default();
    for (excess, change) in found.excess.iter_mut().zip(Change::ALL) {
        let fleet = Fleet::new(policy, n, seed);
        let gone = fleet.undergo(change, n, seed);
        let after = fleet.owners(keys / 5);
        let needless = before.iter().zip(&after).filter(|&(before, after)| {
            // The endpoint that joins has the number n; keys that moved there had to.
            before != after && !gone.contains(before) && *after != n
        });
        *excess = needless.count() as f64 / after.len() as f64;
    }
    (found.variance, found.fullest) = evenness(&before, n);
    found
}

/// The variance of the shares and the greatest of them, relative to the mean.
fn evenness(owners: &[usize], n: usize) -> (f64, f64) {
    let mut counts: BTreeMap<usize, f64> = (0..n).map(|endpoint| (endpoint, 0.0)).collect();
    for &owner in owners {
        *counts.entry(owner).or_default() += 1.0;
    }
    let mean = owners.len() as f64 / n as f64;
    let variance = counts.values().map(|count| (count - mean).powi(2)).sum::<f64>() / n as f64;
    let fullest = counts.values().copied().fold(0.0, f64::max);
    // Drawing keys at random adds a multinomial variance of mean·(1 − 1/n).
    let own = variance - mean * (1.0 - 1.0 / n as f64);
    (own / mean.powi(2), fullest / mean)
}

/// A cluster under a hash policy.
struct Fleet {
    cluster: Cluster<usize>,
    selector: Selector<BuiltIn, usize>,
    name: String,
    keys: Entropy,
}

impl Fleet {
    fn new(policy: &BuiltIn, n: usize, seed: Seed) -> Self {
        let name = format!("f{}", seed.stream().below(1_000_000_000));
        let cluster = Cluster::new("simulated");
        cluster.apply(Update::Reset(members(&name, 0..n)), Mono::ZERO);
        let selector = cluster.selector(policy.clone());
        Self { cluster, selector, name, keys: seed.child(1).entropy() }
    }

    /// Makes the change and returns the endpoints whose keys have to move.
    fn undergo(&self, change: Change, n: usize, seed: Seed) -> Vec<usize> {
        let mut all: Vec<usize> = (0..n).collect();
        seed.child(2).stream().shuffle(&mut all);
        all.truncate(if change == Change::RemoveTwentieth { (n / 20).max(1) } else { 1 });
        let identity = |&number: &usize| Identity::literal(endpoint_name(&self.name, number));
        match change {
            Change::RemoveOne | Change::RemoveTwentieth => {
                self.cluster.apply(Update::Remove(all.iter().map(identity).collect()), Mono::ZERO);
            }
            Change::AddOne => {
                self.cluster.apply(Update::Upsert(members(&self.name, [n])), Mono::ZERO);
                all.clear();
            }
            Change::Flap => {
                let uids = all.iter().filter_map(|number| self.cluster.uid_of(&identity(number)));
                uids.for_each(|uid: Uid| {
                    self.cluster.set(uid, Axis::Check, true, Mono::ZERO);
                });
            }
        }
        all
    }

    /// Where the keys go: random ones of 16 bytes, always the same.
    fn owners(&self, keys: usize) -> Vec<usize> {
        let mut draws = self.keys.clone();
        let mut entropy = Entropy::seeded(0);
        let owner = |_| {
            let mut key = [0; 16];
            let (head, tail) = key.split_at_mut(8);
            head.copy_from_slice(&draws.next_u64().to_le_bytes());
            tail.copy_from_slice(&draws.next_u64().to_le_bytes());
            let ticket = self.selector.pick(&mut PickCx::new(Mono::ZERO, &mut entropy).key(Some(&key))).ok();
            ticket.map_or(usize::MAX, |ticket| *ticket.endpoint().value())
        };
        (0..keys).map(owner).collect()
    }
}

/// The table.
#[must_use]
pub fn report(effort: &Effort) -> Report {
    let mut report = Report::new(
        "Disruption: keys that move without need when the list changes, and how even the shares are.\n\
         Published: zero for rendezvous, memento and rings; about 2 % for Maglev (Eisenbud et al.); 1 − 1/n for modulo; spread 1/√160 for a ring of 160 points.\n\
         Shares are measured by 10 000 (n = 10) to 500 (n = 1000) keys an endpoint; perfectly even ones would show a greatest of 1.015 to 1.15.",
    );
    for policy in policies() {
        for &n in effort.pick(&[10, 100][..], &[10, 100, 1_000][..]) {
            // What chance adds to the variance is 1/(keys per endpoint); it is taken off, but for an error of √(2/(n·seeds)) of it.
            let keys = (500 * n).max(effort.pick(20_000, 100_000));
            let found = effort.run(|seed| run(&policy, n, keys, seed));
            rows(&policy, n, &found, &mut report.rows);
        }
    }
    report
}

fn rows(policy: &BuiltIn, n: usize, found: &[Found], rows: &mut Vec<Row>) {
    let over = |figure: &dyn Fn(&Found) -> f64| Estimate::of(&found.iter().map(figure).collect::<Vec<_>>());
    let name = policy.name();
    for (place, change) in Change::ALL.into_iter().enumerate() {
        let excess = over(&|found| found.excess.get(place).copied().unwrap_or(0.0));
        let (published, judge) = expectation(policy, n, change);
        let row =
            Row { published, ..Row::new(format!("{name}, n = {n}, {}: excess", change.name()), excess, 0.0, judge) };
        rows.push(row.unit(Unit::Share));
    }
    let (published, judge) = match policy {
        // σ/mean of 160 exponential arcs, 1/√160; √(1 − 1/n) of it since the shares add up to one.
        BuiltIn::RingHash(_) => (Some((1.0 / 160.0 * (1.0 - 1.0 / n as f64)).sqrt()), Judge::Within(0.15)),
        BuiltIn::Maglev(_) => (Some(0.01), Judge::AtMost),
        BuiltIn::Rendezvous(_) | BuiltIn::Memento(_) => (Some(0.0), Judge::Near(0.01)),
        // nginx's hashes have 15 bits, and 6271 values.
        BuiltIn::Hash(_) => (Some(spread_of_modulo(1 << 15, n)), Judge::Near(0.01)),
        BuiltIn::IpHash(_) => (Some(spread_of_modulo(6_271, n)), Judge::Near(0.01)),
        _ => (None, Judge::Shown),
    };
    let row = Row {
        published,
        ..Row::new(format!("{name}, n = {n}: spread of shares"), spread(over(&|found| found.variance)), 0.0, judge)
    };
    rows.push(row.unit(Unit::Share));
    rows.push(Row::shown(format!("{name}, n = {n}: greatest share ∕ mean"), over(&|found| found.fullest)));
}

/// The spread of `values` equally likely hashes modulo `n`: some endpoints get one value more than others.
fn spread_of_modulo(values: usize, n: usize) -> f64 {
    let more = (values % n) as f64 / n as f64;
    (more * (1.0 - more)).sqrt() * n as f64 / values as f64
}

/// A standard deviation from a variance.
fn spread(variance: Estimate) -> Estimate {
    let mean = variance.mean.max(0.0).sqrt();
    let highest = (variance.mean + variance.half_width).max(0.0).sqrt();
    Estimate { mean, half_width: highest - mean }
}

/// What is known of the excess.
fn expectation(policy: &BuiltIn, n: usize, change: Change) -> (Option<f64>, Judge) {
    match (policy, change) {
        (BuiltIn::Rendezvous(_) | BuiltIn::Memento(_), _) => (Some(0.0), Judge::AtMost),
        // A flap rebuilds nothing; nor does a ring's point ever care for the others.
        (BuiltIn::RingHash(_) | BuiltIn::Maglev(_), Change::Flap) => (Some(0.0), Judge::AtMost),
        // Two points in 160·n of the 2³² may coincide, and one of them then shows when the other leaves: 1e-5 of the keys.
        (BuiltIn::RingHash(_), _) => (Some(0.0), Judge::Near(1e-4)),
        (BuiltIn::Maglev(_), Change::RemoveOne | Change::AddOne) => (Some(0.02), Judge::AtMost),
        // 1 − 1/n of the keys move, 1/n of all had to. With a thousand endpoints the 15 bits of the hash show.
        (BuiltIn::Hash(_), Change::RemoveOne) => (Some(1.0 - 2.0 / n as f64), Judge::Near(0.04)),
        (BuiltIn::Hash(_), Change::AddOne) => (Some(1.0 - 2.0 / (n + 1) as f64), Judge::Near(0.04)),
        _ => (None, Judge::Shown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rendezvous_moves_no_key_without_need_and_modulo_nearly_all() {
        let found = run(&Rendezvous::new().into(), 20, 4_000, Seed::new(1));
        assert_eq!(found.excess, [0.0; 4]);
        // σ of the largest of 20 shares of 200 keys is 14; 60 is four of them.
        assert!(found.fullest < 1.3, "{found:?}");
        let modulo = run(&Hash::new().into(), 20, 4_000, Seed::new(1));
        assert!(modulo.excess[0] > 0.8 && modulo.excess[2] > 0.8, "{modulo:?}");
    }

    #[test]
    fn evenness_leaves_out_what_chance_adds() {
        let mut stream = Seed::new(3).stream();
        let random: Vec<usize> = (0..10_000).map(|_| stream.below(10) as usize).collect();
        let (variance, fullest) = evenness(&random, 10);
        // Chance adds 1/1000·0.9, known to √(2/9) of itself: 0.0004; five of these.
        assert!(variance.abs() < 0.0021 && (1.0..1.15).contains(&fullest), "{variance} {fullest}");
        let quarters: Vec<usize> = (0..10_000).map(|n| usize::from(n % 4 != 0)).collect();
        let (variance, fullest) = evenness(&quarters, 2);
        // Shares of 0.5 and 1.5: a variance of 0.25, less 0.5/5000.
        assert!((variance - 0.2499).abs() < 1e-9 && (fullest - 1.5).abs() < 1e-12, "{variance} {fullest}");
    }
}
