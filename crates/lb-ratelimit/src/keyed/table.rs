//! Where the keys are: lines of four entries, and how an entry changes its owner.
//!
//! ```text
//!  line of 64 bytes    owner 0 | 1 | 2 | 3 | TAT 0 | 1 | 2 | 3
//!
//!  entry               empty or owned ──► busy ──► owned by another key, which has paid for its request already
//! ```
//!
//! An owner is a fingerprint whose lowest bit says that the entry is *pinned*: it does not give way while it is in use.

use crate::gcra::Tat;
use crate::lines::{LINE_WORDS, Lines};
use crate::sync::{AtomicU64, Ordering};

/// Owner of an entry that is not in use.
const EMPTY: u64 = 0;
/// Owner of an entry that is changing hands.
const BUSY: u64 = 2;
/// Bit of an owner: it does not give way while it is in use.
const PINNED: u64 = 1;
const WAYS: usize = LINE_WORDS / 2;

/// A fingerprint made of a hash: even, and neither empty nor busy.
pub(super) const fn fingerprint(hash: u64) -> u64 {
    let even = hash & !PINNED;
    if even <= BUSY { even + 2 * BUSY } else { even }
}

/// The entries.
#[derive(Debug)]
pub(super) struct Table(Lines);

/// One entry.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    owner: &'a AtomicU64,
    pub(super) tat: &'a AtomicU64,
}

impl Entry<'_> {
    #[inline]
    pub(super) fn is_of(&self, fingerprint: u64) -> bool {
        self.owner.load(Ordering::Acquire) & !PINNED == fingerprint
    }

    /// The fingerprint of its key; none if it is empty or changing hands.
    pub(super) fn fingerprint(&self) -> Option<u64> {
        Some(self.owner.load(Ordering::Acquire) & !PINNED).filter(|owner| *owner > BUSY)
    }

    /// Whether it keeps its place while it is in use.
    pub(super) fn is_pinned(&self) -> bool {
        self.owner.load(Ordering::Relaxed) & PINNED != 0
    }

    /// Pins it or not; tells whether the key is still the owner.
    #[inline]
    pub(super) fn set_pinned(&self, fingerprint: u64, pinned: bool) -> bool {
        let (with, without) = (fingerprint | PINNED, fingerprint);
        let (from, to) = if pinned { (without, with) } else { (with, without) };
        let owner = self.owner.load(Ordering::Acquire);
        if owner == from {
            let changed = self.owner.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
            return changed.is_ok() || self.is_of(fingerprint);
        }
        owner == to
    }

    /// Gives it to a key, with this state; tells the state of its former owner, or nothing if another thread was faster.
    ///
    /// The state is in place before the key can be found by it. A debit for the former owner that is under way fails by
    /// that, and is made elsewhere.
    pub(super) fn take(&self, from: u64, fingerprint: u64, pinned: bool, tat: Tat) -> Option<Tat> {
        self.owner.compare_exchange(from, BUSY, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        let old = self.tat.swap(tat.0, Ordering::AcqRel);
        self.owner.store(if pinned { fingerprint | PINNED } else { fingerprint }, Ordering::Release);
        Some(Tat(old))
    }

    /// Fills it in a table that no other thread sees.
    pub(super) fn copy_from(&self, from: &Self, tat: Tat) {
        self.tat.store(tat.0, Ordering::Relaxed);
        self.owner.store(from.owner.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// What a new key finds in its two lines.
pub(super) enum Room<'a> {
    /// It has an entry by now.
    Entered,
    /// An entry that can be taken from its owner without loss.
    Free(Entry<'a>, u64),
    /// All entries are in use: of those that are not pinned, the one that comes closest to a full bucket.
    Crowded(Option<(Entry<'a>, u64)>),
}

/// What one line offers to a new key.
struct Survey<'a> {
    /// Entries that can be taken without loss.
    free: u32,
    /// The first of them, and its owner.
    harmless: Option<(Entry<'a>, u64)>,
    /// Of those that are in use and not pinned, the one that comes closest to a full bucket.
    lightest: Option<(Entry<'a>, u64, Tat)>,
}

impl Table {
    /// At least two lines in `memory_bytes`; none if there is not as much memory.
    pub(super) fn new(memory_bytes: usize) -> Option<Self> {
        Lines::new(memory_bytes).map(Self)
    }

    pub(super) const fn lines(&self) -> u64 {
        self.0.count()
    }

    pub(super) const fn entries(&self) -> u64 {
        self.lines() * WAYS as u64
    }

    #[inline]
    pub(super) fn lines_of(&self, fingerprint: u64) -> [u64; 2] {
        self.0.of(fingerprint)
    }

    pub(super) fn line(&self, line: u64) -> impl Iterator<Item = Entry<'_>> {
        let (owners, tats) = self.0.line(line).split_at(WAYS);
        owners.iter().zip(tats).map(|(owner, tat)| Entry { owner, tat })
    }

    #[inline]
    pub(super) fn find(&self, lines: [u64; 2], fingerprint: u64) -> Option<Entry<'_>> {
        let in_line = |line| self.line(line).find(|entry| entry.is_of(fingerprint));
        in_line(lines[0]).or_else(|| in_line(lines[1]))
    }

    /// Where a key that has no entry could have one.
    pub(super) fn room(&self, lines: [u64; 2], fingerprint: u64, is_full: impl Fn(Tat) -> bool) -> Room<'_> {
        let surveys = (self.survey(lines[0], fingerprint, &is_full), self.survey(lines[1], fingerprint, &is_full));
        let (Some(home), Some(other)) = surveys else { return Room::Entered };
        // The emptier line, so that both fill up evenly; but the first one, which is looked at first, while half of it
        // is free.
        let line = if home.free < 2 && other.free > home.free { &other } else { &home };
        if let Some((entry, owner)) = line.harmless {
            return Room::Free(entry, owner);
        }
        let lightest = [home.lightest, other.lightest].into_iter().flatten().min_by_key(|(_, _, tat)| *tat);
        Room::Crowded(lightest.map(|(entry, owner, _)| (entry, owner)))
    }

    /// What a line offers; nothing if the key has an entry there by now, which must not give way to itself.
    fn survey(&self, line: u64, fingerprint: u64, is_full: impl Fn(Tat) -> bool) -> Option<Survey<'_>> {
        let mut survey = Survey { free: 0, harmless: None, lightest: None };
        for entry in self.line(line) {
            let owner = entry.owner.load(Ordering::Acquire);
            let tat = Tat(entry.tat.load(Ordering::Acquire));
            if owner & !PINNED == fingerprint {
                return None;
            }
            if owner == BUSY {
                continue;
            }
            if owner == EMPTY || is_full(tat) {
                survey.free += 1;
                survey.harmless.get_or_insert((entry, owner));
            } else if owner & PINNED == 0 && survey.lightest.is_none_or(|(_, _, least)| tat < least) {
                survey.lightest = Some((entry, owner, tat));
            }
        }
        Some(survey)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn no_hash_is_taken_for_an_empty_or_busy_entry() {
        for hash in [0, 1, 2, 3, 4, 5, u64::MAX] {
            let made = fingerprint(hash);
            assert!(made > BUSY && made & PINNED == 0, "{hash}");
        }
    }

    #[test]
    fn a_pinned_entry_does_not_give_way_while_it_is_in_use() {
        let table = Table::new(192).unwrap();
        let lines = [0, 1];
        for (number, entry) in table.line(0).chain(table.line(1)).enumerate() {
            let owner = 100 + 2 * number as u64;
            assert_eq!(entry.take(EMPTY, owner, false, Tat(50 + number as u64)), Some(Tat::FULL));
        }
        let lightest = |key| match table.room(lines, key, |tat| tat.0 < 10) {
            Room::Crowded(Some((entry, _))) => entry.fingerprint(),
            _ => None,
        };
        assert_eq!(lightest(500), Some(100));
        assert!(table.find(lines, 100).unwrap().set_pinned(100, true));
        assert_eq!(lightest(500), Some(102));
        for key in (102..116).step_by(2) {
            assert!(table.find(lines, key).unwrap().set_pinned(key, true));
        }
        assert!(matches!(table.room(lines, 500, |tat| tat.0 < 10), Room::Crowded(None)));
        assert!(matches!(table.room(lines, 500, |tat| tat.0 < 51), Room::Free(_, 101)), "its bucket is full again");
        assert!(matches!(table.room(lines, 100, |_| false), Room::Entered));
        assert!(table.find(lines, 104).unwrap().set_pinned(104, false));
        assert_eq!(lightest(500), Some(104));
    }
}
