//! What hashes, limits and stickiness read from a request.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Request;
use http::header::{COOKIE, HeaderName};
use lb_policy::PickCx;
use lb_ratelimit::ClientKey;

use crate::balance::Inspect;
use crate::rate_limit::Key;

/// The address of the client that sent a request. Whoever accepted its connection puts it into the request's extensions;
/// behind a proxy, that is the address the proxy reports, if the proxy is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddr {
    // Kept as bytes, since a key is borrowed.
    octets: [u8; 16],
    is_v4: bool,
}

impl ClientAddr {
    /// This address. An IPv4 address mapped into IPv6 is taken for the IPv4 address it is.
    #[must_use]
    pub const fn new(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                Self { octets: [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], is_v4: true }
            }
            IpAddr::V6(v6) => Self { octets: v6.octets(), is_v4: false },
        }
    }

    /// The address.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        let [a, b, c, d, ..] = self.octets;
        if self.is_v4 { IpAddr::V4(Ipv4Addr::new(a, b, c, d)) } else { IpAddr::V6(Ipv6Addr::from(self.octets)) }
    }

    fn octets(&self) -> &[u8] {
        self.octets.first_chunk::<4>().filter(|_| self.is_v4).map_or(&self.octets, |v4| v4)
    }
}

/// By the client's address, from the [`ClientAddr`] in the request's extensions; for a limit and with the feature `axum`, also from axum's
/// `ConnectInfo<SocketAddr>`.
///
/// For a pick, the 4 or 16 octets of it, as `ip_hash` wants them. For a limit, IPv4 by address and IPv6 by /64, see
/// [`ClientKey`]. A request without one has no key: it is spread by turns, and not limited.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByClient;

impl<B> Inspect<Request<B>> for ByClient {
    fn inspect<'a>(&'a self, request: &'a Request<B>, cx: &mut PickCx<'a>) {
        cx.key = request.extensions().get::<ClientAddr>().map(ClientAddr::octets);
    }
}

impl<B> Key<Request<B>> for ByClient {
    fn key<'a>(&'a self, request: &'a Request<B>, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        buffer.extend_from_slice(ClientKey::new(client_ip(request)?).as_bytes());
        Some(buffer)
    }
}

/// The client's address: what somebody says it is, or else that of its connection.
fn client_ip<B>(request: &Request<B>) -> Option<IpAddr> {
    let address = request.extensions().get::<ClientAddr>().map(ClientAddr::ip);
    #[cfg(feature = "axum")]
    let address = address.or_else(|| {
        type Connection = axum::extract::ConnectInfo<std::net::SocketAddr>;
        request.extensions().get::<Connection>().map(|connection| connection.0.ip())
    });
    address
}

/// By the value of a header; of several, the first. A request without it has no key.
#[derive(Clone, Debug)]
pub struct ByHeader(
    /// The header.
    pub HeaderName,
);

impl ByHeader {
    fn value<'a, B>(&self, request: &'a Request<B>) -> Option<&'a [u8]> {
        request.headers().get(&self.0).map(http::HeaderValue::as_bytes)
    }
}

impl<B> Inspect<Request<B>> for ByHeader {
    fn inspect<'a>(&'a self, request: &'a Request<B>, cx: &mut PickCx<'a>) {
        cx.key = self.value(request);
    }
}

impl<B> Key<Request<B>> for ByHeader {
    fn key<'a>(&'a self, request: &'a Request<B>, _buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        self.value(request)
    }
}

/// Sticks to the endpoint whose affinity a cookie holds, in decimal; a value that is no such number is ignored.
///
/// Set the cookie from [`Served::affinity`](super::Served::affinity) of the response. It is not signed: a client may
/// choose its endpoint.
#[derive(Clone, Debug)]
pub struct ByCookie(
    /// The cookie's name.
    pub String,
);

impl<B> Inspect<Request<B>> for ByCookie {
    fn inspect<'a>(&'a self, request: &'a Request<B>, cx: &mut PickCx<'a>) {
        let headers = request.headers().get_all(COOKIE).iter();
        let mut pairs = headers.filter_map(|header| header.to_str().ok()).flat_map(|header| header.split(';'));
        cx.preferred = pairs.find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            if name == self.0 { value.parse().ok() } else { None }
        });
    }
}

#[cfg(test)]
mod tests {
    use lb_core::Mono;
    use lb_policy::Entropy;

    use super::*;

    fn inspected<T>(inspect: &impl Inspect<Request<()>>, request: &Request<()>, read: impl Fn(&PickCx<'_>) -> T) -> T {
        let mut entropy = Entropy::seeded(1);
        let mut cx = PickCx::new(Mono::ZERO, &mut entropy);
        inspect.inspect(request, &mut cx);
        read(&cx)
    }

    fn from(address: &str) -> Request<()> {
        Request::builder().extension(ClientAddr::new(address.parse().unwrap())).body(()).unwrap()
    }

    fn keys(request: &Request<()>) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let mut buffer = Vec::new();
        let limited = ByClient.key(request, &mut buffer).map(<[u8]>::to_vec);
        (inspected(&ByClient, request, |cx| cx.key.map(<[u8]>::to_vec)), limited)
    }

    #[test]
    fn a_client_is_hashed_by_its_address_and_limited_by_its_network() {
        let v4 = Some(vec![192, 0, 2, 7]);
        assert_eq!(keys(&from("192.0.2.7")), (v4.clone(), v4.clone()));
        assert_eq!(keys(&from("::ffff:192.0.2.7")), (v4.clone(), v4));
        let (hashed, limited) = keys(&from("2001:db8::1"));
        assert_eq!(hashed.unwrap(), "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
        assert_eq!(limited.unwrap(), [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0]);
        assert_eq!(keys(&Request::new(())), (None, None));
    }

    #[test]
    fn a_header_is_a_key_when_it_is_there() {
        let by = ByHeader(HeaderName::from_static("x-user"));
        let request = Request::builder().header("X-User", "ann").header("X-User", "bob").body(()).unwrap();
        assert_eq!(inspected(&by, &request, |cx| cx.key.map(<[u8]>::to_vec)), Some(b"ann".to_vec()));
        assert_eq!(by.key(&Request::new(()), &mut Vec::new()), None);
    }

    #[test]
    fn a_cookie_is_found_among_others_and_nonsense_is_ignored() {
        let by = ByCookie("affinity".into());
        let prefers = |cookies: &[&str]| {
            let mut request = Request::new(());
            for cookie in cookies {
                request.headers_mut().append(COOKIE, cookie.parse().unwrap());
            }
            inspected(&by, &request, |cx| cx.preferred)
        };
        assert_eq!(prefers(&["a=1; affinity=18446744073709551615; b=2"]), Some(u64::MAX));
        assert_eq!(prefers(&["a=1", "affinity=7"]), Some(7));
        assert_eq!(prefers(&["affinity=seven", "xaffinity=7", "affinity", "affinity=18446744073709551616"]), None);
        assert_eq!(prefers(&[]), None);
    }
}
