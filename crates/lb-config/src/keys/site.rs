//! Keys of sites: their own, and those of routes, which theirs inherit.

use super::{CERTIFICATE, ROUTE};
use crate::table::section::Default::{Unset, Value};
use crate::table::section::{Key, Kind, Section, key};

/// What only a site has, or has in another sense than a route.
pub(crate) const SITE_OWN: &[Key] = &[
    key("name", Kind::Text, Unset("written from its hosts"), "Its name; names of its routes begin with it."),
    key(
        "hosts",
        Kind::List(&Kind::Text),
        Value("[]"),
        "Hosts of its routes, \"example.com\" or \"*.example.com\"; none means any.",
    ),
    key("listeners", Kind::List(&Kind::Text), Value("[]"), "Names of the listeners it holds for; none means all."),
    key(
        "tls",
        Kind::Table(&SITE_TLS),
        Unset("none"),
        "Certificates for its hosts, shown at those of its listeners that have `tls`.",
    ),
    key(
        "route",
        Kind::List(&Kind::Table(&ROUTE)),
        Value("[]"),
        "Its routes, [[site.route]]; without any, the site is one route itself.",
    ),
];

pub(crate) const SITE: Section = Section {
    name: "site",
    title: "[[site]]",
    doc: "Hosts with everything that belongs to them. Its routes inherit every key of a route that it has.",
    keys: &KEYS,
};

pub(crate) const SITE_TLS: Section = Section {
    name: "site_tls",
    title: "`site.tls`",
    doc: "Certificates of a site.",
    keys: &[
        key(
            "certificates",
            Kind::List(&Kind::Table(&CERTIFICATE)),
            Value("[]"),
            "Certificates; several for one name, such as ECDSA and RSA, are tried in this order.",
        ),
        key("cert", Kind::Text, Unset("none"), "Short for one certificate: the certificate, then its chain."),
        key("key", Kind::Text, Unset("none"), "Its private key, not encrypted."),
        key("pem", Kind::Text, Unset("none"), "Short for one certificate: all of it in one file."),
    ],
};

const LENGTH: usize = {
    let (mut at, mut length) = (0, SITE_OWN.len());
    while at < ROUTE.keys.len() {
        length += !is_own(ROUTE.keys[at].name) as usize;
        at += 1;
    }
    length
};

/// A site's own keys, then a route's others.
const KEYS: [Key; LENGTH] = {
    let mut keys = [SITE_OWN[0]; LENGTH];
    let (mut at, mut next) = (0, 0);
    while at < SITE_OWN.len() {
        keys[next] = SITE_OWN[at];
        (at, next) = (at + 1, next + 1);
    }
    at = 0;
    while at < ROUTE.keys.len() {
        if !is_own(ROUTE.keys[at].name) {
            keys[next] = ROUTE.keys[at];
            next += 1;
        }
        at += 1;
    }
    keys
};

const fn is_own(name: &str) -> bool {
    let mut at = 0;
    while at < SITE_OWN.len() {
        if equal(SITE_OWN[at].name.as_bytes(), name.as_bytes()) {
            return true;
        }
        at += 1;
    }
    false
}

/// `==` is not to be had in constants.
const fn equal(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}
