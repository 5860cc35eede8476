//! One line a second for what may happen a thousand times in it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use lb_core::Mono;

/// Lets one line a second through, and counts what it stands for.
#[derive(Debug, Default)]
pub(crate) struct OnceASecond {
    /// The second of the last line, plus one; zero is never.
    second: AtomicU64,
    unsaid: AtomicU64,
}

/// How often a line was left out since the one before; written after the line that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsaid(u64);

impl OnceASecond {
    /// Whether a line is due, and how often there was none since the one before.
    pub(crate) fn due(&self, now: Mono) -> Option<Unsaid> {
        let second = now.as_millis() / 1000 + 1;
        if self.second.fetch_max(second, Ordering::Relaxed) >= second {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(Unsaid(self.unsaid.swap(0, Ordering::Relaxed)))
    }
}

impl fmt::Display for Unsaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " (and {count} more since the last such line)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_and_the_next_says_what_there_was_beside_it() {
        let log = OnceASecond::default();
        assert_eq!(log.due(Mono::from_millis(0)), Some(Unsaid(0)), "the first at once");
        assert_eq!((log.due(Mono::from_millis(1)), log.due(Mono::from_millis(999))), (None, None));
        assert_eq!(log.due(Mono::from_millis(1_000)), Some(Unsaid(2)));
        assert_eq!(Unsaid(2).to_string(), " (and 2 more since the last such line)");
        assert_eq!(log.due(Mono::from_millis(999)), None, "time going back");
        assert_eq!(log.due(Mono::from_millis(7_000)), Some(Unsaid(1)));
    }
}
