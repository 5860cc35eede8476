//! What a head that was refused begins with, for the log.
//!
//! A client that is refused for its 101st header, or that never finished its head, has sent its request line before. That
//! is worth logging, but nothing of it was checked: only what can be read in one way is handed out, escaping is
//! the log's, and what stands before a path (`http://user:password@host`) is left out.

use crate::message::Version;
use crate::message::chars::find;

/// The beginning of a head, as far as it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beginning<'a> {
    /// Empty where there is none.
    pub method: &'a [u8],
    /// The path, or the first part of it; empty where there is none.
    pub path: &'a [u8],
    /// What follows the `?`.
    pub query: Option<&'a [u8]>,
    /// `HTTP/1.1` and the like; empty where it did not come, or is another one.
    pub protocol: &'static str,
}

impl<'a> Beginning<'a> {
    /// Of these bytes, which may end anywhere.
    pub fn of(read: &'a [u8]) -> Self {
        let (line, is_whole) = match find(b'\n', read) {
            Some(end) => (&read[..end], true),
            None => (read, false),
        };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut words = line.split(|&byte| byte == b' ');
        let method = words.next().unwrap_or_default();
        let is_method = |byte: &u8| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_');
        let Some(target) = words.next().filter(|_| !method.is_empty() && method.iter().all(is_method)) else {
            return Self::default();
        };
        let protocol = match words.next() {
            Some(b"HTTP/1.1") if is_whole => Version::Http11.name(),
            Some(b"HTTP/1.0") if is_whole => Version::Http10.name(),
            _ => "",
        };
        let (path, query) = path_and_query(target);
        Self { method, path, query, protocol }
    }

    /// Of a request of HTTP/2, which comes taken apart.
    pub fn of_parts(parts: &'a http::request::Parts) -> Self {
        Self {
            method: parts.method.as_str().as_bytes(),
            path: parts.uri.path().as_bytes(),
            query: parts.uri.query().map(str::as_bytes),
            protocol: Version::Http2.name(),
        }
    }
}

fn path_and_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    let from = match target {
        [b'/' | b'*', ..] => 0,
        _ => {
            let authority = target.windows(3).position(|part| part == b"://").map(|at| at + 3);
            let path = authority.and_then(|at| Some(at + find(b'/', target.get(at..)?)?));
            path.unwrap_or(target.len())
        }
    };
    let target = target.get(from..).unwrap_or_default();
    match find(b'?', target) {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_given_and_no_more() {
        let of = |read: &'static str| {
            let Beginning { method, path, query, protocol } = Beginning::of(read.as_bytes());
            let text = |bytes: &'static [u8]| std::str::from_utf8(bytes).unwrap();
            (text(method), text(path), query.map(text), protocol)
        };
        for (read, expected) in [
            ("GET /a?b=c HTTP/1.1\r\nBad header\r\n\r\n", ("GET", "/a", Some("b=c"), "HTTP/1.1")),
            ("GET /a HTTP/1.0\n", ("GET", "/a", None, "HTTP/1.0")),
            ("PUT /slow HTT", ("PUT", "/slow", None, "")),
            ("GET /half/of/a/pa", ("GET", "/half/of/a/pa", None, "")),
            ("OPTIONS * HTTP/1.1\r\n", ("OPTIONS", "*", None, "HTTP/1.1")),
            ("GET /a HTTP/3.7\r\n", ("GET", "/a", None, "")),
            ("GET /a b HTTP/1.1\r\n", ("GET", "/a", None, "")),
            ("GET http://user:secret@a/b?c HTTP/1.1\r\n", ("GET", "/b", Some("c"), "HTTP/1.1")),
            ("GET http://user:secret@a HTTP/1.1\r\n", ("GET", "", None, "HTTP/1.1")),
            ("GET http://user:sec", ("GET", "", None, "")),
            ("CONNECT a:443 HTTP/1.1\r\n", ("CONNECT", "", None, "HTTP/1.1")),
            ("nonsense\r\n\r\n", ("", "", None, "")),
            ("get / HTTP/1.1\r\n", ("", "", None, "")),
            (" / HTTP/1.1\r\n", ("", "", None, "")),
            ("\x16\x03\x01\x02 a", ("", "", None, "")),
            ("", ("", "", None, "")),
        ] {
            assert_eq!(of(read), expected, "{read:?}");
        }
    }
}
