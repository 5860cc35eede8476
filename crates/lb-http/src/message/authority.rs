//! The authority of a request: a name or address and perhaps a port.
//!
//! RFC 3986 lets an authority hold much that no DNS name does: user information, percent escapes, commas, an empty
//! port. Each of these has been read differently by two programs in one chain, and routing by one reading while the
//! endpoint answers by the other is how virtual hosts are confused. So what passes here is a DNS-like name (letters,
//! digits, `-`, `_`, `~`, single dots, one dot at the end), an IPv4 address, or an IPv6 address in brackets, then
//! nothing or a port from 1 to 65535. A name has at most [`MAX_HOST_NAME`] bytes: a longer one could match no pattern for
//! hosts, and so would be routed past all of them.

use super::chars::find;

/// Longest host name, bytes, without a dot at its end: the limit of the DNS.
pub const MAX_HOST_NAME: usize = 253;

/// An authority split in two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// Name or address, in its received case; an IPv6 address keeps its brackets.
    pub name: &'a [u8],
    /// The port, where one was written.
    pub port: Option<u16>,
}

/// Splits and checks an authority. `None` when it is not one that can be read in one way only; the empty authority
/// is not one either.
pub(crate) fn split_authority(text: &[u8]) -> Option<Authority<'_>> {
    if text.first() == Some(&b'[') {
        let close = find(b']', text)?;
        let (name, rest) = text.split_at_checked(close + 1)?;
        let address = std::str::from_utf8(name.get(1..close)?).ok()?;
        address.parse::<std::net::Ipv6Addr>().ok()?;
        return Some(Authority { name, port: port(rest)? });
    }
    let end = find(b':', text).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    is_name(name).then_some(())?;
    Some(Authority { name, port: port(rest)? })
}

/// What follows the name: nothing, or a colon and a port.
fn port(rest: &[u8]) -> Option<Option<u16>> {
    let Some((b':', digits)) = rest.split_first() else { return rest.is_empty().then_some(None) };
    if digits.is_empty() || digits.len() > 5 {
        return None;
    }
    let mut port = 0u32;
    for &digit in digits {
        port = port * 10 + u32::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    u16::try_from(port).ok().filter(|&port| port != 0).map(Some)
}

fn is_name(name: &[u8]) -> bool {
    let mut previous = DOT; // A name does not start with a dot either.
    for &byte in name {
        let class = CLASS[usize::from(byte)];
        if class == OTHER || (class == DOT && previous == DOT) {
            return false;
        }
        previous = class;
    }
    !name.is_empty() && name.strip_suffix(b".").unwrap_or(name).len() <= MAX_HOST_NAME
}

/// What a byte is to a name.
static CLASS: [u8; 256] = {
    let mut table = [OTHER; 256];
    let mut i = 0;
    while i < 256 {
        let byte = i as u8;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') {
            table[i] = LETTER;
        }
        i += 1;
    }
    table[b'.' as usize] = DOT;
    table
};
const OTHER: u8 = 0;
const LETTER: u8 = 1;
const DOT: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Option<(&str, Option<u16>)> {
        split_authority(text.as_bytes()).map(|a| (std::str::from_utf8(a.name).unwrap(), a.port))
    }

    #[test]
    fn names_and_addresses_are_split_from_their_port() {
        assert_eq!(split("example.com"), Some(("example.com", None)));
        assert_eq!(split("Example.COM.:8080"), Some(("Example.COM.", Some(8080))));
        assert_eq!(split("127.0.0.1:1"), Some(("127.0.0.1", Some(1))));
        assert_eq!(split("[::1]"), Some(("[::1]", None)));
        assert_eq!(split("[2001:db8::1]:65535"), Some(("[2001:db8::1]", Some(65535))));
        assert_eq!(split("my_app~1"), Some(("my_app~1", None)));
    }

    #[test]
    fn what_two_programs_could_read_differently_is_refused() {
        for text in [
            "",
            ":80",
            "a:",
            "a:0",
            "a:65536",
            "a:+80",
            "a:8 0",
            "a:000080",
            "user@a",
            "a:b@c",
            "a/b",
            "a,b",
            "a b",
            "a%2eb",
            ".a",
            "a..b",
            "[::1",
            "[::1]x",
            "[::1%25eth0]",
            "[v1.x]",
            "::1",
            "a:80:80",
            "a\\b",
            "a\"",
            "[]",
            "ü",
        ] {
            assert_eq!(split(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_name_is_no_longer_than_the_dns_has_them() {
        let longest = "a".repeat(253);
        assert_eq!(split(&longest), Some((&*longest, None)));
        assert!(split(&format!("{longest}.:80")).is_some(), "the dot at the end does not count");
        for text in [format!("{longest}a"), format!("{longest}a."), format!("{longest}a:80")] {
            assert_eq!(split(&text), None, "{text:?}");
        }
    }
}
