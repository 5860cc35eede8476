//! Several limits on one request, of which all are charged or none.
//!
//! Charging one after the other would take quota from the first for a request that the last one refuses: a client over its hourly
//! limit would use up that of the route by trying. So each limit is looked at before any is charged. If another thread uses up a limit in
//! between, those charged already get it back; meanwhile they may refuse a request that had room, never admit one that had none.

use std::time::Duration;

use lb_core::Mono;

use crate::decision::Decision;
use crate::gcra::Verdict;
use crate::keyed::{Key, Keyed};

/// One of the limits on a request.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The limit.
    pub limit: &'a Keyed,
    /// The key of the request there.
    pub key: Key<'a>,
    /// As how many requests it counts there.
    pub cost: u64,
    /// How many requests beyond the rate are not held back there ([`Decision::delay`]); `None` holds none back.
    pub undelayed: Option<u64>,
}

impl<'a> Claim<'a> {
    /// A claim of one request, which is not held back.
    #[must_use]
    pub const fn new(limit: &'a Keyed, key: Key<'a>) -> Self {
        Self { limit, key, cost: 1, undelayed: None }
    }

    fn charge(&self, now: Mono) -> Decision {
        self.limit.charge_delaying(self.key, self.cost, self.undelayed, now)
    }
}

/// Which limit refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its place in the list: of several, the one that takes longest.
    pub index: usize,
    /// When all of them would admit it if nothing else came; never zero.
    pub retry_after: Duration,
}

/// Charges all limits for one request, or none of them. An empty list admits.
///
/// # Errors
/// At least one limit refuses; nothing is charged.
pub fn charge_all(claims: &[Claim<'_>], now: Mono) -> Result<(), Refusal> {
    charge_all_telling(claims, now, |_, _| {})
}

/// As [`charge_all`]; `decided` is told what each limit has answered, with its place in the list. If the request is refused after
/// all, since another thread was faster, that holds no more.
///
/// # Errors
/// At least one limit refuses; nothing is charged.
pub fn charge_all_telling(
    claims: &[Claim<'_>],
    now: Mono,
    mut decided: impl FnMut(usize, Decision),
) -> Result<(), Refusal> {
    // One limit is asked once.
    if let [claim] = claims {
        let decision = claim.charge(now);
        let Verdict::Refuse { retry_after } = decision.verdict else {
            decided(0, decision);
            return Ok(());
        };
        return Err(Refusal { index: 0, retry_after });
    }
    let refusals = claims.iter().enumerate().filter_map(|(index, claim)| {
        let retry_after = claim.limit.would_refuse(claim.key.key, claim.cost, now)?;
        Some(Refusal { index, retry_after })
    });
    if let Some(refusal) = refusals.max_by_key(|refusal| refusal.retry_after) {
        return Err(refusal);
    }
    for (index, claim) in claims.iter().enumerate() {
        let decision = claim.charge(now);
        if let Verdict::Refuse { retry_after } = decision.verdict {
            for charged in &claims[..index] {
                charged.limit.refund(charged.key.key, charged.cost, now);
            }
            return Err(Refusal { index, retry_after });
        }
        decided(index, decision);
    }
    Ok(())
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::Quota;

    const NOW: Mono = Mono::from_millis(5_000);

    fn claim(limit: &Keyed, cost: u64) -> Claim<'_> {
        Claim { cost, ..Claim::new(limit, Key::new(b"client")) }
    }

    fn table(quota: Quota) -> Keyed {
        Keyed::new(quota, 4 << 10, [1, 2])
    }

    #[test]
    fn all_are_charged_or_none_and_the_longest_wait_counts() {
        let second = table(Quota::per_second(1).with_burst(9));
        let minute = table(Quota::per_minute(1).with_burst(2));
        let both = [claim(&second, 1), claim(&minute, 1)];
        assert_eq!((0..3).map(|_| charge_all(&both, NOW)).collect::<Vec<_>>(), [Ok(()); 3]);
        let refused = Err(Refusal { index: 1, retry_after: Duration::from_secs(60) });
        assert_eq!(charge_all(&both, NOW), refused);
        assert_eq!((second.remaining(b"client", NOW), minute.remaining(b"client", NOW)), (7, 0));
        let mut left = Vec::new();
        assert_eq!(charge_all_telling(&[claim(&second, 2)], NOW, |at, told| left.push((at, told.remaining))), Ok(()));
        assert_eq!(left, [(0, 5)]);
        let _ = second.charge(Key::new(b"client"), 5, NOW);
        assert_eq!(charge_all(&both, NOW), refused, "both refuse, and the minute takes longer");
        assert_eq!(charge_all(&[], NOW), Ok(()));
    }

    #[test]
    fn what_was_charged_is_given_back_if_a_coarser_key_refuses() {
        let first = table(Quota::per_minute(1).with_burst(9));
        // Eight entries full of keys that were refused, and a bucket for all that is used up.
        let full = Keyed::new(Quota::per_minute(1), 192, [1, 2]);
        for key in 0..200_u8 {
            let _ = (full.check(&[key], NOW), full.check(&[key], NOW));
        }
        assert_eq!(full.remaining(b"client", NOW), 1, "it is not known there");
        assert_eq!(charge_all(&[claim(&first, 4), claim(&full, 1)], NOW).unwrap_err().index, 1);
        assert_eq!(first.remaining(b"client", NOW), 10);
    }

    #[test]
    fn threads_leave_no_charge_of_refused_requests() {
        let (many, few) = (table(Quota::per_minute(1).with_burst(9_999)), table(Quota::per_minute(1).with_burst(99)));
        let passed: usize = std::thread::scope(|scope| {
            let run = || (0..500).filter(|_| charge_all(&[claim(&many, 1), claim(&few, 1)], NOW).is_ok()).count();
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        // Each of the other threads may have entered the key uncounted.
        assert!((100..=103).contains(&passed), "{passed}");
        let used = 10_000 - many.remaining(b"client", NOW);
        assert!((100..=passed as u64).contains(&used), "{used} for {passed}");
    }
}
