//! What no client can make us say, whatever it sends: to an endpoint, or to another client.

use std::net::IpAddr;

use bytes::BytesMut;
use lb_config::{
    Forwarded, HeaderEdits, Network, Part, PathPattern, Redirect, RedirectTo, Respond, Template, Variable,
};
use lb_http::message::{Edits, Framing, RequestHead};
use lb_http::wire::h1::{
    Answering, Connection, HeadLimits, RequestParser, ResponseParser, encode_request, encode_response,
};
use lb_proxy::rules::forwarded::{ConnectionFacts, Origin, write};
use lb_proxy::rules::headers::HeaderRules;
use lb_proxy::rules::networks::Networks;
use lb_proxy::rules::redirect;
use lb_proxy::rules::request_id::RequestId;
use lb_proxy::rules::respond::Responder;
use lb_proxy::rules::template::Facts;
use proptest::prelude::*;

const STRANGER: [u8; 4] = [192, 0, 2, 1];
const PROXY: [u8; 4] = [10, 0, 0, 1];

/// A request as the codec reads it; `None` if it refuses.
fn parsed(text: &[u8]) -> Option<RequestHead> {
    let mut buf = BytesMut::from(text);
    RequestParser::new().parse(&mut buf, &HeadLimits::default()).ok().flatten()
}

/// A request with these headers, those that the codec refuses left out.
fn request(target: &str, headers: &[(String, Vec<u8>)]) -> Option<RequestHead> {
    let first = format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n").into_bytes();
    let mut text = first.clone();
    for (name, value) in headers {
        let line = [name.as_bytes(), b": ", value, b"\r\n"].concat();
        if parsed(&[&first[..], &line, b"\r\n"].concat()).is_some() {
            text.extend_from_slice(&line);
        }
    }
    parsed(&[&text[..], b"\r\n"].concat())
}

fn origin(peer: [u8; 4], head: &RequestHead) -> Origin {
    let trusted = Networks::new(&[Network { address: IpAddr::from([10, 0, 0, 0]), prefix: 8 }]);
    Origin::new(ConnectionFacts { peer: Some(peer.into()), is_tls: false, port: 80 }, &trusted, head)
}

fn facts<'a>(head: &'a RequestHead, origin: &'a Origin, id: &'a RequestId) -> Facts<'a> {
    Facts { head, origin, request_id: id.as_bytes(), route: "r", cluster: "c", endpoint: "e:80", user: "u" }
}

fn template(parts: &[Variable]) -> Template {
    Template { parts: parts.iter().cloned().map(Part::Variable).collect() }
}

/// What a client has in its hand, all at once.
fn everything() -> Template {
    template(&[
        Variable::Host,
        Variable::Uri,
        Variable::Query,
        Variable::Header("x-evil".into()),
        Variable::Cookie("c".into()),
        Variable::RequestId,
        Variable::ClientIp,
    ])
}

fn values<'a>(head: &'a RequestHead, name: &'a str) -> Vec<&'a [u8]> {
    head.headers(name).collect()
}

/// Names that matter to the rules, in spellings old and odd, and one that does not.
fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "X-Forwarded-For",
        "x-forwarded-for",
        "X_Forwarded_For",
        "X-Forwarded-Proto",
        "X_FORWARDED-PROTO",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Forwarded-User",
        "X-Real-IP",
        "x_real_ip",
        "Forwarded",
        "forwarded",
        "Proxy",
        "X-Request-Id",
        "X_Request_Id",
        "X-Evil",
        "Cookie",
    ])
    .prop_map(str::to_owned)
}

/// Values that mean something to the rules, and any bytes.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "203.0.113.9",
            "10.0.0.7",
            "[2001:db8::1]:1",
            "::ffff:1.2.3.4",
            "unknown",
            "https",
            "http",
            ",",
            ", ",
            ";",
            "for=",
            "For=\"",
            "\"",
            "\\",
            "=",
            "proto=https",
            "c=",
            "a\tb",
            "\r\n",
            "\r\nX-Injected: 1",
            "\n",
            "\0",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn target() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/",
        "//",
        "/.",
        "/..",
        "/old",
        "old",
        "%2f",
        "%5C",
        "%2e",
        "%09",
        "%0d%0a",
        "\\",
        "evil.example",
        "@",
        "?",
        ":",
        "https:",
        "\"<>'",
        "{",
        "&",
    ]);
    prop::collection::vec(piece, 0..8).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn a_stranger_cannot_tell_an_endpoint_who_it_is(headers in prop::collection::vec((name(), value()), 0..8)) {
        let Some(head) = request("/", &headers) else { return Ok(()) };
        let origin = origin(STRANGER, &head);
        prop_assert_eq!(origin.client, IpAddr::from(STRANGER));
        let mut edits = Edits::new();
        let both = Forwarded { x_forwarded: true, rfc7239: true, preserve_host: true };
        write(both, &origin, &head, &mut edits);
        RequestId::of(&head, &origin, 1, 2).write(&mut edits);
        let mut out = BytesMut::new();
        encode_request(&mut out, &head, &edits, Framing::None, Connection::Implicit);
        let sent = parsed(&out).expect("what we send is a request");
        for (name, expected) in [
            ("X-Forwarded-For", "192.0.2.1"),
            ("X-Real-IP", "192.0.2.1"),
            ("X-Forwarded-Proto", "http"),
            ("X-Forwarded-Host", "a.example"),
            ("X-Forwarded-Port", "80"),
            ("Forwarded", "for=192.0.2.1;host=\"a.example\";proto=http"),
            ("X-Request-Id", RequestId::new(1, 2).as_str()),
        ] {
            prop_assert_eq!(values(&sent, name), vec![expected.as_bytes()], "{}", name);
        }
        let forged = |name: &[u8]| {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            name.contains("_for") || name.contains("_real") || name.contains("_request") || name.contains("-user") || name == "proxy"
        };
        prop_assert!(!sent.iter().any(|(name, _)| forged(name)));
    }

    #[test]
    fn a_trusted_proxys_list_ends_with_the_proxy(headers in prop::collection::vec((name(), value()), 0..8)) {
        let Some(head) = request("/", &headers) else { return Ok(()) };
        let origin = origin(PROXY, &head);
        let mut edits = Edits::new();
        let both = Forwarded { x_forwarded: true, rfc7239: true, preserve_host: true };
        write(both, &origin, &head, &mut edits);
        let mut out = BytesMut::new();
        encode_request(&mut out, &head, &edits, Framing::None, Connection::Implicit);
        let sent = parsed(&out).expect("what we send is a request");
        let [list] = values(&sent, "X-Forwarded-For")[..] else { panic!("one list") };
        prop_assert!(list == b"10.0.0.1" || list.ends_with(b", 10.0.0.1"), "{}", String::from_utf8_lossy(list));
        prop_assert_eq!(values(&sent, "X-Real-IP"), vec![origin.client_text.as_bytes()]);
        prop_assert_eq!(values(&sent, "X-Forwarded-Proto").len(), 1);
        prop_assert_eq!(values(&sent, "Forwarded").len(), 1);
    }

    #[test]
    fn no_variable_ends_a_line(target in target(), headers in prop::collection::vec((name(), value()), 0..6)) {
        let Some(head) = request(&target, &headers) else { return Ok(()) };
        let origin = origin(PROXY, &head);
        let id = RequestId::of(&head, &origin, 1, 2);
        let facts = facts(&head, &origin, &id);
        let rules = HeaderRules::new(&HeaderEdits {
            set: vec![("x-set".into(), everything())],
            add: vec![("x-add".into(), everything())],
            ..HeaderEdits::default()
        }).expect("valid");
        let mut edits = Edits::new();
        rules.apply(&facts, &mut edits);
        let mut out = BytesMut::new();
        encode_request(&mut out, &head, &edits, Framing::None, Connection::Implicit);
        let sent = parsed(&out).expect("what we send is a request");
        prop_assert_eq!((values(&sent, "x-set").len(), values(&sent, "x-add").len()), (1, 1));
        prop_assert_eq!(sent.iter().count(), head.iter().count() + 2);

        let responder = Responder::new(&Respond {
            status: 200,
            body: everything(),
            content_type: "text/html".into(),
            headers: vec![("x-add".into(), everything())],
        }).expect("valid");
        let reply = responder.write(&facts).expect("every variable fits a header");
        let mut out = BytesMut::new();
        encode_response(&mut out, &reply.head, &Edits::new(), reply.framing, Connection::Implicit);
        let read = ResponseParser::new().parse(&mut out, Answering::Other, &HeadLimits::response());
        let read = read.expect("a response").expect("whole");
        prop_assert_eq!(read.iter().count(), 3, "type, length and the one configured");
        prop_assert!(!reply.body.contains(&b'<'));
    }

    #[test]
    fn a_redirect_stays_where_the_operator_sent_it(target in target(), value in value()) {
        let Some(head) = request(&target, &[("X-Evil".to_owned(), value)]) else { return Ok(()) };
        let origin = origin(STRANGER, &head);
        let id = RequestId::new(1, 2);
        let facts = facts(&head, &origin, &id);
        let path = |to: &str| RedirectTo::Path(to.into());
        let of = |variable| RedirectTo::Template(template(&[variable]));
        for to in [path("/"), path("/new"), path("//new"), of(Variable::Uri), of(Variable::Path), of(Variable::Header("x-evil".into()))] {
            for pattern in [PathPattern::Prefix("".into()), PathPattern::Prefix("/old".into()), PathPattern::Exact("/x".into())] {
                let redirect = Redirect { to: to.clone(), status: 308 };
                let location = redirect::location(&redirect, &pattern, &facts, 443).expect("a way");
                prop_assert!(!location.starts_with(b"//"), "{:?}", String::from_utf8_lossy(&location));
                let is_uri = |byte: &u8| byte.is_ascii_graphic() && !b"\\\"<>{}".contains(byte);
                prop_assert!(location.iter().all(is_uri), "{:?}", String::from_utf8_lossy(&location));
                if matches!(to, RedirectTo::Path(_)) {
                    prop_assert!(location.starts_with(b"/"));
                }
            }
        }
        let location = redirect::https(&head, &origin, 443).expect("a way");
        prop_assert!(location.starts_with(b"https://a.example/"), "{:?}", String::from_utf8_lossy(&location));
    }
}
