//! Where to listen, where endpoints are, and networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use super::{ValueError, http};

/// An address to bind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListenAddress {
    /// A TCP address; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// An IP network, `10.0.0.0/8` or `::1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// Any address of the network.
    pub address: std::net::IpAddr,
    /// Leading bits that must agree: 0..=32 or 0..=128.
    pub prefix: u8,
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    /// An address.
    Ip(SocketAddr),
    /// A name to resolve, and a port.
    Name(Arc<str>, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

pub(crate) const LISTEN: &str = "an address such as \"0.0.0.0:80\", \"[::1]:80\" or \"unix:/run/lbproxy.sock\"";
pub(crate) const ENDPOINT: &str =
    "an address such as \"10.0.0.1:80\", \"app:80\", \"[::1]:80\", \"https://app:443\" or \"unix:/run/app.sock\"";
pub(crate) const NETWORK: &str = "a network such as \"10.0.0.0/8\" or \"::1\", or the name of one, such as \"private\"";

pub(crate) fn listen(text: &str) -> Result<ListenAddress, ValueError> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path).map(ListenAddress::Unix);
    }
    if let Ok(address) = text.parse() {
        return Ok(ListenAddress::Tcp(address));
    }
    let wrong = ValueError::new("is not an address to listen on", LISTEN);
    if let Some(port) = text.strip_prefix(['*', ':']).map(|rest| rest.trim_start_matches(':')).or(Some(text))
        && port.parse::<u16>().is_ok()
    {
        return Err(wrong.help(format!("write \"0.0.0.0:{port}\" for IPv4 or \"[::]:{port}\" for IPv6")));
    }
    if let Some((_, rest)) = text.split_once("://") {
        let rest = rest.split('/').next().unwrap_or_default();
        let error = ValueError::new("is a URL", LISTEN);
        return Err(match rest.parse::<SocketAddr>() {
            Ok(address) => error.help(format!("write \"{address}\"")),
            Err(_) => error,
        });
    }
    if let Some(address) = without_slash(text) {
        return Err(ValueError::new("has a `/` at its end", LISTEN).help(format!("write \"{address}\"")));
    }
    match text.rsplit_once(':') {
        Some(("localhost", port)) if port.parse::<u16>().is_ok() => {
            Err(wrong.help(format!("write \"127.0.0.1:{port}\"")))
        }
        Some((name, port)) if name.parse::<Ipv6Addr>().is_ok() && port.parse::<u16>().is_ok() => {
            Err(wrong.help(format!("write \"[{name}]:{port}\"")))
        }
        _ if text.parse::<IpAddr>().is_ok() => Err(ValueError::new("has no port", LISTEN)),
        Some((name, port)) if port.parse::<u16>().is_err() && is_name_or_address(name) => {
            Err(ValueError::new("has no port between 0 and 65535", LISTEN))
        }
        Some((name, port)) if http::host_name(name).is_ok() && name.parse::<Ipv4Addr>().is_err() => Err(wrong.help(
            format!("write an address of this machine, such as \"0.0.0.0:{port}\"; names go to the `hosts` of a route"),
        )),
        _ => Err(wrong),
    }
}

/// `127.0.0.1:80` of `127.0.0.1:80/`, which a browser's address bar gives.
fn without_slash(text: &str) -> Option<&str> {
    let rest = text.strip_suffix('/')?;
    (rest.rsplit_once(':')?.1.parse::<u16>().is_ok()).then_some(rest)
}

/// Whether it may stand before a port.
fn is_name_or_address(name: &str) -> bool {
    let inside = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    name.is_empty() || http::host_name(name).is_ok() || inside.is_some_and(|inside| inside.parse::<Ipv6Addr>().is_ok())
}

/// Where an endpoint is, and whether it was written with `https://`.
pub(crate) fn endpoint(text: &str) -> Result<(EndpointAddress, bool), ValueError> {
    let Some(rest) = text.strip_prefix("https://") else { return address(text).map(|at| (at, false)) };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('/') {
        return Err(ValueError::new("has a path, which belongs to the request", ENDPOINT));
    }
    // An IPv6 address has colons of its own.
    let has_port = rest.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
    let address = if has_port { address(rest) } else { address(&format!("{rest}:443")) };
    address.map(|at| (at, true))
}

fn address(text: &str) -> Result<EndpointAddress, ValueError> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path).map(EndpointAddress::Unix);
    }
    if let Some(rest) = text.strip_prefix("http://") {
        let rest = rest.split('/').next().unwrap_or_default();
        let port = if rest.contains(':') { "" } else { ":80" };
        return Err(ValueError::new("is a URL", ENDPOINT).help(format!("write \"{rest}{port}\"")));
    }
    if let Some(at) = text.find(char::is_whitespace) {
        let wrong = ValueError::new("has a space in it", ENDPOINT);
        let (address, weight) = (&text[..at], text[at..].trim());
        return Err(match weight.parse::<u16>() {
            Ok(_) => wrong.help(format!("write {{ address = \"{address}\", weight = {weight} }}")),
            Err(_) => wrong,
        });
    }
    if let Some(address) = without_slash(text) {
        return Err(ValueError::new("has a `/` at its end", ENDPOINT).help(format!("write \"{address}\"")));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return if address.port() == 0 { Err(no_port_zero()) } else { Ok(EndpointAddress::Ip(address)) };
    }
    if let Some((name, port)) = text.rsplit_once(':')
        && name.parse::<Ipv6Addr>().is_ok()
        && port.parse::<u16>().is_ok()
    {
        let wrong = ValueError::new("has an IPv6 address without brackets", ENDPOINT);
        return Err(wrong.help(format!("write \"[{name}]:{port}\"")));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err(ValueError::new("has no port", ENDPOINT));
    }
    let Some((name, port)) = text.rsplit_once(':') else {
        return Err(ValueError::new("has no port", ENDPOINT));
    };
    if name.is_empty() {
        let wrong = ValueError::new("has no host", ENDPOINT);
        return Err(match port.parse::<u16>() {
            Ok(1..) => wrong.help(format!("write \"127.0.0.1:{port}\"")),
            _ => wrong,
        });
    }
    let port = match port.parse::<u16>() {
        Ok(0) => return Err(no_port_zero()),
        Ok(port) => port,
        Err(_) if port.contains('/') => {
            let wrong = ValueError::new("has a path, which belongs to the request", ENDPOINT);
            let address = text.split('/').next().unwrap_or_default();
            return Err(wrong.help(format!("write \"{address}\"")));
        }
        Err(_) => return Err(ValueError::new("has no port between 1 and 65535", ENDPOINT)),
    };
    if name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && name.parse::<Ipv4Addr>().is_err() {
        return Err(ValueError::new("is not an IPv4 address", ENDPOINT));
    }
    match http::host_name(name) {
        Ok(()) => Ok(EndpointAddress::Name(name.to_ascii_lowercase().into(), port)),
        Err(what) => Err(ValueError::new(what, ENDPOINT)),
    }
}

pub(crate) fn network(text: &str) -> Result<Network, ValueError> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let Ok(address) = address.parse::<IpAddr>() else {
        return Err(ValueError::new("is not a network", NETWORK));
    };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let Some(prefix) = prefix else { return Ok(Network { address, prefix: longest }) };
    match prefix.parse::<u8>() {
        Ok(prefix) if prefix <= longest => Ok(Network { address, prefix }),
        _ => Err(ValueError::new("has no prefix length of the address", format!("a prefix length of 0 to {longest}"))),
    }
}

impl Network {
    /// Whether an address belongs to it. An IPv4 address mapped into IPv6 is taken as IPv4, on both sides.
    ///
    /// ```
    /// let network: lb_config::Network = "10.0.0.0/8".parse().unwrap();
    /// assert!(network.contains([10, 1, 2, 3].into()));
    /// assert!(!network.contains([11, 0, 0, 0].into()));
    /// ```
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                // A mapped network counts its prefix from the start of the IPv6 address.
                let prefix = if self.address.is_ipv4() { self.prefix } else { self.prefix.saturating_sub(96) };
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix.min(128))).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

/// `10.0.0.0/8`, `::1`, as in the file.
impl std::str::FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        network(text).map_err(|wrong| format!("`{text}` {}: expected {}", wrong.what, wrong.expected))
    }
}

/// As it is read: `10.0.0.0/8`, or the address alone where every bit counts.
impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let longest = if self.address.is_ipv4() { 32 } else { 128 };
        match self.prefix {
            prefix if prefix == longest => self.address.fmt(f),
            prefix => write!(f, "{}/{prefix}", self.address),
        }
    }
}

/// As it is read: `0.0.0.0:80`, `unix:/run/lbproxy.sock`.
impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// As it is read: `app:80`, `10.0.0.1:80`, `unix:/run/app.sock`.
impl std::fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn no_port_zero() -> ValueError {
    ValueError::new("has port 0, to which nothing can connect", ENDPOINT)
}

/// The kernel's `sun_path` holds 108 bytes with the closing zero.
fn unix(path: &str) -> Result<PathBuf, ValueError> {
    const EXPECTED: &str = "\"unix:\" and a path of 1 to 107 bytes";
    if path.is_empty() {
        return Err(ValueError::new("names no path", EXPECTED));
    }
    if path.len() > 107 {
        return Err(ValueError::new("has too long a path for a socket", EXPECTED));
    }
    if path.contains('\0') {
        return Err(ValueError::new("has a zero byte in its path", EXPECTED));
    }
    Ok(path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_listen_on() {
        for text in ["0.0.0.0:80", "127.0.0.1:0", "[::]:443", "unix:/run/x.sock"] {
            assert_eq!(listen(text).unwrap().to_string(), text);
        }
        for (text, help) in [
            ("80", Some("write \"0.0.0.0:80\" for IPv4 or \"[::]:80\" for IPv6")),
            (":80", Some("write \"0.0.0.0:80\" for IPv4 or \"[::]:80\" for IPv6")),
            ("*:80", Some("write \"0.0.0.0:80\" for IPv4 or \"[::]:80\" for IPv6")),
            ("localhost:80", Some("write \"127.0.0.1:80\"")),
            ("::1:80", Some("write \"[::1]:80\"")),
            (
                "example.com:80",
                Some("write an address of this machine, such as \"0.0.0.0:80\"; names go to the `hosts` of a route"),
            ),
            ("0.0.0.0:80/", Some("write \"0.0.0.0:80\"")),
            ("http://0.0.0.0:80/", Some("write \"0.0.0.0:80\"")),
            ("http://app", None),
            ("", None),
            ("10.0.0.1", None),
            ("10.0.0.1:65536", None),
            ("unix:", None),
        ] {
            assert_eq!(listen(text).unwrap_err().help.as_deref(), help, "{text}");
        }
        for text in [":70000", "127.0.0.1:70000", "[::1]:70000", "0.0.0.0:http"] {
            assert_eq!(listen(text).unwrap_err().what, "has no port between 0 and 65535", "{text}");
        }
        assert!(listen(&format!("unix:/{}", "x".repeat(107))).is_err());
    }

    #[test]
    fn addresses_of_endpoints() {
        for text in ["10.0.0.1:80", "[::1]:80", "n8n-1:5678", "my_app:80", "unix:/run/x.sock"] {
            assert_eq!(endpoint(text).unwrap().0.to_string(), text);
        }
        assert_eq!(endpoint("App:80").unwrap().0.to_string(), "app:80");
        for (text, name) in [
            ("https://App:8443", "app:8443"),
            ("https://app", "app:443"),
            ("https://10.0.0.1/", "10.0.0.1:443"),
            ("https://[::1]", "[::1]:443"),
            ("https://[::1]:8443", "[::1]:8443"),
        ] {
            let (address, https) = endpoint(text).unwrap();
            assert_eq!((address.to_string().as_str(), https), (name, true), "{text}");
        }
        for (text, what) in [
            ("", "has no port"),
            ("app", "has no port"),
            ("10.0.0.1", "has no port"),
            (":80", "has no host"),
            ("app:0", "has port 0, to which nothing can connect"),
            ("10.0.0.1:0", "has port 0, to which nothing can connect"),
            ("app:http", "has no port between 1 and 65535"),
            ("app:80/x", "has a path, which belongs to the request"),
            ("app:80/", "has a `/` at its end"),
            ("app:70000", "has no port between 1 and 65535"),
            ("::1:80", "has an IPv6 address without brackets"),
            ("10.0.0.256:80", "is not an IPv4 address"),
            ("https://app/path", "has a path, which belongs to the request"),
            ("https://", "has no host"),
            ("https://unix:/run/app.sock", "has a path, which belongs to the request"),
            ("http://app", "is a URL"),
            ("app:80 2", "has a space in it"),
            ("a..b:80", "is not a host name"),
        ] {
            assert_eq!(endpoint(text).unwrap_err().what, what, "{text}");
        }
        for (text, help) in [(":80", Some("write \"127.0.0.1:80\"")), (":70000", None), (":0", None)] {
            assert_eq!(endpoint(text).unwrap_err().help.as_deref(), help, "{text}");
        }
        assert_eq!(endpoint("::1:80").unwrap_err().help.unwrap(), "write \"[::1]:80\"");
        assert_eq!(endpoint("10.0.0.1:80/").unwrap_err().help.unwrap(), "write \"10.0.0.1:80\"");
        assert_eq!(endpoint("app:80/x").unwrap_err().help.unwrap(), "write \"app:80\"");
        assert_eq!(endpoint("http://app/").unwrap_err().help.unwrap(), "write \"app:80\"");
        assert_eq!(endpoint("app:80 2").unwrap_err().help.unwrap(), "write { address = \"app:80\", weight = 2 }");
    }

    #[test]
    fn networks_hold_what_is_in_them() {
        let holds = |network: &str, address: &str| -> bool {
            network.parse::<Network>().unwrap().contains(address.parse().unwrap())
        };
        assert!(holds("10.0.0.0/8", "10.255.0.1"));
        assert!(!holds("10.0.0.0/8", "11.0.0.0"));
        assert!(holds("0.0.0.0/0", "203.0.113.9"));
        assert!(!holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("::/0", "2001:db8::1"));
        assert!(holds("192.0.2.1", "192.0.2.1"));
        assert!(!holds("192.0.2.1", "192.0.2.2"));
        assert!(holds("192.0.2.0/24", "::ffff:192.0.2.7"), "a dual-stack socket shows IPv4 clients this way");
        assert!(holds("::ffff:192.0.2.0/120", "192.0.2.7"));
        assert!(holds("2001:db8::/32", "2001:db8:1::1"));
        for text in ["10.0.0.0/8", "::1", "2001:db8::/32", "0.0.0.0/0"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "localhost"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
