//! `[admin]`: the listener for health, metrics and status.

use std::net::IpAddr;

use crate::language::diagnostic::Report;
use crate::language::tree::Node;
use crate::language::values::address::{ListenAddress, Network};
use crate::language::values::http::HostPattern;
use crate::model::networks::NetworkList;
use crate::table::block::{Block, Keys, Table, block};
use crate::table::fields::Fields;
use crate::table::form::{Form, Host, List, Listen, Off, Or};
use crate::table::item::{Item, Writer};
use crate::table::section::Default::Value;
use crate::table::section::{Kind, Section};

/// The admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens.
    pub address: ListenAddress,
    /// Client networks that may use it; empty means loopback only (a Unix socket's mode decides there).
    pub allow: Vec<Network>,
    /// Names that a request's `Host` may have beside addresses and `localhost`.
    pub hosts: Vec<HostPattern>,
}

block! {
    /// The keys as they are written.
    struct Written =
        Section::new("admin", "[admin]", "The admin listener. It serves `/healthz`, `/metrics` and `/status`.")
            .example("admin = { address = \"127.0.0.1:9900\" }");
    address: Option<ListenAddress> => Or<Off, Listen>, Value("\"off\""),
        "Where it listens: a loopback address or a Unix socket, or any address if `allow` names client networks.";
    allow: Vec<Network> => NetworkList, Value("[]"), "Client networks that may use it; none means loopback only.";
    hosts: Vec<HostPattern> => List<Host>, Value("[]"),
        "Names that requests may use for it, beside IP addresses and `localhost`; with others they get 403.";
}

impl Block for Written {
    fn check(self, report: &mut Report, fields: &Fields<'_>) -> Option<Self> {
        let open = match &self.address {
            Some(ListenAddress::Tcp(address)) => !is_loopback(address.ip()),
            Some(ListenAddress::Unix(_)) | None => false,
        };
        if open && self.allow.is_empty() {
            report
                .error(fields.value_span("address"), "the admin listener would be open to every client")
                .expected("a loopback address, a Unix socket, or `allow` with client networks")
                .help("write address = \"127.0.0.1:9900\", or add allow = [\"10.0.0.0/8\"]");
            return None;
        }
        Some(self)
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// The admin listener, or none.
pub(crate) struct AdminForm;

impl Form for AdminForm {
    type Value = Option<Admin>;
    const KIND: Kind = <Table<Written>>::KIND;

    fn read(report: &mut Report, node: &Node) -> Option<Option<Admin>> {
        let Written { address, allow, hosts } = Written::read(report, node)?;
        Some(address.map(|address| Admin { address, allow, hosts }))
    }

    fn show(value: &Option<Admin>, writer: &Writer<'_>) -> Option<Item> {
        let written = match value.clone() {
            Some(Admin { address, allow, hosts }) => Written { address: Some(address), allow, hosts },
            None => Written { address: None, allow: Vec::new(), hosts: Vec::new() },
        };
        Some(Item::Table(written.items(writer)))
    }
}
