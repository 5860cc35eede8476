//! `queue`: waiting for a full cluster.

use std::time::Duration;

use crate::table::block::{Block, block};
use crate::table::form::{Int, Time};
use crate::table::section::Default::Value;
use crate::table::section::Section;

block! {
    /// Waiting while every eligible endpoint is full.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Queue =
        Section::new("queue", "`queue`", "Waiting for a full cluster: first come, first served.")
            .example("queue = { size = 100 }");
    size: usize => Int<usize, 0, 1_000_000>, Value("0"), "Requests that may wait, over all workers; 0 lets none wait.";
    timeout: Duration => Time, Value("\"5s\""), "How long each may wait; it counts in the route's `timeout.total`.";
}

impl Block for Queue {}
