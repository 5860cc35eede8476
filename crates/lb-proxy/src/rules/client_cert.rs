//! Headers about the client's certificate, which only the proxy may write.
//!
//! An application trusts `X-SSL-Client-Verify: SUCCESS`. So such headers from clients, and names that a program behind
//! CGI could confuse with them, are removed, on every listener, with TLS or without: the same endpoint may be reachable
//! through both. They are kept only from a trusted proxy, and not if the listener requests client certificates itself.

use super::look_alike::{begins_like, is_like};
use crate::message::{Edits, Line, Name, RequestHead};

/// `SUCCESS`, or `NONE` for a client without a certificate where one is optional.
pub(crate) const VERIFY: Name<'static> = Name::new("X-SSL-Client-Verify");
/// The subject, as RFC 4514 writes it.
pub(crate) const SUBJECT: Name<'static> = Name::new("X-SSL-Client-S-DN");
/// The issuer, as RFC 4514 writes it.
pub(crate) const ISSUER: Name<'static> = Name::new("X-SSL-Client-I-DN");
/// The serial number, hexadecimal.
pub(crate) const SERIAL: Name<'static> = Name::new("X-SSL-Client-Serial");
/// SHA-256 of the certificate, hexadecimal.
pub(crate) const FINGERPRINT: Name<'static> = Name::new("X-SSL-Client-Fingerprint");
/// Envoy's: hash, subject and names.
pub(crate) const X_FORWARDED_CLIENT_CERT: Name<'static> = Name::new("X-Forwarded-Client-Cert");
/// RFC 9440: the certificate, base64 between colons.
pub(crate) const CLIENT_CERT: Name<'static> = Name::new("Client-Cert");

/// What else such headers are called, by how they begin.
const FAMILIES: [&[u8]; 6] = [
    b"x-ssl-client",
    b"x-ssl-issuer",
    b"ssl-client",
    b"x-client-cert",
    b"x-forwarded-client-cert",
    b"x-forwarded-tls-client-cert",
];

/// Removes received headers and writes `lines`; `None` if no client certificates are requested.
///
/// Cost: a comparison of each header's first letters.
pub(crate) fn write(lines: Option<&[Line]>, is_trusted: bool, head: &RequestHead, edits: &mut Edits) {
    if !is_trusted || lines.is_some() {
        for (index, (name, _)) in head.iter().enumerate() {
            if is_of_the_family(name) {
                edits.drop_at(index);
            }
        }
    }
    for line in lines.unwrap_or_default() {
        edits.set_line(line);
    }
}

/// Whether it is one of these headers, or what a program may take for one.
pub(crate) fn is_of_the_family(name: &[u8]) -> bool {
    matches!(name.first(), Some(b'x' | b'X' | b's' | b'S' | b'c' | b'C'))
        && (FAMILIES.iter().any(|family| begins_like(name, family))
            || is_like(name, b"client-cert")
            || is_like(name, b"client-cert-chain"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{head, sent};

    const FORGED: &str = "GET / HTTP/1.1\nHost: a\nX-SSL-Client-Verify: SUCCESS\nx_ssl_client_s_dn: CN=root\n\
                          Client-Cert: :AA==:\nclient_cert_chain: x\nSSL-Client-Cert: x\nX-Client-Cert: x\n\
                          X-Forwarded-Client-Cert: Hash=1\nX-Forwarded-Tls-Client-Cert-Info: x\nClient-Name: kept\n\
                          X-Ssl: kept";

    fn written(lines: Option<&[Line]>, is_trusted: bool) -> Vec<String> {
        let head = head(FORGED);
        let mut edits = Edits::new();
        write(lines, is_trusted, &head, &mut edits);
        sent(&head, &edits)
    }

    /// Names that all have one tag (length, first, middle and last letter) were compared with each other: 95² times for a
    /// head of 95. The number of comparisons of a header is the number of names removed, which no client makes larger.
    #[test]
    fn many_forged_headers_cost_no_more_than_one_each() {
        let forged = |count: usize| {
            let lines = (0..count).map(|n| format!("X-SSL-Client{}{n:02}{}: 1\n", "a".repeat(200), "z".repeat(40)));
            let head = head(&format!("GET / HTTP/1.1\nHost: a\n{}Kept: 1", lines.collect::<String>()));
            let mut edits = Edits::new();
            write(None, false, &head, &mut edits);
            assert_eq!(sent(&head, &edits), ["Host: a", "Kept: 1"]);
            head.iter().filter(|(name, _)| edits.is_removed(&Name::from_bytes(name))).count()
        };
        assert_eq!((forged(95), forged(1)), (0, 0), "left out by their place");
    }

    #[test]
    fn a_client_cannot_say_who_it_is() {
        assert_eq!(written(None, false), ["Client-Name: kept", "Host: a", "X-Ssl: kept"]);
    }

    #[test]
    fn a_trusted_proxy_can_unless_we_know_better() {
        assert_eq!(written(None, true).len(), FORGED.lines().count() - 1);
        let ours = [Line::new(VERIFY, "NONE").unwrap()];
        assert_eq!(
            written(Some(&ours), true),
            ["Client-Name: kept", "Host: a", "X-SSL-Client-Verify: NONE", "X-Ssl: kept"]
        );
    }
}
