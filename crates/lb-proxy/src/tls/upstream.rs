//! TLS towards endpoints: trusted authorities, the client certificate, and the cause of a failed handshake.
//!
//! Without `ca`, the system's authorities are trusted. They are read from the distribution's location, which includes an
//! organization's own authorities; none are built into the program, where they would become outdated. Sessions are
//! resumed per endpoint: a ticket of one is useless at another.

use std::path::Path;
use std::sync::Arc;

use lb_config::{CertificateFiles, ClusterTls, Endpoint, EndpointAddress};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError as Bad, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::certificate::{Certificate, roots};
use super::named::Named;
use super::pem::{CertificateError, Problem, Sections};
use super::provider;
use crate::rules::cause::Cause;

/// Sessions kept for one endpoint, one use each in TLS 1.3: a few for each worker.
const SESSIONS: usize = 64;

/// How one endpoint is reached by TLS.
#[derive(Debug)]
pub(crate) struct UpstreamTls {
    /// What it was made from.
    settings: Arc<ClientConfig>,
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
}

impl UpstreamTls {
    /// `settings` are the cluster's; `None` for a name that cannot be one.
    pub(crate) fn new(
        settings: &Arc<ClientConfig>,
        tls: &ClusterTls,
        endpoint: &Endpoint,
        http2: bool,
    ) -> Option<Self> {
        let name = server_name(tls, &endpoint.address)?;
        let mut config = ClientConfig::clone(settings);
        if http2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Some(Self { settings: Arc::clone(settings), config: Arc::new(config), name })
    }

    /// Whether it was made from the same, so that connections and sessions made with it may be kept.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.settings, &other.settings)
            && self.name == other.name
            && self.config.alpn_protocols == other.config.alpn_protocols
    }
}

/// The name that is asked for, and looked for in the certificate.
fn server_name(tls: &ClusterTls, address: &EndpointAddress) -> Option<ServerName<'static>> {
    let name = match (&tls.server_name, address) {
        (Some(name), _) => name.to_string(),
        (None, EndpointAddress::Ip(address)) => return Some(ServerName::IpAddress(address.ip().into())),
        (None, EndpointAddress::Name(name, _)) => name.trim_end_matches('.').to_owned(),
        // Nobody looks at it: a socket without a name is only reached where nothing is verified.
        (None, EndpointAddress::Unix(_)) => "localhost".to_owned(),
    };
    ServerName::try_from(name).ok()
}

/// The files of a cluster, read.
pub(super) struct Material {
    authorities: Option<Vec<CertificateDer<'static>>>,
    own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    verify: bool,
    /// Differs where any of it does.
    pub(super) mark: blake3::Hash,
}

impl Material {
    /// # Errors
    /// A file cannot be used.
    pub(super) fn read(tls: &ClusterTls) -> Result<Self, CertificateError> {
        let mut hasher = blake3::Hasher::new();
        let mut add = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        };
        add(&[u8::from(tls.verify)]);
        let authorities = match &tls.ca {
            _ if !tls.verify => None,
            Some(ca) => Some(Sections::read(ca)?.certificates(ca)?),
            None => Some(system()?),
        };
        authorities.iter().flatten().for_each(|certificate| add(certificate));
        let own = tls.client.as_ref().map(read_own).transpose()?;
        if let Some((chain, key)) = &own {
            add(key.secret_der());
            chain.iter().for_each(|certificate| add(certificate));
        }
        Ok(Self { authorities, own, verify: tls.verify, mark: hasher.finalize() })
    }

    /// # Errors
    /// The authorities or our own certificate cannot be used.
    pub(super) fn settings(self, tls: &ClusterTls) -> Result<Arc<ClientConfig>, CertificateError> {
        let wrong = |file: Option<&Path>, error: Error| {
            CertificateError::new(file.unwrap_or(Path::new("tls")), Problem::Settings(error.to_string()))
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(None, error))?;
        let builder = match self.authorities.filter(|_| self.verify) {
            Some(authorities) => match &tls.ca {
                Some(ca) => {
                    let store = Arc::new(roots(ca, authorities.clone())?);
                    let verifier = WebPkiServerVerifier::builder_with_provider(store, Arc::clone(provider())).build();
                    let verifier = verifier
                        .map_err(|error| CertificateError::new(ca, Problem::BadCertificate(error.to_string())))?;
                    builder.dangerous().with_custom_certificate_verifier(Arc::new(Named::new(authorities, verifier)))
                }
                None => {
                    let mut store = RootCertStore::empty();
                    // Some of a system's are too old to be read; the others still serve.
                    store.add_parsable_certificates(authorities);
                    builder.with_root_certificates(store)
                }
            },
            None => builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAny)),
        };
        let mut config = match self.own {
            Some((chain, key)) => {
                let file = tls.client.as_ref().map(|files| files.cert.as_path());
                builder.with_client_auth_cert(chain, key).map_err(|error| wrong(file, error))?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// The certificate that we show, checked as those of listeners are.
fn read_own(
    files: &CertificateFiles,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), CertificateError> {
    let loaded = Certificate::load(files)?;
    let key = Sections::read(&files.key)?.key(&files.key)?;
    Ok((loaded.certified.cert.clone(), key))
}

/// The system's authorities.
fn system() -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
        let what = format!("the system has no authorities to believe{why}; name some with `tls.ca`");
        return Err(CertificateError::new(Path::new("tls"), Problem::Settings(what)));
    }
    Ok(found.certs)
}

/// Accepts any certificate.
#[derive(Debug)]
struct AcceptAny;

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The cause of a failed handshake with an endpoint, and more on it; `None` for an error of the connection below.
pub(crate) fn cause(error: &std::io::Error) -> Option<(Cause, String)> {
    let tls = error.get_ref()?.downcast_ref::<Error>()?;
    let cause = match tls {
        Error::InvalidCertificate(why) => match why {
            Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                Cause::CertificateExpired
            }
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => Cause::CertificateName,
            // An authority of the same name with another key is another authority.
            Bad::UnknownIssuer | Bad::BadSignature => Cause::CertificateUntrusted,
            _ => Cause::CertificateInvalid,
        },
        _ => Cause::TlsHandshake,
    };
    Some((cause, tls.to_string()))
}
