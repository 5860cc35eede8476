//! C3: the expected response time, with the queue counted to the third power.
//!
//! **Source**: Suresh et al., *C3: Cutting Tail Latency in Cloud Data Stores via Adaptive Replica Selection* (NSDI 2015). The score of an endpoint
//! is Ψ = R − S + q̂³·S: R is the average time to the response head seen from here, S the service time 1 ∕ µ the endpoint reports, and q̂ = 1 +
//! in flight × clients an estimate of its queue; the least wins. The cube keeps the fastest endpoint from being every client's first choice: one
//! four times as fast is asked again only when the other has something to do as well.
//!
//! S comes from load reports ([`Endpoint::on_report`](crate::Endpoint::on_report)) as long as they are valid, by the rules of `orca`: an endpoint that answers
//! X requests a second at utilisation U could answer X ∕ U, and S is the inverse of that. An endpoint without reports has S = R, so that Ψ = q̂³·R.
//! **Cost**: three random numbers, nine loads, at most three exponentials.
//!
//! Departures: three endpoints drawn by weight are compared, the paper's replica group, and not all there are. There is no rate
//! control: limits on requests in flight serve for that. The queue length that the paper's servers send along is not known here, only what is in
//! flight from here, times [`clients`](C3::clients). R − S is at least zero, since a report that is late must not make an endpoint look faster than
//! it is. R fades after one decay without a sample, so that an avoided endpoint is tried again; a failure counts as slow. Scores less than 5 % apart are
//! a tie, which the first draw wins; so idle endpoints of one speed share by weight, and what is in flight counts per weight.
//!
//! **Use it** with endpoints that report, whose speed changes, behind few proxies. **Do not** where they do not report: `peak_ewma` sees a
//! change sooner.

use lb_core::Mono;

use crate::algorithms::alias::Alias;
use crate::algorithms::peak_ewma::{TELLING, faded};
use crate::cluster::view::View;
use crate::context::PickCx;
use crate::estimate::load_report;
use crate::index::Index;
use crate::options::{Configurable, DECAY, Options, PENALTY, PolicyInfo};
use crate::policy::{Candidate, Choose, Policy};
use crate::signals::{Learning, Signals};
use crate::witness::{Step, Witness};

/// The policy `c3`: the best of three by latency and reported load, the queue counted cubed.
#[derive(Clone, Copy, Debug)]
pub struct C3 {
    learning: Learning,
    clients: u32,
}

impl C3 {
    /// With this decay, after which an unheard average fades, and this penalty for failures.
    #[must_use]
    pub const fn new(learning: Learning) -> Self {
        Self { learning, clients: 1 }
    }

    /// Sets how many proxies like this one send to the same endpoints: at least 1, the default.
    #[must_use]
    pub const fn clients(mut self, clients: u32) -> Self {
        self.clients = if clients == 0 { 1 } else { clients };
        self
    }
}

impl Default for C3 {
    fn default() -> Self {
        Self::new(Learning::DEFAULT)
    }
}

impl Configurable for C3 {
    const INFO: PolicyInfo = PolicyInfo::new("c3").options(&[DECAY, PENALTY]);

    fn from_options(options: &Options<'_>) -> Self {
        Self::new(options.learning())
    }
}

impl Policy for C3 {
    type Table = C3Table;

    fn signals(&self) -> Signals {
        Signals::ENTROPY.and(Signals::IN_FLIGHT).and(Signals::AVERAGE).and(Signals::REPORT)
    }

    fn build(&self, candidates: &[Candidate<'_>], _previous: Option<&Self::Table>) -> Self::Table {
        C3Table { policy: *self, alias: Alias::new(candidates) }
    }

    fn learning(&self) -> Learning {
        self.learning
    }
}

/// The table of [`C3`].
#[derive(Debug)]
pub struct C3Table {
    policy: C3,
    alias: Alias,
}

/// The paper's replica group.
const REPLICAS: usize = 3;

impl Choose for C3Table {
    #[inline]
    fn choose<W: Witness>(&self, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
        let now = cx.now;
        let drawn = self.alias.draw_distinct(REPLICAS, view, cx);
        let scored = drawn.as_slice().iter().map(|&index| {
            let score = self.score(view, index, now);
            cx.witness.note(|| Step::Score { endpoint: index, of: "Ψ in ms, least wins", score: score.into() });
            (index, score)
        });
        let best = scored.reduce(|best, next| if next.1 < best.1 * TELLING { next } else { best });
        best.map(|(index, _)| index)
    }
}

impl C3Table {
    fn score(&self, view: &View<'_>, index: Index, now: Mono) -> f32 {
        let Some(state) = view.state(index) else { return f32::INFINITY };
        let in_flight = state.in_flight() as f32 * self.policy.clients as f32;
        let queue = 1.0 + in_flight / f32::from(view.weight(index).value().max(1));
        let response = faded(state, state.average_cell(), self.policy.learning, now);
        let service = load_report::capacity(state, now).map_or(response, |per_second| 1_000.0 / per_second);
        psi(response, service, queue)
    }
}

/// Ψ, in milliseconds.
fn psi(response: f32, service: f32, queue: f32) -> f32 {
    (response - service).max(0.0) + queue * queue * queue * service
}

#[cfg(test)]
mod tests {
    use lb_core::{Class, End};

    use super::*;
    use crate::testing::{Bench, letters};
    use crate::{LoadReport, Ticket, Tried};

    fn pick(bench: &Bench<C3>, now: u64) -> Ticket<usize> {
        bench.pick_with(None, &Tried::new(), Mono::from_millis(now)).unwrap()
    }

    /// Each endpoint has one answer behind it, which took so many milliseconds; it is now `now`.
    fn sampled(policy: C3, took: &[u64], now: u64) -> Bench<C3> {
        let bench = Bench::new(policy, &vec![1; took.len()]);
        let first: Vec<_> = took.iter().map(|_| pick(&bench, now - 100)).collect();
        for mut ticket in first {
            let took = took[*ticket.endpoint().value()];
            ticket.on_head(Class::Status(200), Mono::from_millis(now - 100 + took));
            ticket.on_end(End::Completed, Mono::from_millis(now));
        }
        bench
    }

    fn hold(bench: &Bench<C3>, count: usize, now: u64) -> (String, Vec<Ticket<usize>>) {
        let held: Vec<_> = (0..count).map(|_| pick(bench, now)).collect();
        let places: Vec<_> = held.iter().map(|ticket| *ticket.endpoint().value()).collect();
        (letters(&places), held)
    }

    #[test]
    fn the_score_is_that_of_the_paper() {
        assert_eq!(psi(10.0, 2.0, 3.0), 10.0 - 2.0 + 27.0 * 2.0);
        assert_eq!(psi(10.0, 10.0, 1.0), 10.0, "idle: what it takes");
        assert_eq!(psi(1.0, 4.0, 1.0), 4.0, "a late report does not make it look faster");
    }

    #[test]
    fn without_reports_the_queue_counts_cubed() {
        let bench = sampled(C3::default(), &[10, 40], 1_000);
        // a: 10, 80, 270, 640 with 0, 1, 2, 3 in flight; b: 40, 320.
        let (picked, held) = hold(&bench, 5, 1_000);
        assert_eq!(picked, "abaab");
        drop(held);
        // Three equal proxies: q̂ is 1, 4, 7: a 10, 640; b 40.
        let bench = sampled(C3::default().clients(3), &[10, 40], 1_000);
        assert_eq!(hold(&bench, 3, 1_000).0, "aba", "then b has 64 · 40");
    }

    #[test]
    fn reports_separate_a_long_way_from_a_slow_endpoint() {
        let bench = sampled(C3::default(), &[20, 10], 30_000);
        for second in [15, 30] {
            for (endpoint, capacity) in bench.cluster.endpoints().iter().zip([1_000.0, 100.0]) {
                let report =
                    LoadReport { requests_per_second: capacity / 2.0, utilization: 0.5, errors_per_second: 0.0 };
                endpoint.on_report(report, Mono::from_millis(1_000 * second));
            }
        }
        // a takes 20 ms, of which it works 1; b 10 of 10. a: 20, 27, 46 with 0, 1, 2 in flight; b: 10, 80.
        assert_eq!(hold(&bench, 4, 30_000).0, "baaa");
    }

    #[test]
    fn an_outcast_is_tried_again() {
        let bench = sampled(C3::default(), &[90, 1], 1_000);
        assert_eq!(hold(&bench, 1, 1_000).0, "b");
        // b keeps answering in a millisecond; a has no sample for a decay of 10 s and fades below that after five more.
        let mut asked = 0;
        for now in (2_000..80_000).step_by(500) {
            let mut ticket = pick(&bench, now);
            asked += usize::from(*ticket.endpoint().value() == 0);
            let took = if *ticket.endpoint().value() == 0 { 90 } else { 1 };
            ticket.on_head(Class::Status(200), Mono::from_millis(now + took));
        }
        // Each answer of 90 ms renews an average of 90: at about 56 s it is asked once.
        assert_eq!(asked, 1);
    }
}
