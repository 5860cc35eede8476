//! What a pick costs, in units of one uncontended atomic addition (F) on this machine in this run.
//!
//! Nanoseconds differ between machines and between two minutes of a shared one; a ratio of medians taken in the same rounds does not. So
//! every case runs once a round, F among them, and what is printed is the median over rounds of its ratio to F.
//!
//! `CARGO_PROFILE_RELEASE_LTO=thin CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 cargo run --release -p lb-policy --example cost [word]`
//! runs the cases whose name contains the word; without one, all of them.
#![allow(clippy::print_stdout)] // It is a report for a terminal.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lb_core::{Class, Clock, End, Mono, SystemClock};
use lb_policy::{
    Cluster, Entropy, Identity, Index, LeastRequest, Maglev, Member, P2c, PeakEwma, PickCx, Policy, RoundRobin,
    Selector, Table, Update, View,
};

const ROUNDS: usize = 301;
const KEY: &[u8; 24] = b"/assets/logo.7f3a91c.png";

/// A case runs this many times what it measures.
type Work = Box<dyn FnMut(u32)>;

struct Case {
    name: String,
    target: Option<f64>,
    work: Work,
}

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let mut cases: Vec<Case> = Vec::new();
    let floor = AtomicU64::new(0);
    cases.push(Case {
        name: "F".to_owned(),
        target: None,
        work: Box::new(move |times| repeat(times, || floor.fetch_add(1, Ordering::Relaxed))),
    });
    let handle = Arc::new(0_u64);
    cases.push(Case {
        name: "clone and drop of an Arc".to_owned(),
        target: None,
        work: Box::new(move |times| repeat(times, || drop(Arc::clone(&handle)))),
    });
    tables(&mut cases);
    tickets(&mut cases);
    cases.retain(|case| case.name == "F" || case.name.contains(&wanted));
    let figures = measure(&mut cases);
    let floor = median(figures.first().cloned().unwrap_or_default());
    println!("F = {floor:.2} ns; medians of {ROUNDS} interleaved rounds\n");
    println!("{:<44} {:>8} {:>8} {:>8}", "", "ns", "F", "target");
    let floors = figures.first().cloned().unwrap_or_default();
    for (case, own) in cases.iter().zip(&figures) {
        let ratio = median(own.iter().zip(&floors).map(|(own, floor)| own / floor).collect());
        let target = case
            .target
            .map_or(String::new(), |target| format!("{target:.0}{}", if ratio > target { " !" } else { "" }));
        println!("{:<44} {:>8.2} {ratio:>8.2} {target:>8}", case.name, median(own.clone()));
    }
}

fn tables(cases: &mut Vec<Case>) {
    cases.push(picks("no pick at all, 100".to_owned(), 1.0, RoundRobin, &[1; 100], nothing));
    for n in [10, 100, 1_000] {
        let weights: Vec<u16> = (0..n).map(|place| 1 + place % 3).collect();
        cases.push(picks(format!("round_robin table, {n}"), 2.0, RoundRobin, &weights, pick));
        cases.push(picks(format!("round_robin table + slot, {n}"), 5.0, RoundRobin, &weights, pick_and_hold));
        cases.push(picks(format!("p2c table + slot, {n}"), 6.0, P2c, &weights, pick_and_hold));
        cases.push(picks(format!("peak_ewma table, {n}"), 12.0, PeakEwma::default(), &weights, pick));
        cases.push(picks(format!("peak_ewma table + slot, {n}"), 12.0, PeakEwma::default(), &weights, pick_and_hold));
        cases.push(picks(format!("maglev table, {n}"), 3.0, Maglev::new(), &weights, pick));
        let target = if n <= 100 { 12.0 } else { 24.0 };
        let exact = LeastRequest::exact;
        let equal = vec![1; usize::from(n)];
        cases.push(picks(format!("least_request table + slot, {n}, idle"), target, exact(), &weights, pick_and_hold));
        cases.push(busy(format!("least_request table + slot, {n}, busy"), target, &weights));
        cases.push(busy(format!("least_request table + slot, {n}, busy, equal"), target, &equal));
    }
}

fn tickets(cases: &mut Vec<Case>) {
    let weights: Vec<u16> = (0..100).map(|place| 1 + place % 3).collect();
    cases.push(whole("round_robin selector, 100", None, RoundRobin, &weights));
    cases.push(read("round_robin reader, 100", None, RoundRobin, &weights));
    cases.push(whole("p2c selector, 100", None, P2c, &weights));
    cases.push(read("p2c reader, 100", None, P2c, &weights));
    cases.push(whole("maglev selector, 100", None, Maglev::new(), &weights));
    cases.push(read("maglev reader, 100", None, Maglev::new(), &weights));
    cases.push(read("peak_ewma reader, 100", None, PeakEwma::default(), &weights));
    cases.push(read("least_request reader, 100", None, LeastRequest::exact(), &weights));
    let (_, selector) = bench(PeakEwma::default(), &weights);
    let mut reader = selector.reader();
    let mut entropy = Entropy::seeded(1);
    let mut now = Mono::from_millis(1);
    cases.push(Case {
        name: "peak_ewma reader, head, end, 100".to_owned(),
        target: None,
        work: Box::new(move |times| {
            repeat(times, || {
                now = Mono::from_nanos(now.as_nanos() + 10_000);
                if let Ok(mut ticket) = reader.pick(&mut PickCx::new(now, &mut entropy)) {
                    ticket.on_head(Class::Status(200), now);
                    ticket.on_end(End::Completed, now);
                }
            });
        }),
    });
}

#[inline]
fn repeat<R>(times: u32, mut work: impl FnMut() -> R) {
    for _ in 0..times {
        black_box(work());
    }
}

fn bench<P: Policy>(policy: P, weights: &[u16]) -> (Cluster<()>, Selector<P, ()>) {
    let cluster = Cluster::new("cost");
    let members = weights.iter().enumerate().map(|(place, &weight)| {
        Member::new(Identity::literal(format!("10.0.{}.{}:80", place / 256, place % 256)), ()).weight(weight)
    });
    cluster.apply(Update::Reset(members.collect()), Mono::ZERO);
    let selector = cluster.selector(policy);
    // Every endpoint has samples, so that latency-aware policies have something to go by.
    let mut entropy = Entropy::seeded(9);
    for _ in 0..20 * weights.len() {
        let Ok(mut ticket) = selector.pick(&mut PickCx::new(Mono::from_millis(1), &mut entropy)) else { continue };
        ticket.on_head(Class::Status(200), Mono::from_millis(2 + entropy.below(50)));
    }
    (cluster, selector)
}

/// What the measuring itself costs, which is part of every figure below it.
fn nothing<B: Table>(_: &B, _: &View<'_>, cx: &mut PickCx<'_>) -> Option<Index> {
    black_box(cx);
    None
}

/// One pick from the table: no snapshot load, no ticket.
fn pick<B: Table>(table: &B, view: &View<'_>, cx: &mut PickCx<'_>) -> Option<Index> {
    table.pick(view, cx)
}

/// The same with the slot taken and given back.
fn pick_and_hold<B: Table>(table: &B, view: &View<'_>, cx: &mut PickCx<'_>) -> Option<Index> {
    let index = table.pick(view, cx)?;
    if view.hold(index) {
        view.let_go(index);
    }
    Some(index)
}

fn picks<P: Policy>(
    name: String,
    target: f64,
    policy: P,
    weights: &[u16],
    one: impl Fn(&P::Table, &View<'_>, &mut PickCx<'_>) -> Option<Index> + 'static,
) -> Case {
    let (cluster, selector) = bench(policy, weights);
    let work = move |times| {
        let _ = &cluster;
        let mut entropy = Entropy::seeded(1);
        let mut now = Mono::from_millis(60);
        selector.inspect(|table, view| {
            repeat(times, || {
                // A million requests a second: most picks see the same millisecond as the one before.
                now = Mono::from_nanos(now.as_nanos() + 1_000);
                one(table, view, &mut PickCx::new(now, &mut entropy).key(Some(black_box(KEY))))
            });
        });
    };
    Case { name, target: Some(target), work: Box::new(work) }
}

/// None is idle: every endpoint has one to four requests in flight per weight, and as each new one comes an old one ends.
fn busy(name: String, target: f64, weights: &[u16]) -> Case {
    let (cluster, selector) = bench(LeastRequest::exact(), weights);
    let mut dice = Entropy::seeded(4);
    let mut held: Vec<Index> = Vec::new();
    selector.inspect(|_, view| {
        for (place, &weight) in (0..).zip(weights) {
            for _ in 0..u64::from(weight) * (1 + dice.below(4)) {
                if view.hold(Index::new(place)) {
                    held.push(Index::new(place));
                }
            }
        }
    });
    let work = move |times| {
        let _ = &cluster;
        let mut entropy = Entropy::seeded(1);
        selector.inspect(|table, view| {
            repeat(times, || {
                let mut cx = PickCx::new(Mono::ZERO, &mut entropy);
                let picked = table.pick(view, &mut cx).filter(|&index| view.hold(index));
                if let Some(index) = picked {
                    let place = cx.entropy.below(held.len() as u64) as usize;
                    view.let_go(std::mem::replace(&mut held[place], index));
                }
            });
        });
    };
    Case { name, target: Some(target), work: Box::new(work) }
}

fn whole<P: Policy>(name: &str, target: Option<f64>, policy: P, weights: &[u16]) -> Case {
    let (cluster, selector) = bench(policy, weights);
    let mut entropy = Entropy::seeded(1);
    let work = move |times| {
        let _ = &cluster;
        repeat(times, || {
            let mut cx = PickCx::new(Mono::from_millis(60), &mut entropy).key(Some(black_box(KEY)));
            selector.pick(&mut cx).is_ok()
        });
    };
    Case { name: name.to_owned(), target, work: Box::new(work) }
}

fn read<P: Policy>(name: &str, target: Option<f64>, policy: P, weights: &[u16]) -> Case {
    let (cluster, selector) = bench(policy, weights);
    let mut reader = selector.reader();
    let mut entropy = Entropy::seeded(1);
    let work = move |times| {
        let _ = &cluster;
        repeat(times, || {
            let mut cx = PickCx::new(Mono::from_millis(60), &mut entropy).key(Some(black_box(KEY)));
            reader.pick(&mut cx).is_ok()
        });
    };
    Case { name: name.to_owned(), target, work: Box::new(work) }
}

/// Nanoseconds a time, per case and round.
fn measure(cases: &mut [Case]) -> Vec<Vec<f64>> {
    let clock = SystemClock::new();
    let mut figures = vec![Vec::new(); cases.len()];
    let times: Vec<u32> = cases.iter_mut().map(|case| calibrate(&clock, &mut case.work)).collect();
    for _ in 0..ROUNDS {
        for ((case, own), &times) in cases.iter_mut().zip(&mut figures).zip(&times) {
            // The other cases have used the caches meanwhile.
            (case.work)(times / 2);
            let start = clock.now();
            (case.work)(times);
            own.push(clock.now().saturating_since(start).as_nanos() as f64 / f64::from(times));
        }
    }
    figures
}

/// How often fills a fraction of a scheduler's time slice, so that most rounds are not interrupted.
fn calibrate(clock: &SystemClock, work: &mut Work) -> u32 {
    let mut times = 100;
    loop {
        let start = clock.now();
        work(times);
        if clock.now().saturating_since(start).as_micros() > 150 {
            return times;
        }
        times *= 2;
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
