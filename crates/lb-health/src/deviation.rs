//! Outliers by comparison: which endpoints of a cluster do worse than the rest.
//!
//! A fixed threshold does not know what is normal for a service. These detectors look at all endpoints of a cluster at
//! the end of an interval and draw a line below the crowd. There are three, and they differ in what they are blind to:
//!
//! - [`SuccessRate`] (Envoy): mean − 1.9 σ. The bad ones move the mean and widen σ themselves: if a share p of the
//!   endpoints is equally bad, each is `√((1−p)/p)` σ below, which exceeds 1.9 only for p < 21.7 %. One of four is
//!   never seen.
//! - [`MedianDeviation`]: median − 3 · 1.4826 · MAD, the median absolute deviation from the median. Neither moves
//!   before half of the endpoints are bad.
//! - [`FailurePercentage`] (Envoy): a fixed line after all, for when everything is bad.
//!
//! They only judge. Whether an endpoint that is judged is ejected is up to the cluster's
//! [`EjectionCap`](crate::EjectionCap). An endpoint with fewer requests than `min_requests` is neither judged nor
//! counted.

use crate::window::Counts;

/// The mean less so many standard deviations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SuccessRate {
    /// With fewer endpoints to compare there is no line; default 5, at least one.
    pub min_endpoints: usize,
    /// Requests an endpoint must have had; default 100.
    pub min_requests: u64,
    /// How many standard deviations below the mean; default 1.9.
    pub stdev_factor: f64,
}

impl Default for SuccessRate {
    fn default() -> Self {
        Self { min_endpoints: 5, min_requests: 100, stdev_factor: 1.9 }
    }
}

impl SuccessRate {
    /// The success rate below which an endpoint is an outlier; none if there are too few to compare.
    #[must_use]
    pub fn threshold(&self, endpoints: &[Counts]) -> Option<f64> {
        let rates = rates(endpoints, self.min_requests, self.min_endpoints)?;
        let mean = rates.iter().sum::<f64>() / rates.len() as f64;
        let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / rates.len() as f64;
        Some(mean - self.stdev_factor * variance.sqrt())
    }

    /// Whether an endpoint lies below this threshold.
    #[must_use]
    pub fn is_outlier(&self, endpoint: &Counts, threshold: f64) -> bool {
        endpoint.total() >= self.min_requests.max(1) && endpoint.success_rate() < threshold
    }
}

/// The median less so many median absolute deviations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MedianDeviation {
    /// With fewer endpoints to compare there is no line; default 3, since of two nobody knows which is the odd one.
    pub min_endpoints: usize,
    /// Requests an endpoint must have had; default 100.
    pub min_requests: u64,
    /// How many deviations below the median, in units of a normal distribution's σ; default 3.
    pub factor: f64,
    /// At least so far below the median, 0 to 1: in a crowd that is all alike the deviation is zero, and one
    /// failure would be an outlier; default 0.05.
    pub min_distance: f64,
}

impl Default for MedianDeviation {
    fn default() -> Self {
        Self { min_endpoints: 3, min_requests: 100, factor: 3.0, min_distance: 0.05 }
    }
}

/// Makes the MAD of a normal distribution its σ: 1 / Φ⁻¹(3/4).
const MAD_TO_SIGMA: f64 = 1.482_602_218_505_602;

impl MedianDeviation {
    /// The success rate below which an endpoint is an outlier; none if there are too few to compare.
    #[must_use]
    pub fn threshold(&self, endpoints: &[Counts]) -> Option<f64> {
        let mut rates = rates(endpoints, self.min_requests, self.min_endpoints)?;
        let median = median(&mut rates)?;
        let mut distances: Vec<f64> = rates.iter().map(|rate| (rate - median).abs()).collect();
        let sigma = self::median(&mut distances)? * MAD_TO_SIGMA;
        Some(median - (self.factor * sigma).max(self.min_distance))
    }

    /// Whether an endpoint lies below this threshold.
    #[must_use]
    pub fn is_outlier(&self, endpoint: &Counts, threshold: f64) -> bool {
        endpoint.total() >= self.min_requests.max(1) && endpoint.success_rate() < threshold
    }
}

/// A fixed share of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailurePercentage {
    /// From so many failures in a hundred on, an endpoint is an outlier; default 85.
    pub threshold_percent: u8,
    /// With fewer endpoints that had requests enough nobody is; default 5.
    pub min_endpoints: usize,
    /// Requests an endpoint must have had; default 50.
    pub min_requests: u64,
}

impl Default for FailurePercentage {
    fn default() -> Self {
        Self { threshold_percent: 85, min_endpoints: 5, min_requests: 50 }
    }
}

impl FailurePercentage {
    /// Which endpoints are outliers, by their place in the slice.
    pub fn outliers<'a>(&'a self, endpoints: &'a [Counts]) -> impl Iterator<Item = usize> + 'a {
        let is_judged = |endpoint: &Counts| endpoint.total() >= self.min_requests.max(1);
        let enough = endpoints.iter().filter(|endpoint| is_judged(endpoint)).count() >= self.min_endpoints;
        let outlier =
            move |endpoint: &Counts| enough && is_judged(endpoint) && endpoint.is_failing(self.threshold_percent);
        endpoints.iter().enumerate().filter(move |(_, endpoint)| outlier(endpoint)).map(|(place, _)| place)
    }
}

/// The rates of those who had enough requests, if they are enough.
fn rates(endpoints: &[Counts], min_requests: u64, min_endpoints: usize) -> Option<Vec<f64>> {
    let judged = endpoints.iter().filter(|endpoint| endpoint.total() >= min_requests.max(1));
    let rates: Vec<f64> = judged.map(Counts::success_rate).collect();
    (rates.len() >= min_endpoints.max(1)).then_some(rates)
}

/// Of an even number, the mean of the middle two. Sorts.
fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    /// A hundred requests each, of which so many succeeded.
    fn endpoints(successes: &[u64]) -> Vec<Counts> {
        successes.iter().map(|successes| Counts { successes: *successes, failures: 100 - successes }).collect()
    }

    #[test]
    fn envoys_example_draws_the_line_at_52_percent() {
        let rule = SuccessRate::default();
        let cluster = endpoints(&[50, 100, 100, 100, 100]);
        let threshold = rule.threshold(&cluster).unwrap();
        assert!((threshold - 0.52).abs() < 1e-12, "{threshold}");
        let outliers: Vec<bool> = cluster.iter().map(|endpoint| rule.is_outlier(endpoint, threshold)).collect();
        assert_eq!(outliers, [true, false, false, false, false]);
    }

    #[test]
    fn the_mean_is_blind_to_one_of_four_and_the_median_is_not() {
        let cluster = endpoints(&[0, 100, 100, 100]);
        let by_mean = SuccessRate { min_endpoints: 1, ..SuccessRate::default() };
        assert!(!by_mean.is_outlier(&cluster[0], by_mean.threshold(&cluster).unwrap()));
        let by_median = MedianDeviation::default();
        let threshold = by_median.threshold(&cluster).unwrap();
        assert!((threshold - 0.95).abs() < 1e-12, "{threshold}");
        assert!(by_median.is_outlier(&cluster[0], threshold));
    }

    #[test]
    fn the_median_sees_four_bad_of_nine() {
        let cluster = endpoints(&[60, 97, 61, 98, 99, 62, 96, 63, 97]);
        // Median 96, distances 36 1 35 2 3 34 0 33 1: their median 3; 96 − 3 · 1.4826 · 3 = 82.66.
        let rule = MedianDeviation::default();
        let threshold = rule.threshold(&cluster).unwrap();
        assert!((threshold - 0.826_565_8).abs() < 1e-6, "{threshold}");
        assert_eq!(cluster.iter().filter(|endpoint| rule.is_outlier(endpoint, threshold)).count(), 4);
    }

    #[test]
    fn a_crowd_that_is_all_alike_has_no_outliers() {
        for level in [0, 40, 100] {
            let cluster = endpoints(&[level; 6]);
            let threshold = SuccessRate::default().threshold(&cluster).unwrap();
            assert!(!SuccessRate::default().is_outlier(&cluster[0], threshold - 1e-9));
            let threshold = MedianDeviation::default().threshold(&cluster).unwrap();
            assert!(!MedianDeviation::default().is_outlier(&cluster[0], threshold));
        }
        let nearly = endpoints(&[96, 100, 100, 100]);
        let threshold = MedianDeviation::default().threshold(&nearly).unwrap();
        assert!(!MedianDeviation::default().is_outlier(&nearly[0], threshold), "four failures of a hundred are noise");
    }

    #[test]
    fn too_few_endpoints_or_requests_are_not_compared() {
        assert_eq!(SuccessRate::default().threshold(&endpoints(&[0, 100, 100, 100])), None);
        assert_eq!(SuccessRate { min_endpoints: 0, ..SuccessRate::default() }.threshold(&[]), None);
        assert_eq!(MedianDeviation::default().threshold(&endpoints(&[0, 100])), None);
        let quiet = Counts { successes: 0, failures: 99 };
        let mut cluster = endpoints(&[100, 100, 100, 100]);
        cluster.push(quiet);
        assert_eq!(SuccessRate::default().threshold(&cluster), None);
        assert!(!SuccessRate::default().is_outlier(&quiet, 0.5));
        assert!(!MedianDeviation { min_requests: 0, ..MedianDeviation::default() }.is_outlier(&Counts::default(), 2.0));
    }

    #[test]
    fn a_fixed_share_judges_even_when_all_are_bad() {
        let rule = FailurePercentage::default();
        let outliers = |successes: &[u64]| rule.outliers(&endpoints(successes)).collect::<Vec<_>>();
        assert_eq!(outliers(&[15, 16, 0, 100, 14]), [0, 2, 4]);
        assert_eq!(outliers(&[0, 0, 0, 0]), [0_usize; 0], "four are too few");
        assert_eq!(outliers(&[]), [0_usize; 0]);
    }
}
