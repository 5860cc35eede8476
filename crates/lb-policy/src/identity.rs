//! How an endpoint is identified within its cluster, and where it runs.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// Who an endpoint is within its cluster: the address as configured, and the one it resolved to.
///
/// Two clusters that list the same address share nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The address as it was written, `app-1:3000`: what hashes and sticky ids are made of, so that a container that
    /// comes back under another IP keeps its clients.
    pub name: Arc<str>,
    /// The address it resolved to, `10.0.0.7:3000`; the name again if that was an address already.
    pub address: Arc<str>,
}

impl Identity {
    /// An identity of these two.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, address: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), address: address.into() }
    }

    /// An endpoint written as an address already.
    #[must_use]
    pub fn literal(address: impl Into<Arc<str>>) -> Self {
        let name = address.into();
        Self { address: Arc::clone(&name), name }
    }
}

impl From<&str> for Identity {
    /// As [`literal`](Self::literal).
    fn from(address: &str) -> Self {
        Self::literal(address)
    }
}

impl From<String> for Identity {
    /// As [`literal`](Self::literal).
    fn from(address: String) -> Self {
        Self::literal(address)
    }
}

impl From<SocketAddr> for Identity {
    /// An address that needs no resolving.
    fn from(address: SocketAddr) -> Self {
        Self::literal(address.to_string())
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name == self.address { f.write_str(&self.name) } else { write!(f, "{} ({})", self.name, self.address) }
    }
}

/// Stands for an identity for as long as its cluster remembers it; never given to another identity of that cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(u64);

impl Uid {
    /// No endpoint.
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number, from one on, in the order in which the cluster first saw its endpoints.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }
}

/// A failure domain; the caller numbers its zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zone(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_shows_what_was_written_and_what_it_became() {
        assert_eq!(Identity::literal("10.0.0.1:80").to_string(), "10.0.0.1:80");
        assert_eq!(Identity::new("app:80", "10.0.0.1:80").to_string(), "app:80 (10.0.0.1:80)");
    }
}
