//! Certificates: their files, in a list or in short.

use std::path::PathBuf;

use crate::language::diagnostic::Report;
use crate::language::tree::Node;
use crate::table::convert::list;
use crate::table::fields::Fields;
use crate::table::form::{FilePath, Form};
use crate::table::item::{Item, Leaf, Writer, quoted};
use crate::table::section::Default::Unset;
use crate::table::section::{Key, Kind, Section, key};

/// Where a certificate, the chain to its root, and its private key are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateFiles {
    /// The certificate and its chain, PEM.
    pub cert: PathBuf,
    /// The private key, PEM; the same file where all are in one.
    pub key: PathBuf,
}

const CERTIFICATE: Section = Section {
    keys: &[
        key("cert", Kind::Text, Unset("none"), "The certificate, then its chain (`fullchain.pem`)."),
        key("key", Kind::Text, Unset("none"), "The private key, not encrypted (`privkey.pem`)."),
        key("pem", Kind::Text, Unset("none"), "Certificate, chain and private key in one file, in any order."),
    ],
    ..Section::new(
        "certificate",
        "a certificate",
        "The files of a certificate, PEM: `cert` and `key`, or `pem` alone. Paths are relative to the configuration file.",
    )
    .example("certificates = [{ cert = \"fullchain.pem\", key = \"privkey.pem\" }]")
};

pub(crate) const CERTIFICATE_EXPECTED: &str =
    "{ cert = \"fullchain.pem\", key = \"privkey.pem\" } or { pem = \"all.pem\" }";

/// The certificates of a listener or a site: `certificates`, or one in short by `cert` and `key` or `pem` beside it.
pub(crate) struct Certificates;

impl Form for Certificates {
    type Value = Vec<CertificateFiles>;
    const KIND: Kind = Kind::List(&Kind::Table(&CERTIFICATE));

    fn read(report: &mut Report, node: &Node) -> Option<Vec<CertificateFiles>> {
        list(certificate)(report, node)
    }

    fn show(all: &Vec<CertificateFiles>, _: &Writer<'_>) -> Option<Item> {
        let all: Vec<String> = all.iter().map(written).collect();
        let all = format!("[{}]", all.join(", "));
        Some(Item::Leaf(Leaf { toml: all.clone(), value: all, quiet: false }))
    }

    fn field(report: &mut Report, fields: &Fields<'_>, key: &'static str) -> Option<Vec<CertificateFiles>> {
        let all = fields.get(report, key, Self::read);
        let short: Vec<_> = ["cert", "key", "pem"].into_iter().filter_map(|name| fields.entry(name)).collect();
        let Some(short) = short.first() else { return all };
        if let Some(long) = fields.entry(key) {
            report
                .error(short.key_span, format!("`{}` and `certificates` exclude each other", short.key))
                .help("write every certificate in `certificates`")
                .related("the other", long.key_span);
            return None;
        }
        pair(report, fields).map(|files| vec![files])
    }
}

// The keys that are short for one certificate.
pub(crate) const CERT: Key =
    key("cert", Kind::Text, Unset("none"), "Short for one certificate: the certificate, then its chain.");
pub(crate) const KEY: Key = key("key", Kind::Text, Unset("none"), "Its private key, not encrypted.");
pub(crate) const PEM: Key = key("pem", Kind::Text, Unset("none"), "Short for one certificate: all of it in one file.");

fn certificate(report: &mut Report, node: &Node) -> Option<CertificateFiles> {
    let fields = Fields::open(report, node, &CERTIFICATE)?;
    let files = pair(report, &fields);
    fields.done();
    files
}

/// `cert` and `key`, or `pem` alone.
fn pair(report: &mut Report, fields: &Fields<'_>) -> Option<CertificateFiles> {
    let [cert, key, pem] = ["cert", "key", "pem"].map(|name| fields.maybe(report, name, FilePath::read));
    let span = fields.span;
    match (cert?, key?, pem?) {
        (Some(cert), Some(key), None) => Some(CertificateFiles { cert, key }),
        (None, None, Some(pem)) => Some(CertificateFiles { cert: pem.clone(), key: pem }),
        (cert, key, pem) => {
            let what = match (cert, key, pem) {
                (None, None, None) => "names no file",
                (Some(_), None, None) => "has no `key`",
                (None, Some(_), None) => "has no `cert`",
                _ => "has a `pem`, which is `cert` and `key` in one",
            };
            report.error(span, format!("a certificate {what}")).expected(CERTIFICATE_EXPECTED);
            None
        }
    }
}

/// The files of a certificate as an inline table.
fn written(files: &CertificateFiles) -> String {
    let path = |path: &std::path::Path| quoted(&path.display().to_string());
    if files.cert == files.key {
        format!("{{ pem = {} }}", path(&files.cert))
    } else {
        format!("{{ cert = {}, key = {} }}", path(&files.cert), path(&files.key))
    }
}
