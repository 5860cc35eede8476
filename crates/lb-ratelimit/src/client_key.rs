//! What identifies a client to a limit.
//!
//! Who is given an IPv6 network is given at least a /64 and can use any of its 2⁶⁴ addresses, so that a limit by
//! address limits nobody. And a listener on `[::]` sees IPv4 clients as `::ffff:a.b.c.d`, whose /64 they all share, so
//! that the first one to reach the limit would shut out the rest. Hence: IPv6 by /64, IPv4 by address however it is
//! written.

use std::net::IpAddr;

/// The bytes that stand for a client: four for IPv4, the first eight for IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey {
    bytes: [u8; 8],
    len: u8,
}

impl ClientKey {
    /// The key of a client at this address.
    #[must_use]
    pub const fn new(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                Self { bytes: [a, b, c, d, 0, 0, 0, 0], len: 4 }
            }
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                Self { bytes: [a, b, c, d, e, f, g, h], len: 8 }
            }
        }
    }

    /// The bytes, for [`Keyed::check`](crate::Keyed::check). Keys of the two families differ in length.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }

    /// The networks around the client, the finer one first: its /48 and /32 for IPv6, its /24 and /16 for IPv4. They are the
    /// [coarser keys](crate::Key) of a client. Those of the two families differ in length.
    #[must_use]
    pub fn networks(&self) -> [&[u8]; 2] {
        let [fine, coarse] = if self.len == 4 { [3, 2] } else { [6, 4] };
        [&self.bytes[..fine], &self.bytes[..coarse]]
    }
}

impl From<IpAddr> for ClientKey {
    fn from(address: IpAddr) -> Self {
        Self::new(address)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn key(address: &str) -> ClientKey {
        ClientKey::new(address.parse().unwrap())
    }

    #[test]
    fn an_ipv6_client_is_its_64_network() {
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("2001:db8:1:2::1").as_bytes(), [0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 2]);
    }

    #[test]
    fn a_mapped_ipv4_client_is_an_ipv4_client() {
        assert_eq!(key("::ffff:192.0.2.7"), key("192.0.2.7"));
        assert_ne!(key("::ffff:192.0.2.7"), key("::ffff:192.0.2.8"));
        assert_eq!(key("192.0.2.7").as_bytes(), [192, 0, 2, 7]);
    }

    #[test]
    fn the_networks_of_a_client_contain_it() {
        assert_eq!(key("2001:db8:1:2::1").networks(), [&[0x20, 1, 0x0d, 0xb8, 0, 1][..], &[0x20, 1, 0x0d, 0xb8][..]]);
        assert_eq!(key("192.0.2.7").networks(), [&[192, 0, 2][..], &[192, 0][..]]);
    }

    #[test]
    fn an_ipv4_client_is_not_an_ipv6_network_that_begins_alike() {
        assert_ne!(key("192.0.2.7").as_bytes(), key("c000:0207::1").as_bytes());
    }
}
