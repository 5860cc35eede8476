//! What a client's certificate says, as headers for the endpoint.
//!
//! There is one standard (RFC 9440, the certificate itself) and several customs (nginx's and HAProxy's `X-SSL-Client-…`,
//! Envoy's `X-Forwarded-Client-Cert`), and applications exist for each. All are worked out once a connection and
//! written with every request. Taking them out of what clients send is the business of `rules/client_cert.rs`.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::message::Line;
use crate::rules::client_cert::{CLIENT_CERT, FINGERPRINT, ISSUER, SERIAL, SUBJECT, VERIFY, X_FORWARDED_CLIENT_CERT};

/// Headers that tell an endpoint about the client's certificate.
#[derive(Debug)]
pub(crate) struct ClientIdentity {
    lines: Vec<Line>,
}

impl ClientIdentity {
    /// Of a certificate that has been verified, or of a client that showed none.
    pub(crate) fn new(certificate: Option<&CertificateDer<'_>>) -> Self {
        let mut lines = Vec::new();
        let mut write = |name, value: &str| {
            // Every value is visible ASCII; what is not a header's value after all is left out.
            lines.extend(Line::new(name, value));
        };
        let Some(der) = certificate else {
            write(VERIFY, "NONE");
            return Self { lines };
        };
        write(VERIFY, "SUCCESS");
        let hash = hex(digest(&SHA256, der).as_ref());
        let mut forwarded = format!("Hash={hash}");
        // What was verified can be parsed; should one parser differ from the other, the hash and the whole remain.
        if let Ok((_, parsed)) = X509Certificate::from_der(der) {
            let subject = distinguished_name(parsed.subject());
            write(SUBJECT, &subject);
            write(ISSUER, &distinguished_name(parsed.issuer()));
            write(SERIAL, &hex(parsed.raw_serial()).to_ascii_uppercase());
            forwarded += &format!(";Subject=\"{}\"", quoted(&subject));
            for (kind, name) in alternatives(&parsed) {
                forwarded += &format!(";{kind}={name}");
            }
        }
        write(FINGERPRINT, &hash);
        write(X_FORWARDED_CLIENT_CERT, &forwarded);
        write(CLIENT_CERT, &format!(":{}:", STANDARD.encode(der)));
        Self { lines }
    }

    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }
}

/// URIs and DNS names, of those that need no quotes.
fn alternatives<'a>(parsed: &'a X509Certificate<'_>) -> Vec<(&'static str, &'a str)> {
    let Ok(Some(extension)) = parsed.subject_alternative_name() else { return Vec::new() };
    let plain = |text: &&str| text.bytes().all(|byte| byte.is_ascii_graphic() && !b",;=\"\\".contains(&byte));
    let names = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(("URI", *uri)),
        GeneralName::DNSName(name) => Some(("DNS", *name)),
        _ => None,
    });
    names.filter(|(_, name)| plain(name)).collect()
}

/// A name as RFC 4514 writes it, last part first, without any byte beyond ASCII: what nginx calls `$ssl_client_s_dn`.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let parts: Vec<String> =
        name.iter_rdn().map(|part| part.iter().map(attribute).collect::<Vec<_>>().join("+")).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type();
    let kind = match oid2abbrev(oid, oid_registry()) {
        Ok(short) => short.to_owned(),
        Err(_) => oid.to_id_string(),
    };
    match attribute.as_str() {
        Ok(value) => format!("{kind}={}", escaped(value)),
        Err(_) => format!("{kind}=#{}", hex(attribute.as_slice())),
    }
}

/// RFC 4514 §2.4, and every byte that is not visible ASCII as `\XX`.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => text.extend(['\\', char::from(byte)]),
            b'#' if at == 0 => text.push_str("\\#"),
            b' ' if at == 0 || at == last => text.push_str("\\ "),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text += &format!("\\{byte:02X}"),
        }
    }
    text
}

/// The inside of a quoted string.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn identity(params: &CertificateParams) -> Vec<(String, String)> {
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let identity = ClientIdentity::new(Some(made.der()));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        identity.lines().iter().map(|line| (text(line.name().as_bytes()), text(line.value()))).collect()
    }

    #[test]
    fn a_certificate_is_told_in_every_custom_and_in_ascii() {
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI("spiffe://x/y".try_into().unwrap()));
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::OrganizationName, "Grün, \"Co\"");
        params.distinguished_name.push(DnType::CommonName, " alice");
        params.serial_number = Some(vec![0x0a, 0xff].into());
        let lines = identity(&params);
        let of = |name: &str| lines.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(of("X-SSL-Client-Verify"), Some("SUCCESS"));
        assert_eq!(of("X-SSL-Client-S-DN"), Some("CN=\\ alice,O=Gr\\C3\\BCn\\, \\\"Co\\\""));
        assert_eq!(of("X-SSL-Client-Serial"), Some("0AFF"));
        let hash = of("X-SSL-Client-Fingerprint").unwrap();
        assert_eq!(hash.len(), 64);
        let forwarded = of("X-Forwarded-Client-Cert").unwrap();
        assert!(forwarded.starts_with(&format!("Hash={hash};Subject=\"CN=")), "{forwarded}");
        assert!(forwarded.ends_with(";DNS=a.test;URI=spiffe://x/y"), "{forwarded}");
        let whole = of("Client-Cert").unwrap();
        assert!(whole.starts_with(":MII") && whole.ends_with(':'), "{whole}");
    }

    #[test]
    fn nobody_is_told_as_nobody() {
        let identity = ClientIdentity::new(None);
        assert_eq!(identity.lines().len(), 1);
        assert_eq!(identity.lines()[0].value(), b"NONE");
    }
}
