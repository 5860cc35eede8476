//! Account: what the streams of one client connection may have us hold, all together.
//!
//! HTTP/2 lets one connection run many requests at once, and a few octets ask for each. So what is bounded for a stream is
//! bounded for the connection too, or the bound is that of a stream times 128. What windows bound already, bodies that
//! come from the client, is not counted here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Heads of requests that are being served, and their trailers. HPACK sends a head of 31 KiB again in nine octets. This is 8 KiB for each of 128
/// streams; browsers with many cookies send half of that.
const HEADS: usize = 1024 * 1024;
/// Heads of the largest size that a connection may have, where that is more.
const LARGE_HEADS: usize = 4;
/// Bodies kept for another attempt, and responses that wait for the client.
const BUFFERS: usize = 512 * 1024;

/// What one connection holds.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) heads: Tally,
    pub(crate) buffers: Tally,
}

impl Account {
    /// Nothing yet, of a connection whose heads are of this size at most.
    pub(crate) fn new(largest_head: usize) -> Self {
        let heads = HEADS.max(largest_head.saturating_mul(LARGE_HEADS));
        Self { heads: Tally::new(heads), buffers: Tally::new(BUFFERS) }
    }
}

/// Room for one head, or for trailers. Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct HeadRoom {
    account: Arc<Account>,
    bytes: usize,
}

impl HeadRoom {
    /// Takes this much, if there is as much left.
    pub(crate) fn take(account: &Arc<Account>, bytes: usize) -> Option<Self> {
        account.heads.try_add(bytes).then(|| Self { account: Arc::clone(account), bytes })
    }
}

impl Drop for HeadRoom {
    fn drop(&mut self) {
        self.account.heads.remove(self.bytes);
    }
}

/// A sum with a limit.
#[derive(Debug)]
pub(crate) struct Tally {
    held: AtomicUsize,
    max: usize,
}

impl Tally {
    const fn new(max: usize) -> Self {
        Self { held: AtomicUsize::new(0), max }
    }

    /// Counts this much, if there is room for it.
    pub(crate) fn try_add(&self, bytes: usize) -> bool {
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.max;
        if !fits {
            self.remove(bytes);
        }
        fits
    }

    /// Counts this much, which is held already.
    pub(crate) fn add(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts this much no more.
    pub(crate) fn remove(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// How much more there is room for.
    pub(crate) fn left(&self) -> usize {
        self.max.saturating_sub(self.held.load(Ordering::Relaxed))
    }

    /// The limit.
    pub(crate) const fn max(&self) -> usize {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is_room_for() {
        let tally = Tally::new(10);
        assert!(tally.try_add(6) && !tally.try_add(5) && tally.try_add(4));
        assert_eq!(tally.left(), 0);
        tally.remove(6);
        assert_eq!(tally.left(), 6);
        tally.add(20);
        assert_eq!(tally.left(), 0, "what is held is held");
        assert!(!tally.try_add(1));
    }

    #[test]
    fn a_connection_may_have_a_few_of_the_largest_heads() {
        assert_eq!(Account::new(32 * 1024).heads.max(), 1024 * 1024);
        assert_eq!(Account::new(1024 * 1024).heads.max(), 4 * 1024 * 1024);
    }
}
