//! Which route wins, as tables worked out by hand from the configuration's contract.

use bytes::BytesMut;
use lb_config::{HostPattern, Match, PathPattern, ValuePattern};
use lb_http::message::RequestHead;
use lb_http::wire::h1::{HeadLimits, RequestParser};
use lb_proxy::rules::path::{MatchPath, PathError};
use lb_proxy::rules::router::{Routed, Router};
use proptest::prelude::*;

/// A route's match in the words of the configuration: `"GET,POST host,*.host =/path"`; `-` leaves a part out.
fn matcher(text: &str) -> Match {
    let mut parts = text.split(' ');
    let mut list = || match parts.next().unwrap_or("-") {
        "-" => Vec::new(),
        text => text.split(',').collect(),
    };
    let methods = list().into_iter().map(Into::into).collect();
    let hosts = list()
        .into_iter()
        .map(|host| match host.strip_prefix('*') {
            Some(tail) => HostPattern::Wildcard(tail.into()),
            None => HostPattern::Exact(host.into()),
        })
        .collect();
    let path = match parts.next().unwrap_or("/") {
        text if text.starts_with('=') => PathPattern::Exact(text[1..].into()),
        text if text.starts_with('~') => PathPattern::Regex(regex::Regex::new(&text[1..]).expect("a regex")),
        text => PathPattern::Prefix(text.trim_end_matches('/').into()),
    };
    Match { methods, hosts, path, ..Match::default() }
}

fn router(routes: &[&str]) -> Router {
    let matches: Vec<_> = routes.iter().map(|text| matcher(text)).collect();
    Router::from_matches(1, &matches.iter().collect::<Vec<_>>())
}

fn head(method: &str, host: &str, target: &str, lines: &str) -> RequestHead {
    let mut text = BytesMut::from(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n").as_str());
    RequestParser::new().parse(&mut text, &HeadLimits::default()).expect("valid").expect("whole")
}

fn route(router: &Router, method: &str, host: &str, target: &str) -> Routed {
    router.route(0, &head(method, host, target, ""))
}

/// Checks a table of `"METHOD host target"` and the route that wins.
fn check(routes: &[&str], expected: &[(&str, Option<usize>)]) {
    let router = router(routes);
    for (request, winner) in expected {
        let [method, host, target] = request.split(' ').collect::<Vec<_>>()[..] else { panic!("{request}") };
        let wanted = winner.map_or(Routed::NotFound, Routed::Matched);
        assert_eq!(route(&router, method, host, target), wanted, "{request}");
    }
}

#[test]
fn host_exact_then_longest_wildcard_then_any() {
    check(
        &["- - /", "- *.example.org /", "- *.b.example.org /", "- a.b.example.org /", "- example.org /"],
        &[
            ("GET a.b.example.org /", Some(3)),
            ("GET A.B.Example.ORG:8443 /", Some(3)),
            ("GET a.b.example.org. /", Some(3)),
            ("GET x.b.example.org /", Some(2)),
            ("GET x.y.b.example.org /", Some(2)),
            ("GET b.example.org /", Some(1)),
            ("GET example.org /", Some(4)),
            ("GET example.com /", Some(0)),
            ("GET [::1]:80 /", Some(0)),
        ],
    );
}

#[test]
fn path_exact_then_regexes_in_order_then_longest_prefix() {
    check(
        &["- - /", "- - /api/", "- - /api/v1", "- - ~^/api/v[0-9]+/x", "- - ~/x$", "- - =/api/v1/x"],
        &[
            ("GET a /api/v1/x", Some(5)),
            ("GET a /api/v1/x/", Some(3)),
            ("GET a /api/v2/x", Some(3)),
            ("GET a /y/x", Some(4)),
            ("GET a /api/v1/y", Some(2)),
            ("GET a /api/v1", Some(2)),
            ("GET a /api/v10", Some(1)),
            ("GET a /api", Some(1)),
            ("GET a /api/", Some(1)),
            ("GET a /apix", Some(0)),
            ("GET a /", Some(0)),
        ],
    );
}

#[test]
fn a_prefix_is_the_same_with_and_without_its_slash() {
    for prefix in ["- - /api", "- - /api/"] {
        check(
            &[prefix],
            &[
                ("GET a /api", Some(0)),
                ("GET a /api/", Some(0)),
                ("GET a /api/x", Some(0)),
                ("GET a /apix", None),
                ("GET a /ap", None),
                ("GET a /", None),
            ],
        );
    }
}

#[test]
fn the_host_goes_before_the_path() {
    check(
        &["- - =/x", "- - /x/y", "- a /", "- *.b /x"],
        &[("GET a /x", Some(2)), ("GET a /x/y", Some(2)), ("GET c.b /x/y", Some(3)), ("GET c /x/y", Some(1))],
    );
}

#[test]
fn what_a_host_leaves_over_falls_to_the_less_particular() {
    check(
        &["- - /", "- a.b.c /x", "- *.b.c /y", "- *.c /z"],
        &[
            ("GET a.b.c /x", Some(1)),
            ("GET a.b.c /y", Some(2)),
            ("GET a.b.c /z", Some(3)),
            ("GET a.b.c /else", Some(0)),
        ],
    );
    check(&["- a /x"], &[("GET a /y", None), ("GET b /x", None)]);
}

#[test]
fn the_route_that_names_methods_or_headers_goes_first() {
    let mut matches: Vec<_> = ["- - /x", "GET,PUT - /x", "- - /x", "POST - /x"].map(matcher).into();
    matches[2].headers = vec![("x-beta".into(), ValuePattern::Regex(regex::Regex::new("^(1|on)$").expect("a regex")))];
    let both = Match {
        methods: vec!["POST".into()],
        headers: vec![("x-beta".into(), ValuePattern::Exact("on".into()))],
        ..matcher("- - /x")
    };
    matches.push(both);
    let router = Router::from_matches(1, &matches.iter().collect::<Vec<_>>());
    let winner = |method, lines| router.route(0, &head(method, "a", "/x", lines));
    assert_eq!(winner("DELETE", ""), Routed::Matched(0));
    assert_eq!(winner("PUT", ""), Routed::Matched(1));
    assert_eq!(winner("DELETE", "X-Beta: 1\r\n"), Routed::Matched(2));
    assert_eq!(winner("DELETE", "X-Beta: 0\r\nX-Beta: on\r\n"), Routed::Matched(2), "any of the lines");
    assert_eq!(winner("DELETE", "X-Beta: 11\r\n"), Routed::Matched(0));
    assert_eq!(winner("DELETE", "X-Beta: \u{e4}\r\n"), Routed::Matched(0));
    assert_eq!(winner("POST", "X-Beta: on\r\n"), Routed::Matched(4), "methods and headers before either");
    assert_eq!(winner("POST", "X-Beta: 1\r\n"), Routed::Matched(2), "the order of the file decides between equals");
}

#[test]
fn a_longer_path_goes_before_methods() {
    check(&["GET - /x", "- - /x/y"], &[("GET a /x/y", Some(1)), ("GET a /x", Some(0))]);
}

#[test]
fn a_route_for_other_methods_is_as_if_it_were_not_there() {
    check(
        &["POST - /hook", "- - /", "POST a =/x", "PUT a ~^/x"],
        &[("GET b /hook", Some(1)), ("POST b /hook", Some(0)), ("GET a /x", Some(1)), ("PUT a /x", Some(3))],
    );
}

#[test]
fn a_path_that_only_other_methods_have_is_405_with_all_of_them() {
    let router = router(&["PUT,GET - /x", "POST - /x", "DELETE a =/x", "PATCH - /y", "OPTIONS b /x"]);
    let allow = |method, host, target| match route(&router, method, host, target) {
        Routed::MethodNotAllowed { allow } => allow,
        other => panic!("{method} {host} {target}: {other:?}"),
    };
    assert_eq!(allow("PATCH", "a", "/x"), "DELETE, GET, HEAD, POST, PUT");
    assert_eq!(allow("PATCH", "c", "/x/z"), "GET, HEAD, POST, PUT");
    assert_eq!(allow("FOO", "c", "/y"), "PATCH");
    assert_eq!(route(&router, "GET", "a", "/z"), Routed::NotFound);
}

#[test]
fn a_route_that_its_headers_keep_out_is_no_405() {
    let beta = Match { headers: vec![("x-beta".into(), ValuePattern::Exact("1".into()))], ..matcher("GET - /x") };
    let router = Router::from_matches(1, &[&beta]);
    assert_eq!(router.route(0, &head("POST", "a", "/x", "")), Routed::NotFound);
    let allowed = router.route(0, &head("POST", "a", "/x", "X-BETA: 1\r\n"));
    assert_eq!(allowed, Routed::MethodNotAllowed { allow: "GET, HEAD".to_owned() });
}

#[test]
fn get_takes_head_unless_head_is_named() {
    check(&["GET - /x"], &[("HEAD a /x", Some(0))]);
    check(&["GET - /x", "HEAD - /x"], &[("HEAD a /x", Some(1)), ("GET a /x", Some(0))]);
    check(&["- - /x", "GET - /x"], &[("HEAD a /x", Some(1)), ("POST a /x", Some(0))]);
}

#[test]
fn routes_are_those_of_their_listener() {
    let mut matches = ["- - /x", "- - /x/y", "- - /"].map(matcher);
    matches[0].listeners = vec![0];
    matches[1].listeners = vec![1, 2];
    let router = Router::from_matches(3, &matches.iter().collect::<Vec<_>>());
    let winner = |listener| router.route(listener, &head("GET", "a", "/x/y", ""));
    assert_eq!([winner(0), winner(1), winner(2)], [0, 1, 1].map(Routed::Matched));
    assert_eq!(winner(3), Routed::NotFound, "a listener that does not exist");
}

#[test]
fn without_routes_nothing_is_found() {
    check(&[], &[("GET a /", None)]);
    assert_eq!(Router::from_matches(0, &[]).route(0, &head("GET", "a", "/", "")), Routed::NotFound);
}

#[test]
fn no_spelling_walks_around_a_route() {
    check(
        &["- - /", "- - /admin"],
        &[
            ("GET a /admin", Some(1)),
            ("GET a /%61dmin/x", Some(1)),
            ("GET a //admin", Some(1)),
            ("GET a /x/../admin", Some(1)),
            ("GET a /x/%2e%2e/admin", Some(1)),
            ("GET a /./admin", Some(1)),
            ("GET a /admin/../x", Some(0)),
            ("GET a /ADMIN", Some(0)),
            ("GET a http://b/admin", Some(1)),
        ],
    );
    let router = router(&["- - /", "- - /admin", "- - ~^/secret/.*$"]);
    for (target, error) in [
        ("/public/..%2Fadmin", PathError::Ambiguous),
        ("/public/..%5cadmin", PathError::Ambiguous),
        ("/public/..;/admin", PathError::Ambiguous),
        ("/admin;v=1", PathError::Ambiguous),
        ("/admin;v=1/x", PathError::Ambiguous),
        ("/;v=1/admin", PathError::Ambiguous),
        ("/%3b/admin", PathError::Ambiguous),
        ("/admin%2Fx", PathError::Ambiguous),
        ("/admin/..%2Fx", PathError::Ambiguous),
        ("/x//../admin", PathError::Ambiguous),
        ("/../admin", PathError::AboveRoot),
        ("/admin%00", PathError::Forbidden),
        ("/admin%", PathError::Escape),
    ] {
        assert_eq!(route(&router, "GET", "a", target), Routed::BadPath(error), "{target}");
    }
    assert_eq!(route(&router, "GET", "a", "/secret/%0ax"), Routed::Matched(2), "a line feed ends no regex");
}

#[test]
fn an_encoded_slash_is_fine_where_both_readings_agree() {
    check(
        &["- - /", "- - /api", "- - =/api/exact"],
        &[
            ("GET a /api/projects/group%2Fname", Some(1)),
            ("GET a /api/queues/%2F/q", Some(1)),
            ("GET a /@scope%2fpackage", Some(0)),
            ("GET a /app;jsessionid=1/x", Some(0)),
            ("GET a /a;v=1/b", Some(0)),
            ("GET a /api/a;v=1", Some(1)),
        ],
    );
}

#[test]
fn the_service_as_a_whole_belongs_to_the_root() {
    check(&["- - /x", "- - /"], &[("OPTIONS a *", Some(1))]);
    check(&["- - =/", "- - /x"], &[("OPTIONS a *", None)]);
}

#[test]
fn connect_has_no_path_to_match() {
    let router = router(&["- - /"]);
    assert_eq!(route(&router, "CONNECT", "a:443", "a:443"), Routed::BadPath(PathError::NotAbsolute));
}

#[test]
fn an_absolute_target_is_routed_by_its_own_host() {
    let router = router(&["- a /", "- b /"]);
    assert_eq!(route(&router, "GET", "a", "http://b:81/x"), Routed::Matched(1));
}

/// What the contract says, without an index: every route is looked at, and the most particular one that takes the
/// request wins.
fn naive(matches: &[Match], host: &str, path: &str) -> Option<usize> {
    let host_of = |matcher: &Match| {
        if matcher.hosts.is_empty() { Some(0) } else { matcher.hosts.iter().filter_map(|p| host_rank(p, host)).max() }
    };
    let rank = |at: usize| {
        let matcher = &matches[at];
        let host = host_of(matcher);
        let path = match &matcher.path {
            PathPattern::Exact(exact) => (**exact == *path).then_some((2, 0)),
            PathPattern::Regex(regex) => {
                // A pattern that is repeated has the place of its first route.
                let is_same = |other: &Match| other.path == matcher.path && host_of(other) == host;
                let first = matches.iter().position(is_same).unwrap_or(at);
                regex.is_match(path).then_some((1, usize::MAX - first))
            }
            PathPattern::Prefix(prefix) => {
                let rest = path.strip_prefix(&**prefix);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')).then_some((0, prefix.len()))
            }
        };
        Some((host?, path?, matcher.methods.len().min(1), usize::MAX - at))
    };
    let takes = |at: &usize| matches[*at].methods.is_empty() || matches[*at].methods.iter().any(|m| &**m == "GET");
    (0..matches.len()).filter(takes).filter_map(|at| Some((rank(at)?, at))).max().map(|(_, at)| at)
}

/// 0 is any host; a wildcard ranks by its length, an exact host above all of them.
fn host_rank(pattern: &HostPattern, host: &str) -> Option<usize> {
    match pattern {
        HostPattern::Exact(exact) => (**exact == *host).then_some(usize::MAX),
        HostPattern::Wildcard(tail) => (host.len() > tail.len() && host.ends_with(&**tail)).then_some(tail.len()),
    }
}

/// What RFC 3986 §5.2.4 makes of a path without escapes, slashes merged first; `None` above the root.
fn naive_resolve(path: &str) -> Option<String> {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<_> = path.split('/').skip(1).collect();
    for segment in &segments {
        match *segment {
            "" | "." => {}
            ".." => {
                kept.pop()?;
            }
            name => kept.push(name),
        }
    }
    let is_directory = matches!(segments.last(), Some(&("" | "." | "..")));
    let slash = if is_directory && !kept.is_empty() { "/" } else { "" };
    Some(format!("/{}{slash}", kept.join("/")))
}

/// Bytes that mean something to a path, and now and then any other.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![12 => prop::sample::select(b"/.%2eEfF5cC3bB;\\a".to_vec()), 1 => any::<u8>()]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn the_index_finds_what_a_look_at_every_route_finds(
        routes in prop::collection::vec(
            (
                prop::sample::select(vec!["-", "GET", "POST", "GET,POST"]),
                prop::sample::select(vec!["-", "a", "b.a", "*.a", "*.b.a", "c,*.a"]),
                prop::sample::select(vec!["/", "/x", "/x/y", "/xy", "=/x", "=/x/y", "~^/x", "~y$", "/x/y/z"]),
            ),
            0..12,
        ),
        host in prop::sample::select(vec!["a", "b.a", "c.b.a", "c", "d"]),
        path in prop::sample::select(vec!["/", "/x", "/x/", "/x/y", "/xy", "/x/y/z/w", "/y"]),
    ) {
        let matches: Vec<_> = routes.iter().map(|(m, h, p)| matcher(&format!("{m} {h} {p}"))).collect();
        let router = Router::from_matches(1, &matches.iter().collect::<Vec<_>>());
        let found = match route(&router, "GET", host, path) {
            Routed::Matched(at) => Some(at),
            Routed::NotFound | Routed::MethodNotAllowed { .. } => None,
            other @ Routed::BadPath(_) => panic!("{other:?}"),
        };
        prop_assert_eq!(found, naive(&matches, host, path));
    }

    #[test]
    fn any_bytes_are_a_path_or_refused(raw in prop::collection::vec(byte(), 0..48)) {
        let raw: Vec<_> = std::iter::once(b'/').chain(raw).collect();
        if let Ok(read) = MatchPath::new(&raw) {
            for path in [Some(&*read.path), read.other.as_deref()].into_iter().flatten() {
                prop_assert!(path.starts_with('/') && !path.contains("//"), "{}", path);
                prop_assert!(!path.split('/').any(|segment| segment == "." || segment == ".."), "{}", path);
                prop_assert!(!path.bytes().any(|byte| byte < b' ' || byte == 0x7f), "{}", path);
            }
        }
    }

    #[test]
    fn a_path_is_resolved_as_the_rfc_does_and_once_is_enough(
        raw in prop::collection::vec(prop::sample::select(vec!["/", "//", "/.", "/..", "/a", "/b.c", "/..."]), 1..8)
    ) {
        let raw = raw.concat();
        let expected = naive_resolve(&raw);
        match MatchPath::new(raw.as_bytes()) {
            Ok(read) => {
                prop_assert_eq!(Some(&*read.path), expected.as_deref(), "{}", raw);
                let again = MatchPath::new(read.path.as_bytes());
                prop_assert_eq!(again.as_ref().map(|again| &*again.path), Ok(&*read.path));
            }
            Err(PathError::AboveRoot) => prop_assert_eq!(expected, None),
            Err(error) => prop_assert!(error == PathError::Ambiguous && raw.contains("//") && raw.contains(".."), "{}", raw),
        }
    }

    /// However a path is escaped, it matches what it matches plain.
    #[test]
    fn escaping_changes_nothing(path in "/[a-c.]{1,4}(/[a-c.]{1,4}){0,3}", mask in any::<u64>()) {
        let escaped: String = path
            .bytes()
            .enumerate()
            .map(|(at, byte)| match byte {
                b'/' => "/".to_owned(),
                _ if mask >> at & 1 == 1 => format!("%{byte:02x}"),
                _ => char::from(byte).to_string(),
            })
            .collect();
        prop_assert_eq!(
            MatchPath::new(escaped.as_bytes()).map(|read| read.path.into_owned()),
            MatchPath::new(path.as_bytes()).map(|read| read.path.into_owned())
        );
    }
}

/// The routes as an operator writes them, through the whole of the configuration's own reading.
#[test]
fn a_configuration_routes_as_it_reads() {
    let text = r#"
        [[listener]]
        name = "web"
        address = "127.0.0.1:0"
        [[listener]]
        name = "inside"
        address = "127.0.0.2:0"

        [[route]]
        hosts = ["automation.example.com", "*.example.org"]
        path = "/webhook/"
        methods = ["GET", "POST"]
        listeners = ["web"]
        cluster = "n8n"
        [[route]]
        path = "/"
        cluster = "n8n"
        [[route]]
        path = "=/healthz"
        respond = { status = 200, body = "healthy\n", content_type = "text/plain" }
        [[route]]
        path = "/old/"
        redirect = { to = "/new/", status = 308 }

        [cluster.n8n]
        endpoints = ["127.0.0.1:5678"]
    "#;
    let config = lb_config::Config::parse(text, &|_| None).expect("valid").config;
    let router = Router::new(&config);
    let winner = |listener, method, host, target| router.route(listener, &head(method, host, target, ""));
    for (listener, method, host, target, expected) in [
        (0, "POST", "automation.example.com", "/webhook/7", 0),
        (0, "HEAD", "a.b.example.org:80", "/webhook", 0),
        (0, "PUT", "automation.example.com", "/webhook/7", 1),
        (1, "POST", "automation.example.com", "/webhook/7", 1),
        (0, "GET", "example.org", "/webhook/", 1),
        (1, "GET", "automation.example.com", "/healthz", 2),
        (0, "GET", "automation.example.com", "/healthz/", 1),
        (0, "GET", "other", "/old", 3),
        (0, "GET", "other", "/%6fld/x", 3),
        (0, "GET", "other", "/older", 1),
    ] {
        assert_eq!(
            winner(listener, method, host, target),
            Routed::Matched(expected),
            "{listener} {method} {host}{target}"
        );
    }
}
