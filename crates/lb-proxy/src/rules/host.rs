//! The host that routes are matched against.
//!
//! Hosts ignore letter case, the port and a trailing dot, so `Example.com.:8443` is `example.com`. The usual host is
//! lower case already and is borrowed; anything else is lowered into a buffer on the stack.
//!
//! Not done here: whether the text is a valid host at all, and where its port begins, was decided when the request was
//! read.

use crate::message::MAX_HOST_NAME;

/// A host as routes see it.
#[derive(Clone, Debug)]
pub struct MatchHost<'a> {
    borrowed: &'a str,
    lowered: Option<([u8; MAX_HOST_NAME], usize)>,
}

impl<'a> MatchHost<'a> {
    /// Reads the host name of a request, which has no port any more. Empty when there is none, or when it is longer
    /// than any host can be or not ASCII, neither of which a request that was read can have; then only routes for any
    /// host match.
    ///
    /// Cost: one pass, no allocation.
    #[must_use]
    pub fn new(name: &'a [u8]) -> Self {
        if name.is_empty() {
            return Self { borrowed: "", lowered: None };
        }
        let host = if name.is_ascii() { std::str::from_utf8(name).unwrap_or_default() } else { "" };
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.len() > MAX_HOST_NAME {
            return Self { borrowed: "", lowered: None };
        }
        if !host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Self { borrowed: host, lowered: None };
        }
        let mut buffer = [0; MAX_HOST_NAME];
        for (to, from) in buffer.iter_mut().zip(host.bytes()) {
            *to = from.to_ascii_lowercase();
        }
        Self { borrowed: host, lowered: Some((buffer, host.len())) }
    }

    /// The host in lower case, without port and trailing dot. IPv6 keeps its brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.lowered {
            Some((buffer, length)) => {
                buffer.get(..*length).and_then(|octets| std::str::from_utf8(octets).ok()).unwrap_or_default()
            }
            None => self.borrowed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_trailing_dot_do_not_count() {
        for (name, expected) in [
            ("example.com", "example.com"),
            ("Example.COM", "example.com"),
            ("Example.com.", "example.com"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
            ("127.0.0.1", "127.0.0.1"),
            ("ex\u{e4}mple.com", ""),
            (".", ""),
            ("", ""),
        ] {
            assert_eq!(MatchHost::new(name.as_bytes()).as_str(), expected, "{name}");
        }
    }

    #[test]
    fn a_host_longer_than_any_matches_nothing() {
        assert_eq!(MatchHost::new("a".repeat(253).as_bytes()).as_str().len(), 253);
        assert_eq!(MatchHost::new("A".repeat(254).as_bytes()).as_str(), "");
    }
}
