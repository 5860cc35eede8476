//! What recording an outcome costs, uncontended: a success, a failure, a failure that is compared.

use std::hint::black_box;
use std::num::NonZeroU16;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use lb_core::{Class, Mono};
use lb_health::{Comparison, Counts, Ejection, EjectionCap, FailureSet, History, Outlier, Recent, Seen, Silence};

const STEP: Duration = Duration::from_millis(20);

fn outcomes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("health: one outcome");
    let failures = FailureSet::default();
    let silence = Silence::default();
    silence.set_limit(Some(Duration::from_secs(1)));
    let mut answered = Mono::ZERO;
    group.bench_function("success", |b| {
        b.iter(|| {
            answered = answered.saturating_add(STEP);
            silence.on_answer(black_box(answered));
            failures.contains(black_box(Class::Status(200)))
        });
    });
    let recent = Recent::default();
    let mut number = 0_u64;
    group.bench_function("letter", |b| {
        b.iter(|| {
            number += 1;
            recent.record(black_box(number), black_box(Class::Status(200)));
        });
    });
    let rule = Ejection { failures: const { NonZeroU16::new(1_000).unwrap() }, window: STEP, ..Ejection::default() };
    let (outlier, cap) = (Outlier::new(rule), EjectionCap::default());
    let mut now = Mono::ZERO;
    group.bench_function("failure", |b| {
        b.iter(|| {
            now = now.saturating_add(STEP);
            failures.contains(black_box(Class::Status(500)))
                && outlier.on_failure(now, now, 7, &cap) == lb_health::OnFailure::Nothing
        });
    });
    let mut history = History::default();
    let mut totals = Counts::default();
    group.bench_function("reading of the counters", |b| {
        b.iter(|| {
            now = now.saturating_add(STEP);
            totals.successes += 1;
            history.read(black_box(totals), now);
        });
    });
    group.finish();
}

fn comparison(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("health: one comparison");
    let seen = |failures| {
        let counts = Counts { successes: 1_000 - failures, failures };
        Seen { recent: counts, window: counts }
    };
    for endpoints in [3, 100] {
        let others = vec![seen(2); endpoints - 1];
        group.bench_function(format!("{endpoints} endpoints"), |b| {
            b.iter(|| Comparison::default().judge(&black_box(seen(90)), others.iter().copied(), 12));
        });
    }
    group.finish();
}

criterion_group!(benches, outcomes, comparison);
criterion_main!(benches);
