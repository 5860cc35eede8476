//! Keys of the top level, the logs, the limits and the listeners.

use super::{ZONE, cluster, route, site, tls};
use crate::table::section::Default::{Required, Unset, Value};
use crate::table::section::{Key, Kind, Section, key};

pub(crate) const ROOT: Section = Section {
    name: "root",
    title: "the configuration",
    doc: "A configuration of lbproxy.",
    keys: &[
        key(
            "workers",
            Kind::Any(&[Kind::Word(&["auto"]), Kind::Integer(1, 1024)]),
            Value("\"auto\""),
            "Worker threads; \"auto\" is one per core.",
        ),
        key("grace", Kind::Duration { zero: true }, Value("\"30s\""), "How long a shutdown waits for what still runs."),
        INCLUDE,
        key(
            "zone",
            Kind::Any(&[Kind::Text, Kind::Table(&ZONE)]),
            Value("\"none\""),
            "Where this proxy is: a name, or a table. Its requests stay with endpoints of that `zone` as far as is fair.",
        ),
        key("admin", Kind::Table(&ADMIN), Value("{}"), "The listener for health, metrics and status."),
        key("log", Kind::Table(&LOG), Value("{}"), "The application log and the access log."),
        key("limits", Kind::Table(&LIMITS), Value("{}"), "Limits that hold for every listener."),
        key("defaults", Kind::Table(&DEFAULTS), Value("{}"), "What routes and clusters that leave a key out get."),
        LISTENERS,
        ROUTES,
        SITES,
        CLUSTERS,
    ],
};

/// What an included file may have.
pub(crate) const INCLUDED: Section = Section {
    name: "included",
    title: "an included file",
    doc: "A file named by `include`.",
    keys: &[INCLUDE, LISTENERS, ROUTES, SITES, CLUSTERS],
};

const INCLUDE: Key = key(
    "include",
    Kind::List(&Kind::Text),
    Value("[]"),
    "Further files, as globs relative to this file; they add listeners, routes, sites and clusters.",
);
const LISTENERS: Key =
    key("listener", Kind::List(&Kind::Table(&LISTENER)), Value("[]"), "Bound addresses that accept connections.");
const ROUTES: Key =
    key("route", Kind::List(&Kind::Table(&route::ROUTE)), Value("[]"), "Rules that map a request to an action.");
const SITES: Key =
    key("site", Kind::List(&Kind::Table(&site::SITE)), Value("[]"), "Hosts with their certificates and routes.");
const CLUSTERS: Key =
    key("cluster", Kind::Map(&Kind::Table(&cluster::CLUSTER)), Value("{}"), "Named sets of interchangeable endpoints.");

pub(crate) const DEFAULTS: Section = Section {
    name: "defaults",
    title: "[defaults]",
    doc: "Fills in, key by key, what a route or a cluster leaves out.",
    keys: &[
        key("route", Kind::Table(&route::ROUTE), Value("{}"), "For every route; any of its keys but `name`."),
        key("cluster", Kind::Table(&cluster::CLUSTER), Value("{}"), "For every cluster; any of its keys."),
    ],
};

pub(crate) const ADMIN: Section = Section {
    name: "admin",
    title: "[admin]",
    doc: "The admin listener. It serves `/healthz`, `/metrics` and `/status`.",
    keys: &[
        key(
            "address",
            Kind::Any(&[Kind::Word(&["off"]), Kind::Text]),
            Value("\"off\""),
            "Where it listens: a loopback address or a Unix socket, or any address if `allow` says who may come.",
        ),
        key(
            "allow",
            Kind::List(&Kind::Text),
            Value("[]"),
            "Client networks that may use it; none means loopback only.",
        ),
        key(
            "hosts",
            Kind::List(&Kind::Text),
            Value("[]"),
            "Names that requests may use for it, beside IP addresses and `localhost`; with others they get 403.",
        ),
    ],
};

pub(crate) const LOG: Section = Section {
    name: "log",
    title: "[log]",
    doc: "The application log, which goes to stderr, and the access log.",
    keys: &[
        key(
            "level",
            Kind::Word(&["error", "warn", "info", "debug", "trace"]),
            Value("\"info\""),
            "The least severe level of the application log that is written.",
        ),
        key("format", Kind::Word(&["text", "json"]), Value("\"text\""), "How the application log is written."),
        key(
            "access",
            Kind::Any(&[Kind::Word(&["off"]), Kind::Table(&ACCESS)]),
            Value("{}"),
            "The access log, one line a request; \"off\" is short for { to = \"off\" }.",
        ),
    ],
};

pub(crate) const ACCESS: Section = Section {
    name: "access",
    title: "`log.access`",
    doc: "The access log.",
    keys: &[
        key(
            "format",
            Kind::Word(&["standard", "combined", "json"]),
            Value("\"standard\""),
            "A readable line, the combined format of nginx and Apache, or one JSON object a line.",
        ),
        key(
            "to",
            Kind::Any(&[Kind::Word(&["stdout", "off"]), Kind::Text]),
            Value("\"stdout\""),
            "\"stdout\", \"off\", or the path of a file (with a `/` in it), which is appended to.",
        ),
    ],
};

pub(crate) const LIMITS: Section = Section {
    name: "limits",
    title: "[limits]",
    doc: "Limits that hold for every listener; what goes beyond is refused or closed.",
    keys: &[
        key(
            "request_head",
            Kind::Size { least: 256 },
            Value("\"32KiB\""),
            "A request's head, its first line included; beyond it, 431.",
        ),
        key("headers", Kind::Integer(1, 10_000), Value("100"), "Header lines of a request; beyond it, 431."),
        key("uri", Kind::Size { least: 64 }, Value("\"8KiB\""), "A request's target; beyond it, 414."),
        key(
            "request_body",
            Kind::Any(&[Kind::Word(&["none"]), Kind::Size { least: 1 }]),
            Value("\"100MiB\""),
            "A request's body; beyond it, 413. \"none\" is no limit.",
        ),
        key(
            "response_head",
            Kind::Size { least: 256 },
            Value("\"128KiB\""),
            "A response's head, its first line included; beyond it, 502. Over HTTP/2 never more than 1MiB.",
        ),
        key("response_headers", Kind::Integer(1, 10_000), Value("500"), "Header lines of a response; beyond it, 502."),
        key(
            "connections",
            Kind::Any(&[Kind::Word(&["auto"]), Kind::Integer(1, 10_000_000)]),
            Value("\"auto\""),
            "Client connections in all; further ones are closed at once. \"auto\" is 20000, or what the open files allow.",
        ),
        key(
            "endpoint_connections",
            Kind::Any(&[Kind::Word(&["auto"]), Kind::Integer(1, 10_000_000)]),
            Value("\"auto\""),
            "Connections to endpoints in all, idle ones included; beyond it, 503. \"auto\" is as many as clients may have.",
        ),
        key(
            "connections_per_client",
            Kind::Any(&[Kind::Word(&["none"]), Kind::Integer(1, 10_000_000)]),
            Value("\"none\""),
            "Client connections of one address (IPv6: of one /64 network); further ones are closed at once.",
        ),
        key(
            "head_timeout",
            Kind::Duration { zero: false },
            Value("\"10s\""),
            "Time for a request's head to arrive whole; beyond it, 408.",
        ),
        key(
            "idle_timeout",
            Kind::Duration { zero: false },
            Value("\"65s\""),
            "How long a client connection may wait for its next request.",
        ),
    ],
};

pub(crate) const LISTENER: Section = Section {
    name: "listener",
    title: "[[listener]]",
    doc: "A bound address that accepts connections.",
    keys: &[
        key("name", Kind::Text, Unset("the address"), "Its name in logs, in metrics and in a route's `listeners`."),
        key(
            "address",
            Kind::Text,
            Required,
            "Where it listens: \"0.0.0.0:80\", \"[::]:80\" or \"unix:/run/web.sock\".",
        ),
        key(
            "redirect",
            Kind::Any(&[Kind::Word(&["https", "off"])]),
            Value("\"off\""),
            "\"https\" answers what no route takes that names this listener: a 301 to https, keeping host, path and query.",
        ),
        key(
            "trusted_proxies",
            Kind::List(&Kind::Text),
            Value("[]"),
            "Networks whose `X-Forwarded-*` and `Forwarded` headers are believed.",
        ),
        key(
            "backlog",
            Kind::Any(&[Kind::Word(&["auto"]), Kind::Integer(1, 65_535)]),
            Value("\"auto\""),
            "Length of the kernel's accept queue; \"auto\" is the longest it allows.",
        ),
        key(
            "mode",
            Kind::Any(&[Kind::Word(&["umask"]), Kind::Text]),
            Value("\"umask\""),
            "Permissions of a Unix socket, octal: \"0660\"; \"umask\" is what the process's umask leaves.",
        ),
        key(
            "proxy_protocol",
            Kind::Any(&[Kind::Bool, Kind::List(&Kind::Text)]),
            Value("false"),
            "Networks whose connections begin with a PROXY protocol header.",
        ),
        key(
            "tls",
            Kind::Any(&[Kind::Word(&["off"]), Kind::Table(&tls::LISTENER_TLS)]),
            Value("\"off\""),
            "TLS: certificates, versions, client certificates.",
        ),
        key(
            "headers",
            Kind::Table(&LISTENER_HEADERS),
            Value("{}"),
            "Edits of headers of the answers that no route made, such as a 404 or the redirect.",
        ),
    ],
};

pub(crate) const LISTENER_HEADERS: Section = Section {
    name: "listener_headers",
    title: "a listener's `headers`",
    doc: "Edits of headers of the answers that no route made.",
    keys: &[key("response", Kind::Table(&route::HEADER_EDITS), Value("{}"), "On the way to the client.")],
};
