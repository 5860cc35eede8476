//! One bucket for each key, in a fixed amount of memory.
//!
//! The simple answer is a map, and it grows with the number of keys that clients can invent; a map with a limit needs a
//! list to know whom to drop, and a lock for both. Here it is a table of 16-byte entries, a keyed fingerprint and a
//! TAT, four to a cache line. A key may live in either of two lines. When both are full, the entry that gives way is
//! one whose bucket is full again, if there is one: a full bucket is what an unknown key has anyway, so that
//! **forgetting it loses nothing**. Only if all eight are in use does one that still matters go, the one that comes
//! closest to full; that is counted ([`Keyed::evicted_live`]), and its key begins anew.
//!
//! ```text
//!  line of 64 bytes    fingerprint 0 | 1 | 2 | 3 | TAT 0 | 1 | 2 | 3
//!
//!  entry               empty or owned ──► busy ──► owned by another key
//!                                          (its TAT is cleared while nobody can find it)
//! ```
//!
//! Memory is what it was given and is never more; it is zeroed by the allocator, so that the system provides pages when
//! keys first fall on them. Nothing is allocated, locked or swept afterwards. 10 MiB hold 655 000 entries; of live keys
//! for 50, 60 and 80 % of the entries, 0.02, 0.2 and 2.3 % are evicted (measured).
//!
//! **What concurrency can cost.** A key whose entry stays in the table gets exactly its quota, whatever the number of
//! threads. When it enters the table, each *other* thread that enters the same key at the same instant may let one
//! request through uncounted: with W threads at most W − 1. A live eviction, counted, forgets what the key had used, at
//! most one quota (`1 + burst`); where a debit and an eviction meet, the eviction counts as live.
//!
//! Two keys share a bucket if their 64-bit fingerprints are equal: among ten million keys, a chance of 3 in a million
//! that any two do. The hash is SipHash-1-3 under a secret seed, so that nobody can look for such keys, nor for keys
//! that crowd one line.

use std::fmt;
use std::time::Duration;

use lb_core::Mono;
use siphasher::sip::SipHasher13;

use crate::gcra::{Gcra, Quota, Tat, Verdict};
use crate::sync::{AtomicU64, Ordering};

/// Fingerprint of an entry that nobody owns.
const EMPTY: u64 = 0;
/// Fingerprint of an entry that is changing hands.
const BUSY: u64 = 1;
const WAYS: usize = 4;
const LINE_WORDS: usize = 2 * WAYS;
const LINE_BYTES: usize = 64;
/// After losing its entry this often to other keys, a request passes uncounted rather than spin.
const ROUNDS: usize = 16;

/// A rate limit for each key, in bounded memory. Shared by all threads behind an `Arc`.
///
/// A check costs one hash of the key and one cache line, or two if the key is new or its first line was full.
#[derive(Debug)]
pub struct Keyed {
    gcra: Gcra,
    quota: Quota,
    seed: [u64; 2],
    memory_bytes: usize,
    words: Box<[AtomicU64]>,
    /// The first word that begins a cache line.
    first: usize,
    lines: u64,
    evicted_live: AtomicU64,
}

/// The system has not as much memory as a table was to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory {
    memory_bytes: usize,
}

impl fmt::Display for NoMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the system has no {} MiB of memory for a rate limit", self.memory_bytes >> 20)
    }
}

impl std::error::Error for NoMemory {}

/// Where one entry is.
#[derive(Clone, Copy)]
struct Entry<'a> {
    fingerprint: &'a AtomicU64,
    tat: &'a AtomicU64,
}

/// What one line offers to a new key.
struct Survey<'a> {
    /// Entries that can be taken without loss.
    free: u32,
    /// The first of them, and its owner.
    harmless: Option<(Entry<'a>, u64)>,
    /// Of the others, the one that comes closest to a full bucket.
    lightest: Option<(Entry<'a>, u64, Tat)>,
}

impl Keyed {
    /// The memory that is used if nobody says otherwise: 10 MiB.
    pub const DEFAULT_MEMORY_BYTES: usize = 10 << 20;

    /// An empty table of `memory_bytes`, at least two cache lines.
    ///
    /// `seed` must be random and secret. With the same seed and memory, a table keeps its keys' places.
    ///
    /// # Panics
    /// There is not that much; [`try_new`](Self::try_new) tells.
    #[must_use]
    pub fn new(quota: Quota, memory_bytes: usize, seed: [u64; 2]) -> Self {
        Self::try_new(quota, memory_bytes, seed).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`new`](Self::new), where the memory is somebody's to choose.
    ///
    /// # Errors
    /// There is not that much.
    pub fn try_new(quota: Quota, memory_bytes: usize, seed: [u64; 2]) -> Result<Self, NoMemory> {
        let words = zeroed(memory_bytes.max(3 * LINE_BYTES) / size_of::<u64>()).ok_or(NoMemory { memory_bytes })?;
        let first = words.as_ptr().align_offset(LINE_BYTES).min(LINE_WORDS - 1);
        // As if the worst alignment had come, since the places of the keys follow from the number of lines.
        let lines = ((words.len() - (LINE_WORDS - 1)) / LINE_WORDS) as u64;
        let evicted_live = AtomicU64::new(0);
        Ok(Self { gcra: Gcra::new(&quota), quota, seed, memory_bytes, words, first, lines, evicted_live })
    }

    /// The table of a configuration that changed its quota only: same seed, same memory, every key as far into its
    /// burst as it was ([`Gcra::carry_over`]). What is checked against the old table meanwhile does not carry over.
    ///
    /// Cold: reads the whole table. If the quota did not change either, keep the table.
    ///
    /// # Errors
    /// There is not as much memory once more; this table is as it was.
    pub fn with_quota(&self, quota: Quota, now: Mono) -> Result<Self, NoMemory> {
        let new = Self::try_new(quota, self.memory_bytes, self.seed)?;
        for line in 0..self.lines {
            for (from, to) in self.entries(line).zip(new.entries(line)) {
                let fingerprint = from.fingerprint.load(Ordering::Acquire);
                let tat = Tat(from.tat.load(Ordering::Acquire));
                if fingerprint > BUSY && !self.gcra.is_full(tat, now) {
                    to.tat.store(new.gcra.carry_over(&self.gcra, tat, now).0, Ordering::Relaxed);
                    to.fingerprint.store(fingerprint, Ordering::Release);
                }
            }
        }
        new.evicted_live.store(self.evicted_live(), Ordering::Relaxed);
        Ok(new)
    }

    /// Decides one request of this key. The empty key is a key like any other.
    #[inline]
    pub fn check(&self, key: &[u8], now: Mono) -> Verdict {
        let fingerprint = self.fingerprint(key);
        let [home, other] = self.lines_of(fingerprint);
        for _ in 0..ROUNDS {
            match self.find(home, fingerprint).or_else(|| self.find(other, fingerprint)) {
                Some(entry) => {
                    if let Some(verdict) = self.debit(entry, fingerprint, now) {
                        return verdict;
                    }
                }
                None => self.make_room(home, other, fingerprint, now),
            }
        }
        self.evicted_live.fetch_add(1, Ordering::Relaxed);
        Verdict::Pass
    }

    /// How many requests of this key would pass at once.
    #[must_use]
    pub fn remaining(&self, key: &[u8], now: Mono) -> u64 {
        self.gcra.remaining(self.tat_of(key), now)
    }

    /// How long until this key's bucket is full again; zero for a key that is unknown.
    #[must_use]
    pub fn full_after(&self, key: &[u8], now: Mono) -> Duration {
        self.gcra.full_after(self.tat_of(key), now)
    }

    /// The quota in force.
    #[must_use]
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// The memory it was given, in bytes.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// How many keys it can hold at once.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.lines * WAYS as u64
    }

    /// How many keys were forgotten before their buckets were full: the only loss of precision. If it grows, the
    /// memory is too small.
    #[must_use]
    pub fn evicted_live(&self) -> u64 {
        self.evicted_live.load(Ordering::Relaxed)
    }

    /// How many keys are not at their full burst now, estimated from at most 512 lines; exact for small tables.
    ///
    /// Cold: some microseconds.
    #[must_use]
    pub fn live(&self, now: Mono) -> u64 {
        let sampled = self.lines.min(512);
        let live = (0..sampled)
            .flat_map(|sample| self.entries(scale(sample, sampled, self.lines)))
            .filter(|entry| !self.gcra.is_full(Tat(entry.tat.load(Ordering::Relaxed)), now))
            .count() as u64;
        scale(live, sampled, self.lines)
    }

    fn fingerprint(&self, key: &[u8]) -> u64 {
        let hash = SipHasher13::new_with_keys(self.seed[0], self.seed[1]).hash(key);
        if hash <= BUSY { hash + 2 } else { hash }
    }

    /// The two lines of a key, taken from different bits; they may be the same line.
    fn lines_of(&self, fingerprint: u64) -> [u64; 2] {
        let pick = |bits: u64| ((u128::from(bits) * u128::from(self.lines)) >> 64) as u64;
        [pick(fingerprint), pick(fingerprint.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15))]
    }

    fn line(&self, line: u64) -> &[AtomicU64; LINE_WORDS] {
        let start = self.first + line as usize * LINE_WORDS;
        self.words[start..start + LINE_WORDS].try_into().expect("the slice has this length")
    }

    fn entries(&self, line: u64) -> impl Iterator<Item = Entry<'_>> {
        let (fingerprints, tats) = self.line(line).split_at(WAYS);
        fingerprints.iter().zip(tats).map(|(fingerprint, tat)| Entry { fingerprint, tat })
    }

    #[inline]
    fn find(&self, line: u64, fingerprint: u64) -> Option<Entry<'_>> {
        self.entries(line).find(|entry| entry.fingerprint.load(Ordering::Acquire) == fingerprint)
    }

    /// Debits an entry; nothing if it went to another key meanwhile.
    #[inline]
    fn debit(&self, entry: Entry<'_>, fingerprint: u64, now: Mono) -> Option<Verdict> {
        let mut old = entry.tat.load(Ordering::Acquire);
        let verdict = loop {
            let (verdict, new) = self.gcra.decide(Tat(old), now);
            if !verdict.is_pass() {
                break verdict;
            }
            match entry.tat.compare_exchange_weak(old, new.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break verdict,
                Err(_) if entry.fingerprint.load(Ordering::Acquire) != fingerprint => return None,
                Err(current) => old = current,
            }
        };
        (entry.fingerprint.load(Ordering::Acquire) == fingerprint).then_some(verdict)
    }

    /// Tries to take an entry for a new key. Whether it succeeded shows when the key is looked for again.
    #[cold]
    fn make_room(&self, home: u64, other: u64, fingerprint: u64, now: Mono) {
        let surveys = (self.survey(home, fingerprint, now), self.survey(other, fingerprint, now));
        let (Some(home), Some(other)) = surveys else { return };
        // The emptier line, so that both fill up evenly; but the first one, which is looked at first, while half of it
        // is free.
        let line = if home.free < 2 && other.free > home.free { &other } else { &home };
        let lightest = || [home.lightest, other.lightest].into_iter().flatten().min_by_key(|(_, _, tat)| *tat);
        let Some((entry, owner)) = line.harmless.or_else(|| lightest().map(|(entry, owner, _)| (entry, owner))) else {
            return;
        };
        if entry.fingerprint.compare_exchange(owner, BUSY, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            // A debit for the former owner that is under way fails by this and is made elsewhere; one that came since
            // we looked is lost, and counted.
            let old = Tat(entry.tat.swap(Tat::FULL.0, Ordering::AcqRel));
            if !self.gcra.is_full(old, now) {
                self.evicted_live.fetch_add(1, Ordering::Relaxed);
            }
            entry.fingerprint.store(fingerprint, Ordering::Release);
        }
    }

    /// What a line offers; nothing if the key has an entry there by now, which must not give way to itself.
    fn survey(&self, line: u64, fingerprint: u64, now: Mono) -> Option<Survey<'_>> {
        let mut survey = Survey { free: 0, harmless: None, lightest: None };
        for entry in self.entries(line) {
            let owner = entry.fingerprint.load(Ordering::Acquire);
            let tat = Tat(entry.tat.load(Ordering::Acquire));
            if owner == fingerprint {
                return None;
            }
            if owner == BUSY {
                continue;
            }
            if owner == EMPTY || self.gcra.is_full(tat, now) {
                survey.free += 1;
                survey.harmless.get_or_insert((entry, owner));
            } else if survey.lightest.is_none_or(|(_, _, least)| tat < least) {
                survey.lightest = Some((entry, owner, tat));
            }
        }
        Some(survey)
    }

    fn tat_of(&self, key: &[u8]) -> Tat {
        let fingerprint = self.fingerprint(key);
        let [home, other] = self.lines_of(fingerprint);
        let entry = self.find(home, fingerprint).or_else(|| self.find(other, fingerprint));
        entry.map_or(Tat::FULL, |entry| Tat(entry.tat.load(Ordering::Relaxed)))
    }
}

/// `value · whole / part`, without overflow; `part` is not zero.
fn scale(value: u64, part: u64, whole: u64) -> u64 {
    (u128::from(value) * u128::from(whole) / u128::from(part)) as u64
}

#[cfg(not(all(test, loom)))]
fn zeroed(words: usize) -> Option<Box<[AtomicU64]>> {
    bytemuck::try_zeroed_slice_box(words).ok()
}

#[cfg(all(test, loom))]
fn zeroed(words: usize) -> Option<Box<[AtomicU64]>> {
    Some((0..words).map(|_| AtomicU64::new(0)).collect())
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

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
    fn memory_is_never_more_than_it_was_given() {
        for memory in [0, 1, 64, 191, 192, 1_000, 4_096, 1 << 20] {
            let table = table(Quota::per_second(1), memory);
            assert!(table.words.len() * 8 <= memory.max(192), "{memory}");
            assert!(table.capacity() as usize * 16 <= table.words.len() * 8);
            assert!(table.capacity() as usize * 16 + 128 > memory, "all but a line of {memory} is used");
            assert!(table.capacity() >= 8);
            assert_eq!(table.line(0).as_ptr().align_offset(64), 0, "lines are cache lines");
            for key in 0..1_000 {
                let _ = passes(&table, key, start());
            }
        }
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

    #[test]
    fn fewer_than_one_in_two_hundred_are_evicted_at_sixty_percent() {
        let table = table(Quota::per_minute(1), 1 << 20);
        let keys = table.capacity() * 6 / 10;
        for key in 0..keys {
            assert!(passes(&table, key, start()));
        }
        assert!(table.evicted_live() * 200 < keys, "{} of {keys}", table.evicted_live());
        let live = table.live(start());
        assert!(live.abs_diff(keys - table.evicted_live()) * 10 < keys, "estimates {live} of {keys}");
        let refused = (0..keys).filter(|key| !passes(&table, *key, start())).count() as u64;
        assert!(refused * 100 > keys * 99);
    }

    #[test]
    fn a_new_rate_keeps_what_each_key_has_used() {
        let old = table(Quota::per_second(10).with_burst(9), 64 << 10);
        for key in 0..100_u64 {
            for _ in 0..key % 10 {
                assert!(passes(&old, key, start()));
            }
        }
        let new = old.with_quota(Quota::per_second(3).with_burst(19), start()).unwrap();
        assert_eq!(new.quota(), Quota::per_second(3).with_burst(19));
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
        assert!(table.evicted_live() > 70_000);
        for line in 0..table.lines {
            assert!(table.entries(line).all(|entry| entry.fingerprint.load(Ordering::Relaxed) > BUSY));
        }
    }
}
