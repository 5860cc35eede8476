//! Which of many endpoints one of many proxies should know at all.
//!
//! A thousand proxies that each keep connections to a thousand endpoints keep a million. A subset of each proxy's own is enough, if
//! the subsets together use all endpoints equally, and if one endpoint more or less does not change them all.
//!
//! Two answers, both stable across processes; give the result to [`Cluster::apply`](crate::Cluster::apply).
//!
//! * [`rendezvous_subset`]: every proxy takes the k endpoints that bid most for it. One that comes or goes changes one place in the subsets that
//!   it is or would be in, and nothing else. How many proxies use an endpoint varies as chance does: mean m, standard deviation √m. gRPC's
//!   random subsetting (A68) has the same properties.
//! * [`deterministic_subset`]: the method of *Site Reliability Engineering*, chapter 20. Proxies are numbered from zero, and
//!   use is exactly even in every full round; but a change of the list changes nearly all subsets.

use crate::endpoint::affinity_of;
use crate::entropy::Entropy;
use crate::hashing::mix;

/// The places of the `size` endpoints that this proxy should use, ascending; all of them if there are no more. `client` names the proxy.
/// O(n log n).
///
/// ```
/// let names = ["a:80", "b:80", "c:80", "d:80"];
/// let subset = lb_policy::rendezvous_subset(&names, "proxy-7", 2);
/// assert_eq!(subset.len(), 2);
/// ```
#[must_use]
pub fn rendezvous_subset<N: AsRef<str>>(names: &[N], client: &str, size: usize) -> Vec<usize> {
    let client = mix(affinity_of(client));
    let mut bids: Vec<(u64, usize)> =
        names.iter().enumerate().map(|(place, name)| (mix(client ^ affinity_of(name.as_ref())), place)).collect();
    bids.sort_unstable_by(|one, other| other.cmp(one));
    let mut places: Vec<usize> = bids.into_iter().take(size).map(|(_, place)| place).collect();
    places.sort_unstable();
    places
}

/// The places among `endpoints` that the proxy of this number should use, in the order of its round's shuffle; all of them if there are
/// no more than `size`, and none if `size` is zero. O(n).
///
/// Endpoints that are left over when a round's shuffle is divided are other ones in every round.
#[must_use]
pub fn deterministic_subset(endpoints: usize, client: u64, size: usize) -> Vec<usize> {
    if size == 0 {
        return Vec::new();
    }
    let subsets = (endpoints / size).max(1) as u64;
    let mut places: Vec<usize> = (0..endpoints).collect();
    let mut entropy = Entropy::seeded(mix(client / subsets));
    for last in (1..places.len()).rev() {
        places.swap(last, entropy.below(last as u64 + 1) as usize);
    }
    let from = (client % subsets) as usize * size;
    places.into_iter().skip(from).take(size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("10.0.0.{n}:80")).collect()
    }

    #[test]
    fn numbered_proxies_use_every_endpoint_equally() {
        // 300 proxies with subsets of 10 of 300 endpoints: ten full rounds of 30 subsets, each endpoint once a round.
        let mut uses = vec![0; 300];
        for client in 0..300 {
            for place in deterministic_subset(300, client, 10) {
                uses[place] += 1;
            }
        }
        assert!(uses.iter().all(|&uses| uses == 10));
    }

    #[test]
    fn named_proxies_use_endpoints_as_chance_has_it() {
        let names = names(300);
        let mut uses = vec![0_u32; 300];
        for client in 0..300 {
            for place in rendezvous_subset(&names, &format!("proxy-{client}"), 10) {
                uses[place] += 1;
            }
        }
        // Binomial of mean 10: σ = 3.1. P(one of 300 is above 24) is about 1 %.
        assert!(uses.iter().all(|&uses| (1..=24).contains(&uses)), "{uses:?}");
        assert_eq!(uses.iter().sum::<u32>(), 3_000);
    }

    #[test]
    fn one_endpoint_more_or_less_changes_one_place_at_most() {
        let many = names(50);
        let fewer: Vec<&String> = many.iter().filter(|name| name.as_str() != "10.0.0.20:80").collect();
        for client in 0..100 {
            let client = format!("proxy-{client}");
            let before: Vec<&String> = rendezvous_subset(&many, &client, 8).into_iter().map(|n| &many[n]).collect();
            let after: Vec<&String> = rendezvous_subset(&fewer, &client, 8).into_iter().map(|n| fewer[n]).collect();
            let had_it = before.iter().any(|name| name.as_str() == "10.0.0.20:80");
            let changed = before.iter().filter(|name| !after.contains(name)).count();
            assert_eq!(changed, usize::from(had_it));
        }
    }

    #[test]
    fn small_and_empty_lists_are_ordinary() {
        assert_eq!(rendezvous_subset(&names(3), "p", 10), [0, 1, 2]);
        assert_eq!(rendezvous_subset(&names(0), "p", 10), []);
        assert_eq!(rendezvous_subset(&names(3), "p", 0), []);
        assert_eq!(deterministic_subset(0, 7, 10), []);
        assert_eq!(deterministic_subset(5, 7, 0), []);
        let mut all = deterministic_subset(3, 9, 10);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
    }
}
