//! How the process ends.

use std::process::{ExitCode, Termination};

/// What the exit code says to whoever started the process. `2`, for wrong arguments, is clap's to return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Fine,
    /// The configuration is wrong; nothing was bound.
    Config,
    /// It could not start: a port is in use, a log cannot be written.
    Start,
    /// Requests were cut at the end of the grace period, or by a second signal.
    Cut,
    /// A thread died of a bug. It is the code that Rust gives a panic.
    Bug,
}

impl Exit {
    /// The number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Config => 1,
            Self::Start => 3,
            Self::Cut => 4,
            Self::Bug => 101,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}
