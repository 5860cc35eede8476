//! How the process ends.

use std::process::{ExitCode, Termination};

/// Exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Fine,
    /// The configuration is wrong; nothing was bound.
    Config,
    /// The arguments are wrong. What clap finds, it returns by itself.
    Usage,
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
            Self::Usage => 2,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_that_scripts_rely_on() {
        let all = [Exit::Fine, Exit::Config, Exit::Usage, Exit::Start, Exit::Cut, Exit::Bug];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 4, 101]);
    }
}
