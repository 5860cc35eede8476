//! Keys that say where things are, and which of them this proxy uses.

use crate::table::section::Default::{Required, Unset, Value};
use crate::table::section::{Kind, Section, key};

pub(crate) const ZONE: Section = Section {
    name: "zone",
    title: "`zone`",
    doc: "Where this proxy is, and how many like it there are.",
    keys: &[
        key("name", Kind::Text, Required, "The zone of this proxy; \"none\" or nothing if it is in none."),
        key(
            "proxies",
            Kind::Map(&Kind::Integer(0, 1_000_000)),
            Value("{}"),
            "Proxies in each zone; if none is named, as many in each zone that has endpoints of the cluster, or this proxy.",
        ),
        key(
            "minimum",
            Kind::Integer(1, 1_000_000),
            Value("6"),
            "Fewer endpoints than this are not told apart by zone.",
        ),
    ],
};

pub(crate) const SUBSET: Section = Section {
    name: "subset",
    title: "`subset`",
    doc: "Which of very many endpoints this proxy uses.",
    keys: &[
        key("size", Kind::Integer(1, 1_000_000), Required, "How many of each priority; all if there are no more."),
        key(
            "client",
            Kind::Text,
            Unset("none"),
            "A name of this proxy that no other has: it uses the endpoints that rendezvous hashing gives to the name.",
        ),
        key(
            "number",
            Kind::Integer(0, 1_000_000),
            Unset("none"),
            "In place of a name the number of this proxy, from 0: endpoints are dealt out exactly evenly.",
        ),
    ],
};
