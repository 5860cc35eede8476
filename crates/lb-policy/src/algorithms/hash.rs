//! nginx's `hash` without `consistent`: the key's checksum modulo the total weight.
//!
//! **Source**: nginx's `ngx_http_upstream_hash_module` (compatible with Perl's Cache::Memcached), bit for bit: the running sum of
//! (crc32(try ++ key) ≫ 16) & 0x7fff, with nothing in front of the key at the first try, modulo the total weight. A member that is not usable is tried
//! past 20 times; then, as for an empty or absent key or a single member, turns are taken. **Cost**: a CRC-32 of the key and a
//! binary search; 16 bytes an endpoint.
//!
//! **Use it** to replace nginx without moving any client. **Do not** otherwise: adding one endpoint to n moves n ∕ (n + 1) of all
//! keys; `maglev` or `rendezvous` move 1 ∕ (n + 1). And as a CRC is linear, the second try of keys of one length differs from the first by a
//! constant: what an endpoint that is out leaves is shared unevenly, up to a quarter off.
//!
//! With a [`BoundedLoad`], which nginx has not, a member at its bound is tried past too.

use crate::algorithms::bounded::{self, BoundedLoad, bounded_policy, is_open, least_loaded};
use crate::algorithms::ip_hash::{MAX_REHASHES, Shares};
use crate::algorithms::turns::Turns;
use crate::cluster::view::View;
use crate::context::PickCx;
use crate::index::Index;
use crate::policy::{Candidate, Choose, Policy};
use crate::signals::Signals;
use crate::witness::{Step, Witness};

bounded_policy! {
    /// The policy `hash`: nginx's `hash`: modulo the total weight.
    Hash = "hash", hashes Text
}

impl Policy for Hash {
    type Table = HashTable;

    fn signals(&self) -> Signals {
        bounded::signals(self.bounded)
    }

    fn build(&self, candidates: &[Candidate<'_>], previous: Option<&Self::Table>) -> Self::Table {
        HashTable {
            bounded: self.bounded,
            shares: Shares::new(candidates),
            turns: Turns::new(candidates, previous.map(|old| &old.turns)),
        }
    }
}

/// The table of the policy `hash`.
#[derive(Debug)]
pub struct HashTable {
    bounded: Option<BoundedLoad>,
    shares: Shares,
    turns: Turns,
}

impl Choose for HashTable {
    fn choose<W: Witness>(&self, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
        let key = cx.key.filter(|key| !key.is_empty() && self.shares.len() > 1);
        let Some(key) = key else { return self.turns.pick(view, cx) };
        let bound = self.bounded.map(|bounded| bounded.measure(view, cx));
        let mut sum = 0_u32;
        for rehash in 0..=MAX_REHASHES {
            sum = sum.wrapping_add(checksum(rehash, key));
            let index = self.shares.at(sum.into())?;
            cx.witness.note(|| Step::Hashed { hash: sum.into() });
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

fn checksum(rehash: u32, key: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    match rehash {
        0 => {}
        1..=9 => crc.update(&[b'0' + rehash as u8]),
        _ => crc.update(&[b'0' + (rehash / 10) as u8, b'0' + (rehash % 10) as u8]),
    }
    crc.update(key);
    (crc.finalize() >> 16) & 0x7fff
}

#[cfg(test)]
mod tests {
    use lb_core::{Axis, Mono};

    use super::*;
    use crate::testing::{Bench, letters};

    #[test]
    fn the_running_sums_are_those_of_nginx() {
        // Computed from nginx's definition.
        for (key, sums) in
            [("/", [31_187, 42_536, 44_448]), ("/1", [539, 6_981, 14_001]), ("a", [26_807, 42_472, 48_132])]
        {
            let mut sum = 0;
            let running = [0, 1, 2].map(|rehash| {
                sum += checksum(rehash, key.as_bytes());
                sum
            });
            assert_eq!(running, sums, "{key}");
        }
    }

    #[test]
    fn keys_go_where_nginx_sends_them_try_after_try() {
        // The sums above modulo three: 2 2 0, 2 0 0, 2 1 0.
        let bench = Bench::new(Hash::new(), &[1, 1, 1]);
        bench.cluster.set_panic_mode(crate::PanicMode::Never, Mono::ZERO);
        for key in ["/", "/1", "a"] {
            assert_eq!(bench.pick_for(key.as_bytes()), Some(2), "{key}");
        }
        bench.set(2, Axis::Check, true, Mono::ZERO);
        assert_eq!([b"/".as_slice(), b"/1", b"a"].map(|key| bench.pick_for(key)), [Some(0), Some(0), Some(1)]);
        bench.set(1, Axis::Check, true, Mono::ZERO);
        assert_eq!(bench.pick_for(b"a"), Some(0));
    }

    #[test]
    fn tries_of_two_digits_are_written_out() {
        let mut crc = crc32fast::Hasher::new();
        crc.update(b"17key");
        assert_eq!(checksum(17, b"key"), (crc.finalize() >> 16) & 0x7fff);
    }

    #[test]
    fn an_empty_key_takes_turns() {
        let bench = Bench::new(Hash::new(), &[1, 1]);
        assert_eq!([bench.pick_for(b""), bench.pick_for(b"")], [Some(0), Some(1)]);
        assert_eq!(letters(&bench.picks(2)), "ab");
    }
}
