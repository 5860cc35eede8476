//! `cluster.tls`: TLS towards endpoints. Files and rules; none of the files is read here.

use std::path::PathBuf;
use std::sync::Arc;

use crate::language::diagnostic::Report;
use crate::language::tree::Node;
use crate::language::values::{ValueError, http};
use crate::model::certificate::CertificateFiles;
use crate::table::block::{Block, Keys, Table, block};
use crate::table::convert;
use crate::table::fields::Fields;
use crate::table::form::{Bool, FilePath, Form, Maybe, form};
use crate::table::item::{Item, Writer, text};
use crate::table::section::Default::{Unset, Value};
use crate::table::section::{Kind, Section};

/// TLS towards the endpoints of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterTls {
    /// The trusted authorities, PEM; `None` is the system's.
    pub ca: Option<PathBuf>,
    /// The name that is asked for and must be in the certificate; `None` is the endpoint's host.
    pub server_name: Option<Arc<str>>,
    /// The certificate that we show.
    pub client: Option<CertificateFiles>,
    /// Whether the endpoint's certificate must hold.
    pub verify: bool,
}

impl Default for ClusterTls {
    /// The system's authorities, the endpoint's host, and no excuses.
    fn default() -> Self {
        Self { ca: None, server_name: None, client: None, verify: true }
    }
}

block! {
    /// The keys as they are written.
    struct Written =
        Section::new("cluster_tls", "`cluster.tls`", "TLS to the endpoints of a cluster.")
            .example("tls = { ca = \"ca.pem\" }, or tls = {} for the system's authorities");
    ca: Option<PathBuf> => Maybe<FilePath>, Unset("the system's"), "The trusted authorities, PEM.";
    server_name: Option<Arc<str>> => Maybe<ServerName>, Unset("the endpoint's host"),
        "The name that is asked for and must be in the endpoint's certificate.";
    client_cert: Option<PathBuf> => Maybe<FilePath>, Unset("none"),
        "The certificate that lbproxy shows, then its chain, PEM.";
    client_key: Option<PathBuf> => Maybe<FilePath>, Unset("none"),
        "Its private key, not encrypted, PEM; may be the same file.";
    verify: bool => Bool, Value("true"),
        "`false` accepts any certificate: the connection is encrypted, but the endpoint is not authenticated.";
}

impl Block for Written {
    fn check_keys(report: &mut Report, fields: &Fields<'_>) -> Option<()> {
        let message = match (fields.entry("client_cert"), fields.entry("client_key")) {
            (Some(_), None) => "`client_cert` needs a `client_key`",
            (None, Some(_)) => "`client_key` needs a `client_cert`",
            _ => return Some(()),
        };
        report.error(fields.span, message).help("it may be the same file");
        None
    }

    fn check(self, report: &mut Report, fields: &Fields<'_>) -> Option<Self> {
        if let (false, Some(entry)) = (self.verify, fields.entry("ca")) {
            report.warning(entry.key_span, "`ca` has no effect where `verify = false`");
        }
        Some(self)
    }
}

/// TLS of a cluster.
pub(crate) struct ClusterTlsForm;

impl Form for ClusterTlsForm {
    type Value = ClusterTls;
    const KIND: Kind = <Table<Written>>::KIND;

    fn read(report: &mut Report, node: &Node) -> Option<ClusterTls> {
        let Written { ca, server_name, client_cert, client_key, verify } = Written::read(report, node)?;
        let client = client_cert.zip(client_key).map(|(cert, key)| CertificateFiles { cert, key });
        Some(ClusterTls { ca, server_name, client, verify })
    }

    fn show(value: &ClusterTls, writer: &Writer<'_>) -> Option<Item> {
        let ClusterTls { ca, server_name, client, verify } = value.clone();
        let (client_cert, client_key) = client.map(|files| (files.cert, files.key)).unzip();
        Some(Item::Table(Written { ca, server_name, client_cert, client_key, verify }.items(writer)))
    }
}

form! {
    /// A name or an address, as it stands in certificates.
    ServerName: Arc<str> = Kind::Text;
    read: server_name,
    show: |name, _| text(name),
}

fn server_name(report: &mut Report, node: &Node) -> Option<Arc<str>> {
    const EXPECTED: &str = "a host name such as \"app.internal\", or an address";
    convert::read(report, node, EXPECTED, |text| {
        if text.parse::<std::net::IpAddr>().is_ok() {
            return Ok(text.into());
        }
        match http::host_name(text) {
            Ok(()) => Ok(text.to_ascii_lowercase().into()),
            Err(what) => Err(ValueError::new(what, EXPECTED)),
        }
    })
}
