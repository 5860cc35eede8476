//! What endpoints report of their own load, kept with each endpoint for the policies `orca` and `c3`.

use std::sync::atomic::Ordering;

use lb_core::{EndpointState, Mono};

/// What an endpoint reports of itself, over its own last moments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadReport {
    /// Requests it answers a second.
    pub requests_per_second: f64,
    /// How busy it is: 0 to 1, above 1 if it is overloaded. The first of named metrics, application utilisation and processor that it reports.
    pub utilization: f64,
    /// Errors it answers a second; multiply them to punish errors harder than A58's default does.
    pub errors_per_second: f64,
}

impl LoadReport {
    /// The requests a second it could answer; none if the report is of no use: no requests, no utilisation, or not a number.
    #[must_use]
    pub fn weight(&self) -> Option<f64> {
        let errors = self.errors_per_second.max(0.0) / self.requests_per_second;
        let weight = self.requests_per_second / (self.utilization + errors);
        (weight.is_finite() && weight > 0.0 && self.utilization > 0.0).then_some(weight)
    }
}

/// Remembers a report: the weight in 24 bits of a float, the seconds of the first and of the last report in 20 bits each.
pub(crate) fn note(state: &EndpointState, report: LoadReport, now: Mono) {
    let Some(weight) = report.weight() else { return };
    let cell = state.report_cell();
    let old = cell.load(Ordering::Relaxed);
    let second = (now.as_millis() / 1_000) & SECONDS;
    let is_new = old == 0 || since(old & SECONDS, second) >= EXPIRY_S;
    let first = if is_new { second } else { old >> 20 & SECONDS };
    let rounded = u64::from((weight.clamp(1e-6, 1e12) as f32).to_bits() >> 8);
    // Two reports at once: either is as good.
    cell.store(rounded << 40 | first << 20 | second, Ordering::Relaxed);
}

/// The requests a second that an endpoint could answer by its reports, if they are valid at `now`.
pub(crate) fn capacity(state: &EndpointState, now: Mono) -> Option<f32> {
    let word = state.report_cell().load(Ordering::Relaxed);
    let second = (now.as_millis() / 1_000) & SECONDS;
    let is_believed =
        word != 0 && since(word >> 20 & SECONDS, second) >= BLACKOUT_S && since(word & SECONDS, second) < EXPIRY_S;
    is_believed.then(|| f32::from_bits(((word >> 40) as u32) << 8))
}

const BLACKOUT_S: u64 = 10;
const EXPIRY_S: u64 = 180;
const SECONDS: u64 = (1 << 20) - 1;

/// Seconds from one to the other on a circle of twelve days; the upper half of it is a clock that went backwards.
fn since(earlier: u64, later: u64) -> u64 {
    let passed = later.wrapping_sub(earlier) & SECONDS;
    if passed > SECONDS / 2 { 0 } else { passed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(requests: f64, utilization: f64, errors: f64) -> LoadReport {
        LoadReport { requests_per_second: requests, utilization, errors_per_second: errors }
    }

    #[test]
    fn a_weight_is_what_it_could_answer_less_for_errors() {
        assert_eq!(report(100.0, 0.5, 0.0).weight(), Some(200.0));
        assert_eq!(report(100.0, 0.5, 50.0).weight(), Some(100.0));
        assert_eq!(report(0.0, 0.5, 0.0).weight(), None);
        assert_eq!(report(100.0, 0.0, 0.0).weight(), None);
        assert_eq!(report(f64::NAN, 0.5, 0.0).weight(), None);
    }

    #[test]
    fn seconds_wrap_around_and_a_clock_that_goes_back_counts_as_zero() {
        assert_eq!(since(5, 3), 0);
        assert_eq!(since(SECONDS - 4, 5), 10);
    }
}
