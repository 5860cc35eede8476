//! Fills text with `{variables}` from a request.
//!
//! Whatever a variable holds was written by a client, and where it lands decides what in it is dangerous: a line feed
//! in a header, `<` in a page, a quote in JSON, a backslash in a redirect. So a template is always filled *for*
//! something, and the text of variables is made harmless for it; the operator's own text stays as it is.
//!
//! | for | what becomes of the text of variables |
//! |---|---|
//! | [`Place::Header`] | control characters become spaces (RFC 9110 §5.5), in the operator's text too |
//! | [`Place::Location`] | all that no URI may hold is percent-encoded, control characters of the operator's text too |
//! | [`Place::Text`], [`Place::Key`] | unchanged |
//! | [`Place::Html`] | `& < > " '` become entities |
//! | [`Place::Json`] | escaped as within a string; what is not UTF-8 becomes U+FFFD |
//! | [`Place::Script`] | all but letters, digits, `_` and spaces escaped as within a string; what is not UTF-8 becomes U+FFFD |
//!
//! A variable that the request does not have is empty. `{host}` is in lower case and has no port; `{path}`, `{query}`
//! and `{uri}` are as received, but for [`Place::Key`]: there the path is the one that routes match, and the host has no final dot, so
//! that another spelling is no other key; `{header:NAME}` joins several lines with a comma (RFC 9110 §5.3), and `{cookie:NAME}`
//! is the first of its name.
//!
//! Cost: one copy into the caller's buffer.

use std::borrow::Cow;

use lb_config::{Part, Syntax, Template, Variable};

use super::forwarded::Origin;
use super::host::MatchHost;
use super::path::MatchPath;
use crate::message::{Name, RequestHead};

/// What is known about a request. What is not decided yet, such as the endpoint before one is picked, is empty.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The request.
    pub head: &'a RequestHead,
    /// Where it comes from.
    pub origin: &'a Origin,
    /// Its id.
    pub request_id: &'a [u8],
    /// The route's name.
    pub route: &'a str,
    /// The cluster's name.
    pub cluster: &'a str,
    /// The endpoint as configured.
    pub endpoint: &'a str,
    /// Who authentication has let in; empty where nobody was asked.
    pub user: &'a str,
}

/// What a template is filled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The value of a header.
    Header,
    /// The value of `Location`.
    Location,
    /// A body that is none of the following.
    Text,
    /// A body of HTML or XML; variables stand in text, or in attributes within quotes.
    Html,
    /// A body of JSON; variables stand within its strings.
    Json,
    /// A body of JavaScript; variables stand within its strings, of whatever quotes. Elsewhere they end up as names or as
    /// errors of syntax, and never as code.
    Script,
    /// What a policy hashes by; a limit's key is made of the same values, in [`limit_key`](super::limit_key).
    Key,
}

impl Place {
    /// The place that a body of this type is. In one whose syntax is not known, a configuration has no variables that
    /// clients write freely.
    #[must_use]
    pub fn body(content_type: &str) -> Self {
        match Syntax::of(content_type) {
            Some(Syntax::Markup) => Self::Html,
            Some(Syntax::Json) => Self::Json,
            Some(Syntax::Script) => Self::Script,
            Some(Syntax::Plain) | None => Self::Text,
        }
    }
}

/// The text of a template without variables.
#[must_use]
pub fn fixed(template: &Template) -> Option<String> {
    template.parts.iter().map(|part| if let Part::Text(text) = part { Some(&**text) } else { None }).collect()
}

/// Appends the filled template to `out`.
pub fn fill(template: &Template, place: Place, facts: &Facts<'_>, out: &mut Vec<u8>) {
    for part in &template.parts {
        match part {
            Part::Text(text) => push_own(place, text.as_bytes(), out),
            Part::Variable(variable) => push_variable(variable, place, facts, out),
        }
    }
}

/// Appends the value of a variable.
pub(super) fn push_variable(variable: &Variable, place: Place, facts: &Facts<'_>, out: &mut Vec<u8>) {
    let head = facts.head;
    match variable {
        Variable::ClientIp => push(place, facts.origin.client_text.as_bytes(), out),
        Variable::Host if place == Place::Key => {
            out.extend_from_slice(MatchHost::new(head.host_name().unwrap_or_default()).as_str().as_bytes());
        }
        Variable::Host => {
            let from = out.len();
            push(place, head.host_name().unwrap_or_default(), out);
            out.get_mut(from..).unwrap_or_default().make_ascii_lowercase();
        }
        Variable::Path => push(place, &path(head, place), out),
        Variable::Query => push(place, head.query().unwrap_or_default(), out),
        Variable::Uri => {
            push(place, &path(head, place), out);
            if let Some(query) = head.query() {
                push(place, b"?", out);
                push(place, query, out);
            }
        }
        Variable::Scheme => push(place, facts.origin.scheme.as_str().as_bytes(), out),
        Variable::Method => push(place, head.method().as_bytes(), out),
        Variable::ListenerPort => push(place, facts.origin.port_text.as_bytes(), out),
        Variable::RequestId => push(place, facts.request_id, out),
        Variable::Route => push(place, facts.route.as_bytes(), out),
        Variable::Cluster => push(place, facts.cluster.as_bytes(), out),
        Variable::User => push(place, facts.user.as_bytes(), out),
        Variable::Endpoint => push(place, facts.endpoint.as_bytes(), out),
        Variable::Header(name) => {
            for (at, line) in head.headers(Name::new(name)).enumerate() {
                if at > 0 {
                    push(place, b", ", out);
                }
                push(place, line, out);
            }
        }
        Variable::Cookie(name) => push(place, head.cookie(name.as_bytes()).unwrap_or_default(), out),
    }
}

/// The path as received. A redirect needs one that can be asked for, a key one that has no other spelling.
fn path(head: &RequestHead, place: Place) -> Cow<'_, [u8]> {
    let path = head.path();
    match place {
        Place::Location if path == b"*" => Cow::Borrowed(b"/"),
        Place::Key => match MatchPath::new(path).map(|read| read.path) {
            Ok(Cow::Borrowed(read)) => Cow::Borrowed(read.as_bytes()),
            Ok(Cow::Owned(read)) => Cow::Owned(read.into_bytes()),
            // No route matches such a path.
            Err(_) => Cow::Borrowed(path),
        },
        _ => Cow::Borrowed(path),
    }
}

/// Appends the operator's text, which may say anything but what would end a header's line.
fn push_own(place: Place, text: &[u8], out: &mut Vec<u8>) {
    match place {
        Place::Header => push(place, text, out),
        Place::Location => push_encoded(text, |byte| byte <= b' ' || byte >= 0x7f, out),
        Place::Text | Place::Html | Place::Json | Place::Script | Place::Key => out.extend_from_slice(text),
    }
}

/// Appends the text of a variable.
fn push(place: Place, text: &[u8], out: &mut Vec<u8>) {
    match place {
        Place::Text | Place::Key => out.extend_from_slice(text),
        Place::Header => out.extend(text.iter().map(|&byte| if is_control(byte) { b' ' } else { byte })),
        Place::Location => push_encoded(text, |byte| !is_uri(byte), out),
        Place::Html => {
            for &byte in text {
                match byte {
                    b'&' => out.extend_from_slice(b"&amp;"),
                    b'<' => out.extend_from_slice(b"&lt;"),
                    b'>' => out.extend_from_slice(b"&gt;"),
                    b'"' => out.extend_from_slice(b"&quot;"),
                    b'\'' => out.extend_from_slice(b"&#39;"),
                    _ => out.push(byte),
                }
            }
        }
        Place::Script => {
            for unit in String::from_utf8_lossy(text).encode_utf16() {
                match u8::try_from(unit) {
                    Ok(byte) if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b' ') => out.push(byte),
                    _ => out.extend_from_slice(format!("\\u{unit:04x}").as_bytes()),
                }
            }
        }
        Place::Json => {
            let text = String::from_utf8_lossy(text);
            for character in text.chars() {
                match character {
                    '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
                    '\0'..='\x1f' => out.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes()),
                    _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
                }
            }
        }
    }
}

/// Percent-encodes for a `Location` what no URI may hold: everything but the characters of RFC 3986 and `%`, so that
/// what is encoded already stays. A backslash above all, which browsers take for a slash.
#[must_use]
pub fn encode_uri(text: &[u8]) -> Cow<'_, [u8]> {
    if text.iter().all(|&byte| is_uri(byte)) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len() + 16);
    push_encoded(text, |byte| !is_uri(byte), &mut out);
    Cow::Owned(out)
}

fn push_encoded(text: &[u8], must: impl Fn(u8) -> bool, out: &mut Vec<u8>) {
    const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
    for &byte in text {
        if must(byte) {
            out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        } else {
            out.push(byte);
        }
    }
}

/// Characters of RFC 3986 §2, and `%`.
const fn is_uri(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'/'
                | b'?'
                | b'#'
                | b'['
                | b']'
                | b'@'
                | b'%'
        )
}

/// What no header value may hold; a tab may stand in one.
const fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{facts, head, origin};

    fn text(part: &str) -> Part {
        Part::Text(part.into())
    }

    fn filled(parts: &[Part], place: Place, head: &RequestHead) -> String {
        let origin = origin(head);
        let mut out = Vec::new();
        fill(&Template { parts: parts.to_vec() }, place, &facts(head, &origin), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_variable_has_its_value() {
        let head = head(
            "POST /a%20b/c?x=1&y HTTP/1.1\nHost: Example.COM:8080\nX-Tag: one\nx-tag: two\nCookie: a=1; id=7; id=8",
        );
        for (variable, expected) in [
            (Variable::ClientIp, "192.0.2.1"),
            (Variable::Host, "example.com"),
            (Variable::Path, "/a%20b/c"),
            (Variable::Query, "x=1&y"),
            (Variable::Uri, "/a%20b/c?x=1&y"),
            (Variable::Scheme, "http"),
            (Variable::Method, "POST"),
            (Variable::ListenerPort, "80"),
            (Variable::RequestId, "id1"),
            (Variable::Route, "r"),
            (Variable::Cluster, "c"),
            (Variable::Endpoint, "e:80"),
            (Variable::User, "u"),
            (Variable::Header("x-tag".into()), "one, two"),
            (Variable::Header("x-none".into()), ""),
            (Variable::Cookie("id".into()), "7"),
            (Variable::Cookie("none".into()), ""),
        ] {
            let parts = [text("<"), Part::Variable(variable.clone()), text(">")];
            assert_eq!(filled(&parts, Place::Header, &head), format!("<{expected}>"), "{variable:?}");
        }
        assert_eq!(filled(&[], Place::Text, &head), "");
    }

    #[test]
    fn the_place_decides_what_is_escaped_and_only_in_variables() {
        let head = head("GET /<b>?q=\"'\\{& HTTP/1.1\nHost: a\nX-A: caf\u{e9} \"\\ <");
        let parts = [text("<i>\"é "), Part::Variable(Variable::Uri)];
        for (place, expected) in [
            (Place::Text, "<i>\"é /<b>?q=\"'\\{&"),
            (Place::Key, "<i>\"é /<b>?q=\"'\\{&"),
            (Place::Header, "<i>\"é /<b>?q=\"'\\{&"),
            (Place::Html, "<i>\"é /&lt;b&gt;?q=&quot;&#39;\\{&amp;"),
            (Place::Json, "<i>\"é /<b>?q=\\\"'\\\\{&"),
            (Place::Script, r#"<i>"é \u002f\u003cb\u003e\u003fq\u003d\u0022\u0027\u005c\u007b\u0026"#),
            (Place::Location, "<i>\"%C3%A9%20/%3Cb%3E?q=%22'%5C%7B&"),
        ] {
            assert_eq!(filled(&parts, place, &head), expected, "{place:?}");
        }
    }

    #[test]
    fn a_key_has_no_second_spelling_of_path_and_host() {
        let head = head("GET /x/..//a%2Db/%61?Q=%61 HTTP/1.1\nHost: A.example.:80");
        let parts = [Part::Variable(Variable::Host), Part::Variable(Variable::Uri)];
        assert_eq!(filled(&parts, Place::Key, &head), "a.example/a-b/a?Q=%61");
        assert_eq!(filled(&parts, Place::Header, &head), "a.example./x/..//a%2Db/%61?Q=%61");
    }

    #[test]
    fn an_operators_control_characters_do_not_end_a_header() {
        let head = head("GET / HTTP/1.1\nHost: a");
        assert_eq!(filled(&[text("a\r\nSet-Cookie: b\0\tc")], Place::Header, &head), "a  Set-Cookie: b \tc");
        assert_eq!(filled(&[text("/a\r\nb")], Place::Location, &head), "/a%0D%0Ab");
    }

    #[test]
    fn a_body_is_escaped_by_its_type() {
        for (content_type, place) in [
            ("text/plain", Place::Text),
            ("text/html; charset=utf-8", Place::Html),
            ("Text/HTML", Place::Html),
            ("application/xhtml+xml", Place::Html),
            ("image/svg+xml", Place::Html),
            ("application/json", Place::Json),
            ("application/problem+json;x", Place::Json),
            ("text/javascript; charset=utf-8", Place::Script),
            ("text/css", Place::Text),
            ("", Place::Text),
        ] {
            assert_eq!(Place::body(content_type), place, "{content_type}");
        }
    }

    #[test]
    fn json_stays_json_whatever_bytes_come() {
        let mut out = Vec::new();
        push(Place::Json, b"a\x00\x1f\"\\\xff\xc3\xa9", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "a\\u0000\\u001f\\\"\\\\\u{fffd}é");
    }

    #[test]
    fn a_script_does_not_run_what_a_client_wrote() {
        let escaped = |text: &[u8]| {
            let mut out = Vec::new();
            push(Place::Script, text, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(escaped(b"';alert(1)//"), r"\u0027\u003balert\u00281\u0029\u002f\u002f");
        assert_eq!(escaped(b"</script>\n`${x}"), r"\u003c\u002fscript\u003e\u000a\u0060\u0024\u007bx\u007d");
        assert_eq!(escaped("a_1 é\u{2028}\u{1f600}".as_bytes()), r"a_1 \u00e9\u2028\ud83d\ude00");
        assert_eq!(escaped(b"\xff"), r"\ufffd");
    }

    #[test]
    fn only_a_text_without_variables_is_fixed() {
        assert_eq!(fixed(&Template { parts: vec![text("a"), text("b")] }).as_deref(), Some("ab"));
        assert_eq!(fixed(&Template::default()).as_deref(), Some(""));
        assert_eq!(fixed(&Template { parts: vec![text("a"), Part::Variable(Variable::Path)] }), None);
    }
}
