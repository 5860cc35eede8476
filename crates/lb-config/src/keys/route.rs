//! Keys of routes.

use crate::model::policy::POLICY;
use crate::table::section::Default::{Required, Unset, Value};
use crate::table::section::{Kind, Section, key, later};

const FAILURES: Kind =
    Kind::List(&Kind::Any(&[Kind::Word(&["connect_error", "reset", "timeout", "invalid_response"]), Kind::Status]));

pub(crate) const ROUTE: Section = Section {
    name: "route",
    title: "[[route]]",
    doc: "A rule that maps a request to an action; the most specific match wins.",
    keys: &[
        key("name", Kind::Text, Unset("written from its match"), "Its name in logs and metrics."),
        key(
            "hosts",
            Kind::List(&Kind::Text),
            Value("[]"),
            "Hosts it takes, \"example.com\" or \"*.example.com\"; none means any.",
        ),
        key(
            "path",
            Kind::Text,
            Value("\"/\""),
            "A prefix by whole segments (\"/api/\"), an exact path (\"=/x\") or a regex (\"~^/v[0-9]+/\").",
        ),
        key("methods", Kind::List(&Kind::Text), Value("[]"), "Methods it takes, in capitals; none means any."),
        key(
            "headers_match",
            Kind::Map(&Kind::Text),
            Value("{}"),
            "Headers that must be there with this value, or matching this regex (\"~regex\").",
        ),
        key("listeners", Kind::List(&Kind::Text), Value("[]"), "Names of the listeners it holds for; none means all."),
        key("cluster", Kind::Text, Unset("none"), "Action: forward to this cluster."),
        key(
            "redirect",
            Kind::Any(&[Kind::Word(&["https"]), Kind::Table(&REDIRECT)]),
            Unset("none"),
            "Action: redirect. \"https\" is a 301 to the same host, path and query under https.",
        ),
        key("respond", Kind::Table(&RESPOND), Unset("none"), "Action: a fixed answer."),
        later("files", "Action: serve files."),
        key(
            "policy",
            Kind::Any(&[Kind::Text, Kind::Table(&POLICY)]),
            Unset("the cluster's"),
            "How an endpoint is chosen, in place of the cluster's policy.",
        ),
        key("timeout", Kind::Table(&TIMEOUT), Value("{}"), "Timeouts."),
        key(
            "retry",
            Kind::Any(&[Kind::Word(&["off"]), Kind::Table(&RETRY)]),
            Value("{}"),
            "Retries; \"off\" is short for { attempts = 1 }.",
        ),
        key(
            "sticky",
            Kind::Any(&[Kind::Word(&["off"]), Kind::Table(&STICKY)]),
            Value("\"off\""),
            "Affinity by a signed cookie.",
        ),
        key(
            "rate_limit",
            Kind::Any(&[Kind::Word(&["off"]), Kind::Table(&RATE_LIMIT)]),
            Value("\"off\""),
            "How many requests pass.",
        ),
        key("headers", Kind::Table(&HEADERS), Value("{}"), "Edits of headers."),
        key(
            "forwarded",
            Kind::Any(&[Kind::Word(FORWARDED_WORDS), Kind::Table(&FORWARDED)]),
            Value("{}"),
            "Which forwarding headers are written; a word is short for { headers = \"word\" }.",
        ),
        key(
            "upgrade",
            Kind::Any(&[Kind::Word(&["any", "off"]), Kind::List(&Kind::Text)]),
            Value("\"any\""),
            "Protocols that a request may switch to by `Upgrade`, such as [\"websocket\"].",
        ),
        key(
            "body_limit",
            Kind::Any(&[Kind::Word(&["none"]), Kind::Size { least: 1 }]),
            Unset("`limits.request_body`"),
            "A request's body; beyond it, 413. \"none\" is no limit.",
        ),
        key(
            "access_log",
            Kind::Any(&[Kind::Bool, Kind::Word(&["on", "off"])]),
            Value("\"on\""),
            "Whether its requests are in the access log.",
        ),
        later("allow", "Client networks that may come."),
        later("deny", "Client networks that may not."),
        later("compress", "Compression of responses."),
        later("cache", "Caching of responses."),
        later("errors", "Error pages."),
        later("concurrency", "Requests at once."),
    ],
};

pub(crate) const REDIRECT: Section = Section {
    name: "redirect",
    title: "`redirect`",
    doc: "A redirect.",
    keys: &[
        key(
            "to",
            Kind::Text,
            Required,
            "A path replaces the matched prefix and keeps the rest and the query; a URL, or a text with `{variables}`, is used as written; \"https\" changes the scheme.",
        ),
        key("status", Kind::Integer(301, 308), Value("308"), "301, 302, 303, 307 or 308."),
    ],
};

pub(crate) const RESPOND: Section = Section {
    name: "respond",
    title: "`respond`",
    doc: "A fixed answer.",
    keys: &[
        key("status", Kind::Integer(200, 599), Value("200"), "Its status."),
        key("body", Kind::Text, Value("\"\""), "Its body; `{variables}` are filled in."),
        key("content_type", Kind::Text, Value("\"text/plain; charset=utf-8\""), "The body's type."),
        key("headers", Kind::Map(&Kind::Text), Value("{}"), "Further headers; `{variables}` are filled in."),
    ],
};

pub(crate) const TIMEOUT: Section = Section {
    name: "timeout",
    title: "`timeout`",
    doc: "Timeouts: 504 before the response head was sent on, an abort after it.",
    keys: &[
        key("connect", Kind::Duration { zero: false }, Value("\"5s\""), "Connecting to an endpoint."),
        key(
            "response",
            Kind::Duration { zero: false },
            Value("\"60s\""),
            "From the request's sending to the response's head.",
        ),
        key(
            "idle",
            Kind::Duration { zero: false },
            Value("\"60s\""),
            "Between bytes, in either direction; stalled uploads too.",
        ),
        key(
            "total",
            Kind::Any(&[Kind::Word(&["none"]), Kind::Duration { zero: false }]),
            Value("\"none\""),
            "The whole request; it ends at the head for upgrades and event streams.",
        ),
        key(
            "tunnel",
            Kind::Duration { zero: false },
            Value("\"1h\""),
            "Idle time of an upgraded connection, such as a WebSocket.",
        ),
    ],
};

pub(crate) const RETRY: Section = Section {
    name: "retry",
    title: "`retry`",
    doc: "Another attempt, on another endpoint where there is one.",
    keys: &[
        key(
            "on",
            FAILURES,
            Value("[\"connect_error\", \"reset\"]"),
            "What is tried again: `connect_error`, `reset`, `timeout`, `invalid_response`, and statuses of 400 and above.",
        ),
        key("attempts", Kind::Integer(1, 100), Value("3"), "Attempts in all, the first included; 1 is no retry."),
        key(
            "for",
            Kind::Any(&[Kind::Word(&["none"]), Kind::Duration { zero: false }]),
            Value("\"none\""),
            "No attempt begins later than this after the first.",
        ),
        key(
            "interval",
            Kind::Duration { zero: true },
            Value("\"0ms\""),
            "The pause before a further attempt, jittered.",
        ),
        key(
            "budget",
            Kind::Share,
            Value("\"20%\""),
            "Retries as a share of the requests of the last ten seconds, never below ten a second; connect failures are free.",
        ),
        key(
            "unsafe_methods",
            Kind::Bool,
            Value("false"),
            "Also retries methods that are not idempotent, such as POST.",
        ),
        key(
            "body_limit",
            Kind::Size { least: 0 },
            Value("\"64KiB\""),
            "The largest request body that is kept for another attempt.",
        ),
    ],
};

pub(crate) const STICKY: Section = Section {
    name: "sticky",
    title: "`sticky`",
    doc: "Affinity by a signed cookie. A cookie whose endpoint is gone or ejected is renewed; a forged one is ignored.",
    keys: &[
        key("cookie", Kind::Text, Required, "The cookie's name."),
        key("secure", Kind::Bool, Value("false"), "`Secure`: only sent over https."),
        key("http_only", Kind::Bool, Value("true"), "`HttpOnly`: hidden from scripts."),
        key("same_site", Kind::Word(&["strict", "lax", "none"]), Unset("not written"), "`SameSite`."),
        key("path", Kind::Text, Value("\"/\""), "`Path`."),
        key("domain", Kind::Text, Unset("not written"), "`Domain`."),
        key(
            "max_age",
            Kind::Any(&[Kind::Word(&["session"]), Kind::Duration { zero: false }]),
            Value("\"session\""),
            "`Max-Age`; \"session\" ends with the browser.",
        ),
        key(
            "secret",
            Kind::Any(&[Kind::Text, Kind::List(&Kind::Text)]),
            Unset("made at start, with a warning: cookies then live as long as the process"),
            "What cookies are signed with; in a list the first signs and every one verifies.",
        ),
    ],
};

pub(crate) const RATE_LIMIT: Section = Section {
    name: "rate_limit",
    title: "`rate_limit`",
    doc: "A rate limit; at once, 1 + burst requests pass.",
    keys: &[
        key(
            "key",
            Kind::Text,
            Value("\"client_ip\""),
            "What is counted: \"client_ip\" (IPv6 by /64), or a text with `{variables}`.",
        ),
        key("rate", Kind::Rate, Required, "Requests a period, \"10/s\" or \"60/m\"."),
        key("burst", Kind::Integer(0, 1_000_000_000), Value("0"), "Requests beyond the rate that pass at once."),
        key("status", Kind::Integer(400, 599), Value("429"), "The status of a refusal."),
        key("name", Kind::Text, Unset("the route's"), "Routes whose limits have the same name share one count."),
        key("memory", Kind::Size { least: 1024 }, Value("\"10MiB\""), "Memory for what is counted."),
        later("delay", "Delaying in place of refusing."),
        later("dry_run", "Counting without refusing."),
        later("redis", "Counts shared between instances."),
    ],
};

pub(crate) const HEADERS: Section = Section {
    name: "headers",
    title: "`headers`",
    doc: "Edits of headers.",
    keys: &[
        key("request", Kind::Table(&HEADER_EDITS), Value("{}"), "On the way to the endpoint."),
        key(
            "response",
            Kind::Table(&HEADER_EDITS),
            Value("{}"),
            "On the way to the client, on lbproxy's own answers too.",
        ),
    ],
};

pub(crate) const HEADER_EDITS: Section = Section {
    name: "header_edits",
    title: "header edits",
    doc: "Edits of headers, made in the order remove, set, add. `{variables}` in values are filled in.",
    keys: &[
        key("remove", Kind::List(&Kind::Text), Value("[]"), "Names to take out."),
        key("set", Kind::Map(&Kind::Text), Value("{}"), "Names with the one value they shall have."),
        key(
            "add",
            Kind::Map(&Kind::Any(&[Kind::Text, Kind::List(&Kind::Text)])),
            Value("{}"),
            "Names with a further value, or a list of values.",
        ),
    ],
};

const FORWARDED_WORDS: &[&str] = &["x-forwarded", "rfc7239", "both", "off"];

pub(crate) const FORWARDED: Section = Section {
    name: "forwarded",
    title: "`forwarded`",
    doc: "Forwarding headers. They add to what a trusted proxy sent and replace what anybody else sent.",
    keys: &[
        key(
            "headers",
            Kind::Word(FORWARDED_WORDS),
            Value("\"x-forwarded\""),
            "\"x-forwarded\" (`X-Forwarded-For`, `-Proto`, `-Host`, `-Port`, and `X-Real-IP`), \"rfc7239\" (`Forwarded`), \"both\" or \"off\".",
        ),
        key(
            "host",
            Kind::Word(&["preserve", "endpoint"]),
            Value("\"preserve\""),
            "The `Host` that the endpoint sees: the client's, or the endpoint's own address, which also stands in where the client named none.",
        ),
    ],
};
