//! What is done with a client's connection: the protocols that it may speak.

pub(crate) mod http;
