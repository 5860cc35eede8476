//! `listener.tls`: TLS towards clients. Files and rules; none of the files is read here.

use std::path::PathBuf;

use crate::language::diagnostic::Report;
use crate::language::source::Span;
use crate::language::tree::Node;
use crate::model::certificate::{CERT, CertificateFiles, Certificates, KEY, PEM};
use crate::model::cipher_suite::{CipherSuite, CipherSuiteForm};
use crate::model::tls_version::TlsVersion;
use crate::table::block::{Block, Table, block};
use crate::table::fields::Fields;
use crate::table::form::{FilePath, Form, List, Off, Or, Word, word, words};
use crate::table::item::{Item, Writer, text};
use crate::table::section::Default::{Required, Value};
use crate::table::section::{Kind, Section};

block! {
    /// TLS of a listener.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ListenerTls =
        Section::new("listener_tls", "`listener.tls`", "TLS towards clients.")
            .example("tls = { cert = \"fullchain.pem\", key = \"privkey.pem\" }");
    /// At least one.
    certificates: Vec<CertificateFiles> => Certificates, Value("[]"),
        "Certificates; a client gets the one for the name it asks for, or the first. Those of sites come behind them.",
        with [CERT, KEY, PEM];
    min_version: TlsVersion => TlsVersion, Value("\"1.2\""), "Minimum TLS version.";
    /// In the order in which they are offered; empty is the library's choice.
    cipher_suites: Vec<CipherSuite> => CipherSuites, Value("\"default\""),
        "Cipher suites, by their IANA or OpenSSL names; all others are off, of TLS 1.3 as well.";
    /// Empty offers none.
    alpn: Vec<Alpn> => List<Alpn>, Value("[\"h2\", \"http/1.1\"]"), "Protocols that are offered, the preferred one first.";
    client_auth: Option<ClientAuth> => Or<Off, Table<ClientAuth>>, Value("\"off\""), "Whether clients show certificates.";
    [reserved] "acme", "Certificates fetched from an authority.",
        "let certbot or another client fetch them into files, and send SIGHUP after a renewal";
}

impl Block for ListenerTls {
    fn check(self, report: &mut Report, fields: &Fields<'_>) -> Option<Self> {
        if self.cipher_suites.is_empty() {
            return Some(self);
        }
        let span = fields.value_span("cipher_suites");
        let usable =
            |version| version >= self.min_version && self.cipher_suites.iter().any(|suite| suite.version() == version);
        if !usable(TlsVersion::V1_2) && !usable(TlsVersion::V1_3) {
            none_left(report, span);
            return None;
        }
        for (version, name) in [(TlsVersion::V1_2, "1.2"), (TlsVersion::V1_3, "1.3")] {
            if version >= self.min_version && !usable(version) {
                report.warning(span, format!("TLS {name} is off: `cipher_suites` has none of its suites"));
            }
        }
        Some(self)
    }
}

fn none_left(report: &mut Report, span: Span) {
    let message = "no cipher suite is left of the versions that are spoken";
    report.error(span, message).help("leave `cipher_suites` out");
}

/// A protocol above TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/2.
    H2,
    /// HTTP/1.1.
    Http11,
}

impl Alpn {
    /// Its name in the handshake.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::H2 => "h2",
            Self::Http11 => "http/1.1",
        }
    }
}

words! { Alpn: Alpn; "h2" => Self::H2, "http/1.1" => Self::Http11 }

block! {
    /// Certificates of clients.
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    pub struct ClientAuth =
        Section::new("client_auth", "`client_auth`", "Certificates of clients.")
            .example("client_auth = { ca = \"clients.pem\" }");
    ca: PathBuf => FilePath, Required, "The trusted authorities, PEM.";
    /// Whether a client without one is refused.
    required as "mode": bool => Mode, Value("\"required\""),
        "\"required\" refuses clients without a certificate; \"optional\" accepts them.";
}

impl Block for ClientAuth {}

words! {
    /// Whether a client must show a certificate.
    struct Mode: bool;
    "required" => true, "optional" => false
}

/// `"default"`, which is an empty list, or a list that is not empty.
struct CipherSuites;

impl Form for CipherSuites {
    type Value = Vec<CipherSuite>;
    const KIND: Kind = <Or<Usual, List<CipherSuiteForm>>>::KIND;

    fn read(report: &mut Report, node: &Node) -> Option<Vec<CipherSuite>> {
        match <Or<Usual, List<CipherSuiteForm>>>::read(report, node)? {
            Some(suites) if suites.is_empty() => {
                none_left(report, node.span);
                None
            }
            suites => Some(suites.unwrap_or_default()),
        }
    }

    fn show(suites: &Vec<CipherSuite>, writer: &Writer<'_>) -> Option<Item> {
        if suites.is_empty() { Some(text(Usual::WORD)) } else { List::<CipherSuiteForm>::show(suites, writer) }
    }
}

word! {
    /// `"default"`.
    Usual = "default";
}
