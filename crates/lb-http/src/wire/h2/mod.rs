//! What we look at ourselves in HTTP/2's framing; the protocol itself is the `h2` crate's.

mod block;
mod budget;
mod huffman;
mod requests;
mod table;
mod walker;

pub use budget::Budget;
pub use walker::{FrameHead, Walker};

/// What a client that knows that we speak HTTP/2 begins with (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
