//! TLS: certificates from files to what a handshake needs.
//!
//! A certificate is the one part of a configuration that changes while its text does not: a renewal replaces the file and
//! triggers a reload. So files are read at every start and reload (`Store`); if a file can no longer be read, the last
//! valid certificate stays in force. Errors name the file ([`CertificateError`]), also at `check` time (`inspect`). The
//! byte stream of a connection is in `net/stream/tls.rs`.

mod certificate;
mod choice;
mod client_identity;
mod delegate;
mod exposure;
mod inspect;
mod named;
mod pem;
mod sessions;
mod store;
mod terminator;
mod upstream;

pub(crate) use client_identity::ClientIdentity;
pub use inspect::{Finding, inspect};
pub use pem::CertificateError;
pub(crate) use store::{ClusterSettings, Loaded, Store};
pub(crate) use terminator::Terminator;
pub(crate) use upstream::{UpstreamTls, cause};

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// The cryptography, with all its cipher suites.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider()))
}
