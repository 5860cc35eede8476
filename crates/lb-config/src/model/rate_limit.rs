//! `rate_limit`: requests of a route by key and time.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use crate::language::diagnostic::Report;
use crate::language::source::Span;
use crate::language::template::{Part, Template, Variable};
use crate::language::tree::{Entry, Node, Value};
use crate::language::values::address::Network;
use crate::language::values::{ValueError, quantity};
use crate::model::networks::NetworkList;
use crate::table::block::{Block, Keys, Table, block};
use crate::table::convert::{self, FillPhase};
use crate::table::fields::Fields;
use crate::table::form::{Bool, Form, Int, Later, Name, Off, Or, Size, form, words};
use crate::table::item::{Item, Writer, bare, text};
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
    algorithm: LimitAlgorithm => LimitAlgorithm, Default::Value("\"gcra\""),
        "\"gcra\" is a token bucket; \"sliding_window\" and \"fixed_window\" count the requests of a period, without `burst` and `delay`.";
    quotas: Vec<Quotas> => QuotasForm, Default::Value("{}"),
        "Other rates by a value of the request: { \"{header:X-Plan}\" = { pro = \"100/s\" } }; the first that is listed counts.";
    dry_run: bool => Bool, Default::Value("false"), "Counts and logs what it would refuse, and refuses and delays nothing.";
    exempt: Vec<Network> => NetworkList, Default::Value("[]"), "Client networks that are not limited.";
    status: u16 => Int<u16, 400, 599>, Default::Value("429"), "The status of a refusal.";
    headers: LimitHeaders => LimitHeadersForm, Default::Value("false"),
        "Tells clients what is left: `true` writes `RateLimit` and `RateLimit-Policy`, \"legacy\" `X-RateLimit-Limit`, `-Remaining` and `-Reset`, \"both\" all.";
    name: Arc<str> => Later<Name>, Unset("where it stands"), "Limits with the same name share one count.";
    memory_bytes as "memory": u64 => Size<u64, 1024>, Default::Value("\"10MiB\""),
        "Memory for what is counted; for each of the `quotas` as much again.";
    [reserved] "redis", "Counts shared between instances.",
        "each proxy counts for itself: divide the `rate` by their number";
}

/// Other rates for requests with certain values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// What is looked up.
    pub by: Template,
    /// The rates; a value that is not listed has none.
    pub plans: Vec<Plan>,
}

/// The rate of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The value.
    pub value: Arc<str>,
    /// Requests a period.
    pub rate: Rate,
    /// Requests beyond the rate that pass at once.
    pub burst: u64,
}

/// By which rule a rate limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitAlgorithm {
    /// A token bucket.
    Gcra,
    /// The estimate of the requests in the last period.
    SlidingWindow,
    /// The requests in each period.
    FixedWindow,
}

/// What clients are told of a rate limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitHeaders {
    /// `RateLimit` and `RateLimit-Policy`.
    pub draft: bool,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset`.
    pub legacy: bool,
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

impl RateLimit {
    /// Whether both can share one count.
    pub(crate) fn counts_as(&self, other: &Self) -> bool {
        let what = |it: &Self| (it.key.clone(), it.quotas.clone());
        let how = |it: &Self| (it.rate, it.burst, it.algorithm, it.memory_bytes);
        how(self) == how(other) && what(self) == what(other)
    }
}

impl Block for RateLimit {
    fn check(self, report: &mut Report, fields: &Fields<'_>) -> Option<Self> {
        refill_within_reason(report, fields.value_span("burst"), self.rate, self.burst)?;
        if self.algorithm != LimitAlgorithm::Gcra {
            window_within_reason(report, fields, &self)?;
        }
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

words! {
    LimitAlgorithm: LimitAlgorithm;
    "gcra" => LimitAlgorithm::Gcra,
    "sliding_window" => LimitAlgorithm::SlidingWindow,
    "fixed_window" => LimitAlgorithm::FixedWindow,
}

form! {
    /// Whether, and which.
    LimitHeadersForm: LimitHeaders = Kind::Any(&[Kind::Bool, Kind::Word(&["legacy", "both"])]);
    read: |report, node| match node.text() {
        Some("legacy") => Some(LimitHeaders { draft: false, legacy: true }),
        Some("both") => Some(LimitHeaders { draft: true, legacy: true }),
        Some("true" | "false") if node.is_from_env() => convert::boolean(report, node).map(drafted),
        Some(_) => convert::word(report, node, &[("legacy", LimitHeaders::default()), ("both", LimitHeaders::default())]),
        None => convert::boolean(report, node).map(drafted),
    },
    show: |headers, _| match (headers.draft, headers.legacy) {
        (draft, false) => bare(draft),
        (false, true) => text("legacy"),
        (true, true) => text("both"),
    },
}

const fn drafted(draft: bool) -> LimitHeaders {
    LimitHeaders { draft, legacy: false }
}

/// The limits of a route, a listener or a cluster: `"off"`, one, or a list of which all are charged or none.
pub(crate) struct RateLimits;

impl Form for RateLimits {
    type Value = Vec<RateLimit>;
    const KIND: Kind =
        Kind::Any(&[Kind::Word(&["off"]), <Table<RateLimit>>::KIND, Kind::List(&<Table<RateLimit>>::KIND)]);

    fn read(report: &mut Report, node: &Node) -> Option<Vec<RateLimit>> {
        if let Value::List(_) = node.value {
            return convert::list(RateLimit::read)(report, node);
        }
        Some(<Or<Off, Table<RateLimit>>>::read(report, node)?.into_iter().collect())
    }

    fn show(limits: &Vec<RateLimit>, writer: &Writer<'_>) -> Option<Item> {
        match limits.as_slice() {
            [] => Some(text("off")),
            [one] => <Table<RateLimit>>::show(one, writer),
            all => Some(Item::Tables(all.iter().map(|limit| (limit.name.to_string(), limit.items(writer))).collect())),
        }
    }
}

/// Where the limits of a node stand.
pub(crate) fn spans(node: &Node) -> Vec<Span> {
    match &node.value {
        Value::List(limits) => limits.iter().map(|limit| limit.span).collect(),
        _ => vec![node.span],
    }
}

/// Names limits that have no name after the part they stand in.
pub(crate) fn name_after(limits: &mut [RateLimit], part: &str) {
    for (at, limit) in limits.iter_mut().enumerate().filter(|(_, limit)| limit.name.is_empty()) {
        limit.name = default_name(part, at).into();
    }
}

/// The name of the limit at this place of a part's list.
pub(crate) fn default_name(part: &str, at: usize) -> String {
    if at == 0 { part.to_owned() } else { format!("{part}#{}", at + 1) }
}

block! {
    /// A rate with a burst.
    struct PlanQuota = Section::new("quota", "a quota", "A rate of `quotas`; \"100/s\" is short for { rate = \"100/s\" }.");
    rate: Rate => RateForm, Required, "Requests a period.";
    burst: u64 => Int<u64, 0, 1_000_000_000>, Default::Value("0"), "Requests beyond the rate that pass at once.";
}

impl Block for PlanQuota {
    fn check(self, report: &mut Report, fields: &Fields<'_>) -> Option<Self> {
        refill_within_reason(report, fields.value_span("burst"), self.rate, self.burst)?;
        Some(self)
    }
}

form! {
    /// Rates by values.
    QuotasForm: Vec<Quotas> = Kind::Map(&Kind::Map(&Kind::Any(&[Kind::Rate, <Table<PlanQuota>>::KIND])));
    read: |report, node| convert::map(report, node, "a table such as { \"{header:X-Plan}\" = { pro = \"100/s\" } }", quotas),
    show: |all, writer| Item::Table(all.iter().map(|quotas| {
        let plans = quotas.plans.iter().filter_map(|plan| {
            let quota = PlanQuota { rate: plan.rate, burst: plan.burst };
            let item = match plan.burst {
                0 => RateForm::show(&plan.rate, writer),
                _ => <Table<PlanQuota>>::show(&quota, writer),
            };
            Some((plan.value.to_string(), item?))
        });
        (quotas.by.to_string(), Item::Table(plans.collect()))
    }).collect()),
}

fn quotas(report: &mut Report, entry: &Entry) -> Option<Quotas> {
    let key = Node { span: entry.key_span, ..Node::made_text(&entry.key) };
    let by = convert::template(FillPhase::Limited)(report, &key)?;
    if by.variables().next().is_none() {
        let error =
            ValueError::new("is the same for every request", "a text with `{variables}` such as \"{header:X-Plan}\"");
        convert::wrong(report, &key, error);
        return None;
    }
    let plans = convert::map(
        report,
        &entry.node,
        "a table of values and rates such as { pro = \"100/s\" }",
        |report, entry| {
            let PlanQuota { rate, burst } = match entry.node.table() {
                Some(_) => PlanQuota::read(report, &entry.node)?,
                None => PlanQuota { rate: RateForm::read(report, &entry.node)?, burst: 0 },
            };
            Some(Plan { value: entry.key.as_str().into(), rate, burst })
        },
    )?;
    Some(Quotas { by, plans })
}

/// What the count of a window has no bits for, and what it has no use for.
fn window_within_reason(report: &mut Report, fields: &Fields<'_>, limit: &RateLimit) -> Option<()> {
    let most = match limit.algorithm {
        LimitAlgorithm::SlidingWindow => MAX_SLIDING,
        LimitAlgorithm::Gcra | LimitAlgorithm::FixedWindow => MAX_FIXED,
    };
    let plans = limit.quotas.iter().flat_map(|quotas| &quotas.plans);
    let rates = std::iter::once((limit.rate, limit.burst, "rate")).chain(plans.map(|it| (it.rate, it.burst, "quotas")));
    for (rate, burst, key) in rates {
        if rate.period < Duration::from_secs(1) {
            report
                .error(fields.value_span(key), "the period of a window is too short")
                .expected("a second at least, or `algorithm = \"gcra\"`");
            return None;
        }
        if rate.requests.get() > most {
            let message = format!("a window counts {most} requests at most");
            report.error(fields.value_span(key), message).expected("a shorter period, or `algorithm = \"gcra\"`");
            return None;
        }
        if burst > 0 {
            let span = if key == "rate" { fields.value_span("burst") } else { fields.value_span(key) };
            report
                .error(span, "a window has no `burst`: all requests of a period may come at once")
                .help("write them into the rate, or `algorithm = \"gcra\"`");
            return None;
        }
    }
    if limit.delay.is_some() {
        report.error(fields.value_span("delay"), "a window holds nothing back").help("write `algorithm = \"gcra\"`");
        return None;
    }
    Some(())
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
    let template = convert::template(FillPhase::Limited)(report, node)?;
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

/// What lb-ratelimit has bits for in a table.
const MAX_SLIDING: u64 = 1_000_000;
const MAX_FIXED: u64 = 1_000_000_000;

/// A thousand million keys. A slip in the unit should not wait for the start to be found.
const MAX_LIMITER_BYTES: u64 = 16 << 30;
