//! The endpoint that is expected to answer soonest, all of them considered.
//!
//! **Source**: nginx's `least_time` (header time): an average of times to the response head, 0.95 of the old and 0.05 of the
//! new, rounded up to clusters of 20 ms and cut off at 5 s, times (1 + in flight), divided by weight; ties are broken by turns. An average
//! that was not renewed for 10 s is halved, and once more each 10 s, so that a slow endpoint is tried again.
//! **Cost**: O(n): two loads an endpoint; one compare-and-swap when a response head comes.
//!
//! **Use it** with a handful of endpoints and one proxy, where `peak_ewma`'s random draws would be noticed. **Do not** with many
//! of either: cost grows with endpoints, and proxies that all know the best endpoint all send to it.
//!
//! Departures from nginx: failures count (as 5 s, or what they took), since ignoring them makes an endpoint that fails fast the fastest
//! of all; fractions of a millisecond are kept; the pause after which an average fades is 10 s for every endpoint.

use lb_core::Mono;

use crate::algorithms::least_request::least;
use crate::algorithms::turns::Turns;
use crate::cluster::view::View;
use crate::context::PickCx;
use crate::estimate::latency;
use crate::index::Index;
use crate::options::{Configurable, Options, PENALTY, PolicyInfo};
use crate::policy::{Candidate, Choose, Policy};
use crate::signals::{Learning, Signals};
use crate::witness::Witness;

/// The policy `least_time`: the one expected to answer first.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastTime {
    learning: Learning,
}

impl LeastTime {
    /// With this penalty for failures; the decay is nginx's.
    #[must_use]
    pub const fn new(learning: Learning) -> Self {
        Self { learning }
    }
}

impl Configurable for LeastTime {
    const INFO: PolicyInfo = PolicyInfo::new("least_time").options(&[PENALTY]);

    fn from_options(options: &Options<'_>) -> Self {
        Self::new(options.learning())
    }
}

impl Policy for LeastTime {
    type Table = LeastTimeTable;

    fn signals(&self) -> Signals {
        Signals::IN_FLIGHT.and(Signals::AVERAGE)
    }

    fn build(&self, candidates: &[Candidate<'_>], previous: Option<&Self::Table>) -> Self::Table {
        LeastTimeTable {
            seats: candidates.iter().map(|c| (c.index, c.weight.value().into())).collect(),
            turns: Turns::new(candidates, previous.map(|old| &old.turns)),
        }
    }

    fn learning(&self) -> Learning {
        self.learning
    }
}

/// The table of [`LeastTime`].
#[derive(Debug)]
pub struct LeastTimeTable {
    seats: Box<[(Index, u64)]>,
    turns: Turns,
}

impl Choose for LeastTimeTable {
    #[inline]
    fn choose<W: Witness>(&self, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
        let now = cx.now;
        least(&self.seats, &self.turns, view, cx, "expected ms per weight, least wins", |index, in_flight| {
            eta(view, index, in_flight, now)
        })
    }
}

/// Milliseconds in clusters of 20, times (1 + in flight).
fn eta(view: &View<'_>, index: Index, in_flight: u32, now: Mono) -> u64 {
    let Some(state) = view.state(index) else { return u64::MAX };
    let average = latency::read(state.average_cell(), now).map_or(0, |estimate| {
        let halvings = (estimate.age_ms / FADE_MS).min(63);
        (estimate.ms as u64) >> halvings
    });
    let clustered = if average > LONGEST_MS { LONGEST_MS } else { average + (CLUSTER_MS - average % CLUSTER_MS) };
    clustered * (1 + u64::from(in_flight))
}

const CLUSTER_MS: u64 = 20;
const LONGEST_MS: u64 = 5_000;
const FADE_MS: u32 = 10_000;

#[cfg(test)]
mod tests {
    use lb_core::{Class, End};

    use super::*;
    use crate::Tried;
    use crate::testing::{Bench, letters};

    fn run(bench: &Bench<LeastTime>, start: u64, count: u64, answer: impl Fn(usize) -> (Class, u64)) -> Vec<usize> {
        let mut now = start;
        let mut picked = Vec::new();
        for _ in 0..count {
            let mut ticket = bench.pick_with(None, &Tried::new(), Mono::from_millis(now)).unwrap();
            picked.push(*ticket.endpoint().value());
            let (class, took) = answer(*ticket.endpoint().value());
            now += took;
            ticket.on_head(class, Mono::from_millis(now));
            ticket.on_end(End::Completed, Mono::from_millis(now));
        }
        picked
    }

    #[test]
    fn latencies_within_a_cluster_are_a_tie_and_ties_take_turns() {
        let bench = Bench::new(LeastTime::default(), &[1, 1, 1]);
        let picked = run(&bench, 0, 6, |place| (Class::Status(200), [3, 11, 19][place]));
        assert_eq!(letters(&picked), "abcabc");
    }

    #[test]
    fn a_cluster_slower_is_avoided() {
        let bench = Bench::new(LeastTime::default(), &[1, 1]);
        // b shows itself once at 20 ms, the next cluster, and has no chance against an idle a.
        let picked = run(&bench, 0, 10, |place| (Class::Status(200), [19, 20][place]));
        assert_eq!(letters(&picked), "abaaaaaaaa");
    }

    #[test]
    fn what_is_in_flight_counts() {
        let bench = Bench::new(LeastTime::default(), &[1, 1]);
        run(&bench, 0, 2, |place| (Class::Status(200), [10, 50][place]));
        let now = Mono::from_millis(60);
        let held: Vec<_> = (0..4).map(|_| bench.pick_with(None, &Tried::new(), now).unwrap()).collect();
        let places: Vec<_> = held.iter().map(|ticket| *ticket.endpoint().value()).collect();
        // a costs 20, 40, 60 with 0, 1, 2 in flight; b 60. At three all it is a tie: a's turn, as two turns were taken.
        assert_eq!(letters(&places), "aaab");
    }

    #[test]
    fn failing_fast_is_not_being_fast_and_is_forgiven_in_time() {
        let bench = Bench::new(LeastTime::default(), &[1, 1]);
        let class = |place| if place == 0 { (Class::ConnectError, 0) } else { (Class::Status(200), 30) };
        assert_eq!(letters(&run(&bench, 0, 6, class)), "abbbbb");
        // 5 000 ms halve to below 20 after 80 s (19 ms), where a's estimate of 20 beats b's 40; b's 30 ms have faded too, but
        // it is asked first at 90 s in the same cluster: a tie.
        let later = run(&bench, 95_000, 4, |_| (Class::Status(200), 10));
        assert!(later.contains(&0), "{later:?}");
    }

    #[test]
    fn a_heavier_endpoint_may_take_longer() {
        let bench = Bench::new(LeastTime::default(), &[1, 3]);
        run(&bench, 0, 8, |place| (Class::Status(200), [15, 45][place]));
        // 20 ∕ 1 against 60 ∕ 3: a tie, in the order of weights 1, 3.
        let picked = run(&bench, 1_000, 40, |place| (Class::Status(200), [15, 45][place]));
        assert_eq!(picked.iter().filter(|&&place| place == 1).count(), 30);
    }
}
