//! Prequal: keep away from the hot, and among the others take the fastest.
//!
//! **Source**: Wydrowski et al. (NSDI 2024), the hot-cold lexicographic rule: an endpoint whose requests in flight exceed a quantile of those
//! seen lately is hot. Among the cold ones the least latency wins; if all are hot, the fewest in flight. The order matters: in
//! the paper every weighted sum of the two did worse. **Cost**: with a [`ProbePool`](crate::ProbePool) a scan of at most 16 answers;
//! without one, up to five draws.
//!
//! With a pool ([`PickCx::probes`]) it knows what other proxies send to an endpoint. Without one, or with fewer than two fresh
//! answers, it uses this process's requests in flight and latencies, over five endpoints drawn by weight.
//!
//! **Use it** where tails matter and load changes under one's feet: many proxies, noisy neighbours. **Do not** when endpoints fail
//! fast and nothing takes them out: by latency and load they look excellent to a probe (without a pool, failures count as slow).
//! In flight counts per weight.

use crate::algorithms::alias::Alias;
use crate::algorithms::peak_ewma::{TELLING, expected};
use crate::cluster::view::View;
use crate::context::PickCx;
use crate::identity::Uid;
use crate::index::Index;
use crate::options::{Configurable, DECAY, OptionInfo, Options, PENALTY, PolicyInfo, Unit};
use crate::policy::{Candidate, Choose, Policy};
use crate::signals::{Learning, Signals};
use crate::witness::{Step, Witness};

/// The policy `prequal`: hot or cold by requests in flight, then by latency.
#[derive(Clone, Copy, Debug)]
pub struct Prequal {
    quantile: f64,
    learning: Learning,
}

impl Prequal {
    /// 2^−0.25, the paper's choice; 0.6 to 0.9 are sensible.
    pub const QUANTILE: f64 = 0.840_896_415_253_714_6;

    /// Hot is what is above this quantile, 0 (only load counts) to 1 (mostly latency does).
    #[must_use]
    pub fn new(quantile: f64, learning: Learning) -> Self {
        let quantile = if quantile.is_nan() { Self::QUANTILE } else { quantile.clamp(0.0, 1.0) };
        Self { quantile, learning }
    }

    /// The quantile, for [`ProbePool::on_query`](crate::ProbePool::on_query).
    #[must_use]
    pub const fn quantile(&self) -> f64 {
        self.quantile
    }
}

impl Default for Prequal {
    fn default() -> Self {
        Self::new(Self::QUANTILE, Learning::DEFAULT)
    }
}

const QUANTILE: OptionInfo = OptionInfo {
    name: "quantile",
    unit: Unit::Factor,
    min: 0.0,
    max: 1.0,
    default: Some(Prequal::QUANTILE),
    doc: "`prequal`: an endpoint is hot if it has more in flight than this share of the others, 0.84 if left out.",
};

impl Configurable for Prequal {
    const INFO: PolicyInfo = PolicyInfo::new("prequal").options(&[QUANTILE, DECAY, PENALTY]);

    fn from_options(options: &Options<'_>) -> Self {
        Self::new(options.get(&QUANTILE).unwrap_or(Self::QUANTILE), options.learning())
    }
}

impl Policy for Prequal {
    type Table = PrequalTable;

    fn signals(&self) -> Signals {
        Signals::ENTROPY.and(Signals::IN_FLIGHT).and(Signals::LATENCY)
    }

    fn build(&self, candidates: &[Candidate<'_>], _previous: Option<&Self::Table>) -> Self::Table {
        let mut places: Box<[_]> = candidates.iter().map(|candidate| (candidate.uid, candidate.index)).collect();
        places.sort_unstable();
        PrequalTable { policy: *self, alias: Alias::new(candidates), places }
    }

    fn learning(&self) -> Learning {
        self.learning
    }
}

/// The table of [`Prequal`].
#[derive(Debug)]
pub struct PrequalTable {
    policy: Prequal,
    alias: Alias,
    /// Sorted by uid.
    places: Box<[(Uid, Index)]>,
}

impl Choose for PrequalTable {
    fn choose<W: Witness>(&self, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
        self.pick_by_probes(view, cx).or_else(|| self.pick_by_own_sight(view, cx))
    }
}

/// How many endpoints to look at without a pool: enough for "hot" to mean something, few enough to be cheap.
const SIGHTS: usize = 5;

/// How an endpoint looks to the rule.
#[derive(Clone, Copy, Debug)]
struct Sight<H> {
    handle: H,
    /// In flight per weight.
    load: f32,
    latency: f32,
}

impl<H> Sight<H> {
    fn note(&self, endpoint: Index, hot_above: f32, witness: &impl Witness) {
        let (of, score) = match self.load > hot_above {
            true => ("hot: in flight per weight, least wins, after any cold one", self.load),
            false => ("cold: latency, least wins", self.latency),
        };
        witness.note(|| Step::Score { endpoint, of, score: score.into() });
    }
}

/// The hot-cold lexicographic rule; the earlier of two equal ones. Latencies less than 5 % apart are equal.
fn best<H: Copy>(sights: impl Iterator<Item = Sight<H>>, hot_above: f32) -> Option<Sight<H>> {
    sights.reduce(|best, next| {
        let better = match (best.load > hot_above, next.load > hot_above) {
            (false, false) => next.latency < best.latency * TELLING,
            (true, true) => next.load < best.load,
            (best_is_hot, _) => best_is_hot,
        };
        if better { next } else { best }
    })
}

impl PrequalTable {
    fn pick_by_probes<W: Witness>(&self, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
        let pool = cx.probes.as_deref_mut()?;
        pool.drop_stale(cx.now);
        let pool = cx.probes.as_deref()?;
        let usable = pool.live().iter().enumerate().filter_map(|(slot, answer)| {
            let place = self.places.binary_search_by_key(&answer.uid, |&(uid, _)| uid).ok()?;
            let &(_, index) = self.places.get(place)?;
            view.is_usable(index, cx).then(|| Sight {
                handle: (slot, index),
                load: answer.in_flight as f32 / weight(view, index),
                latency: answer.latency.as_secs_f32(),
            })
        });
        usable.clone().nth(1)?;
        let hot_above = pool.hot_above(self.policy.quantile) as f32;
        if W::IS_DRY {
            usable.clone().for_each(|sight| sight.note(sight.handle.1, hot_above, &cx.witness));
        }
        let (slot, index) = best(usable, hot_above)?.handle;
        if let Some(pool) = cx.probes.as_deref_mut() {
            pool.on_use(slot);
        }
        Some(index)
    }

    fn pick_by_own_sight<W: Witness>(&self, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
        let now = cx.now;
        let drawn = self.alias.draw_distinct(SIGHTS, view, cx);
        let load = |index: Index| view.in_flight(index) as f32 / weight(view, index);
        let mut loads = [f32::INFINITY; SIGHTS];
        for (slot, &index) in loads.iter_mut().zip(drawn.as_slice()) {
            *slot = load(index);
        }
        loads.sort_unstable_by(f32::total_cmp);
        let place = (self.policy.quantile * drawn.as_slice().len().saturating_sub(1) as f64) as usize;
        let hot_above = loads.get(place).copied().unwrap_or(0.0);
        let sights = drawn.as_slice().iter().filter_map(|&index| {
            let latency = expected(view.state(index)?, self.policy.learning, now);
            Some(Sight { handle: index, load: load(index), latency })
        });
        if W::IS_DRY {
            sights.clone().for_each(|sight| sight.note(sight.handle, hot_above, &cx.witness));
        }
        best(sights, hot_above).map(|sight| sight.handle)
    }
}

fn weight(view: &View<'_>, index: Index) -> f32 {
    f32::from(view.weight(index).value().max(1))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lb_core::{Axis, Class, End, Mono};

    use super::*;
    use crate::testing::Bench;
    use crate::{Entropy, Probe, ProbePool, ProbeTuning, Tried};

    #[test]
    fn the_cold_one_of_least_latency_wins_and_among_hot_ones_the_least_loaded() {
        let sight = |handle, load, latency| Sight { handle, load, latency };
        let pick = |sights: &[Sight<u8>]| best(sights.iter().copied(), 5.0).map(|sight| sight.handle);
        assert_eq!(pick(&[sight(0, 1.0, 9.0), sight(1, 5.0, 2.0), sight(2, 6.0, 0.1)]), Some(1));
        assert_eq!(pick(&[sight(0, 9.0, 0.1), sight(1, 7.0, 9.0), sight(2, 8.0, 0.1)]), Some(1));
        assert_eq!(pick(&[sight(0, 9.0, 0.1), sight(1, 0.0, 99.0)]), Some(1));
        assert_eq!(pick(&[sight(0, 1.0, 1.0), sight(1, 1.0, 0.99)]), Some(0), "equal");
        assert_eq!(pick(&[]), None);
    }

    fn pooled(bench: &Bench<Prequal>, answers: &[(usize, u32, u64)]) -> ProbePool {
        let mut pool = ProbePool::new(ProbeTuning { removals_per_query: 0.0, ..ProbeTuning::default() });
        let mut entropy = Entropy::seeded(1);
        for &(n, in_flight, ms) in answers {
            let uid = bench.cluster.endpoints()[n].uid();
            let probe = Probe { uid, in_flight, latency: Duration::from_millis(ms) };
            pool.on_probe(probe, answers.len(), &mut entropy, Mono::ZERO);
        }
        pool
    }

    fn pick(bench: &Bench<Prequal>, pool: &mut ProbePool, now: Mono) -> usize {
        let mut entropy = Entropy::seeded(3);
        let mut cx = PickCx::new(now, &mut entropy).probes(Some(pool));
        *bench.selector.pick(&mut cx).unwrap().endpoint().value()
    }

    #[test]
    fn probes_decide_and_a_use_counts_as_a_request() {
        let bench = Bench::new(Prequal::default(), &[1, 1, 1]);
        // Loads 1, 4, 4: hot is above place ⌊0.84·2⌋ = 1, that is 4.
        let mut pool = pooled(&bench, &[(0, 1, 50), (1, 4, 10), (2, 4, 20)]);
        let picks: Vec<_> = (0..3).map(|_| pick(&bench, &mut pool, Mono::ZERO)).collect();
        assert_eq!(picks, [1, 2, 0], "each but the last is hot once it was used");
    }

    #[test]
    fn answers_of_ineligible_endpoints_and_stale_answers_do_not_count() {
        let bench = Bench::new(Prequal::default(), &[1, 1, 1]);
        let mut pool = pooled(&bench, &[(0, 1, 10), (1, 1, 20), (2, 1, 30)]);
        bench.set(0, Axis::Check, true, Mono::ZERO);
        assert_eq!(pick(&bench, &mut pool, Mono::ZERO), 1);
        let late = Mono::from_millis(1_500);
        pick(&bench, &mut pool, late);
        assert!(pool.is_empty());
    }

    #[test]
    fn without_probes_the_fast_get_most_until_they_are_loaded() {
        let bench = Bench::new(Prequal::default(), &[1, 1, 1]);
        for _ in 0..30 {
            let mut ticket = bench.pick_with(None, &Tried::new(), Mono::ZERO).unwrap();
            let took = if *ticket.endpoint().value() == 0 { 5 } else { 50 };
            ticket.on_head(Class::Status(200), Mono::from_millis(took));
            ticket.on_end(End::Completed, Mono::from_millis(took));
        }
        let now = Mono::from_millis(100);
        let mut bench_counts = [0; 3];
        for _ in 0..100 {
            let ticket = bench.pick_with(None, &Tried::new(), now).unwrap();
            bench_counts[*ticket.endpoint().value()] += 1;
        }
        assert_eq!(bench_counts[0], 100, "idle, the fastest takes it: {bench_counts:?}");
        let held: Vec<_> = (0..30).map(|_| bench.pick_with(None, &Tried::new(), now).unwrap()).collect();
        // Of three loads the middle one is the limit: an endpoint above it is hot, so none runs away.
        assert!(bench.in_flight().iter().all(|&n| (9..=11).contains(&n)), "{:?}", bench.in_flight());
        drop(held);
    }
}
