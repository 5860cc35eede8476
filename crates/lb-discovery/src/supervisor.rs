//! One source under supervision: its last good list, how old that is, and when to start it again.
//!
//! Pure: every event takes the time, so that a test or a simulator drives the same code as a proxy.
//!
//! ```text
//!            on_list                    on_failure                  on_list
//! silent ───────────────▶ good list ◀─────────────▶ good list, but failing
//!    │  on_failure                                          ▲
//!    └────────────────────▶ failing, no list ───────────────┘ on_list, then on_failure
//! ```

use std::time::Duration;

use lb_core::Mono;

use crate::backoff::{Backoff, jittered};
use crate::failure::Failure;
use crate::found::Found;

/// Between a source's end and its next start.
const RESTART: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(60) };

/// What is known of one source.
#[derive(Clone, Debug, Default)]
pub struct Supervisor {
    found: Vec<Found>,
    confirmed: Option<Mono>,
    failures: u32,
    why: Option<Failure>,
    /// In a row, without a list in between.
    ends: u32,
}

/// What a list changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// It is another list than the last good one.
    pub has_changed: bool,
    /// The source had failed before it.
    pub has_recovered: bool,
}

impl Supervisor {
    /// The source reported its whole list. Order means nothing; of two with one name and address the first counts.
    pub fn on_list(&mut self, mut all: Vec<Found>, now: Mono) -> Heard {
        all.sort_by(|a, b| (&a.name, &a.address).cmp(&(&b.name, &b.address)));
        all.dedup_by(|later, first| (&later.name, &later.address) == (&first.name, &first.address));
        let has_changed = self.found != all;
        let has_recovered = self.failures > 0;
        *self = Self { found: all, confirmed: Some(now), ..Self::default() };
        Heard { has_changed, has_recovered }
    }

    /// The source has no list: the last good one stays. Returns whether this is the first failure in a row.
    pub fn on_failure(&mut self, why: Failure) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.why = Some(why);
        self.failures == 1
    }

    /// The source's future ended or panicked. Returns how long to wait before it is started again, jittered by `entropy`,
    /// which is uniform over all values.
    pub fn on_end(&mut self, entropy: u64) -> Duration {
        self.ends = self.ends.saturating_add(1);
        jittered(RESTART.after(self.ends), entropy)
    }

    /// The last good list, sorted by name and address; empty if there has been none.
    #[must_use]
    pub fn found(&self) -> &[Found] {
        &self.found
    }

    /// Whether it has reported anything yet, a list or a failure.
    #[must_use]
    pub fn has_reported(&self) -> bool {
        self.confirmed.is_some() || self.failures > 0
    }

    /// How long ago the source last confirmed its list; `None` if it never had one.
    #[must_use]
    pub fn age(&self, now: Mono) -> Option<Duration> {
        Some(now.saturating_since(self.confirmed?))
    }

    /// Failures since the last good list.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Why the last of them happened; `None` if the source is well.
    #[must_use]
    pub fn why(&self) -> Option<&Failure> {
        self.why.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use lb_core::Weight;

    use super::*;

    fn found(names: &[&str]) -> Vec<Found> {
        names.iter().map(|name| Found::new(*name, "10.0.0.1:80".parse::<std::net::SocketAddr>().unwrap())).collect()
    }

    fn at(seconds: u64) -> Mono {
        Mono::from_millis(seconds * 1_000)
    }

    fn failure(why: &str) -> Failure {
        Failure::Unanswered(why.to_owned())
    }

    #[test]
    fn the_same_list_in_another_order_or_twice_is_no_change() {
        let mut source = Supervisor::default();
        assert!(source.on_list(found(&["a", "b"]), at(0)).has_changed);
        assert!(!source.on_list(found(&["b", "a", "b"]), at(1)).has_changed);
        let mut heavier = found(&["a", "b"]);
        heavier[0].weight = Weight::new(2);
        assert!(source.on_list(heavier, at(2)).has_changed);
    }

    #[test]
    fn the_last_good_list_outlives_failures_and_ages() {
        let mut source = Supervisor::default();
        assert!(!source.has_reported());
        assert!(source.on_failure(failure("x")) && source.has_reported());
        assert_eq!((source.found(), source.age(at(1))), (&[][..], None));
        assert_eq!(source.on_list(found(&["a"]), at(2)), Heard { has_changed: true, has_recovered: true });
        assert_eq!(source.age(at(5)), Some(Duration::from_secs(3)));
        assert!(source.on_failure(failure("x")));
        assert!(!source.on_failure(failure("y")), "only the first in a row is news");
        assert_eq!((source.failures(), source.why(), source.found().len()), (2, Some(&failure("y")), 1));
        assert_eq!(source.on_list(found(&["a"]), at(9)), Heard { has_changed: false, has_recovered: true });
        assert_eq!((source.failures(), source.why(), source.age(at(9))), (0, None, Some(Duration::ZERO)));
    }

    #[test]
    fn an_empty_list_is_a_list() {
        let mut source = Supervisor::default();
        source.on_list(found(&["a"]), at(0));
        assert!(source.on_list(Vec::new(), at(1)).has_changed);
        assert!(source.found().is_empty() && source.has_reported());
    }

    #[test]
    fn a_source_that_keeps_ending_is_started_less_and_less_often() {
        let mut source = Supervisor::default();
        let mut waits: Vec<_> = (0..8).map(|_| source.on_end(0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        source.on_list(Vec::new(), at(0));
        waits = (0..2).map(|_| source.on_end(0).as_secs()).collect();
        assert_eq!(waits, [1, 2], "a list ends the row");
    }
}
