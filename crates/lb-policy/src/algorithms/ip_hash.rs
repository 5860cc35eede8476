//! nginx's `ip_hash`: the same client address, the same endpoint.
//!
//! **Source**: nginx's `ngx_http_upstream_ip_hash_module`, bit for bit: h = 89, for each octet h = (113·h + octet) mod 6271,
//! over the first three octets of an IPv4 address or all sixteen of an IPv6 one; then h modulo the total weight. A member that
//! is not usable makes it hash the same octets again from there, up to 20 times, and then take turns. One member: turns.
//! **Cost**: 3 or 16 multiplications and a binary search; 12 bytes an endpoint.
//!
//! **Use it** to replace nginx without moving any client. **Do not** otherwise: a whole /24 (an office, a carrier's gateway) is one
//! client, there are 6 271 values only, and adding a member moves most clients. `rendezvous` or `maglev` with the address as
//! key, or a sticky cookie, do better.
//!
//! The key is the address's 4 or 16 octets; any other key counts as nginx counts a Unix socket: three zeros. Without one, turns.
//! With a [`BoundedLoad`], which nginx has not, a member at its bound is hashed past too.

use crate::algorithms::bounded::{self, BoundedLoad, bounded_policy, is_open, least_loaded};
use crate::algorithms::turns::Turns;
use crate::cluster::view::View;
use crate::context::PickCx;
use crate::index::Index;
use crate::policy::{Candidate, Choose, Policy};
use crate::signals::Signals;
use crate::witness::{Step, Witness};

bounded_policy! {
    /// The policy `ip_hash`: nginx's `ip_hash`.
    IpHash = "ip_hash", hashes ClientAddress
}

impl Policy for IpHash {
    type Table = IpHashTable;

    fn signals(&self) -> Signals {
        bounded::signals(self.bounded)
    }

    fn build(&self, candidates: &[Candidate<'_>], previous: Option<&Self::Table>) -> Self::Table {
        IpHashTable {
            bounded: self.bounded,
            shares: Shares::new(candidates),
            turns: Turns::new(candidates, previous.map(|old| &old.turns)),
        }
    }
}

/// The table of [`IpHash`].
#[derive(Debug)]
pub struct IpHashTable {
    bounded: Option<BoundedLoad>,
    shares: Shares,
    turns: Turns,
}

impl Choose for IpHashTable {
    fn choose<W: Witness>(&self, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
        let Some(key) = cx.key.filter(|_| self.shares.len() > 1) else { return self.turns.pick(view, cx) };
        let octets: &[u8] = match key {
            [a, b, c, _] => &[*a, *b, *c],
            sixteen if sixteen.len() == 16 => sixteen,
            _ => &[0, 0, 0],
        };
        let bound = self.bounded.map(|bounded| bounded.measure(view, cx));
        let mut hash = 89;
        for _ in 0..=MAX_REHASHES {
            hash = octets.iter().fold(hash, |hash, &octet| (hash * 113 + u32::from(octet)) % 6_271);
            let index = self.shares.at(u64::from(hash))?;
            cx.witness.note(|| Step::Hashed { hash: hash.into() });
            cx.witness.note(|| Step::Owner { endpoint: index });
            if is_open(view, cx, bound, index) {
                return Some(index);
            }
        }
        match bound {
            Some(bound) => least_loaded(view, cx, bound),
            None => self.turns.pick(view, cx),
        }
    }
}

/// nginx gives up when it has met more than twenty members it cannot use.
pub(crate) const MAX_REHASHES: u32 = 20;

/// Members laid end to end, each as long as its weight.
#[derive(Debug)]
pub(crate) struct Shares {
    ends: Box<[(u64, Index)]>,
    total: u64,
}

impl Shares {
    pub(crate) fn new(candidates: &[Candidate<'_>]) -> Self {
        let mut total = 0;
        let ends = candidates.iter().map(|candidate| {
            total += u64::from(candidate.weight.value());
            (total, candidate.index)
        });
        Self { ends: ends.collect(), total }
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Who lies at this spot, taken modulo the total.
    pub(crate) fn at(&self, spot: u64) -> Option<Index> {
        let spot = spot.checked_rem(self.total)?;
        let place = self.ends.partition_point(|&(end, _)| end <= spot);
        self.ends.get(place).map(|&(_, index)| index)
    }
}

#[cfg(test)]
mod tests {
    use lb_core::{Axis, Mono};

    use super::*;
    use crate::testing::{Bench, letters};

    #[test]
    fn clients_go_where_nginx_sends_them() {
        // Computed from nginx's definition: hashes 4040, 2565, 154 and 3023, modulo three.
        let bench = Bench::new(IpHash::new(), &[1, 1, 1]);
        for (address, place) in
            [([127, 0, 0, 1], 2), ([10, 0, 0, 1], 0), ([192, 168, 1, 1], 1), ([8, 8, 8, 8], 2), ([8, 8, 8, 99], 2)]
        {
            assert_eq!(bench.pick_for(&address), Some(place), "{address:?}");
        }
    }

    #[test]
    fn weights_lay_the_members_end_to_end() {
        // 4040 mod 4 = 0, 2565 mod 4 = 1, 154 mod 4 = 2, 3023 mod 4 = 3; weights 1, 3: spot 0 is a, the rest b.
        let bench = Bench::new(IpHash::new(), &[1, 3]);
        let picks = [[127, 0, 0, 1], [10, 0, 0, 1], [192, 168, 1, 1], [8, 8, 8, 8]].map(|ip| bench.pick_for(&ip));
        assert_eq!(picks, [Some(0), Some(1), Some(1), Some(1)]);
    }

    #[test]
    fn a_client_of_an_ineligible_endpoint_is_rehashed_and_returns_later() {
        let bench = Bench::new(IpHash::new(), &[1, 1, 1]);
        let client = [127, 0, 0, 1];
        // 4040, then three rounds more over 127, 0, 0: (((4040·113 + 127)·113)·113) mod 6271, step by step:
        // 4040·113 + 127 = 456 647 → 5 135; ·113 = 580 255 → 3 323; ·113 = 375 499 → 5 510; 5 510 mod 3 = 2 (out again);
        // 5 510·113 + 127 = 622 757 → 1 928; ·113 = 217 864 → 4 650; ·113 = 525 450 → 4 957; 4 957 mod 3 = 1.
        bench.set(2, Axis::Check, true, Mono::ZERO);
        assert_eq!(bench.pick_for(&client), Some(1));
        bench.set(2, Axis::Check, false, Mono::ZERO);
        assert_eq!(bench.pick_for(&client), Some(2));
    }

    #[test]
    fn an_ipv6_address_counts_in_full() {
        let bench = Bench::new(IpHash::new(), &[1; 10]);
        let mut seen = std::collections::BTreeSet::new();
        for last in 0..50 {
            let mut address = [0_u8; 16];
            address[15] = last;
            seen.insert(bench.pick_for(&address));
        }
        assert_eq!(seen.len(), 10, "consecutive addresses give consecutive hashes");
    }

    #[test]
    fn one_member_or_no_key_takes_turns() {
        assert_eq!(letters(&Bench::new(IpHash::new(), &[1, 1]).picks(4)), "abab");
        assert_eq!(Bench::new(IpHash::new(), &[7]).pick_for(&[1, 2, 3, 4]), Some(0));
        assert_eq!(Bench::new(IpHash::new(), &[]).pick_for(&[1, 2, 3, 4]), None);
    }
}
