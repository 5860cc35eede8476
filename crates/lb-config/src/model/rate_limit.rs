//! `rate_limit`: requests of a route by key and time.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use crate::language::diagnostic::Report;
use crate::language::source::Span;
use crate::language::template::{Part, Template, Variable};
use crate::language::tree::{Node, Value};
use crate::language::values::address::Network;
use crate::language::values::{ValueError, quantity};
use crate::table::block::{Block, block};
use crate::table::convert::{self, FillPhase};
use crate::table::fields::Fields;
use crate::table::form::{Bool, Int, IpNetwork, Later, List, Name, Off, Or, Size, form};
use crate::table::item::text;
use crate::table::section::Default::{self, Required, Unset};
use crate::table::section::{Kind, Section};

block! {
    /// A rate limit.
    #[derive(Clone, Debug, PartialEq)]
    pub struct RateLimit =
        Section::new("rate_limit", "`rate_limit`", "A rate limit; at once, 1 + burst requests pass.")
            .example("rate_limit = { rate = \"10/s\" }");
    key: LimitKey => LimitKeyForm, Default::Value("\"client_ip\""),
        "What is counted: \"client_ip\" (IPv6 by /64), or a text with `{variables}`.";
    rate: Rate => RateForm, Required, "Requests a period, \"10/s\" or \"60/m\".";
    burst: u64 => Int<u64, 0, 1_000_000_000>, Default::Value("0"), "Requests beyond the rate that pass at once.";
    delay: Option<u64> => Or<Off, Int<u64, 0, 1_000_000_000>>, Default::Value("\"off\""),
        "How many of the burst pass at once; the others are held back to the rate. \"off\": all pass at once.";
    dry_run: bool => Bool, Default::Value("false"), "Counts and logs what it would refuse, and refuses and delays nothing.";
    exempt: Vec<Network> => List<IpNetwork>, Default::Value("[]"), "Client networks that are not limited.";
    status: u16 => Int<u16, 400, 599>, Default::Value("429"), "The status of a refusal.";
    name: Arc<str> => Later<Name>, Unset("the route's"), "Routes whose limits have the same name share one count.";
    memory_bytes as "memory": u64 => Size<u64, 1024>, Default::Value("\"10MiB\""), "Memory for what is counted.";
    [reserved] "redis", "Counts shared between instances.",
        "each proxy counts for itself: divide the `rate` by their number";
}

/// Requests a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub requests: NonZeroU64,
    /// In which time.
    pub period: Duration,
}

/// What a rate limit counts by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitKey {
    /// The client's address; IPv6 by /64.
    ClientIp,
    /// Any text of the request.
    Template(Template),
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

impl Block for RateLimit {
    fn check(self, report: &mut Report, fields: &Fields<'_>) -> Option<Self> {
        refill_within_reason(report, fields.value_span("burst"), self.rate, self.burst)?;
        if let Some(undelayed) = self.delay {
            delay_within_reason(report, fields.value_span("delay"), self.rate, self.burst.saturating_sub(undelayed))?;
        }
        if self.memory_bytes > MAX_LIMITER_BYTES {
            let size = quantity::show_size(self.memory_bytes);
            let message = format!("`{size}` is more memory than a rate limit has use for");
            report.error(fields.value_span("memory"), message).expected("\"16GiB\" at most");
            return None;
        }
        Some(self)
    }
}

form! {
    /// `client_ip`, or a text in which something of the request varies.
    LimitKeyForm: LimitKey = Kind::Text;
    read: limit_key,
    show: |key, writer| match key {
        LimitKey::ClientIp => text("client_ip"),
        LimitKey::Template(template) => writer.template(template),
    },
}

form! {
    /// `"10/s"`.
    RateForm: Rate = Kind::Rate;
    read: rate,
    show: |rate, _| text(&quantity::show_rate(rate.requests, rate.period)),
}

fn limit_key(report: &mut Report, node: &Node) -> Option<LimitKey> {
    const EXPECTED: &str = "\"client_ip\" or a text with `{variables}` such as \"{header:X-Api-Key}\"";
    if node.text() == Some("client_ip") {
        return Some(LimitKey::ClientIp);
    }
    let template = convert::template(FillPhase::Routed)(report, node)?;
    if template.variables().next().is_none() {
        let error = ValueError::new("is the same for every request", EXPECTED);
        let braced = format!("{{{}}}", node.text().unwrap_or_default());
        let is_variable = Template::parse(&braced).is_ok_and(|template| template.variables().next().is_some());
        convert::wrong(report, node, if is_variable { error.help(format!("write \"{braced}\"")) } else { error });
        return None;
    }
    // `{client_ip}` is the long way to write `client_ip`.
    Some(match template.parts.as_slice() {
        [Part::Variable(Variable::ClientIp)] => LimitKey::ClientIp,
        _ => LimitKey::Template(template),
    })
}

fn rate(report: &mut Report, node: &Node) -> Option<Rate> {
    if let Value::Integer(number) = node.value {
        let error = ValueError::new("has no period", quantity::RATE);
        convert::wrong(report, node, error.help(format!("write \"{number}/s\"")));
        return None;
    }
    let (requests, period) = convert::read(report, node, quantity::RATE, quantity::rate)?;
    Some(Rate { requests, period })
}

/// The limiter's clock counts nanoseconds in 64 bits: a burst that refills within a year never overflows it.
fn refill_within_reason(report: &mut Report, span: Span, rate: Rate, burst: u64) -> Option<()> {
    let refill = rate.period.as_nanos() * (u128::from(burst) + 1) / u128::from(rate.requests.get());
    if refill > quantity::LONGEST.as_nanos() {
        report
            .error(span, "the burst would take more than 365 days to refill")
            .expected("a smaller `burst` or a higher `rate`");
        return None;
    }
    Some(())
}

/// A request that is held back holds a connection, and its client waits.
fn delay_within_reason(report: &mut Report, span: Span, rate: Rate, delayed: u64) -> Option<()> {
    let longest = rate.period.as_nanos() * u128::from(delayed) / u128::from(rate.requests.get());
    if longest > LONGEST_DELAY.as_nanos() {
        report
            .error(span, "the last of the burst would be held back for more than a minute")
            .expected("a smaller `burst`, a higher `rate` or a higher `delay`");
        return None;
    }
    Some(())
}

/// Most clients have given up by then.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// A thousand million keys. A slip in the unit should not wait for the start to be found.
const MAX_LIMITER_BYTES: u64 = 16 << 30;
