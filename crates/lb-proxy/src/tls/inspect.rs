//! What `lbproxy check` says of certificates, without starting anything.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lb_config::{Config, Severity};

use super::certificate::Certificate;
use super::store::{check_authorities, check_cluster};

/// Something about the certificates of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it keeps the proxy from starting.
    pub severity: Severity,
    /// Which part of the configuration, which file, and what.
    pub message: String,
    /// The file.
    pub file: PathBuf,
}

/// Reads every certificate that the configuration names; everything that is wrong, or soon will be, in the order of the
/// file. Reads files, and nothing else.
#[must_use]
pub fn inspect(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let now = SystemTime::now();
    let mut say = |severity, part: &str, file: &Path, what: String| {
        findings.push(Finding { severity, message: format!("{part}: {what}"), file: file.to_owned() });
    };
    for listener in &config.listeners {
        let Some(tls) = &listener.tls else { continue };
        let part = format!("listener {}", listener.name);
        for files in &tls.certificates {
            match Certificate::load(files) {
                Err(error) => say(Severity::Error, &part, &error.file, error.to_string()),
                Ok(certificate) => {
                    for (file, warning) in certificate.warnings(files, now) {
                        say(Severity::Warning, &part, file, format!("{}: {warning}", file.display()));
                    }
                    if certificate.facts.names.is_empty() && tls.certificates.len() > 1 {
                        let what = "the certificate names no host: it is only shown where no other fits";
                        say(Severity::Warning, &part, &files.cert, format!("{}: {what}", files.cert.display()));
                    }
                }
            }
        }
        if let Some(Err(error)) = tls.client_auth.as_ref().map(check_authorities) {
            say(Severity::Error, &part, &error.file, error.to_string());
        }
    }
    for cluster in &config.clusters {
        let tls = cluster.endpoints.iter().find_map(|endpoint| cluster.tls_to(endpoint));
        let Some(tls) = tls else { continue };
        let part = format!("cluster {}", cluster.name);
        if let Err(error) = check_cluster(&tls) {
            say(Severity::Error, &part, &error.file, error.to_string());
        } else if let Some(files) = &tls.client
            && let Ok(certificate) = Certificate::load(files)
        {
            for (file, warning) in certificate.warnings(files, now) {
                say(Severity::Warning, &part, file, format!("{}: {warning}", file.display()));
            }
        }
    }
    findings
}
