//! Silence: an endpoint that neither answers nor refuses.
//!
//! Outlier detection counts failures, and an endpoint that hangs does not fail until a timeout does, which is a minute
//! by default: 680 of 4000 requests were lost to one stopped endpoint of three before anything noticed. What is
//! unusual is known much sooner, for the endpoint's own response times say what is usual ([`Patience`]).
//!
//! But one request that waits long says little. A report may take half a minute where everything else takes
//! milliseconds, and a client that polls for news waits by design; with a timeout for each attempt, they would be cut and
//! repeated elsewhere, again in vain. What hangs answers *nothing*. So an endpoint is silent where a request has waited
//! unusually long *and* it has answered no other request in that time:
//!
//! ```text
//!   request sent      another one answered                      silent: nothing for `limit`
//!   ────●───────────────────●──────────────────────────────────────●──────►
//!       waits ......................................................
//!                           └────────────── limit ─────────────────┘
//! ```
//!
//! The waiting request finds this out itself, with a timer of `limit`; there is nothing to scan. What follows is the caller's:
//! the endpoint is suspected and gets one request at a time ([`EndpointState::throttle`](lb_core::EndpointState::throttle)),
//! a request that may be repeated goes to another endpoint, and one answer clears the suspicion.

use std::time::Duration;

use lb_core::Mono;

use crate::sync::{AtomicU64, Ordering};

/// From when on a wait for a response head is unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// So many times the median; default 10.
    pub factor: u32,
    /// Never less than this; default 1 s, below which a pause of a garbage collector would count.
    pub floor: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { factor: 10, floor: Duration::from_secs(1) }
    }
}

impl Patience {
    /// Fewer answers say nothing about what is usual.
    pub const MIN_ANSWERS: u64 = 20;

    /// The limit for an endpoint with this median and this 99th percentile of the time to the response head: so many times the
    /// median, and twice the percentile, so that requests that take long by design raise it where they are more than
    /// one in a hundred.
    #[must_use]
    pub fn limit(&self, median: Duration, p99: Duration) -> Duration {
        median.saturating_mul(self.factor).max(p99.saturating_mul(2)).max(self.floor)
    }
}

/// When one endpoint answered last, and for how long it may be silent. Shared by all threads; 24 bytes. An answer costs two loads and
/// a store.
#[derive(Debug, Default)]
pub struct Silence {
    answered: AtomicU64,
    /// Since when it has answered without a silence of half the limit.
    answers_since: AtomicU64,
    /// Zero while nothing is known.
    limit: AtomicU64,
}

/// What the wait of a request means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Nothing unusual: look again after so long.
    Usual(Duration),
    /// The endpoint is silent.
    Silent,
}

impl Silence {
    /// Sets the limit; `None` switches it off.
    pub fn set_limit(&self, limit: Option<Duration>) {
        let nanos = limit.map_or(0, |limit| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX).max(1));
        self.limit.store(nanos, Ordering::Relaxed);
    }

    /// The limit, if one is known.
    #[must_use]
    pub fn limit(&self) -> Option<Duration> {
        let nanos = self.limit.load(Ordering::Relaxed);
        (nanos != 0).then(|| Duration::from_nanos(nanos))
    }

    /// It answered a request, or refused one.
    #[inline]
    pub fn on_answer(&self, now: Mono) {
        let (now, before) = (now.as_nanos(), self.answered.load(Ordering::Relaxed));
        if now.saturating_sub(before) > self.limit.load(Ordering::Relaxed) / 2 {
            self.answers_since.store(now, Ordering::Relaxed);
        }
        self.answered.store(now, Ordering::Relaxed);
    }

    /// Whether it has answered all through the last `span`, without a silence of half its limit.
    ///
    /// Where no other endpoint has, what all of them wait for is elsewhere, such as a database, and the silence says nothing about
    /// one of them. Half of the limit tells that apart, also when such a fault ends: endpoints answer again one after the other.
    #[must_use]
    pub fn has_answered_for(&self, span: Duration, now: Mono) -> bool {
        let [answered, since] =
            [&self.answered, &self.answers_since].map(|cell| Mono::from_nanos(cell.load(Ordering::Relaxed)));
        answered != Mono::ZERO && now.saturating_since(answered) <= span && now.saturating_since(since) >= span
    }

    /// Whether its last answer is at least so long ago. An endpoint without requests in flight for which this holds has answered
    /// all that it was sent: clients that wait at a silent endpoint, all of them, send nothing to others meanwhile.
    #[must_use]
    pub fn answered_before(&self, span: Duration, now: Mono) -> bool {
        let answered = self.answered.load(Ordering::Relaxed);
        answered != 0 && now.saturating_since(Mono::from_nanos(answered)) >= span
    }

    /// Judges the wait of a request that was sent at `started` and has no response head yet; `None` while no limit is known.
    #[must_use]
    pub fn judge(&self, started: Mono, now: Mono) -> Option<Wait> {
        let limit = self.limit()?;
        let answered = Mono::from_nanos(self.answered.load(Ordering::Relaxed));
        let silent_for = now.saturating_since(answered.max(started));
        Some(match limit.checked_sub(silent_for) {
            Some(left) if !left.is_zero() => Wait::Usual(left),
            _ => Wait::Silent,
        })
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;
    const AT: fn(u64) -> Mono = Mono::from_millis;

    #[test]
    fn the_limit_is_ten_medians_and_two_slow_answers_and_a_second_at_least() {
        let patience = Patience::default();
        for (median, p99, limit) in [(60, 80, 1_000), (200, 300, 2_000), (60, 30_000, 60_000), (0, 0, 1_000)] {
            assert_eq!(patience.limit(MS(median), MS(p99)), MS(limit), "{median} {p99}");
        }
        assert_eq!(patience.limit(Duration::MAX, MS(1)), Duration::MAX);
    }

    #[test]
    fn while_nothing_is_known_nothing_is_unusual() {
        let silence = Silence::default();
        assert_eq!(silence.judge(AT(0), AT(1_000_000)), None);
        silence.set_limit(Some(MS(5)));
        assert_eq!((silence.limit(), silence.judge(AT(0), AT(1_000_000))), (Some(MS(5)), Some(Wait::Silent)));
        silence.set_limit(None);
        assert_eq!(silence.judge(AT(0), AT(1_000_000)), None);
    }

    #[test]
    fn a_request_that_waits_long_while_others_are_answered_is_no_silence() {
        let silence = Silence::default();
        silence.set_limit(Some(MS(1_000)));
        // A report that takes half a minute, beside a request each 100 ms.
        let mut now = 0;
        let mut look = 1_000;
        while now < 30_000 {
            now += 100;
            silence.on_answer(AT(now));
            if now >= look {
                let Some(Wait::Usual(left)) = silence.judge(AT(0), AT(now)) else { panic!("silent at {now}") };
                look = now + left.as_millis() as u64;
            }
        }
        // Then nothing at all.
        assert_eq!(silence.judge(AT(0), AT(30_999)), Some(Wait::Usual(MS(1))));
        assert_eq!(silence.judge(AT(0), AT(31_000)), Some(Wait::Silent));
        // A request that was sent during the silence has not waited long yet.
        assert_eq!(silence.judge(AT(30_500), AT(31_000)), Some(Wait::Usual(MS(500))));
    }

    #[test]
    fn it_answers_all_through_a_span_if_its_answers_are_near_one_another() {
        let silence = Silence::default();
        silence.set_limit(Some(MS(1_000)));
        assert!(!silence.has_answered_for(MS(500), AT(100)), "it never answered");
        for at in [1_000, 1_400, 1_800] {
            silence.on_answer(AT(at));
        }
        assert!(silence.has_answered_for(MS(500), AT(1_800)) && silence.has_answered_for(MS(500), AT(2_300)));
        assert!(!silence.has_answered_for(MS(500), AT(2_301)), "silent for too long");
        assert!(silence.answered_before(MS(500), AT(2_300)) && !silence.answered_before(MS(500), AT(2_299)));
        silence.on_answer(AT(5_000));
        assert!(!silence.has_answered_for(MS(500), AT(5_100)), "it has just come back");
        silence.on_answer(AT(5_400));
        assert!(silence.has_answered_for(MS(500), AT(5_500)));
    }

    #[test]
    fn time_backwards_is_no_silence() {
        let silence = Silence::default();
        silence.set_limit(Some(MS(1_000)));
        silence.on_answer(AT(5_000));
        assert_eq!(silence.judge(AT(6_000), AT(1_000)), Some(Wait::Usual(MS(1_000))));
    }
}
