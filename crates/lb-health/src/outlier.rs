//! Outlier detection by counting: eject an endpoint that failed so many times within a while.
//!
//! Active checks ask a question of their own, at their own time; real requests know first. The rule is `failures`
//! failures within a sliding `window`, then no traffic for `eject_for`.
//!
//! It counts failures, not failures *in a row*: a success in between erases nothing. An endpoint that fails every other
//! request would else never be ejected, and successes are what a busy endpoint has most of, so that the success path
//! must stay free of shared writes; here it does nothing at all. The price is that the count knows no share: at a
//! thousand requests a second, three failures in thirty seconds are one in ten thousand. So where there are requests
//! enough to compare endpoints, the count alone ejects nothing: [`Comparison`](crate::Comparison) decides.
//!
//! The window is exact, not bucketed. What matters is only whether the last `failures` failures lie within it, which is
//! a ring of times: each new one is compared with the one `failures − 1` before it.
//!
//! ```text
//!              failure, the n-th within the window, and the cap allows it
//!   watching ────────────────────────────────────────────────────────────► ejected ◄──────────┐
//!      ▲                                                                      │                │
//!      │                              its time is over, or a later check passed              │
//!      │                                                                      ▼                │
//!      └────────────────────────── three requests succeed ──────────────── on probation ───────┘
//!                                                            one failure: ejected again
//! ```
//!
//! An endpoint comes back on probation: its caller sends it one request at a time. If time alone brought all the
//! traffic back, each return of a dead endpoint would cost as many requests as its first failure did. With one request
//! a trial is cheap, so that trials can come soon. How long it stays out is the longest of
//!
//! - `eject_for`, and half of it more for each further ejection on record: what comes back well and fails again flaps, and each
//!   flap makes the next ejection longer (as with Envoy). A trial that fails is no flap, and counts none;
//! - an eighth of the time since it was ejected out of traffic: it is back within an eighth of an outage after it, however
//!   long that was, and an outage of an hour is not tried a thousand times;
//! - the time that the failure took: an endpoint that hangs for a minute costs a client a minute in each trial.
//!
//! An active check that began after the ejection and passed ends it at once (as Envoy's does), since most outages end
//! sooner than any wait that is safe. But a check asks its own question: where traffic fails again within the window
//! after a check ended an ejection, checks do not see the fault, and end no more ejections until one has failed, or
//! the endpoint has been well for a window.
//!
//! A failure is evidence of the time in which its request ran, not of the instant at which it was noticed: with a
//! response timeout of a minute and ejections of half a minute, requests that hung before an ejection would fail after
//! it, and eject an endpoint that has long recovered. So a failure counts only if its request started after the last
//! ejection ended. Requests under way at an ejection never count, neither during it nor afterwards.

use std::time::Duration;

use lb_core::Mono;

use crate::ejection::{Ejection, Growth, OnFailure};
use crate::ejection_cap::EjectionCap;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// The failures of one endpoint, and whether it is ejected. Shared by all threads; 144 bytes, and 8 for each
/// of `failures`, rounded up to a power of two.
///
/// A success costs nothing, a failure one `fetch_add`, a load and a store (14 ns). It owns one of the cluster's ejections while it is
/// ejected.
#[derive(Debug)]
pub struct Outlier {
    rule: Ejection,
    /// Times of the last failures, each one nanosecond late, so that zero is none.
    times: Box<[AtomicU64]>,
    next: AtomicU64,
    /// The end of the ejection, one nanosecond late; zero if there is none.
    until: AtomicU64,
    /// Ejections on the record (k), and the end of the last one.
    ejections: AtomicU32,
    last_end: AtomicU64,
    /// When it was ejected last, and when it was last ejected out of traffic.
    since: AtomicU64,
    out_since: AtomicU64,
    /// [`PROBATION`] and the like.
    flags: AtomicU32,
}

impl Outlier {
    /// An endpoint without failures.
    #[must_use]
    pub fn new(rule: Ejection) -> Self {
        // One failure needs no other; a power of two, so that a place in the ring needs no division.
        let places = if rule.failures.get() == 1 { 0 } else { usize::from(rule.failures.get()).next_power_of_two() };
        Self {
            rule,
            times: (0..places).map(|_| AtomicU64::new(0)).collect(),
            next: AtomicU64::new(0),
            until: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
            last_end: AtomicU64::new(0),
            since: AtomicU64::new(0),
            out_since: AtomicU64::new(0),
            flags: AtomicU32::new(0),
        }
    }

    /// Takes one failure of a request that started at `started` (its pick, queueing excluded); which outcomes are
    /// failures, the caller's [`FailureSet`](crate::FailureSet) decides. Ignored if it started before the end of the
    /// last ejection.
    ///
    /// This is [`record`](Self::record), and [`eject`](Self::eject) if that is due.
    pub fn on_failure(&self, started: Mono, now: Mono, entropy: u64, cap: &EjectionCap) -> OnFailure {
        if self.record(started, now) { self.eject(started, now, entropy, cap) } else { OnFailure::Nothing }
    }

    /// Takes one failure; true if `failures` of them now lie within the window and it is not ejected, or if it is on
    /// probation. Callers that compare endpoints ([`Comparison`](crate::Comparison)) decide then whether to
    /// [`eject`](Self::eject) it.
    #[must_use]
    pub fn record(&self, started: Mono, now: Mono) -> bool {
        self.is_current(started) && (self.fills_the_window(now) || self.is_on_probation())
    }

    /// Whether a failure of a request that started then says something about the endpoint as it is now: it is not
    /// ejected, and the request is no older than the end of its last ejection.
    #[must_use]
    pub fn is_current(&self, started: Mono) -> bool {
        !self.is_ejected() && started.as_nanos() >= self.last_end.load(Ordering::Relaxed)
    }

    /// Ejects it if the cap allows it, which has then counted it. The one caller that gets [`OnFailure::Ejected`] sets
    /// the axis and a timer for `until`. `started` is when the request that failed last did; `entropy` is 64 random
    /// bits.
    pub fn eject(&self, started: Mono, now: Mono, entropy: u64, cap: &EjectionCap) -> OnFailure {
        if self.is_ejected() {
            return OnFailure::Nothing;
        }
        if !cap.try_eject() {
            return OnFailure::Capped;
        }
        let is_trial = self.is_on_probation();
        let out_since = if is_trial { self.out_since.load(Ordering::Relaxed) } else { now.as_nanos() };
        let (count, length) = self.length(is_trial, now);
        let out_for = now.saturating_since(Mono::from_nanos(out_since));
        let length = length.max((out_for / OUTAGE_PARTS).max(now.saturating_since(started)).min(self.rule.longest()));
        let until = now.saturating_add(self.rule.jittered(length, entropy));
        if self.until.compare_exchange(0, later(until).min(ENDING - 1), Ordering::AcqRel, Ordering::Relaxed).is_err() {
            // Another thread ejected it in between, and owns that.
            cap.uneject();
            return OnFailure::Nothing;
        }
        self.ejections.store(count, Ordering::Relaxed);
        self.since.store(now.as_nanos(), Ordering::Relaxed);
        self.out_since.store(out_since, Ordering::Relaxed);
        let well_for = now.saturating_since(Mono::from_nanos(self.last_end.load(Ordering::Relaxed)));
        let blind = match self.flags.load(Ordering::Relaxed) {
            _ if well_for > self.rule.window => 0,
            flags if flags & LIFTED_BY_CHECK != 0 => BLIND,
            flags => flags & BLIND,
        };
        self.flags.store(blind, Ordering::Relaxed);
        OnFailure::Ejected { until }
    }

    /// Ends the ejection if its time is over; true for the one caller who ended it, which then throttles the endpoint to one
    /// request at a time and clears the axis. The record of failures is clean afterwards, and `cap` has its ejection
    /// back.
    pub fn on_timer(&self, now: Mono, cap: &EjectionCap) -> bool {
        let until = self.until.load(Ordering::Acquire);
        until != 0 && later(now) >= until && self.end(until, PROBATION, now, cap)
    }

    /// Takes an active check that passed and began at `started`. True if it ends the ejection, as
    /// [`on_timer`](Self::on_timer) does.
    pub fn on_check_passed(&self, started: Mono, now: Mono, cap: &EjectionCap) -> bool {
        let until = self.until.load(Ordering::Acquire);
        until != 0
            && started.as_nanos() > self.since.load(Ordering::Relaxed)
            && self.flags.load(Ordering::Relaxed) & BLIND == 0
            && self.end(until, PROBATION | LIFTED_BY_CHECK, now, cap)
    }

    /// Takes an active check that failed: checks see what is wrong with it.
    pub fn on_check_failed(&self) {
        self.flags.fetch_and(!BLIND, Ordering::Relaxed);
    }

    /// Takes a success of a request that started then. True if that ends its probation, as the last of three does: the caller lets
    /// it have all its requests again.
    pub fn on_success(&self, started: Mono) -> bool {
        if !self.is_current(started) || !self.is_on_probation() {
            return false;
        }
        let count = |flags: u32| {
            let passed = flags.saturating_add(ONE_PASSED);
            (flags & PROBATION != 0).then_some(if passed >= ALL_PASSED { flags & BLIND_BITS } else { passed })
        };
        let before = self.flags.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
        before.is_ok_and(|flags| flags.saturating_add(ONE_PASSED) >= ALL_PASSED)
    }

    /// Whether it has come back and not succeeded three times yet.
    #[must_use]
    pub fn is_on_probation(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & PROBATION != 0
    }

    /// Ends the ejection before its time: because an operator ordered it, or the endpoint leaves the cluster. It is not on
    /// probation. True if there was one.
    pub fn lift(&self, now: Mono, cap: &EjectionCap) -> bool {
        let until = self.until.load(Ordering::Acquire);
        until != 0 && self.end(until, 0, now, cap)
    }

    /// Brings the end of the ejection forward, because the rule has changed, to where one of the same count by the new
    /// rule would end that began now. Call [`on_timer`](Self::on_timer) from then on.
    pub fn shorten(&self, rule: &Ejection, now: Mono) {
        let until = now.saturating_add(rule.length(self.ejections.load(Ordering::Relaxed)));
        let earlier = |end: u64| (end != 0 && end != ENDING).then(|| end.min(later(until)));
        // An error says that there is no ejection, or that it is just ending.
        let _ = self.until.fetch_update(Ordering::AcqRel, Ordering::Relaxed, earlier);
    }

    /// Whether it is ejected: until somebody calls [`on_timer`](Self::on_timer) after the time is over.
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        self.until.load(Ordering::Relaxed) != 0
    }

    /// When to call [`on_timer`](Self::on_timer).
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        let until = self.until.load(Ordering::Relaxed);
        (until != 0).then(|| Mono::from_nanos(until - 1))
    }

    /// How often it was ejected, less what was forgiven; always zero if ejections do not grow.
    #[must_use]
    pub fn ejections_on_record(&self) -> u32 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// Records a failure; tells whether it and the `failures − 1` before it lie within the window.
    fn fills_the_window(&self, now: Mono) -> bool {
        if self.times.is_empty() {
            return true;
        }
        let mask = self.times.len() - 1;
        let index = self.next.fetch_add(1, Ordering::Relaxed) as usize;
        let others = usize::from(self.rule.failures.get()) - 1;
        let (Some(slot), Some(earlier)) =
            (self.times.get(index & mask), self.times.get(index.wrapping_sub(others) & mask))
        else {
            return false;
        };
        let before = earlier.load(Ordering::Acquire);
        slot.store(later(now), Ordering::Release);
        // A time that lies ahead, because the clock went back, is within.
        before != 0 && now.saturating_since(Mono::from_nanos(before - 1)) <= self.rule.window
    }

    fn end(&self, until: u64, flags: u32, now: Mono, cap: &EjectionCap) -> bool {
        // Only one caller clears, and while it is still ejected, when nobody adds to it.
        if until == ENDING || self.until.compare_exchange(until, ENDING, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return false;
        }
        for slot in &self.times {
            slot.store(0, Ordering::Relaxed);
        }
        self.last_end.store(now.as_nanos(), Ordering::Relaxed);
        self.flags.fetch_or(flags, Ordering::Relaxed);
        self.until.store(0, Ordering::Release);
        cap.uneject();
        true
    }

    /// The number and the length of an ejection that begins now. One after a trial that failed has the number of the last.
    fn length(&self, is_trial: bool, now: Mono) -> (u32, Duration) {
        let Growth::Linear { forgive, .. } = self.rule.growth else { return (0, self.rule.length(0)) };
        if is_trial {
            let count = self.ejections.load(Ordering::Relaxed);
            return (count, self.rule.length(count));
        }
        let in_traffic = now.saturating_since(Mono::from_nanos(self.last_end.load(Ordering::Relaxed)));
        let forgiven = in_traffic.as_nanos().checked_div(forgive.as_nanos()).unwrap_or(u128::MAX);
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        let count = self.ejections.load(Ordering::Relaxed).saturating_sub(forgiven).saturating_add(1);
        (count, self.rule.length(count))
    }
}

/// An endpoint is out for at most one of so many parts of its outage longer.
const OUTAGE_PARTS: u32 = 8;

/// It is back, and has yet to succeed.
const PROBATION: u32 = 1;
/// A check ended its last ejection.
const LIFTED_BY_CHECK: u32 = 2;
/// Checks pass while traffic fails.
const BLIND: u32 = 4;
const BLIND_BITS: u32 = LIFTED_BY_CHECK | BLIND;
/// Above these bits requests are counted that succeeded on probation. Three of them: where half fail, one passes every
/// other time, and three in a row every eighth.
const ONE_PASSED: u32 = 8;
const ALL_PASSED: u32 = 3 * ONE_PASSED;

/// In place of an end: somebody is just ending it.
const ENDING: u64 = u64::MAX;

const fn later(time: Mono) -> u64 {
    time.as_nanos().saturating_add(1)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
