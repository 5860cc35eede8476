//! What `lbproxy check` says of certificates, without starting anything.

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
}

/// Reads every certificate that the configuration names; everything that is wrong, or soon will be, in the order of the
/// file. Reads files, and nothing else.
#[must_use]
pub fn inspect(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let now = SystemTime::now();
    let mut say = |severity, part: &str, what: String| {
        findings.push(Finding { severity, message: format!("{part}: {what}") });
    };
    for listener in &config.listeners {
        let Some(tls) = &listener.tls else { continue };
        let part = format!("listener {}", listener.name);
        for files in &tls.certificates {
            match Certificate::load(files) {
                Err(error) => say(Severity::Error, &part, error.to_string()),
                Ok(certificate) => {
                    if let Some(told) = certificate.facts.age(now).told() {
                        say(Severity::Warning, &part, format!("{}: {told}", files.cert.display()));
                    }
                    if certificate.facts.names.is_empty() && tls.certificates.len() > 1 {
                        let what = "the certificate names no host: it is only shown where no other fits";
                        say(Severity::Warning, &part, format!("{}: {what}", files.cert.display()));
                    }
                }
            }
        }
        if let Some(Err(error)) = tls.client_auth.as_ref().map(check_authorities) {
            say(Severity::Error, &part, error.to_string());
        }
    }
    for cluster in &config.clusters {
        let tls = cluster.endpoints.iter().find_map(|endpoint| cluster.tls_to(endpoint));
        let Some(tls) = tls else { continue };
        let part = format!("cluster {}", cluster.name);
        if let Err(error) = check_cluster(&tls) {
            say(Severity::Error, &part, error.to_string());
        } else if let Some(files) = &tls.client
            && let Ok(certificate) = Certificate::load(files)
            && let Some(told) = certificate.facts.age(now).told()
        {
            say(Severity::Warning, &part, format!("{}: {told}", files.cert.display()));
        }
    }
    findings
}
