//! Protocols as bytes: turning what a connection carries into message heads and bodies, and back.
//!
//! Nothing here reads a socket, a clock or a setting. A codec is handed a buffer and gives back what it found, so that
//! any driver, test or fuzzer can run it. HTTP/2 is spoken by the `h2` crate and has no codec here.

pub mod h1;
pub mod h2;
pub mod proxy_protocol;
