//! Why a start or a reload failed.

use std::io;
use std::sync::Arc;

use lb_ratelimit::NoMemory;

use crate::auth::AuthFileError;
use crate::rules::headers::HeaderError;
use crate::rules::page::PageError;
use crate::tls::CertificateError;

/// Why the proxy could not start, or a new configuration could not take effect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// An address could not be bound.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The access log could not be opened.
    #[error("cannot write the access log: {0}")]
    AccessLog(io::Error),
    /// A header of the configuration cannot be written.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A certificate or key cannot be used, and none read before can stand in.
    #[error("TLS: {0}")]
    Certificate(#[from] CertificateError),
    /// An error page cannot be used, and none read before can stand in.
    #[error(transparent)]
    Page(#[from] PageError),
    /// A file of users or keys cannot be used, and none read before can stand in.
    #[error("authentication: {0}")]
    Auth(#[from] AuthFileError),
    /// There is not as much memory as a rate limit is to have.
    #[error("rate limit `{limit}`: {source}")]
    Memory {
        /// Its name.
        limit: Arc<str>,
        /// Why not.
        source: NoMemory,
    },
    /// A thread or runtime could not be made.
    #[error("cannot start a worker: {0}")]
    Thread(io::Error),
}
