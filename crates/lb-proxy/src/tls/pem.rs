//! PEM files: certificates and private keys, in any order, and what can be wrong with them.

use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate or key that cannot be used, and which file is to blame. No part of a key is ever in it.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct CertificateError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a certificate or key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// There is nothing in PEM in it.
    #[error("has no PEM in it: nothing between BEGIN and END lines")]
    Empty,
    /// What looks like PEM is none.
    #[error("is not valid PEM: {0}")]
    Malformed(String),
    /// A certificate was expected.
    #[error("has no certificate in it{}", if *.0 { ", only a private key" } else { "" })]
    NoCertificate(bool),
    /// A private key was expected.
    #[error("has no private key in it{}", if *.0 { ", only certificates" } else { "" })]
    NoKey(bool),
    /// There is more than one private key.
    #[error("has more than one private key in it")]
    ManyKeys,
    /// The private key needs a passphrase, which cannot be entered at a restart.
    #[error("has a private key that is encrypted; decrypt it with `openssl pkey -in FILE -out NEW`")]
    EncryptedKey,
    /// The private key is of a kind that is not supported.
    #[error(
        "has a private key that cannot be used: it takes RSA of 2048 to 8192 bits, ECDSA with P-256, P-384 or P-521, or Ed25519"
    )]
    BadKey,
    /// The certificate is damaged or of a kind that is not supported.
    #[error("has a certificate that cannot be used: {0}")]
    BadCertificate(String),
    /// Certificate and key are not a pair.
    #[error("the private key does not belong to the certificate in {}", .0.display())]
    Mismatch(PathBuf),
    /// The settings contradict one another.
    #[error("{0}")]
    Settings(String),
}

impl CertificateError {
    pub(super) fn new(file: &Path, problem: Problem) -> Self {
        Self { file: file.to_owned(), problem }
    }
}

/// What a PEM file has that matters here.
#[derive(Debug, Default)]
pub(super) struct Sections {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    keys: Vec<PrivateKeyDer<'static>>,
    has_encrypted_key: bool,
    /// Also once it was taken.
    has_key: bool,
}

impl Sections {
    pub(super) fn read(file: &Path) -> Result<Self, CertificateError> {
        let text = std::fs::read(file).map_err(|error| CertificateError::new(file, Problem::Unreadable(error)))?;
        Self::parse(&text).map_err(|problem| CertificateError::new(file, problem))
    }

    fn parse(text: &[u8]) -> Result<Self, Problem> {
        let mut sections = Self { has_encrypted_key: is_encrypted(text), ..Self::default() };
        let mut is_empty = true;
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
            let (kind, der) = match section {
                Ok(section) => section,
                // An encrypted key of the old kind has lines in it that are not base64.
                Err(_) if sections.has_encrypted_key => break,
                Err(error) => return Err(Problem::Malformed(describe(&error))),
            };
            is_empty = false;
            match kind {
                SectionKind::Certificate => sections.certificates.push(der.into()),
                SectionKind::PrivateKey => sections.keys.push(PrivateKeyDer::Pkcs8(der.into())),
                SectionKind::RsaPrivateKey => sections.keys.push(PrivateKeyDer::Pkcs1(der.into())),
                SectionKind::EcPrivateKey => sections.keys.push(PrivateKeyDer::Sec1(der.into())),
                _ => {}
            }
        }
        sections.has_key = sections.has_encrypted_key || !sections.keys.is_empty();
        if is_empty && !sections.has_encrypted_key {
            return Err(Problem::Empty);
        }
        Ok(sections)
    }

    pub(super) fn certificates(self, file: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
        if self.certificates.is_empty() {
            return Err(CertificateError::new(file, Problem::NoCertificate(self.has_key)));
        }
        Ok(self.certificates)
    }

    pub(super) fn key(&mut self, file: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
        let wrong = |problem| Err(CertificateError::new(file, problem));
        match (self.keys.pop(), self.keys.is_empty()) {
            (Some(key), true) => Ok(key),
            (Some(_), false) => wrong(Problem::ManyKeys),
            (None, _) if self.has_encrypted_key => wrong(Problem::EncryptedKey),
            (None, _) => wrong(Problem::NoKey(!self.certificates.is_empty())),
        }
    }
}

/// PKCS#8 says so in its name, the older kinds in a header.
fn is_encrypted(text: &[u8]) -> bool {
    let has = |mark: &[u8]| memchr::memmem::find(text, mark).is_some();
    has(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(b"Proc-Type: 4,ENCRYPTED")
}

/// The error without what it quotes: a line of a damaged key is not for the log.
fn describe(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no END line".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is damaged".to_owned(),
        pem::Error::Base64Decode(_) => "what is between BEGIN and END is not base64".to_owned(),
        _ => "it is damaged".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn sections_are_found_in_any_order_and_between_any_text() {
        let (cert, key) = pair();
        for text in [format!("{cert}{key}"), format!("# ours\n{key}\nBag Attributes\n{cert}{cert}")] {
            let mut sections = Sections::parse(text.as_bytes()).unwrap();
            assert!(sections.key(Path::new("f")).is_ok());
            assert!(!sections.certificates(Path::new("f")).unwrap().is_empty());
        }
    }

    #[test]
    fn errors_say_what_is_wrong_and_show_no_byte_of_a_key() {
        let (cert, key) = pair();
        let problem = |text: &str| match Sections::parse(text.as_bytes()) {
            Err(problem) => problem.to_string(),
            Ok(mut sections) => match sections.key(Path::new("f")) {
                Err(error) => error.problem.to_string(),
                Ok(_) => sections.certificates(Path::new("f")).unwrap_err().problem.to_string(),
            },
        };
        assert!(problem("").contains("no PEM"));
        assert!(problem("hello").contains("no PEM"));
        assert_eq!(problem(&key), "has no certificate in it, only a private key");
        assert_eq!(problem(&cert), "has no private key in it, only certificates");
        assert!(problem(&format!("{key}{key}{cert}")).contains("more than one"));
        assert!(
            problem("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n")
                .contains("encrypted")
        );
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nc2VjcmV0\n-----END RSA PRIVATE KEY-----\n";
        assert!(problem(old).contains("encrypted"));
        let damaged = problem("-----BEGIN PRIVATE KEY-----\nsecret!\n-----END PRIVATE KEY-----\n");
        assert!(damaged.contains("not base64") && !damaged.contains("secret"), "{damaged}");
        assert!(problem("-----BEGIN PRIVATE KEY-----\nc2Vj\n").contains("END"));
    }
}
