//! Which route takes a request.
//!
//! The contract: by host first (exact, then the longest wildcard, then any), within it by path as nginx orders them
//! (exact, then regular expressions in the order of the file, then the longest prefix), and among routes of one path
//! the one that names methods or headers before the one that does not. Trying routes one after another is right for ten
//! of them and too slow for ten thousand, so the table is compiled once: a map of hosts, in each a map of exact paths,
//! a list of regular expressions and a trie of prefixes.
//!
//! **A route that does not take the request is as if it were not there.** When the most particular host has no route
//! for the path, or only one for other methods, the search goes on with shorter prefixes and less particular hosts.
//! nginx stays within the first `server` that matches; here a default route (`path = "/"` without hosts) catches
//! all requests that no route of the host matches, which is what a default route is for. A host that should handle all of
//! its requests has its own `path = "/"`.
//!
//! A listener that redirects to https asks only the routes that name it ([`Router::route_named`]): those that hold for
//! every listener were written for the one with TLS.
//!
//! Methods are case-sensitive. A route for GET takes HEAD too (RFC 9110 §9.3.2: HEAD is GET without the body), unless
//! an equally particular one names HEAD. Only when nothing takes the request, and with another method something would
//! have, the answer is 405; its `Allow` is the sorted union of what those routes take, HEAD with GET.
//!
//! TRACE is taken only by a route that names it. Its answer shows a client what the endpoint received, and so what a proxy
//! in between added: credentials, certificates, addresses (RFC 9110 §9.3.8 warns of it). nginx answers 405 as well.
//!
//! A host that is missing or empty is any host. A header condition holds when one of the lines of that name meets it; a
//! value that is not UTF-8 meets no regular expression.
//!
//! Cost: for a path in its plainest spelling and without regular expressions, three or four small hashes and no
//! allocation, whatever the number of routes; regular expressions of the host are tried one by one, as in nginx.

mod hosts;
mod prefixes;

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use lb_config::{Config, Match, PathPattern, ValuePattern};
use regex::Regex;

use self::hosts::Hosts;
use self::prefixes::Prefixes;
use super::host::MatchHost;
use super::path::{MatchPath, PathError};
use crate::message::{Name, RequestHead};

type Map<K, V> = HashMap<K, V, ahash::RandomState>;

/// What `Allow` says of a route that names no methods: those of RFC 9110 and PATCH, but for the two that it does not take.
const ANY: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// Positions of routes, the most particular first.
type Ranked = Vec<usize>;

/// The routes of a configuration, compiled.
#[derive(Debug)]
pub struct Router {
    /// For each listener its table; listeners with the same routes share one.
    listeners: Vec<usize>,
    /// For each listener that redirects, the table of the routes that name it.
    named: Vec<Option<usize>>,
    tables: Vec<Hosts<Paths>>,
    conditions: Vec<Conditions>,
}

/// What became of the search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routed {
    /// The route at this position of [`Config::routes`] takes it.
    Matched(usize),
    /// Only with another method would a route take it: 405.
    MethodNotAllowed {
        /// The value of `Allow`: methods sorted, separated by a comma and a space. For a route that names none, the
        /// common methods.
        allow: String,
    },
    /// No route takes it: 404.
    NotFound,
    /// The path cannot be matched safely: 400.
    BadPath(PathError),
}

impl Router {
    /// Compiles the routes of `config`. Takes time and memory in proportion to the routes, and that once for each
    /// distinct set of listeners.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let matches: Vec<_> = config.routes.iter().map(|route| &route.matcher).collect();
        let redirects: Vec<_> = config.listeners.iter().map(|listener| listener.redirect_https).collect();
        Self::compile(&redirects, &matches)
    }

    /// As [`new`](Self::new), from what the routes match, in the order of the file, and the number of listeners, none of
    /// which redirects.
    #[must_use]
    pub fn from_matches(listeners: usize, matches: &[&Match]) -> Self {
        Self::compile(&vec![false; listeners], matches)
    }

    fn compile(redirects: &[bool], matches: &[&Match]) -> Self {
        let mut sets: Vec<Vec<usize>> = Vec::new();
        let mut table_of = |takes: &dyn Fn(&Match) -> bool| {
            let set: Vec<_> = matches.iter().enumerate().filter(|(_, m)| takes(m)).map(|(at, _)| at).collect();
            sets.iter().position(|other| *other == set).unwrap_or_else(|| {
                sets.push(set);
                sets.len() - 1
            })
        };
        let mut tables_of = Vec::with_capacity(redirects.len());
        let mut named = Vec::with_capacity(redirects.len());
        for (listener, redirects) in redirects.iter().enumerate() {
            tables_of.push(table_of(&|m| m.listeners.is_empty() || m.listeners.contains(&listener)));
            named.push(redirects.then(|| table_of(&|m| m.listeners.contains(&listener))));
        }
        let conditions: Vec<_> = matches.iter().map(|matcher| Conditions::new(matcher)).collect();
        let tables = sets.iter().map(|set| table(matches, set, &conditions)).collect();
        Self { listeners: tables_of, named, tables, conditions }
    }

    /// Finds the route for a request that came in at the listener at this position of [`Config::listeners`]; one that
    /// does not exist has no routes.
    #[must_use]
    pub fn route(&self, listener: usize, head: &RequestHead) -> Routed {
        self.route_in(self.listeners.get(listener).copied(), head)
    }

    /// As [`route`](Self::route), at a listener that redirects: among the routes that name it. Others have none.
    #[must_use]
    pub fn route_named(&self, listener: usize, head: &RequestHead) -> Routed {
        self.route_in(self.named.get(listener).copied().flatten(), head)
    }

    fn route_in(&self, table: Option<usize>, head: &RequestHead) -> Routed {
        let path = match MatchPath::new(head.path()) {
            Ok(path) => path,
            Err(error) => return Routed::BadPath(error),
        };
        let Some(table) = table.and_then(|table| self.tables.get(table)) else {
            return Routed::NotFound;
        };
        // Where all routes are for any host, none is looked at.
        let host = if table.tells_hosts_apart() { head.host_name() } else { None };
        let host = MatchHost::new(host.unwrap_or_default());
        let routed = self.search(table, host.as_str(), &path.path, head);
        match path.other {
            Some(other) if self.search(table, host.as_str(), &other, head) != routed => {
                Routed::BadPath(PathError::Ambiguous)
            }
            _ => routed,
        }
    }

    fn search(&self, table: &Hosts<Paths>, host: &str, path: &str, head: &RequestHead) -> Routed {
        let method = head.method();
        let method = method.as_bytes();
        let mut only_other_methods = false;
        let found = visit(table, host, path, &mut |routes| {
            for &route in routes {
                let Some(conditions) = self.conditions.get(route) else { continue };
                if conditions.headers_hold(head) {
                    if conditions.takes(method) {
                        return ControlFlow::Break(route);
                    }
                    only_other_methods = true;
                }
            }
            ControlFlow::Continue(())
        });
        match found {
            ControlFlow::Break(route) => Routed::Matched(route),
            ControlFlow::Continue(()) if only_other_methods => {
                Routed::MethodNotAllowed { allow: self.allow(table, host, path, head) }
            }
            ControlFlow::Continue(()) => Routed::NotFound,
        }
    }

    /// What the routes that only another method keeps out would take.
    fn allow(&self, table: &Hosts<Paths>, host: &str, path: &str, head: &RequestHead) -> String {
        let mut methods = BTreeSet::new();
        let _ = visit(table, host, path, &mut |routes| {
            let conditions = routes.iter().filter_map(|&route| self.conditions.get(route));
            for conditions in conditions.filter(|c| c.headers_hold(head)) {
                methods.extend(conditions.methods.iter().map(|method| &**method));
                if methods.contains("GET") {
                    methods.insert("HEAD");
                }
                if conditions.methods.is_empty() {
                    methods.extend(ANY);
                }
            }
            ControlFlow::<()>::Continue(())
        });
        methods.into_iter().collect::<Vec<_>>().join(", ")
    }
}

/// Shows the routes whose host and path match, the most particular first.
fn visit<B>(
    table: &Hosts<Paths>,
    host: &str,
    path: &str,
    visit: &mut impl FnMut(&[usize]) -> ControlFlow<B>,
) -> ControlFlow<B> {
    table.visit(host, &mut |paths| paths.visit(path, visit))
}

fn table(matches: &[&Match], set: &[usize], conditions: &[Conditions]) -> Hosts<Paths> {
    let mut table = Hosts::<Paths>::new();
    for &at in set {
        let Match { hosts, path, .. } = matches[at];
        if hosts.is_empty() {
            table.entry(None).add(path, at);
        }
        for host in hosts {
            table.entry(Some(host)).add(path, at);
        }
    }
    for routes in table.iter_mut().flat_map(Paths::lists) {
        routes.sort_by_key(|&at| std::cmp::Reverse(conditions[at].rank()));
        routes.dedup();
    }
    table
}

/// The routes of one host pattern by path.
#[derive(Debug)]
struct Paths {
    exact: Map<Box<str>, Ranked>,
    regexes: Vec<(Regex, Ranked)>,
    prefixes: Prefixes,
}

impl Default for Paths {
    fn default() -> Self {
        Self { exact: Map::default(), regexes: Vec::new(), prefixes: Prefixes::new() }
    }
}

impl Paths {
    fn add(&mut self, path: &PathPattern, route: usize) {
        match path {
            PathPattern::Exact(path) => self.exact.entry(Box::from(&**path)).or_default().push(route),
            PathPattern::Prefix(prefix) => self.prefixes.entry(prefix).push(route),
            PathPattern::Regex(regex) => {
                // Routes of one pattern are one place in the order of the file, that of the first.
                match self.regexes.iter_mut().find(|(other, _)| other.as_str() == regex.as_str()) {
                    Some((_, routes)) => routes.push(route),
                    None => self.regexes.push((regex.clone(), vec![route])),
                }
            }
        }
    }

    fn lists(&mut self) -> impl Iterator<Item = &mut Ranked> {
        self.exact.values_mut().chain(self.regexes.iter_mut().map(|(_, routes)| routes)).chain(self.prefixes.lists())
    }

    fn visit<B>(&self, path: &str, visit: &mut impl FnMut(&[usize]) -> ControlFlow<B>) -> ControlFlow<B> {
        if let Some(routes) = self.exact.get(path) {
            visit(routes)?;
        }
        for (regex, routes) in &self.regexes {
            if regex.is_match(path) {
                visit(routes)?;
            }
        }
        self.prefixes.visit(path, visit)
    }
}

/// What a route asks of a request beyond host and path.
#[derive(Debug)]
struct Conditions {
    methods: Box<[Arc<str>]>,
    headers: Box<[(Arc<str>, ValuePattern)]>,
}

impl Conditions {
    fn new(matcher: &Match) -> Self {
        Self { methods: matcher.methods.as_slice().into(), headers: matcher.headers.as_slice().into() }
    }

    /// How particular it is: by how many things it names, methods being one, and then whether HEAD is among them, so
    /// that a route for HEAD comes before one that takes it for being GET. The sort that uses it keeps the order of the
    /// file.
    fn rank(&self) -> (usize, bool) {
        let names_methods = usize::from(!self.methods.is_empty());
        (names_methods + self.headers.len(), self.methods.iter().any(|method| &**method == "HEAD"))
    }

    fn takes(&self, asked: &[u8]) -> bool {
        (self.methods.is_empty() && asked != b"TRACE")
            || self
                .methods
                .iter()
                .any(|method| method.as_bytes() == asked || (asked == b"HEAD" && method.as_bytes() == b"GET"))
    }

    fn headers_hold(&self, head: &RequestHead) -> bool {
        self.headers.iter().all(|(name, pattern)| {
            head.headers(Name::new(name)).any(|value| match pattern {
                ValuePattern::Exact(expected) => value == expected.as_bytes(),
                ValuePattern::Regex(regex) => std::str::from_utf8(value).is_ok_and(|value| regex.is_match(value)),
            })
        })
    }
}
