//! Sources of endpoints: which ones a configuration asks for, and the events of them.
//!
//! What sources are, how their lists are kept while they fail, and how names are looked up is `lb-discovery`'s. A source is
//! registered here, in [`sources`].

use std::fmt;
use std::io;
use std::sync::Arc;

use lb_config::{Cluster, EndpointAddress};
use lb_discovery::{Address, Dns, Failure, Found, Listing, Lookup, LookupFuture, Observer, Resolver, Sources};

use crate::events::{Event, Events};
use crate::net::Shortage;

/// The sources of each cluster. Addresses that stand in the file need none.
pub(crate) fn sources(clusters: &[Cluster], resolver: &Resolver) -> Vec<Sources> {
    let of = |cluster: &Cluster| {
        let mut sources = Sources::new(Arc::clone(&cluster.name));
        for endpoint in &cluster.endpoints {
            if let EndpointAddress::Name(host, port) = &endpoint.address {
                let (name, host) = (Arc::clone(&endpoint.name), Arc::clone(host));
                sources.add(Dns::new(resolver, name, host, *port, cluster.dns_interval));
            }
        }
        sources
    };
    clusters.iter().map(of).collect()
}

/// The system's resolver, which knows a failure of this machine from one of the name.
pub(crate) struct LocalLookup;

impl Lookup for LocalLookup {
    fn lookup<'a>(&'a self, name: &'a str, port: u16) -> LookupFuture<'a> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, port)).await;
            found.map(Iterator::collect).map_err(|error| failure(&error))
        })
    }
}

fn failure(error: &io::Error) -> Failure {
    match Shortage::of(error).or_else(Shortage::now) {
        Some(shortage) => Failure::Local(shortage.to_string()),
        None => Failure::Unanswered(error.to_string()),
    }
}

/// Puts lists in force by a function, and emits the transitions of sources.
pub(crate) struct PutInForce<F> {
    pub(crate) put: F,
    pub(crate) events: Arc<Events>,
}

impl<F: Fn(&Listing) + Send + Sync + 'static> Observer for PutInForce<F> {
    fn on_listing(&self, listing: &Listing) {
        (self.put)(listing);
    }

    fn on_answer(&self, cluster: &str, source: &str, found: &[Found]) {
        let addresses = Places(found).to_string();
        self.events.emit(Event::Resolved { cluster: cluster.into(), source: source.into(), addresses });
    }

    fn on_failure(&self, cluster: &str, source: &str, why: &Failure, kept: &[Found]) {
        self.events.emit(Event::ResolutionFailed {
            cluster: cluster.into(),
            source: source.into(),
            why: why.to_string(),
            is_local: matches!(why, Failure::Local(_)),
            kept: Places(kept).to_string(),
        });
    }
}

/// Addresses in a log line; `nothing` for none.
struct Places<'a>(&'a [Found]);

impl fmt::Display for Places<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for (place, found) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            match &found.address {
                Address::Ip(address) => write!(f, "{}", address.ip())?,
                Address::Unix(_) => found.address.fmt(f)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_as_its_addresses() {
        assert_eq!(Places(&[]).to_string(), "nothing");
        let at = |text: &str| Found::new("app:80", text.parse::<std::net::SocketAddr>().unwrap());
        assert_eq!(Places(&[at("10.0.0.1:80"), at("[::1]:80")]).to_string(), "10.0.0.1,::1");
    }

    #[test]
    fn what_this_machine_lacks_is_told_from_what_does_not_resolve() {
        let files = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
        assert!(matches!(failure(&files), Failure::Local(why) if why.contains("ulimit")));
        assert!(matches!(failure(&io::Error::other("no such name")), Failure::Unanswered(_)));
    }
}
