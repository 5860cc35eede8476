//! Models of the atomics: every interleaving of two or three threads, by loom.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p lb-ratelimit --lib --release model`

use loom::sync::Arc;
use loom::thread;

use lb_core::Mono;

use crate::{Concurrency, Keyed, KeyedConcurrency, Limiter, Quota, Ratio, RetryBudget};

const NOW: Mono = Mono::from_millis(1_000);

#[test]
fn a_bucket_never_admits_more_than_its_quota() {
    loom::model(|| {
        let limiter = Arc::new(Limiter::new(&Quota::per_second(1).with_burst(1)));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let limiter = Arc::clone(&limiter);
                thread::spawn(move || (0..2).filter(|_| limiter.check(NOW).is_pass()).count())
            })
            .collect();
        let passed: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(passed, 2);
    });
}

fn table() -> Keyed {
    Keyed::new(Quota::per_second(1), 0, [3, 4])
}

fn bounded(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

#[test]
fn a_key_that_enters_twice_at_once_gains_at_most_one() {
    bounded(3, || {
        let table = Arc::new(table());
        let other = Arc::clone(&table);
        let thread = thread::spawn(move || other.check(b"key", NOW).is_pass());
        let here = table.check(b"key", NOW).is_pass();
        let there = thread.join().unwrap();
        assert!(here || there, "one of them is within the quota");
        assert!(!table.check(b"key", NOW).is_pass());
    });
}

#[test]
fn a_key_that_is_in_the_table_gets_exactly_its_quota() {
    bounded(3, || {
        let table = Arc::new(table());
        assert!(table.check(b"key", Mono::ZERO).is_pass());
        let other = Arc::clone(&table);
        let thread = thread::spawn(move || other.check(b"key", NOW).is_pass());
        let here = table.check(b"key", NOW).is_pass();
        assert!(here ^ thread.join().unwrap());
    });
}

#[test]
fn two_new_keys_of_one_line_are_each_charged_for_themselves() {
    // With two lines, each pair shares one or both.
    for second in [b"second", b"beside", b"others"] {
        bounded(3, move || {
            let table = Arc::new(table());
            let other = Arc::clone(&table);
            let thread = thread::spawn(move || other.check(second, NOW).is_pass());
            let here = table.check(b"first", NOW).is_pass();
            assert!(here && thread.join().unwrap(), "the first request of a new key passes");
            assert!(!table.check(b"first", NOW).is_pass());
            assert!(!table.check(second, NOW).is_pass());
            assert_eq!(table.evicted_live(), 0);
        });
    }
}

#[test]
fn an_eviction_beside_a_debit_loses_at_most_that_debit() {
    bounded(2, || {
        let table = Arc::new(table());
        // Eight keys in eight entries, all full again at NOW.
        let keys: Vec<[u8; 1]> = (0..8).map(|key| [key]).collect();
        for key in &keys {
            let _ = table.check(key, Mono::ZERO);
        }
        let other = Arc::clone(&table);
        let thread = thread::spawn(move || other.check(b"newcomer", NOW).is_pass());
        let old: usize = (0..2).filter(|_| table.check(&keys[0], NOW).is_pass()).count();
        let new = thread.join().unwrap();
        assert!(new, "the newcomer is not charged for the other");
        assert!(old >= 1 && old as u64 <= 1 + table.evicted_live(), "its quota, and what was counted as lost");
    });
}

#[test]
fn two_slots_never_grant_the_same_retry() {
    bounded(3, || {
        let budget = Arc::new(RetryBudget::new(Ratio::percent(50), 0));
        budget.on_request(NOW);
        budget.on_request(NOW);
        let other = Arc::clone(&budget);
        let thread = thread::spawn(move || other.try_retry(NOW));
        let here = budget.try_retry(Mono::from_millis(2_000));
        assert!(!(here && thread.join().unwrap()));
    });
}

#[test]
fn permits_never_exceed_the_limit_and_all_come_back() {
    bounded(3, || {
        let gate = Concurrency::new(1);
        let other = std::sync::Arc::clone(&gate);
        let thread = thread::spawn(move || other.try_acquire().is_some());
        let here = gate.try_acquire();
        assert!(here.as_ref().is_none_or(|permit| permit.in_flight() == 1));
        let there = thread.join().unwrap();
        assert!(here.is_some() || there);
        drop(here);
        assert_eq!(gate.in_flight(), 0);
    });
}

#[test]
fn a_key_that_enters_at_two_places_at_once_is_not_admitted_twice() {
    bounded(3, || {
        let table = KeyedConcurrency::try_new(1, 0, [3, 4]).unwrap();
        // A place in front of the others that another key gives back meanwhile.
        let before = table.try_acquire(b"before");
        let out = Arc::new(loom::sync::atomic::AtomicUsize::new(0));
        let run = |table: std::sync::Arc<KeyedConcurrency>, out: Arc<loom::sync::atomic::AtomicUsize>| {
            if let Ok(_permit) = table.try_acquire(b"key") {
                assert_eq!(out.fetch_add(1, loom::sync::atomic::Ordering::SeqCst), 0, "one at once");
                out.fetch_sub(1, loom::sync::atomic::Ordering::SeqCst);
            }
        };
        let (other, other_out) = (std::sync::Arc::clone(&table), Arc::clone(&out));
        let thread = thread::spawn(move || run(other, other_out));
        drop(before);
        run(std::sync::Arc::clone(&table), out);
        thread.join().unwrap();
        assert_eq!(table.in_flight(b"key"), 0);
    });
}
