//! The arguments, and what `--help` teaches.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// A load balancer for HTTP services.
#[derive(Debug, Parser)]
#[command(name = "lbproxy", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve as a configuration file says.
    Run {
        /// The configuration, in TOML.
        file: PathBuf,
    },
}
