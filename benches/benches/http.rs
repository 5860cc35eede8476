//! HTTP/1 heads, routes and templates.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use lb_config::{HostPattern, Match, Part, PathPattern, Template, Variable};
use lb_proxy::message::{Edits, RequestHead, name};
use lb_proxy::rules::forwarded::{Arrival, Origin};
use lb_proxy::rules::networks::Networks;
use lb_proxy::rules::router::Router;
use lb_proxy::rules::template::{Facts, Place, fill};
use lb_proxy::wire::h1::{
    Answering, Connection, HeadLimits, RequestParser, ResponseParser, encode_request, encode_response,
};

const REQUEST: &str = "GET /api/v1/items?page=2&sort=name HTTP/1.1\r\n\
    Host: shop.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://shop.example.com/\r\n\
    Cookie: session=5f2b8c0d9e; affinity=Ac2OLe1p_mBdIAAAAAAhU830wnCBvk95\r\n\
    Connection: keep-alive\r\n\r\n";

const RESPONSE: &str = "HTTP/1.1 200 OK\r\n\
    X-Powered-By: Express\r\n\
    Content-Type: application/json; charset=utf-8\r\n\
    Content-Length: 1234\r\n\
    ETag: W/\"4d2-abcdefghijklmnop\"\r\n\
    Vary: Accept-Encoding\r\n\
    Date: Sat, 21 Nov 2026 09:00:00 GMT\r\n\
    Connection: keep-alive\r\n\
    Keep-Alive: timeout=5\r\n\r\n";

fn request(buf: &mut BytesMut) -> RequestHead {
    let head = RequestParser::new().parse(buf, &HeadLimits::default());
    head.expect("the text is valid").expect("and whole")
}

fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("HTTP/1 head");
    group.bench_function("read a request", |b| {
        b.iter_batched_ref(|| BytesMut::from(REQUEST), request, BatchSize::SmallInput);
    });
    group.bench_function("read a response", |b| {
        let read = |buf: &mut BytesMut| {
            ResponseParser::new().parse(buf, Answering::Other, &HeadLimits::response()).expect("the text is valid")
        };
        b.iter_batched_ref(|| BytesMut::from(RESPONSE), read, BatchSize::SmallInput);
    });
    let head = request(&mut BytesMut::from(REQUEST));
    let mut edits = Edits::new();
    edits.set(name::X_FORWARDED_FOR, "192.0.2.1").expect("a valid edit");
    edits.set(name::X_FORWARDED_PROTO, "https").expect("a valid edit");
    edits.remove(name::COOKIE).expect("a valid edit");
    let mut out = BytesMut::with_capacity(4096);
    group.bench_function("write a request with three edits", |b| {
        b.iter(|| {
            out.clear();
            encode_request(&mut out, black_box(&head), &edits, head.framing(), Connection::Implicit);
        });
    });
    let answer = ResponseParser::new().parse(&mut BytesMut::from(RESPONSE), Answering::Other, &HeadLimits::response());
    let answer = answer.expect("the text is valid").expect("and whole");
    group.bench_function("write a response", |b| {
        b.iter(|| {
            out.clear();
            encode_response(&mut out, black_box(&answer), &Edits::new(), answer.framing(), Connection::Implicit);
        });
    });
    group.finish();
}

fn routes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    let head = request(&mut BytesMut::from(REQUEST));
    for count in [1, 10, 1000] {
        let matches: Vec<Match> = (0..count).map(prefix).chain([to_be_found()]).collect();
        let router = Router::from_matches(1, &matches.iter().collect::<Vec<_>>());
        group.bench_function(format!("one of {}", count + 1), |b| b.iter(|| router.route(0, black_box(&head))));
    }
    group.finish();
}

fn templates(criterion: &mut Criterion) {
    let variable = |variable| Part::Variable(variable);
    let template = Template {
        parts: vec![
            Part::Text("https://".into()),
            variable(Variable::Host),
            variable(Variable::Uri),
            Part::Text("&from=".into()),
            variable(Variable::ClientIp),
        ],
    };
    let head = request(&mut BytesMut::from(REQUEST));
    let arrival = Arrival { peer: Some([192, 0, 2, 1].into()), is_tls: false, port: 80 };
    let origin = Origin::new(arrival, &Networks::default(), &head);
    let facts = Facts { head: &head, origin: &origin, request_id: b"", route: "", cluster: "", endpoint: "" };
    let mut out = Vec::with_capacity(4096);
    criterion.bench_function("fill a template of three variables", |b| {
        b.iter(|| {
            out.clear();
            fill(&template, Place::Location, black_box(&facts), &mut out);
        });
    });
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

criterion_group!(http, heads, routes, templates);
criterion_main!(http);
