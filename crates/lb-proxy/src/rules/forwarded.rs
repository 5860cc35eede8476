//! The client's address and the forwarding headers to the endpoint.
//!
//! An endpoint behind a proxy sees the proxy's address. The client's address is in headers, and any client can write
//! headers. So headers are trusted only from a peer within the listener's `trusted_proxies`: they are kept, its list is
//! appended to, and the client is the last address of the list that is not itself a trusted proxy. Headers from other
//! peers are replaced or removed. Using the first address of the list, as many proxies do, lets every client choose its
//! own address.
//!
//! | header | peer not trusted | peer trusted |
//! |---|---|---|
//! | `X-Forwarded-For` | the peer | what came, then the peer |
//! | `X-Forwarded-Proto` | how it came to us | what came; else how it came to us |
//! | `X-Forwarded-Host` | `Host` as received | what came; else `Host` |
//! | `X-Forwarded-Port` | the listener's port | what came; else the listener's, see below |
//! | `X-Real-IP` | the peer | the client, as found |
//! | `Forwarded` | one element for the peer | what came, then one for the peer |
//!
//! Decisions that the contract leaves open:
//!
//! - From an untrusted peer we remove every `X-Forwarded…` header (also `-User`, `-Prefix`, `-Ssl`),
//!   `X-Real-IP` and `Forwarded`, whichever of them the route writes and also when it writes none. Spellings with `_`
//!   are removed too: programs behind CGI, WSGI or PHP cannot distinguish them. `Proxy` is removed from all requests,
//!   since the same programs would use it as their `HTTP_PROXY` (httpoxy).
//! - With a trusted peer, headers of a kind that the route does not write pass unchanged. If the peer sent its list in
//!   the other kind only, the list we begin starts with the client found there, so that the proxy is never taken for
//!   the client.
//! - The client is looked up in `X-Forwarded-For`, and in `Forwarded` only where the first is missing, because proxies
//!   that do not know a header pass it on as the client wrote it, and far more of them know only the first. A trusted
//!   proxy must write or remove the header that we would trust. An invalid address ends the walk: the addresses before it
//!   are not trustworthy.
//! - The listener's port is not the client's where another proxy ended TLS. If the scheme that came is not ours, the
//!   port is that of `Host`, or the scheme's own.
//! - Of a list of schemes the first counts, which is the client's. A wrong one affects only its sender.
//! - A peer on a Unix socket is on this machine and is written `127.0.0.1`. It is trusted if the listener trusts any
//!   network at all.
//! - `Via` is passed on but not added, although RFC 9110 §7.6.3 asks gateways to: nginx as an endpoint stops
//!   compressing when it sees one, and none of nginx, HAProxy and Traefik adds it. `headers.request.add = { Via = "1.1
//!   lbproxy" }` does.

use std::net::{IpAddr, Ipv4Addr};

use lb_config::Forwarded;
use smallvec::SmallVec;

use super::client_cert;
use super::look_alike::{begins_like, is_like};
use super::networks::Networks;
use super::text::{AddressText, Text};
use crate::message::{Edits, Name, RequestHead, name};

/// How a request reached us: facts of its connection, which no client can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionFacts {
    /// The address of the peer; `None` on a Unix socket.
    pub peer: Option<IpAddr>,
    /// Whether it came over TLS.
    pub is_tls: bool,
    /// The port the peer connected to; 0 on a Unix socket.
    pub port: u16,
}

/// How the client speaks to the first proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    const fn of_tls(is_tls: bool) -> Self {
        if is_tls { Self::Https } else { Self::Http }
    }

    /// A scheme as headers name it; those of WebSocket are the ones below them.
    fn parse(text: &[u8]) -> Option<Self> {
        let is = |name: &str| text.eq_ignore_ascii_case(name.as_bytes());
        if is("https") || is("wss") {
            Some(Self::Https)
        } else if is("http") || is("ws") {
            Some(Self::Http)
        } else {
            None
        }
    }
}

/// Where a request comes from, after asking the proxies we trust.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The client: for limits, logs, hashing and `{client_ip}`. IPv4 within IPv6 is IPv4.
    pub client: IpAddr,
    /// [`client`](Self::client) as text.
    pub client_text: AddressText,
    /// [`ConnectionFacts::port`] as text.
    pub port_text: Text<5>,
    /// The peer of the connection; `127.0.0.1` for a Unix socket.
    pub peer: IpAddr,
    /// How the client speaks to the first proxy, ourselves perhaps.
    pub scheme: Scheme,
    /// Whether the peer's headers are trusted.
    pub is_trusted: bool,
    /// How it reached us.
    pub arrival: ConnectionFacts,
}

impl Origin {
    /// Finds the client of a request.
    ///
    /// Cost: one binary search for a peer that is not trusted; for one that is, one for each proxy on the way.
    #[must_use]
    pub fn new(arrival: ConnectionFacts, trusted: &Networks, head: &RequestHead) -> Self {
        let peer = arrival.peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |peer| peer.to_canonical());
        let is_trusted = match arrival.peer {
            Some(_) => trusted.contains(peer),
            None => !trusted.is_empty(),
        };
        let mut scheme = Scheme::of_tls(arrival.is_tls);
        let mut client = peer;
        if is_trusted {
            let chain = ForwardedChain::read(head);
            client = walk(peer, trusted, &chain);
            scheme = chain.scheme.unwrap_or(scheme);
        }
        Self {
            client,
            client_text: Text::of_address(client),
            port_text: Text::of_number(arrival.port),
            peer,
            scheme,
            is_trusted,
            arrival,
        }
    }

    /// The port the client spoke to, as far as we know. Behind a proxy that ended TLS for us it is not our listener's.
    fn port(&self, head: &RequestHead) -> u16 {
        if self.scheme == Scheme::of_tls(self.arrival.is_tls) {
            return self.arrival.port;
        }
        head.authority().and_then(|authority| authority.port).unwrap_or(self.scheme.port())
    }
}

/// The forwarding headers of a trusted peer.
struct ForwardedChain<'a> {
    /// The addresses on the way, the client's first.
    path: SmallVec<[&'a [u8]; 4]>,
    scheme: Option<Scheme>,
}

impl<'a> ForwardedChain<'a> {
    fn read(head: &'a RequestHead) -> Self {
        let mut path: SmallVec<[&[u8]; 4]> = head.headers(name::X_FORWARDED_FOR).flat_map(items).collect();
        let mut scheme =
            head.header(name::X_FORWARDED_PROTO).and_then(|value| items(value).next()).and_then(Scheme::parse);
        if path.is_empty() {
            let mut first = true;
            for element in head.headers(name::FORWARDED).flat_map(elements) {
                if first && scheme.is_none() {
                    scheme = parameter(element, b"proto").and_then(Scheme::parse);
                }
                first = false;
                path.push(parameter(element, b"for").unwrap_or_default());
            }
        }
        Self { path, scheme }
    }
}

/// The last address on the way that is not a trusted proxy.
fn walk(peer: IpAddr, trusted: &Networks, chain: &ForwardedChain<'_>) -> IpAddr {
    let mut client = peer;
    for node in chain.path.iter().rev() {
        let Some(address) = address(node) else { break };
        client = address;
        if !trusted.contains(address) {
            break;
        }
    }
    client
}

/// Writes the forwarding headers into `edits`. [`Forwarded::preserve_host`] is handled by [`set_host`].
///
/// Cost: a comparison of each header's first letter, five lines written, no allocation except that of the edits; a list
/// of a trusted peer is copied once. For a client without forwarding headers of its own, the result is the same for all
/// its requests to one host: `ForwardedHeaderCache` keeps it.
pub fn write(kinds: Forwarded, origin: &Origin, head: &RequestHead, edits: &mut Edits) {
    scrub(origin.is_trusted, head, edits);
    if kinds.x_forwarded {
        write_x_forwarded(origin, head, edits);
    }
    if kinds.rfc7239 {
        put(edits, name::FORWARDED, &rfc7239(origin, head));
    }
}

/// Whether a header looks like one of those that [`write()`], [`client_cert`] or the request's id take out or replace.
pub(crate) fn has_claims(head: &RequestHead) -> bool {
    head.iter().any(|(name, _)| {
        // Two letters rule out almost every other name.
        let Some(begin) = name.first_chunk::<2>() else { return false };
        match begin.map(|letter| letter | 0x20) {
            [b'x', _] => is_forgery(name) || is_like(name, b"x-request-id") || client_cert::is_of_the_family(name),
            [b'f', b'o'] => is_forgery(name),
            [b'p', b'r'] => is_like(name, b"proxy"),
            [b's', b's'] | [b'c', b'l'] => client_cert::is_of_the_family(name),
            _ => false,
        }
    })
}

/// The headers about a client that is not trusted, as they were last written on its connection.
#[derive(Debug, Default)]
pub(crate) enum ForwardedHeaderCache {
    /// No request came yet. The only one of its connection would keep them for nothing.
    #[default]
    Unused,
    /// A request came.
    Empty,
    Kept(Box<Kept>),
}

#[derive(Debug)]
pub(crate) struct Kept {
    kinds: Forwarded,
    generation: u64,
    host: SmallVec<[u8; 48]>,
    edits: Edits,
}

impl ForwardedHeaderCache {
    /// Adds them to `edits`: what was written for the last request, if it is the same for this one. Only for a peer that is not
    /// trusted and a head that [claims](has_claims) nothing.
    pub(crate) fn write(
        &mut self,
        kinds: Forwarded,
        generation: u64,
        origin: &Origin,
        head: &RequestHead,
        edits: &mut Edits,
    ) {
        debug_assert!(!origin.is_trusted && !has_claims(head));
        let host = head.host().unwrap_or_default();
        match self {
            Self::Unused => {
                *self = Self::Empty;
                write_claimless(kinds, origin, head, edits);
            }
            Self::Kept(last)
                if last.generation == generation && last.host.as_slice() == host && last.kinds == kinds =>
            {
                edits.extend(&last.edits);
            }
            Self::Empty | Self::Kept(_) => {
                // Five names and the ends of their lines, the client's address twice, a scheme, a port and the host.
                let mut written = Edits::only_adding(104 + 2 * origin.client_text.as_bytes().len() + host.len());
                write_claimless(kinds, origin, head, &mut written);
                edits.extend(&written);
                *self =
                    Self::Kept(Box::new(Kept { kinds, generation, host: SmallVec::from_slice(host), edits: written }));
            }
        }
    }
}

/// As [`write()`], for a client that is not trusted and a head that [claims](has_claims) nothing: there is nothing to leave out.
fn write_claimless(kinds: Forwarded, origin: &Origin, head: &RequestHead, edits: &mut Edits) {
    // A value that is none is not written; the client has sent none in its place.
    if kinds.x_forwarded {
        of_the_peer(origin, head, |name, value| {
            let _ = edits.put_new(name, value);
        });
    }
    if kinds.rfc7239 {
        let _ = edits.put_new(name::FORWARDED, &rfc7239(origin, head));
    }
}

/// Sends the endpoint's own name as `Host`, for `forwarded.host = "endpoint"`: the address as configured, without
/// `https://` and, behind TLS, without its port 443; for a Unix socket, which has no name, `localhost`.
pub fn set_host(endpoint: &lb_config::EndpointAddress, is_tls: bool, edits: &mut Edits) {
    match endpoint {
        lb_config::EndpointAddress::Name(host, 443) if is_tls => put(edits, name::HOST, host.as_bytes()),
        lb_config::EndpointAddress::Ip(address) => put(edits, name::HOST, Text::<64>::of(address).as_bytes()),
        lb_config::EndpointAddress::Name(host, port) => put(edits, name::HOST, format!("{host}:{port}").as_bytes()),
        lb_config::EndpointAddress::Unix(_) => put(edits, name::HOST, b"localhost"),
    }
}

/// Removes the headers that only the proxy may write.
fn scrub(is_trusted: bool, head: &RequestHead, edits: &mut Edits) {
    for (index, (name, _)) in head.iter().enumerate() {
        if is_scrubbed(is_trusted, name) {
            edits.drop_at(index);
        }
    }
}

/// Whether a header or trailer of that name reaches no endpoint as it came.
pub(super) fn is_scrubbed(is_trusted: bool, name: &[u8]) -> bool {
    (!is_trusted && is_forgery(name)) || is_like(name, b"proxy")
}

/// Whether only a trusted peer may send it.
fn is_forgery(name: &[u8]) -> bool {
    begins_like(name, b"x-forwarded") || is_like(name, b"x-real-ip") || is_like(name, b"forwarded")
}

/// What is said about a peer that is not trusted, which is the client.
fn of_the_peer(origin: &Origin, head: &RequestHead, mut put: impl FnMut(Name<'static>, &[u8])) {
    put(name::X_REAL_IP, origin.client_text.as_bytes());
    put(name::X_FORWARDED_FOR, origin.client_text.as_bytes());
    put(name::X_FORWARDED_PROTO, origin.scheme.as_str().as_bytes());
    put(name::X_FORWARDED_PORT, origin.port_text.as_bytes());
    if let Some(host) = head.host() {
        put(name::X_FORWARDED_HOST, host);
    }
}

fn write_x_forwarded(origin: &Origin, head: &RequestHead, edits: &mut Edits) {
    if !origin.is_trusted {
        return of_the_peer(origin, head, |name, value| put(edits, name, value));
    }
    put(edits, name::X_REAL_IP, origin.client_text.as_bytes());
    let mut list = joined(head, name::X_FORWARDED_FOR);
    if list.is_empty() && origin.client != origin.peer {
        list.extend_from_slice(origin.client_text.as_bytes());
    }
    separate(&mut list);
    list.extend_from_slice(AddressText::of_address(origin.peer).as_bytes());
    put(edits, name::X_FORWARDED_FOR, &list);

    // What came is set again, which drops its look-alikes.
    let came = |name| head.header(name);
    put(edits, name::X_FORWARDED_PROTO, came(name::X_FORWARDED_PROTO).unwrap_or(origin.scheme.as_str().as_bytes()));
    let port = Text::<5>::of_number(origin.port(head));
    put(edits, name::X_FORWARDED_PORT, came(name::X_FORWARDED_PORT).unwrap_or(port.as_bytes()));
    if let Some(host) = came(name::X_FORWARDED_HOST).or(head.host()) {
        put(edits, name::X_FORWARDED_HOST, host);
    }
}

fn rfc7239(origin: &Origin, head: &RequestHead) -> Vec<u8> {
    let mut list = if origin.is_trusted { joined(head, name::FORWARDED) } else { Vec::with_capacity(96) };
    if list.is_empty() && origin.client != origin.peer {
        push_for(&mut list, origin.client);
        list.extend_from_slice(b";proto=");
        list.extend_from_slice(origin.scheme.as_str().as_bytes());
    }
    separate(&mut list);
    push_for(&mut list, origin.peer);
    if let Some(host) = head.host() {
        list.extend_from_slice(b";host=\"");
        for &byte in host {
            // A host has neither; should that ever change, a quote must not end the string.
            if matches!(byte, b'"' | b'\\') {
                list.push(b'\\');
            }
            list.push(byte);
        }
        list.push(b'"');
    }
    list.extend_from_slice(b";proto=");
    list.extend_from_slice(Scheme::of_tls(origin.arrival.is_tls).as_str().as_bytes());
    list
}

/// `for=192.0.2.1` or `for="[2001:db8::1]"`: colons and brackets need quotes (RFC 7239 §6).
fn push_for(list: &mut Vec<u8>, address: IpAddr) {
    let text = AddressText::of_address(address);
    let (before, after): (&[u8], &[u8]) = match address {
        IpAddr::V4(_) => (b"for=", b""),
        IpAddr::V6(_) => (b"for=\"[", b"]\""),
    };
    list.extend_from_slice(before);
    list.extend_from_slice(text.as_bytes());
    list.extend_from_slice(after);
}

/// All lines of a list header as one.
fn joined(head: &RequestHead, name: Name<'static>) -> Vec<u8> {
    let mut list = Vec::new();
    for line in head.headers(name) {
        separate(&mut list);
        list.extend_from_slice(line);
    }
    list
}

fn separate(list: &mut Vec<u8>) {
    if !list.is_empty() {
        list.extend_from_slice(b", ");
    }
}

/// Sets a header; should the value not be one, the client's own must not pass in its place.
fn put(edits: &mut Edits, name: Name<'static>, value: &[u8]) {
    if edits.put(name, value).is_err() {
        let _ = edits.remove(name);
    }
}

/// The items of a comma-separated list, empty ones left out.
fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|item| !item.is_empty())
}

/// The elements of `Forwarded`: split at commas outside of quotes.
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    split_unquoted(value, b',').filter(|element| !element.is_empty())
}

/// The value of a parameter of an element, without its quotes. One with an escape within keeps it, and is then no
/// address.
fn parameter<'a>(element: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    split_unquoted(element, b';').find_map(|pair| {
        let at = memchr::memchr(b'=', pair)?;
        let (name, value) = pair.split_at_checked(at)?;
        let value = value.get(1..)?;
        let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        name.eq_ignore_ascii_case(wanted).then_some(value)
    })
}

/// Splits at `separator` outside of quoted strings. A string that does not end reaches to the end of the value.
fn split_unquoted(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    value
        .split(move |&byte| {
            let ends = byte == separator && !quoted;
            quoted ^= byte == b'"' && !escaped;
            escaped = byte == b'\\' && quoted && !escaped;
            ends
        })
        .map(<[u8]>::trim_ascii)
}

/// The address of a node as proxies write it: with or without a port, IPv6 with or without brackets.
fn address(node: &[u8]) -> Option<IpAddr> {
    let node = std::str::from_utf8(node).ok()?;
    let host = match node.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => match node.split_once(':') {
            Some((host, port)) if !port.contains(':') => host,
            _ => node,
        },
    };
    host.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use lb_config::Network;

    use super::*;
    use crate::rules::testing::{get, head, sent};

    const X: Forwarded = Forwarded { x_forwarded: true, rfc7239: false, preserve_host: true };
    const RFC: Forwarded = Forwarded { x_forwarded: false, rfc7239: true, preserve_host: true };
    const BOTH: Forwarded = Forwarded { x_forwarded: true, rfc7239: true, preserve_host: true };
    const OFF: Forwarded = Forwarded { x_forwarded: false, rfc7239: false, preserve_host: true };

    /// Trusts 10.0.0.0/8 and fd00::/8.
    fn trusted() -> Networks {
        Networks::new(&[
            Network { address: "10.0.0.0".parse().unwrap(), prefix: 8 },
            Network { address: "fd00::".parse().unwrap(), prefix: 8 },
        ])
    }

    fn from(peer: &str) -> ConnectionFacts {
        ConnectionFacts { peer: Some(peer.parse().unwrap()), is_tls: false, port: 8080 }
    }

    fn client(peer: &str, lines: &str) -> String {
        let head = head(&format!("GET / HTTP/1.1\nHost: a\n{lines}"));
        Origin::new(from(peer), &trusted(), &head).client_text.as_str().to_owned()
    }

    #[test]
    fn what_is_remembered_is_what_would_be_written() {
        let requests = [
            ("Host: a", BOTH, 1),
            ("Host: a\nAccept: x", BOTH, 1),
            ("Host: b", BOTH, 1),
            ("Host: a\nAccept: y", BOTH, 1),
            ("Host: b", X, 1),
            ("Host: b", OFF, 2),
            ("X-Trace: 1", RFC, 2),
        ];
        let mut last = ForwardedHeaderCache::default();
        for (lines, kinds, generation) in requests {
            let head = head(&format!("GET / HTTP/1.0\n{lines}"));
            let origin = Origin::new(from("192.0.2.1"), &trusted(), &head);
            let mut edits = Edits::new();
            write(kinds, &origin, &head, &mut edits);
            let mut remembered = Edits::new();
            last.write(kinds, generation, &origin, &head, &mut remembered);
            assert_eq!(sent(&head, &remembered), sent(&head, &edits), "{lines}");
        }
    }

    #[test]
    fn whatever_a_client_may_not_say_is_a_claim() {
        for name in ["x-forwarded-user", "X_Forwarded_For", "X-Real-IP", "forwarded", "PROXY", "x-request_id"] {
            assert!(has_claims(&head(&format!("GET / HTTP/1.1\nHost: a\n{name}: x"))), "{name}");
        }
        let others = "X-Requested-With: y\nForwarded-For: z\nPragma: no-cache\nProxy-Authorization: b\nXx: y\nFrom: m";
        assert!(!has_claims(&head(&format!("GET / HTTP/1.1\nHost: a\n{others}"))));
    }

    fn written(kinds: Forwarded, arrival: ConnectionFacts, lines: &str) -> Vec<String> {
        let head = head(&format!("GET / HTTP/1.1\nHost: Example.com:8080\n{lines}"));
        let mut edits = Edits::new();
        write(kinds, &Origin::new(arrival, &trusted(), &head), &head, &mut edits);
        let mut lines = sent(&head, &edits);
        lines.retain(|line| line != "Host: Example.com:8080");
        lines
    }

    #[test]
    fn nobody_is_believed_who_is_not_trusted() {
        assert_eq!(client("192.0.2.1", "X-Forwarded-For: 203.0.113.9"), "192.0.2.1");
        assert_eq!(client("192.0.2.1", "Forwarded: for=203.0.113.9"), "192.0.2.1");
    }

    #[test]
    fn the_client_is_the_last_address_that_is_no_trusted_proxy() {
        for (lines, expected) in [
            ("", "10.0.0.1"),
            ("X-Forwarded-For: 203.0.113.9", "203.0.113.9"),
            ("X-Forwarded-For: 1.1.1.1, 203.0.113.9, 10.0.0.7", "203.0.113.9"),
            ("X-Forwarded-For: 1.1.1.1\nX-Forwarded-For: 203.0.113.9,10.0.0.7 ,, ", "203.0.113.9"),
            ("X-Forwarded-For: 10.0.0.5, 10.0.0.6", "10.0.0.5"),
            ("X-Forwarded-For: 203.0.113.9:4711", "203.0.113.9"),
            ("X-Forwarded-For: [2001:db8::1]:4711", "2001:db8::1"),
            ("X-Forwarded-For: 2001:db8::1", "2001:db8::1"),
            ("X-Forwarded-For: ::ffff:203.0.113.9", "203.0.113.9"),
            ("X-Forwarded-For: 203.0.113.9, unknown, 10.0.0.7", "10.0.0.7"),
            ("X-Forwarded-For: unknown", "10.0.0.1"),
            ("X-Forwarded-For: 203.0.113.9\nForwarded: for=198.51.100.1", "203.0.113.9"),
            ("Forwarded: for=1.1.1.1, for=\"[2001:db8::1]:4711\";proto=https, for=10.0.0.7", "2001:db8::1"),
            ("Forwarded: For=\"203.0.113.9\"", "203.0.113.9"),
            ("Forwarded: proto=https;by=\"a,b\\\"c,for=9.9.9.9\";for=203.0.113.9", "203.0.113.9"),
            ("Forwarded: for=203.0.113.9, for=_hidden", "10.0.0.1"),
            ("Forwarded: for=203.0.113.9, for=\"10.0.0.8", "10.0.0.1"),
            ("X-Real-IP: 203.0.113.9", "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", lines), expected, "{lines}");
        }
        assert_eq!(client("::ffff:10.0.0.1", "X-Forwarded-For: 203.0.113.9"), "203.0.113.9");
        assert_eq!(client("fd00::1", "X-Forwarded-For: 203.0.113.9"), "203.0.113.9");
    }

    #[test]
    fn what_a_stranger_sent_is_replaced_whatever_its_spelling() {
        let forged = "x-forwarded-for: 1.1.1.1\nX_Forwarded_For: 1.1.1.1\nX-Forwarded-Proto: https\n\
                      X-Forwarded-User: root\nX-Forwarded: for=1.1.1.1\nX_Real_IP: 1.1.1.1\nForwarded: for=1.1.1.1\n\
                      Proxy: http://evil.example\nX-Forward: stays";
        let expected = [
            "X-Forward: stays",
            "X-Forwarded-For: 192.0.2.1",
            "X-Forwarded-Host: Example.com:8080",
            "X-Forwarded-Port: 8080",
            "X-Forwarded-Proto: http",
            "X-Real-IP: 192.0.2.1",
        ];
        assert_eq!(written(X, from("192.0.2.1"), forged), expected);
        assert_eq!(written(OFF, from("192.0.2.1"), forged), ["X-Forward: stays"]);
        assert_eq!(
            written(RFC, from("192.0.2.1"), forged),
            ["Forwarded: for=192.0.2.1;host=\"Example.com:8080\";proto=http", "X-Forward: stays"]
        );
    }

    #[test]
    fn what_a_trusted_proxy_sent_is_kept_and_its_list_goes_on() {
        let came = "X-Forwarded-For: 203.0.113.9\nX-Forwarded-For: 10.0.0.7\nX-Forwarded-Proto: https\n\
                    X-Forwarded-Host: shop.example\nX-Forwarded-Port: 443\nX-Forwarded-User: ann\nX-Real-IP: 9.9.9.9\n\
                    X_Forwarded_Proto: http";
        assert_eq!(
            written(X, from("10.0.0.1"), came),
            [
                "X-Forwarded-For: 203.0.113.9, 10.0.0.7, 10.0.0.1",
                "X-Forwarded-Host: shop.example",
                "X-Forwarded-Port: 443",
                "X-Forwarded-Proto: https",
                "X-Forwarded-User: ann",
                "X-Real-IP: 203.0.113.9",
            ]
        );
    }

    #[test]
    fn a_trusted_proxy_that_says_nothing_is_the_client() {
        assert_eq!(
            written(BOTH, from("10.0.0.1"), ""),
            [
                "Forwarded: for=10.0.0.1;host=\"Example.com:8080\";proto=http",
                "X-Forwarded-For: 10.0.0.1",
                "X-Forwarded-Host: Example.com:8080",
                "X-Forwarded-Port: 8080",
                "X-Forwarded-Proto: http",
                "X-Real-IP: 10.0.0.1",
            ]
        );
    }

    #[test]
    fn a_list_of_the_other_kind_still_begins_with_the_client() {
        let written_rfc = written(RFC, from("10.0.0.1"), "X-Forwarded-For: 203.0.113.9\nX-Forwarded-Proto: https");
        assert_eq!(
            written_rfc.first().map(String::as_str),
            Some("Forwarded: for=203.0.113.9;proto=https, for=10.0.0.1;host=\"Example.com:8080\";proto=http")
        );
        let written_x = written(X, from("10.0.0.1"), "Forwarded: for=\"[2001:db8::1]\";proto=https");
        assert_eq!(
            written_x,
            [
                "Forwarded: for=\"[2001:db8::1]\";proto=https",
                "X-Forwarded-For: 2001:db8::1, 10.0.0.1",
                "X-Forwarded-Host: Example.com:8080",
                "X-Forwarded-Port: 8080",
                "X-Forwarded-Proto: https",
                "X-Real-IP: 2001:db8::1",
            ]
        );
    }

    #[test]
    fn a_forwarded_list_is_appended_to_with_ipv6_quoted() {
        assert_eq!(
            written(RFC, from("fd00::1"), "Forwarded: for=203.0.113.9\nForwarded: for=10.0.0.7"),
            ["Forwarded: for=203.0.113.9, for=10.0.0.7, for=\"[fd00::1]\";host=\"Example.com:8080\";proto=http"]
        );
    }

    #[test]
    fn the_port_follows_a_scheme_that_is_not_ours() {
        let head = get("/");
        let with = |lines: &str| written(X, from("10.0.0.1"), lines);
        assert!(with("X-Forwarded-Proto: https").contains(&"X-Forwarded-Port: 8080".to_owned()), "that of `Host`");
        let mut edits = Edits::new();
        let behind_tls = self::head_with_proto();
        write(X, &Origin::new(from("10.0.0.1"), &trusted(), &behind_tls), &behind_tls, &mut edits);
        assert!(sent(&behind_tls, &edits).contains(&"X-Forwarded-Port: 443".to_owned()));
        let tls = ConnectionFacts { is_tls: true, port: 8443, ..from("192.0.2.1") };
        let origin = Origin::new(tls, &trusted(), &head);
        assert_eq!(origin.scheme, Scheme::Https);
        let mut edits = Edits::new();
        write(X, &origin, &head, &mut edits);
        let lines = sent(&head, &edits);
        assert!(lines.contains(&"X-Forwarded-Port: 8443".to_owned()));
        assert!(lines.contains(&"X-Forwarded-Proto: https".to_owned()));
    }

    fn head_with_proto() -> RequestHead {
        head("GET / HTTP/1.1\nHost: a\nX-Forwarded-Proto: https, http")
    }

    #[test]
    fn a_unix_peer_is_this_machine() {
        let unix = ConnectionFacts { peer: None, is_tls: false, port: 0 };
        let head = head("GET / HTTP/1.1\nHost: a\nX-Forwarded-For: 203.0.113.9");
        let none = Origin::new(unix, &Networks::default(), &head);
        assert!(!none.is_trusted && none.client == IpAddr::V4(Ipv4Addr::LOCALHOST));
        let some = Origin::new(unix, &trusted(), &head);
        assert!(some.is_trusted && some.client_text.as_str() == "203.0.113.9");
    }

    #[test]
    fn the_endpoint_may_get_its_own_host() {
        let host = |address| {
            let head = get("/");
            let mut edits = Edits::new();
            set_host(&address, false, &mut edits);
            sent(&head, &edits)
        };
        use lb_config::EndpointAddress as Address;
        assert_eq!(host(Address::Name("app-1".into(), 8080)), ["Host: app-1:8080"]);
        assert_eq!(host(Address::Ip("[::1]:80".parse().unwrap())), ["Host: [::1]:80"]);
        assert_eq!(host(Address::Unix("/run/app.sock".into())), ["Host: localhost"]);
    }

    #[test]
    fn a_request_without_host_tells_none() {
        let head = head("GET / HTTP/1.0\nX-Forwarded-Host: forged");
        let mut edits = Edits::new();
        write(BOTH, &Origin::new(from("192.0.2.1"), &trusted(), &head), &head, &mut edits);
        let lines = sent(&head, &edits);
        assert!(lines.contains(&"Forwarded: for=192.0.2.1;proto=http".to_owned()), "{lines:?}");
        assert!(!lines.iter().any(|line| line.starts_with("X-Forwarded-Host")), "{lines:?}");
    }
}
