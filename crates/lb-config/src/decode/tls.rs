//! TLS.

use std::path::{Component, Path, PathBuf};

use crate::keys::{CERTIFICATE, CLIENT_AUTH, CLUSTER_TLS, LISTENER_TLS};
use crate::language::diagnostic::Report;
use crate::language::suggest::nearest;
use crate::language::tree::Node;
use crate::language::values::{Wrong, http};
use crate::valid::{Alpn, CertificateFiles, CipherSuite, ClientAuth, ClusterTls, ListenerTls, TlsVersion};

use crate::table::convert::{self, list, or_word};
use crate::table::fields::Fields;

pub(crate) const CERTIFICATE_EXPECTED: &str =
    "{ cert = \"fullchain.pem\", key = \"privkey.pem\" } or { pem = \"all.pem\" }";

const ALPN: [(&str, Alpn); 2] = [("h2", Alpn::H2), ("http/1.1", Alpn::Http11)];

pub(crate) fn listener_tls(report: &mut Report, node: &Node, directories: &[PathBuf]) -> Option<ListenerTls> {
    let fields = Fields::open(report, node, &LISTENER_TLS)?;
    let certificates = certificates(report, &fields, directories);
    let versions = [("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];
    let min_version = fields.word(report, "min_version", &versions);
    let cipher_suites = fields.get(report, "cipher_suites", or_word("default", list(cipher_suite)));
    fields.knows_words("alpn", &ALPN);
    let alpn = fields.get(report, "alpn", list(|report, node| convert::word(report, node, &ALPN)));
    let client_auth =
        fields.get(report, "client_auth", or_word("off", |report, node| client_auth(report, node, directories)));
    let spot = |name| fields.entry(name).map_or(fields.span, |entry| entry.node.span);
    let (min_version, cipher_suites) = (min_version?, cipher_suites?);
    if let Some(suites) = &cipher_suites {
        let usable = |version| version >= min_version && suites.iter().any(|suite| suite.version() == version);
        if !usable(TlsVersion::V1_2) && !usable(TlsVersion::V1_3) {
            let message = "no cipher suite is left of the versions that are spoken";
            report.error(spot("cipher_suites"), message).help("leave `cipher_suites` out");
            return None;
        }
        for (version, name) in [(TlsVersion::V1_2, "1.2"), (TlsVersion::V1_3, "1.3")] {
            if version >= min_version && !usable(version) {
                let message = format!("TLS {name} is off: `cipher_suites` has none of its suites");
                report.warning(spot("cipher_suites"), message);
            }
        }
    }
    fields.done();
    Some(ListenerTls {
        certificates: certificates?,
        min_version,
        cipher_suites: cipher_suites.unwrap_or_default(),
        alpn: alpn?,
        client_auth: client_auth?,
    })
}

pub(crate) fn cluster_tls(report: &mut Report, node: &Node, directories: &[PathBuf]) -> Option<ClusterTls> {
    let fields = Fields::open(report, node, &CLUSTER_TLS)?;
    let [ca, cert, key] = ["ca", "client_cert", "client_key"]
        .map(|name| fields.maybe(report, name, |report, node| path(report, node, directories)));
    let server_name = fields.maybe(report, "server_name", server_name);
    let verify = fields.get(report, "verify", convert::boolean);
    if let (Some(false), Some(entry)) = (verify, fields.entry("ca")) {
        report.warning(entry.key_span, "`ca` has no effect where `verify = false`");
    }
    let span = fields.span;
    fields.done();
    let client = match (cert?, key?) {
        (Some(cert), Some(key)) => Some(CertificateFiles { cert, key }),
        (None, None) => None,
        (Some(_), None) => {
            report.error(span, "`client_cert` needs a `client_key`").help("it may be the same file");
            return None;
        }
        (None, Some(_)) => {
            report.error(span, "`client_key` needs a `client_cert`").help("it may be the same file");
            return None;
        }
    };
    Some(ClusterTls { ca: ca?, server_name: server_name?.map(Into::into), client, verify: verify? })
}

/// A name or an address, as it stands in certificates.
fn server_name(report: &mut Report, node: &Node) -> Option<String> {
    const EXPECTED: &str = "a host name such as \"app.internal\", or an address";
    convert::read(report, node, EXPECTED, |text| {
        if text.parse::<std::net::IpAddr>().is_ok() {
            return Ok(text.to_owned());
        }
        match http::host_name(text) {
            Ok(()) => Ok(text.to_ascii_lowercase()),
            Err(what) => Err(Wrong::new(what, EXPECTED)),
        }
    })
}

/// The certificates of a listener or a site: a list of them, or one in short; `{}` has none.
pub(crate) fn certificates(
    report: &mut Report,
    fields: &Fields<'_>,
    directories: &[PathBuf],
) -> Option<Vec<CertificateFiles>> {
    let all = fields.get(report, "certificates", list(|report, node| certificate(report, node, directories)));
    let short: Vec<_> = ["cert", "key", "pem"].into_iter().filter_map(|name| fields.entry(name)).collect();
    let Some(short) = short.first() else { return all };
    if let Some(long) = fields.entry("certificates") {
        report
            .error(short.key_span, format!("`{}` beside `certificates` says the same in two ways", short.key))
            .help("write every certificate in `certificates`")
            .related("the other", long.key_span);
        return None;
    }
    pair(report, fields, directories).map(|files| vec![files])
}

fn certificate(report: &mut Report, node: &Node, directories: &[PathBuf]) -> Option<CertificateFiles> {
    let fields = Fields::open(report, node, &CERTIFICATE)?;
    let files = pair(report, &fields, directories);
    fields.done();
    files
}

/// `cert` and `key`, or `pem` alone.
fn pair(report: &mut Report, fields: &Fields<'_>, directories: &[PathBuf]) -> Option<CertificateFiles> {
    let [cert, key, pem] =
        ["cert", "key", "pem"].map(|name| fields.maybe(report, name, |report, node| path(report, node, directories)));
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

fn client_auth(report: &mut Report, node: &Node, directories: &[PathBuf]) -> Option<ClientAuth> {
    let fields = Fields::open(report, node, &CLIENT_AUTH)?;
    let ca = fields.get(report, "ca", |report, node| path(report, node, directories));
    let required = fields.word(report, "mode", &[("required", true), ("optional", false)]);
    fields.done();
    Some(ClientAuth { ca: ca?, required: required? })
}

/// A file, relative to the one that names it.
fn path(report: &mut Report, node: &Node, directories: &[PathBuf]) -> Option<PathBuf> {
    let text = convert::text(report, node)?;
    let base = directories.get(node.span.file).cloned().unwrap_or_default();
    let path = relative_to(base, Path::new(&text));
    report.names_file(&path, node.span);
    Some(path)
}

/// `/etc/certs/a.pem` for `../certs/a.pem` in `/etc/lbproxy`. Only what leads out of `base` is undone, since that has no
/// links in it; what comes after a link's name is the system's to follow.
fn relative_to(mut base: PathBuf, path: &Path) -> PathBuf {
    let mut parts = path.components().peekable();
    while let Some(part) = parts.peek() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if base.is_absolute() => {
                base.pop();
            }
            _ => break,
        }
        parts.next();
    }
    parts.for_each(|part| base.push(part));
    base
}

fn cipher_suite(report: &mut Report, node: &Node) -> Option<CipherSuite> {
    const EXPECTED: &str = "a cipher suite such as \"TLS_AES_256_GCM_SHA384\" or \"ECDHE-RSA-AES256-GCM-SHA384\"";
    convert::read(report, node, EXPECTED, |text| {
        let is = |suite: &CipherSuite| {
            text.eq_ignore_ascii_case(suite.name()) || text.eq_ignore_ascii_case(suite.openssl_name())
        };
        CipherSuite::ALL.into_iter().find(is).ok_or_else(|| {
            let names = CipherSuite::ALL.iter().flat_map(|suite| [suite.openssl_name(), suite.name()]);
            match nearest(text, names) {
                Some(near) => Wrong::new("is no cipher suite that lbproxy has", EXPECTED)
                    .help(format!("did you mean \"{near}\"?")),
                None if text.contains(':') => Wrong::new("is no cipher suite", EXPECTED)
                    .help("write a list of names in place of one text with colons"),
                None => Wrong::new("is no cipher suite that lbproxy has", EXPECTED),
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_relative_to_the_file_that_names_it() {
        for (base, path, expected) in [
            ("/etc/lbproxy", "a.pem", "/etc/lbproxy/a.pem"),
            ("/etc/lbproxy", "../certs/a.pem", "/etc/certs/a.pem"),
            ("/etc/lbproxy", "./../../a.pem", "/a.pem"),
            ("/etc/lbproxy", "live/../a.pem", "/etc/lbproxy/live/../a.pem"),
            ("/etc/lbproxy", "/a.pem", "/a.pem"),
            ("", "../a.pem", "../a.pem"),
        ] {
            assert_eq!(relative_to(base.into(), Path::new(path)), PathBuf::from(expected), "{path}");
        }
    }
}
