//! The PROXY protocol towards endpoints.

use crate::table::form::words;

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// A binary head.
    V2,
}

words! {
    /// A version, or `"off"`.
    pub(crate) struct ProxyProtocolForm: Option<ProxyProtocol>;
    "off" => None, "v1" => Some(ProxyProtocol::V1), "v2" => Some(ProxyProtocol::V2)
}
