//! What a rate limit counts by.
//!
//! The client's address unless the route says otherwise, IPv6 by /64 ([`ClientKey`] tells why), also where it is one variable
//! among others. Any text of the request will do, but a client can leave most of them out, and one key shared by all clients that do
//! would either be a way around the limit or shut them all out together. So where all variables are empty (no such header, no
//! such cookie) the client's address counts. nginx does not count such requests at all.
//!
//! A key is a list of values rather than a text, or one client could spend another one's quota: four octets of a header are an address
//! to whom bytes are bytes, and `{a}{b}` is `xy` for `x` and `y` as for `xy` and nothing. So a key begins with its kind, and each value
//! with its length.
//!
//! Spelling must not make a second quota either. `{path}` is the path that routes match (see [`path`](super::path)), in the most permissive
//! reading where there are two, and `{host}` has neither a final dot nor upper case. What is the client's to choose stays so: a
//! header, a cookie, a query.

use lb_config::{LimitKey, Part, Template, Variable};
use lb_ratelimit::ClientKey;

use super::path::MatchPath;
use super::template::{Facts, Place, push_variable};

/// Puts the key of a request behind what is in `buffer`. The bytes are for the limiter alone, which keeps
/// a hash of them.
///
/// Cost: no allocation once the buffer has grown, but for a path that is not spelt plainly.
pub fn push(key: &LimitKey, facts: &Facts<'_>, buffer: &mut Vec<u8>) {
    let start = buffer.len();
    match key {
        LimitKey::Template(template) if has_value(template, facts, buffer) => {}
        LimitKey::ClientIp | LimitKey::Template(_) => {
            buffer.truncate(start);
            buffer.push(BY_ADDRESS);
            buffer.extend_from_slice(ClientKey::new(facts.origin.client).as_bytes());
        }
    }
}

const BY_ADDRESS: u8 = 0;
const BY_VALUES: u8 = 1;

/// Writes the values of a template, and tells whether one of them is not empty. The text between them is the same for all requests;
/// without any variable it is one key for all.
fn has_value(template: &Template, facts: &Facts<'_>, buffer: &mut Vec<u8>) -> bool {
    buffer.push(BY_VALUES);
    let (mut variables, mut has_value) = (0, false);
    for part in &template.parts {
        let Part::Variable(variable) = part else { continue };
        variables += 1;
        let value = |buffer: &mut Vec<u8>| match variable {
            Variable::ClientIp => buffer.extend_from_slice(ClientKey::new(facts.origin.client).as_bytes()),
            Variable::Path | Variable::Uri => push_path(facts, buffer),
            variable => push_variable(variable, Place::Key, facts, buffer),
        };
        has_value |= push_value(buffer, value);
        if *variable == Variable::Uri {
            has_value |= push_value(buffer, |buffer| buffer.extend_from_slice(facts.head.query().unwrap_or_default()));
        }
    }
    variables == 0 || has_value
}

/// Appends a value behind its length; tells whether it is not empty.
fn push_value(buffer: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> bool {
    let at = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    write(buffer);
    // No head is longer than 4 GiB.
    let length = (buffer.len() - at - 4) as u32;
    if let Some(room) = buffer.get_mut(at..at + 4) {
        room.copy_from_slice(&length.to_be_bytes());
    }
    length > 0
}

fn push_path(facts: &Facts<'_>, buffer: &mut Vec<u8>) {
    let raw = facts.head.path();
    match MatchPath::new(raw) {
        Ok(MatchPath { other: Some(other), .. }) => buffer.extend_from_slice(other.as_bytes()),
        Ok(MatchPath { path, .. }) => buffer.extend_from_slice(path.as_bytes()),
        // No route matches such a path.
        Err(_) => buffer.extend_from_slice(raw),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::message::RequestHead;
    use crate::rules::forwarded::{ConnectionFacts, Origin};
    use crate::rules::networks::Networks;
    use crate::rules::testing::{facts, head};

    fn template(variables: &[Variable]) -> LimitKey {
        LimitKey::Template(Template { parts: variables.iter().cloned().map(Part::Variable).collect() })
    }

    fn header(name: &str) -> Variable {
        Variable::Header(name.into())
    }

    fn key_from(client: &str, key: &LimitKey, head: &RequestHead) -> Vec<u8> {
        let arrival = ConnectionFacts { peer: Some(client.parse().unwrap()), is_tls: false, port: 80 };
        let origin = Origin::new(arrival, &Networks::default(), head);
        let mut buffer = b"key of another limit".to_vec();
        push(key, &facts(head, &origin), &mut buffer);
        buffer.split_off(b"key of another limit".len())
    }

    fn key(key: &LimitKey, lines: &str) -> Vec<u8> {
        key_from("192.0.2.1", key, &head(lines))
    }

    #[test]
    fn the_key_is_the_address_or_the_values_and_never_nothing() {
        let request = "GET / HTTP/1.1\nHost: a\nX-Api-Key: k7";
        assert_eq!(key(&LimitKey::ClientIp, request), [0, 192, 0, 2, 1]);
        assert_eq!(key(&template(&[header("x-api-key")]), request), b"\x01\0\0\0\x02k7");
        assert_eq!(key(&template(&[header("x-none")]), request), [0, 192, 0, 2, 1]);
        let text =
            LimitKey::Template(Template { parts: vec![Part::Text("key ".into()), Part::Variable(header("x-none"))] });
        assert_eq!(key(&text, request), [0, 192, 0, 2, 1], "the operator's own text is no value");
        let everyone = LimitKey::Template(Template { parts: vec![Part::Text("all".into())] });
        assert_eq!(key(&everyone, request), [1]);
    }

    #[test]
    fn no_header_is_taken_for_an_address() {
        let by = template(&[header("x-api-key")]);
        let victim = key_from("65.66.67.68", &by, &head("GET / HTTP/1.1\nHost: a"));
        assert_ne!(key(&by, "GET / HTTP/1.1\nHost: a\nX-Api-Key: ABCD"), victim);
        assert_eq!(key_from("65.66.67.68", &LimitKey::ClientIp, &head("GET / HTTP/1.1\nHost: a")), victim);
    }

    #[test]
    fn values_that_stand_side_by_side_are_told_apart() {
        let by = template(&[header("x-a"), header("x-b")]);
        let keys: BTreeSet<_> = [("xy", ""), ("x", "y"), ("", "xy")]
            .into_iter()
            .map(|(a, b)| key(&by, &format!("GET / HTTP/1.1\nHost: a\nX-A: {a}\nX-B: {b}")))
            .collect();
        assert_eq!(keys.len(), 3);
    }

    #[test]
    fn an_address_among_other_values_is_counted_by_its_network() {
        let by = template(&[Variable::ClientIp, Variable::Path]);
        let from = |client| key_from(client, &by, &head("GET /a HTTP/1.1\nHost: a"));
        assert_eq!(from("2001:db8::1"), from("2001:db8::2"));
        assert_ne!(from("2001:db8::1"), from("2001:db8:0:1::1"));
        assert_eq!(from("::ffff:192.0.2.1"), from("192.0.2.1"));
        assert_ne!(from("192.0.2.2"), from("192.0.2.1"));
    }

    #[test]
    fn another_spelling_of_a_path_or_host_is_the_same_key() {
        let by = template(&[Variable::Host, Variable::Path]);
        let plain = key(&by, "GET /rl/a HTTP/1.1\nHost: example.com");
        for other in [
            "GET //rl/a HTTP/1.1\nHost: example.com",
            "GET /rl//a HTTP/1.1\nHost: example.com",
            "GET /rl/%61 HTTP/1.1\nHost: example.com",
            "GET /rl/./a HTTP/1.1\nHost: example.com",
            "GET /x/../rl/a HTTP/1.1\nHost: example.com",
            "GET /rl%5Ca HTTP/1.1\nHost: example.com",
            "GET /rl%2Fa HTTP/1.1\nHost: example.com",
            "GET /rl/a?b HTTP/1.1\nHost: Example.COM.:80",
        ] {
            assert_eq!(key(&by, other), plain, "{other}");
        }
        assert_ne!(key(&by, "GET /rl/A HTTP/1.1\nHost: example.com"), plain);
    }

    #[test]
    fn a_question_mark_of_the_path_begins_no_query() {
        let by = template(&[Variable::Uri]);
        let keys = ["/a?b", "/a%3Fb", "/a"].map(|uri| key(&by, &format!("GET {uri} HTTP/1.1\nHost: a")));
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 3);
    }
}
