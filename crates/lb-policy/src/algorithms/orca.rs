//! Weights that follow what endpoints report of themselves: gRPC's `weighted_round_robin` (ORCA).
//!
//! **Source**: gRPC proposal A58 and Envoy's client-side weighted round robin. An endpoint that answers q requests a second at utilisation u could
//! answer q ∕ u: that is its weight; errors count as load, weight = q ∕ (u + errors ∕ q). Turns are taken by `static_stride`. A report is used
//! from 10 s after the first one that followed a pause (a cold endpoint's first figures mean little) until 3 minutes after the last. An endpoint
//! without a valid report has the mean weight of those with one; with fewer than two of them, all weights are equal. **Cost**: that of
//! `static_stride`; once a second one pick takes the reports in, O(n), without allocating.
//!
//! **Use it** where endpoints of unequal size can put one header on their answers. **Do not** where they do not know their utilisation
//! truly: the loop is only as good as its gauge. Configured weights are not used, but for zero.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::algorithms::static_stride::{Stride, stride_policy};
use crate::cluster::view::View;
use crate::context::PickCx;
use crate::estimate::load_report;
use crate::index::Index;
use crate::policy::{Candidate, Choose, Policy};
use crate::signals::Signals;
use crate::witness::Witness;

stride_policy! {
    /// The policy `orca`: turns by the load that endpoints report.
    Orca = "orca"
}

impl Policy for Orca {
    type Table = OrcaTable;

    fn signals(&self) -> Signals {
        Signals::REPORT
    }

    fn build(&self, candidates: &[Candidate<'_>], previous: Option<&Self::Table>) -> Self::Table {
        OrcaTable {
            stride: Stride::new(self.start, candidates, previous.map(|old| &old.stride)),
            indices: candidates.iter().map(|candidate| candidate.index).collect(),
            weighed: AtomicU64::new(NEVER),
        }
    }
}

/// The table of [`Orca`].
#[derive(Debug)]
pub struct OrcaTable {
    stride: Stride,
    indices: Box<[Index]>,
    /// When the reports were last taken in, in milliseconds.
    weighed: AtomicU64,
}

impl Choose for OrcaTable {
    #[inline]
    fn choose<W: Witness>(&self, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
        let now = cx.now.as_millis();
        let weighed = self.weighed.load(Ordering::Relaxed);
        if weighed == NEVER || now.abs_diff(weighed) >= PERIOD_MS {
            let reported = |&index| load_report::capacity(view.state(index)?, cx.now);
            if W::IS_DRY {
                let stride = self.stride.copied();
                stride.weigh(self.indices.iter().map(reported));
                return stride.pick(view, cx);
            }
            // Whoever wins takes the reports in; the others go on with the weights there are.
            let won = self.weighed.compare_exchange(weighed, now, Ordering::Relaxed, Ordering::Relaxed);
            if won.is_ok() {
                self.stride.weigh(self.indices.iter().map(reported));
            }
        }
        self.stride.pick(view, cx)
    }
}

const NEVER: u64 = u64::MAX;
const PERIOD_MS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use lb_core::Mono;

    use super::*;
    use crate::testing::{Bench, letters};
    use crate::{LoadReport, Tried};

    fn report(requests: f64, utilization: f64, errors: f64) -> LoadReport {
        LoadReport { requests_per_second: requests, utilization, errors_per_second: errors }
    }

    fn picks(bench: &Bench<Orca>, second: u64, count: usize) -> Vec<usize> {
        let now = Mono::from_millis(1_000 * second);
        (0..count).map(|_| *bench.pick_with(None, &Tried::new(), now).unwrap().endpoint().value()).collect()
    }

    #[test]
    fn reports_are_used_after_the_blackout_until_they_expire() {
        let bench = Bench::new(Orca::new(), &[1, 1, 1]);
        let endpoints = bench.cluster.endpoints();
        for second in [100, 105, 111] {
            endpoints[0].on_report(report(500.0, 0.5, 0.0), Mono::from_millis(1_000 * second));
            endpoints[1].on_report(report(100.0, 0.5, 0.0), Mono::from_millis(1_000 * second));
            endpoints[2].on_report(report(100.0, 0.5, 0.0), Mono::from_millis(1_000 * second));
        }
        assert_eq!(letters(&picks(&bench, 105, 3)), "abc", "blackout: all equal");
        // 28 steps give 14 picks in the golden order of weights 5, 1, 1, wherever in it the counter stands: ten of them are a's.
        let counted = picks(&bench, 111, 140).iter().filter(|&&place| place == 0).count();
        assert!(counted.abs_diff(100) <= 2, "{counted}");
        let later = picks(&bench, 300, 30).iter().filter(|&&place| place == 0).count();
        assert!(later.abs_diff(10) <= 1, "expired after three minutes: {later}");
    }

    #[test]
    fn an_endpoint_without_reports_has_the_mean() {
        let bench = Bench::new(Orca::new(), &[1, 1, 1]);
        let endpoints = bench.cluster.endpoints();
        for second in [0, 20] {
            endpoints[0].on_report(report(300.0, 1.0, 0.0), Mono::from_millis(1_000 * second));
            endpoints[1].on_report(report(100.0, 1.0, 0.0), Mono::from_millis(1_000 * second));
        }
        let picks = picks(&bench, 21, 600);
        let count = |place| picks.iter().filter(|&&other| other == place).count();
        // Weights 3, 1, 2.
        assert!(count(0).abs_diff(300) <= 3 && count(1).abs_diff(100) <= 3 && count(2).abs_diff(200) <= 3);
    }

    #[test]
    fn picks_go_on_when_the_clock_goes_back() {
        let bench = Bench::new(Orca::new(), &[1, 1]);
        assert_eq!(picks(&bench, 50, 2).len() + picks(&bench, 0, 2).len(), 4);
    }
}
