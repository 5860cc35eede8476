//! `[limits]`: what holds for every listener.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::language::diagnostic::Report;
use crate::table::block::{Block, block};
use crate::table::fields::Fields;
use crate::table::form::{Auto, Int, Or, Size, Time, Unlimited};
use crate::table::section::Default::Value;
use crate::table::section::Section;

block! {
    /// Limits that hold for every listener.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Limits =
        Section::new("limits", "[limits]", "Limits that hold for every listener; what goes beyond is refused or closed.")
            .example("limits = { request_body = \"100MiB\" }");
    request_head_bytes as "request_head": usize => Size<usize, 256>, Value("\"32KiB\""),
        "A request's head, its first line included; beyond it, 431.";
    headers: usize => Int<usize, 1, 10_000>, Value("100"), "Header lines of a request; beyond it, 431.";
    uri_bytes as "uri": usize => Size<usize, 64>, Value("\"8KiB\""), "A request's target; beyond it, 414.";
    request_body_bytes as "request_body": Option<u64> => Or<Unlimited, Size<u64, 1>>, Value("\"100MiB\""),
        "A request's body; beyond it, 413. \"none\" is no limit.";
    response_head_bytes as "response_head": usize => Size<usize, 256>, Value("\"128KiB\""),
        "A response's head, its first line included; beyond it, 502. Over HTTP/2 never more than 1MiB.";
    response_headers: usize => Int<usize, 1, 10_000>, Value("500"), "Header lines of a response; beyond it, 502.";
    connections: Option<NonZeroUsize> => Or<Auto, Int<NonZeroUsize, 1, 10_000_000>>, Value("\"auto\""),
        "Client connections in all; further ones are closed at once. \"auto\" is 20000, or what the open files allow.";
    endpoint_connections: Option<NonZeroUsize> => Or<Auto, Int<NonZeroUsize, 1, 10_000_000>>, Value("\"auto\""),
        "Connections to endpoints in all, idle ones included; beyond it, 503. \"auto\" is as many as clients may have.";
    connections_per_client: Option<NonZeroUsize> => Or<Unlimited, Int<NonZeroUsize, 1, 10_000_000>>, Value("\"none\""),
        "Client connections of one address (IPv6: of one /64 network); further ones are closed at once.";
    head_timeout: Duration => Time, Value("\"10s\""), "Time for a request's head to arrive whole; beyond it, 408.";
    idle_timeout: Duration => Time, Value("\"65s\""), "How long a client connection may wait for its next request.";
}

impl Block for Limits {
    fn check(self, report: &mut Report, fields: &Fields<'_>) -> Option<Self> {
        if self.uri_bytes > self.request_head_bytes {
            let span = fields.value_span("uri");
            report.warning(span, "`uri` is larger than `request_head`, which ends every request before it");
        }
        Some(self)
    }
}
