//! The configuration language of lbproxy: TOML text to a validated model, with diagnostics.
//!
//! A configuration is written by people, under time pressure, into files that grew. What such a language must do is
//! refuse: a key that is misspelt, a reference to nothing, a value that cannot be. Deserialising into structs stops at
//! the first of them, forgets where it stood, and lists its keys in places that drift apart. So the work goes in steps:
//!
//! ```text
//! text ── tree ── inheritance ── decoding ── linking ── Config
//!         (what was written,      (types,     (names to
//!          with places)            defaults)   positions)
//! ```
//!
//! and every step goes on after a mistake, so that one load reports them all as [`Diagnostics`]. One table lists every
//! key with its kind, its default and its meaning; the decoder, [`schema()`] and the manual follow it.
//!
//! The crate reads files and nothing else: it opens no socket, resolves no name and logs nothing.
//!
//! | to do this | call |
//! |---|---|
//! | read a file | [`Config::load`] |
//! | read a text, as tests and fuzzers do | [`Config::parse`] |
//! | make one without a file | [`Config::for_proxy`] |
//! | show it whole, defaults included | [`Config::print`] |
//! | show what is not a default | [`Config::print_changed`] |
//! | say what a reload changes | [`Config::diff`] |
//! | serve an editor | [`schema()`] |
#![forbid(unsafe_code)]

mod decode;
mod keys;
mod language;
mod link;
mod load;
mod model;
mod proxy;
mod reach;
mod sites;
mod table;
mod valid;

pub use language::diagnostic::{Diagnostic, Diagnostics, Severity};
pub use language::files::{Disk, Files, read_text};
pub use language::source::{Place, Sources};
pub use language::template::{Part, Template, Variable};
pub use language::values::address::{EndpointAddress, ListenAddress, Network};
pub use language::values::http::{HostPattern, PathPattern, ValuePattern};
pub use language::values::status::Condition;
pub use load::Loaded;
pub use model::policy::{Policy, PolicyKind};
pub use table::diff::Changes;
pub use table::schema::schema;
pub use valid::*;
