//! The configuration language of lbproxy: TOML text to a validated model, with diagnostics.
