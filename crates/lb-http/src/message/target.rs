//! The four forms of a request target (RFC 9112 §3.2).
//!
//! Accepted in a target: every printable ASCII character but `#`, no `\` in the path, and UTF-8. RFC 3986 excludes a few more
//! (`"<>^`, the braces, everything above ASCII), but browsers and careless clients send those, and nginx, Go, Node, hyper
//! and httparse pass them on unchanged, as we do. Bytes above ASCII that are no UTF-8 are refused, as httparse and hyper
//! do: what they mean depends on the reader. A space, a control or a fragment is refused too; so is a backslash in a
//! path, which URL parsers of the browser kind read as a slash. Percent escapes are not looked at: routing decodes them.

use super::chars::find;
use super::fields::Span;
use super::method::Method;
use super::split_authority;

/// The form a request target was written in (RFC 9112 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetForm {
    /// `/path?query`, the usual one.
    Origin,
    /// `http://authority/path`, as sent to proxies. Its authority wins over `Host`.
    Absolute,
    /// `authority:port`, with CONNECT only.
    Authority,
    /// `*`, with OPTIONS only: the service as a whole.
    Asterisk,
}

/// A target taken apart; spans count from the start of the target.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) form: TargetForm,
    pub(crate) authority: Span,
    pub(crate) path: Span,
    pub(crate) query: Span,
    pub(crate) is_https: bool,
}

/// Takes a target apart; `None` when it has no form that goes with the method.
pub(crate) fn classify_target(method: Method<'_>, target: &[u8]) -> Option<Target> {
    let none = Target {
        form: TargetForm::Origin,
        authority: Span::NONE,
        path: Span::NONE,
        query: Span::NONE,
        is_https: false,
    };
    match target {
        _ if method == Method::Connect => {
            split_authority(target)?.port?;
            Some(Target { form: TargetForm::Authority, authority: Span::new(0, target.len()), ..none })
        }
        [b'/', ..] => {
            let (path, query) = path_and_query(target, 0)?;
            Some(Target { path, query, ..none })
        }
        b"*" => (method == Method::Options).then_some(Target { form: TargetForm::Asterisk, ..none }),
        _ => {
            let (start, is_https) = scheme(target)?;
            let after = target.get(start..)?;
            let len = after.iter().position(|&b| matches!(b, b'/' | b'?')).unwrap_or(after.len());
            split_authority(after.get(..len)?)?;
            let (path, query) = path_and_query(target, start + len)?;
            let authority = Span::new(start, len);
            Some(Target { form: TargetForm::Absolute, authority, path, query, is_https })
        }
    }
}

/// Whether this may be written as an origin-form target.
pub(crate) fn is_valid_origin_form(target: &[u8]) -> bool {
    target.first() == Some(&b'/') && path_and_query(target, 0).is_some()
}

/// Length of `http://` or `https://`, and whether it is the latter. No other scheme is proxied.
fn scheme(target: &[u8]) -> Option<(usize, bool)> {
    let starts = |prefix: &[u8]| target.get(..prefix.len()).is_some_and(|t| t.eq_ignore_ascii_case(prefix));
    if starts(b"http://") { Some((7, false)) } else { starts(b"https://").then_some((8, true)) }
}

fn path_and_query(target: &[u8], start: usize) -> Option<(Span, Span)> {
    let rest = target.get(start..)?;
    let path_len = find(b'?', rest).unwrap_or(rest.len());
    let (path, query) = rest.split_at_checked(path_len)?;
    // Folds instead of an early exit: the compiler then checks sixteen bytes at a time.
    let bad_path = path.iter().fold(false, |bad, &b| bad | !is_target_byte(b) | (b == b'\\'));
    let bad_query = query.iter().fold(false, |bad, &b| bad | !is_target_byte(b));
    if bad_path || bad_query || !(rest.is_ascii() || std::str::from_utf8(rest).is_ok()) {
        return None;
    }
    let query = if query.is_empty() { Span::NONE } else { Span::new(start + path_len + 1, query.len() - 1) };
    Some((Span::new(start, path_len), query))
}

const fn is_target_byte(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f && byte != b'#'
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Form, authority, path and query of a target, as text.
    type Read<'a> = (TargetForm, Option<&'a str>, Option<&'a str>, Option<&'a str>);

    fn read<'a>(method: Method<'_>, target: &'a str) -> Option<Read<'a>> {
        let t = classify_target(method, target.as_bytes())?;
        let text = |s: Span| s.optional(target.as_bytes()).map(|b| std::str::from_utf8(b).unwrap());
        Some((t.form, text(t.authority), text(t.path), text(t.query)))
    }

    #[test]
    fn each_form_is_taken_apart() {
        use TargetForm::{Absolute, Asterisk, Authority, Origin};
        let get = |t| read(Method::Get, t);
        assert_eq!(get("/"), Some((Origin, None, Some("/"), None)));
        assert_eq!(get("/a?b?c"), Some((Origin, None, Some("/a"), Some("b?c"))));
        assert_eq!(get("/a?"), Some((Origin, None, Some("/a"), Some(""))));
        assert_eq!(get("http://a:80/x?y"), Some((Absolute, Some("a:80"), Some("/x"), Some("y"))));
        assert_eq!(get("HTTPS://a"), Some((Absolute, Some("a"), Some(""), None)));
        assert_eq!(get("http://a?y=/"), Some((Absolute, Some("a"), Some(""), Some("y=/"))));
        assert_eq!(read(Method::Options, "*"), Some((Asterisk, None, None, None)));
        assert_eq!(read(Method::Connect, "a:443"), Some((Authority, Some("a:443"), None, None)));
    }

    #[test]
    fn forms_that_do_not_go_with_the_method_are_refused() {
        assert_eq!(read(Method::Get, "*"), None);
        assert_eq!(read(Method::Get, "a:443"), None);
        assert_eq!(read(Method::Connect, "/"), None);
        assert_eq!(read(Method::Connect, "a"), None);
        assert_eq!(read(Method::Connect, "http://a/"), None);
        assert_eq!(read(Method::Options, "*/"), None);
    }

    #[test]
    fn ambiguous_characters_are_refused() {
        for target in
            ["/a#b", "/a\\b", "/a b", "http://\u{e9}/", "/a\u{7f}", "/a\tb", "", "a", "ftp://a/", "http:///", "http://"]
        {
            assert_eq!(read(Method::Get, target), None, "{target:?}");
        }
        for target in ["http://u@a/", "http://a#b", "http://a:/", "http:/a", "http://a\\b/", "?x"] {
            assert_eq!(read(Method::Get, target), None, "{target:?}");
        }
        assert!(read(Method::Get, "/a?x=\\&y={\"|\"}[^`<>]").is_some());
    }

    #[test]
    fn utf8_passes_and_other_bytes_above_ascii_do_not() {
        for target in ["/caf\u{e9}?\u{1f600}", "http://a/\u{e9}", "/?\u{80}"] {
            assert!(read(Method::Get, target).is_some(), "{target:?}");
        }
        for target in [&b"/caf\xe9"[..], b"/a?\xff", b"/\xc3", b"/\xed\xa0\x80", b"/\xc0\xaf", b"/\xc3?\xa9"] {
            assert_eq!(classify_target(Method::Get, target), None, "{target:?}");
        }
    }
}
