//! Monotonic time as a plain number.
//!
//! `std::time::Instant` cannot be constructed from a number, stored in eight bytes or sent through a simulator. [`Mono`] can: it counts
//! nanoseconds since an origin that its [`Clock`] chose. All arithmetic saturates, because time that stops or
//! goes backwards is a valid input here, not an error.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Nanoseconds since the origin of the clock it was read from; never negative, good for 584 years.
///
/// Values of different clocks must not be mixed; nothing checks it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(u64);

impl Mono {
    /// The origin.
    pub const ZERO: Self = Self(0);
    /// The last instant there is; works as "never".
    pub const MAX: Self = Self(u64::MAX);

    /// The instant this many nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The instant this many milliseconds after the origin, saturating.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the origin.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Time passed since `earlier`; zero if that is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This instant and `span` later, at most [`Mono::MAX`].
    #[must_use]
    pub const fn saturating_add(self, span: Duration) -> Self {
        let nanos = span.as_nanos();
        if nanos > u64::MAX as u128 { Self::MAX } else { Self(self.0.saturating_add(nanos as u64)) }
    }

    /// This instant less `span`, at least [`Mono::ZERO`].
    #[must_use]
    pub const fn saturating_sub(self, span: Duration) -> Self {
        let nanos = span.as_nanos();
        if nanos > u64::MAX as u128 { Self::ZERO } else { Self(self.0.saturating_sub(nanos as u64)) }
    }
}

/// A source of time. Read it once per event: a reading costs more than most picks (about 20 ns).
pub trait Clock: Send + Sync + 'static {
    /// The time now. May repeat itself; users of it survive its going backwards.
    fn now(&self) -> Mono;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Mono {
        (**self).now()
    }
}

/// The operating system's monotonic clock. Its origin is the moment it was made; copies share it.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose origin is now.
    #[must_use]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }

    /// The same instant as a reading of this clock.
    #[must_use]
    pub fn at(&self, instant: Instant) -> Mono {
        Mono::ZERO.saturating_add(instant.saturating_duration_since(self.origin))
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Mono {
        self.at(Instant::now())
    }
}

/// A clock that advances only when set; for tests and simulations. Clones share the time.
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    nanos: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock at the origin.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the time, backwards too.
    pub fn set(&self, now: Mono) {
        self.nanos.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// Advances the time and returns it.
    pub fn advance(&self, span: Duration) -> Mono {
        let now = self.now().saturating_add(span);
        self.set(now);
        now
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Mono {
        Mono::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let a = Mono::from_millis(5);
        assert_eq!(a.saturating_since(Mono::from_millis(2)), Duration::from_millis(3));
        assert_eq!(a.saturating_since(Mono::from_millis(9)), Duration::ZERO);
        assert_eq!(a.saturating_sub(Duration::from_secs(1)), Mono::ZERO);
        assert_eq!(Mono::MAX.saturating_add(Duration::from_nanos(1)), Mono::MAX);
        assert_eq!(a.saturating_add(Duration::MAX), Mono::MAX);
        assert_eq!(Mono::from_millis(u64::MAX), Mono::MAX);
    }

    #[test]
    fn clones_of_a_manual_clock_share_the_time() {
        let clock = ManualClock::new();
        let other = clock.clone();
        assert_eq!(clock.advance(Duration::from_secs(2)), Mono::from_millis(2_000));
        assert_eq!(other.now(), Mono::from_millis(2_000));
        other.set(Mono::ZERO);
        assert_eq!(clock.now(), Mono::ZERO);
    }

    #[test]
    fn the_system_clock_does_not_go_back() {
        let clock = SystemClock::new();
        let first = clock.now();
        assert!(clock.now() >= first);
    }
}
