//! The first usable endpoint, in the order of the configuration.
//!
//! **Source**: HAProxy's `first`, Caddy's `first`. **Cost**: O(position of the first usable endpoint); 4 bytes an
//! endpoint. Weights are ignored, but for zero.
//!
//! **Use it** for a primary and its stand-ins, or, with `max_in_flight`, to fill endpoints one by one and let the rest
//! idle. **Do not** to share load: that is what it does not do.

use crate::cluster::view::View;
use crate::context::PickCx;
use crate::index::Index;
use crate::options::{Configurable, Options, PolicyInfo};
use crate::policy::{Candidate, Choose, Policy};
use crate::signals::Signals;
use crate::witness::Witness;

/// The policy `first`: the first usable in the order of the list.
#[derive(Clone, Copy, Debug, Default)]
pub struct First;

impl Configurable for First {
    const INFO: PolicyInfo = PolicyInfo::new("first");

    fn from_options(_options: &Options<'_>) -> Self {
        Self
    }
}

impl Policy for First {
    type Table = FirstTable;

    fn signals(&self) -> Signals {
        Signals::NONE
    }

    fn build(&self, candidates: &[Candidate<'_>], _previous: Option<&Self::Table>) -> Self::Table {
        FirstTable { order: candidates.iter().map(|candidate| candidate.index).collect() }
    }
}

/// The table of [`First`].
#[derive(Debug)]
pub struct FirstTable {
    order: Box<[Index]>,
}

impl Choose for FirstTable {
    #[inline]
    fn choose<W: Witness>(&self, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
        self.order.iter().copied().find(|&index| view.is_usable(index, cx))
    }
}

#[cfg(test)]
mod tests {
    use lb_core::{Axis, InFlightLimit, Mono};

    use super::*;
    use crate::testing::{Bench, letters};

    #[test]
    fn the_first_serves_until_it_cannot() {
        let bench = Bench::new(First, &[1, 1, 1]);
        assert_eq!(letters(&bench.picks(3)), "aaa");
        bench.set(0, Axis::Check, true, Mono::ZERO);
        assert_eq!(letters(&bench.picks(2)), "bb");
        bench.set(0, Axis::Check, false, Mono::ZERO);
        assert_eq!(letters(&bench.picks(1)), "a");
    }

    #[test]
    fn endpoints_fill_up_one_by_one() {
        let bench = Bench::new(First, &[1, 1]);
        bench.cluster.endpoints()[0].state().set_max_in_flight(InFlightLimit::new(2));
        let held: Vec<_> = (0..3).map(|_| bench.pick().unwrap()).collect();
        let places: Vec<_> = held.iter().map(|ticket| *ticket.endpoint().value()).collect();
        assert_eq!(places, [0, 0, 1]);
    }
}
