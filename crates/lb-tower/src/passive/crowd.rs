//! What the members of a cluster did lately, so that one can be compared with the others.

use std::collections::BTreeMap;
use std::time::Duration;

use lb_core::Mono;
use lb_health::{Comparison, Counts, Evidence, History, Judgement, Seen};
use lb_policy::{Endpoint, Uid};

/// Counters of all members and their readings.
#[derive(Default)]
pub(super) struct Crowd {
    members: BTreeMap<Uid, Member>,
    /// The last readings.
    read: Mono,
    /// The last comparison.
    compared: Mono,
}

struct Member {
    failures: u64,
    /// Failures that say nothing of it as it is now, since their requests are older than its readmission.
    stale: u64,
    history: History,
}

impl Crowd {
    /// Counts a failure, and reads the counters of all members after it if that is due.
    pub(super) fn on_failure<S>(
        &mut self,
        endpoint: &Endpoint<S>,
        is_stale: bool,
        endpoints: &[impl AsRef<Endpoint<S>>],
        now: Mono,
    ) {
        if let Some(member) = self.members.get_mut(&endpoint.uid()) {
            let count = if is_stale { &mut member.stale } else { &mut member.failures };
            *count = count.saturating_add(1);
        }
        if now.saturating_since(self.read) >= History::SHORTEST {
            self.read(endpoints, now);
        }
    }

    /// Reads the counters of all members.
    pub(super) fn read<S>(&mut self, endpoints: &[impl AsRef<Endpoint<S>>], now: Mono) {
        self.read = now;
        for endpoint in endpoints.iter().map(AsRef::as_ref) {
            let member = self.members.entry(endpoint.uid()).or_insert_with(|| Member::starting(endpoint, now));
            let totals = member.totals(endpoint);
            member.history.read(totals, now);
        }
    }

    /// Whether this endpoint is an outlier, by the longest span that proves it. `None` if there are too few requests to
    /// compare, `Some(None)` if it is like the others.
    pub(super) fn judge<S>(
        &mut self,
        rule: &Comparison,
        window: Duration,
        endpoint: &Endpoint<S>,
        endpoints: &[impl AsRef<Endpoint<S>>],
        now: Mono,
    ) -> Option<Option<Evidence>> {
        // One part in a hundred of a core at most, however many fail: about 100 ns a member.
        let pause = Duration::from_micros(10) * u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
        if now > self.compared && now.saturating_since(self.compared) < pause {
            return Some(None);
        }
        self.compared = now;
        let look_backs = History::look_backs(window);
        let longest = look_backs.clone().next()?;
        let looks = u32::try_from(look_backs.len()).unwrap_or(u32::MAX).saturating_mul(LOOKS_A_SPAN);
        let others = endpoints.iter().map(AsRef::as_ref).filter(|other| other.uid() != endpoint.uid());
        for back in look_backs {
            let seen = |endpoint: &Endpoint<S>| {
                let Some(member) = self.members.get(&endpoint.uid()) else { return Seen::default() };
                let totals = member.totals(endpoint);
                Seen { recent: member.history.since(back, totals), window: member.history.since(longest, totals) }
            };
            match rule.judge(&seen(endpoint), others.clone().map(seen), looks) {
                Judgement::TooFew => return None,
                Judgement::Ordinary => {}
                Judgement::Outlier(evidence) => return Some(Some(evidence)),
            }
        }
        Some(None)
    }

    /// Forgets what all but these did up to now.
    pub(super) fn retain(&mut self, mut is_known: impl FnMut(Uid) -> bool) {
        self.members.retain(|uid, _| is_known(*uid));
    }
}

impl Member {
    fn starting<S>(endpoint: &Endpoint<S>, now: Mono) -> Self {
        let totals = Counts { successes: endpoint.state().requests(), failures: 0 };
        Self { failures: 0, stale: 0, history: History::starting(totals, now) }
    }

    /// The endpoint counts its requests, and this the failures among them.
    fn totals<S>(&self, endpoint: &Endpoint<S>) -> Counts {
        let failed = self.failures.saturating_add(self.stale);
        Counts { successes: endpoint.state().requests().saturating_sub(failed), failures: self.failures }
    }
}

/// An endpoint is judged at each of its failures, by spans that overlap. That finds what is rare about ten times as
/// often as spans that begin where the one before ended (measured with equal endpoints, 10 to 50 % of failures).
const LOOKS_A_SPAN: u32 = 16;
