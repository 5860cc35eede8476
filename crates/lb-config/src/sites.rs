//! Sites among one another, and their certificates at the listeners.

use crate::language::diagnostic::Report;
use crate::model::listener::ListenerWritten;
use crate::model::site::SiteWritten;

/// Names are unique, and a host belongs to one site: its settings must not depend on the path.
pub(crate) fn check(report: &mut Report, sites: &[SiteWritten]) {
    for (at, site) in sites.iter().enumerate() {
        for earlier in &sites[..at] {
            if let (Some((name, span)), Some((other, other_span))) = (&site.name, &earlier.name)
                && name == other
            {
                report.error(*span, format!("two sites are named `{name}`")).related("the other one", *other_span);
            }
            if !share_a_listener(site, earlier) {
                continue;
            }
            for (host, span) in &site.hosts {
                if let Some((_, other)) = earlier.hosts.iter().find(|(other, _)| other == host) {
                    report
                        .error(*span, format!("two sites have the host `{}`", host))
                        .help("put their routes into one, or give them different `listeners`")
                        .related("the other one", *other);
                }
            }
            if site.hosts.is_empty() && earlier.hosts.is_empty() {
                report
                    .error(site.span, "two sites without `hosts` take the same requests")
                    .help("put their routes into one, or give them different `listeners`")
                    .related("the other one", earlier.span);
            }
        }
    }
}

fn share_a_listener(a: &SiteWritten, b: &SiteWritten) -> bool {
    let names = |site: &SiteWritten, name: &str| site.listeners.iter().any(|(listener, _)| listener == name);
    a.listeners.is_empty() || b.listeners.is_empty() || a.listeners.iter().any(|(name, _)| names(b, name))
}

/// Adds the certificates of sites to those of their listeners that speak TLS. While a listener (or a site) could not be
/// read, it may be the one that is missing.
pub(crate) fn place_certificates(
    report: &mut Report,
    (listeners, listeners_whole): (&mut [ListenerWritten], bool),
    (sites, sites_whole): (&[SiteWritten], bool),
) {
    for site in sites.iter().filter(|site| !site.certificates.is_empty()) {
        let mut shown = false;
        for written in listeners.iter_mut() {
            let is_meant =
                site.listeners.is_empty() || site.listeners.iter().any(|(name, _)| **name == *written.listener.name);
            let Some(tls) = written.listener.tls.as_mut().filter(|_| is_meant) else { continue };
            shown = true;
            for files in &site.certificates {
                if !tls.certificates.contains(files) {
                    tls.certificates.push(files.clone());
                }
            }
        }
        if let (false, true, Some(span)) = (shown, listeners_whole, site.tls_span) {
            report
                .error(span, "no listener would show the certificate: none of the site's speaks TLS")
                .help("write tls = {} at the listener");
        }
    }
    for written in listeners.iter().filter(|_| sites_whole) {
        if written.listener.tls.as_ref().is_some_and(|tls| tls.certificates.is_empty()) {
            let span = written.tls_span.unwrap_or(written.address_span);
            report
                .error(span, "TLS needs at least one certificate")
                .expected("tls = { cert = \"fullchain.pem\", key = \"privkey.pem\" }, or a [[site]] with `tls`");
        }
    }
}
