//! HTTP/1.1 and 1.0: a strict codec without IO, for both directions.
//!
//! The problem: a proxy and the endpoint behind it must agree on where each message ends and which host it is for. Parsers
//! differ in what they tolerate, and every difference has been used to smuggle requests past a proxy. So this codec
//! refuses what two parsers could read in two ways; each file lists its rules. It is stricter with
//! requests than with responses, which no other parser reads before they were written again. It is also what every
//! request pays for: one pass over the bytes, one allocation per head, none per header, and no copy of a body.
//!
//! ```text
//! RequestParser::new()   .parse(&mut BytesMut, &HeadLimits)            -> Result<Option<RequestHead>, HeadError>
//! ResponseParser::new()  .parse(&mut BytesMut, Answering, &HeadLimits) -> Result<Option<ResponseHead>, HeadError>
//!     None: append more bytes, call again.  .has_begun(): a head is half read.
//!     Answering::from(&request_head)        1xx come one by one: parse on while head.is_interim().
//! BodyDecoder::new(request.framing()), BodyDecoder::of_response(response.framing())
//!     .decode(&mut BytesMut) -> Result<Step, BodyError>
//!     Step::{Data(Bytes), Trailers(Trailers), End, NeedMore}   .is_done()   .on_eof() -> Result<(), BodyError>
//! encode_request (&mut BytesMut, &RequestHead,  &Edits, Framing, Connection)
//! encode_response(&mut BytesMut, &ResponseHead, &Edits, Framing, Connection)
//!     Connection::{Implicit, KeepAlive, Close, Upgrade}
//! ChunkPrefix::new(len) -> Option<_> + data + CHUNK_SUFFIX, or encode_chunk(&mut BytesMut, &[u8]);
//! encode_last_chunk(&mut BytesMut, Option<&Trailers>)
//! HeadError, BodyError: .cause() -> Cause   .name() -> &'static str   .status() -> u16
//! ```
//!
//! Any split of the input into reads gives the same heads, data and errors. After an error the connection is of no use:
//! where the next message begins is unknown.
//!
//! What this does not do: keep time, count body bytes, decide about retries, tunnels or 1xx, or remember that a
//! request was HEAD. The head's own limits apart, memory is the caller's buffer.

mod beginning;
mod body;
mod encode;
mod error;
mod extension;
mod framing;
mod head;
mod limits;
mod lines;
mod request;
mod response;

pub use beginning::Beginning;
pub use body::{BodyDecoder, Step};
pub use encode::{
    CHUNK_SUFFIX, ChunkPrefix, Connection, encode_chunk, encode_last_chunk, encode_request, encode_response,
};
pub use error::{BodyError, Cause, HeadError};
pub(crate) use framing::decimal;
pub use limits::HeadLimits;
pub use request::RequestParser;
pub use response::{Answering, ResponseParser};
