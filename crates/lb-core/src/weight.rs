//! An endpoint's configured share of traffic.

/// Share of traffic relative to the other endpoints of the cluster: 0 to 65 535, default 1.
///
/// Zero means "no new requests": the endpoint stays a member, finishes what runs and keeps what it has learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u16);

impl Weight {
    /// No new requests.
    pub const ZERO: Self = Self(0);
    /// The default.
    pub const ONE: Self = Self(1);

    /// This share.
    #[must_use]
    pub const fn new(share: u16) -> Self {
        Self(share)
    }

    /// The share as a number.
    #[must_use]
    pub const fn value(self) -> u16 {
        self.0
    }

    /// Whether it takes no new requests.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self::ONE
    }
}

impl From<u16> for Weight {
    fn from(share: u16) -> Self {
        Self(share)
    }
}
