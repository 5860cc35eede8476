//! Sessions of clients that showed a certificate end with the certificate.
//!
//! Whoever takes up a session shows no certificate again: its ticket says what was verified, however long ago. And each
//! resumption gives new tickets, so that a client which comes back often enough would never be asked again. A ticket
//! therefore says until when the certificates that it stands for hold. After that it is of no use: the handshake is a
//! full one, in which the verifier refuses an old certificate and takes a renewed one.
//!
//! The library asks for tickets without saying of which connection. So each handshake has a pair of its own,
//! [`NotesExpiry`] and [`BoundTickets`], that share a cell.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use rustls::Error;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ProducesTickets;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::time_provider::TimeProvider;

use super::certificate::Facts;
use super::delegate::client_auth_by;

/// The second, since 1970, after which the certificates of one handshake hold no more.
#[derive(Debug)]
struct Expiry(AtomicU64);

impl Expiry {
    fn bound(&self, second: u64) {
        self.0.fetch_min(second, Ordering::Relaxed);
    }

    fn second(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The verifier and the tickets of one handshake.
pub(super) fn of_one_handshake(
    verifier: &Arc<dyn ClientCertVerifier>,
    tickets: &Arc<dyn ProducesTickets>,
    clock: &Arc<dyn TimeProvider>,
) -> (Arc<dyn ClientCertVerifier>, Arc<dyn ProducesTickets>) {
    // A client without a certificate, where that is allowed, is not bound by one.
    let expiry = Arc::new(Expiry(AtomicU64::new(u64::MAX)));
    let verifier = NotesExpiry { verifier: Arc::clone(verifier), expiry: Arc::clone(&expiry) };
    let tickets = BoundTickets { tickets: Arc::clone(tickets), expiry, clock: Arc::clone(clock) };
    (Arc::new(verifier), Arc::new(tickets))
}

/// Verifies, and notes until when what was verified holds.
#[derive(Debug)]
struct NotesExpiry {
    verifier: Arc<dyn ClientCertVerifier>,
    expiry: Arc<Expiry>,
}

impl ClientCertVerifier for NotesExpiry {
    client_auth_by!(verifier);

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.verifier.verify_client_cert(shown, intermediates, now)?;
        // Intermediates that the path does not need count as well: all that an old one costs is the resumption.
        for certificate in std::iter::once(shown).chain(intermediates) {
            self.expiry.bound(last_second(certificate));
        }
        Ok(verified)
    }
}

/// The last second in which a certificate holds; zero, which is over, for one that cannot be read.
fn last_second(certificate: &CertificateDer<'_>) -> u64 {
    let read = Facts::read(certificate).ok().map(|facts| facts.not_after());
    read.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs())
}

/// Tickets with the second in front, sealed with the rest, after which they are not taken.
#[derive(Debug)]
struct BoundTickets {
    tickets: Arc<dyn ProducesTickets>,
    expiry: Arc<Expiry>,
    clock: Arc<dyn TimeProvider>,
}

impl ProducesTickets for BoundTickets {
    fn enabled(&self) -> bool {
        self.tickets.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.tickets.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut bound = self.expiry.second().to_be_bytes().to_vec();
        bound.extend_from_slice(plain);
        self.tickets.encrypt(&bound)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let bound = self.tickets.decrypt(cipher)?;
        let (second, plain) = bound.split_first_chunk()?;
        let second = u64::from_be_bytes(*second);
        if self.clock.current_time()?.as_secs() > second {
            return None;
        }
        // The tickets that this handshake gives stand for the same certificates.
        self.expiry.bound(second);
        Some(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
    use rustls::HandshakeKind::{self, Full, Resumed};
    use rustls::pki_types::PrivateKeyDer;
    use rustls::server::WebPkiClientVerifier;
    use rustls::version::{TLS12, TLS13};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

    use super::*;
    use crate::tls::provider;

    /// Stands where the test puts it.
    #[derive(Debug, Default)]
    struct Stopped(AtomicU64);

    impl TimeProvider for Stopped {
        fn current_time(&self) -> Option<UnixTime> {
            Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(self.0.load(Ordering::Relaxed))))
        }
    }

    type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

    fn issue(issuer: &CertifiedIssuer<'static, KeyPair>, until_year: i32) -> Pair {
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until_year, 1, 1));
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, issuer).unwrap();
        (vec![made.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }

    /// A handshake and the bytes that carry the tickets; how it was made, or why not.
    fn handshake(client: &Arc<ClientConfig>, server: ServerConfig) -> Result<HandshakeKind, Error> {
        let mut client = ClientConnection::new(Arc::clone(client), "a.test".try_into().unwrap()).unwrap();
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        for _ in 0..8 {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut &wire[..]).unwrap();
            server.process_new_packets()?;
            wire.clear();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut &wire[..]).unwrap();
            client.process_new_packets()?;
        }
        Ok(server.handshake_kind().unwrap())
    }

    #[test]
    fn a_session_ends_with_the_certificate_that_began_it() {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone()).unwrap();
        let roots = Arc::new(roots);
        let verifier: Arc<dyn ClientCertVerifier> =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider())).build().unwrap();
        let (own, own_key) = issue(&issuer, 2050);
        for version in [&TLS12, &TLS13] {
            let stopped = Arc::new(Stopped::default());
            let clock: Arc<dyn TimeProvider> = Arc::clone(&stopped) as _;
            let ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
            let server = || {
                let (verifier, tickets) = of_one_handshake(&verifier, &ticketer, &clock);
                let builder = ServerConfig::builder_with_details(Arc::clone(provider()), Arc::clone(&clock));
                let builder = builder.with_protocol_versions(&[version]).unwrap().with_client_cert_verifier(verifier);
                let mut config = builder.with_single_cert(own.clone(), own_key.clone_key()).unwrap();
                config.ticketer = tickets;
                config
            };
            let client = |(chain, key): Pair| {
                let builder = ClientConfig::builder_with_details(Arc::clone(provider()), Arc::clone(&clock));
                let builder =
                    builder.with_protocol_versions(&[version]).unwrap().with_root_certificates(Arc::clone(&roots));
                Arc::new(builder.with_client_auth_cert(chain, key).unwrap())
            };
            let begins_2030 = 1_893_456_000;
            // Within the life of a ticket, so that it is the certificate that ends it.
            stopped.0.store(begins_2030 - 60, Ordering::Relaxed);
            let short = client(issue(&issuer, 2030));
            assert_eq!(handshake(&short, server()), Ok(Full));
            assert_eq!(handshake(&short, server()), Ok(Resumed), "{version:?}");
            stopped.0.store(begins_2030, Ordering::Relaxed);
            assert_eq!(handshake(&short, server()), Ok(Resumed), "{version:?}: the last second");
            stopped.0.store(begins_2030 + 1, Ordering::Relaxed);
            // By a ticket of a resumption, too: it was the last one given.
            let refused = handshake(&short, server()).unwrap_err();
            assert!(refused.to_string().contains("xpired"), "{version:?}: {refused}");
            let renewed = client(issue(&issuer, 2040));
            assert_eq!(handshake(&renewed, server()), Ok(Full));
            assert_eq!(handshake(&renewed, server()), Ok(Resumed), "{version:?}");
        }
    }
}
