//! `maintenance`: a route or a cluster out of service, as it is meant to be.

use std::time::Duration;

use crate::language::diagnostic::Report;
use crate::language::tree::{Node, Value as TreeValue};
use crate::language::values::address::Network;
use crate::model::networks::NetworkList;
use crate::table::block::{Block, Keys, block};
use crate::table::convert;
use crate::table::form::{Form, Time};
use crate::table::item::{Item, Writer, bare};
use crate::table::section::Default::Value;
use crate::table::section::{Kind, Section};

block! {
    /// A route or a cluster out of service: requests get a 503.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Maintenance =
        Section::new("maintenance", "`maintenance`", "Out of service: requests get a 503.")
            .example("maintenance = { allow = [\"private\"] }");
    allow: Vec<Network> => NetworkList, Value("[]"), "Client networks that are let through.";
    retry_after: Duration => Time, Value("\"60s\""), "When clients are told to come again, in `Retry-After`.";
}

impl Block for Maintenance {}

/// `true`, `false`, or the table.
pub(crate) struct MaintenanceForm;

impl Form for MaintenanceForm {
    type Value = Option<Maintenance>;
    const KIND: Kind = Kind::Any(&[Kind::Bool, Kind::Table(Maintenance::SECTION)]);

    fn read(report: &mut Report, node: &Node) -> Option<Option<Maintenance>> {
        if let TreeValue::Table(_) = node.value {
            return Maintenance::read(report, node).map(Some);
        }
        if node.text().is_some() && !node.is_from_env() {
            convert::mismatch(report, node, "`true`, `false`, or { allow = [\"private\"] }");
            return None;
        }
        match convert::boolean(report, node)? {
            true => Maintenance::read(report, &Node::literal("{}")).map(Some),
            false => Some(None),
        }
    }

    fn show(value: &Option<Maintenance>, writer: &Writer<'_>) -> Option<Item> {
        Some(match value {
            None => bare(false),
            Some(maintenance) => Item::Table(maintenance.items(writer)),
        })
    }
}
