//! So many at once for each key ("20 requests at once per client"), in a fixed amount of memory.
//!
//! A key is in the table only while a permit of it is held, so the table needs as many entries as there can be requests at
//! once, not as there are keys. An entry is one word, fingerprint and count together: count, check and ownership change in one
//! compare-and-swap. A key may have its entry at any of 16 places; an entry whose count is zero is free.
//!
//! ```text
//!  word    fingerprint, 44 bits | count, 20 bits        count > 0: owned        count = 0: free
//! ```
//!
//! **Never above the limit.** Two threads that enter the same key at once could do so at two places, each with a count of its own. So
//! each acquisition looks at all 16 places again after it has counted, and gives way if another place has the key as well: of two
//! acquisitions in different places the later one sees the other. Threads that meet like this may refuse a request that had room.
//!
//! **If all 16 places are in use** by other keys, the request is refused ([`Refused::NoPlace`]), as nginx's `limit_conn` does when its
//! zone is full: a permit that is out cannot be forgotten. With twice as many entries as there can be requests at once that does
//! not happen. Two keys at once share a count if their fingerprints and a place are the same: a chance of 16 in 2⁴⁴ for each pair.

use std::sync::Arc;

use siphasher::sip::SipHasher13;

use crate::keyed::NoMemory;
use crate::lines::Lines;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

const COUNT_BITS: u32 = 20;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
/// After meeting other threads this often, a request is refused rather than spin.
const ROUNDS: usize = 16;

/// A limit on requests at once for each key. Shared by all threads behind an `Arc`. Eight bytes for each key in use.
#[derive(Debug)]
pub struct KeyedConcurrency {
    limit: AtomicU32,
    seed: [u64; 2],
    lines: Lines,
}

/// Why there is no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As many permits of the key are out as may be.
    Limit,
    /// The table has no place for another key.
    NoPlace,
}

impl KeyedConcurrency {
    /// The highest limit.
    pub const MAX_LIMIT: u32 = COUNT as u32;

    /// An empty table of `memory_bytes`, at least two cache lines, for `limit` requests of a key at once; at most
    /// [`MAX_LIMIT`](Self::MAX_LIMIT). Zero admits nothing. `seed` must be random and secret.
    ///
    /// # Errors
    /// There is not that much memory.
    pub fn try_new(limit: u32, memory_bytes: usize, seed: [u64; 2]) -> Result<Arc<Self>, NoMemory> {
        let lines = Lines::new(memory_bytes).ok_or(NoMemory { memory_bytes })?;
        let limit = AtomicU32::new(limit.min(Self::MAX_LIMIT));
        Ok(Arc::new(Self { limit, seed, lines }))
    }

    /// A permit for a request of this key.
    ///
    /// # Errors
    /// The key has as many as it may have, or the table is full.
    pub fn try_acquire(self: &Arc<Self>, key: &[u8]) -> Result<KeyPermit, Refused> {
        let hash = self.hash(key);
        for _ in 0..ROUNDS {
            let place = self.find(hash).or_else(|| self.free(hash)).ok_or(Refused::NoPlace)?;
            let word = self.word(place);
            let Some(in_flight) = self.count_up(word, hash)? else { continue };
            let is_elsewhere = places(self.lines.of(hash)).any(|other| other != place && self.owns(other, hash));
            if !is_elsewhere {
                return Ok(KeyPermit { of: Arc::clone(self), place, in_flight });
            }
            word.fetch_sub(1, Ordering::SeqCst);
        }
        Err(Refused::Limit)
    }

    /// How many permits of this key are out.
    #[must_use]
    pub fn in_flight(&self, key: &[u8]) -> u32 {
        let place = self.find(self.hash(key));
        place.map_or(0, |place| (self.word(place).load(Ordering::Relaxed) & COUNT) as u32)
    }

    /// The limit in force.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes the limit. Permits beyond a lower one stay valid.
    pub fn set_limit(&self, limit: u32) {
        self.limit.store(limit.min(Self::MAX_LIMIT), Ordering::Relaxed);
    }

    /// How many keys can have permits at once.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.lines.count() * crate::lines::LINE_WORDS as u64
    }

    fn hash(&self, key: &[u8]) -> u64 {
        SipHasher13::new_with_keys(self.seed[0], self.seed[1]).hash(key)
    }

    fn word(&self, (line, way): Place) -> &AtomicU64 {
        &self.lines.line(line)[way]
    }

    fn owns(&self, place: Place, hash: u64) -> bool {
        let word = self.word(place).load(Ordering::SeqCst);
        word & COUNT > 0 && is_of(word, hash)
    }

    fn find(&self, hash: u64) -> Option<Place> {
        places(self.lines.of(hash)).find(|place| self.owns(*place, hash))
    }

    fn free(&self, hash: u64) -> Option<Place> {
        places(self.lines.of(hash)).find(|place| self.word(*place).load(Ordering::SeqCst) & COUNT == 0)
    }

    /// Counts one more, as long as the word is free or the key's; nothing if another key was faster.
    fn count_up(&self, word: &AtomicU64, hash: u64) -> Result<Option<u32>, Refused> {
        let limit = u64::from(self.limit());
        let mut old = word.load(Ordering::SeqCst);
        loop {
            let count = old & COUNT;
            if count > 0 && !is_of(old, hash) {
                return Ok(None);
            }
            if count >= limit {
                return Err(Refused::Limit);
            }
            let new = (hash & !COUNT) | (count + 1);
            match word.compare_exchange_weak(old, new, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return Ok(Some((count + 1) as u32)),
                Err(current) => old = current,
            }
        }
    }
}

/// Line, and word in the line.
type Place = (u64, usize);

fn places([home, other]: [u64; 2]) -> impl Iterator<Item = Place> {
    let lines = [Some(home), (other != home).then_some(other)];
    lines.into_iter().flatten().flat_map(|line| (0..crate::lines::LINE_WORDS).map(move |way| (line, way)))
}

const fn is_of(word: u64, hash: u64) -> bool {
    (word ^ hash) & !COUNT == 0
}

/// Admission of a request of one key, held until it is dropped.
#[derive(Debug)]
#[must_use = "a permit admits for as long as it is held"]
pub struct KeyPermit {
    of: Arc<KeyedConcurrency>,
    place: Place,
    in_flight: u32,
}

impl KeyPermit {
    /// How many permits of the key were out when this one was taken, itself included.
    #[must_use]
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }
}

impl Drop for KeyPermit {
    fn drop(&mut self) {
        // The place is the key's as long as its count is above zero.
        self.of.word(self.place).fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn table(limit: u32, memory_bytes: usize) -> Arc<KeyedConcurrency> {
        KeyedConcurrency::try_new(limit, memory_bytes, [1, 2]).unwrap()
    }

    #[test]
    fn each_key_has_its_own_permits() {
        let table = table(2, 4 << 10);
        let first = table.try_acquire(b"a").unwrap();
        let second = table.try_acquire(b"a").unwrap();
        assert_eq!((first.in_flight(), second.in_flight(), table.in_flight(b"a")), (1, 2, 2));
        assert_eq!(table.try_acquire(b"a").unwrap_err(), Refused::Limit);
        let _other = table.try_acquire(b"b").unwrap();
        drop(first);
        assert_eq!((table.in_flight(b"a"), table.in_flight(b"b"), table.in_flight(b"c")), (1, 1, 0));
        assert!(table.try_acquire(b"a").is_ok());
        table.set_limit(1);
        assert_eq!(table.try_acquire(b"a").unwrap_err(), Refused::Limit);
        drop(second);
        assert!(table.try_acquire(b"a").is_ok());
    }

    #[test]
    fn a_full_table_refuses_new_keys_and_serves_known_ones() {
        let table = table(9, 192);
        let held: Vec<_> = (0..100_u32).filter_map(|key| table.try_acquire(&key.to_le_bytes()).ok()).collect();
        assert_eq!(held.len() as u64, table.capacity());
        assert_eq!(table.try_acquire(b"new").unwrap_err(), Refused::NoPlace);
        let known = (0..100_u32).filter(|key| table.in_flight(&key.to_le_bytes()) == 1).count();
        assert_eq!(known, held.len());
        assert!((0..100_u32).filter(|key| table.try_acquire(&key.to_le_bytes()).is_ok()).count() == known);
        drop(held);
        assert!(table.try_acquire(b"new").is_ok());
    }

    #[test]
    fn limits_are_kept_within_what_can_be_counted() {
        assert_eq!(table(u32::MAX, 0).limit(), KeyedConcurrency::MAX_LIMIT);
        assert_eq!(table(0, 0).try_acquire(b"a").unwrap_err(), Refused::Limit);
        assert!(KeyedConcurrency::try_new(1, 1 << 60, [1, 2]).is_err());
    }

    #[test]
    fn threads_never_exceed_the_limit_of_a_key_and_leave_nothing_behind() {
        let table = table(3, 192);
        let held: Vec<AtomicU32> = (0..4).map(|_| AtomicU32::new(0)).collect();
        std::thread::scope(|scope| {
            for thread in 0..4_usize {
                let (table, held) = (&table, &held);
                scope.spawn(move || {
                    for round in 0..20_000_usize {
                        let key = (round + thread) % 4;
                        if let Ok(_permit) = table.try_acquire(&[key as u8]) {
                            assert!(held[key].fetch_add(1, Ordering::SeqCst) < 3);
                            held[key].fetch_sub(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        for key in 0..4_u8 {
            assert_eq!(table.in_flight(&[key]), 0);
        }
    }
}
