//! The rules of HTTP that a proxy adds to what it forwards, without any IO.
//!
//! What is sent where, and what is changed on the way, is decided here by pure functions over the valid configuration
//! and the heads of messages: which route takes a request ([`router`]), what is forwarded about the client
//! ([`forwarded`]), what is edited ([`headers`]), and what we answer ourselves ([`answer`]). Each can be driven from a
//! test with nothing but bytes; sockets, clocks and randomness are the engine's, which passes `now` and entropy in.
//!
//! The simple answer, a decision wherever its data happens to be at hand, fails the operator first: two places that
//! disagree about what a path or a client is are a way around a limit.

pub mod accept;
pub mod answer;
pub mod basic;
pub mod cause;
pub(crate) mod client_cert;
pub mod encoder;
pub mod encoding;
pub mod forwarded;
pub mod grpc;
pub mod headers;
pub mod host;
pub(crate) mod limit_headers;
pub mod limit_key;
pub mod load_report;
pub(crate) mod login;
pub(crate) mod look_alike;
pub mod networks;
pub mod page;
pub mod path;
pub mod range;
pub mod redirect;
pub mod reply;
pub mod request_id;
pub mod respond;
pub(crate) mod retry_after;
pub mod router;
pub mod sticky;
pub mod template;
pub mod text;
pub(crate) mod trailers;

#[cfg(test)]
pub(crate) mod testing {
    //! Requests to drive the rules with.

    use bytes::BytesMut;

    use super::forwarded::{ConnectionFacts, Origin};
    use super::networks::Networks;
    use super::template::Facts;
    use crate::message::{Edits, Framing, RequestHead};
    use crate::wire::h1::{Connection, HeadLimits, RequestParser, encode_request};

    /// A head as the codec reads it; lines are given without CR, the empty line at the end is added.
    pub(crate) fn head(lines: &str) -> RequestHead {
        let mut text = BytesMut::from(format!("{}\n\n", lines.trim_end()).replace('\n', "\r\n").as_str());
        RequestParser::new().parse(&mut text, &HeadLimits::default()).expect("valid").expect("whole")
    }

    pub(super) fn get(target: &str) -> RequestHead {
        head(&format!("GET {target} HTTP/1.1\nHost: example.com"))
    }

    /// An untrusted client at 192.0.2.1, over plain HTTP to port 80.
    pub(crate) fn origin(head: &RequestHead) -> Origin {
        let arrival = ConnectionFacts { peer: Some([192, 0, 2, 1].into()), is_tls: false, port: 80 };
        Origin::new(arrival, &Networks::default(), head)
    }

    pub(crate) fn facts<'a>(head: &'a RequestHead, origin: &'a Origin) -> Facts<'a> {
        Facts { head, origin, request_id: b"id1", route: "r", cluster: "c", endpoint: "e:80", user: "u" }
    }

    /// The lines of a head as they go out, sorted, without the request line.
    pub(crate) fn sent(head: &RequestHead, edits: &Edits) -> Vec<String> {
        let mut out = BytesMut::new();
        encode_request(&mut out, head, edits, Framing::None, Connection::Implicit);
        let text = String::from_utf8(out.to_vec()).expect("ASCII");
        let mut lines: Vec<_> = text.split("\r\n").skip(1).filter(|line| !line.is_empty()).map(str::to_owned).collect();
        lines.sort();
        lines
    }
}
