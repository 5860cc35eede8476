//! Listeners.

use std::num::NonZeroU32;
use std::path::PathBuf;

use crate::keys::{LISTENER, LISTENER_HEADERS};
use crate::language::diagnostic::Report;
use crate::language::source::Span;
use crate::language::tree::{Node, Value};
use crate::language::values::Wrong;
use crate::language::values::address;
use crate::language::values::address::{ListenAddress, Network};
use crate::valid::{HeaderEdits, Listener};

use super::options::header_edits;
use super::tls;
use crate::table::convert::{self, list, or_word};
use crate::table::fields::Fields;

/// A listener and where it was written.
pub(crate) struct ListenerWritten {
    pub(crate) listener: Listener,
    pub(crate) name_span: Span,
    pub(crate) address_span: Span,
    /// Where its `tls` was written, if it was.
    pub(crate) tls_span: Option<Span>,
}

/// Every listener that could be read; `false` if one could not.
pub(crate) fn listeners(report: &mut Report, nodes: &[Node], directories: &[PathBuf]) -> (Vec<ListenerWritten>, bool) {
    let read: Vec<_> = nodes.iter().map(|node| listener(report, node, directories)).collect();
    let whole = read.iter().all(Option::is_some);
    (read.into_iter().flatten().collect(), whole)
}

fn listener(report: &mut Report, node: &Node, directories: &[PathBuf]) -> Option<ListenerWritten> {
    let fields = Fields::open(report, node, &LISTENER)?;
    let name = fields.maybe(report, "name", convert::name);
    let address =
        fields.get(report, "address", |report, node| convert::read(report, node, address::LISTEN, address::listen));
    let redirect = fields.word(report, "redirect", &[("https", true), ("off", false)]);
    let trusted_proxies = fields.get(report, "trusted_proxies", list(convert::network));
    let proxy_protocol = fields.get(report, "proxy_protocol", proxy_protocol);
    let backlog = fields.integer_or::<u32>(report, "backlog", "auto");
    let mode = fields.get(report, "mode", or_word("umask", mode));
    let tls = fields.get(report, "tls", or_word("off", |report, node| tls::listener_tls(report, node, directories)));
    let response_headers = fields.get(report, "headers", headers);
    let mode_span = fields.entry("mode").map(|entry| entry.node.span);
    let address_span = fields.entry("address").map_or(fields.span, |entry| entry.node.span);
    let name_span = fields.entry("name").map_or(address_span, |entry| entry.node.span);
    let tls_span = fields.entry("tls").map(|entry| entry.node.span);
    fields.done();
    let address = address?;
    let mode = mode?;
    if let (Some(_), Some(span), ListenAddress::Tcp(_)) = (mode, mode_span, &address) {
        report.error(span, "`mode` is for Unix sockets: a TCP port has no permissions");
        return None;
    }
    let listener = Listener {
        name: name?.unwrap_or_else(|| address.to_string()).into(),
        address,
        redirect_https: redirect?,
        trusted_proxies: trusted_proxies?,
        proxy_protocol: proxy_protocol?,
        backlog: backlog?.and_then(NonZeroU32::new),
        mode,
        tls: tls?,
        response_headers: response_headers?,
    };
    Some(ListenerWritten { listener, name_span, address_span, tls_span })
}

fn headers(report: &mut Report, node: &Node) -> Option<HeaderEdits> {
    let fields = Fields::open(report, node, &LISTENER_HEADERS)?;
    let response = fields.get(report, "response", header_edits);
    fields.done();
    response
}

/// `false`, or the networks that send a header. `true` would believe everybody.
fn proxy_protocol(report: &mut Report, node: &Node) -> Option<Option<Vec<Network>>> {
    const EXPECTED: &str = "false, or the networks that send a header, such as [\"10.0.0.0/8\"]";
    if let Value::List(_) = node.value {
        let networks = list(convert::network)(report, node)?;
        if networks.is_empty() {
            report.error(node.span, "no network would send a header").expected(EXPECTED);
            return None;
        }
        return Some(Some(networks));
    }
    if node.text().is_some_and(|text| !(node.is_from_env() && ["true", "false"].contains(&text))) {
        convert::mismatch(report, node, EXPECTED);
        return None;
    }
    if convert::boolean(report, node)? {
        let problem = report.error(node.span, "everybody could choose an address").expected(EXPECTED);
        problem.help("name the proxies in front; [\"0.0.0.0/0\", \"::/0\"] is everybody");
        return None;
    }
    Some(None)
}

/// Permissions in octal: of the file, so three digits, with or without a zero before them.
fn mode(report: &mut Report, node: &Node) -> Option<u32> {
    const EXPECTED: &str = "permissions such as \"0660\"";
    convert::read(report, node, EXPECTED, |text| {
        let digits = text.strip_prefix('0').filter(|rest| rest.len() == 3).unwrap_or(text);
        let parsed = u32::from_str_radix(digits, 8).ok().filter(|_| digits.len() == 3 && !digits.starts_with('+'));
        parsed.ok_or_else(|| {
            let wrong = Wrong::new("is no mode", EXPECTED);
            match text {
                "http" => wrong.help("`mode` is for Unix sockets; a listener speaks HTTP without a key"),
                "tcp" | "udp" => wrong.help("`mode` is for Unix sockets; forwarding TCP or UDP is not built yet"),
                _ => wrong,
            }
        })
    })
}
