//! Keys of TLS, in both directions.

use crate::table::section::Default::{Required, Unset, Value};
use crate::table::section::{Kind, Section, key, later};

pub(crate) const LISTENER_TLS: Section = Section {
    name: "listener_tls",
    title: "`listener.tls`",
    doc: "TLS towards clients.",
    keys: &[
        key(
            "certificates",
            Kind::List(&Kind::Table(&CERTIFICATE)),
            Value("[]"),
            "Certificates; a client gets the one for the name it asks for, or the first. Those of sites come behind them.",
        ),
        key("cert", Kind::Text, Unset("none"), "Short for one certificate: the certificate, then its chain."),
        key("key", Kind::Text, Unset("none"), "Its private key, not encrypted."),
        key("pem", Kind::Text, Unset("none"), "Short for one certificate: all of it in one file."),
        key("min_version", Kind::Word(&["1.2", "1.3"]), Value("\"1.2\""), "The oldest version that is spoken."),
        key(
            "cipher_suites",
            Kind::Any(&[Kind::Word(&["default"]), Kind::List(&Kind::Text)]),
            Value("\"default\""),
            "Cipher suites, by their IANA or OpenSSL names; all others are off, of TLS 1.3 as well.",
        ),
        key(
            "alpn",
            Kind::List(&Kind::Word(&["h2", "http/1.1"])),
            Value("[\"h2\", \"http/1.1\"]"),
            "Protocols that are offered, the preferred one first.",
        ),
        key(
            "client_auth",
            Kind::Any(&[Kind::Word(&["off"]), Kind::Table(&CLIENT_AUTH)]),
            Value("\"off\""),
            "Whether clients show certificates.",
        ),
        later("acme", "Certificates fetched from an authority."),
    ],
};

pub(crate) const CLUSTER_TLS: Section = Section {
    name: "cluster_tls",
    title: "`cluster.tls`",
    doc: "TLS to the endpoints of a cluster.",
    keys: &[
        key("ca", Kind::Text, Unset("the system's"), "The authorities that are believed, PEM."),
        key(
            "server_name",
            Kind::Text,
            Unset("the endpoint's host"),
            "The name that is asked for and must be in the endpoint's certificate.",
        ),
        key("client_cert", Kind::Text, Unset("none"), "The certificate that lbproxy shows, then its chain, PEM."),
        key("client_key", Kind::Text, Unset("none"), "Its private key, not encrypted, PEM; may be the same file."),
        key(
            "verify",
            Kind::Bool,
            Value("true"),
            "`false` believes whoever answers: the connection is encrypted, to nobody in particular.",
        ),
    ],
};

pub(crate) const CERTIFICATE: Section = Section {
    name: "certificate",
    title: "a certificate",
    doc: "The files of a certificate, PEM: `cert` and `key`, or `pem` alone. Paths are relative to the configuration file.",
    keys: &[
        key("cert", Kind::Text, Unset("none"), "The certificate, then its chain (`fullchain.pem`)."),
        key("key", Kind::Text, Unset("none"), "The private key, not encrypted (`privkey.pem`)."),
        key("pem", Kind::Text, Unset("none"), "Certificate, chain and private key in one file, in any order."),
    ],
};

pub(crate) const CLIENT_AUTH: Section = Section {
    name: "client_auth",
    title: "`client_auth`",
    doc: "Certificates of clients.",
    keys: &[
        key("ca", Kind::Text, Required, "The authorities that are believed, PEM."),
        key(
            "mode",
            Kind::Word(&["required", "optional"]),
            Value("\"required\""),
            "\"required\" refuses clients without a certificate; \"optional\" lets them in and says so.",
        ),
    ],
};
