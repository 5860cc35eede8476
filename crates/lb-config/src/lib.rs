//! The configuration language of lbproxy: TOML text to a validated model, with diagnostics.
#![forbid(unsafe_code)]

mod valid;

pub use valid::*;
