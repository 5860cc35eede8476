//! The endpoint with the fewest requests in flight per weight.
//!
//! **Source**: nginx's `least_conn` (exact), Envoy's `LEAST_REQUEST` (`choices`). The exact form compares in flight ∕ weight by
//! cross-multiplication, and breaks ties by the turns of `round_robin`: while all are idle, picks come in nginx's order. nginx
//! runs its round among the tied only; here a turn that falls to one not tied is skipped, which gives the tied the same shares.
//! **Cost**: exact, as for `round_robin` while one of the next few in turn is idle, since none can have less; else two loads for every 64
//! endpoints of one weight (`ladder.rs`), 32 bytes an endpoint, and an atomic operation more each time a slot is taken or given back.
//! Every endpoint is looked at, O(n), only when several of the least busy may not be picked (full or tried), or counts are 256 apart. With
//! `choices` = d, d random numbers and loads.
//!
//! **Use it** for WebSockets, long polling and requests of very different length. **Do not** use the exact form when many
//! proxies share the endpoints: all would send to the same least one; use `p2c` or `choices`.
//!
//! What it cannot see: an endpoint that fails fast has nothing in flight and attracts everything. Outlier detection must
//! take it out; `peak_ewma` charges it for failing.

use crate::algorithms::alias::{Alias, MAX_CHOICES};
use crate::algorithms::fewest::Fewest;
use crate::algorithms::p2c::{PER_WEIGHT, is_lighter, per_weight};
use crate::algorithms::turns::{DRAWS, Turns};
use crate::cluster::view::View;
use crate::context::PickCx;
use crate::index::Index;
use crate::options::{Configurable, OptionInfo, Options, PolicyInfo, Unit};
use crate::policy::{Candidate, Choose, Policy};
use crate::signals::Signals;
use crate::witness::{Step, Witness};

/// The policy `least_request`: fewest in flight per weight.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastRequest {
    choices: Option<u8>,
}

impl LeastRequest {
    /// Looks at every endpoint.
    #[must_use]
    pub const fn exact() -> Self {
        Self { choices: None }
    }

    /// Looks at this many, drawn at random in proportion to weight: 1 to 8, clamped. 2 is what `p2c` does.
    #[must_use]
    pub fn choices(choices: u8) -> Self {
        Self { choices: Some(choices.clamp(1, MAX_CHOICES as u8)) }
    }
}

const CHOICES: OptionInfo = OptionInfo {
    name: "choices",
    unit: Unit::Count,
    min: 1.0,
    max: MAX_CHOICES as f64,
    default: None,
    doc: "`least_request`: look at this many, drawn at random; left out, at all.",
};

impl Configurable for LeastRequest {
    const INFO: PolicyInfo = PolicyInfo::new("least_request").options(&[CHOICES]);

    fn from_options(options: &Options<'_>) -> Self {
        options.get(&CHOICES).map_or(Self::exact(), |choices| Self::choices(choices as u8))
    }
}

impl Policy for LeastRequest {
    type Table = LeastRequestTable;

    fn signals(&self) -> Signals {
        match self.choices {
            Some(_) => Signals::ENTROPY.and(Signals::IN_FLIGHT),
            None => Signals::ENTROPY.and(Signals::IN_FLIGHT).and(Signals::FEWEST),
        }
    }

    fn build(&self, candidates: &[Candidate<'_>], previous: Option<&Self::Table>) -> Self::Table {
        let search = match self.choices {
            Some(choices) => Search::Choices { alias: Alias::new(candidates), choices: choices.into() },
            None => Search::Exact {
                fewest: Fewest::new(candidates),
                seats: candidates.iter().map(|c| (c.index, c.weight.value().into())).collect(),
                turns: Turns::new(candidates, previous.and_then(LeastRequestTable::turns)),
            },
        };
        LeastRequestTable { search }
    }
}

/// The table of [`LeastRequest`].
#[derive(Debug)]
pub struct LeastRequestTable {
    search: Search,
}

#[derive(Debug)]
enum Search {
    Exact { fewest: Fewest, seats: Box<[(Index, u64)]>, turns: Turns },
    Choices { alias: Alias, choices: usize },
}

impl LeastRequestTable {
    fn turns(&self) -> Option<&Turns> {
        match &self.search {
            Search::Exact { turns, .. } => Some(turns),
            Search::Choices { .. } => None,
        }
    }
}

impl Choose for LeastRequestTable {
    #[inline]
    fn choose<W: Witness>(&self, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
        match &self.search {
            Search::Exact { fewest, seats, turns } => fewest
                .pick(turns, view, cx)
                .or_else(|| least(seats, turns, view, cx, PER_WEIGHT, |_, in_flight| in_flight.into())),
            Search::Choices { alias, choices } => alias.lightest_of(
                *choices,
                view,
                cx,
                PER_WEIGHT,
                |index| per_weight(view, index),
                |one, other| is_lighter(view, one, other),
            ),
        }
    }
}

/// The usable seat of least load ∕ weight, the load being made from place and requests in flight; the next in turn among several.
pub(crate) fn least<W: Witness>(
    seats: &[(Index, u64)],
    turns: &Turns,
    view: &View<'_>,
    cx: &mut PickCx<'_, W>,
    of: &'static str,
    load: impl Fn(Index, u32) -> u64,
) -> Option<Index> {
    let mut least: Option<(Index, u64, u64)> = None;
    let mut tied = 0;
    for &(index, weight) in seats {
        let Some(in_flight) = view.usable_load(index, cx) else { continue };
        let load = load(index, in_flight);
        cx.witness.note(|| Step::Score { endpoint: index, of, score: load as f64 / weight as f64 });
        let order = least.map_or(std::cmp::Ordering::Less, |(_, best_load, best_weight)| {
            load.saturating_mul(best_weight).cmp(&best_load.saturating_mul(weight))
        });
        match order {
            std::cmp::Ordering::Less => (least, tied) = (Some((index, load, weight)), 1),
            std::cmp::Ordering::Equal => tied += 1,
            std::cmp::Ordering::Greater => {}
        }
    }
    let (first, least_load, least_weight) = least?;
    if tied == 1 {
        return Some(first);
    }
    let is_tied = |index, weight, cx: &PickCx<'_, W>| {
        let own = view.usable_load(index, cx).map(|in_flight| load(index, in_flight));
        own.is_some_and(|own| own.saturating_mul(least_weight) == least_load.saturating_mul(weight))
    };
    for _ in 0..DRAWS {
        let index = turns.next(&cx.witness)?;
        if is_tied(index, view.weight(index).value().into(), cx) {
            return Some(index);
        }
    }
    // Few of many are tied: one of them at random, in proportion to weight.
    let mut total = 0;
    let mut drawn = first;
    for &(index, weight) in seats {
        if is_tied(index, weight, cx) {
            total += weight;
            if cx.entropy.below(total) < weight {
                drawn = index;
            }
        }
    }
    cx.witness.note(|| Step::Draw { endpoint: drawn });
    Some(drawn)
}

#[cfg(test)]
mod tests {
    use lb_core::{Axis, InFlightLimit, Mono};

    use super::*;
    use crate::Tried;
    use crate::testing::{Bench, letters};

    #[test]
    fn idle_endpoints_take_turns_in_the_order_of_nginx() {
        assert_eq!(letters(&Bench::new(LeastRequest::exact(), &[5, 1, 1]).picks(14)), "aabacaaaabacaa");
    }

    #[test]
    fn held_requests_are_in_proportion_to_weight_at_every_moment() {
        let bench = Bench::new(LeastRequest::exact(), &[3, 2, 1]);
        let mut held = Vec::new();
        for round in 1..=20 {
            held.extend((0..6).map(|_| bench.pick().unwrap()));
            assert_eq!(bench.in_flight(), [3 * round, 2 * round, round]);
        }
    }

    #[test]
    fn the_least_busy_one_gets_it_out_of_turn() {
        let bench = Bench::new(LeastRequest::exact(), &[1, 1, 1]);
        let held: Vec<_> = (0..6).map(|_| bench.pick().unwrap()).collect();
        let (freed, held): (Vec<_>, Vec<_>) = held.into_iter().partition(|ticket| *ticket.endpoint().value() == 1);
        drop(freed);
        assert_eq!(bench.in_flight(), [2, 0, 2]);
        assert_eq!(letters(&[*bench.pick().unwrap().endpoint().value()]), "b");
        drop(held);
    }

    #[test]
    fn a_busy_endpoint_s_turns_fall_to_all_idle_ones_equally() {
        let mut bench = Bench::new(LeastRequest::exact(), &[1, 1, 1, 1]);
        let held = bench.pick().unwrap();
        assert_eq!(*held.endpoint().value(), 0);
        assert_eq!(bench.counts(300), [0, 100, 100, 100]);
    }

    #[test]
    fn a_few_tied_among_many_busy_ones_share_equally() {
        let mut bench = Bench::new(LeastRequest::exact(), &[1; 200]);
        let held: Vec<_> = (0..200).map(|_| bench.pick().unwrap()).collect();
        let held: Vec<_> = held.into_iter().filter(|ticket| *ticket.endpoint().value() >= 3).collect();
        let counts = bench.counts(3_000);
        // Mean 1000 each, standard deviation at most √(3000·⅓·⅔) ≈ 26; 130 is five of them.
        assert!(counts[..3].iter().all(|n| n.abs_diff(1_000) < 130), "{:?}", &counts[..4]);
        drop(held);
    }

    /// In flight ∕ weight of every endpoint that may be picked, multiplied by 60 so that it is a whole number for the weights used here.
    fn loads(bench: &Bench<LeastRequest>, tried: &Tried) -> Vec<(usize, u64)> {
        let endpoints = bench.cluster.endpoints();
        let usable =
            endpoints.iter().filter(|e| e.state().has_room(lb_core::Ignored::NOTHING) && !tried.contains(e.uid()));
        usable.map(|e| (*e.value(), 60 * u64::from(e.state().in_flight()) / u64::from(e.weight().value()))).collect()
    }

    #[test]
    fn it_is_always_one_of_the_least_busy_whatever_happens() {
        for (seed, count) in [(1, 3), (2, 70), (3, 300)] {
            let mut dice = crate::Entropy::seeded(seed);
            let weights: Vec<u16> = (0..count).map(|_| [1, 1, 1, 2, 3, 5][dice.below(6) as usize]).collect();
            let bench = Bench::new(LeastRequest::exact(), &weights);
            bench.cluster.set_panic_mode(crate::PanicMode::Never, Mono::ZERO);
            let mut held: Vec<crate::Ticket<usize>> = Vec::new();
            for step in 0..6_000_u64 {
                // Tables follow within ten milliseconds.
                let now = Mono::from_millis(10 * step);
                let n = dice.below(count as u64) as usize;
                match dice.below(60) {
                    0 => bench.cluster.endpoints()[n]
                        .state()
                        .set_max_in_flight(InFlightLimit::new(1 + dice.below(9) as u32)),
                    1..=3 => {
                        let uid = bench.cluster.endpoints()[n].uid();
                        bench.cluster.set(uid, Axis::Check, dice.below(3) == 0, now);
                    }
                    // Its lane stays among those of its first weight.
                    4 => {
                        let place = *bench.cluster.endpoints()[n].value();
                        let member = crate::testing::member(place).weight([1, 2, 3, 5][dice.below(4) as usize]);
                        bench.cluster.apply(crate::Update::Upsert(vec![member]), now);
                    }
                    5..=20 if !held.is_empty() => drop(held.swap_remove(dice.below(held.len() as u64) as usize)),
                    _ => {
                        let mut tried = Tried::new();
                        (0..dice.below(4))
                            .for_each(|t| tried.push(bench.cluster.endpoints()[t as usize % count].uid()));
                        bench.cluster.maintain(now);
                        let loads = loads(&bench, &tried);
                        let picked = bench.pick_with(None, &tried, now).ok();
                        let least = loads.iter().map(|&(_, load)| load).min();
                        let load = picked.as_ref().and_then(|t| loads.iter().find(|(n, _)| n == t.endpoint().value()));
                        assert_eq!(load.map(|&(_, load)| load), least, "step {step} of {count}");
                        held.extend(picked);
                    }
                }
            }
            assert!(held.len() > 100 || count == 3, "{}", held.len());
        }
    }

    #[test]
    fn requests_that_were_in_flight_before_it_came_count_for_it() {
        let bench = Bench::new(crate::RoundRobin, &[1; 130]);
        let mut held: Vec<_> = (0..390).map(|_| bench.pick().unwrap()).collect();
        held.retain(|ticket| *ticket.endpoint().value() != 99 || ticket.endpoint().state().in_flight() < 3);
        let early = held.split_off(200);
        let least = bench.cluster.selector(LeastRequest::exact());
        let mut entropy = crate::Entropy::seeded(1);
        let mut next = || *least.pick(&mut PickCx::new(Mono::ZERO, &mut entropy)).unwrap().endpoint().value();
        let fewest = |bench: &Bench<crate::RoundRobin>| bench.in_flight().into_iter().min();
        for _ in 0..20 {
            let place = next();
            assert_eq!(Some(bench.in_flight()[place]), fewest(&bench));
        }
        drop(early);
        for _ in 0..20 {
            let place = next();
            assert_eq!(Some(bench.in_flight()[place]), fewest(&bench));
        }
        drop(held);
        assert!(bench.in_flight().iter().all(|&n| n == 0));
    }

    #[test]
    fn choices_settle_near_the_weights() {
        let bench = Bench::new(LeastRequest::choices(3), &[2, 1, 1]);
        let _held: Vec<_> = (0..400).map(|_| bench.pick().unwrap()).collect();
        assert_eq!(bench.in_flight(), [200, 100, 100], "three choices of three see every endpoint");
    }
}
