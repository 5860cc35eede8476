//! Priorities: which tier of endpoints serves, how much spills to the next, and when health is ignored.
//!
//! Two products mean two things by it. nginx's `backup` serves only when no primary can: nothing moves before the last primary is gone. Envoy
//! lets load spill in proportion to what a tier has lost, with a margin: a tier that is 72 % healthy still carries all (× 1.4),
//! one that is half healthy 70 %. The first is simple and right for a stand-in; the second avoids overloading the remaining endpoints.
//!
//! Panic: when too few of a tier's endpoints pass their checks, more likely the checks are wrong than all of them, and sending the
//! whole load to the few would overload them. So failing checks may be ignored below a threshold, unless another tier can take the
//! load. What real traffic has shown is stronger evidence than a check: an ejection neither brings this about nor is undone by it,
//! or else the second ejection of three endpoints would send two thirds of the requests back to the two that were just found bad.
//!
//! Where no endpoint at all is eligible, any is better than a refusal. The order is: those that only cool down, which are well and no
//! matter of panic; those that only fail a check; then those that pass their check and were ejected by traffic; then the rest of those
//! that nothing but their health keeps out. Back-pressure of these counts no more.
//!
//! Source: Envoy's `load_balancer_impl` (priority levels, panic threshold), nginx's backup servers.

use lb_core::{Axis, EndpointState, Ignored};

/// When a tier's load goes to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Spill {
    /// When none of the tier can take the request (nginx's `backup`).
    #[default]
    WhenExhausted,
    /// In proportion: a tier carries its eligible share times this factor, at most all of it. At least 1; Envoy's default is 1.4.
    Overprovisioned(f64),
}

/// When health is ignored. Orders, weight zero, unresolved and removed never are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum PanicMode {
    /// Never: where no endpoint is eligible, picks fail.
    Never,
    /// Where no endpoint of the cluster is eligible. The default: a refusal helps no client.
    #[default]
    NoneLeft,
    /// There, and besides a tier's failing checks while the share of its endpoints that pass them is strictly below this: two of four
    /// are not below 0.5. Counted are those that nothing but their health could keep out; ejections and breakers neither count nor
    /// are ignored, and no tier panics while another can take its load. A value that is no number counts as 0, which nothing is below.
    Below(f64),
}

/// The rules that tiers are judged by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TierRules {
    pub(crate) panic: PanicMode,
    pub(crate) spill: Spill,
}

/// A tier's head count, of those that nothing but their health could keep out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TierHealth {
    /// Eligible.
    pub(crate) well: u32,
    /// They are well, and cool down.
    pub(crate) cooling: u32,
    /// They fail their checks, and traffic has shown nothing against them.
    pub(crate) failing: u32,
    /// They pass their checks, and traffic has shown that they fail.
    pub(crate) ejected: u32,
    /// Both.
    pub(crate) failing_and_ejected: u32,
}

/// What follows for a tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) ignored: Ignored,
    /// Of 100; only meaningful if load spills.
    pub(crate) load: u32,
}

impl TierHealth {
    /// Counts an endpoint; if `also` is given, as if that reason were set too.
    pub(crate) fn count(&mut self, state: &EndpointState, also: Option<Axis>) {
        let can_be_ignored = |axis| matches!(axis, Axis::Check | Axis::Ejected | Axis::Breaker | Axis::CoolDown);
        let ignored = Ignored::HEALTH.and(Ignored::COOL_DOWNS);
        if !state.is_eligible_ignoring(ignored) || !also.is_none_or(can_be_ignored) {
            return;
        }
        let is_set = |axis| state.is_set(axis) || also == Some(axis);
        let count = match (is_set(Axis::Check), is_set(Axis::Ejected) || is_set(Axis::Breaker)) {
            (false, false) if is_set(Axis::CoolDown) => &mut self.cooling,
            (false, false) => &mut self.well,
            (true, false) => &mut self.failing,
            (false, true) => &mut self.ejected,
            (true, true) => &mut self.failing_and_ejected,
        };
        *count += 1;
    }

    pub(crate) fn eligible(&self) -> u32 {
        self.well
    }

    fn able(&self) -> u32 {
        self.well + self.cooling + self.failing + self.ejected + self.failing_and_ejected
    }

    /// Whatever traffic has shown.
    fn passing(&self) -> u32 {
        self.well + self.cooling + self.ejected
    }

    /// Those that may be picked while this is ignored.
    fn serving(&self, ignored: Ignored) -> u32 {
        match ignored {
            Ignored::NOTHING => self.well,
            Ignored::COOL_DOWNS => self.well + self.cooling,
            CHECKS => self.well + self.cooling + self.failing,
            TRAFFIC => self.passing(),
            _ => self.able(),
        }
    }
}

impl TierRules {
    pub(crate) fn is_spilling(&self) -> bool {
        matches!(self.spill, Spill::Overprovisioned(_))
    }

    pub(crate) fn judge(&self, tiers: &[TierHealth]) -> Vec<Verdict> {
        let ignored = self.ignored(tiers);
        let loads = match self.spill {
            Spill::WhenExhausted => vec![0; tiers.len()],
            Spill::Overprovisioned(factor) => loads(tiers, &ignored, factor),
        };
        ignored.into_iter().zip(loads).map(|(ignored, load)| Verdict { ignored, load }).collect()
    }

    /// What is ignored in each tier.
    fn ignored(&self, tiers: &[TierHealth]) -> Vec<Ignored> {
        if tiers.iter().all(|tier| tier.eligible() == 0) {
            return vec![self.where_none_is_left(tiers); tiers.len()];
        }
        let PanicMode::Below(share) = self.panic else { return vec![Ignored::NOTHING; tiers.len()] };
        let is_low = |tier: &TierHealth| f64::from(tier.passing()) < share * f64::from(tier.able());
        let others_suffice = match self.spill {
            Spill::WhenExhausted => tiers.iter().any(|tier| tier.passing() > 0 && !is_low(tier)),
            Spill::Overprovisioned(factor) => {
                tiers.iter().map(|tier| capacity(tier.passing(), tier.able(), factor)).sum::<u32>() >= 100
            }
        };
        let panics = |tier| !others_suffice && is_low(tier);
        tiers.iter().map(|tier| if panics(tier) { Ignored::CHECKS } else { Ignored::NOTHING }).collect()
    }

    /// The same in all tiers: a backup that fails a check comes before a primary that traffic has shown to fail.
    fn where_none_is_left(&self, tiers: &[TierHealth]) -> Ignored {
        if self.panic == PanicMode::Never {
            let is_any_cooling = tiers.iter().any(|tier| tier.cooling > 0);
            return if is_any_cooling { Ignored::COOL_DOWNS } else { Ignored::NOTHING };
        }
        let orders = [Ignored::COOL_DOWNS, CHECKS, TRAFFIC, HEALTH];
        let serves = |&ignored: &Ignored| tiers.iter().any(|tier| tier.serving(ignored) > 0);
        orders.into_iter().find(serves).unwrap_or(Ignored::NOTHING)
    }
}

/// Where health is ignored because no endpoint is left, none is spared for its back-pressure.
const CHECKS: Ignored = Ignored::CHECKS.and(Ignored::COOL_DOWNS);
const TRAFFIC: Ignored = Ignored::TRAFFIC.and(Ignored::COOL_DOWNS);
const HEALTH: Ignored = Ignored::HEALTH.and(Ignored::COOL_DOWNS);

/// What each tier carries, of 100.
fn loads(tiers: &[TierHealth], ignored: &[Ignored], factor: f64) -> Vec<u32> {
    let capacities: Vec<u32> = tiers.iter().map(|tier| capacity(tier.eligible(), tier.able(), factor)).collect();
    let total = capacities.iter().sum::<u32>().min(100);
    // Where all ignore health, what is known of it divides nothing: by head count.
    if ignored.iter().all(|&ignored| ignored != Ignored::NOTHING) {
        let heads: Vec<u32> = tiers.iter().zip(ignored).map(|(tier, &ignored)| tier.serving(ignored)).collect();
        return shares_of_100(&heads, heads.iter().sum());
    }
    shares_of_100(&capacities, total)
}

/// What a tier can carry of the whole load, of 100, with so many of its endpoints.
fn capacity(well: u32, able: u32, factor: f64) -> u32 {
    if able == 0 {
        return 0;
    }
    let factor = if factor.is_nan() { 1.4 } else { factor.max(1.0) };
    // The tiny addend undoes what binary fractions take from whole results, as 1.4 · 50 = 69.999….
    (100.0 * factor * f64::from(well) / f64::from(able) + 1e-9).min(100.0) as u32
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

    fn below(share: f64) -> TierRules {
        TierRules { panic: PanicMode::Below(share), ..TierRules::default() }
    }

    fn spilling(rules: TierRules) -> TierRules {
        TierRules { spill: Spill::Overprovisioned(1.4), ..rules }
    }

    /// A tier of so many endpoints that could serve, so many of which fail their check.
    fn of(well: u32, able: u32) -> TierHealth {
        TierHealth { well, failing: able - well, ..TierHealth::default() }
    }

    /// Loads of tiers of a hundred endpoints, so many of each eligible.
    fn loads(eligible: &[u32]) -> Vec<u32> {
        let rules = spilling(TierRules { panic: PanicMode::Never, ..TierRules::default() });
        let tiers: Vec<_> = eligible.iter().map(|&eligible| of(eligible, 100)).collect();
        rules.judge(&tiers).iter().map(|verdict| verdict.load).collect()
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
        let verdicts = spilling(below(0.5)).judge(&[of(0, 60), of(1, 60)]);
        assert_eq!(verdicts, [Verdict { ignored: Ignored::CHECKS, load: 50 }; 2]);
        let verdicts = spilling(TierRules::default()).judge(&[of(0, 20), of(0, 60)]);
        assert_eq!(verdicts.iter().map(|verdict| verdict.load).collect::<Vec<_>>(), [25, 75], "none is left");
    }

    #[test]
    fn loads_always_make_a_hundred() {
        for a in (0..=100).step_by(7) {
            for b in (0..=100).step_by(9) {
                for c in (0..=100).step_by(11) {
                    let expected = if (a, b, c) == (0, 0, 0) { 0 } else { 100 };
                    assert_eq!(loads(&[a, b, c]).iter().sum::<u32>(), expected, "{a} {b} {c}");
                }
            }
        }
        assert_eq!(loads(&[]), []);
    }

    fn panics(rules: TierRules, tiers: &[(u32, u32)]) -> Vec<bool> {
        let tiers: Vec<_> = tiers.iter().map(|&(well, able)| of(well, able)).collect();
        rules.judge(&tiers).iter().map(|verdict| verdict.ignored != Ignored::NOTHING).collect()
    }

    #[test]
    fn a_tier_panics_only_if_no_other_is_well() {
        let rules = below(0.5);
        assert_eq!(panics(rules, &[(1, 3)]), [true]);
        assert_eq!(panics(rules, &[(2, 4)]), [false], "exactly half");
        assert_eq!(panics(rules, &[(1, 3), (2, 2)]), [false, false], "the backups are well");
        assert_eq!(panics(rules, &[(0, 3), (0, 2)]), [true, true]);
        assert_eq!(panics(rules, &[(1, 3), (0, 0)]), [true, false], "backups that are all drained do not help");
        assert_eq!(panics(rules, &[(0, 0)]), [false], "nothing but orders keeps them out");
        assert_eq!(panics(rules, &[]), []);
        assert_eq!(panics(below(f64::NAN), &[(1, 30)]), [false]);
    }

    #[test]
    fn with_spill_a_tier_panics_only_if_all_together_cannot_carry_the_load() {
        let rules = spilling(below(0.5));
        assert_eq!(panics(rules, &[(25, 100), (60, 100)]), [false, false], "35 and 84 of 100");
        assert_eq!(panics(rules, &[(25, 100), (20, 100)]), [true, true]);
        assert_eq!(panics(rules, &[(10, 100), (50, 100)]), [true, false], "14 and 70 of 100");
    }

    #[test]
    fn by_default_nothing_is_ignored_while_one_is_eligible() {
        for able in 1..40 {
            assert_eq!(panics(TierRules::default(), &[(1, able), (0, 9)]), [false, false], "{able}");
        }
    }

    #[test]
    fn an_ejection_neither_brings_panic_about_nor_ends_it_nor_is_undone_by_it() {
        for (well, failing) in [(3, 0), (2, 1), (2, 2), (4, 3), (2, 4), (9, 9)] {
            let before = below(0.5).judge(&[of(well, well + failing)])[0].ignored;
            for ejected in 1..well {
                let tier = TierHealth { well: well - ejected, failing, ejected, ..TierHealth::default() };
                assert_eq!(below(0.5).judge(&[tier])[0].ignored, before, "{tier:?}");
            }
            for both in 1..=failing {
                let tier =
                    TierHealth { well, failing: failing - both, failing_and_ejected: both, ..TierHealth::default() };
                assert_eq!(below(0.5).judge(&[tier])[0].ignored, before, "{tier:?}");
            }
            assert!(matches!(before, Ignored::NOTHING | Ignored::CHECKS), "{before:?}");
        }
        // Nor does one among the backups.
        let backups = TierHealth { ejected: 2, ..TierHealth::default() };
        assert_eq!(below(0.5).judge(&[of(1, 3), backups])[0].ignored, Ignored::NOTHING);
    }

    #[test]
    fn where_none_is_left_those_that_fail_a_check_come_before_those_that_failed_requests() {
        let tier = |failing, ejected, both| TierHealth {
            failing,
            ejected,
            failing_and_ejected: both,
            ..TierHealth::default()
        };
        for (tiers, expected) in [
            (vec![tier(1, 2, 1)], CHECKS),
            (vec![tier(0, 2, 0), tier(1, 0, 0)], CHECKS),
            (vec![tier(0, 1, 2)], TRAFFIC),
            (vec![tier(0, 0, 2)], HEALTH),
            (vec![tier(0, 0, 0)], Ignored::NOTHING),
        ] {
            for rules in [TierRules::default(), below(0.5), below(0.0), spilling(below(0.5))] {
                let verdicts = rules.judge(&tiers);
                assert!(verdicts.iter().all(|verdict| verdict.ignored == expected), "{tiers:?} {rules:?}");
            }
            let never = TierRules { panic: PanicMode::Never, ..TierRules::default() };
            assert!(never.judge(&tiers).iter().all(|verdict| verdict.ignored == Ignored::NOTHING));
        }
    }

    #[test]
    fn endpoints_that_cool_down_are_used_before_any_that_are_not_well() {
        let cooling = |cooling, failing, ejected| TierHealth { cooling, failing, ejected, ..TierHealth::default() };
        for panic in [PanicMode::NoneLeft, PanicMode::Never, PanicMode::Below(0.5)] {
            let rules = TierRules { panic, ..TierRules::default() };
            let ignored = |tiers: &[TierHealth]| rules.judge(tiers).iter().map(|it| it.ignored).collect::<Vec<_>>();
            assert_eq!(ignored(&[cooling(1, 1, 0)]), [Ignored::COOL_DOWNS], "{panic:?}");
            assert_eq!(ignored(&[cooling(0, 1, 1), cooling(1, 0, 0)]), [Ignored::COOL_DOWNS; 2], "{panic:?}");
            assert_eq!(ignored(&[TierHealth { well: 1, ..cooling(2, 0, 0) }]), [Ignored::NOTHING], "{panic:?}");
        }
        // It is well: two of three that cool down bring no panic about.
        assert_eq!(panics(below(0.5), &[(3, 3)]), [false]);
        assert_eq!(below(0.5).judge(&[TierHealth { well: 1, ..cooling(2, 0, 0) }])[0].ignored, Ignored::NOTHING);
    }
}
