//! The options of a route.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use crate::keys::{FORWARDED, HEADER_EDITS, HEADERS, RATE_LIMIT, RETRY, STICKY, TIMEOUT};
use crate::language::diagnostic::Report;
use crate::language::source::Span;
use crate::language::template::{Part, Template, Variable};
use crate::language::tree::{Entry, Node, Value};
use crate::language::values::{Wrong, http, quantity};
use crate::valid::{
    Forwarded, HeaderEdits, LimitKey, RateLimit, Retry, RouteOptions, SameSite, Sticky, Timeouts, Upgrade,
    is_never_upgraded_to,
};

use crate::model::policy::policy;
use crate::table::convert::{self, Moment, list, or_word};
use crate::table::fields::Fields;

/// What a redacted secret is printed as.
pub(crate) const REDACTED: &str = "***";

/// Shortest secret that is not worth a warning, bytes.
const SECRET_BYTES: usize = 16;

/// Everything but the body limit, whose default is not the route's own.
pub(crate) fn options(report: &mut Report, fields: &Fields<'_>) -> Option<RouteOptions> {
    let policy = fields.maybe(report, "policy", policy);
    let timeout = fields.get(report, "timeout", timeout);
    let retry = fields.get(report, "retry", or_word("off", retry));
    let sticky = fields.get(report, "sticky", or_word("off", sticky));
    let rate_limit = fields.get(report, "rate_limit", or_word("off", rate_limit));
    let headers = fields.get(report, "headers", headers);
    let forwarded = fields.get(report, "forwarded", forwarded);
    let upgrade = fields.get(report, "upgrade", or_word("off", or_word("any", list(protocol))));
    let access_log = fields.get(report, "access_log", |report, node| match node.value {
        Value::Bool(on) => Some(on),
        _ => convert::word(report, node, &[("on", true), ("off", false), ("true", true), ("false", false)]),
    });
    let (request_headers, response_headers) = headers?;
    Some(RouteOptions {
        policy: policy?,
        timeout: timeout?,
        retry: retry?.flatten(),
        sticky: sticky?,
        rate_limit: rate_limit?,
        request_headers,
        response_headers,
        forwarded: forwarded?,
        upgrade: match upgrade? {
            None => Upgrade::Off,
            Some(None) => Upgrade::Any,
            Some(Some(protocols)) => Upgrade::Only(protocols),
        },
        body_limit: None,
        access_log: access_log?,
    })
}

/// A protocol as `Upgrade` has it.
fn protocol(report: &mut Report, node: &Node) -> Option<Arc<str>> {
    const EXPECTED: &str = "a protocol such as \"websocket\" or \"spdy/3.1\"";
    convert::read(report, node, EXPECTED, |text| {
        if !text.splitn(2, '/').all(http::is_token) {
            return Err(Wrong::new("is no protocol", EXPECTED));
        }
        if is_never_upgraded_to(text.as_bytes()) {
            let what = "is never switched to: what it carries would pass every rule of this proxy";
            return Err(Wrong::new(what, EXPECTED).help("HTTP/2 and TLS are spoken from the start of a connection"));
        }
        Ok(text.into())
    })
}

fn timeout(report: &mut Report, node: &Node) -> Option<Timeouts> {
    let fields = Fields::open(report, node, &TIMEOUT)?;
    let connect = fields.duration(report, "connect");
    let response = fields.duration(report, "response");
    let idle = fields.duration(report, "idle");
    let total = fields.duration_or(report, "total", "none");
    let tunnel = fields.duration(report, "tunnel");
    fields.done();
    Some(Timeouts { connect: connect?, response: response?, idle: idle?, total: total?, tunnel: tunnel? })
}

/// `Some(None)` is one attempt, or nothing to be tried again: no retry.
fn retry(report: &mut Report, node: &Node) -> Option<Option<Retry>> {
    let fields = Fields::open(report, node, &RETRY)?;
    let on = fields.get(report, "on", list(convert::condition(400)));
    let attempts = fields.integer::<u32>(report, "attempts");
    let within = fields.duration_or(report, "for", "none");
    let interval = fields.duration(report, "interval");
    let budget_ratio = fields.get(report, "budget", convert::share);
    let unsafe_methods = fields.get(report, "unsafe_methods", convert::boolean);
    let body_limit = fields.size(report, "body_limit");
    let on_span = fields.entry("on").map_or(fields.span, |entry| entry.node.span);
    fields.done();
    let on = on?;
    let attempts = NonZeroU32::new(attempts?)?;
    if on.is_empty() && attempts.get() > 1 {
        report.warning(on_span, "nothing is tried again").help("leave `on` out, or write retry = \"off\"");
    }
    let is_off = on.is_empty() || attempts.get() == 1;
    let retry = Retry {
        on,
        attempts,
        within: within?,
        interval: interval?,
        budget_ratio: budget_ratio?,
        unsafe_methods: unsafe_methods?,
        body_limit: body_limit?,
    };
    Some((!is_off).then_some(retry))
}

fn sticky(report: &mut Report, node: &Node) -> Option<Sticky> {
    let fields = Fields::open(report, node, &STICKY)?;
    let cookie =
        fields.get(report, "cookie", |report, node| convert::read(report, node, "a cookie's name", http::cookie_name));
    let secure = fields.get(report, "secure", convert::boolean);
    let http_only = fields.get(report, "http_only", convert::boolean);
    let sites = [("strict", SameSite::Strict), ("lax", SameSite::Lax), ("none", SameSite::None)];
    fields.knows_words("same_site", &sites);
    let same_site = fields.maybe(report, "same_site", |report, node| convert::word(report, node, &sites));
    let path = fields.get(report, "path", |report, node| convert::read(report, node, "a path", http::target));
    let domain = fields.maybe(report, "domain", domain);
    let max_age = fields.get(report, "max_age", or_word("session", max_age));
    let secrets = fields.maybe(report, "secret", secrets);
    let (cookie_span, site) = (fields.entry("cookie"), fields.entry("same_site"));
    fields.done();
    let sticky = Sticky {
        cookie: cookie?,
        secure: secure?,
        http_only: http_only?,
        same_site: same_site?,
        path: path?,
        domain: domain?,
        max_age: max_age?,
        secrets: secrets?.unwrap_or_default(),
    };
    if sticky.secrets.is_empty() {
        let span = cookie_span.map_or(node.span, |entry| entry.node.span);
        report
            .warning(span, "`sticky` has no `secret`: one is made at start, and cookies live as long as the process")
            .help("write secret = \"${STICKY_SECRET}\"");
    }
    if sticky.same_site == Some(SameSite::None) && !sticky.secure {
        let span = site.map_or(node.span, |entry| entry.node.span);
        report.warning(span, "browsers drop a cookie with `same_site = \"none\"` that is not `secure`");
    }
    Some(sticky)
}

fn domain(report: &mut Report, node: &Node) -> Option<Arc<str>> {
    const EXPECTED: &str = "a domain such as \"example.com\"";
    convert::read(report, node, EXPECTED, |text| {
        // A leading dot means nothing any more (RFC 6265 §5.2.3).
        let name = text.strip_prefix('.').unwrap_or(text);
        http::host_name(name).map_err(|what| Wrong::new(what, EXPECTED))?;
        Ok(name.to_ascii_lowercase().into())
    })
}

/// `Max-Age` counts whole seconds.
fn max_age(report: &mut Report, node: &Node) -> Option<Duration> {
    let age = convert::duration(report, node, false)?;
    if age.subsec_nanos() != 0 {
        convert::wrong(report, node, Wrong::new("is no whole number of seconds", "a duration such as \"1h\""));
        return None;
    }
    Some(age)
}

/// One secret or a list of them.
fn secrets(report: &mut Report, node: &Node) -> Option<Vec<Arc<str>>> {
    if node.text().is_some() {
        return secret(report, node).map(|secret| vec![secret]);
    }
    let secrets = list(secret)(report, node)?;
    if secrets.is_empty() {
        report.error(node.span, "an empty list signs nothing").help("leave `secret` out, or name one");
        return None;
    }
    Some(secrets)
}

fn secret(report: &mut Report, node: &Node) -> Option<Arc<str>> {
    let Some(text) = node.text() else {
        convert::mismatch(report, node, "a text, best from the environment: \"${STICKY_SECRET}\"");
        return None;
    };
    // The value itself is in no message here, wherever it came from.
    if text.is_empty() {
        report.error(node.span, "the secret is empty").expected("a random text, best of 32 characters or more");
        return None;
    }
    if text == REDACTED {
        report.warning(node.span, "this is what a printed configuration shows in place of a secret");
    } else if text.len() < SECRET_BYTES {
        report
            .warning(node.span, format!("the secret is shorter than {SECRET_BYTES} bytes and may be guessed"))
            .expected("a random text, best of 32 characters or more");
    }
    Some(text.into())
}

fn rate_limit(report: &mut Report, node: &Node) -> Option<RateLimit> {
    let fields = Fields::open(report, node, &RATE_LIMIT)?;
    let key = fields.get(report, "key", limit_key);
    let rate = fields.get(report, "rate", |report, node| {
        if let Value::Integer(number) = node.value {
            let error = Wrong::new("has no period", quantity::RATE);
            convert::wrong(report, node, error.help(format!("write \"{number}/s\"")));
            return None;
        }
        convert::read(report, node, quantity::RATE, quantity::rate)
    });
    let burst = fields.integer::<u64>(report, "burst");
    let status = fields.integer::<u16>(report, "status");
    let name = fields.maybe(report, "name", convert::name);
    let memory_bytes = fields.size(report, "memory");
    let memory_span = fields.entry("memory").map_or(fields.span, |entry| entry.node.span);
    let burst_span = fields.entry("burst").map_or(fields.span, |entry| entry.node.span);
    fields.done();
    let ((requests, period), burst) = (rate?, burst?);
    refill_within_reason(report, burst_span, requests, period, burst)?;
    let memory_bytes = memory_bytes?;
    if memory_bytes > MOST_LIMITER_BYTES {
        let said = format!("`{}` is more memory than a rate limit has use for", quantity::show_size(memory_bytes));
        report.error(memory_span, said).expected("\"16GiB\" at most");
        return None;
    }
    Some(RateLimit {
        name: name?.unwrap_or_default().into(),
        key: key?,
        requests,
        period,
        burst,
        status: status?,
        memory_bytes,
    })
}

/// What a rate limit counts by: `client_ip`, or a text in which something of the request varies.
fn limit_key(report: &mut Report, node: &Node) -> Option<LimitKey> {
    const EXPECTED: &str = "\"client_ip\" or a text with `{variables}` such as \"{header:X-Api-Key}\"";
    if node.text() == Some("client_ip") {
        return Some(LimitKey::ClientIp);
    }
    let template = convert::template(Moment::Routed)(report, node)?;
    if template.variables().next().is_none() {
        let error = Wrong::new("is the same for every request", EXPECTED);
        let braced = format!("{{{}}}", node.text().unwrap_or_default());
        let is_variable = Template::parse(&braced).is_ok_and(|template| template.variables().next().is_some());
        convert::wrong(report, node, if is_variable { error.help(format!("write \"{braced}\"")) } else { error });
        return None;
    }
    // The same thing said in two ways has one meaning.
    Some(match template.parts.as_slice() {
        [Part::Variable(Variable::ClientIp)] => LimitKey::ClientIp,
        _ => LimitKey::Template(template),
    })
}

/// A thousand million keys. A slip in the unit should not wait for the start to be found.
const MOST_LIMITER_BYTES: u64 = 16 << 30;

/// The limiter's clock counts nanoseconds in 64 bits: a burst that refills within a year never overflows it.
fn refill_within_reason(
    report: &mut Report,
    span: Span,
    requests: NonZeroU64,
    period: Duration,
    burst: u64,
) -> Option<()> {
    let refill = period.as_nanos() * (u128::from(burst) + 1) / u128::from(requests.get());
    if refill > quantity::LONGEST.as_nanos() {
        report
            .error(span, "the burst would take more than 365 days to refill")
            .expected("a smaller `burst` or a higher `rate`");
        return None;
    }
    Some(())
}

fn headers(report: &mut Report, node: &Node) -> Option<(HeaderEdits, HeaderEdits)> {
    let fields = Fields::open(report, node, &HEADERS)?;
    let request = fields.get(report, "request", header_edits);
    let response = fields.get(report, "response", header_edits);
    fields.done();
    Some((request?, response?))
}

pub(super) fn header_edits(report: &mut Report, node: &Node) -> Option<HeaderEdits> {
    const TABLE: &str = "a table of header names and values";
    let fields = Fields::open(report, node, &HEADER_EDITS)?;
    let remove = fields.get(report, "remove", list(removed));
    let mut seen = Vec::new();
    let set = fields.get(report, "set", |report, node| {
        convert::map(report, node, TABLE, |report, entry| {
            let name = header_name_once(report, entry, &mut seen);
            let value = header_template(Moment::Sent)(report, &entry.node);
            let name = name?;
            may_edit(report, entry, &name)?;
            may_lead(report, &entry.node, &name, value.as_ref())?;
            Some((name, value?))
        })
    });
    let mut seen = Vec::new();
    let add = fields.get(report, "add", |report, node| {
        convert::map(report, node, TABLE, |report, entry| {
            let name = header_name_once(report, entry, &mut seen);
            let values = match &entry.node.value {
                Value::List(_) => list(header_template(Moment::Sent))(report, &entry.node),
                _ => header_template(Moment::Sent)(report, &entry.node).map(|value| vec![value]),
            };
            let name = name?;
            may_edit(report, entry, &name)?;
            if name.eq_ignore_ascii_case("host") {
                report.error(entry.key_span, "a request has one `Host`").help("put it under `set`");
                return None;
            }
            let nodes =
                if let Value::List(items) = &entry.node.value { items } else { std::slice::from_ref(&entry.node) };
            for (node, value) in nodes.iter().zip(values.iter().flatten()) {
                may_lead(report, node, &name, Some(value))?;
            }
            Some(values?.into_iter().map(|value| (Arc::clone(&name), value)).collect::<Vec<_>>())
        })
    });
    fields.done();
    Some(HeaderEdits { remove: remove?, set: set?, add: add?.into_iter().flatten().collect() })
}

fn removed(report: &mut Report, node: &Node) -> Option<Arc<str>> {
    let name = convert::read(report, node, "a header name", http::header_name)?;
    if is_framing(&name) || name.eq_ignore_ascii_case("host") {
        report.error(node.span, format!("`{name}` cannot be removed: it is lbproxy's own on either side"));
        return None;
    }
    Some(name.to_ascii_lowercase().into())
}

/// Headers that belong to one connection or frame the message (RFC 9110 §7.6.1, RFC 9112 §6). Editing them would make
/// two readers of one message disagree about where it ends.
fn is_framing(name: &str) -> bool {
    const FRAMING: [&str; 9] = [
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "expect",
    ];
    FRAMING.iter().any(|known| known.eq_ignore_ascii_case(name))
}

pub(crate) fn may_edit(report: &mut Report, entry: &Entry, name: &str) -> Option<()> {
    if is_framing(name) {
        report.error(entry.key_span, format!("`{name}` cannot be set: it is lbproxy's own on either side"));
        return None;
    }
    Some(())
}

/// Whether a text with variables begins with the operator's own words, or a scheme that is one. Anything else would let a
/// client choose where it leads, or what it is: `javascript:…` is a URL, and so is nothing at all.
pub(crate) fn leads_somewhere(report: &mut Report, node: &Node, template: &Template) -> bool {
    let rest = match template.parts.as_slice() {
        [] | [Part::Text(_), ..] => return true,
        [Part::Variable(Variable::Scheme), rest @ ..] => rest,
        _ => &[],
    };
    if matches!(rest, [Part::Text(text), ..] if text.starts_with("://")) {
        return true;
    }
    let what = "begins with what a client may choose, `javascript:` or nothing included";
    let wrong = Wrong::new(what, "a text that begins with a path, a scheme or `{scheme}://`");
    convert::wrong(report, node, wrong.help("write \"{scheme}://{host}…\" for a URL, \"/…\" for a path"));
    false
}

/// A `Location` is a redirect, wherever it is written.
pub(crate) fn may_lead(report: &mut Report, node: &Node, name: &str, value: Option<&Template>) -> Option<()> {
    let Some(value) = value.filter(|_| name.eq_ignore_ascii_case("location")) else { return Some(()) };
    leads_somewhere(report, node, value).then_some(())
}

/// A header's name as a key, each once whatever its capitals.
pub(crate) fn header_name_once(
    report: &mut Report,
    entry: &Entry,
    seen: &mut Vec<(Arc<str>, Span)>,
) -> Option<Arc<str>> {
    let name = match http::header_name(&entry.key) {
        Ok(name) => name,
        Err(error) => {
            let problem = report.error(entry.key_span, format!("`{}` {}", entry.key.escape_debug(), error.what));
            problem.expected(error.expected);
            if let Some(help) = error.help {
                problem.help(help);
            }
            return None;
        }
    };
    if let Some((_, first)) = seen.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name)) {
        report.error(entry.key_span, format!("the header `{name}` is named twice")).related("first here", *first);
        return None;
    }
    seen.push((Arc::clone(&name), entry.key_span));
    Some(name)
}

/// A header's value with variables.
pub(crate) fn header_template(moment: Moment) -> impl Fn(&mut Report, &Node) -> Option<Template> {
    move |report, node| {
        convert::read(report, node, "a header's value", http::header_value)?;
        convert::template(moment)(report, node)
    }
}

fn forwarded(report: &mut Report, node: &Node) -> Option<Forwarded> {
    let words =
        [("x-forwarded", (true, false)), ("rfc7239", (false, true)), ("both", (true, true)), ("off", (false, false))];
    if node.text().is_some() {
        let (x_forwarded, rfc7239) = convert::word(report, node, &words)?;
        return Some(Forwarded { x_forwarded, rfc7239, preserve_host: true });
    }
    let fields = Fields::open(report, node, &FORWARDED)?;
    let headers = fields.word(report, "headers", &words);
    let preserve_host = fields.word(report, "host", &[("preserve", true), ("endpoint", false)]);
    fields.done();
    let (x_forwarded, rfc7239) = headers?;
    Some(Forwarded { x_forwarded, rfc7239, preserve_host: preserve_host? })
}

impl LimitKey {
    /// As it is written in the configuration.
    #[must_use]
    pub fn written(&self) -> String {
        match self {
            Self::ClientIp => "client_ip".into(),
            Self::Template(template) => template.to_string(),
        }
    }
}
