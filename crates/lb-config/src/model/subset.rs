//! `subset`: which of very many endpoints this proxy uses.

use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::language::diagnostic::Report;
use crate::language::tree::Node;
use crate::table::block::{Block, Keys, Table, block};
use crate::table::convert;
use crate::table::fields::Fields;
use crate::table::form::{Form, Int, Maybe, form};
use crate::table::item::{Item, Writer, text};
use crate::table::section::Default::{Required, Unset};
use crate::table::section::{Kind, Section};

/// Which endpoints a proxy uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subset {
    /// How many of each priority.
    pub size: NonZeroUsize,
    /// By what they are chosen.
    pub by: SubsetBy,
}

/// What identifies this proxy among the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubsetBy {
    /// A name; endpoints are chosen by rendezvous hashing.
    Name(Arc<str>),
    /// A number, from 0; endpoints are dealt out evenly.
    Number(u64),
}

block! {
    /// The keys as they are written.
    struct Written =
        Section::new("subset", "`subset`", "Which of very many endpoints this proxy uses.")
            .example("subset = { size = 20, client = \"${HOSTNAME}\" }");
    size: NonZeroUsize => Int<NonZeroUsize, 1, 1_000_000>, Required, "How many of each priority; all if there are no more.";
    client: Option<Arc<str>> => Maybe<Client>, Unset("none"),
        "A name of this proxy that no other has: it uses the endpoints that rendezvous hashing gives to the name.";
    number: Option<u64> => Maybe<Int<u64, 0, 1_000_000>>, Unset("none"),
        "In place of a name the number of this proxy, from 0: endpoints are dealt out exactly evenly.";
}

impl Block for Written {
    fn check_keys(report: &mut Report, fields: &Fields<'_>) -> Option<()> {
        if fields.entry("client").is_some() == fields.entry("number").is_some() {
            report
                .error(fields.span, "a subset is chosen by `client` or by `number`, one of them")
                .help("write client = \"${HOSTNAME}\"");
            return None;
        }
        Some(())
    }

    fn check(self, report: &mut Report, fields: &Fields<'_>) -> Option<Self> {
        if self.client.as_deref() == Some("") {
            report
                .error(fields.value_span("client"), "an empty name does not identify a proxy")
                .expected("a name that no other proxy has");
            return None;
        }
        Some(self)
    }
}

form! {
    /// The name of a proxy.
    Client: Arc<str> = Kind::Text;
    read: |report, node| convert::text(report, node).map(|name| name.trim().into()),
    show: |name, _| text(name),
}

/// A subset of a cluster's endpoints.
pub(crate) struct SubsetForm;

impl Form for SubsetForm {
    type Value = Subset;
    const KIND: Kind = <Table<Written>>::KIND;

    fn read(report: &mut Report, node: &Node) -> Option<Subset> {
        let Written { size, client, number } = Written::read(report, node)?;
        let by = client.map(SubsetBy::Name).or_else(|| number.map(SubsetBy::Number))?;
        Some(Subset { size, by })
    }

    fn show(value: &Subset, writer: &Writer<'_>) -> Option<Item> {
        let (client, number) = match &value.by {
            SubsetBy::Name(name) => (Some(Arc::clone(name)), None),
            SubsetBy::Number(number) => (None, Some(*number)),
        };
        Some(Item::Table(Written { size: value.size, client, number }.items(writer)))
    }
}
