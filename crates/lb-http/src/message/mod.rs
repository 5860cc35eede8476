//! What every stage of a request sees: heads, headers and the edits made on the way.
//!
//! The problem: a proxy looks at a handful of headers, changes three or four, and forwards the rest. A map of owned
//! strings makes it pay for every header twice, once to build the map and once to write it out again. Here a head is
//! the bytes as they were received plus one index into them; [`Edits`] is a small overlay of what is to be different;
//! the encoder joins the two once, copying untouched neighbours as one block.
//!
//! A head is never changed after it was parsed: clones are a reference count, and what a log line, a retry and a
//! policy read is the same. The values are bytes, not strings: HTTP does not promise UTF-8, and neither do we.
//!
//! What this does not do: it does not decode percent escapes or remove dot segments from a path (routing does), and it
//! does not interpret any header but those that decide framing, connection handling and the authority.

mod authority;
pub(crate) mod chars;
mod convert;
mod edits;
mod fields;
mod head;
mod method;
pub mod name;
mod request;
mod response;
mod target;
mod trailers;
pub mod upgrade;
pub mod websocket;

pub use authority::{Authority, MAX_HOST_NAME};
pub use convert::has_outer_space;
pub use edits::{Edits, InvalidField, Line};
pub use fields::Headers;
pub use head::Head;
pub use method::Method;
pub use name::Name;
pub use request::RequestHead;
pub use response::{ResponseBuilder, ResponseHead};
pub use target::TargetForm;
pub use trailers::Trailers;

pub(crate) use authority::split_authority;
pub(crate) use fields::{Field, Fields, Span, flag};
pub(crate) use head::Index;
pub(crate) use request::RequestIndex;
pub(crate) use response::{ResponseIndex, status_digits};
pub(crate) use target::{classify_target, is_valid_origin_form};

/// How the end of a message's body is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// No body follows the head, and none was announced that would.
    None,
    /// Exactly this many bytes follow. At most `i64::MAX`, since some parsers count in signed integers.
    Length(u64),
    /// Chunks follow, each with its size before it, then perhaps trailers.
    Chunked,
    /// Everything until the connection closes. Responses only.
    Close,
}

impl Framing {
    /// Whether no byte of a body follows: [`None`](Self::None) or a length of zero.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }
}

/// The protocol version of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0: one request per connection unless both sides ask for keep-alive, no chunks.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2. Its heads are given to [`RequestHead`] by conversion, never by the HTTP/1 codec.
    Http2,
}

impl Version {
    /// As access logs write it: `HTTP/1.0`, `HTTP/1.1`, `HTTP/2.0`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
        }
    }
}
