//! An endpoint as a source reports it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use lb_core::Weight;

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An address and port.
    Ip(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

/// One endpoint of a list. Name and address together identify it: a name with two addresses is two endpoints, and what is
/// learned about one is kept while both stay the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What operators call it: the name that resolves, the container, the pod. Labels of metrics use it.
    pub name: Arc<str>,
    /// Where it is.
    pub address: Address,
    /// Its share of traffic; default one.
    pub weight: Weight,
    /// Its tier, lower ones first; default 0.
    pub priority: u8,
    /// The failure domain it runs in; default unknown.
    pub zone: Option<Arc<str>>,
    /// Whether the source reports it as ready; default true. One that cannot stays listed and takes no requests.
    pub ready: bool,
    /// Whether it is about to end; default false. It finishes what runs and takes no new requests.
    pub terminating: bool,
    /// Further attributes from the source; default empty.
    pub labels: BTreeMap<String, String>,
}

impl Found {
    /// A ready endpoint with the defaults of every field.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, address: impl Into<Address>) -> Self {
        Self {
            name: name.into(),
            address: address.into(),
            weight: Weight::ONE,
            priority: 0,
            zone: None,
            ready: true,
            terminating: false,
            labels: BTreeMap::new(),
        }
    }

    /// The same, named by its address.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self::new(address.to_string(), address)
    }
}
