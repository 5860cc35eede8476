//! Which outcomes count against an endpoint.

use std::ops::RangeInclusive;

use lb_core::Class;

/// A set of outcomes that count as failures. A cancelled attempt never does: it says nothing about the endpoint; nor does
/// back-pressure ([`Class::Busy`]), which [`CoolDown`](crate::CoolDown) is for.
///
/// 136 bytes, built when a configuration is read; [`contains`](Self::contains) is one lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureSet {
    connect_error: bool,
    reset: bool,
    timeout: bool,
    invalid_response: bool,
    /// One bit a status, 0 to 1023.
    statuses: [u64; 16],
}

impl FailureSet {
    /// Nothing counts.
    pub const EMPTY: Self =
        Self { connect_error: false, reset: false, timeout: false, invalid_response: false, statuses: [0; 16] };

    /// This set and connections that were not made.
    #[must_use]
    pub const fn with_connect_error(self) -> Self {
        Self { connect_error: true, ..self }
    }

    /// This set and connections that broke before the response head.
    #[must_use]
    pub const fn with_reset(self) -> Self {
        Self { reset: true, ..self }
    }

    /// This set and response heads that came too late.
    #[must_use]
    pub const fn with_timeout(self) -> Self {
        Self { timeout: true, ..self }
    }

    /// This set and answers that were no response of the protocol.
    #[must_use]
    pub const fn with_invalid_response(self) -> Self {
        Self { invalid_response: true, ..self }
    }

    /// This set and one status; above 1023 there is none.
    #[must_use]
    pub const fn with_status(mut self, status: u16) -> Self {
        if (status as usize) < 1024 {
            self.statuses[status as usize / 64] |= 1 << (status % 64);
        }
        self
    }

    /// This set and a range of statuses, both ends included; an empty range adds nothing.
    #[must_use]
    pub const fn with_statuses(mut self, range: RangeInclusive<u16>) -> Self {
        let mut status = *range.start();
        while status <= *range.end() && status < 1024 {
            self = self.with_status(status);
            status += 1;
        }
        self
    }

    /// Whether this outcome counts as a failure.
    #[inline]
    #[must_use]
    pub const fn contains(&self, class: Class) -> bool {
        match class {
            Class::Status(status) => {
                (status as usize) < 1024 && self.statuses[status as usize / 64] & (1 << (status % 64)) != 0
            }
            Class::ConnectError => self.connect_error,
            Class::Reset => self.reset,
            Class::Timeout => self.timeout,
            Class::InvalidResponse => self.invalid_response,
            Class::Cancelled | Class::Busy(_) => false,
        }
    }
}

impl Default for FailureSet {
    /// Connect errors, resets, timeouts and every 5xx.
    fn default() -> Self {
        Self::EMPTY.with_connect_error().with_reset().with_timeout().with_statuses(500..=599)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn by_default_no_connection_no_answer_and_5xx_count() {
        let set = FailureSet::default();
        for class in [Class::ConnectError, Class::Reset, Class::Timeout, Class::Status(500), Class::Status(599)] {
            assert!(set.contains(class), "{class:?}");
        }
        for class in [
            Class::InvalidResponse,
            Class::Cancelled,
            Class::Busy(503),
            Class::Status(200),
            Class::Status(499),
            Class::Status(600),
        ] {
            assert!(!set.contains(class), "{class:?}");
        }
    }

    #[test]
    fn each_outcome_can_be_chosen_by_itself() {
        let set = FailureSet::EMPTY.with_invalid_response().with_status(429).with_statuses(502..=504);
        assert!(set.contains(Class::InvalidResponse) && set.contains(Class::Status(429)));
        let counted: Vec<u16> = (0..=u16::MAX).filter(|status| set.contains(Class::Status(*status))).collect();
        assert_eq!(counted, [429, 502, 503, 504]);
        assert!(!set.contains(Class::ConnectError) && !set.contains(Class::Reset) && !set.contains(Class::Timeout));
    }

    #[test]
    fn odd_statuses_and_ranges_are_harmless() {
        let set = FailureSet::EMPTY.with_status(u16::MAX).with_statuses(1_000..=u16::MAX);
        assert!(set.contains(Class::Status(1_023)) && !set.contains(Class::Status(1_024)));
        assert!(!set.contains(Class::Status(u16::MAX)));
        #[expect(clippy::reversed_empty_ranges, reason = "what a configuration may say")]
        let none = FailureSet::EMPTY.with_statuses(599..=500);
        assert_eq!(none, FailureSet::EMPTY);
    }
}
