//! Which endpoints a proxy uses, in what order of preference, and which are near it.
//!
//! Three answers of the configuration meet here: tiers (`priority`, `backup`), subsets of very many endpoints, and zones. What
//! follows from them is decided by lb-policy; this only says it in its words.

use lb_config::{Endpoint, LocalZone, Subset, SubsetBy};
use lb_policy::{BuiltIn, Zone, ZoneAware, deterministic_subset, rendezvous_subset};

/// A configured policy, which prefers near endpoints where the configuration says what is near.
pub(crate) type ZonedPolicy = ZoneAware<BuiltIn>;

/// The tier of backups: after all others.
pub(crate) const BACKUP: u8 = u8::MAX;

/// The tier of an endpoint, lower ones first.
pub(crate) const fn tier(endpoint: &Endpoint) -> u8 {
    if endpoint.backup { BACKUP } else { endpoint.priority }
}

/// Which of these (tier and name of each) a proxy with this subset uses. Every tier is a list of its own, lest chance leave a proxy with
/// stand-ins only.
pub(crate) fn used(subset: Option<&Subset>, listed: &[(u8, String)]) -> Vec<bool> {
    let Some(subset) = subset else { return vec![true; listed.len()] };
    let mut used = vec![false; listed.len()];
    let mut tiers: Vec<u8> = listed.iter().map(|&(tier, _)| tier).collect();
    tiers.sort_unstable();
    tiers.dedup();
    for tier in tiers {
        let (places, names): (Vec<usize>, Vec<&String>) = listed
            .iter()
            .enumerate()
            .filter(|(_, (of, _))| *of == tier)
            .map(|(place, (_, name))| (place, name))
            .unzip();
        let chosen = match &subset.by {
            SubsetBy::Name(client) => rendezvous_subset(&names, client, subset.size.get()),
            SubsetBy::Number(number) => deterministic_subset(names.len(), *number, subset.size.get()),
        };
        for place in chosen.into_iter().filter_map(|chosen| places.get(chosen)) {
            if let Some(used) = used.get_mut(*place) {
                *used = true;
            }
        }
    }
    used
}

/// How a cluster's endpoints are told apart by zone, by a proxy in one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Zoning {
    /// Where this proxy is.
    pub(crate) local: Zone,
    /// Proxies in each zone.
    pub(crate) origins: Vec<(Zone, u32)>,
    pub(crate) minimum: usize,
}

impl Zoning {
    /// `number` gives each name of a zone its number.
    pub(crate) fn new(local: &LocalZone, endpoints: &[Endpoint], mut number: impl FnMut(&str) -> Zone) -> Self {
        let here = number(&local.name);
        let mut origins: Vec<(Zone, u32)> = if local.proxies.is_empty() {
            let zones = endpoints.iter().filter_map(|endpoint| endpoint.zone.as_deref());
            zones.map(|zone| (number(zone), 1)).chain([(here, 1)]).collect()
        } else {
            local.proxies.iter().map(|(zone, &count)| (number(zone), count)).collect()
        };
        origins.sort_unstable();
        origins.dedup();
        // Whoever counts the proxies and forgets its own zone still has one in it.
        if !origins.iter().any(|&(zone, count)| zone == here && count > 0) {
            origins.push((here, 1));
        }
        Self { local: here, origins, minimum: local.minimum }
    }
}

/// Numbers the names of zones, in the order in which they are met.
#[derive(Debug, Default)]
pub(crate) struct ZoneNames(Vec<String>);

impl ZoneNames {
    pub(crate) fn number(&mut self, name: &str) -> Zone {
        let place = self.0.iter().position(|known| known == name).unwrap_or_else(|| {
            self.0.push(name.to_owned());
            self.0.len() - 1
        });
        Zone(u32::try_from(place).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::num::NonZeroUsize;

    use lb_config::EndpointAddress;

    use super::*;

    fn listed(counts: &[(u8, usize)]) -> Vec<(u8, String)> {
        counts.iter().flat_map(|&(tier, count)| (0..count).map(move |n| (tier, format!("t{tier}-{n}:80")))).collect()
    }

    fn subset(size: usize, by: SubsetBy) -> Subset {
        Subset { size: NonZeroUsize::new(size).unwrap(), by }
    }

    #[test]
    fn a_subset_has_so_many_of_each_tier() {
        let listed = listed(&[(0, 30), (BACKUP, 2)]);
        for by in [SubsetBy::Name("proxy-1".into()), SubsetBy::Number(4)] {
            let used = used(Some(&subset(5, by)), &listed);
            let count = |tier| used.iter().zip(&listed).filter(|(used, (of, _))| **used && *of == tier).count();
            assert_eq!((count(0), count(BACKUP)), (5, 2));
        }
        assert_eq!(used(None, &listed), [true; 32]);
    }

    #[test]
    fn numbered_proxies_share_the_endpoints_out_and_named_ones_differ() {
        let listed = listed(&[(0, 30)]);
        let mut uses = [0; 30];
        for number in 0..6 {
            let used = used(Some(&subset(5, SubsetBy::Number(number))), &listed);
            uses.iter_mut().zip(used).for_each(|(uses, used)| *uses += u32::from(used));
        }
        assert_eq!(uses, [1; 30]);
        let of = |name: &str| used(Some(&subset(5, SubsetBy::Name(name.into()))), &listed);
        assert!(of("a") == of("a") && of("a") != of("b"));
    }

    fn endpoint(zone: Option<&str>) -> Endpoint {
        let address = EndpointAddress::Name("app".into(), 80);
        Endpoint { zone: zone.map(Into::into), ..Endpoint::at(address) }
    }

    #[test]
    fn without_a_count_there_is_a_proxy_wherever_there_are_endpoints_and_here() {
        let mut names = ZoneNames::default();
        let (a, b, c) = (names.number("a"), names.number("b"), names.number("c"));
        let endpoints = [endpoint(Some("b")), endpoint(None), endpoint(Some("b")), endpoint(Some("a"))];
        let local = |name: &str, proxies: &[(&str, u32)]| LocalZone {
            name: name.into(),
            proxies: proxies.iter().map(|&(zone, count)| (zone.into(), count)).collect::<BTreeMap<_, _>>(),
            minimum: 6,
        };
        let mut of = |local: &LocalZone| Zoning::new(local, &endpoints, |name| names.number(name));
        let zoning = of(&local("c", &[]));
        assert_eq!((zoning.local, zoning.origins), (c, vec![(a, 1), (b, 1), (c, 1)]));
        assert_eq!(of(&local("a", &[("a", 3), ("b", 2)])).origins, [(a, 3), (b, 2)]);
        assert_eq!(of(&local("c", &[("a", 3)])).origins, [(a, 3), (c, 1)]);
    }
}
