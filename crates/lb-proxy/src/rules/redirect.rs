//! Redirects: to https, to another path, to a text.
//!
//! A redirect writes what a client sent into the answer, so that it can be made to say more than it should.
//! `//evil.example` is another host to a browser, and so is `/\evil.example`; a path that ends up at the front of
//! `Location` must therefore have one slash there and no backslash anywhere. [`location`] never begins with two slashes
//! unless the operator's own text does, and whatever no URI may hold is percent-encoded.
//!
//! What `to` replaces, where it is a path: for a prefix the prefix, the rest of the path stays; for an exact path or a
//! regular expression the whole path. The rest is taken from the path as received, so that what was encoded stays
//! encoded, but without the dot segments and empty segments that matching ignores too: `/a/../old//x` on its way from
//! `/old/` to `/new/` is `/new/x`. The query stays. A text
//! with variables or a full URL is used as written.

use lb_config::{PathPattern, Redirect, RedirectTo, Variable};

use super::cause::Cause;
use super::forwarded::{Origin, Scheme};
use super::reply::Reply;
use super::template::{Facts, Place, encode_uri, fill};
use crate::message::{RequestHead, ResponseHead, name};

/// Writes the answer of a redirecting route. `https_port` is that of the listener with TLS that clients are to come to.
///
/// # Errors
///
/// What to answer instead: see [`https`].
pub fn write(redirect: &Redirect, pattern: &PathPattern, facts: &Facts<'_>, https_port: u16) -> Result<Reply, Cause> {
    let location = location(redirect, pattern, facts, https_port)?;
    reply(redirect.status, &location, facts.head)
}

/// Writes the answer of a listener with `redirect = "https"`: 301 to the same host, path and query under https.
///
/// # Errors
///
/// What to answer instead: see [`https`].
pub fn write_https(head: &RequestHead, origin: &Origin, https_port: u16) -> Result<Reply, Cause> {
    reply(301, &https(head, origin, https_port)?, head)
}

/// The value of `Location` for a redirecting route.
///
/// # Errors
///
/// What to answer instead: see [`https`], and [`Cause::BadRequest`] as there for a text with the host of a request that
/// names none. The others always lead somewhere.
pub fn location(
    redirect: &Redirect,
    pattern: &PathPattern,
    facts: &Facts<'_>,
    https_port: u16,
) -> Result<Vec<u8>, Cause> {
    match &redirect.to {
        RedirectTo::Https => https(facts.head, facts.origin, https_port),
        RedirectTo::Path(to) => Ok(replaced(to, pattern, facts.head)),
        RedirectTo::Template(template) => {
            if facts.head.host_name().is_none() && template.variables().any(|variable| *variable == Variable::Host) {
                return Err(Cause::BadRequest);
            }
            let mut filled = Vec::with_capacity(128);
            fill(template, Place::Location, facts, &mut filled);
            let meant = matches!(template.parts.first(), Some(lb_config::Part::Text(text)) if text.starts_with("//"));
            Ok(if meant { filled } else { one_slash(filled) })
        }
    }
}

/// The same host, path and query under https. The port of `Host` is that of the listener without TLS and goes; that of
/// the listener with TLS is written unless it is 443.
///
/// # Errors
///
/// [`Cause::BadRequest`] when the request names no host to be sent to (HTTP/1.0), and [`Cause::NoRoute`] when it came
/// by https already: it would be sent where it has just been, for ever.
pub fn https(head: &RequestHead, origin: &Origin, https_port: u16) -> Result<Vec<u8>, Cause> {
    if origin.scheme == Scheme::Https {
        return Err(Cause::NoRoute);
    }
    let host = head.host_name().ok_or(Cause::BadRequest)?;
    let mut location = Vec::with_capacity(host.len() + head.target().len() + 16);
    location.extend_from_slice(b"https://");
    location.extend_from_slice(host);
    if https_port != 443 {
        location.extend_from_slice(format!(":{https_port}").as_bytes());
    }
    // Of OPTIONS for the service as a whole, and of CONNECT.
    let path = if matches!(head.path(), b"*" | b"") { b"/" } else { head.path() };
    location.extend_from_slice(&encode_uri(path));
    push_query(head, &mut location);
    Ok(location)
}

/// The path `to` in the place of what the pattern matched.
fn replaced(to: &str, pattern: &PathPattern, head: &RequestHead) -> Vec<u8> {
    let mut location = encode_uri(to.as_bytes()).into_owned();
    if let PathPattern::Prefix(prefix) = pattern {
        let taken = prefix.split('/').filter(|segment| !segment.is_empty()).count();
        push_rest(head.path(), taken, &mut location);
    }
    if location.is_empty() {
        location.push(b'/');
    }
    let mut location = one_slash(location);
    push_query(head, &mut location);
    location
}

/// Appends what follows the first `taken` segments of a path as received.
fn push_rest(raw: &[u8], taken: usize, location: &mut Vec<u8>) {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut ends_with_slash = false;
    for segment in raw.split(|&byte| byte == b'/').skip(1) {
        ends_with_slash = true;
        match dots(segment) {
            0 if segment.is_empty() => {}
            1 => {}
            2 => {
                kept.pop();
            }
            _ => {
                ends_with_slash = false;
                kept.push(segment);
            }
        }
    }
    for segment in kept.iter().skip(taken) {
        if location.last() != Some(&b'/') {
            location.push(b'/');
        }
        location.extend_from_slice(&encode_uri(segment));
    }
    if ends_with_slash && location.last() != Some(&b'/') {
        location.push(b'/');
    }
}

/// Whether a segment is, once decoded, one dot or two; 0 for anything else.
fn dots(segment: &[u8]) -> usize {
    let mut rest = segment;
    let mut count = 0;
    while !rest.is_empty() {
        rest = match rest {
            [b'.', tail @ ..] | [b'%', b'2', b'e' | b'E', tail @ ..] => tail,
            _ => return 0,
        };
        count += 1;
    }
    if count <= 2 { count } else { 0 }
}

/// The same with one slash at its front where there were several. Backslashes are encoded by now.
fn one_slash(mut location: Vec<u8>) -> Vec<u8> {
    let slashes = location.iter().take_while(|&&byte| byte == b'/').count();
    location.drain(..slashes.saturating_sub(1));
    location
}

fn push_query(head: &RequestHead, location: &mut Vec<u8>) {
    if let Some(query) = head.query() {
        location.push(b'?');
        location.extend_from_slice(&encode_uri(query));
    }
}

fn reply(status: u16, location: &[u8], head: &RequestHead) -> Result<Reply, Cause> {
    let builder = ResponseHead::build(status).header(name::LOCATION, location);
    let body = format!("{status} moved\n");
    Reply::new(builder, status, "text/plain; charset=utf-8", body.into(), head.method()).map_err(|_| Cause::Internal)
}

#[cfg(test)]
mod tests {
    use lb_config::{Part, Template};

    use super::*;
    use crate::rules::forwarded::ConnectionFacts;
    use crate::rules::networks::Networks;
    use crate::rules::testing::{facts, get, head, origin};

    fn path(pattern: &PathPattern, to: &str, target: &str) -> String {
        to_text(&Redirect { to: RedirectTo::Path(to.into()), status: 308 }, pattern, &get(target))
    }

    fn to_text(redirect: &Redirect, pattern: &PathPattern, head: &RequestHead) -> String {
        let origin = origin(head);
        String::from_utf8(location(redirect, pattern, &facts(head, &origin), 443).unwrap()).unwrap()
    }

    fn prefix(text: &str) -> PathPattern {
        PathPattern::Prefix(text.into())
    }

    #[test]
    fn the_prefix_is_replaced_and_the_rest_and_the_query_stay() {
        for (from, to, target, expected) in [
            ("/old", "/new/", "/old/a/b?c=d", "/new/a/b?c=d"),
            ("/old", "/new", "/old/a/b", "/new/a/b"),
            ("/old", "/new/", "/old", "/new/"),
            ("/old", "/new", "/old", "/new"),
            ("/old", "/new", "/old/", "/new/"),
            ("/old", "/", "/old/a", "/a"),
            ("/old", "/", "/old", "/"),
            ("", "/new", "/a/b", "/new/a/b"),
            ("/a/b", "/c", "/a/b/d/", "/c/d/"),
            ("/old", "/new", "/%6Fld/%41%2fb", "/new/%41%2fb"),
            ("/old", "/new", "/x/../old/./a/b/../c", "/new/a/c"),
            ("/old", "/new", "/old//a", "/new/a"),
            ("/old", "/new", "/old/a?", "/new/a?"),
            ("/old", "/neu é", "/old", "/neu%20%C3%A9"),
        ] {
            assert_eq!(path(&prefix(from), to, target), expected, "{from} {to} {target}");
        }
    }

    #[test]
    fn an_exact_path_and_a_regex_are_replaced_whole() {
        assert_eq!(path(&PathPattern::Exact("/a".into()), "/b", "/a?c"), "/b?c");
        assert_eq!(path(&PathPattern::Regex(regex::Regex::new("^/v1/").unwrap()), "/v2/", "/v1/x"), "/v2/");
    }

    #[test]
    fn a_client_cannot_make_it_lead_to_another_host() {
        for target in ["/old//evil.example", "/old///evil.example/", "/old/.//evil.example", "//old//evil.example"] {
            assert_eq!(path(&prefix("/old"), "/", target).trim_end_matches('/'), "/evil.example", "{target}");
        }
        assert_eq!(path(&prefix("/old"), "/", "/old/%5Cevil.example"), "/%5Cevil.example");
        assert_eq!(path(&prefix("/old"), "//x", "/old/a"), "/x/a", "a path is a path");

        let variable = |before: &str| Redirect {
            to: RedirectTo::Template(Template {
                parts: vec![Part::Text(before.into()), Part::Variable(Variable::Uri)],
            }),
            status: 302,
        };
        let anything = prefix("");
        assert_eq!(to_text(&variable(""), &anything, &get("//evil.example/x")), "/evil.example/x");
        assert_eq!(to_text(&variable("/"), &anything, &get("/evil.example/x")), "/evil.example/x");
        assert_eq!(to_text(&variable("https://b.example"), &anything, &get("//a?b")), "https://b.example//a?b");
        assert_eq!(to_text(&variable("//cdn.example"), &anything, &get("/a")), "//cdn.example/a", "as written");
    }

    #[test]
    fn https_keeps_host_path_and_query() {
        let to = |target: &str, host: &str, port| {
            let head = head(&format!("GET {target} HTTP/1.1\nHost: {host}"));
            https(&head, &origin(&head), port).map(|location| String::from_utf8(location).unwrap())
        };
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(to("/a//b?c=d&e", "Example.com:8080", 443), ok("https://Example.com/a//b?c=d&e"));
        assert_eq!(to("/", "[::1]:80", 8443), ok("https://[::1]:8443/"));
        assert_eq!(to("http://b.example:81/x", "b.example:81", 443), ok("https://b.example/x"));
        assert_eq!(to("/{<\"", "a", 443), ok("https://a/%7B%3C%22"));
    }

    #[test]
    fn https_has_nowhere_to_send_what_has_no_host_or_came_that_way() {
        let no_host = head("GET / HTTP/1.0");
        assert_eq!(https(&no_host, &origin(&no_host), 443), Err(Cause::BadRequest));
        let head = get("/");
        let arrival = ConnectionFacts { peer: None, is_tls: true, port: 443 };
        assert_eq!(https(&head, &Origin::new(arrival, &Networks::default(), &head), 443), Err(Cause::NoRoute));
    }

    #[test]
    fn the_answer_has_the_status_and_the_location() {
        let head = get("/a?b");
        let origin = origin(&head);
        let reply = write_https(&head, &origin, 443).unwrap();
        assert_eq!((reply.head.status(), reply.head.header("Location")), (301, Some(&b"https://example.com/a?b"[..])));
        let redirect = Redirect { to: RedirectTo::Path("/b".into()), status: 308 };
        let reply = write(&redirect, &prefix("/a"), &facts(&head, &origin), 443).unwrap();
        assert_eq!((reply.head.status(), reply.head.header("Location")), (308, Some(&b"/b?b"[..])));
    }

    #[test]
    fn a_text_with_a_host_has_nowhere_to_send_what_has_none() {
        let text = |text: &str| Part::Text(text.into());
        let parts = vec![text("https://"), Part::Variable(Variable::Host), text("/new")];
        let redirect = Redirect { to: RedirectTo::Template(Template { parts }), status: 308 };
        let no_host = head("GET / HTTP/1.0");
        let origin = origin(&no_host);
        assert_eq!(location(&redirect, &prefix(""), &facts(&no_host, &origin), 443), Err(Cause::BadRequest));
        assert_eq!(to_text(&redirect, &prefix(""), &get("/x")), "https://example.com/new");
    }

    #[test]
    fn what_has_no_path_is_sent_to_the_root() {
        for request in ["OPTIONS * HTTP/1.1\nHost: a", "CONNECT a:80 HTTP/1.1\nHost: a:80"] {
            let head = head(request);
            assert_eq!(https(&head, &origin(&head), 443).unwrap(), b"https://a/", "{request}");
        }
    }
}
