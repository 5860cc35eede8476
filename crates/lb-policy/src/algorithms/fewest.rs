//! The search of exact `least_request`: over ladders, sixty-four endpoints a step.
//!
//! While endpoints are idle the next in turn is as good as any and nothing is searched. When none is, every ladder reports its fewest; ladders of
//! different weights are compared by cross-multiplication. Several tied ones take turns if they are many of all, since then the next
//! few turns meet one; if they are few, one is drawn in proportion to weight.
//!
//! A ladder's answer is checked against the endpoint's own count, which also has whether it may be picked at all. One that may not is left out
//! and the search made again; after a few of those every endpoint is looked at.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{self, AtomicBool};

use crate::algorithms::p2c::PER_WEIGHT;
use crate::algorithms::turns::{AHEAD, Turns};
use crate::cluster::view::View;
use crate::context::PickCx;
use crate::estimate::ladder::{Ladder, nth_lane};
use crate::index::Index;
use crate::policy::Candidate;
use crate::witness::{Step, Witness};

/// Candidates by ladder and weight.
#[derive(Debug)]
pub(crate) struct Fewest {
    groups: Box<[Group]>,
    /// For each group its places, in the order of their lanes.
    places: Box<[Box<[Index]>]>,
    members: u64,
    /// The last search found no idle endpoint.
    is_busy: AtomicBool,
}

#[derive(Debug)]
struct Group {
    ladder: Arc<Ladder>,
    lanes: u64,
    weight: u64,
}

/// The least load found, as requests in flight over a weight.
#[derive(Clone, Copy, Debug)]
struct Least {
    in_flight: u64,
    weight: u64,
    /// The first group that has it, and its lanes there.
    group: usize,
    lanes: u64,
    /// How many have it, and their weight together.
    tied: u64,
    total: u64,
}

impl Fewest {
    pub(crate) fn new(candidates: &[Candidate<'_>]) -> Self {
        let mut groups: BTreeMap<(*const Ladder, u16), Vec<&Candidate<'_>>> = BTreeMap::new();
        for candidate in candidates {
            let key = (Arc::as_ptr(candidate.lane.ladder()), candidate.weight.value());
            groups.entry(key).or_default().push(candidate);
        }
        let groups = groups.into_values().map(|mut members| {
            members.sort_unstable_by_key(|candidate| candidate.lane.bit());
            members
        });
        let (groups, places): (Vec<_>, Vec<_>) = groups
            .filter_map(|members| {
                let first = members.first()?;
                let group = Group {
                    ladder: Arc::clone(first.lane.ladder()),
                    lanes: members.iter().fold(0, |lanes, member| lanes | member.lane.bit()),
                    weight: first.weight.value().into(),
                };
                Some((group, members.iter().map(|member| member.index).collect()))
            })
            .unzip();
        Self {
            groups: groups.into(),
            places: places.into(),
            members: candidates.len() as u64,
            is_busy: AtomicBool::new(false),
        }
    }

    /// One of the usable of least load; none if that cannot be decided here.
    #[inline]
    pub(crate) fn pick<W: Witness>(&self, turns: &Turns, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
        if !self.is_busy.load(atomic::Ordering::Relaxed) {
            let idle = turns.next_of(&cx.witness, |index| view.usable_load(index, cx) == Some(0));
            if idle.is_some() {
                return idle;
            }
        }
        let mut out = Out { slots: [(0, 0); MAX_OUT], len: 0 };
        while out.len < MAX_OUT {
            let least = self.search(&out)?;
            if !W::IS_DRY {
                self.note(least.in_flight > 0);
            }
            if least.tied > 1 && least.tied * AHEAD >= self.members {
                let tied = turns.next_of(&cx.witness, |index| {
                    let own = view.usable_load(index, cx).map(u64::from);
                    own.is_some_and(|own| own * least.weight == least.in_flight * u64::from(view.weight(index).value()))
                });
                if tied.is_some() {
                    return tied;
                }
            }
            let (group, lane) = self.draw(least, &out, cx)?;
            let (index, in_flight) = self.at(group, lane, least)?;
            cx.witness.note(|| Step::Score {
                endpoint: index,
                of: PER_WEIGHT,
                score: least.in_flight as f64 / least.weight as f64,
            });
            if view.usable_load(index, cx).map(u64::from) == Some(in_flight) {
                return Some(index);
            }
            out.push(group, lane);
        }
        None
    }

    fn note(&self, is_busy: bool) {
        if self.is_busy.load(atomic::Ordering::Relaxed) != is_busy {
            self.is_busy.store(is_busy, atomic::Ordering::Relaxed);
        }
    }

    #[inline]
    fn search(&self, out: &Out) -> Option<Least> {
        let mut least: Option<Least> = None;
        for (place, group) in self.groups.iter().enumerate() {
            let Some((level, lanes)) = group.ladder.fewest(group.lanes & !out.of(place)) else { continue };
            let in_flight = u64::from(level);
            let order =
                least.map_or(Ordering::Less, |least| (in_flight * least.weight).cmp(&(least.in_flight * group.weight)));
            if order == Ordering::Greater {
                continue;
            }
            let tied = u64::from(lanes.count_ones());
            let total = tied * group.weight;
            match &mut least {
                Some(least) if order == Ordering::Equal => {
                    least.tied += tied;
                    least.total += total;
                }
                _ => least = Some(Least { in_flight, weight: group.weight, group: place, lanes, tied, total }),
            }
        }
        least
    }

    /// One of the tied, in proportion to weight.
    fn draw<W: Witness>(&self, least: Least, out: &Out, cx: &mut PickCx<'_, W>) -> Option<(usize, u64)> {
        if least.tied == 1 {
            return Some((least.group, least.lanes));
        }
        let mut point = cx.entropy.below(least.total);
        for (place, group) in self.groups.iter().enumerate().skip(least.group) {
            let Some(level) = least.level_of(group.weight) else { continue };
            let lanes = group.ladder.at(level) & group.lanes & !out.of(place);
            let total = u64::from(lanes.count_ones()) * group.weight;
            if point < total {
                return Some((place, nth_lane(lanes, (point / group.weight) as u32)?));
            }
            point -= total;
        }
        None
    }

    /// Who has this lane, and how much in flight by what was found.
    fn at(&self, group: usize, lane: u64, least: Least) -> Option<(Index, u64)> {
        let Group { lanes, weight, .. } = self.groups.get(group)?;
        let rank = (lanes & (lane - 1)).count_ones();
        let index = *self.places.get(group)?.get(rank as usize)?;
        Some((index, least.level_of(*weight)?.into()))
    }
}

impl Least {
    /// What an endpoint of this weight has in flight if it is tied; none if no number of requests makes that load.
    fn level_of(&self, weight: u64) -> Option<u32> {
        let scaled = self.in_flight * weight;
        if weight == self.weight {
            u32::try_from(self.in_flight).ok()
        } else if scaled.is_multiple_of(self.weight) {
            u32::try_from(scaled / self.weight).ok()
        } else {
            None
        }
    }
}

/// Lanes left out of a search: full, tried, ineligible by now, or not as they seemed.
struct Out {
    slots: [(usize, u64); MAX_OUT],
    len: usize,
}

/// After so many, every endpoint is looked at.
const MAX_OUT: usize = 8;

impl Out {
    fn push(&mut self, group: usize, lane: u64) {
        if let Some(slot) = self.slots.get_mut(self.len) {
            *slot = (group, lane);
        }
        self.len += 1;
    }

    #[inline]
    fn of(&self, group: usize) -> u64 {
        self.slots.iter().take(self.len).filter(|(other, _)| *other == group).fold(0, |lanes, (_, lane)| lanes | lane)
    }
}
