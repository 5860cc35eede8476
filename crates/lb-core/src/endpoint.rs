//! The hot state of one endpoint: one cache line, one eligibility word.
//!
//! What people order (drain, maintenance) and observed state (checks, ejections, the breaker) are separate bits of
//! one word, next to the in-flight count: a passing check can clear only its own bit and never undoes an operator's
//! drain, and one `fetch_add` both takes a slot and reads whether the endpoint is eligible and how many requests it has.
//!
//! ```text
//!  63 ... 45    44     43 ................. 32 31 ........................ 0
//! | unused  | mirror  |  one bit an Axis      |  requests in flight         |
//! ```
//!
//! A copy of the count elsewhere is kept by setting the mirror bit ([`EndpointState::mirror`]). It is in the same word, so every step
//! of the count is either before it, and part of the initial copy, or after it, and reported by a callback.
//!
//! | bits set                | new requests | sticky requests | status      |
//! |-------------------------|--------------|-----------------|-------------|
//! | none                    | yes          | yes             | up          |
//! | only drain, drain ordered, weight zero | no | yes         | drain       |
//! | only cooling down       | where no other can | yes      | cooling     |
//! | any other               | no           | no              | down        |

use std::sync::atomic::{AtomicU64, Ordering};

// The word and its limit are model-checked: `RUSTFLAGS="--cfg loom" cargo test -p lb-core --lib loom`.
#[cfg(loom)]
use loom::sync::atomic::AtomicU64 as Word;
#[cfg(not(loom))]
use std::sync::atomic::AtomicU64 as Word;

/// A reason not to send requests to an endpoint. Each is set and cleared by its own owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Axis {
    /// Configured, or reported by discovery: finish old work, take no new; sticky requests still go there.
    Drain = 32,
    /// Configured: weight zero; sticky requests still go there.
    WeightZero = 33,
    /// Ordered: take nothing at all.
    Maintenance = 34,
    /// Observed: its name does not resolve.
    Unresolved = 35,
    /// Observed: active checks fail.
    Check = 36,
    /// Observed: outlier detection has ejected it.
    Ejected = 37,
    /// Observed: its breaker is open.
    Breaker = 38,
    /// It is no longer a member of its cluster.
    Removed = 39,
    /// Reserved for a caller's own use.
    Other = 40,
    /// Ordered by an operator, whatever is configured: as `Drain`.
    DrainOrdered = 41,
    /// Observed by what found the endpoint: it cannot serve yet, or any more.
    NotReady = 42,
    /// Observed: it asks for less (429, `Retry-After`). It is well: requests go there where no other endpoint can take them.
    CoolDown = 43,
}

impl Axis {
    /// Every axis, the ordered ones first.
    pub const ALL: [Self; 12] = [
        Self::Drain,
        Self::DrainOrdered,
        Self::WeightZero,
        Self::Maintenance,
        Self::Unresolved,
        Self::NotReady,
        Self::Check,
        Self::Ejected,
        Self::Breaker,
        Self::CoolDown,
        Self::Removed,
        Self::Other,
    ];

    /// Its name in logs and on the status page.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::DrainOrdered => "drain_ordered",
            Self::WeightZero => "weight_zero",
            Self::Maintenance => "maintenance",
            Self::Unresolved => "unresolved",
            Self::NotReady => "not_ready",
            Self::CoolDown => "cool_down",
            Self::Check => "check",
            Self::Ejected => "ejected",
            Self::Breaker => "breaker",
            Self::Removed => "removed",
            Self::Other => "other",
        }
    }

    const fn bit(self) -> u64 {
        1 << self as u8
    }
}

const COUNT: u64 = 0xffff_ffff;
const FLAGS: u64 = 0xfff << 32;
const MIRRORED: u64 = 1 << 44;
const STICKY_OK: u64 = Axis::Drain.bit() | Axis::DrainOrdered.bit() | Axis::WeightZero.bit() | Axis::CoolDown.bit();

/// What of an endpoint's health a pick ignores: nothing, or some kinds of observation, or all of them. Orders, a weight of
/// zero and an address that does not exist are never ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored(u64);

impl Ignored {
    /// What a request does not mind that sticks to its endpoint: drains, a weight of zero and back-pressure.
    pub const FOR_STICKY: Self = Self(STICKY_OK);
    /// Health counts.
    pub const NOTHING: Self = Self(0);
    /// Active checks that fail.
    pub const CHECKS: Self = Self(Axis::Check.bit());
    /// What real traffic has shown: ejections and open breakers.
    pub const TRAFFIC: Self = Self(Axis::Ejected.bit() | Axis::Breaker.bit());
    /// Both.
    pub const HEALTH: Self = Self(Self::CHECKS.0 | Self::TRAFFIC.0);
    /// Back-pressure. That is no matter of health: the endpoint is well.
    pub const COOL_DOWNS: Self = Self(Axis::CoolDown.bit());

    /// This and something else.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether health is ignored, in part or whole.
    #[must_use]
    pub const fn ignores_health(self) -> bool {
        self.0 & Self::HEALTH.0 != 0
    }

    /// As a number, to be kept in an atomic.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// From [`bits`](Self::bits); bits that cannot be ignored are dropped.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & (Self::HEALTH.0 | Self::COOL_DOWNS.0))
    }
}

/// Limit of requests in flight at once: 1 to 4 294 967 295; the default is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlightLimit(u32);

impl InFlightLimit {
    /// No limit.
    pub const NONE: Self = Self(u32::MAX);

    /// At most this many; zero is taken as one, since an endpoint that takes no requests has weight zero.
    #[must_use]
    pub const fn new(max: u32) -> Self {
        if max == 0 { Self(1) } else { Self(max) }
    }

    /// The limit as a number, `u32::MAX` for none.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.0
    }
}

const fn limits(configured: u32, in_force: u32) -> u64 {
    (configured as u64) << 32 | in_force as u64
}

/// The answer to [`EndpointState::acquire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquire {
    /// A slot is taken; the number in flight now includes it. Give it back with [`EndpointState::release`].
    Taken {
        /// Requests in flight, this one included.
        in_flight: u32,
    },
    /// It is eligible but has its `max_in_flight` already; nothing was taken.
    Full,
    /// It is not eligible; nothing was taken.
    Ineligible,
}

/// The hot state of one endpoint: 64 bytes, aligned to a cache line, shared by every table that lists it.
///
/// It belongs to the endpoint's identity and outlives every rebuild and reload.
#[derive(Debug)]
#[repr(align(64))]
pub struct EndpointState {
    word: Word,
    /// For latency-aware policies: what it holds is theirs to define; zero is "nothing learned".
    latency: AtomicU64,
    /// For policies that want a plain average beside it, with the same meaning of zero.
    average: AtomicU64,
    /// For policies that use reported load, with the same meaning of zero.
    report: AtomicU64,
    requests: AtomicU64,
    failures: AtomicU64,
    /// When slow start began, nanoseconds of the caller's clock; zero is "not warming".
    warming_since: AtomicU64,
    /// `configured << 32 | in force`: the same, or one in force while it is throttled.
    limits: Word,
}

impl EndpointState {
    /// An eligible endpoint with nothing in flight and nothing learned.
    #[must_use]
    pub fn new(limit: InFlightLimit) -> Self {
        Self {
            word: Word::new(0),
            latency: AtomicU64::new(0),
            average: AtomicU64::new(0),
            report: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            warming_since: AtomicU64::new(0),
            limits: Word::new(limits(limit.0, limit.0)),
        }
    }

    /// Sets or clears one reason; `true` if that changed anything.
    pub fn set(&self, axis: Axis, on: bool) -> bool {
        let old = if on {
            self.word.fetch_or(axis.bit(), Ordering::AcqRel)
        } else {
            self.word.fetch_and(!axis.bit(), Ordering::AcqRel)
        };
        (old & axis.bit() != 0) != on
    }

    /// Whether this reason is set.
    #[must_use]
    pub fn is_set(&self, axis: Axis) -> bool {
        self.word.load(Ordering::Relaxed) & axis.bit() != 0
    }

    /// The reasons set, in the order of [`Axis::ALL`].
    pub fn reasons(&self) -> impl Iterator<Item = Axis> {
        let word = self.word.load(Ordering::Relaxed);
        Axis::ALL.into_iter().filter(move |axis| word & axis.bit() != 0)
    }

    /// Whether new requests may go there, regardless of `max_in_flight`.
    #[must_use]
    pub fn is_eligible(&self) -> bool {
        self.word.load(Ordering::Relaxed) & FLAGS == 0
    }

    /// Whether new requests may go there while this much of its health is ignored, regardless of `max_in_flight`.
    #[must_use]
    pub fn is_eligible_ignoring(&self, ignored: Ignored) -> bool {
        self.word.load(Ordering::Relaxed) & FLAGS & !ignored.0 == 0
    }

    /// Whether requests that stick to it may go there.
    #[must_use]
    pub fn is_eligible_for_sticky(&self) -> bool {
        self.word.load(Ordering::Relaxed) & FLAGS & !STICKY_OK == 0
    }

    /// Whether a new request would be let in now: eligible but for what is ignored, and not full, in one load.
    ///
    /// A hint, since another request may take the last slot; [`acquire`](Self::acquire) decides.
    #[must_use]
    pub fn has_room(&self, ignored: Ignored) -> bool {
        self.load_with_room(ignored).is_some()
    }

    /// The requests in flight, if a new one [would be let in](Self::has_room); both from the same load.
    #[inline]
    #[must_use]
    pub fn load_with_room(&self, ignored: Ignored) -> Option<u32> {
        let word = self.word.load(Ordering::Relaxed);
        let in_flight = (word & COUNT) as u32;
        (word & FLAGS & !ignored.0 == 0 && in_flight < self.limit_in_force()).then_some(in_flight)
    }

    /// The same as if it were not [throttled](Self::throttle).
    #[must_use]
    pub fn load_with_room_unthrottled(&self, ignored: Ignored) -> Option<u32> {
        let word = self.word.load(Ordering::Relaxed);
        let in_flight = (word & COUNT) as u32;
        (word & FLAGS & !ignored.0 == 0 && in_flight < self.max_in_flight().0).then_some(in_flight)
    }

    /// Takes a slot if the endpoint is eligible and not full. One `fetch_add`; an overshoot is undone.
    #[must_use = "a taken slot must be released"]
    pub fn acquire(&self) -> Acquire {
        self.acquire_masked(FLAGS)
    }

    /// As [`acquire`](Self::acquire), for a request that sticks to this endpoint.
    #[must_use = "a taken slot must be released"]
    pub fn acquire_sticky(&self) -> Acquire {
        self.acquire_masked(FLAGS & !STICKY_OK)
    }

    /// As [`acquire`](Self::acquire), while this much of its health is ignored.
    #[must_use = "a taken slot must be released"]
    pub fn acquire_ignoring(&self, ignored: Ignored) -> Acquire {
        self.acquire_masked(FLAGS & !ignored.0)
    }

    /// As [`acquire_sticky`](Self::acquire_sticky), while this much of its health is ignored.
    #[must_use = "a taken slot must be released"]
    pub fn acquire_sticky_ignoring(&self, ignored: Ignored) -> Acquire {
        self.acquire_masked(FLAGS & !STICKY_OK & !ignored.0)
    }

    /// As [`acquire`](Self::acquire) and its variants, for a state that may be [mirrored](Self::mirror): `on_step(n)` is called for
    /// every step of the count between n and n + 1 after the mirror bit was set, including an overshoot that is undone.
    #[inline]
    #[must_use = "a taken slot must be released"]
    pub fn acquire_notify(&self, sticky: bool, ignored: Ignored, on_step: impl Fn(u32)) -> Acquire {
        let refusing = FLAGS & !(if sticky { STICKY_OK } else { 0 }) & !ignored.0;
        self.acquire_notify_masked(refusing, on_step)
    }

    fn acquire_masked(&self, refusing: u64) -> Acquire {
        self.acquire_notify_masked(refusing, |_| debug_assert!(false, "a mirrored count changed without a callback"))
    }

    #[inline]
    fn acquire_notify_masked(&self, refusing: u64, on_step: impl Fn(u32)) -> Acquire {
        let old = self.word.fetch_add(1, Ordering::AcqRel);
        let in_flight = (old & COUNT) as u32;
        if old & MIRRORED != 0 {
            on_step(in_flight);
        }
        if old & refusing == 0 && in_flight < self.limit_in_force() {
            return Acquire::Taken { in_flight: in_flight + 1 };
        }
        self.release_notify(on_step);
        if old & refusing == 0 { Acquire::Full } else { Acquire::Ineligible }
    }

    /// Gives a slot back. Call it once for each slot taken.
    pub fn release(&self) {
        self.release_notify(|_| debug_assert!(false, "a mirrored count changed without a callback"));
    }

    /// As [`release`](Self::release), for a state that may be [mirrored](Self::mirror); see [`acquire_notify`](Self::acquire_notify).
    ///
    /// Sequentially consistent, at no cost on x86-64 and AArch64: a thread that releases and then checks for waiters, and one that
    /// registers as a waiter and then checks for room, cannot both miss each other.
    #[inline]
    pub fn release_notify(&self, on_step: impl Fn(u32)) {
        let old = self.word.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(old & COUNT != 0, "released a slot that was not taken");
        if old & MIRRORED != 0 {
            on_step(((old & COUNT) as u32).wrapping_sub(1));
        }
    }

    /// Sets the mirror bit: from now on every step of the count calls `on_step`. It cannot be cleared. Returns the count at that moment.
    ///
    /// Slots must from then on be taken and given back with [`acquire_notify`](Self::acquire_notify) and [`release_notify`](Self::release_notify).
    ///
    /// # Errors
    /// The bit was set already; the count is valid as well.
    pub fn mirror(&self) -> Result<u32, u32> {
        let old = self.word.fetch_or(MIRRORED, Ordering::AcqRel);
        let in_flight = (old & COUNT) as u32;
        if old & MIRRORED == 0 { Ok(in_flight) } else { Err(in_flight) }
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        (self.word.load(Ordering::Relaxed) & COUNT) as u32
    }

    /// The configured limit on requests in flight.
    #[must_use]
    pub fn max_in_flight(&self) -> InFlightLimit {
        InFlightLimit((self.limits.load(Ordering::Relaxed) >> 32) as u32)
    }

    /// Changes the limit; what is in flight beyond it finishes.
    pub fn set_max_in_flight(&self, limit: InFlightLimit) {
        self.change_limits(|_, is_throttled| (limit.0, is_throttled));
    }

    /// Lets it have one request at a time, whatever its limit, or no longer: for an endpoint that is tested, or under
    /// suspicion. It stays eligible, and is full while it is busy; where no other endpoint can take a request, selection
    /// ends the throttle.
    ///
    /// A configured limit of one is the same, and [`is_throttled`](Self::is_throttled) does not see it.
    pub fn throttle(&self, on: bool) {
        self.change_limits(|configured, _| (configured, on));
    }

    /// Whether it has one request at a time though it is allowed more.
    #[inline]
    #[must_use]
    pub fn is_throttled(&self) -> bool {
        let limits = self.limits.load(Ordering::Relaxed);
        limits as u32 == 1 && limits >> 32 != 1
    }

    fn change_limits(&self, change: impl Fn(u32, bool) -> (u32, bool)) {
        // It never refuses.
        let _ = self.limits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
            let configured = (old >> 32) as u32;
            let (configured, throttled) = change(configured, old as u32 == 1 && configured != 1);
            Some(limits(configured, if throttled { 1 } else { configured }))
        });
    }

    #[inline]
    fn limit_in_force(&self) -> u32 {
        self.limits.load(Ordering::Relaxed) as u32
    }

    /// Whether it has as many requests in flight as it may.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.in_flight() >= self.limit_in_force()
    }

    /// The cell in which latency-aware policies keep what they learned.
    #[must_use]
    pub fn latency_cell(&self) -> &AtomicU64 {
        &self.latency
    }

    /// The cell for a second, slower estimate; zero is "nothing learned".
    #[must_use]
    pub fn average_cell(&self) -> &AtomicU64 {
        &self.average
    }

    /// The cell for what the endpoint last reported about itself; zero is "nothing".
    #[must_use]
    pub fn report_cell(&self) -> &AtomicU64 {
        &self.report
    }

    /// The cell with the start of the endpoint's slow start.
    #[must_use]
    pub fn warming_cell(&self) -> &AtomicU64 {
        &self.warming_since
    }

    /// Counts an attempt's outcome.
    pub fn count(&self, failed: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if failed {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Attempts counted so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Attempts that failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use std::sync::Arc;

    use loom::thread;

    use loom::sync::atomic::AtomicU32 as Count;

    use super::*;

    fn hold_and_release(state: &EndpointState, holders: &Count) -> Acquire {
        let answer = state.acquire();
        if let Acquire::Taken { .. } = answer {
            assert_eq!(holders.fetch_add(1, Ordering::Relaxed), 0, "the limit of one is exceeded");
            holders.fetch_sub(1, Ordering::Relaxed);
            state.release();
        }
        answer
    }

    #[test]
    fn loom_a_limit_is_never_exceeded_and_nothing_leaks() {
        loom::model(|| {
            let state = Arc::new(EndpointState::new(InFlightLimit::new(1)));
            let holders = Arc::new(Count::new(0));
            let other = {
                let (state, holders) = (Arc::clone(&state), Arc::clone(&holders));
                thread::spawn(move || hold_and_release(&state, &holders))
            };
            let own = hold_and_release(&state, &holders);
            let other = other.join().unwrap();
            assert!([own, other].iter().any(|answer| matches!(answer, Acquire::Taken { .. })), "both were refused");
            assert_eq!(state.in_flight(), 0);
            assert!(state.is_eligible());
        });
    }

    #[test]
    fn loom_a_drain_refuses_every_later_acquire() {
        loom::model(|| {
            let state = Arc::new(EndpointState::new(InFlightLimit::NONE));
            let worker = {
                let state = Arc::clone(&state);
                thread::spawn(move || {
                    if let Acquire::Taken { .. } = state.acquire() {
                        state.release();
                    }
                })
            };
            assert!(state.set(Axis::Drain, true));
            assert_eq!(state.acquire(), Acquire::Ineligible);
            worker.join().unwrap();
            assert_eq!(state.in_flight(), 0);
            assert_eq!(state.reasons().collect::<Vec<_>>(), [Axis::Drain]);
        });
    }

    #[test]
    fn loom_a_mirror_sees_exactly_the_steps_after_its_count() {
        loom::model(|| {
            let state = Arc::new(EndpointState::new(InFlightLimit::new(1)));
            let mirrored = Arc::new(Count::new(0));
            let worker = {
                let (state, mirrored) = (Arc::clone(&state), Arc::clone(&mirrored));
                thread::spawn(move || {
                    let on_step = |level: u32| {
                        mirrored.fetch_xor(1 << level, Ordering::Relaxed);
                    };
                    if let Acquire::Taken { .. } = state.acquire_notify(false, Ignored::NOTHING, on_step) {
                        state.release_notify(on_step);
                    }
                })
            };
            let on_step = |level: u32| {
                mirrored.fetch_xor(1 << level, Ordering::Relaxed);
            };
            let taken = state.acquire_notify(false, Ignored::NOTHING, on_step);
            for level in 0..state.mirror().unwrap() {
                on_step(level);
            }
            if let Acquire::Taken { .. } = taken {
                state.release_notify(on_step);
            }
            worker.join().unwrap();
            assert_eq!((state.in_flight(), mirrored.load(Ordering::Relaxed)), (0, 0), "every step up was undone");
        });
    }

    #[test]
    fn loom_two_axes_set_at_once_are_both_set() {
        loom::model(|| {
            let state = Arc::new(EndpointState::new(InFlightLimit::NONE));
            let checker = {
                let state = Arc::clone(&state);
                thread::spawn(move || assert!(state.set(Axis::Check, true)))
            };
            assert!(state.set(Axis::Drain, true));
            checker.join().unwrap();
            assert!(state.set(Axis::Check, false));
            assert_eq!(state.reasons().collect::<Vec<_>>(), [Axis::Drain], "a passing check undoes no drain");
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_throttled_endpoint_has_one_request_at_a_time_and_keeps_its_limit() {
        for limit in [InFlightLimit::NONE, InFlightLimit::new(2), InFlightLimit::new(1)] {
            let state = EndpointState::new(limit);
            state.throttle(true);
            assert_eq!((state.max_in_flight(), state.is_throttled()), (limit, limit != InFlightLimit::new(1)));
            assert_eq!(state.acquire(), Acquire::Taken { in_flight: 1 });
            assert_eq!((state.acquire(), state.is_full(), state.is_eligible()), (Acquire::Full, true, true));
            state.throttle(false);
            assert_eq!((state.is_throttled(), state.is_full()), (false, limit == InFlightLimit::new(1)));
        }
        let state = EndpointState::new(InFlightLimit::new(5));
        state.throttle(true);
        state.set_max_in_flight(InFlightLimit::new(7));
        assert!(state.is_throttled(), "a new limit does not end it");
        state.throttle(false);
        assert_eq!(state.max_in_flight(), InFlightLimit::new(7));
    }

    #[test]
    fn it_fills_one_cache_line_and_no_more() {
        assert_eq!(std::mem::size_of::<EndpointState>(), 64);
        assert_eq!(std::mem::align_of::<EndpointState>(), 64);
    }

    #[test]
    fn a_passing_check_does_not_undo_a_drain() {
        let state = EndpointState::new(InFlightLimit::NONE);
        assert!(state.set(Axis::Drain, true));
        assert!(state.set(Axis::Check, true));
        assert!(!state.set(Axis::Check, true), "no change, no transition");
        assert!(state.set(Axis::Check, false));
        assert!(!state.is_eligible());
        assert!(state.is_eligible_for_sticky());
        assert_eq!(state.reasons().collect::<Vec<_>>(), [Axis::Drain]);
        assert_eq!(state.acquire(), Acquire::Ineligible);
        assert_eq!(state.acquire_sticky(), Acquire::Taken { in_flight: 1 });
    }

    #[test]
    fn what_is_ignored_is_an_observation_and_never_an_order() {
        for axis in Axis::ALL {
            let state = EndpointState::new(InFlightLimit::NONE);
            state.set(axis, true);
            let (check, traffic) = (axis == Axis::Check, matches!(axis, Axis::Ejected | Axis::Breaker));
            assert!(!state.is_eligible() && !state.is_eligible_ignoring(Ignored::NOTHING));
            assert_eq!(state.is_eligible_ignoring(Ignored::CHECKS), check, "{}", axis.name());
            assert_eq!(state.is_eligible_ignoring(Ignored::TRAFFIC), traffic, "{}", axis.name());
            assert_eq!(state.is_eligible_ignoring(Ignored::HEALTH), check || traffic, "{}", axis.name());
        }
        assert_eq!(Ignored::from_bits(u64::MAX), Ignored::HEALTH.and(Ignored::COOL_DOWNS));
        assert_eq!(Ignored::from_bits(Ignored::CHECKS.bits()), Ignored::CHECKS);
    }

    #[test]
    fn an_endpoint_that_cools_down_keeps_its_sticky_requests_and_gets_others_where_that_is_ignored() {
        let state = EndpointState::new(InFlightLimit::NONE);
        state.set(Axis::CoolDown, true);
        assert!(!state.is_eligible() && !state.is_eligible_ignoring(Ignored::HEALTH) && state.is_eligible_for_sticky());
        assert!(state.is_eligible_ignoring(Ignored::COOL_DOWNS) && !Ignored::COOL_DOWNS.ignores_health());
        state.set(Axis::Check, true);
        assert!(!state.is_eligible_ignoring(Ignored::COOL_DOWNS));
        assert!(state.is_eligible_ignoring(Ignored::COOL_DOWNS.and(Ignored::CHECKS)));
    }

    #[test]
    fn room_is_what_acquire_would_find() {
        let state = EndpointState::new(InFlightLimit::new(1));
        assert!(state.has_room(Ignored::NOTHING));
        state.set(Axis::Check, true);
        assert!(!state.has_room(Ignored::NOTHING) && !state.has_room(Ignored::TRAFFIC));
        assert!(state.has_room(Ignored::CHECKS) && state.has_room(Ignored::HEALTH));
        assert_eq!(state.acquire_ignoring(Ignored::TRAFFIC), Acquire::Ineligible);
        assert_eq!(state.acquire_ignoring(Ignored::CHECKS), Acquire::Taken { in_flight: 1 });
        assert!(!state.has_room(Ignored::CHECKS));
        state.release();
        state.set(Axis::Drain, true);
        assert!(!state.has_room(Ignored::HEALTH));
        assert_eq!(state.acquire_sticky(), Acquire::Ineligible);
        assert_eq!(state.acquire_sticky_ignoring(Ignored::CHECKS), Acquire::Taken { in_flight: 1 });
    }

    #[test]
    fn a_mirror_sees_every_step_after_it_was_set() {
        let state = EndpointState::new(InFlightLimit::new(2));
        let mirrored = std::cell::RefCell::new(Vec::new());
        let on_step = |level| mirrored.borrow_mut().push(level);
        assert_eq!(state.acquire_notify(false, Ignored::NOTHING, on_step), Acquire::Taken { in_flight: 1 });
        assert_eq!((state.mirror(), state.mirror()), (Ok(1), Err(1)));
        assert!(mirrored.borrow().is_empty() && state.is_eligible() && state.reasons().next().is_none());
        assert_eq!(state.acquire_notify(false, Ignored::NOTHING, on_step), Acquire::Taken { in_flight: 2 });
        assert_eq!(state.acquire_notify(false, Ignored::NOTHING, on_step), Acquire::Full);
        state.release_notify(on_step);
        state.set(Axis::Check, true);
        assert_eq!(state.acquire_notify(true, Ignored::HEALTH, on_step), Acquire::Taken { in_flight: 2 });
        assert_eq!(state.acquire_notify(true, Ignored::NOTHING, on_step), Acquire::Ineligible);
        state.release_notify(on_step);
        state.release_notify(on_step);
        assert_eq!(*mirrored.borrow(), [1, 2, 2, 1, 1, 2, 2, 1, 0]);
        assert_eq!(state.in_flight(), 0);
    }

    #[test]
    fn an_overshoot_is_undone() {
        let state = EndpointState::new(InFlightLimit::new(2));
        assert_eq!(state.acquire(), Acquire::Taken { in_flight: 1 });
        assert_eq!(state.acquire(), Acquire::Taken { in_flight: 2 });
        assert_eq!(state.acquire(), Acquire::Full);
        assert_eq!(state.in_flight(), 2);
        state.release();
        assert!(!state.is_full());
        state.set(Axis::Removed, true);
        assert_eq!(state.acquire(), Acquire::Ineligible);
        assert_eq!(state.in_flight(), 1);
        state.release();
        assert_eq!(state.in_flight(), 0);
    }
}
