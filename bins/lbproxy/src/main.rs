//! A load balancer for HTTP services.
//!
//! The command line: arguments, signals, exit codes. What is served and how is the business of `lb-proxy`, what a
//! configuration means that of `lb-config`.
#![forbid(unsafe_code)]

mod args;
mod exit;
mod run;
mod serve;
mod signals;

use clap::Parser;

use crate::args::{Args, Command};
use crate::exit::Exit;

fn main() -> Exit {
    match Args::parse().command {
        Command::Run { file } => run::run(&file),
    }
}
