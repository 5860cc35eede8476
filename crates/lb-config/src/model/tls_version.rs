//! Versions of TLS.

use crate::table::form::words;

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

words! { TlsVersion: TlsVersion; "1.2" => Self::V1_2, "1.3" => Self::V1_3 }
