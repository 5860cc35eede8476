//! One bucket for each key, in a fixed amount of memory.
//!
//! The simple answer is a map, and it grows with the number of keys that clients can invent; a map with a limit needs a
//! list of what to drop, and a lock for both. Here it is a table of 16-byte entries, a keyed fingerprint and a
//! TAT, four to a cache line. A key may live in either of two lines. If both are full, the entry that gives way is
//! one whose bucket is full again, if there is one: a full bucket is what an unknown key has anyway, so that
//! **forgetting it loses nothing**.
//!
//! **If all eight entries are in use**, the table does not forget a limit to make room:
//!
//! 1. An entry that has refused a request since its bucket was last full never gives way. An attacker that invents keys
//!    cannot push out the clients that are limited.
//! 2. The new key's request counts against the next *coarser* key that the caller has given ([`Keyed::charge`]; a /48
//!    network for a /64, for instance), which has 256 times the quota, and the one after it 65 536 times. After the last one
//!    follows a bucket for all such requests, with the quota of as many keys as the table has entries: what a full table of
//!    known keys may send. If the request is refused there, it is refused.
//! 3. If it passes, it takes the place of the entry that has not been refused and comes closest to full. That is
//!    counted ([`Keyed::evicted_live`]), and the key of that entry starts again with a full bucket. If there is no such
//!    entry, only the coarser key counts the request.
//!
//! So memory pressure makes the limit coarser for new keys and stays exact for the keys that are known. A table full of
//! refused keys takes in new ones as the buckets refill.
//!
//! Memory is what it was given and is never more; it is zeroed by the allocator, so that the system provides pages when
//! keys first fall on them. Nothing is allocated, locked or swept afterwards. 10 MiB hold 655 000 entries. How many of the
//! new keys find their lines in use depends on how many entries are: 0.4 % at 50 %, 2 % at 60 % and 19 % at 80 % in steady
//! churn; 0.02, 0.2 and 2.3 % of all keys while a table is filled for the first time. Give it the memory for twice
//! the keys that are in use at once.
//!
//! **What concurrency can cost.** A key whose entry stays in the table gets exactly its quota, whatever the number of
//! threads. When it enters the table, each *other* thread that enters the same key at the same instant may let one
//! request through uncounted: with W threads at most W − 1. An eviction forgets what the key had used, at
//! //! most one quota (`1 + burst`); where a debit and an eviction meet, the eviction counts as live, and if both keys have used
//! equally much, the new one may be charged one request more than it made, never its first.
//!
//! Two keys share a bucket if their 63-bit fingerprints are equal: among ten million keys, a chance of 6 in a million
//! that any two do. The hash is SipHash-1-3 under a secret seed, so that clients cannot search for such keys, nor for
//! keys that crowd one line.

mod rule;
mod table;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

use std::fmt;
use std::time::Duration;

use lb_core::Mono;
use siphasher::sip::SipHasher13;

use crate::decision::Decision;
use crate::gcra::{Gcra, Tat, Verdict};
use crate::sync::{AtomicU64, Ordering};
pub use rule::Rule;
use rule::{Debited, Words};
use table::{Entry, Room, Table};

/// After losing its entry this often to other keys, a request passes uncounted rather than spin.
const ROUNDS: usize = 16;

/// A rate limit for each key, in bounded memory. Shared by all threads behind an `Arc`.
///
/// A check costs one hash of the key and one cache line, or two if the key is new or its first line was full.
#[derive(Debug)]
pub struct Keyed {
    words: Words,
    gcra_of_all: Gcra,
    rule: Rule,
    seed: [u64; 2],
    memory_bytes: usize,
    table: Table,
    /// The bucket of requests that found no place at any level.
    all: AtomicU64,
    evicted_live: AtomicU64,
    crowded: AtomicU64,
}

/// The system has not as much memory as a table was to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory {
    pub(crate) memory_bytes: usize,
}

impl fmt::Display for NoMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the system has no {} MiB of memory for a rate limit", self.memory_bytes >> 20)
    }
}

impl std::error::Error for NoMemory {}

/// A key, and the coarser ones that count its requests where the table has no room for it, finest first. Keys of different
/// levels never meet, even if their bytes are equal.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The key itself. The empty key is a key like any other.
    pub key: &'a [u8],
    /// The coarser ones: the client's networks, for instance ([`ClientKey::networks`](crate::ClientKey::networks)). May be
    /// empty. The first has 256 times the quota, the others 65 536 times.
    pub coarser: &'a [&'a [u8]],
}

impl<'a> Key<'a> {
    /// A key without coarser ones.
    #[must_use]
    pub const fn new(key: &'a [u8]) -> Self {
        Self { key, coarser: &[] }
    }

    fn at(&self, level: usize) -> Option<&'a [u8]> {
        match level.checked_sub(1) {
            None => Some(self.key),
            Some(index) => self.coarser.get(index).copied(),
        }
    }
}

/// A request as one of the levels of a table sees it.
#[derive(Clone, Copy)]
struct Request<'a> {
    key: Key<'a>,
    level: usize,
    cost: u64,
    now: Mono,
}

impl Keyed {
    /// The default of memory: 10 MiB.
    pub const DEFAULT_MEMORY_BYTES: usize = 10 << 20;

    /// An empty table of `memory_bytes`, at least two cache lines, for a [`Quota`](crate::Quota) or another [`Rule`].
    ///
    /// `seed` must be random and secret. With the same seed and memory, a table keeps its keys' places.
    ///
    /// # Panics
    /// If there is not that much memory; see [`try_new`](Self::try_new).
    #[must_use]
    pub fn new(rule: impl Into<Rule>, memory_bytes: usize, seed: [u64; 2]) -> Self {
        Self::try_new(rule, memory_bytes, seed).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`new`](Self::new), where the memory comes from a configuration.
    ///
    /// # Errors
    /// There is not that much memory.
    pub fn try_new(rule: impl Into<Rule>, memory_bytes: usize, seed: [u64; 2]) -> Result<Self, NoMemory> {
        let rule = rule.into();
        let table = Table::new(memory_bytes).ok_or(NoMemory { memory_bytes })?;
        Ok(Self {
            words: Words::new(rule),
            gcra_of_all: Gcra::new(&rule.quota()).times(table.entries()),
            rule,
            seed,
            memory_bytes,
            table,
            all: AtomicU64::new(Tat::FULL.0),
            evicted_live: AtomicU64::new(0),
            crowded: AtomicU64::new(0),
        })
    }

    /// The table of a configuration that changed its rule only: same seed, same memory, every key as far into its
    /// burst as it was ([`Gcra::carry_over`]); of windows, the counts carry over if the period is the same. Another kind of rule
    /// begins anew. What is checked against the old table meanwhile does not carry over.
    ///
    /// Cold: reads the whole table. If the rule did not change either, keep the table.
    ///
    /// # Errors
    /// There is not as much memory once more; this table is as it was.
    pub fn with_rule(&self, rule: impl Into<Rule>, now: Mono) -> Result<Self, NoMemory> {
        let new = Self::try_new(rule, self.memory_bytes, self.seed)?;
        let carry_over = |tat| new.words.carry_over(&self.words, tat, now);
        for line in 0..self.table.lines() {
            for (from, to) in self.table.line(line).zip(new.table.line(line)) {
                let tat = Tat(from.tat.load(Ordering::Acquire));
                if from.fingerprint().is_some()
                    && !self.is_full(tat, now)
                    && let Some(tat) = carry_over(tat)
                {
                    to.copy_from(&from, tat);
                }
            }
        }
        let all = new.gcra_of_all.carry_over(&self.gcra_of_all, Tat(self.all.load(Ordering::Relaxed)), now);
        new.all.store(all.0, Ordering::Relaxed);
        new.evicted_live.store(self.evicted_live(), Ordering::Relaxed);
        new.crowded.store(self.crowded(), Ordering::Relaxed);
        Ok(new)
    }

    /// Decides one request of this key. The empty key is a key like any other.
    #[inline]
    pub fn check(&self, key: &[u8], now: Mono) -> Verdict {
        self.debit(Key::new(key), 1, now)
    }

    /// As [`check`](Self::check), with coarser keys.
    #[inline]
    pub fn check_key(&self, key: Key<'_>, now: Mono) -> Verdict {
        self.debit(key, 1, now)
    }

    /// As [`check_key`](Self::check_key), with how long to hold a request back that passes, so that requests leave at the rate but
    /// for the first `undelayed` beyond it ([`Gcra::delay`]). Windows hold none back.
    #[inline]
    pub fn check_delaying(&self, key: Key<'_>, undelayed: u64, now: Mono) -> (Verdict, Duration) {
        let (verdict, tat) = self.debit_at(Request { key, level: 0, cost: 1, now });
        let delay = if verdict.is_pass() { self.words.delay(tat, undelayed, now) } else { Duration::ZERO };
        (verdict, delay)
    }

    /// Decides a request that counts as `cost` requests, and tells what is left. A cost above `1 + burst` is never admitted.
    pub fn charge(&self, key: Key<'_>, cost: u64, now: Mono) -> Decision {
        let debited = self.debit_at(Request { key, level: 0, cost, now });
        self.decision(debited, now)
    }

    /// As [`charge`](Self::charge); a request that passes is held back as [`check_delaying`](Self::check_delaying) does, unless
    /// `undelayed` is `None`.
    pub(crate) fn charge_delaying(&self, key: Key<'_>, cost: u64, undelayed: Option<u64>, now: Mono) -> Decision {
        let (verdict, tat) = self.debit_at(Request { key, level: 0, cost, now });
        let undelayed = undelayed.filter(|_| verdict.is_pass());
        let delay = undelayed.map_or(Duration::ZERO, |undelayed| self.words.delay(tat, undelayed, now));
        Decision { delay, ..self.decision((verdict, tat), now) }
    }

    /// What [`charge`](Self::charge) would answer, without counting anything; it does not look at coarser keys.
    pub fn peek(&self, key: &[u8], cost: u64, now: Mono) -> Decision {
        let old = self.tat_of(key);
        self.decision(self.words.decide(0, old, cost, now), now)
    }

    fn decision(&self, (verdict, tat): Debited, now: Mono) -> Decision {
        let (remaining, reset) = (self.words.remaining(tat, now), self.words.reset(tat, now));
        Decision { verdict, delay: Duration::ZERO, remaining, reset }
    }

    /// As [`charge`](Self::charge), the verdict alone.
    #[inline]
    pub(crate) fn debit(&self, key: Key<'_>, cost: u64, now: Mono) -> Verdict {
        self.debit_at(Request { key, level: 0, cost, now }).0
    }

    /// When a request of this key would pass, if it would not now. It counts as refused.
    pub(crate) fn would_refuse(&self, key: &[u8], cost: u64, now: Mono) -> Option<Duration> {
        let fingerprint = self.fingerprint(key, 0);
        let entry = self.table.find(self.table.lines_of(fingerprint), fingerprint);
        let tat = entry.map_or(Tat::FULL, |entry| Tat(entry.tat.load(Ordering::Acquire)));
        let Verdict::Refuse { retry_after } = self.words.decide(0, tat, cost, now).0 else { return None };
        let is_its_own = entry.is_none_or(|entry| entry.set_pinned(fingerprint, true));
        is_its_own.then_some(retry_after)
    }

    /// Gives back what a request of this key was charged, at most until its bucket is full. What coarser keys have counted stays.
    pub fn refund(&self, key: &[u8], cost: u64, now: Mono) {
        let fingerprint = self.fingerprint(key, 0);
        let Some(entry) = self.table.find(self.table.lines_of(fingerprint), fingerprint) else { return };
        let mut old = entry.tat.load(Ordering::Acquire);
        while entry.is_of(fingerprint) {
            let new = self.words.refund(Tat(old), cost, now);
            match entry.tat.compare_exchange_weak(old, new.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(current) => old = current,
            }
        }
    }

    /// How many requests of this key would pass at once.
    #[must_use]
    pub fn remaining(&self, key: &[u8], now: Mono) -> u64 {
        self.words.remaining(self.tat_of(key), now)
    }

    /// How long until this key's bucket is full again; zero for a key that is unknown.
    #[must_use]
    pub fn full_after(&self, key: &[u8], now: Mono) -> Duration {
        self.words.reset(self.tat_of(key), now)
    }

    /// The rule in force.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        self.rule
    }

    /// The memory it was given, in bytes.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// How many keys it can hold at once.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.table.entries()
    }

    /// How many keys were forgotten before their buckets were full: the only loss of precision for keys in the table. If
    /// it grows, the memory is too small.
    #[must_use]
    pub fn evicted_live(&self) -> u64 {
        self.evicted_live.load(Ordering::Relaxed)
    }

    /// How many requests of new keys found all their places in use, and were counted by coarser keys. If it grows, the
    /// memory is too small, or an attacker invents keys.
    #[must_use]
    pub fn crowded(&self) -> u64 {
        self.crowded.load(Ordering::Relaxed)
    }

    /// How many keys are not at their full burst now, estimated from at most 512 lines; exact for small tables.
    ///
    /// Cold: some microseconds.
    #[must_use]
    pub fn live(&self, now: Mono) -> u64 {
        let lines = self.table.lines();
        let sampled = lines.min(512);
        let live = (0..sampled)
            .flat_map(|sample| self.table.line(scale(sample, sampled, lines)))
            .filter(|entry| !self.is_full(Tat(entry.tat.load(Ordering::Relaxed)), now))
            .count() as u64;
        scale(live, sampled, lines)
    }

    /// The keys with the most in use, as the fingerprint of each and how long until its bucket is full; at most `max` of
    /// them, those that have been refused first. Reads the whole table.
    #[must_use]
    pub fn heaviest(&self, max: usize, now: Mono) -> Vec<Heavy> {
        let mut heaviest = Vec::new();
        for entry in (0..self.table.lines()).flat_map(|line| self.table.line(line)) {
            let tat = Tat(entry.tat.load(Ordering::Relaxed));
            let Some(key) = entry.fingerprint().filter(|_| !self.is_full(tat, now)) else { continue };
            let full_after = self.words.reset(tat, now);
            heaviest.push(Heavy { is_refused: entry.is_pinned(), full_after, key });
            if heaviest.len() >= 2 * max.max(1) {
                keep_heaviest(&mut heaviest, max);
            }
        }
        keep_heaviest(&mut heaviest, max);
        heaviest
    }

    fn is_full(&self, tat: Tat, now: Mono) -> bool {
        self.words.is_full(tat, now)
    }

    /// Each level has hashes of its own.
    fn fingerprint(&self, key: &[u8], level: usize) -> u64 {
        table::fingerprint(SipHasher13::new_with_keys(self.seed[0], self.seed[1] ^ level as u64).hash(key))
    }

    #[inline]
    fn debit_at(&self, request: Request<'_>) -> Debited {
        let key = request.key.at(request.level).filter(|_| self.words.has_level(request.level));
        let Some(key) = key else { return self.debit_all(request) };
        let fingerprint = self.fingerprint(key, request.level);
        let lines = self.table.lines_of(fingerprint);
        if let Some(entry) = self.table.find(lines, fingerprint)
            && let Some(debited) = self.debit_entry(entry, fingerprint, request)
        {
            return debited;
        }
        self.enter(lines, fingerprint, request)
    }

    /// Decides a request of a key that had no entry a moment ago.
    #[cold]
    fn enter(&self, lines: [u64; 2], fingerprint: u64, request: Request<'_>) -> Debited {
        let first = self.words.decide(request.level, Tat::FULL, request.cost, request.now);
        if request.cost == 0 || !first.0.is_pass() {
            return first;
        }
        let mut is_counted = false;
        for _ in 0..ROUNDS {
            if let Some(entry) = self.table.find(lines, fingerprint) {
                match self.debit_entry(entry, fingerprint, request) {
                    Some(debited) => return debited,
                    None => continue,
                }
            }
            let place = match self.table.room(lines, fingerprint, |tat| self.is_full(tat, request.now)) {
                Room::Entered => continue,
                Room::Free(entry, owner) => Some((entry, owner)),
                Room::Crowded(lightest) => {
                    if !is_counted && let Some(refused) = self.refused_coarser(request) {
                        return refused;
                    }
                    is_counted = true;
                    lightest
                }
            };
            let Some((entry, owner)) = place else { return first };
            // The count of many keys is worth more than that of one.
            let is_pinned = request.level > 0;
            if let Some(old) = entry.take(owner, fingerprint, is_pinned, first.1) {
                if !self.is_full(old, request.now) {
                    self.evicted_live.fetch_add(1, Ordering::Relaxed);
                }
                return first;
            }
        }
        self.evicted_live.fetch_add(1, Ordering::Relaxed);
        first
    }

    /// Counts a request that found no place with the next coarser key; tells the answer if it is refused there.
    fn refused_coarser(&self, request: Request<'_>) -> Option<Debited> {
        if request.level == 0 {
            self.crowded.fetch_add(1, Ordering::Relaxed);
        }
        let debited = self.debit_at(Request { level: request.level + 1, ..request });
        (!debited.0.is_pass()).then_some(debited)
    }

    fn debit_all(&self, request: Request<'_>) -> Debited {
        let gcra = &self.gcra_of_all;
        let mut old = self.all.load(Ordering::Relaxed);
        loop {
            let (verdict, new) = gcra.decide_cost(Tat(old), request.cost, request.now);
            if !verdict.is_pass() {
                return (verdict, new);
            }
            match self.all.compare_exchange_weak(old, new.0, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return (verdict, new),
                Err(current) => old = current,
            }
        }
    }

    /// Debits an entry; nothing if it went to another key meanwhile.
    #[inline]
    fn debit_entry(&self, entry: Entry<'_>, fingerprint: u64, request: Request<'_>) -> Option<Debited> {
        let mut old = entry.tat.load(Ordering::Acquire);
        loop {
            let (verdict, new) = self.words.decide(request.level, Tat(old), request.cost, request.now);
            if !verdict.is_pass() {
                return entry.set_pinned(fingerprint, true).then_some((verdict, new));
            }
            match entry.tat.compare_exchange_weak(old, new.0, Ordering::AcqRel, Ordering::Acquire) {
                // Counted with the eviction, or charged to a next owner whose state happened to be the same.
                Ok(_) if !entry.is_of(fingerprint) => return None,
                Ok(_) => {
                    if request.level == 0 && entry.is_pinned() && self.is_full(Tat(old), request.now) {
                        entry.set_pinned(fingerprint, false);
                    }
                    return Some((verdict, new));
                }
                Err(_) if !entry.is_of(fingerprint) => return None,
                Err(current) => old = current,
            }
        }
    }

    fn tat_of(&self, key: &[u8]) -> Tat {
        let fingerprint = self.fingerprint(key, 0);
        let entry = self.table.find(self.table.lines_of(fingerprint), fingerprint);
        entry.map_or(Tat::FULL, |entry| Tat(entry.tat.load(Ordering::Relaxed)))
    }
}

/// One of the keys of [`Keyed::heaviest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Heavy {
    /// Whether it has been refused since its bucket was last full, or counts for finer keys.
    pub is_refused: bool,
    /// How long until its bucket is full.
    pub full_after: Duration,
    /// A hash of the key under the secret seed of the table.
    pub key: u64,
}

fn keep_heaviest(heaviest: &mut Vec<Heavy>, max: usize) {
    heaviest.sort_unstable_by(|one, other| other.cmp(one));
    heaviest.truncate(max);
}

/// `value · whole / part`, without overflow; `part` is not zero.
fn scale(value: u64, part: u64, whole: u64) -> u64 {
    (u128::from(value) * u128::from(whole) / u128::from(part)) as u64
}
