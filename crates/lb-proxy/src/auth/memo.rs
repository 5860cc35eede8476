//! What was right a moment ago.
//!
//! A browser sends its password with every request, and each would cost a hash. So a pair that was right is remembered for a
//! minute: not the pair, but a mark of it by a key that nobody knows, from which neither can be had.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lb_core::Mono;

/// How long a pair stays right: the time in which a request costs no hash.
const KEPT: Duration = Duration::from_secs(60);
/// How many pairs are remembered: about 600 KiB.
const MOST: usize = 8192;

/// A mark of a pair.
pub(super) type Mark = [u8; 32];

/// Pairs that were right within the last minute.
#[derive(Default)]
pub(super) struct Memo {
    until: Mutex<HashMap<Mark, Mono, ahash::RandomState>>,
}

impl Memo {
    /// Whether it was right within the last minute.
    pub(super) fn knows(&self, mark: &Mark, now: Mono) -> bool {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.get(mark).is_some_and(|until| now < *until)
    }

    /// It is right. Where there is no room, those whose minute is over are forgotten, and else this one.
    pub(super) fn remember(&self, mark: Mark, now: Mono) {
        let mut all = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.retain(|_, until| now < *until);
        }
        if all.len() < MOST {
            all.insert(mark, now.saturating_add(KEPT));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(number: usize) -> Mark {
        let mut mark = [0; 32];
        mark[..8].copy_from_slice(&number.to_le_bytes());
        mark
    }

    #[test]
    fn a_pair_is_known_for_a_minute() {
        let memo = Memo::default();
        let at = Mono::from_millis;
        assert!(!memo.knows(&mark(1), at(0)));
        memo.remember(mark(1), at(1000));
        assert!(memo.knows(&mark(1), at(1000)) && memo.knows(&mark(1), at(60_999)));
        assert!(!memo.knows(&mark(1), at(61_000)) && !memo.knows(&mark(2), at(1000)));
    }

    #[test]
    fn there_are_never_more_than_there_is_room_for() {
        let memo = Memo::default();
        let at = Mono::from_millis;
        (0..2 * MOST).for_each(|number| memo.remember(mark(number), at(0)));
        assert_eq!(memo.until.lock().unwrap().len(), MOST);
        assert!(memo.knows(&mark(0), at(0)) && !memo.knows(&mark(MOST), at(0)));
        memo.remember(mark(MOST), at(60_000));
        assert!(memo.knows(&mark(MOST), at(60_000)));
        assert_eq!(memo.until.lock().unwrap().len(), 1);
    }
}
