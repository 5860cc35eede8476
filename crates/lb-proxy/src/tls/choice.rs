//! Which certificate a client is shown.
//!
//! By the name it asks for (SNI): a certificate with this very name, then one with a wildcard for it, which stands for
//! exactly one label (RFC 6125 §6.4.3), then the first of the list. Where several have the name, such as one ECDSA and
//! one RSA, the first whose signature the client can verify.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::Certificate;

/// The certificates of a listener by name. There is at least one.
#[derive(Debug)]
pub(crate) struct Choice {
    certificates: Vec<Arc<Certificate>>,
    /// Positions, in the order of the list. Wildcards are keyed by what follows the star, dot and all.
    exact: HashMap<Box<str>, Vec<usize>, ahash::RandomState>,
    wildcard: HashMap<Box<str>, Vec<usize>, ahash::RandomState>,
}

impl Choice {
    pub(crate) fn new(certificates: Vec<Arc<Certificate>>) -> Self {
        let mut choice = Self { certificates, exact: HashMap::default(), wildcard: HashMap::default() };
        for (at, certificate) in choice.certificates.iter().enumerate() {
            for name in &certificate.facts.names {
                match name.strip_prefix('*') {
                    Some(rest) if rest.starts_with('.') => choice.wildcard.entry(rest.into()).or_default().push(at),
                    _ => choice.exact.entry(name.clone()).or_default().push(at),
                }
            }
        }
        choice
    }

    /// All of them, in the order of the list.
    pub(super) fn certificates(&self) -> &[Arc<Certificate>] {
        &self.certificates
    }

    #[cfg(test)]
    pub(super) fn first(&self) -> &Certificate {
        &self.certificates[0]
    }

    /// The certificates for a name, lower case, best first; without SNI or a match, the first of the list.
    pub(crate) fn of(&self, name: Option<&str>) -> &[usize] {
        let Some(name) = name.map(|name| name.trim_end_matches('.')) else { return &[0] };
        let by_wildcard = || name.find('.').and_then(|dot| self.wildcard.get(name.get(dot..)?));
        self.exact.get(name).or_else(by_wildcard).map_or(&[0], Vec::as_slice)
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fitting = self.of(hello.server_name());
        let can_sign = |at: &&usize| {
            let certificate = self.certificates.get(**at);
            certificate.is_some_and(|it| it.certified.key.choose_scheme(hello.signature_schemes()).is_some())
        };
        // Where none fits, the handshake fails by itself and says why.
        let at = fitting.iter().find(can_sign).or(fitting.first())?;
        self.certificates.get(*at).map(|certificate| Arc::clone(&certificate.certified))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_config::CertificateFiles;

    fn choice(all: &[&[&str]]) -> Choice {
        let directory = tempfile::tempdir().unwrap();
        let load = |names: &&[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let made = rcgen::generate_simple_self_signed(names).unwrap();
            let file = directory.path().join("all.pem");
            std::fs::write(&file, made.cert.pem() + &made.signing_key.serialize_pem()).unwrap();
            Arc::new(Certificate::load(&CertificateFiles { cert: file.clone(), key: file }).unwrap())
        };
        Choice::new(all.iter().map(load).collect())
    }

    #[test]
    fn exact_comes_before_wildcard_before_the_first() {
        let choice = choice(&[&["default.test"], &["*.a.test"], &["b.a.test"], &["*.a.test", "a.test"]]);
        for (name, expected) in [
            (Some("b.a.test"), &[2][..]),
            (Some("c.a.test"), &[1, 3]),
            (Some("c.a.test."), &[1, 3]),
            (Some("a.test"), &[3]),
            (Some("d.c.a.test"), &[0]),
            (Some("other"), &[0]),
            (Some(""), &[0]),
            (Some(".a.test"), &[1, 3]),
            (None, &[0]),
        ] {
            assert_eq!(choice.of(name), expected, "{name:?}");
        }
    }
}
