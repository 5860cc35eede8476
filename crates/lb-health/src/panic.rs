//! Panic mode: when so few endpoints are healthy that health itself is in doubt.
//!
//! If half of a cluster is out, sending everything to the other half may well take that out, too; and often it is the
//! checks that are wrong. Below a threshold it is better to ignore health and use all of them, which sheds no load on
//! those that still stand. Being wrong is visible (some requests fail), so that it must be loud: a log line and a
//! metric at each change are the caller's.

/// Whether health should be ignored: strictly fewer than `threshold_percent` of the members are eligible.
///
/// `members` are those that may be used at all (not drained, not in maintenance); `eligible` those of them that pass their
/// checks. Leave out what real traffic has shown: an ejection that brought panic about would be undone by it. A threshold of zero never panics, and neither does a cluster of none.
///
/// ```
/// assert!(!lb_health::is_panic(2, 1, 50), "half is not below half");
/// assert!(lb_health::is_panic(3, 1, 50));
/// assert!(lb_health::is_panic(1, 0, 50));
/// ```
#[must_use]
pub const fn is_panic(members: u32, eligible: u32, threshold_percent: u8) -> bool {
    (eligible as u64) * 100 < members as u64 * threshold_percent as u64
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::is_panic;

    #[test]
    fn the_threshold_itself_is_no_panic() {
        assert!(!is_panic(4, 2, 50) && is_panic(4, 1, 50));
        assert!(!is_panic(100, 50, 50) && is_panic(100, 49, 50));
        assert!(!is_panic(3, 1, 33) && is_panic(3, 0, 33));
    }

    #[test]
    fn nothing_to_choose_from_is_no_panic_and_zero_turns_it_off() {
        assert!(!is_panic(0, 0, 50) && !is_panic(0, 0, 100));
        assert!(!is_panic(9, 0, 0));
    }

    #[test]
    fn large_numbers_do_not_overflow() {
        assert!(is_panic(u32::MAX, u32::MAX / 2, 50) && !is_panic(u32::MAX, u32::MAX, 100));
    }
}
