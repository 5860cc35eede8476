//! HAProxy's `observe`: real traffic feeds the active check (`__health_adjust` in `server.c`).
//!
//! After `error_limit` errors in a row (10 by default) something happens to the check's rise and fall, and the next check
//! comes at the fast interval. A success breaks the row. `observe layer4` looks at connections only, `observe layer7` at
//! statuses too; which outcomes are errors, the caller decides.
//!
//! Its oddity: it counts rows. An endpoint that fails every other request is never noticed.

use std::num::NonZeroU32;

use crate::check::{RiseFall, Transition};

/// What errors do (`on-error`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// Only the next check comes sooner.
    FastInter,
    /// As a failed check; the default.
    #[default]
    FailCheck,
    /// As all but the last of the failed checks that are needed.
    SuddenDeath,
    /// Down at once.
    MarkDown,
}

/// Errors of one endpoint's traffic in a row. Pure; 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observe {
    error_limit: NonZeroU32,
    on_error: OnError,
    in_row: u32,
}

impl Observe {
    /// HAProxy's default limit is 10.
    #[must_use]
    pub fn new(error_limit: NonZeroU32, on_error: OnError) -> Self {
        Self { error_limit, on_error, in_row: 0 }
    }

    /// Takes an outcome of real traffic. `Some` once the limit is reached: the check is to be suspected
    /// ([`Schedule::suspect`](crate::Schedule::suspect)), and `check` has changed as the inner value says.
    pub fn on_outcome(&mut self, failed: bool, check: &mut RiseFall) -> Option<Option<Transition>> {
        self.in_row = if failed { self.in_row.saturating_add(1) } else { 0 };
        if self.in_row < self.error_limit.get() {
            return None;
        }
        self.in_row = 0;
        Some(match self.on_error {
            OnError::FastInter => None,
            OnError::FailCheck => check.on_result(false),
            OnError::SuddenDeath => check.on_failures_but_one(),
            OnError::MarkDown => check.mark_down(),
        })
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::check::{Initial, Thresholds};

    fn run(on_error: OnError, outcomes: &str) -> (Vec<Option<Transition>>, RiseFall) {
        let mut check = RiseFall::new(Thresholds::default(), Initial::FullyUp);
        let mut observe = Observe::new(NonZeroU32::new(3).unwrap(), on_error);
        let changes = outcomes.chars().filter_map(|outcome| observe.on_outcome(outcome == '-', &mut check)).collect();
        (changes, check)
    }

    #[test]
    fn a_row_of_errors_is_a_failed_check_by_default() {
        let (changes, check) = run(OnError::default(), "--+--+---------");
        assert_eq!(changes, [None, None, Some(Transition::Down)], "fall is three");
        assert!(!check.is_up());
    }

    #[test]
    fn every_other_request_that_fails_is_not_noticed() {
        assert_eq!(run(OnError::MarkDown, "-+-+-+-+-+-+").0, []);
    }

    #[test]
    fn the_other_actions() {
        assert_eq!(run(OnError::MarkDown, "---").0, [Some(Transition::Down)]);
        let (changes, mut check) = run(OnError::SuddenDeath, "---");
        assert_eq!((changes, check.is_up()), (vec![None], true));
        assert_eq!(check.on_result(false), Some(Transition::Down), "the next one is fatal");
        let (changes, check) = run(OnError::FastInter, "---");
        assert!(changes == [None] && check.is_settled());
    }
}
