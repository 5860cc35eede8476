//! HTTP messages and wire formats without IO.
//!
//! The problem: a proxy reads messages from one library or socket and writes them to another, and each reader has its
//! own idea of what a message is. Two readers that differ are how requests are smuggled. So there is one type for a
//! head, one set of rules for what it may hold, and one codec for both directions; a head from another library goes
//! through the same rules.
//!
//! | for | use |
//! |---|---|
//! | heads, trailers, and changes to them | [`message`] |
//! | HTTP/1.1 and 1.0 as bytes | [`wire::h1`] |
//! | HTTP/2 frames, as far as the `h2` crate hides what they hold | [`wire::h2`] |
//! | the PROXY protocol, versions 1 and 2 | [`wire::proxy_protocol`] |
//!
//! Nothing here opens a socket, starts a task, reads a clock or draws a random number: bytes, time and entropy are
//! arguments. Any driver, test or fuzzer can run it.
#![forbid(unsafe_code)]

pub mod message;
pub mod wire;
