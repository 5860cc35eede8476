//! The PROXY protocol, versions 1 and 2: the client's address, in front of the first byte of a connection.
//!
//! A proxy below HTTP cannot write a header of HTTP, and hides the client's address. So it writes a line, or a binary head, before
//! anything else, even before TLS (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>). The simple answer, to look
//! whether a connection happens to begin with one, would let every client choose its address; whether one must come is
//! the caller's to know.
//!
//! | header | client |
//! |---|---|
//! | `PROXY TCP4` or `TCP6`, addresses and ports | these addresses |
//! | v2 with the command PROXY, TCP over IPv4 or IPv6 | these addresses |
//! | `PROXY UNKNOWN`, the command LOCAL, UDP, Unix sockets, no family | none: the sender's own check, or addresses of no use to us |
//! | an unknown version, command or family; an address that is none; a head cut short by its own length; LF alone | an error |
//!
//! TLVs are skipped, checksums among them. Nothing is guessed: a version 1 line has 107 bytes at most, a version 2 head
//! [`MAX_BYTES`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use bytes::{BufMut, BytesMut};

/// The longest version 2 head that is read: 4 KiB. The addresses take 36 bytes at most; the rest is TLVs, of which the largest in use are
/// identifiers of cloud services and names out of certificates.
pub const MAX_BYTES: usize = 4_096;

/// The longest version 1 line, its end included, as the specification counts it.
const MAX_LINE: usize = 107;

/// What a version 2 head begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Up to and with the length.
const FIXED: usize = 16;

/// The client address in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// This client connected there.
    Client {
        /// The client's own end.
        from: SocketAddr,
        /// The end that it connected to.
        to: SocketAddr,
    },
    /// Nothing: the addresses of the connection itself count.
    Nothing,
}

/// Which version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// A binary head.
    V2,
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not the beginning of a header.
    #[error("no PROXY header")]
    Missing,
    /// It is a header, and malformed.
    #[error("malformed PROXY header")]
    Malformed,
    /// It is longer than [`MAX_BYTES`].
    #[error("PROXY header of {0} bytes")]
    TooLong(usize),
}

/// Reads the header that `bytes` begins with; `None` if more bytes are needed.
///
/// Gives the header and its length. As long as the result is `None`, all of `bytes` belongs to the header. Costs one pass over the
/// bytes and no allocation.
///
/// # Errors
/// What is there is no header, and will not become one.
pub fn parse(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, Error> {
    if begins(bytes, SIGNATURE) {
        return parse_v2(bytes);
    }
    if begins(bytes, b"PROXY ") {
        return parse_v1(bytes);
    }
    Err(Error::Missing)
}

/// Whether the bytes there are agree with the mark, or what came of it.
fn begins(bytes: &[u8], mark: &[u8]) -> bool {
    bytes.iter().zip(mark).all(|(a, b)| a == b)
}

fn parse_v1(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, Error> {
    let window = bytes.get(..MAX_LINE).unwrap_or(bytes);
    let Some(end) = window.iter().position(|&byte| byte == b'\r' || byte == b'\n') else {
        return if window.len() < MAX_LINE { Ok(None) } else { Err(Error::Malformed) };
    };
    let (line, rest) = window.split_at(end);
    match rest {
        [b'\r', b'\n', ..] => {}
        // The line feed may be on its way, if there is room for it.
        [b'\r'] if window.len() < MAX_LINE => return Ok(None),
        _ => return Err(Error::Malformed),
    }
    let line = std::str::from_utf8(line).map_err(|_| Error::Malformed)?;
    let header = header_of_line(line).ok_or(Error::Malformed)?;
    Ok(Some((header, end + 2)))
}

fn header_of_line(line: &str) -> Option<ProxyHeader> {
    let rest = line.strip_prefix("PROXY ")?;
    if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        // The rest of the line is to be ignored.
        return Some(ProxyHeader::Nothing);
    }
    let mut words = rest.split(' ');
    let address = match words.next()? {
        "TCP4" => |text: &str| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => |text: &str| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => return None,
    };
    let (from, to) = (address(words.next()?)?, address(words.next()?)?);
    let (from_port, to_port) = (port(words.next()?)?, port(words.next()?)?);
    let header = ProxyHeader::Client { from: SocketAddr::new(from, from_port), to: SocketAddr::new(to, to_port) };
    words.next().is_none().then_some(header)
}

/// A decimal number without sign or leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

fn parse_v2(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, Error> {
    let Some((&[.., command, family, high, low], rest)) = bytes.split_first_chunk::<FIXED>() else {
        // A wrong version is wrong at once.
        return match bytes.get(SIGNATURE.len()) {
            Some(command) if command >> 4 != 2 => Err(Error::Malformed),
            _ => Ok(None),
        };
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Error::Malformed),
    };
    if FIXED + length > MAX_BYTES {
        return Err(Error::TooLong(FIXED + length));
    }
    let header = |block: &[u8]| match family {
        // A check of the sender's own, whose addresses are no client's.
        _ if is_local => Ok(ProxyHeader::Nothing),
        0x11 => ends::<4>(block).ok_or(Error::Malformed),
        0x21 => ends::<16>(block).ok_or(Error::Malformed),
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => Ok(ProxyHeader::Nothing),
        _ => Err(Error::Malformed),
    };
    match rest.get(..length) {
        Some(block) => Ok(Some((header(block)?, FIXED + length))),
        None => Ok(None),
    }
}

/// Both ends of a connection, of addresses of this many bytes. What follows them is TLVs.
fn ends<const N: usize>(block: &[u8]) -> Option<ProxyHeader>
where
    IpAddr: From<[u8; N]>,
{
    let (from, rest) = block.split_first_chunk::<N>()?;
    let (to, rest) = rest.split_first_chunk::<N>()?;
    let (&[a, b, c, d], _) = rest.split_first_chunk::<4>()?;
    let end = |address: [u8; N], port| SocketAddr::new(IpAddr::from(address), u16::from_be_bytes(port));
    Some(ProxyHeader::Client { from: end(*from, [a, b]), to: end(*to, [c, d]) })
}

/// Writes a header.
///
/// Where one end is IPv4 and the other IPv6, both are written as IPv6. Without a client it is `UNKNOWN`, or the command LOCAL, which
/// is what checks send. At most 107 and 52 bytes.
pub fn write(out: &mut BytesMut, version: Version, header: ProxyHeader) {
    match (version, header) {
        (Version::V1, ProxyHeader::Nothing) => out.put_slice(b"PROXY UNKNOWN\r\n"),
        (Version::V1, ProxyHeader::Client { from, to }) => {
            let (from, to) = of_one_family(from, to);
            let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
            let line = format!("PROXY {family} {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port());
            out.put_slice(line.as_bytes());
        }
        (Version::V2, ProxyHeader::Nothing) => {
            out.put_slice(SIGNATURE);
            out.put_slice(&[0x20, 0x00, 0, 0]);
        }
        (Version::V2, ProxyHeader::Client { from, to }) => {
            let (from, to) = of_one_family(from, to);
            out.put_slice(SIGNATURE);
            match (from.ip(), to.ip()) {
                (IpAddr::V4(a), IpAddr::V4(b)) => {
                    out.put_slice(&[0x21, 0x11, 0, 12]);
                    out.put_slice(&a.octets());
                    out.put_slice(&b.octets());
                }
                (a, b) => {
                    out.put_slice(&[0x21, 0x21, 0, 36]);
                    out.put_slice(&as_v6(a).octets());
                    out.put_slice(&as_v6(b).octets());
                }
            }
            out.put_u16(from.port());
            out.put_u16(to.port());
        }
    }
}

fn of_one_family(from: SocketAddr, to: SocketAddr) -> (SocketAddr, SocketAddr) {
    if from.is_ipv4() == to.is_ipv4() {
        return (from, to);
    }
    let v6 = |end: SocketAddr| SocketAddr::V6(SocketAddrV6::new(as_v6(end.ip()), end.port(), 0, 0));
    (v6(from), v6(to))
}

const fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        })
    }
}
