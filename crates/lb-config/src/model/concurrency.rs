//! `concurrency`: requests at once, of a route or a cluster.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::language::diagnostic::Report;
use crate::language::template::Template;
use crate::model::rate_limit::{LimitKey, LimitKeyForm};
use crate::table::block::{Block, Table, block};
use crate::table::convert::{self, FillPhase};
use crate::table::fields::Fields;
use crate::table::form::{Auto, Int, Or, Time, Unlimited, form, words};
use crate::table::section::Default::{Required, Value};
use crate::table::section::{Kind, Section};

block! {
    /// A limit on requests at once.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Concurrency =
        Section::new("concurrency", "`concurrency`", "Requests at once; what comes beyond waits, or is refused.")
            .example("concurrency = { limit = 100 }");
    /// `None` is `"auto"`.
    limit: Option<NonZeroU32> => Or<Auto, Int<NonZeroU32, 1, 1_000_000>>, Required,
        "How many at once; \"auto\" finds it by what requests take.";
    key: Option<LimitKey> => Or<Unlimited, LimitKeyForm>, Value("\"none\""),
        "Gives each key its own limit: \"client_ip\", or a text with `{variables}`; what comes beyond gets 429.";
    queue: WaitQueue => Table<WaitQueue>, Value("{}"), "Waiting for a place.";
    priority: Option<Template> => Or<Unlimited, Priority>, Value("\"none\""),
        "Which requests go first: a text that becomes \"critical\", \"high\", \"normal\" or \"low\"; a tenth of the places is kept for critical ones.";
}

block! {
    /// Waiting for a place.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct WaitQueue = Section::new("concurrency_queue", "`concurrency.queue`", "Requests that wait for a place.");
    size: usize => Int<usize, 0, 1_000_000>, Value("0"), "Requests that may wait, over all workers; 0 lets none wait.";
    timeout: Duration => Time, Value("\"1s\""), "How long each may wait.";
    order: WaitOrder => WaitOrder, Value("\"fifo\""),
        "\"fifo\", or \"adaptive_lifo\": while the queue does not empty, the newest goes first and those that wait for long are refused.";
}

/// Which waiting request goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitOrder {
    /// The oldest.
    Fifo,
    /// The newest while the queue does not empty.
    AdaptiveLifo,
}

words! {
    WaitOrder: WaitOrder;
    "fifo" => WaitOrder::Fifo, "adaptive_lifo" => WaitOrder::AdaptiveLifo
}

form! {
    /// A text that becomes the word of a class.
    Priority: Template = Kind::Text;
    read: |report, node| convert::template(FillPhase::Routed)(report, node),
    show: |template, writer| writer.template(template),
}

impl Block for WaitQueue {}

impl Block for Concurrency {
    fn check(self, report: &mut Report, fields: &Fields<'_>) -> Option<Self> {
        if self.key.is_none() {
            return Some(self);
        }
        if self.limit.is_none() {
            report
                .error(fields.value_span("limit"), "a limit for each key cannot find itself")
                .help("write a number, or leave `key` out");
            return None;
        }
        for (key, is_used) in [("queue", self.queue.size > 0), ("priority", self.priority.is_some())] {
            if let Some(entry) = fields.entry(key).filter(|_| is_used) {
                let message = format!("a limit with a `key` has no `{key}`: what comes beyond is refused at once");
                report.error(entry.key_span, message).help("leave one of the two out");
                return None;
            }
        }
        Some(self)
    }
}
