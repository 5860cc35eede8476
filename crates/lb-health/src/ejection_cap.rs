//! How many endpoints of a cluster may be ejected at once.
//!
//! Ejection judges endpoints one by one. When the fault is elsewhere (a database, a bad deploy, the proxy's own
//! network) all of them look bad, and a rule without a limit empties the cluster. A bare percentage is no limit either:
//! Envoy's ten of a hundred rounds to none in a cluster of nine, so that by default small clusters are never protected.
//! Here:
//!
//! ```text
//! one more may be ejected  iff  ejected + 1 ≤ max(1, ⌊share · members⌋)  and  one eligible endpoint remains
//! ```
//!
//! It knows numbers, not endpoints. One that is ejected *and* fails its checks counts as ejected, though it is not among
//! the usable ones: callers that use several axes count it into `usable` ([`EjectionCap::set_members`]), or an endpoint
//! that should be ejected is not.
//!
//! Two endpoints that fail in the same instant must not each see the other one as the one that remains, so that asking
//! and counting are one step on one word.

use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Whether one more endpoint may be ejected.
///
/// `members` is all of the cluster; `usable` those that would be eligible if nobody were ejected; `ejected` how many of
/// these are. `max_percent` above 100 means all but the last.
#[must_use]
pub const fn may_eject(members: u32, usable: u32, ejected: u32, max_percent: u8) -> bool {
    let share = members as u64 * max_percent as u64 / 100;
    let most = if share == 0 { 1 } else { share };
    let after = ejected as u64 + 1;
    after <= most && after < usable as u64
}

/// Counts a cluster's ejections and refuses those too many. One for each cluster, shared by all threads.
///
/// Whoever was granted an ejection gives it back exactly once, with [`uneject`](Self::uneject): when it ends, or when
/// the ejected endpoint leaves the cluster.
#[derive(Debug)]
pub struct EjectionCap {
    /// `usable << 32 | ejected`: one word, so that both are asked at once.
    word: AtomicU64,
    members: AtomicU32,
    max_percent: AtomicU32,
}

const EJECTED: u64 = u32::MAX as u64;

impl EjectionCap {
    /// A cap for a cluster of no endpoints yet. `max_percent`: how many of a hundred may be ejected at once, but
    /// always at least one; 100 or more leaves it to the rule that one remains.
    #[must_use]
    pub fn new(max_percent: u8) -> Self {
        Self { word: AtomicU64::new(0), members: AtomicU32::new(0), max_percent: AtomicU32::new(max_percent.into()) }
    }

    /// Sets how many endpoints there are, and how many would be eligible if none were ejected; endpoints that are ejected
    /// count into `usable` whatever else is wrong with them. Call it when a membership, an order or a check changes that. Ejections in force stay in force.
    pub fn set_members(&self, members: u32, usable: u32) {
        self.members.store(members, Ordering::Relaxed);
        self.change(|_, ejected| Some((usable, ejected)));
    }

    /// Changes how many of a hundred may be ejected at once. Ejections in force stay in force.
    pub fn set_max_percent(&self, max_percent: u8) {
        self.max_percent.store(max_percent.into(), Ordering::Relaxed);
    }

    /// Ejects one if that is allowed, in one step with the question.
    #[must_use = "an ejection that was granted must be given back"]
    pub fn try_eject(&self) -> bool {
        let members = self.members.load(Ordering::Relaxed);
        let max_percent = u8::try_from(self.max_percent.load(Ordering::Relaxed)).unwrap_or(100);
        self.change(|usable, ejected| may_eject(members, usable, ejected, max_percent).then_some((usable, ejected + 1)))
    }

    /// Gives one ejection back.
    pub fn uneject(&self) {
        let given_back = self.change(|usable, ejected| Some((usable, ejected.checked_sub(1)?)));
        debug_assert!(given_back, "gave back an ejection that was not granted");
    }

    /// How many are ejected.
    #[must_use]
    pub fn ejected(&self) -> u32 {
        (self.word.load(Ordering::Relaxed) & EJECTED) as u32
    }

    fn change(&self, change: impl Fn(u32, u32) -> Option<(u32, u32)>) -> bool {
        let mut old = self.word.load(Ordering::Relaxed);
        while let Some((usable, ejected)) = change((old >> 32) as u32, (old & EJECTED) as u32) {
            let new = u64::from(usable) << 32 | u64::from(ejected);
            match self.word.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(current) => old = current,
            }
        }
        false
    }
}

impl Default for EjectionCap {
    /// All but the last one.
    fn default() -> Self {
        Self::new(100)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn the_last_eligible_endpoint_is_never_ejected() {
        assert!(!may_eject(0, 0, 0, 100));
        assert!(!may_eject(1, 1, 0, 100));
        assert!(may_eject(2, 2, 0, 100));
        assert!(!may_eject(2, 2, 1, 100));
        assert!(!may_eject(5, 1, 0, 100), "four are down by their checks");
        assert!(may_eject(5, 2, 0, 100) && !may_eject(5, 2, 1, 100));
    }

    #[test]
    fn a_small_cluster_may_eject_one_whatever_the_share() {
        for members in 2..10 {
            assert!(may_eject(members, members, 0, 10), "{members}");
            assert!(!may_eject(members, members, 1, 10), "{members}");
        }
        assert!(may_eject(20, 20, 1, 10) && !may_eject(20, 20, 2, 10));
        assert!(may_eject(3, 3, 0, 0), "no share is still one");
        assert!(may_eject(3, 3, 1, 255) && !may_eject(3, 3, 2, 255));
        assert!(!may_eject(u32::MAX, u32::MAX, u32::MAX, 100));
    }

    #[test]
    fn what_was_granted_is_counted_until_it_is_given_back() {
        let cap = EjectionCap::new(100);
        assert!(!cap.try_eject(), "a cluster of none");
        cap.set_members(3, 3);
        assert!(cap.try_eject() && cap.try_eject() && !cap.try_eject());
        assert_eq!(cap.ejected(), 2);
        cap.uneject();
        assert!(cap.try_eject());
        cap.set_members(3, 2);
        cap.uneject();
        assert!(!cap.try_eject(), "one is down by its check, one is ejected, one remains");
        cap.set_members(4, 3);
        assert!(cap.try_eject());
    }

    #[test]
    fn endpoints_that_fail_at_once_leave_one() {
        let cap = EjectionCap::new(100);
        cap.set_members(4, 4);
        let granted = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(|| cap.try_eject())).collect();
            workers.into_iter().filter(|_| true).map(|worker| worker.join().unwrap()).filter(|granted| *granted).count()
        });
        assert_eq!(granted, 3);
    }
}
