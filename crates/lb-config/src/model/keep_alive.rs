//! `keep_alive`: connections to endpoints that are kept.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::table::block::{Block, block};
use crate::table::form::{Int, Time};
use crate::table::section::Default::Value;
use crate::table::section::Section;

block! {
    /// Upstream connections kept, per worker and endpoint.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct KeepAlive =
        Section::new("keep_alive", "`keep_alive`", "Connections kept, per worker and endpoint.")
            .example("keep_alive = { timeout = \"4s\" }");
    idle: usize => Int<usize, 0, 1_000_000>, Value("32"), "Idle connections kept; 0 closes each after its response.";
    timeout: Duration => Time, Value("\"4s\""),
        "How long an idle one is kept: less than the endpoint's own timeout, which is 5 s in Node.";
    requests: NonZeroU64 => Int<NonZeroU64, 1, { i64::MAX }>, Value("1000"), "Maximum requests per connection.";
    age: Duration => Time, Value("\"1h\""), "Maximum age of a connection.";
}

impl Block for KeepAlive {}
