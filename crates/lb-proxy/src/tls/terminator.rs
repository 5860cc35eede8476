//! What a listener needs to end TLS: the settings of the handshake.

use std::sync::Arc;
use std::time::SystemTime;

use lb_config::{Alpn, ListenerTls, TlsVersion};
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ServerConfig, SupportedProtocolVersion};

use super::certificate::Certificate;
use super::choice::Choice;
use super::pem::{CertificateError, Problem};
use super::{provider, sessions};

/// TLS of one listener, as of one reload.
#[derive(Debug)]
pub(crate) struct Terminator {
    settings: Settings,
    choice: Arc<Choice>,
}

/// What the library needs for a handshake.
#[derive(Debug)]
enum Settings {
    /// The same for every connection.
    Shared(Arc<ServerConfig>),
    /// Clients are asked for certificates: made for each handshake, see [`sessions`].
    AskingClients(Box<Asking>),
}

/// What the settings of a handshake with a client certificate are made from.
#[derive(Debug)]
struct Asking {
    cryptography: Arc<CryptoProvider>,
    versions: &'static [&'static SupportedProtocolVersion],
    protocols: Vec<Vec<u8>>,
    clients: Arc<dyn ClientCertVerifier>,
    tickets: Arc<dyn ProducesTickets>,
    clock: Arc<dyn TimeProvider>,
}

impl Terminator {
    /// # Errors
    /// The settings leave nothing that could be spoken.
    pub(crate) fn new(
        tls: &ListenerTls,
        certificates: Vec<Arc<Certificate>>,
        clients: Option<Arc<dyn ClientCertVerifier>>,
        ticketer: Arc<dyn ProducesTickets>,
    ) -> Result<Self, CertificateError> {
        let choice = Arc::new(Choice::new(certificates));
        let wrong = |error: rustls::Error| {
            let file = tls.certificates.first().map(|files| files.cert.clone()).unwrap_or_default();
            CertificateError { file, problem: Problem::Settings(error.to_string()) }
        };
        let settings = match clients {
            Some(clients) => {
                let asking = Asking {
                    cryptography: cryptography(tls),
                    versions: versions(tls),
                    protocols: protocols(tls),
                    clients,
                    tickets: ticketer,
                    clock: Arc::new(DefaultTimeProvider),
                };
                // What is wrong with them is to be known now.
                asking.settings(&choice).map_err(wrong)?;
                Settings::AskingClients(Box::new(asking))
            }
            None => {
                let builder = ServerConfig::builder_with_provider(cryptography(tls));
                let builder = builder.with_protocol_versions(versions(tls)).map_err(wrong)?;
                let config = builder.with_no_client_auth().with_cert_resolver(Arc::clone(&choice) as _);
                Settings::Shared(Arc::new(completed(config, ticketer, protocols(tls))))
            }
        };
        Ok(Self { settings, choice })
    }

    /// The settings of the next handshake.
    ///
    /// # Errors
    /// None, as the same settings were made when the listener was.
    pub(crate) fn settings(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        match &self.settings {
            Settings::Shared(config) => Ok(Arc::clone(config)),
            Settings::AskingClients(asking) => asking.settings(&self.choice).map(Arc::new),
        }
    }

    /// Whether a request for `host` on a connection that asked for `server_name` goes past what the client had to
    /// show: clients are asked for certificates here, and the two names have different certificates.
    ///
    /// As in nginx: without client certificates or without SNI, every host is accepted.
    pub(crate) fn is_misdirected(&self, server_name: Option<&str>, host: &str) -> bool {
        let Some(server_name) = server_name.filter(|_| self.asks_clients()) else { return false };
        let host = host.strip_suffix('.').unwrap_or(host);
        !host.eq_ignore_ascii_case(server_name)
            && self.choice.of(Some(&host.to_ascii_lowercase())) != self.choice.of(Some(server_name))
    }

    /// The names of each certificate that may be shown, and until when it holds.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = (Vec<String>, SystemTime)> {
        self.choice.certificates().iter().map(|certificate| {
            let facts = &certificate.facts;
            (facts.names.iter().map(ToString::to_string).collect(), facts.not_after())
        })
    }

    /// Whether clients are asked for certificates.
    pub(crate) fn asks_clients(&self) -> bool {
        matches!(self.settings, Settings::AskingClients(_))
    }

    #[cfg(test)]
    pub(super) fn first_certificate(&self) -> &Certificate {
        self.choice.first()
    }
}

impl Asking {
    fn settings(&self, choice: &Arc<Choice>) -> Result<ServerConfig, rustls::Error> {
        let (clients, tickets) = sessions::of_one_handshake(&self.clients, &self.tickets, &self.clock);
        let builder = ServerConfig::builder_with_details(Arc::clone(&self.cryptography), Arc::clone(&self.clock));
        let builder = builder.with_protocol_versions(self.versions)?.with_client_cert_verifier(clients);
        let config = builder.with_cert_resolver(Arc::clone(choice) as _);
        Ok(completed(config, tickets, self.protocols.clone()))
    }
}

fn completed(mut config: ServerConfig, tickets: Arc<dyn ProducesTickets>, protocols: Vec<Vec<u8>>) -> ServerConfig {
    config.ticketer = tickets;
    // Tickets need no memory here, and clients without tickets have become rare.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.alpn_protocols = protocols;
    config
}

/// What is agreed to. Where HTTP/1.1 is spoken, so is HTTP/1.0, whose clients may offer nothing else.
fn protocols(tls: &ListenerTls) -> Vec<Vec<u8>> {
    let names = |alpn: &Alpn| match alpn {
        Alpn::H2 => [Some(alpn.as_str()), None],
        Alpn::Http11 => [Some(alpn.as_str()), Some("http/1.0")],
    };
    tls.alpn.iter().flat_map(names).flatten().map(Into::into).collect()
}

fn versions(tls: &ListenerTls) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match tls.min_version {
        TlsVersion::V1_2 => &BOTH,
        TlsVersion::V1_3 => &BOTH[..1],
    }
}

/// The library's cryptography, with the cipher suites that were asked for.
fn cryptography(tls: &ListenerTls) -> Arc<CryptoProvider> {
    if tls.cipher_suites.is_empty() {
        return Arc::clone(provider());
    }
    let known = &provider().cipher_suites;
    let wanted = tls.cipher_suites.iter();
    let cipher_suites = wanted
        .filter_map(|wanted| known.iter().find(|suite| suite.suite() == CipherSuite::from(wanted.code())).copied())
        .collect();
    Arc::new(CryptoProvider { cipher_suites, ..CryptoProvider::clone(provider()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_has_every_suite_of_the_language_and_no_other() {
        let ours: Vec<u16> = lb_config::CipherSuite::ALL.iter().map(|suite| suite.code()).collect();
        let theirs: Vec<u16> = provider().cipher_suites.iter().map(|suite| u16::from(suite.suite())).collect();
        assert_eq!(ours, theirs, "in the library's order of preference");
    }
}
