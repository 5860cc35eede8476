//! nginx's `hash … consistent`: a ring of points, many for each endpoint.
//!
//! **Source**: ketama as in nginx's `ngx_http_upstream_hash_module` (compatible with Perl's Cache::Memcached::Fast), bit for bit. Every
//! configured name owns 160 points a weight: point j is crc32(host, 0, port, point j − 1). A key goes to the first point at or past its
//! crc32. If no endpoint of that name is usable, to the next point, up to 20 times; then, as for an empty or absent key or a single
//! member, turns are taken. Addresses that a name resolves to share its points, in turns.
//! **Cost**: a CRC-32 of the key and about two loads: the upper bits of the checksum lead to a bucket where the search begins. 8 bytes a
//! point, 1.3 KB an endpoint and weight.
//!
//! **Use it** to take the place of nginx, or of anything else that speaks ketama, without moving any client. **Do not** otherwise: 160 points
//! leave shares ±8 % apart; `maglev` is within 1 % and faster, `rendezvous` exact.
//!
//! Departures: of two names with the same point the earlier in the configuration has it (in nginx whichever its sort leaves first);
//! beyond 2²¹ points (a total weight of 13 107) all weights have proportionally fewer points; and an optional [`BoundedLoad`], as in HAProxy.

use std::collections::BTreeMap;

use crate::algorithms::bounded::{self, Bound, BoundedLoad, bounded_policy, is_open};
use crate::algorithms::ip_hash::MAX_REHASHES;
use crate::algorithms::turns::Turns;
use crate::cluster::view::View;
use crate::context::PickCx;
use crate::index::Index;
use crate::policy::{Candidate, Choose, Policy};
use crate::signals::Signals;
use crate::witness::{Step, Witness};

bounded_policy! {
    /// The policy `ring_hash`: nginx's `hash … consistent`.
    RingHash = "ring_hash", hashes Text
}

impl Policy for RingHash {
    type Table = RingHashTable;

    fn signals(&self) -> Signals {
        bounded::signals(self.bounded)
    }

    fn build(&self, candidates: &[Candidate<'_>], previous: Option<&Self::Table>) -> Self::Table {
        let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
        let mut groups: Vec<Vec<Candidate<'_>>> = Vec::new();
        for candidate in candidates {
            let place = *by_name.entry(&candidate.identity.name).or_insert(groups.len());
            match groups.get_mut(place) {
                Some(group) => group.push(*candidate),
                None => groups.push(vec![*candidate]),
            }
        }
        RingHashTable {
            ring: Ring::new(&groups),
            groups: groups.iter().map(|group| Group::new(group)).collect(),
            members: candidates.len(),
            bounded: self.bounded,
            turns: Turns::new(candidates, previous.map(|old| &old.turns)),
        }
    }
}

/// The table of [`RingHash`].
#[derive(Debug)]
pub struct RingHashTable {
    ring: Ring,
    groups: Box<[Group]>,
    members: usize,
    bounded: Option<BoundedLoad>,
    turns: Turns,
}

impl Choose for RingHashTable {
    fn choose<W: Witness>(&self, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
        let key = cx.key.filter(|key| !key.is_empty() && self.members > 1);
        let Some(key) = key else { return self.turns.pick(view, cx) };
        let bound = self.bounded.map(|bounded| bounded.measure(view, cx));
        // Points of members at their bound are plenty on a busy ring, and giving up at 20 would undo the bound.
        let tries = if bound.is_some() { MAX_BOUNDED_TRIES } else { MAX_REHASHES as usize + 1 };
        let hash = crc32fast::hash(key);
        cx.witness.note(|| Step::Hashed { hash: hash.into() });
        let from = self.ring.find(hash);
        let found = self.ring.walk(from).take(tries).find_map(|group| {
            let group = self.groups.get(group as usize)?;
            group.pick(view, cx, bound)
        });
        found.or_else(|| self.turns.pick(view, cx))
    }
}

const MAX_BOUNDED_TRIES: usize = 512;

/// The endpoints of one configured name.
#[derive(Debug)]
enum Group {
    One(Index),
    Many { turns: Turns, members: usize },
}

impl Group {
    fn new(candidates: &[Candidate<'_>]) -> Self {
        match candidates {
            [only] => Self::One(only.index),
            several => Self::Many { turns: Turns::new(several, None), members: several.len() },
        }
    }

    fn pick<W: Witness>(&self, view: &View<'_>, cx: &PickCx<'_, W>, bound: Option<Bound>) -> Option<Index> {
        match self {
            Self::One(index) => {
                cx.witness.note(|| Step::Owner { endpoint: *index });
                is_open(view, cx, bound, *index).then_some(*index)
            }
            // Twice round is enough to meet every endpoint when weights are equal, and no neighbour is favoured.
            Self::Many { turns, members } => {
                (0..2 * members).filter_map(|_| turns.next(&cx.witness)).find(|&index| is_open(view, cx, bound, index))
            }
        }
    }
}

/// Points in ascending order, and where each of 2^`bits` equal arcs begins.
#[derive(Debug)]
struct Ring {
    points: Box<[(u32, u32)]>,
    arcs: Box<[u32]>,
    bits: u32,
}

impl Ring {
    fn new(groups: &[Vec<Candidate<'_>>]) -> Self {
        let weight_of = |group: &[Candidate<'_>]| group.iter().map(|c| u64::from(c.weight.value())).max().unwrap_or(0);
        let total: u64 = groups.iter().map(|group| weight_of(group)).sum();
        let wanted = total * POINTS_PER_WEIGHT;
        let mut points = Vec::with_capacity(wanted.min(MAX_POINTS) as usize);
        for (group, place) in groups.iter().zip(0..) {
            let Some(first) = group.first() else { continue };
            let own = weight_of(group) * POINTS_PER_WEIGHT;
            let own = if wanted > MAX_POINTS { (own * MAX_POINTS / wanted).max(1) } else { own };
            points.extend(points_of(&first.identity.name).take(own as usize).map(|hash| (hash, place)));
        }
        points.sort_unstable();
        points.dedup_by_key(|(hash, _)| *hash);
        Self::indexed(points.into())
    }

    fn indexed(points: Box<[(u32, u32)]>) -> Self {
        let bits = usize::BITS - points.len().leading_zeros();
        let arcs = (0..1_u64 << bits).map(|arc| {
            let begin = (arc << 32 >> bits) as u32;
            points.partition_point(|&(hash, _)| hash < begin) as u32
        });
        Self { arcs: arcs.collect(), points, bits }
    }

    /// The place of the first point at or past this hash; past the end if there is none.
    #[inline]
    fn find(&self, hash: u32) -> usize {
        let arc = (u64::from(hash) << self.bits >> 32) as usize;
        let from = self.arcs.get(arc).map_or(0, |&from| from as usize);
        let rest = self.points.get(from..).unwrap_or_default();
        from + rest.iter().take_while(|&&(point, _)| point < hash).count()
    }

    /// Whose points follow from this place on, round and round.
    fn walk(&self, from: usize) -> impl Iterator<Item = u32> + '_ {
        let (before, after) = self.points.split_at(from.min(self.points.len()));
        after.iter().chain(before.iter()).cycle().map(|&(_, group)| group)
    }
}

const POINTS_PER_WEIGHT: u64 = 160;
/// 16 MiB of points.
const MAX_POINTS: u64 = 1 << 21;

/// The points of a name, one hashed from the other.
fn points_of(name: &str) -> impl Iterator<Item = u32> {
    let (host, port) = host_and_port(name.as_bytes());
    let mut base = crc32fast::Hasher::new();
    base.update(host);
    base.update(&[0]);
    base.update(port);
    let mut previous = 0_u32;
    std::iter::repeat_with(move || {
        let mut hash = base.clone();
        hash.update(&previous.to_le_bytes());
        previous = hash.finalize();
        previous
    })
}

/// As nginx takes a name apart: `unix:` comes off; digits after the last colon are the port.
fn host_and_port(name: &[u8]) -> (&[u8], &[u8]) {
    if let Some((scheme, path)) = name.split_at_checked(5)
        && scheme.eq_ignore_ascii_case(b"unix:")
    {
        return (path, b"");
    }
    let digits = name.iter().rev().take_while(|octet| octet.is_ascii_digit()).count();
    let (rest, port) = name.split_at(name.len() - digits);
    match rest.split_last() {
        Some((b':', host)) => (host, port),
        _ => (name, b""),
    }
}

#[cfg(test)]
mod tests {
    use lb_core::{Axis, Mono};

    use super::*;
    use crate::testing::Bench;
    use crate::{Cluster, Entropy, Identity, Member, PickCx, Update};

    #[test]
    fn points_are_those_of_nginx() {
        // Computed from nginx's definition.
        let golden = [
            ("127.0.0.1:8081", [0x50aa_bcf7, 0xb8dc_900a, 0x2a33_55ce, 0x839f_657f]),
            ("127.0.0.1:8082", [0x170a_c627, 0xc6f1_d61f, 0xe9d4_7f15, 0x13e2_1420]),
            ("127.0.0.1:8083", [0x2a6a_ef97, 0xecea_ebec, 0x1e59_9b63, 0x63c9_3b15]),
            ("unix:/tmp/a.sock", [0xca7e_b1df, 0xbad8_f3e1, 0x716a_4f8e, 0x042e_78ad]),
            ("backend", [0x1ae7_0921, 0xe1e5_66a4, 0x60b0_e5a6, 0x74b9_9253]),
        ];
        for (name, points) in golden {
            assert_eq!(points_of(name).take(4).collect::<Vec<_>>(), points, "{name}");
        }
    }

    #[test]
    fn names_come_apart_as_in_nginx() {
        let parts = |name: &'static str| host_and_port(name.as_bytes());
        assert_eq!(parts("app:80"), (b"app".as_slice(), b"80".as_slice()));
        assert_eq!(parts("[::1]:80"), (b"[::1]".as_slice(), b"80".as_slice()));
        assert_eq!(parts("app"), (b"app".as_slice(), b"".as_slice()));
        assert_eq!(parts("app1"), (b"app1".as_slice(), b"".as_slice()));
        assert_eq!(parts("app:"), (b"app".as_slice(), b"".as_slice()));
        assert_eq!(parts("UNIX:/a:1"), (b"/a:1".as_slice(), b"".as_slice()));
        assert_eq!(parts(""), (b"".as_slice(), b"".as_slice()));
        assert_eq!(parts("80"), (b"80".as_slice(), b"".as_slice()));
    }

    struct Three {
        cluster: Cluster<u16>,
        selector: crate::Selector<RingHash, u16>,
    }

    fn three(policy: RingHash) -> Three {
        let cluster = Cluster::new("ketama");
        let members =
            [8_081, 8_082, 8_083].map(|port: u16| Member::new(Identity::literal(format!("127.0.0.1:{port}")), port));
        cluster.apply(Update::Reset(members.into()), Mono::ZERO);
        Three { selector: cluster.selector(policy), cluster }
    }

    impl Three {
        fn port(&self, key: &str) -> u16 {
            let mut entropy = Entropy::seeded(1);
            let mut cx = PickCx::new(Mono::ZERO, &mut entropy).key(Some(key.as_bytes()));
            *self.selector.pick(&mut cx).unwrap().endpoint().value()
        }
    }

    #[test]
    fn keys_go_where_nginx_sends_them() {
        let three = three(RingHash::new());
        for (key, port) in
            [("/", 8_083), ("/1", 8_082), ("/2", 8_082), ("/foo", 8_081), ("a", 8_082), ("10.0.0.1", 8_082)]
        {
            assert_eq!(three.port(key), port, "{key}");
        }
    }

    #[test]
    fn shares_over_many_keys_are_those_of_nginx() {
        let three = three(RingHash::new());
        let mut counts = [0_u32; 3];
        for n in 0..100_000 {
            counts[usize::from(three.port(&format!("/{n}")) - 8_081)] += 1;
        }
        // 34.1, 31.3 and 34.6 percent, rounded to a tenth.
        for (count, permille) in counts.iter().zip([341, 313, 346]) {
            assert_eq!((count + 50) / 100, permille, "{counts:?}");
        }
    }

    #[test]
    fn only_the_keys_of_the_one_that_is_out_move() {
        let three = three(RingHash::new());
        let keys: Vec<String> = (0..2_000).map(|n| format!("/{n}")).collect();
        let before: Vec<u16> = keys.iter().map(|key| three.port(key)).collect();
        let out = three.cluster.endpoints()[0].uid();
        assert!(three.cluster.set(out, Axis::Check, true, Mono::ZERO));
        for (key, before) in keys.iter().zip(before) {
            let after = three.port(key);
            assert!(after != 8_081 && (before == 8_081 || after == before), "{key}: {before} {after}");
        }
    }

    #[test]
    fn addresses_of_one_name_share_its_points_in_turns() {
        let cluster = Cluster::new("names");
        let member = |n: u16, name: &str| Member::new(Identity::new(name, format!("10.0.0.{n}:80")), n);
        cluster.apply(Update::Reset(vec![member(1, "a:80"), member(2, "a:80"), member(3, "b:80")]), Mono::ZERO);
        let three = Three { selector: cluster.selector(RingHash::new()), cluster };
        let key = (0..).map(|n| format!("k{n}")).find(|key| three.port(key) != 3).unwrap();
        let picks: Vec<u16> = (0..4).map(|_| three.port(&key)).collect();
        assert!(picks == [1, 2, 1, 2] || picks == [2, 1, 2, 1], "{picks:?}");
    }

    #[test]
    fn a_bucketed_search_finds_what_a_plain_one_finds() {
        let mut entropy = Entropy::seeded(9);
        for len in [0_usize, 1, 2, 3, 100, 1_000] {
            let mut points: Vec<(u32, u32)> = (0..len).map(|n| (entropy.next_u64() as u32, n as u32)).collect();
            points.sort_unstable();
            points.dedup_by_key(|(hash, _)| *hash);
            let ring = Ring::indexed(points.clone().into());
            let probes = (0..2_000).map(|_| entropy.next_u64() as u32).chain([0, u32::MAX]);
            for hash in probes.chain(points.iter().map(|&(hash, _)| hash)) {
                assert_eq!(ring.find(hash), points.partition_point(|&(point, _)| point < hash));
            }
        }
    }

    #[test]
    fn huge_weights_do_not_make_a_huge_ring() {
        let bench = Bench::new(RingHash::new(), &[65_535, 65_535, 1]);
        let mut counts = [0_u32; 3];
        for n in 0..1_000_u32 {
            counts[bench.pick_for(&n.to_le_bytes()).unwrap()] += 1;
        }
        // σ = √(1000·½·½) ≈ 16.
        assert!(counts[0].abs_diff(500) < 100 && counts[2] < 5, "{counts:?}");
    }

    #[test]
    fn a_bound_spills_a_hot_key_and_nothing_without_need() {
        let three = three(RingHash::new().bounded(BoundedLoad::new(1.25)));
        let mut entropy = Entropy::seeded(1);
        let mut held = Vec::new();
        let mut first = 0;
        for n in 0..300_u32 {
            let mut cx = PickCx::new(Mono::ZERO, &mut entropy).key(Some(b"hot"));
            let ticket = three.selector.pick(&mut cx).unwrap();
            let before = ticket.endpoint().state().in_flight() - 1;
            assert!(f64::from(before) < (1.25 * f64::from(n + 1) / 3.0).ceil(), "{n}: {before}");
            first = if n == 0 { *ticket.endpoint().value() } else { first };
            held.push(ticket);
        }
        drop(held);
        assert_eq!(three.port("hot"), first, "idle again, it is home again");
    }
}
