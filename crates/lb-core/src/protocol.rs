//! Names of protocols as `Upgrade` has them (RFC 9110 §7.8).
//!
//! The configuration compares them with what a route allows, the HTTP codec with what an endpoint agreed to. Both must
//! read a name in the same way, or a route would pass a protocol that it does not allow.

/// Whether two protocols, written as in `Upgrade`, are one. Case does not matter, and a version only where both have
/// one.
#[must_use]
pub fn is_same_protocol(one: &[u8], other: &[u8]) -> bool {
    let ([name, version], [others, other]) = (split(one), split(other));
    name.eq_ignore_ascii_case(others) && (version.is_empty() || other.is_empty() || version.eq_ignore_ascii_case(other))
}

/// Whether a protocol carries requests, which would pass every rule of a proxy, or hides everything: `h2c`, `h2`, `h3`
/// and drafts of them, `HTTP/…`, `TLS/…`, `SSL/…`. RFC 9110 §7.8 lets a server ignore such an offer.
#[must_use]
pub fn is_never_upgraded_to(protocol: &[u8]) -> bool {
    const NAMES: [&str; 6] = ["h2c", "h2", "h3", "http", "tls", "ssl"];
    let [name, _] = split(protocol);
    let name = name.split(|&byte| byte == b'-').next().unwrap_or_default();
    NAMES.iter().any(|never| name.eq_ignore_ascii_case(never.as_bytes()))
}

/// Name and version, which is empty where there is none.
fn split(protocol: &[u8]) -> [&[u8]; 2] {
    let mut parts = protocol.splitn(2, |&byte| byte == b'/');
    [(); 2].map(|()| parts.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_counts_only_where_both_have_one() {
        for (one, other, same) in [
            ("websocket", "WebSocket", true),
            ("websocket", "websockets", false),
            ("SPDY/3.1", "spdy/3.1", true),
            ("SPDY/3.1", "SPDY/3", false),
            ("SPDY", "SPDY/3.1", true),
            ("tcp", "", false),
        ] {
            assert_eq!(is_same_protocol(one.as_bytes(), other.as_bytes()), same, "{one} {other}");
            assert_eq!(is_same_protocol(other.as_bytes(), one.as_bytes()), same, "{other} {one}");
        }
    }

    #[test]
    fn protocols_that_carry_requests_or_hide_everything_are_refused() {
        for protocol in ["h2c", "H2C", "h2", "h2c-14", "h3-29", "HTTP/2.0", "HTTP/3", "http", "TLS/1.2", "tls", "SSL/3"]
        {
            assert!(is_never_upgraded_to(protocol.as_bytes()), "{protocol}");
        }
        for protocol in ["websocket", "tcp", "SPDY/3.1", "connect-udp", "derp", "httpx", "h2o"] {
            assert!(!is_never_upgraded_to(protocol.as_bytes()), "{protocol}");
        }
    }
}
