//! Silence: an endpoint that neither answers nor refuses.
//!
//! Outlier detection counts failures, and an endpoint that hangs does not fail until a timeout does, which is a minute
//! by default: 680 of 4000 requests were lost to one stopped endpoint of three before anything noticed. What is
//! unusual is known much sooner, for the endpoint's own response times say what is usual:
//!
//! - [`Patience`] is how long a wait is not yet unusual: ten times the median, and a floor, below which a pause of the
//!   garbage collector would count;
//! - [`Suspicion`] takes the age of the oldest request that still waits for its response head, and waits that ended
//!   without one (a total timeout, a client that gave up). A suspected endpoint gets one request at a time
//!   ([`EndpointState::throttle`](lb_core::EndpointState::throttle)): it loses one more at most, and one answer clears it;
//! - [`Patience::try_timeout`] bounds one attempt, so that another endpoint can be tried in time.
//!
//! Not for streams: a request that is answered when there is news waits by design. The caller leaves them out.

use std::time::Duration;

use lb_core::Mono;

/// How long a wait for a response head is usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// So many times the median; default 10, at least one.
    pub factor: u32,
    /// Never less than this; default 1 s.
    pub floor: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { factor: 10, floor: Duration::from_secs(1) }
    }
}

impl Patience {
    /// From this age on a wait is unusual; `None` while nothing is known of the endpoint's response times.
    #[must_use]
    pub fn limit(&self, median: Option<Duration>) -> Option<Duration> {
        Some(median?.saturating_mul(self.factor.max(1)).max(self.floor))
    }

    /// Whether a wait that ended without a response head, or has not ended, is unusual.
    #[must_use]
    pub fn is_unusual(&self, waited: Duration, median: Option<Duration>) -> bool {
        self.limit(median).is_some_and(|limit| waited >= limit)
    }

    /// How long one attempt may take, at most `cap` (the route's response timeout); that alone while nothing is known, or
    /// for a stream.
    #[must_use]
    pub fn try_timeout(&self, median: Option<Duration>, cap: Duration, is_stream: bool) -> Duration {
        self.limit(median).filter(|_| !is_stream).map_or(cap, |limit| limit.min(cap))
    }
}

/// What a suspicion changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum SuspicionChange {
    /// One request at a time from now on.
    Suspected,
    /// All requests again.
    Cleared,
}

/// Whether one endpoint is suspected to hang. Pure; 24 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Suspicion {
    since: Option<Mono>,
}

impl Suspicion {
    /// Takes the start of the oldest request that waits for its response head, if there is one. Call it every 100 ms or so.
    pub fn on_tick(
        &mut self,
        oldest: Option<Mono>,
        median: Option<Duration>,
        patience: &Patience,
        now: Mono,
    ) -> Option<SuspicionChange> {
        let waited = now.saturating_since(oldest?);
        self.on_wait(waited, median, patience, now)
    }

    /// Takes a wait that ended without a response head though nobody refused: a total timeout, or a client that gave
    /// up. A short one says nothing.
    pub fn on_wait(
        &mut self,
        waited: Duration,
        median: Option<Duration>,
        patience: &Patience,
        now: Mono,
    ) -> Option<SuspicionChange> {
        if self.since.is_some() || !patience.is_unusual(waited, median) {
            return None;
        }
        self.since = Some(now);
        Some(SuspicionChange::Suspected)
    }

    /// Takes a response head to a request that started then, whatever it says: it answers. An answer to a request from
    /// before the suspicion counts too, since only what hangs is suspected.
    pub fn on_head(&mut self) -> Option<SuspicionChange> {
        self.since.take().map(|_| SuspicionChange::Cleared)
    }

    /// Since when it is suspected.
    #[must_use]
    pub fn since(&self) -> Option<Mono> {
        self.since
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    const MS_5: Option<Duration> = Some(Duration::from_millis(5));
    const MS_300: Option<Duration> = Some(Duration::from_millis(300));

    #[test]
    fn ten_medians_and_no_less_than_a_second_are_usual() {
        let patience = Patience::default();
        assert_eq!(patience.limit(MS_5), Some(Duration::from_secs(1)));
        assert_eq!(patience.limit(MS_300), Some(Duration::from_secs(3)));
        assert_eq!(patience.limit(None), None);
        assert_eq!(patience.limit(Some(Duration::MAX)), Some(Duration::MAX));
        assert!(!patience.is_unusual(Duration::MAX, None), "nothing is known");
        assert!(Patience { factor: 0, floor: Duration::ZERO }.is_unusual(Duration::from_millis(5), MS_5));
    }

    #[test]
    fn a_try_has_its_own_timeout_but_for_streams() {
        let (patience, cap) = (Patience::default(), Duration::from_secs(60));
        assert_eq!(patience.try_timeout(MS_300, cap, false), Duration::from_secs(3));
        assert_eq!(patience.try_timeout(MS_300, Duration::from_secs(2), false), Duration::from_secs(2));
        assert_eq!(patience.try_timeout(MS_300, cap, true), cap);
        assert_eq!(patience.try_timeout(None, cap, false), cap);
    }

    #[test]
    fn an_endpoint_that_hangs_is_suspected_after_a_second_and_cleared_by_an_answer() {
        let (patience, mut suspicion) = (Patience::default(), Suspicion::default());
        let mut tick = |ms| suspicion.on_tick(Some(Mono::from_millis(100)), MS_5, &patience, Mono::from_millis(ms));
        assert_eq!([tick(100), tick(1_099)], [None, None]);
        assert_eq!(tick(1_100), Some(SuspicionChange::Suspected));
        assert_eq!(tick(9_999), None, "told once");
        assert_eq!(suspicion.on_head(), Some(SuspicionChange::Cleared));
        assert_eq!((suspicion.on_head(), suspicion.since()), (None, None));
    }

    #[test]
    fn a_client_that_gives_up_soon_says_nothing() {
        let (patience, mut suspicion) = (Patience::default(), Suspicion::default());
        let mut gave_up = |ms| suspicion.on_wait(Duration::from_millis(ms), MS_5, &patience, Mono::ZERO);
        assert_eq!([gave_up(0), gave_up(999)], [None, None]);
        assert_eq!(gave_up(1_000), Some(SuspicionChange::Suspected));
        assert_eq!(Suspicion::default().on_tick(None, MS_5, &patience, Mono::MAX), None, "nothing waits");
    }
}
