//! The path that routes are matched against.
//!
//! A route is an operator's promise about a part of the site, and a client must not be able to walk around it by
//! spelling the path in another way. Matching what was received letter by letter fails that: `/%61dmin`, `/x/../admin`
//! and `//admin` all reach what `/admin` guards. So the path is percent-decoded first and its dot segments are resolved
//! after that, and only the copy that routes see is changed: what is sent on is what was received.
//!
//! Decoding leaves some things as they are, written `%XX` in upper case, so that no text a pattern sees means something
//! else than it shows:
//!
//! - an encoded slash, which is an ordinary character of its segment (`/projects/group%2Fname` has two segments);
//! - control characters, so that `.` in a regular expression cannot be stopped by a line feed;
//! - octets that are not UTF-8, overlong spellings of `/` among them.
//!
//! Services disagree about some spellings, and no single reading is safe with all of them: many decode `%2F` to a
//! separator, some take `\` for one, some (Tomcat, Jetty, Spring) drop what follows a `;` in each segment. A path that
//! contains such a spelling therefore has a second reading ([`MatchPath::other`]), the most permissive one; a request is
//! routed only when both readings lead to the same route, and refused otherwise. npm, GitLab and RabbitMQ, whose paths need
//! `%2F`, and `/a;v=1/b` work as they should; `/public/..%2Fadmin` and `/x;v=1/admin` do not pass for a public path where
//! `/x/admin` has a route of its own.
//!
//! Refused outright: a `%` without two digits, NUL, a `..` above the root, and a `..` after an empty segment (whether
//! `/a//../b` is `/b` or `/a/b` depends on whether slashes are merged first). Runs of slashes are otherwise one slash, as with
//! nginx's `merge_slashes`.
//!
//! Not done here: nothing is decoded twice (`%252e` is the text `%2e`), and letter case stays.
//!
//! Cost: one pass and no allocation for a path without any of `%`, `\`, `;`, `//` or a dot segment.

use std::borrow::Cow;

/// A path as routes see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchPath<'a> {
    /// Decoded and resolved: begins with a slash, has no empty segment but perhaps the last, no `.` and no `..`; or
    /// `*`.
    pub path: Cow<'a, str>,
    /// How the most permissive reader would take it, where that differs.
    pub other: Option<String>,
}

/// Why a path is refused with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// A `%` that two hexadecimal digits do not follow.
    #[error("a percent sign without two hexadecimal digits")]
    Escape,
    /// A NUL or another octet that no request target may hold.
    #[error("a character that no path may hold")]
    Forbidden,
    /// More `..` than segments before them.
    #[error("a path that climbs above the root")]
    AboveRoot,
    /// Two readers could take it for different resources.
    #[error("a path that can be read in two ways")]
    Ambiguous,
    /// Neither a path nor `*`.
    #[error("a path that does not begin with a slash")]
    NotAbsolute,
}

impl<'a> MatchPath<'a> {
    /// Reads the path of a request target: what stands before the `?`. `*` (of `OPTIONS *`) stays as it is, and only
    /// the root prefix matches it.
    ///
    /// # Errors
    ///
    /// [`PathError`] when no reading is safe; the module's text lists the cases.
    pub fn new(raw: &'a [u8]) -> Result<Self, PathError> {
        match raw {
            [b'*'] => return Ok(Self { path: Cow::Borrowed("*"), other: None }),
            [b'/', ..] => {}
            _ => return Err(PathError::NotAbsolute),
        }
        if is_plain(raw)
            && let Ok(path) = std::str::from_utf8(raw)
        {
            return Ok(Self { path: Cow::Borrowed(path), other: None });
        }
        let strict = decode(raw, Reading::Strict)?;
        let path = resolve(&strict, Reading::Strict)?;
        let other = if is_disputed(raw) {
            let permissive = resolve(&decode(raw, Reading::Permissive)?, Reading::Permissive)?;
            (permissive != path).then_some(permissive)
        } else {
            None
        };
        Ok(Self { path: Cow::Owned(path), other })
    }
}

/// Whose eyes a path is read with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// RFC 3986: only a literal slash separates.
    Strict,
    /// An encoded slash and any backslash separate too, and a segment ends at its first `;`.
    Permissive,
}

/// Whether nothing needs to be decoded, resolved or refused. May say no to a path that is fine.
fn is_plain(raw: &[u8]) -> bool {
    let mut previous = 0;
    for (at, &byte) in raw.iter().enumerate() {
        match byte {
            b'%' | b'\\' | b';' | b'#' | 0..=0x20 | 0x7f.. => return false,
            b'/' if previous == b'/' => return false,
            b'.' if previous == b'/' && !matches!(raw.get(at + 1), Some(b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9')) => {
                return false;
            }
            _ => previous = byte,
        }
    }
    true
}

/// Whether the path holds a spelling that readers disagree about.
fn is_disputed(raw: &[u8]) -> bool {
    raw.contains(&b'\\')
        || raw.windows(3).any(|w| matches!(w, [b'%', b'2', b'F' | b'f'] | [b'%', b'5', b'C' | b'c']))
        || (raw.contains(&b';') || raw.windows(3).any(|w| matches!(w, [b'%', b'3', b'B' | b'b'])))
}

/// Percent-decodes once, keeping as `%XX` what the module's text says.
fn decode(raw: &[u8], reading: Reading) -> Result<String, PathError> {
    let mut octets = Vec::with_capacity(raw.len() + 8);
    let mut rest = raw;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let (octet, is_encoded) = match byte {
            b'%' => {
                let [high, low, tail @ ..] = tail else { return Err(PathError::Escape) };
                rest = tail;
                (hex(*high)? << 4 | hex(*low)?, true)
            }
            b'#' | 0..=0x20 | 0x7f => return Err(PathError::Forbidden),
            _ => (byte, false),
        };
        match octet {
            0 => return Err(PathError::Forbidden),
            b'\\' if reading == Reading::Permissive => octets.push(b'/'),
            b'/' if is_encoded && reading == Reading::Strict => escape(octet, &mut octets),
            1..=0x1f | 0x7f => escape(octet, &mut octets),
            _ => octets.push(octet),
        }
    }
    Ok(String::from_utf8(octets).unwrap_or_else(|error| keep_utf8(error.as_bytes())))
}

/// The octets as text, those that are not UTF-8 written `%XX`.
fn keep_utf8(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len() + 16);
    for chunk in octets.utf8_chunks() {
        text.push_str(chunk.valid());
        for &octet in chunk.invalid() {
            text.push('%');
            text.push(char::from(DIGITS[usize::from(octet >> 4)]));
            text.push(char::from(DIGITS[usize::from(octet & 15)]));
        }
    }
    text
}

/// Resolves dot segments and merges slashes of a decoded path that begins with a slash.
fn resolve(decoded: &str, reading: Reading) -> Result<String, PathError> {
    let mut path = String::with_capacity(decoded.len());
    let mut merged = false;
    let mut segments = decoded.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        let name = match reading {
            Reading::Strict => segment,
            // Parameters are no part of the name; one that has nothing before them is empty.
            Reading::Permissive => segment.split(';').next().unwrap_or_default(),
        };
        match name {
            "" => merged |= !is_last,
            "." => {}
            ".." if merged => return Err(PathError::Ambiguous),
            ".." => path.truncate(path.rfind('/').ok_or(PathError::AboveRoot)?),
            _ => {
                path.push('/');
                path.push_str(name);
                continue;
            }
        }
        if is_last {
            path.push('/');
        }
    }
    Ok(path)
}

fn escape(octet: u8, octets: &mut Vec<u8>) {
    octets.extend_from_slice(&[b'%', DIGITS[usize::from(octet >> 4)], DIGITS[usize::from(octet & 15)]]);
}

fn hex(digit: u8) -> Result<u8, PathError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(PathError::Escape),
    }
}

const DIGITS: [u8; 16] = *b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &str) -> String {
        MatchPath::new(raw.as_bytes()).unwrap().path.into_owned()
    }

    fn other(raw: &str) -> Option<String> {
        MatchPath::new(raw.as_bytes()).unwrap().other
    }

    #[test]
    fn a_plain_path_is_borrowed() {
        for raw in ["/", "/a", "/api/v1/users", "/.well-known/acme-challenge/x", "/~x/@y/!$&'()*+,="] {
            let read = MatchPath::new(raw.as_bytes()).unwrap();
            assert!(matches!(read.path, Cow::Borrowed(text) if text == raw), "{raw}");
            assert_eq!(read.other, None);
        }
    }

    #[test]
    fn decoding_comes_before_resolving_and_happens_once() {
        for (raw, expected) in [
            ("/%61dmin", "/admin"),
            ("/a/%2e%2e/b", "/b"),
            ("/a/.%2E/b", "/b"),
            ("/%252e%252e/b", "/%2e%2e/b"),
            ("/caf%C3%A9", "/café"),
            ("/a%20b", "/a b"),
            ("/100%25", "/100%"),
        ] {
            assert_eq!(path(raw), expected, "{raw}");
        }
    }

    #[test]
    fn dot_segments_and_runs_of_slashes_go() {
        for (raw, expected) in [
            ("/a/./b", "/a/b"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/a/..", "/"),
            ("/a/../", "/"),
            ("/.", "/"),
            ("//", "/"),
            ("//a///b//", "/a/b/"),
            ("/a/b/../../c", "/c"),
            ("/...", "/..."),
            ("/..a/.b", "/..a/.b"),
            ("*", "*"),
        ] {
            assert_eq!(path(raw), expected, "{raw}");
        }
    }

    #[test]
    fn what_no_reader_can_take_is_refused() {
        for (raw, expected) in [
            ("/%", PathError::Escape),
            ("/%4", PathError::Escape),
            ("/%zz", PathError::Escape),
            ("/%+1", PathError::Escape),
            ("/a%00b", PathError::Forbidden),
            ("/a b", PathError::Forbidden),
            ("/a#b", PathError::Forbidden),
            ("/a\u{0}", PathError::Forbidden),
            ("/..", PathError::AboveRoot),
            ("/a/../../b", PathError::AboveRoot),
            ("/%2e%2e/b", PathError::AboveRoot),
            ("/a/..%2f..%2f..%2fb", PathError::AboveRoot),
            ("/a//../b", PathError::Ambiguous),
            ("/a//./../b", PathError::Ambiguous),
            ("", PathError::NotAbsolute),
            ("a", PathError::NotAbsolute),
            ("*a", PathError::NotAbsolute),
        ] {
            assert_eq!(MatchPath::new(raw.as_bytes()), Err(expected), "{raw}");
        }
    }

    #[test]
    fn an_encoded_slash_belongs_to_its_segment_and_makes_a_second_reading() {
        assert_eq!(path("/projects/a%2fb"), "/projects/a%2Fb");
        assert_eq!(other("/projects/a%2fb").as_deref(), Some("/projects/a/b"));
        assert_eq!(other("/public/..%2Fadmin").as_deref(), Some("/admin"));
        assert_eq!(other("/public/..%5Cadmin").as_deref(), Some("/admin"));
        assert_eq!(other("/public\\..\\admin").as_deref(), Some("/admin"));
        assert_eq!(other("/public/..;x=1/admin").as_deref(), Some("/admin"));
        assert_eq!(other("/a%252Fb"), None, "an escape of an escape is text");
    }

    #[test]
    fn parameters_are_kept_by_one_reading_and_cut_from_every_segment_by_the_other() {
        assert_eq!(path("/a;v=1/b"), "/a;v=1/b");
        for (raw, expected) in [
            ("/a;v=1/b", "/a/b"),
            ("/a/b;v=1;w=2", "/a/b"),
            ("/a%3Bv=1/b", "/a/b"),
            ("/;x/a", "/a"),
            ("/a/;x/b", "/a/b"),
            ("/a/;", "/a/"),
            ("/a;/.;x/b", "/a/b"),
            ("/a/b;x/..;y/c", "/a/c"),
            ("/a;x%2Fb;y", "/a/b"),
        ] {
            assert_eq!(other(raw).as_deref(), Some(expected), "{raw}");
        }
        for (raw, expected) in [("/..;/a", PathError::AboveRoot), ("/a/;x/../b", PathError::Ambiguous)] {
            assert_eq!(MatchPath::new(raw.as_bytes()), Err(expected), "{raw}");
        }
    }

    #[test]
    fn controls_and_octets_that_are_not_utf8_stay_encoded() {
        assert_eq!(path("/a%0ab%7f"), "/a%0Ab%7F");
        assert_eq!(path("/%e9t%E9"), "/%E9t%E9");
        assert_eq!(path("/%c0%af"), "/%C0%AF");
        assert_eq!(MatchPath::new(b"/\xe9").unwrap().path, "/%E9");
    }
}
