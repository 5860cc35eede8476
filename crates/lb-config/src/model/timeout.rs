//! `timeout`: how long a route waits.

use std::time::Duration;

use crate::table::block::{Block, block};
use crate::table::form::{Or, Time, Unlimited};
use crate::table::section::Default::Value;
use crate::table::section::Section;

block! {
    /// Timeouts of a route.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Timeouts =
        Section::new("timeout", "`timeout`", "Timeouts: 504 before the response head was sent on, an abort after it.")
            .example("timeout = { response = \"60s\" }");
    connect: Duration => Time, Value("\"5s\""), "Connecting to an endpoint.";
    response: Duration => Time, Value("\"60s\""), "From sending the request to the response head.";
    idle: Duration => Time, Value("\"60s\""), "Between bytes, in either direction; stalled uploads too.";
    total: Option<Duration> => Or<Unlimited, Time>, Value("\"none\""),
        "The whole request; it ends at the head for upgrades and event streams.";
    tunnel: Duration => Time, Value("\"1h\""), "Idle time of an upgraded connection, such as a WebSocket.";
}

impl Block for Timeouts {}
