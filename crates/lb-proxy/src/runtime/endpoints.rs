//! The endpoints of a cluster: those of the file, wherever they are now, and those that its sources brought themselves.
//!
//! A name in the file is a source of its own, called like the endpoint: what it finds has the settings of the file. Other
//! sources bring endpoints with names and settings of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use lb_config::{self as valid, EndpointAddress};
use lb_discovery::{Address, Found, Listing};
use lb_policy::Identity;

/// What the sources of a cluster have reported.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    /// The last good list of each source, by its name.
    lists: BTreeMap<Arc<str>, Vec<Found>>,
    /// The sources in force that are no names of the file, in order.
    others: Vec<Arc<str>>,
}

/// One endpoint at one place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listed {
    pub(crate) endpoint: valid::Endpoint,
    pub(crate) identity: Identity,
    /// `None` while its name has never resolved.
    pub(crate) address: Option<Address>,
    /// Its name leads to other places as well.
    pub(crate) is_one_of_several: bool,
    /// Its source says that it can serve.
    pub(crate) is_ready: bool,
}

impl Endpoints {
    /// Takes over what sources have reported. It may be about the next configuration: what it does not name is kept until
    /// that one is in force.
    pub(crate) fn learn(&mut self, listing: &Listing) {
        let lists = listing.lists.iter().map(|list| (Arc::clone(&list.source), list.found.clone()));
        self.lists.extend(lists);
    }

    /// Another configuration is in force, whose sources are these; the lists of others are forgotten.
    pub(crate) fn adopt<'a>(&mut self, config: &valid::Cluster, sources: impl Iterator<Item = &'a Arc<str>>) {
        let is_configured = |name: &Arc<str>| config.endpoints.iter().any(|endpoint| endpoint.name == *name);
        self.others = sources.filter(|source| !is_configured(source)).cloned().collect();
        let others = &self.others;
        self.lists.retain(|source, _| others.contains(source) || is_configured(source));
    }

    /// Every endpoint wherever it is, and nowhere if it is not known yet.
    pub(crate) fn listed(&self, config: &valid::Cluster) -> Vec<Listed> {
        let mut all = Vec::new();
        for endpoint in &config.endpoints {
            match &endpoint.address {
                EndpointAddress::Ip(address) => all.push(Listed::at(endpoint, Some(Address::Ip(*address)))),
                EndpointAddress::Unix(path) => all.push(Listed::at(endpoint, Some(Address::Unix(path.clone())))),
                EndpointAddress::Name(..) => match self.lists.get(&endpoint.name).map(Vec::as_slice) {
                    None | Some([]) => all.push(Listed::at(endpoint, None)),
                    Some(found) => all.extend(found.iter().map(|one| Listed::found(endpoint.clone(), one, found))),
                },
            }
        }
        for found in self.others.iter().filter_map(|source| self.lists.get(source)) {
            all.extend(found.iter().map(|one| Listed::found(brought(one), one, found)));
        }
        all
    }
}

impl Listed {
    fn at(endpoint: &valid::Endpoint, address: Option<Address>) -> Self {
        let shown = address.as_ref().map_or_else(|| "unresolved".to_owned(), ToString::to_string);
        let identity = Identity::new(Arc::clone(&endpoint.name), shown);
        Self { endpoint: endpoint.clone(), identity, address, is_one_of_several: false, is_ready: true }
    }

    fn found(mut endpoint: valid::Endpoint, one: &Found, list: &[Found]) -> Self {
        endpoint.drain |= one.terminating;
        let is_one_of_several = list.iter().filter(|other| other.name == one.name).take(2).count() > 1;
        Self { is_one_of_several, is_ready: one.ready, ..Self::at(&endpoint, Some(one.address.clone())) }
    }
}

/// The settings of an endpoint that a source brought.
fn brought(found: &Found) -> valid::Endpoint {
    let address = match &found.address {
        Address::Ip(address) => EndpointAddress::Ip(*address),
        Address::Unix(path) => EndpointAddress::Unix(path.clone()),
    };
    valid::Endpoint {
        name: Arc::clone(&found.name),
        weight: found.weight.value(),
        priority: found.priority,
        zone: found.zone.clone(),
        ..valid::Endpoint::at(address)
    }
}
