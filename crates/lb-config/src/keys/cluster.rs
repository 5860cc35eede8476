//! Keys of clusters, endpoints and health.

use super::{CLUSTER_TLS, SUBSET};
use crate::model::policy::POLICY;
use crate::table::section::Default::{Required, Unset, Value};
use crate::table::section::{Kind, Section, key, later};

pub(crate) const CLUSTER: Section = Section {
    name: "cluster",
    title: "[cluster]",
    doc: "A named set of interchangeable endpoints.",
    keys: &[
        key(
            "policy",
            Kind::Any(&[Kind::Text, Kind::Table(&POLICY)]),
            Value("\"round_robin\""),
            "How an endpoint is chosen.",
        ),
        key(
            "endpoints",
            Kind::List(&Kind::Any(&[Kind::Text, Kind::Table(&ENDPOINT)])),
            Required,
            "The endpoints: addresses, or tables with further keys.",
        ),
        key(
            "protocol",
            Kind::Word(&["http1", "h2"]),
            Value("\"http1\""),
            "What the endpoints speak: HTTP/1.1, or HTTP/2 (without an upgrade), as gRPC does.",
        ),
        key(
            "tls",
            Kind::Any(&[Kind::Word(&["off"]), Kind::Table(&CLUSTER_TLS)]),
            Value("\"off\""),
            "TLS to the endpoints, all of them; `https://` before an address does it for that one.",
        ),
        key(
            "proxy_protocol",
            Kind::Word(&["off", "v1", "v2"]),
            Value("\"off\""),
            "The PROXY protocol header that connections to the endpoints begin with.",
        ),
        key(
            "dns_interval",
            Kind::Duration { zero: false },
            Value("\"10s\""),
            "How often names are resolved again; the last good answer is kept.",
        ),
        key("keep_alive", Kind::Table(&KEEP_ALIVE), Value("{}"), "Connections kept to the endpoints, per worker."),
        key(
            "queue",
            Kind::Table(&QUEUE),
            Value("{}"),
            "Waiting while every eligible endpoint has its `max_in_flight`.",
        ),
        key(
            "slow_start",
            Kind::Any(&[Kind::Word(&["off"]), Kind::Duration { zero: false }]),
            Value("\"off\""),
            "How long an endpoint that joins or recovers takes to come to its full share.",
        ),
        key(
            "panic_threshold",
            Kind::Any(&[Kind::Word(&["off"]), Kind::Share]),
            Value("\"off\""),
            "Share of endpoints that pass their checks, strictly below which failing checks are ignored, loudly; \"off\" ignores health only where no endpoint is eligible, \"0%\" never.",
        ),
        key(
            "spill",
            Kind::Any(&[Kind::Word(&["exhausted"]), Kind::Share]),
            Value("\"exhausted\""),
            "When load goes to the next priority: \"exhausted\" is when nobody of one can take it; a factor such as \"140%\" lets each carry its healthy share times that.",
        ),
        key(
            "subset",
            Kind::Any(&[Kind::Word(&["off"]), Kind::Table(&SUBSET)]),
            Value("\"off\""),
            "Uses only some of very many endpoints.",
        ),
        key("health", Kind::Table(&HEALTH), Value("{}"), "Active checks and outlier detection."),
    ],
};

pub(crate) const ENDPOINT: Section = Section {
    name: "endpoint",
    title: "an endpoint",
    doc: "One address able to serve.",
    keys: &[
        key(
            "address",
            Kind::Text,
            Required,
            "Where it is: \"10.0.0.1:80\", \"app:80\", \"[::1]:80\", \"https://app:443\" or \"unix:/run/app.sock\".",
        ),
        key("weight", Kind::Integer(0, 65_535), Value("1"), "Its share of the traffic; 0 takes no new requests."),
        key(
            "max_in_flight",
            Kind::Any(&[Kind::Word(&["none"]), Kind::Integer(1, 4_294_967_294)]),
            Value("\"none\""),
            "Most requests at once.",
        ),
        key(
            "backup",
            Kind::Bool,
            Value("false"),
            "The last tier of all: takes requests only while no endpoint that is not a backup can.",
        ),
        key("drain", Kind::Bool, Value("false"), "Takes no new requests, only those whose sticky cookie names it."),
        key(
            "priority",
            Kind::Integer(0, 100),
            Value("0"),
            "Its tier: the lowest that can take a request serves it; see `spill`.",
        ),
        key("zone", Kind::Text, Value("\"none\""), "Where it is; matters to a proxy that has a `zone` itself."),
    ],
};

pub(crate) const KEEP_ALIVE: Section = Section {
    name: "keep_alive",
    title: "`keep_alive`",
    doc: "Connections kept, per worker and endpoint.",
    keys: &[
        key(
            "idle",
            Kind::Integer(0, 1_000_000),
            Value("32"),
            "Idle connections kept; 0 closes each after its response.",
        ),
        key(
            "timeout",
            Kind::Duration { zero: false },
            Value("\"4s\""),
            "How long an idle one is kept: less than the endpoint's own timeout, which is 5 s in Node.",
        ),
        key("requests", Kind::Integer(1, i64::MAX), Value("1000"), "Requests that one connection carries."),
        key("age", Kind::Duration { zero: false }, Value("\"1h\""), "How old a connection gets."),
    ],
};

pub(crate) const QUEUE: Section = Section {
    name: "queue",
    title: "`queue`",
    doc: "Waiting for a full cluster: first come, first served.",
    keys: &[
        key(
            "size",
            Kind::Integer(0, 1_000_000),
            Value("0"),
            "Requests that may wait, over all workers; 0 lets none wait.",
        ),
        key(
            "timeout",
            Kind::Duration { zero: false },
            Value("\"5s\""),
            "How long each may wait; it counts in the route's `timeout.total`.",
        ),
    ],
};

pub(crate) const HEALTH: Section = Section {
    name: "health",
    title: "`health`",
    doc: "Who is healthy.",
    keys: &[
        key(
            "active",
            Kind::Any(&[Kind::Word(&["off"]), Kind::Table(&ACTIVE)]),
            Value("\"off\""),
            "Probes that lbproxy sends.",
        ),
        key(
            "passive",
            Kind::Any(&[Kind::Word(&["off"]), Kind::Table(&PASSIVE)]),
            Value("\"off\""),
            "Outlier detection: judging by real traffic.",
        ),
    ],
};

pub(crate) const ACTIVE: Section = Section {
    name: "active",
    title: "`health.active`",
    doc: "Active checks of every endpoint.",
    keys: &[
        key("path", Kind::Text, Value("\"/\""), "What is asked for."),
        key("method", Kind::Text, Value("\"GET\""), "How it is asked for."),
        key("host", Kind::Text, Unset("the endpoint's address"), "The `Host` of the probe."),
        key("port", Kind::Integer(1, 65_535), Unset("the endpoint's"), "Ask this port instead."),
        key(
            "interval",
            Kind::Duration { zero: false },
            Value("\"10s\""),
            "From the start of one check to the start of the next.",
        ),
        key("timeout", Kind::Duration { zero: false }, Value("\"5s\""), "A check that takes longer has failed."),
        key(
            "expect",
            Kind::Any(&[Kind::Status, Kind::List(&Kind::Status)]),
            Value("[\"2xx\", \"3xx\"]"),
            "Statuses that pass.",
        ),
        key("rise", Kind::Integer(1, 1_000), Value("2"), "Passing checks in a row that bring an endpoint up."),
        key("fall", Kind::Integer(1, 1_000), Value("3"), "Failing checks in a row that take it down."),
        key("tcp", Kind::Bool, Value("false"), "A connection is enough; nothing is asked for."),
        key(
            "initial",
            Kind::Word(&["up", "down"]),
            Value("\"up\""),
            "What an endpoint counts as before its first check.",
        ),
        later("grpc", "A gRPC health check."),
        later("body", "A text that the answer must contain."),
        later("command", "A command in place of a request."),
    ],
};

pub(crate) const PASSIVE: Section = Section {
    name: "passive",
    title: "`health.passive`",
    doc: "Outlier detection; it never ejects the last eligible endpoint of a cluster.",
    keys: &[
        key("failures", Kind::Integer(1, 1_000_000), Value("3"), "Failures within the window that eject."),
        key("window", Kind::Duration { zero: false }, Value("\"30s\""), "The window."),
        key("eject_for", Kind::Duration { zero: false }, Value("\"30s\""), "How long an ejection lasts."),
        key(
            "on",
            Kind::List(&Kind::Any(&[
                Kind::Word(&["connect_error", "reset", "timeout", "invalid_response"]),
                Kind::Status,
            ])),
            Value("[\"connect_error\", \"reset\", \"timeout\", \"5xx\"]"),
            "What counts as a failure.",
        ),
    ],
};
