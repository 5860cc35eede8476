//! A whole configuration.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use crate::language::source::Sources;
use crate::language::values::address::Network;
use crate::model::admin::{Admin, AdminForm};
use crate::model::cluster::Cluster;
use crate::model::errors::{ErrorPages, ErrorPagesForm};
use crate::model::limits::Limits;
use crate::model::listener::Listener;
use crate::model::log::Log;
use crate::model::networks::NamedNetworks;
use crate::model::route::{ROUTE, Route, RouteOptions};
use crate::model::site::SITE;
use crate::model::zone::{LocalZone, ZoneForm};
use crate::table::block::{Keys, Table, block};
use crate::table::form::{Auto, Form, Int, Or, TimeOrZero};
use crate::table::item::{Document, Writer, in_order};
use crate::table::section::Default::Value;
use crate::table::section::{Key, Kind, Section, joined, key, length};

/// A whole configuration, valid and complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Worker threads; `None` means one per core.
    pub workers: Option<NonZeroUsize>,
    /// How long a shutdown waits for running requests.
    pub grace: Duration,
    /// Networks by name. Keys that name them hold their networks already.
    pub networks: Vec<(Arc<str>, Vec<Network>)>,
    /// Where this proxy is, if endpoints are chosen by zone.
    pub zone: Option<LocalZone>,
    /// The admin listener, if one is wanted.
    pub admin: Option<Admin>,
    /// Application and access log.
    pub log: Log,
    /// Limits that hold for every listener.
    pub limits: Limits,
    /// Error pages, where neither the route nor the listener has one.
    pub errors: ErrorPages,
    /// Listeners, in the order of the file.
    pub listeners: Vec<Listener>,
    /// Routes, in the order of the file.
    pub routes: Vec<Route>,
    /// Clusters by name; [`Action::Cluster`](crate::Action::Cluster) holds the position in this list.
    pub clusters: Vec<Cluster>,
    /// What lbproxy itself asks of clusters.
    pub own_requests: OwnRequests,
}

/// The requests that lbproxy makes itself, for a route's sake.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnRequests {
    /// Which clusters get any: positions in [`Config::clusters`], ascending, each once.
    pub clusters: Vec<usize>,
    /// What holds for such requests: what a route has that writes nothing. `[defaults.route]` is for clients' requests.
    pub options: RouteOptions,
}

block! {
    /// The keys of the top level that have one value for the whole configuration.
    #[derive(Clone)]
    pub(crate) struct Global = SECTION;
    workers: Option<NonZeroUsize> => Or<Auto, Int<NonZeroUsize, 1, 1024>>, Value("\"auto\""),
        "Worker threads; \"auto\" is one per core.";
    grace: Duration => TimeOrZero, Value("\"30s\""), "How long a shutdown waits for running requests."
        , with [INCLUDE];
    zone: Option<LocalZone> => ZoneForm, Value("\"none\""),
        "Where this proxy is: a name, or a table. Its requests stay with endpoints of that `zone` as far as is fair.";
    // Before the others, since they may name them.
    networks: Vec<(Arc<str>, Vec<Network>)> => NamedNetworks, Value("{}"),
        "Names for networks, which may stand wherever networks do: { office = [\"203.0.113.0/24\"] }.";
    admin: Option<Admin> => AdminForm, Value("{}"), "The listener for health, metrics and status.";
    log: Log => Table<Log>, Value("{}"), "The application log and the access log.";
    limits: Limits => Table<Limits>, Value("{}"), "Limits that hold for every listener.";
    errors: ErrorPages => ErrorPagesForm, Value("{}"),
        "Error pages by status, where neither the route nor the listener has one.";
}

const SECTION: Section = Section::new("root", "the configuration", "A configuration of lbproxy.");

/// The top level.
pub(crate) const ROOT: Section = Section { keys: &KEYS, ..SECTION };

const KEYS: [Key; length(PARTS)] = joined(PARTS);
const PARTS: &[&[Key]] = &[
    Global::SECTION.keys,
    &[
        key("defaults", Kind::Table(&DEFAULTS), Value("{}"), "Defaults for routes and clusters."),
        LISTENERS,
        ROUTES,
        SITES,
        CLUSTERS,
    ],
];

/// What an included file may have.
pub(crate) const INCLUDED: Section = Section {
    keys: &[INCLUDE, LISTENERS, ROUTES, SITES, CLUSTERS],
    ..Section::new("included", "an included file", "A file named by `include`.")
};

const INCLUDE: Key = key(
    "include",
    Kind::List(&Kind::Text),
    Value("[]"),
    "Further files, as globs relative to this file; they add listeners, routes, sites and clusters.",
);
const LISTENERS: Key =
    key("listener", Kind::List(&<Table<Listener>>::KIND), Value("[]"), "Bound addresses that accept connections.");
const ROUTES: Key =
    key("route", Kind::List(&Kind::Table(&ROUTE)), Value("[]"), "Rules that map a request to an action.");
const SITES: Key =
    key("site", Kind::List(&Kind::Table(&SITE)), Value("[]"), "Hosts with their certificates and routes.");
const CLUSTERS: Key =
    key("cluster", Kind::Map(&Kind::Table(Cluster::SECTION)), Value("{}"), "Named sets of interchangeable endpoints.");

pub(crate) const DEFAULTS: Section = Section {
    keys: &[
        key("route", Kind::Table(&ROUTE), Value("{}"), "For every route; any of its keys but `name`."),
        key("cluster", Kind::Table(Cluster::SECTION), Value("{}"), "For every cluster; any of its keys."),
    ],
    ..Section::new("defaults", "[defaults]", "Fills in, key by key, what a route or a cluster leaves out.")
};

impl Config {
    /// Every key with its value.
    pub(crate) fn document(&self, sources: &Sources) -> Document {
        let writer = Writer::new(sources);
        let Self { workers, grace, .. } = *self;
        let (zone, admin) = (self.zone.clone(), self.admin.clone());
        let (log, limits, networks) = (self.log.clone(), self.limits.clone(), self.networks.clone());
        let errors = self.errors.clone();
        let listeners: Vec<&str> = self.listeners.iter().map(|listener| &*listener.name).collect();
        let clusters: Vec<&str> = self.clusters.iter().map(|cluster| &*cluster.name).collect();
        let named = |listener: &Listener| (listener.name.to_string(), listener.shown(&writer));
        let route = |route: &Route| (route.name.to_string(), route.items(&writer, &listeners, &clusters));
        let cluster = |cluster: &Cluster| (cluster.name.to_string(), cluster.items(&writer));
        Document {
            root: in_order(
                Global { networks, workers, grace, zone, admin, log, limits, errors }.items(&writer),
                &["workers", "grace", "admin"],
            ),
            listeners: self.listeners.iter().map(named).collect(),
            routes: self.routes.iter().map(route).collect(),
            clusters: self.clusters.iter().map(cluster).collect(),
        }
    }
}
