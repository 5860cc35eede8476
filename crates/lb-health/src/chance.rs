//! Exact chances of counts, for small and large numbers of requests.
//!
//! Standard deviations describe a normal distribution; failures are rare, and twenty requests are few. There a
//! line at so many deviations is wrong by orders of magnitude. Both functions here are sums of exact terms: no
//! approximation but that of `f64`, and of Stirling's series for factorials above 16 (relative error below 10⁻¹⁰).
//!
//! A call costs some hundred nanoseconds; it is meant for failures and timers, not for every request.

use crate::window::Counts;

/// Fisher's exact test, one-sided: if an endpoint and the others fail equally often, the chance that of all the
/// failures there were as many as `own.failures` or more fall to it. One if it fails no more often than they do.
pub(crate) fn of_share(own: Counts, others: Counts) -> f64 {
    if !fails_more(own, others) {
        return 1.0;
    }
    let all = own.and(&others);
    let (failures, successes, n) = (all.failures, all.successes, own.total());
    let first = ln_choose(failures, own.failures) + ln_choose(successes, own.successes) - ln_choose(all.total(), n);
    sum_of_tail(first, own.failures, n.min(failures), |x| {
        let (x, left) = (x as f64, n - x);
        (left as f64 / (x + 1.0)) * ((failures as f64 - x) / (successes as f64 - left as f64 + 1.0))
    })
}

/// The chance that of `own.total()` requests as many as `own.failures` or more fail, after what `before` has shown, if
/// nothing was known before that (the beta-binomial distribution of Bayes and Laplace, with an even prior). One if
/// the failures are no more than expected.
pub(crate) fn of_run(own: Counts, before: Counts) -> f64 {
    // The estimate after `before` is (failures + 1) / (total + 2).
    let expected = before.and(&Counts { successes: 1, failures: 1 });
    if !fails_more(own, expected) {
        return 1.0;
    }
    let (n, all) = (own.total(), own.and(&before));
    let first = ln_choose(all.failures, own.failures) + ln_choose(all.successes, own.successes)
        - ln_choose(all.total().saturating_add(1), n);
    sum_of_tail(first, own.failures, n, |x| {
        let (x, left) = (x as f64, (n - x) as f64);
        ((before.failures as f64 + x + 1.0) / (x + 1.0)) * (left / (before.successes as f64 + left))
    })
}

/// Whether the share of failures is larger than in `than`.
fn fails_more(own: Counts, than: Counts) -> bool {
    u128::from(own.failures) * u128::from(than.total()) > u128::from(than.failures) * u128::from(own.total())
}

/// The terms from `from` to `to`, of which the first has this logarithm, and each next one is `ratio(x)` times that
/// of `x`. They fall, since `from` lies above the mean; so the sum ends where they no longer matter.
fn sum_of_tail(ln_first: f64, from: u64, to: u64, ratio: impl Fn(u64) -> f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for x in from..to {
        term *= ratio(x);
        sum += term;
        if term < sum * 1e-9 {
            break;
        }
    }
    (ln_first.exp() * sum).min(1.0)
}

fn ln_choose(n: u64, k: u64) -> f64 {
    ln_factorial(n) - ln_factorial(k) - ln_factorial(n.saturating_sub(k))
}

fn ln_factorial(n: u64) -> f64 {
    const HALF_LN_TWO_PI: f64 = 0.918_938_533_204_672_7;
    if n < 16 {
        return (2..=n).map(|factor| factor as f64).product::<f64>().ln();
    }
    let n = n as f64;
    n * n.ln() - n + 0.5 * n.ln() + HALF_LN_TWO_PI + 1.0 / (12.0 * n) - 1.0 / (360.0 * n * n * n)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn counts(failures: u64, total: u64) -> Counts {
        Counts { successes: total - failures, failures }
    }

    fn close(value: f64, expected: f64) {
        assert!((value / expected - 1.0).abs() < 1e-6, "{value:e} {expected:e}");
    }

    #[test]
    fn shares_by_hand() {
        // All three failures of nine requests with one of three endpoints: 1 / C(9, 3).
        close(of_share(counts(3, 3), counts(0, 6)), 1.0 / 84.0);
        // Lady tasting tea, three of four right: (C(4,3)·C(4,1) + 1) / C(8,4) = 17 / 70.
        close(of_share(counts(3, 4), counts(1, 4)), 17.0 / 70.0);
        // Eight of twenty and none of forty: C(20,8) / C(60,8).
        close(of_share(counts(8, 20), counts(0, 40)), 125_970.0 / 2_558_620_845.0);
    }

    #[test]
    fn runs_by_hand() {
        // Laplace's rule of succession, three times: 1/42 · 2/43 · 3/44.
        close(of_run(counts(3, 3), counts(0, 40)), 6.0 / (42.0 * 43.0 * 44.0));
        // Nothing known: each number of failures is as likely, 1 / 4.
        close(of_run(counts(3, 3), Counts::default()), 0.25);
        // Two or three of three after one of two: x failures have (x+1)·(4−x) / 20: 6/20 + 4/20.
        close(of_run(counts(2, 3), counts(1, 2)), 0.5);
    }

    #[test]
    fn large_numbers_come_to_the_normal_and_poisson_limits() {
        // Expected 1000 of 100 000, seen 1100: z = 100 / √(1000 · 0.99 · (1 + 1/100)) ≈ 3.146; 1 − Φ(3.146) ≈ 8.3e-4.
        let chance = of_share(counts(1_100, 100_000), counts(100_000, 10_000_000));
        assert!((6e-4..1.1e-3).contains(&chance), "{chance:e}");
        let chance = of_run(counts(10, 1_000), counts(1_000, 1_000_000));
        // Poisson with mean 1: P(≥ 10) = 1.11e-7.
        assert!((1.0e-7..1.3e-7).contains(&chance), "{chance:e}");
        close(ln_factorial(20), 2_432_902_008_176_640_000_f64.ln());
    }

    #[test]
    fn no_more_failures_than_expected_are_certain() {
        for (own, others) in [(counts(0, 0), counts(0, 0)), (counts(1, 4), counts(5, 20)), (counts(0, 9), counts(3, 9))]
        {
            assert_eq!(of_share(own, others), 1.0);
        }
        assert_eq!(of_share(counts(3, 3), Counts::default()), 1.0, "compared with none");
        assert_eq!(of_run(counts(1, 40), counts(2, 40)), 1.0);
    }

    #[test]
    fn chances_stay_chances_for_all_small_counts() {
        for (n, m) in [(1, 1), (3, 9), (20, 1), (7, 40)] {
            for (f, g) in (0..=n).flat_map(|f| (0..=m).map(move |g| (f, g))) {
                for chance in [of_share(counts(f, n), counts(g, m)), of_run(counts(f, n), counts(g, m))] {
                    assert!(chance > 0.0 && chance <= 1.0, "{f}/{n} {g}/{m}: {chance}");
                }
            }
        }
        let most = Counts { successes: 1 << 60, failures: 1 << 60 };
        assert!(of_share(most, counts(1, 1_000)) <= 1.0);
    }
}
