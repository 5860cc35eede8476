//! Priorities: which tier of endpoints serves, how much spills to the next, and when health is to be disbelieved.
//!
//! Two products mean two things by it. nginx's `backup` serves only when no primary can: nothing moves before the last primary is gone. Envoy
//! lets load spill in proportion to what a tier has lost, with a margin: a tier that is 72 % healthy still carries all (× 1.4),
//! one that is half healthy 70 %. The first is simple and right for a stand-in; the second keeps the survivors from being drowned.
//!
//! Panic: when fewer than a threshold of a tier's endpoints look healthy, more likely the looking is wrong than all of them, and sending the
//! whole load to the few would finish them off. So health is ignored, unless another tier can take the load.
//!
//! Source: Envoy's `load_balancer_impl` (priority levels, panic threshold), nginx's backup servers.

/// When a tier's load goes to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Spill {
    /// When none of the tier can take the request (nginx's `backup`).
    #[default]
    WhenExhausted,
    /// In proportion: a tier carries its eligible share times this factor, at most all of it. At least 1; Envoy's default is 1.4.
    Overprovisioned(f64),
}

/// How tiers are judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judgement {
    pub(crate) panic_threshold: f64,
    pub(crate) spill: Spill,
}

impl Default for Judgement {
    fn default() -> Self {
        Self { panic_threshold: 0.5, spill: Spill::WhenExhausted }
    }
}

/// A tier's head count.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TierHealth {
    pub(crate) eligible: u32,
    /// Those that nothing but their health could keep out.
    pub(crate) able: u32,
}

/// What follows for a tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) panics: bool,
    /// Of 100; only meaningful if load spills.
    pub(crate) load: u32,
}

impl Judgement {
    pub(crate) fn is_spilling(&self) -> bool {
        matches!(self.spill, Spill::Overprovisioned(_))
    }

    pub(crate) fn judge(&self, tiers: &[TierHealth]) -> Vec<Verdict> {
        let is_low = |tier: &TierHealth| f64::from(tier.eligible) < self.panic_threshold * f64::from(tier.able);
        let Spill::Overprovisioned(factor) = self.spill else {
            let is_well = |tier: &TierHealth| tier.eligible > 0 && !is_low(tier);
            let panics = !tiers.iter().any(is_well);
            return tiers.iter().map(|tier| Verdict { panics: panics && is_low(tier), load: 0 }).collect();
        };
        let healths: Vec<u32> = tiers.iter().map(|tier| health(tier, factor)).collect();
        let total = healths.iter().sum::<u32>().min(100);
        let panics = |tier| total < 100 && is_low(tier);
        // All in panic, or nobody well at all: spread by head count.
        let loads = if total == 0 || tiers.iter().all(panics) {
            let heads: Vec<u32> = tiers.iter().map(|tier| tier.able).collect();
            shares_of_100(&heads, heads.iter().sum())
        } else {
            shares_of_100(&healths, total)
        };
        tiers.iter().zip(loads).map(|(tier, load)| Verdict { panics: panics(tier), load }).collect()
    }
}

/// What the tier can carry of the whole load, of 100.
fn health(tier: &TierHealth, factor: f64) -> u32 {
    if tier.able == 0 {
        return 0;
    }
    let factor = if factor.is_nan() { 1.4 } else { factor.max(1.0) };
    // The tiny addend undoes what binary fractions take from whole results, as 1.4 · 50 = 69.999….
    (100.0 * factor * f64::from(tier.eligible) / f64::from(tier.able) + 1e-9).min(100.0) as u32
}

/// Divides 100, in this order, by what each is worth of a total, as long as anything is left; what rounding leaves goes to the
/// first that is worth anything.
fn shares_of_100(worth: &[u32], total: u32) -> Vec<u32> {
    let mut left = 100;
    let mut shares: Vec<u32> = worth
        .iter()
        .map(|&worth| {
            let share = ((u64::from(worth) * 200 / u64::from(total.max(1))).div_ceil(2) as u32).min(left);
            left -= share;
            share
        })
        .collect();
    let first = worth.iter().position(|&worth| worth > 0);
    if let Some(share) = first.and_then(|first| shares.get_mut(first)) {
        *share += left;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loads of tiers of a hundred endpoints, so many of each eligible.
    fn loads(eligible: &[u32]) -> Vec<u32> {
        let judgement = Judgement { panic_threshold: 0.0, spill: Spill::Overprovisioned(1.4) };
        let tiers: Vec<_> = eligible.iter().map(|&eligible| TierHealth { eligible, able: 100 }).collect();
        judgement.judge(&tiers).iter().map(|verdict| verdict.load).collect()
    }

    #[test]
    fn loads_spill_as_envoy_documents() {
        for (p0, expected) in
            [(100, [100, 0]), (72, [100, 0]), (71, [99, 1]), (50, [70, 30]), (25, [35, 65]), (0, [0, 100])]
        {
            assert_eq!(loads(&[p0, 100]), expected, "{p0}");
        }
        assert_eq!(loads(&[25, 25]), [50, 50]);
        assert_eq!(loads(&[25, 25, 100]), [35, 35, 30]);
        assert_eq!(loads(&[25, 25, 20]), [36, 36, 28]);
    }

    #[test]
    fn if_all_panic_heads_are_counted() {
        let judgement = Judgement { spill: Spill::Overprovisioned(1.4), ..Judgement::default() };
        let tiers = [TierHealth { eligible: 0, able: 60 }, TierHealth { eligible: 1, able: 60 }];
        let verdicts = judgement.judge(&tiers);
        assert_eq!(verdicts, [Verdict { panics: true, load: 50 }, Verdict { panics: true, load: 50 }]);
    }

    #[test]
    fn loads_always_make_a_hundred() {
        for a in (0..=100).step_by(7) {
            for b in (0..=100).step_by(9) {
                for c in (0..=100).step_by(11) {
                    assert_eq!(loads(&[a, b, c]).iter().sum::<u32>(), 100, "{a} {b} {c}");
                }
            }
        }
        assert_eq!(loads(&[]), []);
    }

    fn panics(judgement: Judgement, tiers: &[(u32, u32)]) -> Vec<bool> {
        let tiers: Vec<_> = tiers.iter().map(|&(eligible, able)| TierHealth { eligible, able }).collect();
        judgement.judge(&tiers).iter().map(|verdict| verdict.panics).collect()
    }

    #[test]
    fn a_tier_panics_only_if_no_other_is_well() {
        let judgement = Judgement::default();
        assert_eq!(panics(judgement, &[(1, 3)]), [true]);
        assert_eq!(panics(judgement, &[(2, 4)]), [false], "exactly half");
        assert_eq!(panics(judgement, &[(1, 3), (2, 2)]), [false, false], "the backups are well");
        assert_eq!(panics(judgement, &[(0, 3), (0, 2)]), [true, true]);
        assert_eq!(panics(judgement, &[(1, 3), (0, 0)]), [true, false], "backups that are all drained do not help");
        assert_eq!(panics(judgement, &[(0, 0)]), [false], "nothing but orders keeps them out");
        assert_eq!(panics(judgement, &[]), []);
    }

    #[test]
    fn with_spill_a_tier_panics_only_if_all_together_cannot_carry_the_load() {
        let judgement = Judgement { spill: Spill::Overprovisioned(1.4), ..Judgement::default() };
        assert_eq!(panics(judgement, &[(25, 100), (60, 100)]), [false, false], "35 and 84 of 100");
        assert_eq!(panics(judgement, &[(25, 100), (20, 100)]), [true, true]);
        assert_eq!(panics(judgement, &[(10, 100), (50, 100)]), [true, false], "14 and 70 of 100");
    }
}
