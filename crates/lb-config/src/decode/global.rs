//! The top level, the admin listener, the logs and the limits.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use crate::keys::{ACCESS, ADMIN, LIMITS, LOG};
use crate::language::diagnostic::Report;
use crate::language::suggest::nearest;
use crate::language::tree::Node;
use crate::language::values::address::ListenAddress;
use crate::language::values::{Wrong, address, http};
use crate::valid::{AccessFormat, AccessLog, AccessTarget, Admin, Level, Limits, LocalZone, Log, LogFormat};

use super::placement::local_zone;
use crate::table::convert::{self, list, or_word};
use crate::table::fields::Fields;

/// What is said once for a whole configuration.
pub(crate) struct Global {
    pub(crate) workers: Option<NonZeroUsize>,
    pub(crate) grace: Duration,
    pub(crate) zone: Option<LocalZone>,
    pub(crate) admin: Option<Admin>,
    pub(crate) log: Log,
    pub(crate) limits: Limits,
}

pub(crate) fn global(report: &mut Report, root: &Fields<'_>) -> Option<Global> {
    let workers = root.integer_or::<usize>(report, "workers", "auto");
    let grace = root.duration(report, "grace");
    let zone = root.get(report, "zone", local_zone);
    let admin = root.get(report, "admin", admin);
    let log = root.get(report, "log", log);
    let limits = root.get(report, "limits", limits);
    Some(Global {
        workers: workers?.and_then(NonZeroUsize::new),
        grace: grace?,
        zone: zone?,
        admin: admin?,
        log: log?,
        limits: limits?,
    })
}

fn admin(report: &mut Report, node: &Node) -> Option<Option<Admin>> {
    let fields = Fields::open(report, node, &ADMIN)?;
    let listen = |report: &mut Report, node: &Node| convert::read(report, node, address::LISTEN, address::listen);
    let address = fields.get(report, "address", or_word("off", listen));
    let allow = fields.get(report, "allow", list(convert::network));
    let hosts =
        fields.get(report, "hosts", list(|report, node| convert::read(report, node, "a host", http::host_pattern)));
    let written = fields.entry("address");
    fields.done();
    let (address, allow, hosts) = (address?, allow?, hosts?);
    let Some(address) = address else { return Some(None) };
    let open = match &address {
        ListenAddress::Tcp(address) => !is_loopback(address.ip()),
        ListenAddress::Unix(_) => false,
    };
    if open && allow.is_empty() {
        let span = written.map_or(node.span, |entry| entry.node.span);
        report
            .error(span, "the admin listener would be open to everybody")
            .expected("a loopback address, a Unix socket, or `allow` with the networks that may come")
            .help("write address = \"127.0.0.1:9900\", or add allow = [\"10.0.0.0/8\"]");
        return None;
    }
    Some(Some(Admin { address, allow, hosts }))
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn log(report: &mut Report, node: &Node) -> Option<Log> {
    let fields = Fields::open(report, node, &LOG)?;
    let levels = [
        ("error", Level::Error),
        ("warn", Level::Warn),
        ("info", Level::Info),
        ("debug", Level::Debug),
        ("trace", Level::Trace),
    ];
    let level = fields.word(report, "level", &levels);
    let format = fields.word(report, "format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
    let access = fields.get(report, "access", |report, node| match node.text() {
        Some("off") => Some(None),
        Some(_) => {
            let error = Wrong::new("is not known here", "\"off\" or a table with `format` and `to`");
            convert::wrong(report, node, error);
            None
        }
        None => access(report, node),
    });
    fields.done();
    Some(Log { level: level?, format: format?, access: access? })
}

fn access(report: &mut Report, node: &Node) -> Option<Option<AccessLog>> {
    let fields = Fields::open(report, node, &ACCESS)?;
    let formats =
        [("standard", AccessFormat::Standard), ("combined", AccessFormat::Combined), ("json", AccessFormat::Json)];
    let format = fields.word(report, "format", &formats);
    let to = fields.get(report, "to", access_target);
    fields.done();
    let (format, to) = (format?, to?);
    Some(to.map(|to| AccessLog { format, to }))
}

fn access_target(report: &mut Report, node: &Node) -> Option<Option<AccessTarget>> {
    const EXPECTED: &str = "\"stdout\", \"off\" or the path of a file, with a `/` in it";
    convert::read(report, node, EXPECTED, |text| match text {
        "stdout" => Ok(Some(AccessTarget::Stdout)),
        "off" => Ok(None),
        text if text.starts_with("syslog:") => Err(Wrong::new("is not built yet", EXPECTED)),
        text if text.contains('\0') => Err(Wrong::new("has a zero byte in it", EXPECTED)),
        // A slip in "stdout" must not become a file of that name.
        text if text.contains('/') => Ok(Some(AccessTarget::File(text.into()))),
        text => {
            let error = Wrong::new("is not known here", EXPECTED);
            Err(match nearest(text, ["stdout", "off"]) {
                Some(near) => error.help(format!("did you mean \"{near}\"?")),
                None => error.help(format!("write \"./{text}\" for a file")),
            })
        }
    })
}

fn limits(report: &mut Report, node: &Node) -> Option<Limits> {
    let fields = Fields::open(report, node, &LIMITS)?;
    let request_head = fields.size(report, "request_head");
    let headers = fields.integer(report, "headers");
    let uri = fields.size(report, "uri");
    let request_body = fields.size_or_none(report, "request_body");
    let response_head = fields.size(report, "response_head");
    let response_headers = fields.integer(report, "response_headers");
    let connections = fields.integer_or::<usize>(report, "connections", "auto");
    let endpoint_connections = fields.integer_or::<usize>(report, "endpoint_connections", "auto");
    let per_client = fields.integer_or::<usize>(report, "connections_per_client", "none");
    let head_timeout = fields.duration(report, "head_timeout");
    let idle_timeout = fields.duration(report, "idle_timeout");
    let uri_span = fields.entry("uri").map_or(fields.span, |entry| entry.node.span);
    fields.done();
    let (request_head, uri) = (usize::try_from(request_head?).ok()?, usize::try_from(uri?).ok()?);
    if uri > request_head {
        report.warning(uri_span, "`uri` is larger than `request_head`, which ends every request before it");
    }
    Some(Limits {
        request_head_bytes: request_head,
        headers: headers?,
        uri_bytes: uri,
        request_body_bytes: request_body?,
        response_head_bytes: usize::try_from(response_head?).ok()?,
        response_headers: response_headers?,
        connections: connections?.and_then(NonZeroUsize::new),
        endpoint_connections: endpoint_connections?.and_then(NonZeroUsize::new),
        connections_per_client: per_client?.and_then(NonZeroUsize::new),
        head_timeout: head_timeout?,
        idle_timeout: idle_timeout?,
    })
}
