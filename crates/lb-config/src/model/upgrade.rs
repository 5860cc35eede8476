//! `upgrade`: other protocols on the connection of a request (RFC 9110 §7.8).

use std::sync::Arc;

use lb_core::{is_never_upgraded_to, is_same_protocol};

use crate::language::diagnostic::Report;
use crate::language::tree::Node;
use crate::language::values::{ValueError, http};
use crate::table::convert::{self, list, or_word};
use crate::table::form::form;
use crate::table::item::{text, texts};
use crate::table::section::Kind;

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

form! {
    /// `"any"`, `"off"`, or a list of protocols.
    UpgradeForm: Upgrade = Kind::Any(&[Kind::Word(&["any", "off"]), Kind::List(&Kind::Text)]);
    read: |report, node| {
        Some(match or_word("off", or_word("any", list(protocol)))(report, node)? {
            None => Upgrade::Off,
            Some(None) => Upgrade::Any,
            Some(Some(protocols)) => Upgrade::Only(protocols),
        })
    },
    show: |upgrade, _| match upgrade {
        Upgrade::Any => text("any"),
        Upgrade::Off => text("off"),
        Upgrade::Only(protocols) => texts(protocols),
    },
}

/// A protocol as `Upgrade` has it.
fn protocol(report: &mut Report, node: &Node) -> Option<Arc<str>> {
    const EXPECTED: &str = "a protocol such as \"websocket\" or \"spdy/3.1\"";
    convert::read(report, node, EXPECTED, |text| {
        if !text.splitn(2, '/').all(http::is_token) {
            return Err(ValueError::new("is no protocol", EXPECTED));
        }
        if is_never_upgraded_to(text.as_bytes()) {
            let what = "is never switched to: what it carries would pass every rule of this proxy";
            return Err(
                ValueError::new(what, EXPECTED).help("HTTP/2 and TLS are spoken from the start of a connection")
            );
        }
        Ok(text.into())
    })
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
