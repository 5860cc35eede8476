//! What was read of certificates, and is kept: the last good of each, and the keys of tickets.
//!
//! A renewal may be half written when the reload comes, or have gone wrong. The proxy then goes on with what it read
//! before and says so; only what was never good stops a start, or has the reload refused.
//!
//! Tickets let a client resume its session without a full handshake. Their keys are shared by all workers and
//! outlive reloads, but belong to one listener with one set of client authorities: a session that began without a
//! client certificate must not be resumed where one is required.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use lb_config::{CertificateFiles, ClientAuth, Cluster, ClusterTls, Config, Endpoint, ListenAddress, ListenerTls};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ProducesTickets, WebPkiClientVerifier};

use super::certificate::{Certificate, roots};
use super::exposure;
use super::named::NamedClients;
use super::pem::{CertificateError, Problem, Sections};
use super::provider;
use super::terminator::Terminator;
use super::upstream::{Material, UpstreamTls};
use crate::events::{Event, Events};

/// What outlives a reload.
#[derive(Default)]
pub(crate) struct Store {
    certificates: HashMap<CertificateFiles, Arc<Certificate>>,
    authorities: HashMap<ClientAuth, Authorities>,
    tickets: HashMap<TicketsOf, Arc<dyn ProducesTickets>>,
    /// By what the configuration says; with the mark of what was read.
    settings: Vec<(ClusterTls, blake3::Hash, Arc<ClientConfig>)>,
}

/// What was read for one configuration.
pub(crate) struct Loaded {
    /// One a listener, `None` for those without TLS.
    pub(crate) listeners: Vec<Option<Arc<Terminator>>>,
    /// One a cluster.
    pub(crate) clusters: Vec<ClusterSettings>,
}

/// TLS to the endpoints of a cluster.
#[derive(Clone, Default)]
pub(crate) struct ClusterSettings(Option<Arc<ClientConfig>>);

impl ClusterSettings {
    /// How this endpoint is reached; `None` in the clear.
    pub(crate) fn to(&self, cluster: &Cluster, endpoint: &Endpoint) -> Option<UpstreamTls> {
        UpstreamTls::new(self.0.as_ref()?, &cluster.tls_to(endpoint)?, endpoint, cluster.http2)
    }
}

/// Whose tickets they are: a listener, and the mark of its client authorities.
type TicketsOf = (ListenAddress, Option<blake3::Hash>);

/// Trusted authorities for client certificates.
#[derive(Clone)]
struct Authorities {
    verifier: Arc<dyn ClientCertVerifier>,
    /// Differs where the authorities or the mode do.
    mark: blake3::Hash,
}

impl Store {
    /// Reads the files of every listener and cluster. Certificates that are of no
    /// age to be shown are shown, with a warning, as nginx does.
    ///
    /// # Errors
    /// A file cannot be used and none read before can stand in. Nothing has changed then.
    pub(crate) fn load(&mut self, config: &Config, events: &Events) -> Result<Loaded, CertificateError> {
        let mut next = Self::default();
        let now = SystemTime::now();
        let listeners = config
            .listeners
            .iter()
            .map(|listener| {
                let Some(tls) = &listener.tls else { return Ok(None) };
                let certificates = tls.certificates.iter().map(|files| {
                    let certificate = self.certificate(files, &mut next, now, events)?;
                    Ok(Arc::clone(&certificate))
                });
                let certificates = certificates.collect::<Result<Vec<_>, _>>()?;
                let authorities =
                    tls.client_auth.as_ref().map(|auth| self.authorities(auth, &mut next, events)).transpose()?;
                let tickets_of = (listener.address.clone(), authorities.as_ref().map(|it| it.mark));
                let ticketer = self.tickets(&tickets_of, tls)?;
                next.tickets.insert(tickets_of, Arc::clone(&ticketer));
                let verifier = authorities.map(|authorities| authorities.verifier);
                Terminator::new(tls, certificates, verifier, ticketer).map(Arc::new).map(Some)
            })
            .collect::<Result<_, _>>()?;
        let clusters = config.clusters.iter().map(|cluster| {
            // All endpoints of a cluster that have TLS have the same.
            let tls = cluster.endpoints.iter().find_map(|endpoint| cluster.tls_to(endpoint));
            tls.map(|tls| self.settings(&tls, &mut next, events)).transpose().map(ClusterSettings)
        });
        let clusters = clusters.collect::<Result<_, _>>()?;
        *self = next;
        Ok(Loaded { listeners, clusters })
    }

    /// The same as before where nothing has changed, so that connections and sessions are kept.
    fn settings(
        &self,
        tls: &ClusterTls,
        next: &mut Self,
        events: &Events,
    ) -> Result<Arc<ClientConfig>, CertificateError> {
        if let Some((_, _, made)) = next.settings.iter().find(|(of, _, _)| of == tls) {
            return Ok(Arc::clone(made));
        }
        if let Some((key, warning)) =
            tls.client.as_ref().and_then(|files| Some((&files.key, exposure::warning(&files.key)?)))
        {
            tracing::warn!("{}: {warning}", key.display());
        }
        let last = self.settings.iter().find(|(of, _, _)| of == tls);
        let made = Material::read(tls).and_then(|material| match last {
            Some((_, mark, made)) if *mark == material.mark => Ok((*mark, Arc::clone(made))),
            _ => Ok((material.mark, material.settings(tls)?)),
        });
        let (mark, made) = match (made, last) {
            (Ok(made), _) => made,
            (Err(error), Some((_, mark, made))) => {
                events.emit(kept(&error, "what was read before stays in force"));
                (*mark, Arc::clone(made))
            }
            (Err(error), None) => return Err(error),
        };
        next.settings.push((tls.clone(), mark, Arc::clone(&made)));
        Ok(made)
    }

    fn certificate(
        &self,
        files: &CertificateFiles,
        next: &mut Self,
        now: SystemTime,
        events: &Events,
    ) -> Result<Arc<Certificate>, CertificateError> {
        if let Some(read) = next.certificates.get(files) {
            return Ok(Arc::clone(read));
        }
        let certificate = match (Certificate::load(files), self.certificates.get(files)) {
            (Ok(read), _) => Arc::new(read),
            (Err(error), Some(last)) => {
                events.emit(kept(&error, "the certificate that was read before stays in force"));
                Arc::clone(last)
            }
            (Err(error), None) => return Err(error),
        };
        for (file, warning) in certificate.warnings(files, now) {
            tracing::warn!("{}: {warning}", file.display());
        }
        next.certificates.insert(files.clone(), Arc::clone(&certificate));
        Ok(certificate)
    }

    fn authorities(
        &self,
        auth: &ClientAuth,
        next: &mut Self,
        events: &Events,
    ) -> Result<Authorities, CertificateError> {
        if let Some(read) = next.authorities.get(auth) {
            return Ok(read.clone());
        }
        let authorities = match (Authorities::load(auth), self.authorities.get(auth)) {
            (Ok(read), _) => read,
            (Err(error), Some(last)) => {
                events.emit(kept(&error, "the authorities that were read before stay in force"));
                last.clone()
            }
            (Err(error), None) => return Err(error),
        };
        next.authorities.insert(auth.clone(), authorities.clone());
        Ok(authorities)
    }

    fn tickets(&self, of: &TicketsOf, tls: &ListenerTls) -> Result<Arc<dyn ProducesTickets>, CertificateError> {
        if let Some(known) = self.tickets.get(of) {
            return Ok(Arc::clone(known));
        }
        Ticketer::new().map_err(|error| {
            // Fails only where the system has no randomness to give.
            let file = tls.certificates.first().map_or(Path::new(""), |files| &files.cert);
            CertificateError::new(file, Problem::Settings(format!("no ticket keys could be made: {error}")))
        })
    }
}

impl Authorities {
    /// # Errors
    /// The file cannot be used.
    fn load(auth: &ClientAuth) -> Result<Self, CertificateError> {
        let wrong = |what: String| CertificateError::new(&auth.ca, Problem::BadCertificate(what));
        let certificates = Sections::read(&auth.ca)?.certificates(&auth.ca)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[u8::from(auth.required)]);
        for certificate in &certificates {
            hasher.update(&(certificate.len() as u64).to_le_bytes()).update(certificate);
        }
        let roots = roots(&auth.ca, certificates.clone())?;
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider()));
        let builder = if auth.required { builder } else { builder.allow_unauthenticated() };
        let verifier = builder.build().map_err(|error| wrong(error.to_string()))?;
        Ok(Self { verifier: Arc::new(NamedClients::new(certificates, verifier)), mark: hasher.finalize() })
    }
}

/// Checks the files of a cluster, for `check`.
pub(super) fn check_cluster(tls: &ClusterTls) -> Result<(), CertificateError> {
    Material::read(tls)?.settings(tls).map(drop)
}

/// Checks the authorities of clients, for `check`.
pub(super) fn check_authorities(auth: &ClientAuth) -> Result<(), CertificateError> {
    Authorities::load(auth).map(drop)
}

fn kept(error: &CertificateError, kept: &'static str) -> Event {
    Event::TlsKept { why: error.to_string(), kept }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration with a TLS listener whose certificate is `all.pem` here.
    fn config(directory: &Path, more: &str) -> Config {
        let file = directory.join("all.pem");
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\nredirect = \"https\"\n\
             tls.certificates = [{{ pem = \"{}\" }}]\n{more}",
            file.display()
        );
        Config::parse(&text, &|_| None).unwrap_or_else(|wrong| panic!("{wrong}")).config
    }

    fn write(directory: &Path) {
        let made = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
        std::fs::write(directory.join("all.pem"), made.cert.pem() + &made.signing_key.serialize_pem()).unwrap();
    }

    fn shown(loaded: &Loaded) -> Vec<u8> {
        let certificate = loaded.listeners[0].as_ref().unwrap().first_certificate();
        certificate.certified.cert[0].to_vec()
    }

    #[test]
    fn a_new_certificate_is_taken_up_and_a_bad_one_leaves_the_last_good_in_force() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path(), "");
        let mut store = Store::default();
        assert!(store.load(&config, &Events::default()).is_err(), "there is no file yet");
        write(directory.path());
        let first = shown(&store.load(&config, &Events::default()).unwrap());
        assert_eq!(shown(&store.load(&config, &Events::default()).unwrap()), first);
        write(directory.path());
        let second = shown(&store.load(&config, &Events::default()).unwrap());
        assert_ne!(second, first);
        std::fs::write(directory.path().join("all.pem"), "half writt").unwrap();
        assert_eq!(shown(&store.load(&config, &Events::default()).unwrap()), second);
        assert_eq!(shown(&store.load(&config, &Events::default()).unwrap()), second, "and again");
        assert!(Store::default().load(&config, &Events::default()).is_err());
    }

    #[test]
    fn tickets_outlive_a_reload_and_not_a_change_of_client_authorities() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path());
        let (plain, auth) = (config(directory.path(), ""), {
            let ca = directory.path().join("all.pem");
            config(directory.path(), &format!("tls.client_auth.ca = \"{}\"\n", ca.display()))
        });
        let mut store = Store::default();
        let ticket = |store: &mut Store, config: &Config| {
            let loaded = store.load(config, &Events::default()).unwrap();
            Arc::clone(&loaded.listeners[0].as_ref().unwrap().settings().unwrap().ticketer)
        };
        let first = ticket(&mut store, &plain);
        let sealed = first.encrypt(b"session").unwrap();
        write(directory.path());
        assert_eq!(ticket(&mut store, &plain).decrypt(&sealed).as_deref(), Some(&b"session"[..]));
        assert_eq!(ticket(&mut store, &auth).decrypt(&sealed), None);
    }
}
