//! `[[listener]]`: a bound address.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::language::diagnostic::Report;
use crate::language::source::Span;
use crate::language::tree::{self, Node};
use crate::language::values::ValueError;
use crate::language::values::address::{ListenAddress, Network};
use crate::model::errors::{ErrorPages, ErrorPagesForm};
use crate::model::headers::{HeaderEdits, hide_values};
use crate::model::listener_tls::ListenerTls;
use crate::model::networks::{Anyone, NetworkList};
use crate::model::rate_limit::{self, RateLimit, RateLimits};
use crate::table::block::{Block, Keys, Table, block};
use crate::table::convert;
use crate::table::fields::Fields;
use crate::table::form::{Auto, Form, Int, Later, Listen, Name, Off, Or, form, word};
use crate::table::item::{Item, Items, Writer, bare, fields, in_order, text, texts};
use crate::table::section::Default::{Required, Unset, Value};
use crate::table::section::{Kind, Section};

block! {
    /// A bound address that accepts connections.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Listener = Section::new("listener", "[[listener]]", "A bound address that accepts connections.");
    name: Arc<str> => Later<Name>, Unset("the address"), "Its name in logs, in metrics and in a route's `listeners`.";
    address: ListenAddress => Listen, Required,
        "Where it listens: \"0.0.0.0:80\", \"[::]:80\" or \"unix:/run/web.sock\".";
    redirect_https as "redirect": bool => Redirects, Value("\"off\""),
        "\"https\" redirects requests that no route naming this listener matches: a 301 to https, keeping host, path and query.";
    trusted_proxies: Vec<Network> => NetworkList, Value("[]"),
        "Networks whose `X-Forwarded-*` and `Forwarded` headers are trusted.";
    allow: Option<Vec<Network>> => Or<Anyone, NetworkList>, Value("\"any\""),
        "Networks that may connect; connections of others are closed before TLS. \"any\" is every network.";
    deny: Vec<Network> => NetworkList, Value("[]"), "Networks that may not connect, also those of `allow`.";
    backlog: Option<NonZeroU32> => Or<Auto, Int<NonZeroU32, 1, 65_535>>, Value("\"auto\""),
        "Length of the kernel's accept queue; \"auto\" is the longest it allows.";
    mode: Option<u32> => Or<Umask, Mode>, Value("\"umask\""),
        "Permissions of a Unix socket, octal: \"0660\"; \"umask\" is what the process's umask leaves.";
    proxy_protocol: Option<Vec<Network>> => ProxyNetworks, Value("false"),
        "Networks that must send a PROXY protocol header; `false` disables it.";
    tls: Option<ListenerTls> => Or<Off, Table<ListenerTls>>, Value("\"off\""),
        "TLS: certificates, versions, client certificates.";
    rate_limits as "rate_limit": Vec<RateLimit> => RateLimits, Value("\"off\""),
        "Rate limit of all its requests, also of those that no route takes, or a list; charged together with the route's.";
    response_headers as "headers": HeaderEdits => ListenerHeaders, Value("{}"),
        "Header edits of responses that no route produced, such as a 404 or the redirect.";
    errors: ErrorPages => ErrorPagesForm, Value("{}"),
        "Error pages by status, for every route that has none of its own.";
}

impl Block for Listener {
    fn check(mut self, report: &mut Report, fields: &Fields<'_>) -> Option<Self> {
        if let (Some(_), Some(entry), ListenAddress::Tcp(_)) = (self.mode, fields.entry("mode"), &self.address) {
            report.error(entry.node.span, "`mode` is for Unix sockets: a TCP port has no permissions");
            return None;
        }
        if self.name.is_empty() {
            self.name = self.address.to_string().into();
        }
        rate_limit::name_after(&mut self.rate_limits, &format!("listener:{}", self.name));
        Some(self)
    }
}

/// A listener and where it was written.
pub(crate) struct ListenerWritten {
    pub(crate) listener: Listener,
    pub(crate) name_span: Span,
    pub(crate) address_span: Span,
    /// Where its `tls` was written, if it was.
    pub(crate) tls_span: Option<Span>,
    /// Where its rate limits were written.
    pub(crate) rate_limits: Vec<Span>,
}

/// Every listener that could be read; `false` if one could not.
pub(crate) fn listeners(report: &mut Report, nodes: &[Node]) -> (Vec<ListenerWritten>, bool) {
    let read: Vec<_> = nodes.iter().map(|node| listener(report, node)).collect();
    let whole = read.iter().all(Option::is_some);
    (read.into_iter().flatten().collect(), whole)
}

fn listener(report: &mut Report, node: &Node) -> Option<ListenerWritten> {
    let listener = Listener::read(report, node)?;
    let span = |key| node.table().and_then(|table| table.find(key)).map(|entry| entry.node.span);
    let address_span = span("address").unwrap_or(node.span);
    let name_span = span("name").unwrap_or(address_span);
    let limits = node.table().and_then(|table| table.find("rate_limit"));
    let rate_limits = limits.map(|entry| rate_limit::spans(&entry.node)).unwrap_or_default();
    Some(ListenerWritten { listener, name_span, address_span, tls_span: span("tls"), rate_limits })
}

impl Listener {
    /// Every key with its value, as they are printed.
    pub(crate) fn shown(&self, writer: &Writer<'_>) -> Items {
        const FIRST: [&str; 5] = ["name", "address", "redirect", "trusted_proxies", "proxy_protocol"];
        in_order(self.items(writer), &FIRST)
    }
}

form! {
    /// Whether every request is redirected to https.
    Redirects: bool = Kind::Any(&[Kind::Word(&["https", "off"])]);
    read: |report, node| convert::word(report, node, &[("https", true), ("off", false)]),
    show: |redirects, _| text(if *redirects { "https" } else { "off" }),
}

word! {
    /// `"umask"`.
    Umask = "umask";
}

form! {
    /// Permissions.
    Mode: u32 = Kind::Text;
    read: mode,
    show: |mode, _| text(&format!("{mode:04o}")),
}

form! {
    /// `false`, or the networks that send a header.
    ProxyNetworks: Option<Vec<Network>> = Kind::Any(&[Kind::Bool, NetworkList::KIND]);
    read: proxy_protocol,
    show: |networks, _| match networks {
        None => bare(false),
        Some(networks) => texts(networks.iter().map(ToString::to_string)),
    },
}

block! {
    /// Edits for the answers that no route made.
    struct Headers =
        Section::new("listener_headers", "a listener's `headers`", "Edits of headers of the answers that no route made.");
    response: HeaderEdits => Table<HeaderEdits>, Value("{}"), "On the way to the client.";
}

impl Block for Headers {
    fn check_keys(report: &mut Report, fields: &Fields<'_>) -> Option<()> {
        hide_values(report, fields.entry("response").into_iter().map(|entry| &entry.node));
        Some(())
    }
}

form! {
    /// Edits of response headers.
    ListenerHeaders: HeaderEdits = Kind::Table(Headers::SECTION);
    read: |report, node| Headers::read(report, node).map(|headers| headers.response),
    show: |edits, writer| Item::Table(fields! { "response": Item::Table(edits.items(writer)) }),
}

/// `false`, or the networks that send a header. `true` would trust every client.
fn proxy_protocol(report: &mut Report, node: &Node) -> Option<Option<Vec<Network>>> {
    const EXPECTED: &str = "false, or the networks that send a header, such as [\"10.0.0.0/8\"]";
    if let tree::Value::List(_) | tree::Value::Table(_) = node.value {
        let networks = NetworkList::read(report, node)?;
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
        let problem = report.error(node.span, "any client could choose its address").expected(EXPECTED);
        problem.help("name the proxies in front; [\"0.0.0.0/0\", \"::/0\"] is every address");
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
            let wrong = ValueError::new("is no mode", EXPECTED);
            match text {
                "http" => wrong.help("`mode` is for Unix sockets; a listener speaks HTTP without a key"),
                "tcp" | "udp" => wrong.help("`mode` is for Unix sockets; forwarding TCP or UDP is not built yet"),
                _ => wrong,
            }
        })
    })
}
