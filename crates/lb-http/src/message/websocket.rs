//! WebSocket as HTTP/1.1 opens it (RFC 6455 §4) and as HTTP/2 does (RFC 8441).
//!
//! HTTP/2 has no `Upgrade`: a client sends CONNECT with `:protocol: websocket`, and a 200 opens the stream. Within, it
//! is the same request as ever, a GET with an `Upgrade`, so that routes, logs and endpoints see no difference.
//! HTTP/2 also leaves out the key that HTTP/1.1's endpoints answer for; where one is needed, it is ours.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use lb_core::is_same_protocol;
use sha1::{Digest, Sha1};

use super::convert::{put, put_headers, version_line};
use super::{Framing, Method, RequestHead, ResponseHead, name};
use crate::wire::h1::{Answering, Cause, HeadError, HeadLimits, ResponseParser};

pub use super::convert::WEBSOCKET as NAME;

/// What RFC 6455 §1.3 appends to a key.
const SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The key of 16 random octets. It is no secret: an answer to it shows that the endpoint knows the protocol.
#[must_use]
pub fn key(random: u128) -> String {
    STANDARD.encode(random.to_be_bytes())
}

/// The `Sec-WebSocket-Accept` for a key.
fn accept(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(SUFFIX).finalize())
}

/// Whether a request asks for a WebSocket.
pub(super) fn is_asked(head: &RequestHead) -> bool {
    head.upgrade().is_some_and(|protocol| is_same_protocol(protocol, NAME.as_bytes()))
}

/// Whether it asks as RFC 6455 §4.1 requires, so that HTTP/2 has an equivalent: a GET without a body, and with a key.
#[must_use]
pub fn is_asked_properly(head: &RequestHead) -> bool {
    is_asked(head)
        && head.method() == Method::Get
        && head.framing().is_empty()
        && head.header(name::SEC_WEBSOCKET_KEY).is_some()
}

/// Whether a 101 answers to the key of the request. Never where there is none.
pub(super) fn is_accepted(asked: &RequestHead, answer: &ResponseHead) -> bool {
    let key = asked.header(name::SEC_WEBSOCKET_KEY);
    let expected = key.filter(|key| !key.is_empty()).map(accept);
    expected.is_some() && answer.header(name::SEC_WEBSOCKET_ACCEPT) == expected.as_deref().map(str::as_bytes)
}

impl RequestHead {
    /// The request that an extended CONNECT for a WebSocket stands for, with this key.
    ///
    /// # Errors
    /// As for any other head that comes over HTTP/2.
    pub fn from_websocket(parts: &http::request::Parts, limits: &HeadLimits, key: &str) -> Result<Self, HeadError> {
        Self::converted(parts, Framing::None, limits, Some(key))
    }
}

impl ResponseHead {
    /// The 101 that a 2xx to an extended CONNECT stands for, as the response to this request.
    ///
    /// # Errors
    /// What our own codec refuses in such a head.
    pub fn switching(
        parts: &http::response::Parts,
        asked: &RequestHead,
        limits: &HeadLimits,
    ) -> Result<Self, HeadError> {
        let mut text = BytesMut::with_capacity(512);
        version_line(&mut text, http::StatusCode::SWITCHING_PROTOCOLS);
        put(&mut text, b"connection", b"upgrade");
        put(&mut text, b"upgrade", NAME.as_bytes());
        if let Some(key) = asked.header(name::SEC_WEBSOCKET_KEY) {
            put(&mut text, b"sec-websocket-accept", accept(key).as_bytes());
        }
        put_headers(&mut text, &parts.headers, Framing::None, |name| {
            super::convert::is_connection(name) || name.as_str() == "sec-websocket-accept"
        });
        text.extend_from_slice(b"\r\n");
        let head = ResponseParser::new().parse(&mut text, Answering::from(asked), limits)?;
        head.filter(|_| text.is_empty()).ok_or(HeadError::from(Cause::BadStatusLine))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::convert::NO_LIMITS;
    use crate::message::{Edits, Version};

    fn connect() -> http::request::Parts {
        let request = http::Request::builder()
            .method("CONNECT")
            .version(http::Version::HTTP_2)
            .uri("https://a.test/chat?room=1")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-protocol", "chat")
            .header("sec-websocket-key", "theirs")
            .header("cookie", "a=1")
            .header("cookie", "b=2");
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_answer_to_a_key_is_that_of_the_rfc() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(key(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10), "AQIDBAUGBwgJCgsMDQ4PEA==");
    }

    #[test]
    fn an_extended_connect_is_a_get_with_an_upgrade() {
        let head = RequestHead::from_websocket(&connect(), &NO_LIMITS, "ours").unwrap();
        assert_eq!((head.method().as_str(), head.target()), ("GET", &b"/chat?room=1"[..]));
        assert_eq!((head.host(), head.version()), (Some(&b"a.test"[..]), Version::Http2));
        assert!(is_asked(&head) && !head.is_connect() && head.framing() == Framing::None);
        assert_eq!(head.headers("sec-websocket-key").collect::<Vec<_>>(), [b"ours"]);
        assert_eq!(head.header("sec-websocket-protocol"), Some(&b"chat"[..]));
        assert_eq!(head.header("cookie"), Some(&b"a=1; b=2"[..]));
    }

    #[test]
    fn an_open_stream_is_a_101_that_answers_to_the_key() {
        let asked = RequestHead::from_websocket(&connect(), &NO_LIMITS, "ours").unwrap();
        let answer = http::Response::builder().header("sec-websocket-protocol", "chat").header("x-a", "b");
        let parts = answer.header("content-length", "7").body(()).unwrap().into_parts().0;
        let head = ResponseHead::switching(&parts, &asked, &NO_LIMITS).unwrap();
        assert_eq!((head.status(), head.upgrade()), (101, Some(&b"websocket"[..])));
        assert!(is_accepted(&asked, &head));
        assert_eq!((head.header("x-a"), head.content_length()), (Some(&b"b"[..]), None));
        let other = RequestHead::from_websocket(&connect(), &NO_LIMITS, "another").unwrap();
        assert!(!is_accepted(&other, &head));
        let back = head.to_parts(&Edits::new(), Framing::None).unwrap();
        assert_eq!(back.status, 101);
        assert!(!back.headers.contains_key("upgrade") && !back.headers.contains_key("connection"));
    }
}
