//! Cipher suites of TLS, by the names of IANA and of OpenSSL.

use crate::language::diagnostic::Report;
use crate::language::suggest::nearest;
use crate::language::tree::Node;
use crate::language::values::ValueError;
use crate::model::tls_version::TlsVersion;
use crate::table::convert;
use crate::table::form::form;
use crate::table::item::text;
use crate::table::section::Kind;

/// A cipher suite, by its IANA name.
#[allow(non_camel_case_types, reason = "spelled as in the IANA registry, so that a search finds them")]
#[allow(missing_docs, reason = "the names are the registry's")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CipherSuite {
    TLS_AES_256_GCM_SHA384,
    TLS_AES_128_GCM_SHA256,
    TLS_CHACHA20_POLY1305_SHA256,
    TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

impl CipherSuite {
    /// All of them, TLS 1.3 first.
    pub const ALL: [Self; 9] = [
        Self::TLS_AES_256_GCM_SHA384,
        Self::TLS_AES_128_GCM_SHA256,
        Self::TLS_CHACHA20_POLY1305_SHA256,
        Self::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        Self::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        Self::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        Self::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        Self::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        Self::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ];

    /// Its IANA name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.names().0
    }

    /// Its name in OpenSSL, which nginx and HAProxy use.
    #[must_use]
    pub const fn openssl_name(self) -> &'static str {
        self.names().1
    }

    /// The number it has in the handshake.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.names().2
    }

    /// The version it belongs to.
    #[must_use]
    pub const fn version(self) -> TlsVersion {
        // 0x13xx are those of TLS 1.3 (RFC 8446 §B.4).
        if self.code() >> 8 == 0x13 { TlsVersion::V1_3 } else { TlsVersion::V1_2 }
    }

    const fn names(self) -> (&'static str, &'static str, u16) {
        match self {
            Self::TLS_AES_256_GCM_SHA384 => ("TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", 0x1302),
            Self::TLS_AES_128_GCM_SHA256 => ("TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", 0x1301),
            Self::TLS_CHACHA20_POLY1305_SHA256 => {
                ("TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256", 0x1303)
            }
            Self::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => {
                ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384", 0xc02c)
            }
            Self::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => {
                ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256", 0xc02b)
            }
            Self::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
                ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305", 0xcca9)
            }
            Self::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => {
                ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384", 0xc030)
            }
            Self::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => {
                ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256", 0xc02f)
            }
            Self::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => {
                ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305", 0xcca8)
            }
        }
    }
}

form! {
    /// A cipher suite by either name.
    CipherSuiteForm: CipherSuite = Kind::Text;
    read: cipher_suite,
    show: |suite, _| text(suite.name()),
}

fn cipher_suite(report: &mut Report, node: &Node) -> Option<CipherSuite> {
    const EXPECTED: &str = "a cipher suite such as \"TLS_AES_256_GCM_SHA384\" or \"ECDHE-RSA-AES256-GCM-SHA384\"";
    convert::read(report, node, EXPECTED, |text| {
        let is = |suite: &CipherSuite| {
            text.eq_ignore_ascii_case(suite.name()) || text.eq_ignore_ascii_case(suite.openssl_name())
        };
        CipherSuite::ALL.into_iter().find(is).ok_or_else(|| {
            let names = CipherSuite::ALL.iter().flat_map(|suite| [suite.openssl_name(), suite.name()]);
            match nearest(text, names) {
                Some(near) => ValueError::new("is no cipher suite that lbproxy has", EXPECTED)
                    .help(format!("did you mean \"{near}\"?")),
                None if text.contains(':') => ValueError::new("is no cipher suite", EXPECTED)
                    .help("write a list of names in place of one text with colons"),
                None => ValueError::new("is no cipher suite that lbproxy has", EXPECTED),
            }
        })
    })
}
