//! Smooth weighted round robin, in nginx's order.
//!
//! **Source**: nginx's `ngx_http_upstream_get_peer`; weights 5, 1, 1 give a a b a c a a. See `turns.rs` for how the order
//! becomes a table. **Cost**: one relaxed `fetch_add` on a counter that all workers share, and one load. The table is
//! built in O(W × distinct weights), W = Σ weight ∕ gcd; beyond W = 65 536 an evenly spread walk takes its place, with
//! the same shares.
//!
//! **Use it** when endpoints and requests are uniform: no policy is cheaper or easier to foresee. **Do not** when requests
//! differ much in length, since it counts requests and not work: `least_request` or `p2c` keep a slow endpoint from piling up.
//!
//! Proxies that start together with the same weights walk through the same order side by side, and their endpoints feel every
//! burst of one as a burst of all: [`RoundRobin::starting_at`] a number of each proxy's own parts them. The order stays nginx's; it only
//! begins elsewhere.
//!
//! nginx's exact order is promised for picks one after another over a constant set of usable endpoints. After a change the
//! sequence goes on over the new set from the same count.

use crate::algorithms::turns::Turns;
use crate::cluster::view::View;
use crate::context::PickCx;
use crate::index::Index;
use crate::options::{Configurable, Options, PolicyInfo, RANDOM_START};
use crate::policy::{Candidate, Choose, Policy};
use crate::signals::Signals;
use crate::witness::Witness;

/// The policy `round_robin`, the default: turns by weight, in nginx's order.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobin;

impl Policy for RoundRobin {
    type Table = RoundRobinTable;

    fn signals(&self) -> Signals {
        Signals::NONE
    }

    fn build(&self, candidates: &[Candidate<'_>], previous: Option<&Self::Table>) -> Self::Table {
        RoundRobinTable { turns: Turns::new(candidates, previous.map(|old| &old.turns)) }
    }
}

impl RoundRobin {
    /// The same turns, beginning with this one of their cycle (modulo its length) instead of the first.
    #[must_use]
    pub const fn starting_at(self, turn: u64) -> RoundRobinFrom {
        RoundRobinFrom { start: turn }
    }
}

/// [`RoundRobin`] that begins elsewhere than with the first turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobinFrom {
    start: u64,
}

impl From<RoundRobin> for RoundRobinFrom {
    fn from(first: RoundRobin) -> Self {
        first.starting_at(0)
    }
}

impl Configurable for RoundRobinFrom {
    const INFO: PolicyInfo = PolicyInfo::new("round_robin").options(&[RANDOM_START]);

    fn from_options(options: &Options<'_>) -> Self {
        RoundRobin.starting_at(options.start())
    }
}

impl Policy for RoundRobinFrom {
    type Table = RoundRobinTable;

    fn signals(&self) -> Signals {
        Signals::NONE
    }

    fn build(&self, candidates: &[Candidate<'_>], previous: Option<&Self::Table>) -> Self::Table {
        RoundRobinTable { turns: Turns::starting_at(self.start, candidates, previous.map(|old| &old.turns)) }
    }
}

/// The table of [`RoundRobin`].
#[derive(Debug)]
pub struct RoundRobinTable {
    turns: Turns,
}

impl Choose for RoundRobinTable {
    #[inline]
    fn choose<W: Witness>(&self, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
        self.turns.pick(view, cx)
    }
}

#[cfg(test)]
mod tests {
    use lb_core::{Axis, Mono};

    use super::*;
    use crate::testing::{Bench, letters};

    #[test]
    fn six_requests_in_a_row_visit_three_endpoints_twice_in_order() {
        assert_eq!(letters(&Bench::new(RoundRobin, &[1, 1, 1]).picks(6)), "abcabc");
    }

    #[test]
    fn the_order_is_that_of_nginx() {
        assert_eq!(letters(&Bench::new(RoundRobin, &[5, 1, 1]).picks(14)), "aabacaaaabacaa");
        assert_eq!(letters(&Bench::new(RoundRobin, &[3, 2, 1]).picks(6)), "abacba");
        assert_eq!(letters(&Bench::new(RoundRobin, &[4, 3, 2]).picks(9)), "abcabacba");
        assert_eq!(letters(&Bench::new(RoundRobin, &[10, 2, 2]).picks(7)), "aabacaa", "as 5, 1, 1");
    }

    #[test]
    fn weight_zero_gets_no_turn() {
        assert_eq!(letters(&Bench::new(RoundRobin, &[1, 0, 2]).picks(6)), "caccac");
        assert_eq!(letters(&Bench::new(RoundRobin, &[0, 0]).picks(1)), "-");
    }

    #[test]
    fn an_absent_endpoint_s_turns_fall_to_the_others_in_proportion() {
        let mut bench = Bench::new(RoundRobin, &[5, 1, 1]);
        bench.set(0, Axis::Ejected, true, Mono::ZERO);
        bench.cluster.set_panic_mode(crate::PanicMode::Never, Mono::ZERO);
        assert_eq!(bench.counts(100), [0, 50, 50]);
    }

    #[test]
    fn the_turns_may_begin_anywhere() {
        // a a b a c a a from its third turn on; a rebuild does not begin again.
        let mut bench = Bench::new(RoundRobin.starting_at(2), &[5, 1, 1]);
        assert_eq!(letters(&bench.picks(3)), "bac");
        bench.reset(&[5, 1, 1], Mono::from_millis(50));
        assert_eq!(letters(&bench.picks(7)), "aaaabac");
        assert_eq!(letters(&Bench::new(RoundRobin.starting_at(u64::MAX), &[1]).picks(3)), "aaa");
    }

    #[test]
    fn a_rebuild_goes_on_where_the_old_table_stood() {
        let mut bench = Bench::new(RoundRobin, &[1, 1, 1]);
        assert_eq!(letters(&bench.picks(2)), "ab");
        bench.reset(&[1, 1, 1], Mono::from_millis(50));
        assert_eq!(letters(&bench.picks(3)), "cab");
    }

    #[test]
    fn weights_with_too_long_a_cycle_get_their_shares() {
        // 65 535 + 65 534 > 65 536: no cycle. Equal to within a few picks.
        let counts = Bench::new(RoundRobin, &[65_535, 65_534]).counts(1_000);
        assert!(counts[0].abs_diff(500) <= 4, "{counts:?}");
    }
}
