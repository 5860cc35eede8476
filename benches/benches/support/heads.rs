//! Heads and routes as they are met every day.

use bytes::BytesMut;
use lb_config::{HostPattern, Match, PathPattern};
use lb_http::message::{Edits, RequestHead, ResponseHead, name};
use lb_http::wire::h1::{Answering, HeadLimits, RequestParser, ResponseParser};
use lb_proxy::rules::router::Router;

/// A browser's request.
pub(crate) const REQUEST: &str = "GET /api/v1/items?page=2&sort=name HTTP/1.1\r\n\
    Host: shop.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://shop.example.com/\r\n\
    Cookie: session=5f2b8c0d9e; affinity=Ac2OLe1p_mBdIAAAAAAhU830wnCBvk95\r\n\
    Connection: keep-alive\r\n\r\n";

/// The answer of an Express application.
pub(crate) const RESPONSE: &str = "HTTP/1.1 200 OK\r\n\
    X-Powered-By: Express\r\n\
    Content-Type: application/json; charset=utf-8\r\n\
    Content-Length: 1234\r\n\
    ETag: W/\"4d2-abcdefghijklmnop\"\r\n\
    Vary: Accept-Encoding\r\n\
    Date: Sat, 21 Nov 2026 09:00:00 GMT\r\n\
    Connection: keep-alive\r\n\
    Keep-Alive: timeout=5\r\n\r\n";

/// The head in this buffer.
pub(crate) fn request(buf: &mut BytesMut) -> RequestHead {
    let head = RequestParser::new().parse(buf, &HeadLimits::default());
    head.expect("the text is valid").expect("and whole")
}

/// The head in this buffer.
pub(crate) fn response(buf: &mut BytesMut) -> ResponseHead {
    let head = ResponseParser::new().parse(buf, Answering::Other, &HeadLimits::response());
    head.expect("the text is valid").expect("and whole")
}

/// What a proxy changes in a request.
pub(crate) fn edits() -> Edits {
    let mut edits = Edits::new();
    edits.set(name::X_FORWARDED_FOR, "192.0.2.1").expect("a valid edit");
    edits.set(name::X_FORWARDED_PROTO, "https").expect("a valid edit");
    edits.remove(name::COOKIE).expect("a valid edit");
    edits
}

/// So many routes, and one more, for [`REQUEST`].
pub(crate) fn router(count: usize) -> Router {
    let matches: Vec<Match> = (0..count).map(prefix).chain([to_be_found()]).collect();
    Router::from_matches(1, &matches.iter().collect::<Vec<_>>())
}

fn prefix(n: usize) -> Match {
    let host = format!("site-{}.example.com", n % 100);
    Match {
        hosts: vec![HostPattern::Exact(host.as_str().into())],
        path: PathPattern::Prefix(format!("/part-{n}").as_str().into()),
        ..Match::default()
    }
}

fn to_be_found() -> Match {
    Match {
        hosts: vec![HostPattern::Exact("shop.example.com".into())],
        path: PathPattern::Prefix("/api".into()),
        ..Match::default()
    }
}
