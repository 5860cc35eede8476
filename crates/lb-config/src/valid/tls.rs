//! TLS towards clients and towards endpoints: files and rules, none of them read yet.

use std::path::PathBuf;
use std::sync::Arc;

/// TLS of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// At least one. The first is shown to clients that ask for none of the others' names.
    pub certificates: Vec<CertificateFiles>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// In the order in which they are offered; empty is the library's choice.
    pub cipher_suites: Vec<CipherSuite>,
    /// Protocols that may be spoken above, the preferred one first; empty offers none.
    pub alpn: Vec<Alpn>,
    /// Whether clients show certificates.
    pub client_auth: Option<ClientAuth>,
}

/// Where a certificate, the chain to its root, and its private key are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateFiles {
    /// The certificate and its chain, PEM.
    pub cert: PathBuf,
    /// The private key, PEM; the same file where all are in one.
    pub key: PathBuf,
}

/// Certificates of clients.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientAuth {
    /// The authorities that are believed, PEM.
    pub ca: PathBuf,
    /// Whether a client without one is refused.
    pub required: bool,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
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

/// TLS towards the endpoints of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterTls {
    /// The authorities that are believed, PEM; `None` is the system's.
    pub ca: Option<PathBuf>,
    /// The name that is asked for and must be in the certificate; `None` is the endpoint's host.
    pub server_name: Option<Arc<str>>,
    /// The certificate that we show.
    pub client: Option<CertificateFiles>,
    /// Whether the endpoint's certificate must hold.
    pub verify: bool,
}

impl Default for ClusterTls {
    /// The system's authorities, the endpoint's host, and no excuses.
    fn default() -> Self {
        Self { ca: None, server_name: None, client: None, verify: true }
    }
}

/// A cipher suite, by its IANA name.
#[allow(non_camel_case_types, reason = "written as the registry writes them, for whoever searches")]
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
