//! How single values are written: text in, typed value or a reason out.
//!
//! Nothing here knows keys or places. A [`ValueError`] completes the sentence that begins with the value; the caller quotes
//! the value, because only the caller knows whether it may be shown.

pub(crate) mod address;
pub(crate) mod http;
pub(crate) mod quantity;
pub(crate) mod status;

/// Why a text is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ValueError {
    /// Goes on after the value: "has no unit".
    pub(crate) what: String,
    /// What would be right, after "expected".
    pub(crate) expected: String,
    /// What to write instead.
    pub(crate) help: Option<String>,
}

impl ValueError {
    pub(crate) fn new(what: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { what: what.into(), expected: expected.into(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
