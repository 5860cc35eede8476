//! The language itself: text to a tree of values with their places, and diagnostics about it. Nothing here knows a key.

pub(crate) mod diagnostic;
pub(crate) mod env;
pub(crate) mod files;
pub(crate) mod foreign;
pub(crate) mod foreign_variables;
pub(crate) mod inherit;
pub(crate) mod secrecy;
pub(crate) mod source;
pub(crate) mod suggest;
pub(crate) mod template;
pub(crate) mod tree;
pub(crate) mod values;
