//! HTTP/1 heads, routes and templates.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use lb_config::{Part, Template, Variable};
use lb_http::message::Edits;
use lb_http::wire::h1::{Connection, encode_request, encode_response};
use lb_proxy::rules::forwarded::{ConnectionFacts, Origin};
use lb_proxy::rules::networks::Networks;
use lb_proxy::rules::template::{Facts, Place, fill};

#[path = "support/heads.rs"]
mod heads;

use heads::{REQUEST, RESPONSE, edits, request, response, router};

fn reading_and_writing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("HTTP/1 head");
    group.bench_function("read a request", |b| {
        b.iter_batched_ref(|| BytesMut::from(REQUEST), request, BatchSize::SmallInput);
    });
    group.bench_function("read a response", |b| {
        b.iter_batched_ref(|| BytesMut::from(RESPONSE), response, BatchSize::SmallInput);
    });
    let head = request(&mut BytesMut::from(REQUEST));
    let edits = edits();
    let mut out = BytesMut::with_capacity(4096);
    group.bench_function("write a request with three edits", |b| {
        b.iter(|| {
            out.clear();
            encode_request(&mut out, black_box(&head), &edits, head.framing(), Connection::Implicit);
        });
    });
    let answer = response(&mut BytesMut::from(RESPONSE));
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
        let router = router(count);
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
    let arrival = ConnectionFacts { peer: Some([192, 0, 2, 1].into()), is_tls: false, port: 80 };
    let origin = Origin::new(arrival, &Networks::default(), &head);
    let facts = Facts { head: &head, origin: &origin, request_id: b"", route: "", cluster: "", endpoint: "", user: "" };
    let mut out = Vec::with_capacity(4096);
    criterion.bench_function("fill a template of three variables", |b| {
        b.iter(|| {
            out.clear();
            fill(&template, Place::Location, black_box(&facts), &mut out);
        });
    });
}

criterion_group!(http, reading_and_writing, routes, templates);
criterion_main!(http);
