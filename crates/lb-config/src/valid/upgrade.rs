//! Other protocols on the connection of a request (RFC 9110 §7.8).

use std::sync::Arc;

use lb_core::{is_never_upgraded_to, is_same_protocol};

/// Which protocols a request may ask to switch to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// Every one but those of [`is_never_upgraded_to`].
    Any,
    /// None: `Upgrade` is left out, and the request goes on without.
    Off,
    /// These, each written as in `Upgrade`.
    Only(Vec<Arc<str>>),
}

impl Upgrade {
    /// Whether a request may ask for this protocol, written as in `Upgrade`.
    #[must_use]
    pub fn allows(&self, protocol: &[u8]) -> bool {
        match self {
            Self::Any => !is_never_upgraded_to(protocol),
            Self::Off => false,
            Self::Only(protocols) => protocols.iter().any(|known| is_same_protocol(known.as_bytes(), protocol)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_allows_all_but_what_is_never_upgraded_to() {
        for protocol in ["h2c", "HTTP/2.0", "TLS/1.2"] {
            assert!(!Upgrade::Any.allows(protocol.as_bytes()), "{protocol}");
        }
        for protocol in ["websocket", "tcp", "SPDY/3.1"] {
            assert!(Upgrade::Any.allows(protocol.as_bytes()), "{protocol}");
            assert!(!Upgrade::Off.allows(protocol.as_bytes()), "{protocol}");
        }
        let only = Upgrade::Only(vec!["websocket".into(), "spdy/3.1".into()]);
        for (protocol, allowed) in [("WebSocket", true), ("SPDY/3.1", true), ("SPDY/4", false), ("tcp", false)] {
            assert_eq!(only.allows(protocol.as_bytes()), allowed, "{protocol}");
        }
    }
}
