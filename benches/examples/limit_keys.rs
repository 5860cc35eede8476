//! Many keys: what a check costs, what a key costs, and who is still limited after an attack. Prints a table; a minute or two.
//!
//! `cargo run --release -p lb-benches --example limit_keys`
//!
//! Beside governor's keyed limiter and a counter in a `DashMap`, which is the least that a limit by map could do. Each in a process of
//! its own: memory is what that has more than before (RSS). Times are those that threads were running (Linux), so that other load of the
//! machine shows less. Keys are addresses of eight bytes in random order, each a hit but for the first round.
#![allow(clippy::print_stdout, reason = "it is there to print")]

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use governor::RateLimiter;
use governor::clock::FakeRelativeClock;
use lb_core::Mono;
use lb_ratelimit::{Keyed, Quota};

const CHECKS: u64 = 4_000_000;
const SEED: [u64; 2] = [0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [what, keys] => one(what, keys.parse().expect("a number of keys")),
        ["attack"] => attack(),
        _ => all(),
    }
}

fn all() {
    println!("| keys | limit | ns a check | two threads, ns each | bytes a key |");
    println!("|---|---|---|---|---|");
    for keys in ["1000", "100000", "10000000"] {
        for what in ["ours", "governor", "counter"] {
            run_self(&[what, keys]);
        }
    }
    println!();
    run_self(&["attack"]);
}

fn run_self(arguments: &[&str]) {
    let program = std::env::current_exe().expect("this program");
    let status = std::process::Command::new(program).args(arguments).status().expect("it starts");
    assert!(status.success(), "{arguments:?}");
}

fn one(what: &str, keys: u64) {
    match what {
        "ours" => ours(keys),
        "governor" => governors(keys),
        _ => counters(keys),
    }
}

fn ours(keys: u64) {
    let before = rss_bytes();
    // Room for twice the keys, as the documentation says.
    let table = Keyed::new(Quota::per_second(1_000).with_burst(1_000_000), (32 * keys).max(4_096) as usize, SEED);
    let check = |n: u64| black_box(table.check(&key(n % keys), Mono::from_nanos(1_000_000_000 + n))).is_pass();
    measure("lb-ratelimit", keys, before, check);
}

fn governors(keys: u64) {
    let before = rss_bytes();
    let clock = FakeRelativeClock::default();
    let quota = governor::Quota::per_second(NonZeroU32::MIN.saturating_add(999)).allow_burst(NonZeroU32::MAX);
    let limiter = RateLimiter::dashmap_with_clock(quota, clock);
    measure("governor", keys, before, |n| black_box(limiter.check_key(&key(n % keys))).is_ok());
}

fn counters(keys: u64) {
    let before = rss_bytes();
    let map: DashMap<[u8; 8], AtomicU64> = DashMap::new();
    let count = |n: u64| {
        let key = key(n % keys);
        let old = match map.get(&key) {
            Some(counter) => counter.fetch_add(1, Ordering::Relaxed),
            None => map.entry(key).or_default().fetch_add(1, Ordering::Relaxed),
        };
        black_box(old) < u64::MAX
    };
    measure("a counter in DashMap", keys, before, count);
}

fn measure(name: &str, keys: u64, before: u64, check: impl Fn(u64) -> bool + Sync) {
    (0..keys).for_each(|n| assert!(check(n)));
    let bytes = rss_bytes().saturating_sub(before);
    let run = |from: u64| {
        let start = running();
        (from..from + CHECKS).for_each(|n| assert!(check(n)));
        (running() - start).as_nanos() as f64 / CHECKS as f64
    };
    let best = |runs: &[f64]| runs.iter().copied().fold(f64::INFINITY, f64::min);
    let one = best(&[run(0), run(CHECKS), run(2 * CHECKS)]);
    let two = best(&std::array::from_fn::<f64, 3, _>(|_| {
        std::thread::scope(|scope| {
            let other = scope.spawn(|| run(3 * CHECKS + 7_777));
            let mine = run(0);
            mine.max(other.join().unwrap_or(f64::INFINITY))
        })
    }));
    println!("| {keys} | {name} | {one:.0} | {two:.0} | {:.0} |", bytes as f64 / keys as f64);
}

/// 1000 clients that are limited, and then 50 million keys that are seen once.
fn attack() {
    let table = Keyed::new(Quota::per_minute(1), Keyed::DEFAULT_MEMORY_BYTES, SEED);
    let start = Mono::from_millis(1_000_000);
    let client = |n: u64| [0xff, 0xff, 0, 0, 0, 0, (n >> 8) as u8, n as u8];
    for n in 0..1_000 {
        assert!(table.check(&client(n), start).is_pass() && !table.check(&client(n), start).is_pass());
    }
    let (keys, began, before) = (50_000_000_u64, running(), rss_bytes());
    // Within the minute for which they are limited.
    let at = |n: u64| start.saturating_add(Duration::from_nanos(n * 1_000));
    let passed = (0..keys).filter(|n| table.check(&key(*n), at(*n)).is_pass()).count();
    let nanos = (running() - began).as_nanos() as f64 / keys as f64;
    let limited = (0..1_000).filter(|n| table.remaining(&client(*n), at(keys)) == 0).count();
    println!(
        "{keys} keys in 10 MiB at 1/m: {limited} of 1000 limited clients still limited, {passed} of the keys passed,"
    );
    println!("{nanos:.0} ns a check, memory {:+} KiB.", (rss_bytes() as i64 - before as i64) / 1024);
}

/// An address; two numbers have the same one if they are equal.
fn key(n: u64) -> [u8; 8] {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

/// How long this thread has been running.
fn running() -> Duration {
    let schedule = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(schedule.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default())
}

fn rss_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4096
}
