//! The checks, one a promise, in the order of [`PROMISES`](super::PROMISES).

use lb_core::{Axis, Class, End, Ignored, InFlightLimit, Mono};

use super::bench::{Bench, full, identity, key, member};
use super::{Promises, Shares};
use crate::{Entropy, Identity, Member, PickCx, PickError, Policy, Signals, Table, Tried, Update, Zone};

/// What was seen instead, if the promise was not kept.
pub(super) type Verdict = Result<(), String>;

/// Fails with a text unless this holds.
macro_rules! hold {
    ($condition:expr, $($text:tt)+) => {{
        let holds: bool = $condition;
        if !holds {
            return Err(format!($($text)+));
        }
    }};
}

pub(super) struct Suite<'a, P> {
    pub(super) make: &'a dyn Fn() -> P,
    pub(super) promises: &'a Promises,
}

/// Picks, or keys, that a share is measured by.
const SAMPLE: u32 = 6_000;

impl<P: Policy> Suite<'_, P> {
    fn bench(&self, weights: &[u16]) -> Bench<P> {
        Bench::new((self.make)(), weights)
    }

    fn is_keyed(&self) -> bool {
        (self.make)().signals().contains(Signals::KEY)
    }

    pub(super) fn ordinary_states(&self) -> Verdict {
        let bench = self.bench(&[]);
        hold!(matches!(bench.pick(0), Err(PickError::Empty)), "an empty cluster answered {:?}", bench.place(0));
        let bench = self.bench(&[7]);
        hold!((0..50).all(|n| bench.place(n) == Some(0)), "the only endpoint was not picked");
        let bench = self.bench(&[0, 0]);
        hold!(matches!(bench.pick(0), Err(PickError::AllIneligible(_))), "weights zero answered {:?}", bench.place(0));
        let bench = self.bench(&[0, 2, 0, 1]);
        for round in 0..3 {
            let counts = bench.counts(300);
            hold!(matches!(counts[..], [0, _, 0, _]), "weight zero was picked: {counts:?}");
            bench.set(0, Axis::Check, round % 2 == 0);
            bench.cluster.maintain(Mono::from_millis(20 * (round + 1)));
        }
        Ok(())
    }

    pub(super) fn shares(&self) -> Verdict {
        for weights in [&[1, 1, 1][..], &[5, 1, 1], &[4, 3, 2, 1], &[1, 1, 1, 1, 1, 1, 2, 2]] {
            self.expect_shares(&self.bench(weights), weights)?;
        }
        Ok(())
    }

    /// Counts a sample of picks and compares it with what these weights promise; weight zero stands for absent.
    fn expect_shares(&self, bench: &Bench<P>, weights: &[u16]) -> Verdict {
        let counts = bench.counts(SAMPLE);
        let greatest = weights.iter().copied().max();
        let are_equal = weights.iter().all(|&weight| weight == 0 || Some(weight) == greatest);
        let worth = |weight: u16| match self.promises.shares {
            Shares::ByWeight => f64::from(weight),
            Shares::EqualIfWeightsAre if are_equal => f64::from(weight),
            Shares::Equal => f64::from(u16::from(weight > 0)),
            Shares::EqualIfWeightsAre | Shares::Unpromised => 0.0,
        };
        let total: f64 = weights.iter().copied().map(worth).sum();
        if total == 0.0 {
            return Ok(());
        }
        let by_chance = bench.selector.signals().contains(Signals::ENTROPY) || self.is_keyed();
        for (place, (&count, &weight)) in counts.iter().zip(weights).enumerate() {
            let share = worth(weight) / total;
            let due = share * f64::from(SAMPLE);
            let chance = if by_chance { 5.0 * (due * (1.0 - share)).sqrt() } else { weights.len() as f64 };
            let off = (f64::from(count) - due).abs();
            hold!(
                off <= chance + due * self.promises.spread,
                "of weights {weights:?} endpoint {place} had {count} of {SAMPLE} picks instead of {due:.0}: {counts:?}"
            );
        }
        Ok(())
    }

    pub(super) fn smoothness(&self) -> Verdict {
        if !self.promises.is_smooth {
            return Ok(());
        }
        for weights in [[5_u16, 1, 1], [3, 2, 1]] {
            let bench = self.bench(&weights);
            let total: u16 = weights.iter().sum();
            let mut counts = [0.0_f64; 3];
            for turn in 1..=u32::from(total) * 5 {
                let place = bench.place(turn);
                if let Some(count) = place.and_then(|place| counts.get_mut(place)) {
                    *count += 1.0;
                }
                for (count, weight) in counts.iter().zip(weights) {
                    let due = f64::from(turn) * f64::from(weight) / f64::from(total);
                    hold!((count - due).abs() < 1.0, "of weights {weights:?} after {turn} turns {counts:?}");
                }
            }
        }
        Ok(())
    }

    pub(super) fn redistribution(&self) -> Verdict {
        for (weights, out) in [([5, 1, 1], 0), ([1, 5, 1], 1), ([2, 4, 6], 2), ([1, 1, 1], 1)] {
            let bench = self.bench(&weights);
            bench.set(out, Axis::Ejected, true);
            let mut left = weights;
            if let Some(weight) = left.get_mut(out) {
                *weight = 0;
            }
            self.expect_shares(&bench, &left).map_err(|seen| format!("before the tables followed: {seen}"))?;
            bench.cluster.maintain(Mono::from_millis(100));
            self.expect_shares(&bench, &left).map_err(|seen| format!("after the tables followed: {seen}"))?;
        }
        Ok(())
    }

    pub(super) fn recovery(&self) -> Verdict {
        let weights = [5, 1, 2];
        let bench = self.bench(&weights);
        for round in 0..3_u64 {
            let out = round as usize;
            bench.set(out, Axis::Check, true);
            bench.cluster.maintain(Mono::from_millis(40 * round + 20));
            bench.set(out, Axis::Check, false);
            bench.cluster.maintain(Mono::from_millis(40 * round + 40));
            self.expect_shares(&bench, &weights)?;
        }
        Ok(())
    }

    pub(super) fn update(&self) -> Verdict {
        let bench = self.bench(&[5, 1, 2, 3]);
        bench.counts(7);
        bench.cluster.apply(Update::Remove(vec![identity(0)]), Mono::ZERO);
        self.expect_shares(&bench, &[0, 1, 2, 3]).map_err(|seen| format!("after a removal: {seen}"))?;
        bench.cluster.apply(Update::Upsert(vec![member(1, 4), member(0, 2)]), Mono::ZERO);
        self.expect_shares(&bench, &[2, 4, 2, 3]).map_err(|seen| format!("after new weights: {seen}"))
    }

    pub(super) fn honest_table(&self) -> Verdict {
        let bench = self.bench(&[2, 1, 1, 3, 1, 0]);
        let endpoints = bench.cluster.endpoints();
        let held = full(&bench, 3);
        bench.set(0, Axis::Check, true);
        let mut tried = Tried::new();
        tried.push(endpoints.get(4).map_or(crate::Uid::NONE, |endpoint| endpoint.uid()));
        let mut entropy = Entropy::seeded(5);
        for n in 0..400 {
            let key = key(n);
            let mut cx = PickCx::new(Mono::ZERO, &mut entropy).key(Some(&key)).tried(&tried);
            let wrong = bench.selector.inspect(|table, view| {
                let index = table.pick(view, &mut cx)?;
                (!view.is_usable(index, &cx)).then_some(index.get())
            });
            hold!(wrong.flatten().is_none(), "endpoint {wrong:?} is out, full, tried or of weight zero");
        }
        drop(held);
        Ok(())
    }

    pub(super) fn eligibility(&self) -> Verdict {
        let bench = self.bench(&[1, 2, 3, 1, 2]);
        let mut dice = Entropy::seeded(7);
        let mut now = 0;
        for step in 0..800 {
            let place = dice.below(5) as usize;
            let axis = Axis::ALL.get(dice.below(Axis::ALL.len() as u64) as usize).copied().unwrap_or(Axis::Check);
            match dice.below(12) {
                0 => drop(bench.cluster.apply(Update::Remove(vec![identity(place)]), Mono::from_millis(now))),
                1..=3 => {
                    let weight = dice.below(4) as u16;
                    bench.cluster.apply(Update::Upsert(vec![member(place, weight)]), Mono::from_millis(now));
                }
                4 => bench.cluster.maintain(Mono::from_millis(now)),
                _ => {
                    if let Some(uid) = bench.cluster.uid_of(&identity(place)) {
                        bench.cluster.set(uid, axis, dice.below(3) == 0, Mono::from_millis(now));
                    }
                }
            }
            now += dice.below(8);
            let endpoints = bench.cluster.endpoints();
            let any_eligible = endpoints.iter().any(|endpoint| endpoint.state().is_eligible());
            // Where none is, those that cool down serve.
            let ignored = if any_eligible { Ignored::NOTHING } else { Ignored::COOL_DOWNS };
            match bench.pick(step) {
                Ok(ticket) => {
                    let endpoint = ticket.endpoint();
                    let member = endpoints.iter().any(|listed| listed.uid() == endpoint.uid());
                    hold!(member, "step {step}: {} is no member", endpoint.identity());
                    let is_right = endpoint.state().is_eligible_ignoring(ignored);
                    hold!(is_right, "step {step}: {} is not eligible", endpoint.identity());
                }
                Err(error) => hold!(!any_eligible, "step {step}: {error} although an endpoint is eligible"),
            }
        }
        Ok(())
    }

    pub(super) fn retries(&self) -> Verdict {
        let bench = self.bench(&[9, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
        let mut entropy = Entropy::seeded(3);
        for n in 0..50 {
            let key = key(n);
            let mut tried = Tried::new();
            for attempt in 0..12 {
                let mut cx = PickCx::new(Mono::ZERO, &mut entropy).key(Some(&key)).tried(&tried);
                let Ok(ticket) = bench.selector.pick(&mut cx) else {
                    return Err(format!("attempt {attempt} of 12 found no endpoint"));
                };
                hold!(!tried.contains(ticket.endpoint().uid()), "attempt {attempt} repeats an endpoint");
                tried.push(ticket.endpoint().uid());
            }
            let mut cx = PickCx::new(Mono::ZERO, &mut entropy).key(Some(&key)).tried(&tried);
            let last = bench.selector.pick(&mut cx).map(|ticket| *ticket.endpoint().value());
            hold!(matches!(last, Err(PickError::AllTried(_))), "all were tried, and the answer was {last:?}");
        }
        Ok(())
    }

    pub(super) fn limits(&self) -> Verdict {
        let bench = self.bench(&[4, 1, 2]);
        for endpoint in bench.cluster.endpoints().iter() {
            endpoint.state().set_max_in_flight(InFlightLimit::new(3));
        }
        let held: Vec<_> = (0..9).map(|n| bench.pick(n)).collect();
        hold!(held.iter().all(Result::is_ok), "nine slots are free, and a request found none");
        hold!(bench.in_flight() == [3, 3, 3], "in flight {:?} of three each", bench.in_flight());
        let more = bench.pick(9).map(|ticket| *ticket.endpoint().value());
        hold!(matches!(more, Err(PickError::AllFull(_))), "all are full, and the answer was {more:?}");
        drop(held);
        hold!(bench.pick(9).is_ok(), "slots were given back, and a request found none");
        Ok(())
    }

    pub(super) fn leaks(&self) -> Verdict {
        let bench = self.bench(&[1, 2, 3, 0]);
        let work = |seed: u64| {
            let mut entropy = Entropy::seeded(seed);
            let mut held = Vec::new();
            for n in 0..2_000_u32 {
                let key = key(n);
                let mut cx = PickCx::new(Mono::from_millis(n.into()), &mut entropy).key(Some(&key));
                held.extend(bench.selector.pick(&mut cx).ok());
                if n % 3 == 0 {
                    held.truncate(held.len() / 2);
                } else if let (1, Some(ticket)) = (n % 3, held.pop()) {
                    ticket.on_end(End::ClientGone, Mono::from_millis(n.into()));
                }
            }
        };
        std::thread::scope(|scope| {
            for seed in 0..3 {
                scope.spawn(move || work(seed));
            }
            for n in 0..40_usize {
                let now = Mono::from_millis(n as u64);
                bench.cluster.apply(Update::Remove(vec![identity(n % 3)]), now);
                bench.cluster.apply(Update::Upsert(vec![member(n % 3, 1)]), now);
            }
        });
        hold!(bench.in_flight().iter().all(|&n| n == 0), "in flight when all is over: {:?}", bench.in_flight());
        Ok(())
    }

    pub(super) fn time(&self) -> Verdict {
        let bench = self.bench(&[2, 1]);
        let times = [5_000, 5_000, 100, 0, 9_000_000, 1, u64::MAX / 1_000_000, 0];
        for (n, now) in (0..400).zip(times.into_iter().cycle()) {
            let Ok(mut ticket) = bench.pick_at(n, Mono::from_millis(now)) else {
                return Err(format!("no endpoint was found at {now} ms"));
            };
            ticket.on_head(Class::Status(200), Mono::ZERO);
            ticket.on_end(End::Completed, Mono::ZERO);
            bench.cluster.maintain(Mono::from_millis(now));
        }
        Ok(())
    }

    pub(super) fn strangers(&self) -> Verdict {
        let weights = [1, 1, 1];
        let (one, other) = (self.bench(&weights), self.bench(&weights));
        one.set(0, Axis::Ejected, true);
        one.cluster.maintain(Mono::from_millis(20));
        one.counts(10);
        self.expect_shares(&other, &weights).map_err(|seen| format!("an ejection elsewhere was felt: {seen}"))?;
        let uid = other.cluster.endpoints().first().map(|endpoint| endpoint.state().is_eligible());
        hold!(uid == Some(true), "an ejection elsewhere was taken over");
        Ok(())
    }

    pub(super) fn flaps(&self) -> Verdict {
        if !self.is_keyed() {
            return Ok(());
        }
        let bench = self.bench(&[2, 1, 1, 1, 3]);
        let before = bench.owners();
        for out in 0..5_u64 {
            bench.set(out as usize, Axis::Check, true);
            bench.cluster.maintain(Mono::from_millis(40 * out + 20));
            let moved = before
                .iter()
                .zip(bench.owners())
                .filter(|(before, during)| **before != Some(out as usize) && **before != *during);
            let moved = moved.count();
            hold!(moved == 0, "endpoint {out} went out and {moved} keys of others moved");
            bench.set(out as usize, Axis::Check, false);
            bench.cluster.maintain(Mono::from_millis(40 * out + 40));
            hold!(before == bench.owners(), "endpoint {out} came back and its keys did not");
        }
        Ok(())
    }

    pub(super) fn disruption(&self) -> Verdict {
        let (true, Some(allowed)) = (self.is_keyed(), self.promises.disruption) else { return Ok(()) };
        let bench = self.bench(&[1; 10]);
        let before = bench.owners();
        let too_many = |after: &[Option<usize>], without: usize| {
            let needless = before
                .iter()
                .zip(after)
                .filter(|(before, after)| **before != Some(without) && **after != Some(without) && before != after);
            needless.count() as f64 / before.len() as f64
        };
        bench.cluster.apply(Update::Remove(vec![identity(3)]), Mono::ZERO);
        let share = too_many(&bench.owners(), 3);
        hold!(share <= allowed, "one of ten left and {:.1} % of all keys moved for nothing", 100.0 * share);
        bench.cluster.apply(Update::Upsert(vec![member(3, 1)]), Mono::ZERO);
        hold!(before == bench.owners(), "it joined again, at the end of the list, and keys moved");
        bench.cluster.apply(Update::Upsert(vec![member(10, 1)]), Mono::ZERO);
        let share = too_many(&bench.owners(), 10);
        hold!(share <= allowed, "an eleventh joined and {:.1} % of all keys moved for nothing", 100.0 * share);
        Ok(())
    }

    pub(super) fn restart(&self) -> Verdict {
        if !self.is_keyed() {
            return Ok(());
        }
        let bench = self.bench(&[1, 2, 1]);
        let before = bench.owners();
        let moved = Member::new(Identity::new(identity(1).name, "10.99.99.99:80"), 1).weight(2);
        let members = vec![member(0, 1), moved, member(2, 1)];
        bench.cluster.apply(Update::Reset(members), Mono::ZERO);
        hold!(before == bench.owners(), "an endpoint came back under another address and keys moved");
        Ok(())
    }

    pub(super) fn balance(&self) -> Verdict {
        let Some(allowed) = self.promises.imbalance else { return Ok(()) };
        for weights in [[1_u16, 1, 1, 1], [4, 2, 1, 1]] {
            let bench = self.bench(&weights);
            let held: Vec<_> = (0..160).map(|n| bench.pick(n)).collect();
            let loads: Vec<f64> = bench
                .in_flight()
                .iter()
                .zip(weights)
                .map(|(&in_flight, weight)| f64::from(in_flight) / f64::from(weight))
                .collect();
            let (low, high) = loads.iter().fold((f64::MAX, f64::MIN), |(l, h), &load| (load.min(l), load.max(h)));
            hold!(high - low <= allowed, "with 160 requests held, in flight per weight {weights:?} is {loads:?}");
            drop(held);
        }
        Ok(())
    }

    pub(super) fn failures(&self) -> Verdict {
        let signals = (self.make)().signals();
        if !signals.contains(Signals::LATENCY) && !signals.contains(Signals::AVERAGE) {
            return Ok(());
        }
        let bench = self.bench(&[1, 1, 1]);
        let mut now = 0;
        let mut failed = 0;
        for n in 0..600 {
            let Ok(mut ticket) = bench.pick_at(n, Mono::from_millis(now)) else {
                return Err("no endpoint was found".to_owned());
            };
            let fails = *ticket.endpoint().value() == 0;
            failed += u32::from(fails);
            now += if fails { 0 } else { 20 };
            let class = if fails { Class::Status(503) } else { Class::Status(200) };
            ticket.on_head(class, Mono::from_millis(now));
            ticket.on_end(End::Completed, Mono::from_millis(now));
        }
        hold!(failed <= 60, "one of three that fails at once had {failed} of 600 requests");
        Ok(())
    }
}

/// Where the endpoints are when zones are looked at: three in each of three zones, in an order that is not that of `ORIGINS`.
const PLACES: [u32; 9] = [7, 2, 3, 7, 2, 3, 7, 2, 3];

impl<P: Policy> Suite<'_, P> {
    pub(super) fn zones(&self) -> Verdict {
        let bench = self.bench(&[]);
        let members = PLACES.iter().enumerate().map(|(place, &zone)| member(place, 1).zone(Some(Zone(zone))));
        bench.cluster.apply(Update::Reset(members.collect()), Mono::ZERO);
        // Zones 2 and 3 have a third of the origins and of the endpoints: they keep all. Zone 9 has none to keep, and only zone 7 has
        // endpoints to spare. No origin is in zone 7.
        for (from, to) in [(2, Some(2)), (3, Some(3)), (9, Some(7)), (7, None)] {
            let mut entropy = Entropy::seeded(1);
            for n in 0..300 {
                let key = key(n);
                let mut cx = PickCx::new(Mono::ZERO, &mut entropy).key(Some(&key)).zone(Some(Zone(from)));
                let Ok(ticket) = bench.selector.pick(&mut cx) else {
                    return Err(format!("a request from zone {from} found no endpoint"));
                };
                let zone = ticket.endpoint().zone().map(|zone| zone.0);
                let is_right = !self.promises.is_zone_aware || to.is_none() || zone == to;
                hold!(is_right, "a request from zone {from} went to zone {zone:?} instead of {to:?}");
            }
        }
        Ok(())
    }
}
