//! `retry`: further attempts of a route.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::language::diagnostic::Report;
use crate::language::tree::Node;
use crate::language::values::status::Condition;
use crate::table::block::{Block, Table, block};
use crate::table::fields::Fields;
use crate::table::form::{Bool, Failure, Form, Int, List, Off, Or, Share, Size, Time, TimeOrZero, Unlimited};
use crate::table::item::{Item, Writer};
use crate::table::section::Default::Value;
use crate::table::section::{Kind, Section};

block! {
    /// Retries of a route.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Retry =
        Section::new("retry", "`retry`", "Another attempt, on another endpoint where there is one.")
            .example("retry = { attempts = 3 }");
    on: Vec<Condition> => List<Failure<400>>, Value("[\"connect_error\", \"reset\"]"),
        "What is retried: `connect_error`, `reset`, `timeout`, `invalid_response`, and statuses of 400 and above.";
    attempts: NonZeroU32 => Int<NonZeroU32, 1, 100>, Value("3"), "Attempts in all, the first included; 1 is no retry.";
    within as "for": Option<Duration> => Or<Unlimited, Time>, Value("\"none\""),
        "No attempt begins later than this after the first.";
    interval: Duration => TimeOrZero, Value("\"0ms\""), "The pause before a further attempt, jittered.";
    budget_ratio as "budget": f64 => Share, Value("\"20%\""),
        "Retries as a share of the requests of the last ten seconds, never below ten a second; connect failures are free.";
    unsafe_methods: bool => Bool, Value("false"), "Also retries methods that are not idempotent, such as POST.";
    body_limit: u64 => Size<u64, 0>, Value("\"64KiB\""), "The largest request body that is kept for another attempt.";
}

impl Block for Retry {
    fn check(self, report: &mut Report, fields: &Fields<'_>) -> Option<Self> {
        if self.on.is_empty() && self.attempts.get() > 1 {
            let problem = report.warning(fields.value_span("on"), "nothing is tried again");
            problem.help("leave `on` out, or write retry = \"off\"");
        }
        Some(self)
    }
}

/// Retries, or none: `"off"`, one attempt, or nothing to be tried again.
pub(crate) struct Retries;

impl Form for Retries {
    type Value = Option<Retry>;
    const KIND: Kind = <Or<Off, Table<Retry>>>::KIND;

    fn read(report: &mut Report, node: &Node) -> Option<Option<Retry>> {
        let retry = <Or<Off, Table<Retry>>>::read(report, node)?;
        Some(retry.filter(|retry| !retry.on.is_empty() && retry.attempts.get() > 1))
    }

    fn show(value: &Option<Retry>, writer: &Writer<'_>) -> Option<Item> {
        <Or<Off, Table<Retry>>>::show(value, writer)
    }
}
