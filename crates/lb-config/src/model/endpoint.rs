//! An endpoint of a cluster.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::language::diagnostic::Report;
use crate::language::source::Span;
use crate::language::tree::Node;
use crate::language::values::address::{self, EndpointAddress};
use crate::model::zone::ZoneName;
use crate::table::block::{Block, Keys, Table, block};
use crate::table::convert::{self, list};
use crate::table::fields::Fields;
use crate::table::form::{Bool, Form, Int, Or, Unlimited, form};
use crate::table::item::{Item, Items, Writer, in_order, text};
use crate::table::section::Default::{Required, Value};
use crate::table::section::{Kind, Section};

/// One configured endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// As written, for logs, hash keys and sticky ids.
    pub name: Arc<str>,
    /// Where it is.
    pub address: EndpointAddress,
    /// Whether it was written with `https://`. See [`Cluster::tls_to`](crate::Cluster::tls_to).
    pub https: bool,
    /// Share of traffic; 0 takes no new requests.
    pub weight: u16,
    /// Most requests at once.
    pub max_in_flight: Option<NonZeroU32>,
    /// The last tier: takes requests only while no endpoint that is not a backup can.
    pub backup: bool,
    /// Its tier among those that are no backups; lower ones first.
    pub priority: u8,
    /// Where it is.
    pub zone: Option<Arc<str>>,
    /// Takes no new requests, only sticky ones.
    pub drain: bool,
}

impl Endpoint {
    /// The endpoint at this address, everything else by default.
    #[must_use]
    pub fn at(address: EndpointAddress) -> Self {
        Self {
            name: address.to_string().into(),
            address,
            https: false,
            weight: 1,
            max_in_flight: None,
            backup: false,
            priority: 0,
            zone: None,
            drain: false,
        }
    }

    /// As [`at`](Self::at), always reached by TLS.
    #[must_use]
    pub fn https_at(address: EndpointAddress) -> Self {
        Self { name: format!("https://{address}").into(), https: true, ..Self::at(address) }
    }
}

block! {
    /// The keys as they are written.
    struct Written = Section::new("endpoint", "an endpoint", "One address able to serve.");
    endpoint as "address": Endpoint => Address, Required,
        "Where it is: \"10.0.0.1:80\", \"app:80\", \"[::1]:80\", \"https://app:443\" or \"unix:/run/app.sock\".";
    weight: u16 => Int<u16, 0, 65_535>, Value("1"), "Its share of the traffic; 0 takes no new requests.";
    max_in_flight: Option<NonZeroU32> => Or<Unlimited, Int<NonZeroU32, 1, 4_294_967_294>>, Value("\"none\""),
        "Maximum concurrent requests.";
    backup: bool => Bool, Value("false"),
        "The last tier of all: takes requests only while no endpoint that is not a backup can.";
    drain: bool => Bool, Value("false"), "Takes no new requests, only those whose sticky cookie names it.";
    priority: u8 => Int<u8, 0, 100>, Value("0"), "Its tier: the lowest that can take a request serves it; see `spill`.";
    zone: Option<Arc<str>> => ZoneName, Value("\"none\""), "Where it is; matters to a proxy that has a `zone` itself.";
}

impl Block for Written {
    fn check(self, report: &mut Report, fields: &Fields<'_>) -> Option<Self> {
        if let (Some(entry), true) = (fields.entry("priority"), self.backup) {
            report
                .error(entry.key_span, "a backup has no `priority`: it comes after all others")
                .help("leave one of the two out");
            return None;
        }
        Some(self)
    }
}

impl Written {
    fn into_endpoint(self) -> Endpoint {
        let Self { endpoint, weight, max_in_flight, backup, drain, priority, zone } = self;
        Endpoint { weight, max_in_flight, backup, drain, priority, zone, ..endpoint }
    }
}

impl Endpoint {
    fn items(&self, writer: &Writer<'_>) -> Items {
        let Self { weight, max_in_flight, backup, priority, drain, .. } = *self;
        let (endpoint, zone) = (self.clone(), self.zone.clone());
        let mut items = Written { endpoint, weight, max_in_flight, backup, drain, priority, zone }.items(writer);
        items.retain(|(key, _)| key != "priority" || !backup);
        in_order(items, &["address", "weight", "max_in_flight", "backup", "priority", "zone", "drain"])
    }
}

form! {
    /// An address, with everything else by default.
    Address: Endpoint = Kind::Text;
    read: |report, node| {
        let (address, https) = convert::read(report, node, address::ENDPOINT, address::endpoint)?;
        Some(if https { Endpoint::https_at(address) } else { Endpoint::at(address) })
    },
    show: |endpoint, _| text(&endpoint.name),
}

form! {
    /// Endpoints: addresses, or tables. Each is listed once.
    Endpoints: Vec<Endpoint> = Kind::List(&Kind::Any(&[Kind::Text, <Table<Written>>::KIND]));
    read: |report, node| {
        let placed = list(endpoint)(report, node)?;
        distinct(report, placed)
    },
    show: |endpoints, writer| {
        Item::Endpoints(endpoints.iter().map(|endpoint| (endpoint.name.to_string(), endpoint.items(writer))).collect())
    },
}

/// An endpoint and its place.
type Placed = (Endpoint, Span);

fn endpoint(report: &mut Report, node: &Node) -> Option<Placed> {
    if node.text().is_some() {
        return Some((Address::read(report, node)?, node.span));
    }
    if node.table().is_none() {
        convert::mismatch(report, node, address::ENDPOINT);
        return None;
    }
    Some((Written::read(report, node)?.into_endpoint(), node.span))
}

/// The same address twice would be two verdicts on one endpoint.
fn distinct(report: &mut Report, endpoints: Vec<Placed>) -> Option<Vec<Endpoint>> {
    let mut seen: Vec<Placed> = Vec::with_capacity(endpoints.len());
    let mut whole = true;
    for (endpoint, span) in endpoints {
        if let Some((_, first)) = seen.iter().find(|(known, _)| known.address == endpoint.address) {
            report
                .error(span, format!("the endpoint `{}` is listed twice", endpoint.name))
                .help("write it once, with a `weight`")
                .related("first here", *first);
            whole = false;
        }
        seen.push((endpoint, span));
    }
    whole.then(|| seen.into_iter().map(|(endpoint, _)| endpoint).collect())
}
