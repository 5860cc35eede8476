use super::*;
use crate::Quota;

const SEED: [u64; 2] = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
const SECOND: Duration = Duration::from_secs(1);

fn start() -> Mono {
    Mono::from_millis(1_000_000)
}

fn table(quota: Quota, memory_bytes: usize) -> Keyed {
    Keyed::new(quota, memory_bytes, SEED)
}

fn passes(table: &Keyed, key: u64, now: Mono) -> bool {
    table.check(&key.to_le_bytes(), now).is_pass()
}

#[test]
fn memory_that_there_is_not_is_an_error() {
    // The size of an address space.
    let refused = Keyed::try_new(Quota::per_second(1), 1 << 60, SEED).map(drop).unwrap_err();
    assert_eq!(refused.to_string(), "the system has no 1099511627776 MiB of memory for a rate limit");
    assert!(Keyed::try_new(Quota::per_second(1), 1 << 20, SEED).is_ok());
}

#[test]
fn each_key_has_its_own_quota() {
    let table = table(Quota::per_second(10).with_burst(2), 64 << 10);
    for key in 0..100 {
        assert_eq!((0..10).filter(|_| passes(&table, key, start())).count(), 3, "key {key}");
    }
    assert_eq!(table.check(b"new", start()), Verdict::Pass);
    let refused = table.check(&7_u64.to_le_bytes(), start());
    assert_eq!(refused, Verdict::Refuse { retry_after: Duration::from_millis(100) });
    assert_eq!(table.remaining(&7_u64.to_le_bytes(), start()), 0);
    assert_eq!(table.remaining(b"never seen", start()), 3);
    assert_eq!(table.full_after(&7_u64.to_le_bytes(), start()), Duration::from_millis(300));
    assert_eq!(table.full_after(b"never seen", start()), Duration::ZERO);
    assert_eq!(table.evicted_live(), 0);
}

#[test]
fn the_empty_key_is_a_key() {
    let table = table(Quota::per_second(1), 4 << 10);
    assert!(table.check(b"", start()).is_pass());
    assert!(!table.check(b"", start()).is_pass());
    assert!(table.check(b"\0", start()).is_pass());
}

#[test]
fn forgetting_full_buckets_loses_nothing() {
    // Eight entries; each second brings eight new keys, by when the last ones are full again.
    let table = table(Quota::per_second(1), 192);
    let mut now = start();
    for round in 0..1_000 {
        for key in 0..4 {
            assert!(passes(&table, round * 4 + key, now));
            assert!(!passes(&table, round * 4 + key, now));
        }
        now = now.saturating_add(SECOND);
    }
    assert_eq!(table.live(now), 0);
    assert_eq!(table.evicted_live(), 0);
}

#[test]
fn when_all_are_live_the_one_closest_to_full_goes_and_is_counted() {
    let table = table(Quota::per_minute(1).with_burst(1_000), 192);
    assert_eq!(table.capacity() % 4, 0);
    let entries = table.capacity();
    // As many heavy keys as there is room for, whichever of them found a place.
    for key in 0..10 * entries {
        for _ in 0..100 {
            assert!(passes(&table, key, start()));
        }
    }
    let evicted = table.evicted_live();
    assert!(evicted >= 9 * entries, "{evicted}");
    // The last one is there with all of its debt, since only the lightest give way.
    let heavy = (10 * entries - 1).to_le_bytes();
    assert_eq!(table.remaining(&heavy, start()), 901);
    for key in 1_000..1_100 {
        assert!(passes(&table, key, start()));
    }
    let still = (0..10 * entries).filter(|key| table.remaining(&key.to_le_bytes(), start()) == 901).count();
    assert!(still as u64 >= entries - 2, "light newcomers push out one another, not {still} heavy ones");
}

/// Of a thousand new keys, how many find all their places in use while so many percent of the entries are.
fn crowded_permille(percent: u64, in_churn: bool) -> u64 {
    // Each key is in use for a minute, and the table sees that many in a minute.
    let table = table(Quota::per_minute(1), 1 << 20);
    let keys = table.capacity() * percent / 100;
    let minute = Duration::from_secs(60);
    let rounds = if in_churn { 6 } else { 1 };
    let mut before = 0;
    for key in 0..rounds * keys {
        if in_churn && key == (rounds - 3) * keys {
            before = table.crowded();
        }
        let now = if in_churn { start().saturating_add(minute.mul_f64(key as f64 / keys as f64)) } else { start() };
        assert!(passes(&table, key, now));
    }
    let counted = if in_churn { 3 * keys } else { keys };
    (table.crowded() - before) * 1_000 / counted
}

#[test]
fn few_new_keys_find_their_places_in_use() {
    let [fill, churn] = [false, true].map(|churn| [50, 60, 80].map(|percent| crowded_permille(percent, churn)));
    for (found, at_most) in fill.into_iter().zip([0, 3, 28]).chain(churn.into_iter().zip([6, 26, 210])) {
        assert!(found <= at_most, "while it fills {fill:?}, in churn {churn:?}, in thousandths");
    }
    assert!(churn[2] > 120, "the figures of the documentation are those of churn: {churn:?}");
}

#[test]
fn invented_keys_do_not_push_out_clients_that_are_limited() {
    // 6 000 entries; 1 000 clients that have been refused, then 200 000 keys, each seen for the first time.
    let table = table(Quota::per_minute(1), 96 << 10);
    for client in 0..1_000 {
        assert!(passes(&table, client, start()));
        assert!(!passes(&table, client, start()));
    }
    let now = start().saturating_add(Duration::from_secs(30));
    let invented = (1_000_000..1_200_000).filter(|key| passes(&table, *key, now)).count() as u64;
    // Each by its own entry: a key that was forgotten might be refused by the bucket for all.
    let limited = (0..1_000_u64).filter(|client| table.remaining(&client.to_le_bytes(), now) == 0).count();
    assert_eq!(limited, 1_000);
    // As many as had room, and as many again that the bucket for all let through.
    assert!(invented <= 2 * table.capacity(), "{invented}");
    assert!(table.crowded() > 190_000);
    // Their own limit ends when it should.
    let later = start().saturating_add(Duration::from_secs(60));
    assert!((0..1_000).all(|client| passes(&table, client, later)));
}

#[test]
fn a_table_full_of_refused_keys_keeps_them_and_counts_the_others_together() {
    let table = table(Quota::per_minute(1), 192);
    let mut known = Vec::new();
    let mut others = 0;
    for key in 0..200 {
        let passed = passes(&table, key, start());
        if passed && !passes(&table, key, start()) && table.remaining(&key.to_le_bytes(), start()) == 0 {
            known.push(key);
        } else {
            others += u64::from(passed);
        }
    }
    assert_eq!(known.len() as u64, table.capacity());
    assert_eq!(table.evicted_live(), 0);
    assert!(others <= table.capacity(), "{others} of those without a place");
    assert_eq!(table.heaviest(100, start()).iter().filter(|heavy| heavy.is_refused).count(), known.len());
    assert_eq!(table.heaviest(3, start()).len(), 3);
    // Each is let through once more when its own minute is over.
    let later = start().saturating_add(Duration::from_secs(60));
    assert!(known.iter().all(|key| passes(&table, *key, later) && !passes(&table, *key, later)));
}

#[test]
fn a_network_limits_its_new_clients_to_256_times_the_quota_where_they_have_no_room() {
    let table = table(Quota::per_minute(1), 192);
    let network: &[&[u8]] = &[b"network"];
    // One key of the network passes while there is room for both, then 300 others fill the table.
    let check = |n: u64, now| table.check_key(Key { key: &n.to_le_bytes(), coarser: network }, now).is_pass();
    let passed = (0..600).filter(|n| check(*n, start())).count() as u64;
    // Those that had room, and 256 by the network, whose entry stays.
    assert!((256..=256 + table.capacity()).contains(&passed), "{passed}");
    // One more passes each 60/256 s.
    let later = start().saturating_add(Duration::from_millis(235));
    assert_eq!((600..700).filter(|n| check(*n, later)).count(), 1);
}

#[test]
fn the_same_bytes_at_another_level_are_another_key() {
    let table = table(Quota::per_minute(1), 4 << 10);
    let fingerprints: Vec<u64> = (0..4).map(|level| table.fingerprint(b"key", level)).collect();
    assert!((1..4).all(|level| !fingerprints[..level].contains(&fingerprints[level])));
}

#[test]
fn costs_are_charged_given_back_and_peeked_at() {
    let table = table(Quota::per_second(10).with_burst(5), 4 << 10);
    let key = Key::new(b"client");
    let first = table.charge(key, 4, start());
    assert_eq!((first.is_pass(), first.remaining, first.reset), (true, 2, Duration::from_millis(400)));
    assert_eq!(table.peek(b"client", 3, start()).retry_after(), Some(Duration::from_millis(100)));
    assert_eq!(table.charge(key, 3, start()).retry_after(), Some(Duration::from_millis(100)));
    table.refund(b"client", 4, start());
    table.refund(b"never seen", 4, start());
    assert_eq!(table.remaining(b"client", start()), 6);
    assert_eq!(table.charge(Key::new(b"other"), 7, start()).retry_after(), Some(Duration::MAX));
    assert!(table.charge(Key::new(b"other"), 0, start()).is_pass());
    assert_eq!((table.remaining(b"other", start()), table.live(start())), (6, 0));
}

#[test]
fn a_new_rate_keeps_what_each_key_has_used() {
    let old = table(Quota::per_second(10).with_burst(9), 64 << 10);
    for key in 0..100_u64 {
        for _ in 0..key % 10 {
            assert!(passes(&old, key, start()));
        }
    }
    let new = old.with_rule(Quota::per_second(3).with_burst(19), start()).unwrap();
    assert_eq!(new.rule(), Quota::per_second(3).with_burst(19).into());
    assert_eq!(new.capacity(), old.capacity(), "the same places");
    for key in 0..100_u64 {
        assert_eq!(new.remaining(&key.to_le_bytes(), start()), 20 - key % 10, "key {key}");
    }
}

#[test]
fn time_that_goes_back_gives_nothing() {
    let table = table(Quota::per_second(1), 4 << 10);
    assert!(passes(&table, 1, start()));
    assert!(!passes(&table, 1, Mono::ZERO));
    assert!(!passes(&table, 1, start()));
    assert!(passes(&table, 1, start().saturating_add(SECOND)));
    assert!(passes(&table, 2, Mono::ZERO));
    assert!(!passes(&table, 2, Mono::ZERO));
}

#[test]
fn threads_together_get_the_quota_and_at_most_one_each_as_they_enter() {
    let table = table(Quota::per_minute(1).with_burst(99), 64 << 10);
    let barrier = std::sync::Barrier::new(4);
    let counts: Vec<Vec<usize>> = std::thread::scope(|scope| {
        let run = || {
            barrier.wait();
            (0..50).map(|key| (0..200).filter(|_| passes(&table, key, start())).count()).collect()
        };
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    for key in 0..50 {
        let passed: usize = counts.iter().map(|of_worker| of_worker[key]).sum();
        assert!((100..=103).contains(&passed), "key {key}: {passed}");
    }
}

#[test]
fn threads_that_fight_for_eight_entries_all_get_answers() {
    let table = table(Quota::per_minute(1), 192);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let table = &table;
            scope.spawn(move || {
                for key in 0..20_000_u64 {
                    let _ = passes(table, key * 4 + thread, start());
                }
            });
        }
    });
    // The bucket for all has let through as many more keys as there are entries, each in place of another.
    assert!((1..=table.capacity()).contains(&table.evicted_live()), "{}", table.evicted_live());
    assert_eq!(table.live(start()), table.capacity(), "every entry has an owner");
}

#[test]
fn requests_beyond_the_rate_are_held_back_so_that_they_leave_at_it() {
    // As nginx answers the same requests, `delay=0` and `delay=3`.
    for (undelayed, expected) in [(0, [0, 100, 200, 300, 400, 500]), (3, [0, 0, 0, 0, 100, 200])] {
        let table = table(Quota::per_second(10).with_burst(5), 4 << 10);
        let key = Key::new(b"client");
        let delays: Vec<u128> = (0..6)
            .map(|_| match table.check_delaying(key, undelayed, start()) {
                (Verdict::Pass, delay) => delay.as_millis(),
                (Verdict::Refuse { .. }, _) => panic!("six pass"),
            })
            .collect();
        assert_eq!(delays, expected);
        assert!(!table.check_delaying(key, undelayed, start()).0.is_pass());
    }
}

#[test]
fn windows_limit_each_key_and_keep_their_counts_over_another_limit() {
    let period = 10 * SECOND;
    for rule in [Rule::SlidingWindow { limit: 5, period }, Rule::FixedWindow { limit: 5, period }] {
        let table = Keyed::new(rule, 32 << 10, SEED);
        for key in 0..100 {
            assert_eq!((0..10).filter(|_| passes(&table, key, start())).count(), 5, "{rule:?} {key}");
        }
        assert_eq!((table.live(start()), table.evicted_live()), (100, 0), "{rule:?}");
        assert_eq!(table.live(start().saturating_add(2 * period)), 0, "{rule:?}");
        let period = 10 * SECOND;
        let wider = match rule {
            Rule::SlidingWindow { .. } => Rule::SlidingWindow { limit: 8, period },
            _ => Rule::FixedWindow { limit: 8, period },
        };
        let new = table.with_rule(wider, start()).unwrap();
        assert_eq!((0..10).filter(|_| passes(&new, 7, start())).count(), 3, "{rule:?}");
        let bucket = table.with_rule(Quota::per_second(1), start()).unwrap();
        assert_eq!(bucket.remaining(&7_u64.to_le_bytes(), start()), 1, "another rule begins anew");
    }
}

#[test]
fn a_window_counts_new_keys_by_network_where_its_table_is_full() {
    let rule = Rule::FixedWindow { limit: 1, period: 60 * SECOND };
    let table = Keyed::new(rule, 192, SEED);
    let coarser: [&[u8]; 2] = [b"network", b"larger network"];
    // 256 of one network, as far as they find no place; the table has room for eight keys that are refused, and for the network.
    let passed = (0..2_000_u64).filter(|key| {
        let bytes = key.to_le_bytes();
        let key = Key { key: &bytes, coarser: &coarser };
        let passes = table.check_key(key, start()).is_pass();
        let _ = table.check_key(key, start());
        passes
    });
    let passed = passed.count();
    assert!((8..=8 + 256).contains(&passed), "{passed}");
}
