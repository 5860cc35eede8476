//! What the targets share: running a codec over input in pieces, and telling what came of it.
#![forbid(unsafe_code)]

use bytes::{Bytes, BytesMut};
use lb_http::message::{Framing, RequestHead, ResponseHead};
use lb_http::wire::h1::{Answering, BodyDecoder, Cause, HeadLimits, RequestParser, ResponseParser, Step};

/// Everything a parser made of a stream of heads: the heads, then an error or the bytes left over.
pub type Heads<T> = (Vec<T>, Result<Vec<u8>, Cause>);

fn heads<T>(pieces: &[&[u8]], mut parse: impl FnMut(&mut BytesMut) -> Result<Option<T>, Cause>) -> Heads<T> {
    let (mut buf, mut heads) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            match parse(&mut buf) {
                Ok(Some(head)) => heads.push(head),
                Ok(None) => break,
                Err(cause) => return (heads, Err(cause)),
            }
        }
    }
    (heads, Ok(buf.to_vec()))
}

/// Reads request heads, one after the other.
pub fn requests(pieces: &[&[u8]], limits: &HeadLimits) -> Heads<RequestHead> {
    let mut parser = RequestParser::new();
    heads(pieces, |buf| parser.parse(buf, limits).map_err(|error| error.cause()))
}

/// Reads response heads, one after the other.
pub fn responses(pieces: &[&[u8]], answering: Answering, limits: &HeadLimits) -> Heads<ResponseHead> {
    let mut parser = ResponseParser::new();
    heads(pieces, |buf| parser.parse(buf, answering, limits).map_err(|error| error.cause()))
}

/// What a decoder made of a body: data, trailers, and how it ended: with bytes left, waiting for more, or refused.
#[derive(Debug, PartialEq, Eq)]
pub struct Body {
    pub data: Vec<u8>,
    pub trailers: Vec<(Vec<u8>, Vec<u8>)>,
    pub end: Result<Option<Vec<u8>>, Cause>,
}

/// Decodes one body of a request.
pub fn body(pieces: &[&[u8]], framing: Framing) -> Body {
    decoded(pieces, BodyDecoder::new(framing))
}

/// Decodes one body of a response.
pub fn response_body(pieces: &[&[u8]], framing: Framing) -> Body {
    decoded(pieces, BodyDecoder::of_response(framing))
}

fn decoded(pieces: &[&[u8]], mut decoder: BodyDecoder) -> Body {
    let mut buf = BytesMut::new();
    let mut body = Body { data: Vec::new(), trailers: Vec::new(), end: Ok(None) };
    let mut ended = false;
    for piece in pieces {
        buf.extend_from_slice(piece);
        while !ended {
            match decoder.decode(&mut buf) {
                Ok(Step::Data(data)) => body.push(&data),
                Ok(Step::Trailers(trailers)) => {
                    body.trailers.extend(trailers.iter().map(|(name, value)| (name.to_vec(), value.to_vec())));
                }
                Ok(Step::End) => ended = true,
                Ok(Step::NeedMore) => break,
                Err(error) => {
                    body.end = Err(error.cause());
                    return body;
                }
            }
        }
    }
    body.end = Ok(ended.then(|| buf.to_vec()));
    body
}

impl Body {
    fn push(&mut self, data: &Bytes) {
        assert!(!data.is_empty(), "an empty piece of data would look like an end");
        self.data.extend_from_slice(data);
    }
}

/// A request head as its accessors see it, for comparison.
pub fn seen_request(head: &RequestHead) -> impl PartialEq + std::fmt::Debug + use<> {
    let headers: Vec<_> = head.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    let target = (head.method().to_string(), head.path().to_vec(), head.query().map(<[u8]>::to_vec));
    let flags = (head.version(), head.framing(), head.keep_alive(), head.expects_continue(), head.accepts_trailers());
    (
        headers,
        target,
        flags,
        head.host().map(<[u8]>::to_vec),
        head.upgrade().map(<[u8]>::to_vec),
        head.as_bytes().clone(),
    )
}

/// A response head as its accessors see it, for comparison.
pub fn seen_response(head: &ResponseHead) -> impl PartialEq + std::fmt::Debug + use<> {
    let headers: Vec<_> = head.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    let line = (head.status(), head.reason().to_vec(), head.version(), head.framing(), head.keep_alive());
    let rest = (head.keep_alive_timeout(), head.content_length(), head.upgrade().map(<[u8]>::to_vec));
    (headers, line, rest, head.as_bytes().clone())
}

/// The input cut at places that its own first bytes choose, and the input without those bytes.
///
/// `None` if there is too little of it.
pub fn cut(input: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    let (cuts, bytes) = input.split_first_chunk::<6>()?;
    // Short steps as well as long ones: most of what can go wrong happens within a few bytes.
    let mut pieces = Vec::new();
    let mut rest = bytes;
    for step in cuts.iter().cycle().take(64) {
        let (piece, after) = rest.split_at(usize::from(*step).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    Some((pieces, bytes))
}
