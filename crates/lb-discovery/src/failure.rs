//! Why there is no list of endpoints.

use std::fmt;

/// Why a source has no list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// What it asks answered with an error, or not at all.
    Unanswered(String),
    /// A local failure: this machine lacks descriptors, memory or a permission. It is no evidence about the endpoints.
    Local(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered(why) | Self::Local(why) => f.write_str(why),
        }
    }
}
