//! The configuration by its blocks: one file holds a block's keys, its type, how it is decoded and how it is shown.

pub(crate) mod policy;
