//! Endpoints and clients whose own certificate is in `ca`.
//!
//! A self-signed certificate is usually configured as its own authority; nginx and curl accept that. The library does not
//! if the certificate has the CA flag, which `openssl req -x509` sets. So a certificate that is listed in the file is
//! trusted itself, for its names and validity period; everything else is checked by the library.
//! An authority that presents its own certificate gains nothing by that: it could have issued another.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, Error};

use super::certificate::{Age, Facts};
use super::delegate::{client_auth_by, signatures_by};

/// Believes endpoints that the authorities vouch for, and those that show the certificate of one.
#[derive(Debug)]
pub(super) struct Named {
    certificates: Vec<CertificateDer<'static>>,
    authorities: Arc<WebPkiServerVerifier>,
}

impl Named {
    /// `certificates` are those that `authorities` were made from.
    pub(super) fn new(certificates: Vec<CertificateDer<'static>>, authorities: Arc<WebPkiServerVerifier>) -> Self {
        Self { certificates, authorities }
    }
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.certificates.contains(shown) {
            return self.authorities.verify_server_cert(shown, intermediates, name, ocsp, now);
        }
        verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
        holds(shown, now)?;
        Ok(ServerCertVerified::assertion())
    }

    signatures_by!(authorities);
}

/// As [`Named`], of clients.
#[derive(Debug)]
pub(super) struct NamedClients {
    certificates: Vec<CertificateDer<'static>>,
    authorities: Arc<dyn ClientCertVerifier>,
}

impl NamedClients {
    /// `certificates` are those that `authorities` were made from.
    pub(super) fn new(certificates: Vec<CertificateDer<'static>>, authorities: Arc<dyn ClientCertVerifier>) -> Self {
        Self { certificates, authorities }
    }
}

impl ClientCertVerifier for NamedClients {
    client_auth_by!(authorities);

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if !self.certificates.contains(shown) {
            return self.authorities.verify_client_cert(shown, intermediates, now);
        }
        holds(shown, now)?;
        Ok(ClientCertVerified::assertion())
    }
}

/// Whether its time has come and is not over.
fn holds(shown: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let facts = Facts::read(shown).map_err(|_| CertificateError::BadEncoding)?;
    match facts.age(SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs())) {
        Age::Over(_) => Err(CertificateError::Expired.into()),
        Age::TooYoung(_) => Err(CertificateError::NotValidYet.into()),
        Age::Ending(_) | Age::Good => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    use rustls::RootCertStore;
    use rustls::server::WebPkiClientVerifier;

    use super::*;
    use crate::tls::provider;

    /// A certificate that it has signed itself, an authority or not.
    fn made(name: &str, is_authority: bool) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn what_is_named_is_believed_for_its_name_and_its_time() {
        let (authority, plain, stranger) = (made("a.test", true), made("a.test", false), made("a.test", true));
        let named = vec![authority.clone(), plain.clone()];
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(named.clone());
        let roots = Arc::new(roots);
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider()));
        let verifier = Named::new(named.clone(), authorities.build().unwrap());
        let authorities = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider()));
        let clients = NamedClients::new(named, authorities.build().unwrap());
        let at = |year: u64| UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_556_952 + 86_400));
        let judge = |shown: &CertificateDer<'_>, name: &'static str, year: u64| {
            verifier.verify_server_cert(shown, &[], &ServerName::try_from(name).unwrap(), &[], at(year)).map(drop)
        };
        let judge_client =
            |shown: &CertificateDer<'_>, year: u64| clients.verify_client_cert(shown, &[], at(year)).map(drop);
        for certificate in [&authority, &plain] {
            assert_eq!(judge(certificate, "a.test", 2025), Ok(()));
            assert!(judge(certificate, "b.test", 2025).unwrap_err().to_string().contains("not valid for name"));
            assert_eq!(judge(certificate, "a.test", 2019), Err(CertificateError::NotValidYet.into()));
            assert_eq!(judge(certificate, "a.test", 2031), Err(CertificateError::Expired.into()));
            assert_eq!(judge_client(certificate, 2025), Ok(()));
            assert_eq!(judge_client(certificate, 2031), Err(CertificateError::Expired.into()));
        }
        assert!(judge(&stranger, "a.test", 2025).is_err());
        assert!(judge_client(&stranger, 2025).is_err());
    }
}
