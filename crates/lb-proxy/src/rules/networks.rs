//! Whether an address belongs to one of many networks.
//!
//! The lists operators write are short, those of a content network are not, and the question is asked at every request
//! that comes through a proxy. So the networks become sorted, disjoint ranges once, and a question is one binary
//! search.
//!
//! An IPv4 address written as IPv6 (`::ffff:10.0.0.1`, what a dual-stack socket reports) is that IPv4 address, in the
//! question and in the networks.

use std::net::IpAddr;

use lb_config::Network;

/// A set of networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Networks {
    /// The union of `networks`; without any, it holds no address. Bits behind a prefix do not count, and a prefix
    /// longer than the address is the address.
    #[must_use]
    pub fn new(networks: &[Network]) -> Self {
        let mut v4 = Vec::new();
        let mut v6 = Vec::new();
        for network in networks {
            match network.address {
                IpAddr::V4(address) => v4.push(range_v4(address.to_bits(), network.prefix)),
                IpAddr::V6(address) => match address.to_ipv4_mapped() {
                    Some(mapped) if network.prefix >= 96 => v4.push(range_v4(mapped.to_bits(), network.prefix - 96)),
                    _ => v6.push(range_v6(address.to_bits(), network.prefix)),
                },
            }
        }
        Self { v4: disjoint(v4), v6: disjoint(v6) }
    }

    /// Whether the set holds no address at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Whether `address` belongs to one of the networks. O(log n), no allocation.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => holds(&self.v4, &address.to_bits()),
            IpAddr::V6(address) => holds(&self.v6, &address.to_bits()),
        }
    }
}

/// Which clients are served: all, those of some networks, all but those of some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    allow: Option<Networks>,
    deny: Networks,
}

impl Access {
    /// `None` where every client is served. With `allow`, even an empty one, whoever is in none of it is denied.
    #[must_use]
    pub fn new(allow: Option<&[Network]>, deny: &[Network]) -> Option<Self> {
        let is_needed = allow.is_some() || !deny.is_empty();
        is_needed.then(|| Self { allow: allow.map(Networks::new), deny: Networks::new(deny) })
    }

    /// Whether this client is not served: `deny` wins. O(log n), no allocation.
    #[must_use]
    pub fn denies(&self, client: IpAddr) -> bool {
        self.deny.contains(client) || self.allow.as_ref().is_some_and(|allow| !allow.contains(client))
    }
}

fn range_v4(address: u32, prefix: u8) -> (u32, u32) {
    let host_bits = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    (address & !host_bits, address | host_bits)
}

fn range_v6(address: u128, prefix: u8) -> (u128, u128) {
    let host_bits = u128::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    (address & !host_bits, address | host_bits)
}

/// The same ranges sorted, those that overlap merged.
fn disjoint<T: Ord + Copy>(mut ranges: Vec<(T, T)>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if first <= *end => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged
}

fn holds<T: Ord>(ranges: &[(T, T)], address: &T) -> bool {
    let after = ranges.partition_point(|(first, _)| first <= address);
    after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, last)| address <= last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn networks(list: &[(&str, u8)]) -> Networks {
        let list: Vec<_> = list
            .iter()
            .map(|(address, prefix)| Network { address: address.parse().unwrap(), prefix: *prefix })
            .collect();
        Networks::new(&list)
    }

    fn holds(set: &Networks, address: &str) -> bool {
        set.contains(address.parse().unwrap())
    }

    #[test]
    fn no_network_holds_nothing() {
        let none = Networks::default();
        assert!(none.is_empty());
        assert!(!holds(&none, "127.0.0.1") && !holds(&none, "::1"));
    }

    #[test]
    fn a_network_ends_where_its_prefix_says() {
        let set = networks(&[("10.1.2.3", 8), ("192.0.2.7", 32), ("2001:db8::", 32), ("::1", 128)]);
        for inside in ["10.0.0.0", "10.255.255.255", "192.0.2.7", "2001:db8:ffff::", "::1", "::ffff:10.2.3.4"] {
            assert!(holds(&set, inside), "{inside}");
        }
        for outside in ["9.255.255.255", "11.0.0.0", "192.0.2.6", "192.0.2.8", "2001:db9::", "::2", "::ffff:11.0.0.0"] {
            assert!(!holds(&set, outside), "{outside}");
        }
    }

    #[test]
    fn prefix_zero_holds_its_whole_family_and_no_other() {
        let set = networks(&[("0.0.0.0", 0)]);
        assert!(holds(&set, "255.255.255.255") && holds(&set, "0.0.0.0") && !holds(&set, "::1"));
        let set = networks(&[("::", 0)]);
        assert!(holds(&set, "ffff::") && !holds(&set, "1.2.3.4"));
    }

    #[test]
    fn a_mapped_network_is_the_one_it_maps() {
        let set = networks(&[("::ffff:10.0.0.0", 104)]);
        assert!(holds(&set, "10.9.9.9") && !holds(&set, "11.0.0.0"));
    }

    #[test]
    fn an_impossible_prefix_is_the_address() {
        let set = networks(&[("10.0.0.1", 200), ("::5", 255)]);
        assert!(holds(&set, "10.0.0.1") && !holds(&set, "10.0.0.0") && holds(&set, "::5") && !holds(&set, "::4"));
    }

    #[test]
    fn deny_wins_and_allow_lets_in_nobody_else() {
        let network = |text: &str| text.parse::<Network>().unwrap();
        let (ten, one) = ([network("10.0.0.0/8")], [network("10.0.0.1")]);
        for (allow, deny, client, denied) in [
            (Some(&ten[..]), &one[..], "10.0.0.2", false),
            (Some(&ten), &one, "10.0.0.1", true),
            (Some(&ten), &one, "::ffff:10.0.0.1", true),
            (Some(&ten), &one, "192.0.2.1", true),
            (Some(&ten), &[], "::ffff:10.9.9.9", false),
            (None, &one, "10.0.0.1", true),
            (None, &one, "::1", false),
            (Some(&[]), &[], "10.0.0.1", true),
        ] {
            let access = Access::new(allow, deny).unwrap();
            assert_eq!(access.denies(client.parse().unwrap()), denied, "{allow:?} {deny:?} {client}");
        }
        assert_eq!(Access::new(None, &[]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Addresses from a space of 256, so that overlaps, neighbours and misses all occur.
        #[test]
        fn the_answer_is_that_of_a_scan(list in prop::collection::vec((0u8.., 24u8..=32), 0..12), asked in 0u8..) {
            let list: Vec<_> = list
                .into_iter()
                .map(|(low, prefix)| Network { address: IpAddr::from([192, 0, 2, low]), prefix })
                .collect();
            let expected = list.iter().any(|network| {
                let IpAddr::V4(address) = network.address else { unreachable!() };
                let shift = 32 - u32::from(network.prefix);
                (u64::from(address.to_bits()) >> shift) == (u64::from(u32::from_be_bytes([192, 0, 2, asked])) >> shift)
            });
            prop_assert_eq!(Networks::new(&list).contains(IpAddr::from([192, 0, 2, asked])), expected);
        }
    }
}
