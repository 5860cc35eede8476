//! `zone`: where this proxy is.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::language::diagnostic::Report;
use crate::language::tree::Node;
use crate::table::block::{Block, Keys, block};
use crate::table::convert;
use crate::table::form::{Form, Int, form};
use crate::table::item::{Item, Writer, bare, text};
use crate::table::section::Default::{Required, Value};
use crate::table::section::{Kind, Section};

/// Where this proxy is, and how many like it there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalZone {
    /// The zone of this proxy; never empty.
    pub name: Arc<str>,
    /// Proxies in each zone; empty means as many in each zone of a cluster's endpoints, and in this proxy's.
    pub proxies: BTreeMap<Arc<str>, u32>,
    /// With fewer endpoints than this, zones are ignored.
    pub minimum: usize,
}

block! {
    /// The keys as they are written.
    struct Written = Section::new("zone", "`zone`", "Where this proxy is, and how many like it there are.");
    name: Option<Arc<str>> => ZoneName, Required, "The zone of this proxy; \"none\" or nothing if it is in none.";
    proxies: BTreeMap<Arc<str>, u32> => Proxies, Value("{}"),
        "Proxies in each zone; if none is named, as many in each zone that has endpoints of the cluster, or this proxy.";
    minimum: usize => Int<usize, 1, 1_000_000>, Value("6"), "With fewer endpoints than this, zones are ignored.";
}

impl Block for Written {}

/// A name, or a table.
pub(crate) struct ZoneForm;

impl Form for ZoneForm {
    type Value = Option<LocalZone>;
    const KIND: Kind = Kind::Any(&[Kind::Text, Kind::Table(Written::SECTION)]);

    fn read(report: &mut Report, node: &Node) -> Option<Option<LocalZone>> {
        let Written { name, proxies, minimum } = if node.text().is_some() {
            Written { name: ZoneName::read(report, node)?, proxies: BTreeMap::new(), minimum: 6 }
        } else {
            Written::read(report, node)?
        };
        Some(name.map(|name| LocalZone { name, proxies, minimum }))
    }

    fn show(value: &Option<LocalZone>, writer: &Writer<'_>) -> Option<Item> {
        let Some(LocalZone { name, proxies, minimum }) = value.clone() else { return Some(text("none")) };
        Some(Item::Table(Written { name: Some(name), proxies, minimum }.items(writer)))
    }
}

form! {
    /// A zone, or none: the environment may leave it empty.
    ZoneName: Option<Arc<str>> = Kind::Text;
    read: |report, node| {
        let Some(name) = node.text().map(str::trim) else {
            convert::mismatch(report, node, "the name of a zone");
            return None;
        };
        Some((!name.is_empty() && name != "none").then(|| name.into()))
    },
    show: |name, _| text(name.as_deref().unwrap_or("none")),
}

form! {
    /// How many proxies each zone has.
    Proxies: BTreeMap<Arc<str>, u32> = Kind::Map(&Kind::Integer(0, 1_000_000));
    read: |report, node| {
        const EXPECTED: &str = "a table of zones and how many proxies there are in each";
        let all = convert::map(report, node, EXPECTED, |report, entry| {
            Some((entry.key.as_str().into(), convert::integer(report, &entry.node, (0, 1_000_000))?))
        });
        Some(all?.into_iter().collect())
    },
    show: |proxies, _| Item::Table(proxies.iter().map(|(name, count)| (name.to_string(), bare(count))).collect()),
}
