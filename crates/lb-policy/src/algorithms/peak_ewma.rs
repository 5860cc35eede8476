//! Power of two choices on latency: peak EWMA.
//!
//! **Source**: Finagle's `PeakEwma`, as tower and linkerd took it over. The load of an endpoint is its estimated time to the response head
//! times (in flight + 1). The estimate jumps to any slower sample at once and comes down with a decay of 10 s. Without
//! samples it is kept for one decay and then fades towards zero, so that an endpoint that was slow is tried again. (They let it fade
//! from the first moment; then of two equal ones the one asked last always looks slower, and weights lose their meaning.) It is maintained in
//! `latency.rs`: a failure counts as 5 s, so that failing fast does not look like being fast. **Cost**: two random numbers, four
//! loads, at most two exponentials (short polynomials); one compare-and-swap when a response head comes.
//!
//! An endpoint without any sample counts as nothing while it is idle, and as a failure while its first answer is awaited: it
//! gets a single first request, not a flood. (Assuming some latency for it would starve it beside faster ones.)
//!
//! Weights: draws are in proportion to weight, and what is in flight counts per weight; latency is not divided by weight, since a
//! bigger endpoint shows its size in what it can carry and not in how fast it answers.
//!
//! **Use it** when endpoints differ in speed or may become slow: other tenants, garbage collection, cold caches. **Do not** when
//! one endpoint legitimately serves slower requests than others; it measures the requests as much as the endpoints.

use std::sync::atomic::AtomicU64;

use lb_core::{EndpointState, Mono};

use crate::algorithms::alias::Alias;
use crate::cluster::view::View;
use crate::context::PickCx;
use crate::estimate::latency;
use crate::index::Index;
use crate::options::{Configurable, DECAY, Options, PENALTY, PolicyInfo};
use crate::policy::{Candidate, Choose, Policy};
use crate::signals::{Learning, Signals};
use crate::witness::Witness;

/// The policy `peak_ewma`: the less loaded of two, by latency.
#[derive(Clone, Copy, Debug, Default)]
pub struct PeakEwma {
    learning: Learning,
}

impl PeakEwma {
    /// With this decay and penalty.
    #[must_use]
    pub const fn new(learning: Learning) -> Self {
        Self { learning }
    }
}

impl Configurable for PeakEwma {
    const INFO: PolicyInfo = PolicyInfo::new("peak_ewma").options(&[DECAY, PENALTY]);

    fn from_options(options: &Options<'_>) -> Self {
        Self::new(options.learning())
    }
}

impl Policy for PeakEwma {
    type Table = PeakEwmaTable;

    fn signals(&self) -> Signals {
        Signals::ENTROPY.and(Signals::IN_FLIGHT).and(Signals::LATENCY)
    }

    fn build(&self, candidates: &[Candidate<'_>], _previous: Option<&Self::Table>) -> Self::Table {
        PeakEwmaTable { alias: Alias::new(candidates), learning: self.learning }
    }

    fn learning(&self) -> Learning {
        self.learning
    }
}

/// The table of [`PeakEwma`].
#[derive(Debug)]
pub struct PeakEwmaTable {
    alias: Alias,
    learning: Learning,
}

impl Choose for PeakEwmaTable {
    #[inline]
    fn choose<W: Witness>(&self, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
        let now = cx.now;
        let load = |index| load(view, index, self.learning, now);
        self.alias.lightest_of(
            2,
            view,
            cx,
            EXPECTED,
            |index| load(index).into(),
            |one, other| load(one) < load(other) * TELLING,
        )
    }
}

/// What explanations call a load.
const EXPECTED: &str = "expected ms × (in flight per weight + 1), least wins";

/// Loads less than 5 % apart are a tie, which the first draw wins: without it a millionth of a millisecond would decide for ever.
pub(crate) const TELLING: f32 = 0.95;

/// Estimated milliseconds until a request sent there now has its response head.
fn load(view: &View<'_>, index: Index, learning: Learning, now: Mono) -> f32 {
    let Some(state) = view.state(index) else { return f32::INFINITY };
    let queue = state.in_flight() as f32 / f32::from(view.weight(index).value().max(1));
    expected(state, learning, now) * (queue + 1.0)
}

/// Milliseconds an answer of an idle endpoint takes, from what was learned; see the module's text for an endpoint without samples.
pub(crate) fn expected(state: &EndpointState, learning: Learning, now: Mono) -> f32 {
    faded(state, state.latency_cell(), learning, now)
}

/// The same by the estimate in this cell of the state.
pub(crate) fn faded(state: &EndpointState, cell: &AtomicU64, learning: Learning, now: Mono) -> f32 {
    match latency::read(cell, now) {
        Some(estimate) => {
            let unheard = estimate.age_ms.saturating_sub(learning.decay_ms);
            estimate.ms * latency::remains(unheard, learning.decay_ms as f32)
        }
        None if state.in_flight() > 0 => learning.penalty_ms as f32,
        None => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use lb_core::{Class, End};

    use super::*;
    use crate::testing::Bench;
    use crate::{Ticket, Tried};

    fn pick(bench: &Bench<PeakEwma>, now: Mono) -> Ticket<usize> {
        bench.pick_with(None, &Tried::new(), now).unwrap()
    }

    /// Requests one after another from `start` (ms) on, each answered by `answer` (class, ms). How many went where.
    fn run(bench: &Bench<PeakEwma>, start: u64, count: u64, answer: impl Fn(usize) -> (Class, u64)) -> Vec<usize> {
        let mut counts = vec![0; bench.cluster.len()];
        let mut now = start;
        for _ in 0..count {
            let mut ticket = pick(bench, Mono::from_millis(now));
            let place = *ticket.endpoint().value();
            counts[place] += 1;
            let (class, took) = answer(place);
            now += took;
            ticket.on_head(class, Mono::from_millis(now));
            ticket.on_end(End::Completed, Mono::from_millis(now));
        }
        counts
    }

    #[test]
    fn the_faster_of_two_gets_nearly_all() {
        let bench = Bench::new(PeakEwma::default(), &[1, 1]);
        let counts = run(&bench, 0, 500, |place| (Class::Status(200), if place == 0 { 2 } else { 100 }));
        assert!(counts[1] <= 2, "{counts:?}");
    }

    #[test]
    fn failing_fast_is_not_being_fast() {
        let bench = Bench::new(PeakEwma::default(), &[1, 1, 1]);
        let counts = run(&bench, 0, 600, |place| match place {
            0 => (Class::Status(503), 0),
            _ => (Class::Status(200), 20),
        });
        // Ruled out by one failure; it may be drawn again only when 5 s have faded to 20 ms: after 10 s · (1 + ln 250) = 65 s.
        assert!(counts[0] <= 2, "{counts:?}");
    }

    #[test]
    fn one_that_was_slow_is_tried_again() {
        let bench = Bench::new(PeakEwma::default(), &[1, 1]);
        run(&bench, 0, 200, |place| (Class::Status(200), if place == 0 { 1_000 } else { 10 }));
        let later = run(&bench, 200_000, 200, |_| (Class::Status(200), 10));
        assert!(later[0] > 50, "{later:?}");
    }

    #[test]
    fn an_unknown_endpoint_gets_one_request_and_not_a_flood() {
        let bench = Bench::new(PeakEwma::default(), &[1, 1]);
        run(&bench, 0, 100, |_| (Class::Status(200), 50));
        let members = vec![crate::testing::member(0), crate::testing::member(1), crate::testing::member(2)];
        bench.cluster.apply(crate::Update::Reset(members), Mono::from_millis(9_000));
        let now = Mono::from_millis(9_000);
        let held: Vec<_> = (0..60).map(|_| pick(&bench, now)).collect();
        let unknown = held.iter().filter(|ticket| *ticket.endpoint().value() == 2).count();
        // It is worth 5 s from its first request on; the others reach that only with a hundred in flight each.
        assert_eq!(unknown, 1);
    }

    #[test]
    fn idle_endpoints_of_equal_latency_are_picked_by_weight() {
        let bench = Bench::new(PeakEwma::default(), &[4, 2, 1, 1]);
        let counts = run(&bench, 0, 8_000, |_| (Class::Status(200), 10));
        for (count, expected) in counts.iter().zip([4_000_usize, 2_000, 1_000, 1_000]) {
            // Ties go to the first draw, which is by weight; at the start, unknown ones are tried out of turn. σ ≤ 45, five of them.
            assert!(count.abs_diff(expected) < 300, "{counts:?}");
        }
    }
}
