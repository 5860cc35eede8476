//! How many at once.
//!
//! A limit on concurrency is a count up and a count down, and the count down is what gets lost: an early
//! return, a cancelled future, a panic. In a proxy cancellation is the common case. So counting up yields a
//! [`Permit`], and only dropping that counts down: no path can leak one, nor give one back twice.
//!
//! What it does not do: wait. A refused request is shed, or waits in a [`WaitQueue`](crate::WaitQueue). The limit itself may be
//! fixed, or follow one of the [`adaptive`](crate::adaptive) rules; [`KeyedConcurrency`](crate::KeyedConcurrency) has one for each key.

use std::sync::Arc;

use crate::budget::Ratio;
use crate::sync::{AtomicU32, Ordering};

/// Admits so many at once; shared by all threads behind an `Arc`.
///
/// Never more than the limit, and never fewer while there is room: the count goes up by compare-and-swap, since one
/// that is added and taken back would make others fail meanwhile.
#[derive(Debug)]
pub struct Concurrency {
    limit: AtomicU32,
    in_flight: AtomicU32,
}

impl Concurrency {
    /// At most this many at once. Zero admits nobody.
    #[must_use]
    pub fn new(limit: u32) -> Arc<Self> {
        Arc::new(Self { limit: AtomicU32::new(limit), in_flight: AtomicU32::new(0) })
    }

    /// A permit, if fewer than the limit are out.
    #[must_use]
    pub fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        self.try_acquire_below(self.limit())
    }

    /// As [`try_acquire`](Self::try_acquire), for requests of which this share of the limit is kept free: for more important ones,
    /// which use the other methods or a smaller share. Rounded up, but at least one place is not reserved.
    #[must_use]
    pub fn try_acquire_reserving(self: &Arc<Self>, reserved: Ratio) -> Option<Permit> {
        let limit = self.limit();
        let open = limit.saturating_sub(u32::try_from(reserved.of(u64::from(limit))).unwrap_or(u32::MAX));
        self.try_acquire_below(open.max(limit.min(1)))
    }

    fn try_acquire_below(self: &Arc<Self>, limit: u32) -> Option<Permit> {
        let mut old = self.in_flight.load(Ordering::Relaxed);
        while old < limit {
            match self.in_flight.compare_exchange_weak(old, old + 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(Permit { of: Arc::clone(self), in_flight: old + 1 }),
                Err(current) => old = current,
            }
        }
        None
    }

    /// How many permits are out.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// The limit in force.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes the limit. Permits beyond a lower one stay valid; new ones wait until they are back.
    pub fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::Relaxed);
    }
}

/// Admission, held until it is dropped.
#[derive(Debug)]
#[must_use = "a permit admits for as long as it is held"]
pub struct Permit {
    of: Arc<Concurrency>,
    in_flight: u32,
}

impl Permit {
    /// How many permits were out when this one was taken, itself included: what a
    /// [`Sample`](crate::adaptive::Sample) wants to know.
    #[must_use]
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.of.in_flight.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn it_admits_so_many_at_once_and_again_when_they_are_back() {
        let gate = Concurrency::new(2);
        let first = gate.try_acquire().unwrap();
        let second = gate.try_acquire().unwrap();
        assert_eq!((first.in_flight(), second.in_flight(), gate.in_flight()), (1, 2, 2));
        assert!(gate.try_acquire().is_none());
        drop(first);
        assert!(gate.try_acquire().is_some(), "and is given back at once, since nobody holds it");
        assert_eq!(gate.in_flight(), 1);
    }

    #[test]
    fn zero_admits_nobody_and_the_largest_limit_does_not_overflow() {
        assert!(Concurrency::new(0).try_acquire().is_none());
        assert!(Concurrency::new(u32::MAX).try_acquire().is_some());
    }

    #[test]
    fn a_share_that_is_reserved_is_left_to_others() {
        let gate = Concurrency::new(10);
        let reserving = || gate.try_acquire_reserving(Ratio::percent(20));
        let mut held: Vec<_> = std::iter::from_fn(reserving).collect();
        assert_eq!(held.len(), 8);
        held.extend(std::iter::from_fn(|| gate.try_acquire()));
        assert_eq!(held.len(), 10);
        drop(held.split_off(8));
        assert!(reserving().is_none(), "two places are free, and reserved");
        drop(held.pop());
        assert!(reserving().is_some());
        assert!(Concurrency::new(1).try_acquire_reserving(Ratio::percent(99)).is_some(), "one place at least");
        assert!(Concurrency::new(0).try_acquire_reserving(Ratio::ZERO).is_none());
    }

    #[test]
    fn a_lower_limit_lets_what_runs_finish() {
        let gate = Concurrency::new(3);
        let held: Vec<_> = (0..3).map(|_| gate.try_acquire().unwrap()).collect();
        gate.set_limit(1);
        assert_eq!((gate.limit(), gate.in_flight()), (1, 3));
        for permit in held {
            assert!(gate.try_acquire().is_none());
            drop(permit);
        }
        assert!(gate.try_acquire().is_some());
    }

    #[test]
    fn a_panic_gives_the_permit_back() {
        let gate = Concurrency::new(1);
        let in_panic = Arc::clone(&gate);
        let outcome = std::panic::catch_unwind(move || {
            let _permit = in_panic.try_acquire();
            panic!("in the middle of a request");
        });
        assert!(outcome.is_err());
        assert_eq!(gate.in_flight(), 0);
    }

    #[test]
    fn threads_never_exceed_the_limit_and_leave_nothing_behind() {
        let gate = Concurrency::new(3);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        if let Some(permit) = gate.try_acquire() {
                            assert!(permit.in_flight() <= 3 && gate.in_flight() <= 3);
                        }
                    }
                });
            }
        });
        assert_eq!(gate.in_flight(), 0);
    }
}
