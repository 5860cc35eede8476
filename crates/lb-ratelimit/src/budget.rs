//! A retry budget: retries as a share of the requests of the last ten seconds.
//!
//! The problem: when a cluster fails, every client that retries three times sends four times the load to what is
//! left of it, and three such hops in a row send 64 times. A share bounds that: with 20 % the load grows by a fifth and
//! no more, however much fails. A floor of so many retries a second keeps it from refusing the only retry of a
//! quiet service.
//!
//! ```text
//! retries(last 10 s) ≤ max(ratio · requests(last 10 s), min_per_second · 10)
//! ```
//!
//! The usual balance of tokens (Finagle, tower) rounds a fraction of a token away at each request, and tower's looks at
//! the balance before it subtracts, so that threads spend the same token. Here both counts are kept as whole numbers
//! and compared by multiplication; a retry is *debited first*, then compared with all the debits there are, and taken
//! back if it was one too many. Threads that meet at the edge may thus refuse one more than they must, never fewer.
//!
//! Time is cut into slots of a second, of which the last ten count, the running one among them: the window is
//! between nine and ten seconds long. Since every retry saw its own window within the bound, any stretch of time, cut
//! into windows back from its last retry, keeps to the sum of the bounds of its windows: in the long run retries never
//! exceed `ratio` of the requests plus the floor.
//!
//! Time that goes backwards stands still: what happens then belongs to the latest slot there was.

use lb_core::Mono;

use crate::sync::{AtomicU64, Ordering, fence};

/// Retries as a share of requests: 0 to 1 and beyond, exact to the millionth. The default of a budget is 20 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ratio {
    millionths: u32,
}

impl Ratio {
    /// No retries but the floor's.
    pub const ZERO: Self = Self { millionths: 0 };

    /// So many hundredths.
    #[must_use]
    pub const fn percent(percent: u16) -> Self {
        Self { millionths: percent as u32 * 10_000 }
    }

    /// This share of a number, rounded up.
    pub(crate) const fn of(self, number: u64) -> u64 {
        (number as u128 * self.millionths as u128).div_ceil(1_000_000) as u64
    }

    /// So many millionths.
    #[must_use]
    pub const fn millionths(millionths: u32) -> Self {
        Self { millionths }
    }
}

impl Default for Ratio {
    fn default() -> Self {
        Self::percent(20)
    }
}

const SLOTS: u64 = 10;
const SLOT_NANOS: u64 = 1_000_000_000;

/// A retry budget, shared by all threads. 184 bytes; each event costs one compare-and-swap, a retry also forty loads.
#[derive(Debug)]
pub struct RetryBudget {
    ratio: Ratio,
    /// Retries in a window that are always granted.
    floor: u64,
    /// The latest slot there was.
    latest: AtomicU64,
    requests: Ring,
    retries: Ring,
}

impl RetryBudget {
    /// A budget of this share, and never below `min_per_second` retries a second (10 by default elsewhere): as
    /// many times ten in ten seconds, which may come all at once.
    #[must_use]
    pub fn new(ratio: Ratio, min_per_second: u32) -> Self {
        let floor = u64::from(min_per_second) * SLOTS;
        Self { ratio, floor, latest: AtomicU64::new(0), requests: Ring::new(), retries: Ring::new() }
    }

    /// Counts a request; its retries are not requests.
    #[inline]
    pub fn on_request(&self, now: Mono) {
        self.requests.add(self.enter(now));
    }

    /// Asks for a retry and, if it is granted, debits it in the same step.
    #[must_use = "a granted retry is already counted; give it back with `refund` if it is not made"]
    pub fn try_retry(&self, now: Mono) -> bool {
        let slot = self.enter(now);
        // Without this look a storm of refused retries would make one another fail.
        if self.retries.sum(slot) >= self.allowed(slot) {
            return false;
        }
        self.retries.add(slot);
        // Of two debits, in whichever slots, the later one sees the earlier.
        fence(Ordering::SeqCst);
        if self.retries.sum(slot) <= self.allowed(slot) {
            return true;
        }
        self.retries.take_back(slot);
        false
    }

    /// Gives a granted retry back that was not made after all, because nobody was eligible for instance.
    pub fn refund(&self, now: Mono) {
        self.retries.take_back(self.enter(now));
    }

    /// How many retries would be granted now.
    #[must_use]
    pub fn remaining(&self, now: Mono) -> u64 {
        let slot = slot_of(now).max(self.latest.load(Ordering::Relaxed));
        self.allowed(slot).saturating_sub(self.retries.sum(slot))
    }

    /// The slot of an event. A debit put into a slot that time has left would leave the window before the requests
    /// that paid for it.
    #[inline]
    fn enter(&self, now: Mono) -> u64 {
        let (slot, latest) = (slot_of(now), self.latest.load(Ordering::Relaxed));
        if slot > latest {
            return self.latest.fetch_max(slot, Ordering::Relaxed).max(slot);
        }
        latest
    }

    fn allowed(&self, slot: u64) -> u64 {
        let share = u128::from(self.requests.sum(slot)) * u128::from(self.ratio.millionths) / 1_000_000;
        self.floor.max(share as u64) // at most 10 · 2³² · 4 295
    }
}

/// Slots are numbered from one, so that zero is a slot that never was; 32 bits of them are 136 years.
fn slot_of(now: Mono) -> u64 {
    (now.as_nanos() / SLOT_NANOS + 1).min(u64::from(u32::MAX))
}

/// Ten counters, each with the number of the slot it counts: `slot << 32 | count`.
#[derive(Debug)]
struct Ring {
    cells: [AtomicU64; SLOTS as usize],
}

const COUNT_BITS: u32 = 32;
const COUNT: u64 = u32::MAX as u64;

impl Ring {
    fn new() -> Self {
        Self { cells: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    fn cell(&self, slot: u64) -> &AtomicU64 {
        &self.cells[(slot % SLOTS) as usize]
    }

    /// Counts one in this slot, or in the later one that has its cell already. A full count stays full.
    fn add(&self, slot: u64) {
        self.update(slot, |cell| match cell >> COUNT_BITS {
            of if of < slot => Some(slot << COUNT_BITS | 1),
            _ if cell & COUNT == COUNT => None,
            _ => Some(cell + 1),
        });
    }

    /// Takes one away from the latest slot that has one.
    fn take_back(&self, slot: u64) {
        for back in 0..SLOTS.min(slot) {
            let oldest = slot.saturating_sub(SLOTS - 1);
            let taken =
                self.update(slot - back, |cell| (cell >> COUNT_BITS >= oldest && cell & COUNT > 0).then(|| cell - 1));
            if taken {
                return;
            }
        }
    }

    fn update(&self, slot: u64, mut change: impl FnMut(u64) -> Option<u64>) -> bool {
        let cell = self.cell(slot);
        let mut old = cell.load(Ordering::Relaxed);
        while let Some(new) = change(old) {
            match cell.compare_exchange_weak(old, new, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(current) => old = current,
            }
        }
        false
    }

    /// What the ten slots up to this one have counted, and any later ones.
    fn sum(&self, slot: u64) -> u64 {
        let oldest = slot.saturating_sub(SLOTS - 1);
        let counts = self.cells.iter().map(|cell| cell.load(Ordering::Relaxed));
        counts.filter(|cell| cell >> COUNT_BITS >= oldest).map(|cell| cell & COUNT).sum()
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Mono {
        Mono::from_millis(seconds * 1_000)
    }

    fn granted(budget: &RetryBudget, asked: usize, now: Mono) -> usize {
        (0..asked).filter(|_| budget.try_retry(now)).count()
    }

    #[test]
    fn a_fifth_of_the_requests_may_be_retried_and_not_one_more() {
        let budget = RetryBudget::new(Ratio::percent(20), 0);
        for _ in 0..1_000 {
            budget.on_request(at(3));
        }
        assert_eq!(budget.remaining(at(3)), 200);
        assert_eq!(granted(&budget, 1_000, at(3)), 200);
        for _ in 0..4 {
            budget.on_request(at(3));
        }
        assert!(!budget.try_retry(at(3)), "four requests are no fifth yet");
        budget.on_request(at(3));
        assert!(budget.try_retry(at(3)));
        assert!(!budget.try_retry(at(3)));
    }

    #[test]
    fn fractions_of_a_retry_add_up() {
        // tower rounds 0.1 of a retry a request to whole tokens; here ten thousand requests are a thousand retries, one
        // by one.
        let budget = RetryBudget::new(Ratio::millionths(100_000), 0);
        let mut retries = 0;
        for request in 1..=10_000 {
            budget.on_request(at(1));
            retries += granted(&budget, 5, at(1));
            assert_eq!(retries, request / 10);
        }
    }

    #[test]
    fn the_floor_is_granted_to_a_service_that_has_no_requests() {
        let budget = RetryBudget::new(Ratio::default(), 10);
        assert_eq!(granted(&budget, 1_000, at(0)), 100);
        assert_eq!(granted(&budget, 1_000, at(9)), 0);
        assert_eq!(granted(&budget, 1_000, at(10)), 100, "the window has moved on");
    }

    #[test]
    fn the_floor_is_not_added_to_the_share() {
        let budget = RetryBudget::new(Ratio::percent(20), 10);
        for _ in 0..600 {
            budget.on_request(at(5));
        }
        assert_eq!(granted(&budget, 1_000, at(5)), 120);
    }

    #[test]
    fn what_is_ten_seconds_old_no_longer_counts() {
        let budget = RetryBudget::new(Ratio::percent(50), 0);
        budget.on_request(at(0));
        budget.on_request(at(0));
        assert_eq!(budget.remaining(at(9)), 1);
        assert_eq!(budget.remaining(at(10)), 0);
        assert!(!budget.try_retry(at(10)));
        // A ring that slept for longer than a round holds nothing either.
        budget.on_request(at(0));
        assert_eq!(budget.remaining(at(10_000)), 0);
    }

    #[test]
    fn nothing_is_granted_without_share_and_floor() {
        let budget = RetryBudget::new(Ratio::ZERO, 0);
        budget.on_request(at(1));
        assert!(!budget.try_retry(at(1)));
        assert!(!RetryBudget::new(Ratio::percent(20), 0).try_retry(at(1)), "nor without requests");
    }

    #[test]
    fn a_refund_gives_back_what_was_granted_and_no_more() {
        let budget = RetryBudget::new(Ratio::ZERO, 1);
        assert_eq!(granted(&budget, 20, at(4)), 10);
        budget.refund(at(6));
        assert_eq!(granted(&budget, 20, at(6)), 1);
        for _ in 0..50 {
            budget.refund(at(7));
        }
        assert_eq!(granted(&budget, 50, at(7)), 10);
        budget.refund(at(1_000));
        assert_eq!(granted(&budget, 50, at(1_000)), 10, "what has left the window is not given back");
    }

    #[test]
    fn time_that_goes_back_grants_nothing_new() {
        let budget = RetryBudget::new(Ratio::ZERO, 1);
        assert_eq!(granted(&budget, 20, at(100)), 10);
        assert_eq!(granted(&budget, 20, at(95)), 0);
        assert_eq!(granted(&budget, 20, at(0)), 0);
        assert_eq!(granted(&budget, 20, at(109)), 0);
        assert_eq!(granted(&budget, 20, at(110)), 10);
    }

    #[test]
    fn the_ends_of_time_and_of_counting_are_harmless() {
        let budget = RetryBudget::new(Ratio::millionths(u32::MAX), u32::MAX);
        budget.on_request(Mono::MAX);
        assert!(budget.try_retry(Mono::MAX));
        budget.refund(Mono::ZERO);
        let full = Ring::new();
        full.cells[5].store(5 << COUNT_BITS | COUNT, Ordering::Relaxed);
        full.add(5);
        assert_eq!(full.sum(5), COUNT);
        assert_eq!(RetryBudget::new(Ratio::percent(1), 0).remaining(Mono::ZERO), 0);
    }

    #[test]
    fn threads_cannot_spend_the_same_retry() {
        let budget = RetryBudget::new(Ratio::percent(20), 0);
        for _ in 0..5_000 {
            budget.on_request(at(50));
        }
        let asked_at = |thread: u64| at(50).saturating_add(Duration::from_millis(thread * 500));
        let total: usize = std::thread::scope(|scope| {
            let budget = &budget;
            let workers: Vec<_> =
                (0..4).map(|thread| scope.spawn(move || granted(budget, 1_000, asked_at(thread)))).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert!(total <= 1_000, "{total}");
        // Those who met at the edge may each have refused one more than they had to.
        assert!(total + 4 > 1_000 && total + granted(&budget, 10, at(51)) == 1_000, "{total}");
    }
}
