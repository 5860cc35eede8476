//! Rate limits beside governor's.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use governor::RateLimiter;
use governor::clock::FakeRelativeClock;
use lb_core::Mono;
use lb_ratelimit::{Keyed, Limiter, Quota};

const RATE: NonZeroU32 = NonZeroU32::MIN.saturating_add(999);
const CLIENTS: u64 = 10_000;

fn one(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one limit");
    let limit = Limiter::new(&Quota::per_second(1000).with_burst(100));
    let mut now = 0;
    group.bench_function("ours", |b| {
        b.iter(|| {
            now += 1_500_000;
            black_box(limit.check(Mono::from_nanos(now)))
        });
    });
    let clock = FakeRelativeClock::default();
    let limiter = RateLimiter::direct_with_clock(governor::Quota::per_second(RATE), clock.clone());
    group.bench_function("governor", |b| {
        b.iter(|| {
            clock.advance(Duration::from_micros(1500));
            black_box(limiter.check()).is_ok()
        });
    });
    group.finish();
}

fn by_client(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a limit for each of 10 000 clients");
    let keyed = Keyed::new(Quota::per_second(1000).with_burst(100), Keyed::DEFAULT_MEMORY_BYTES, [1, 2]);
    let mut n = 0_u64;
    group.bench_function("ours", |b| {
        b.iter(|| {
            n += 1;
            black_box(keyed.check(&client(n), Mono::from_nanos(n * 1000)))
        });
    });
    let clock = FakeRelativeClock::default();
    let limiter = RateLimiter::dashmap_with_clock(governor::Quota::per_second(RATE), clock.clone());
    group.bench_function("governor", |b| {
        b.iter(|| {
            n += 1;
            clock.advance(Duration::from_micros(1));
            black_box(limiter.check_key(&client(n))).is_ok()
        });
    });
    group.finish();
}

/// An IPv4 address.
fn client(n: u64) -> [u8; 4] {
    ((n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % CLIENTS) as u32).to_be_bytes()
}

criterion_group!(limits, one, by_client);
criterion_main!(limits);
