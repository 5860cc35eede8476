//! Tables of keys, and what is done with each of them in the same way: decoding, the schema, printing, comparing.

pub(crate) mod block;
mod changed;
pub(crate) mod convert;
pub(crate) mod diff;
pub(crate) mod fields;
pub(crate) mod form;
pub(crate) mod item;
mod print;
pub(crate) mod schema;
pub(crate) mod section;
pub(crate) mod vocabulary;
