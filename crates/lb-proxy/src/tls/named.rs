//! Endpoints whose own certificate is in `ca`.
//!
//! Whoever runs an endpoint with a certificate that it signed itself names that one as the authority, and so do nginx
//! and curl take it. The library does not where the certificate says that it is an authority, and `openssl req -x509`
//! makes it say so. What the file names is therefore believed as it is, for its names and its time; everything else is
//! the library's business.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::certificate::{Age, Facts};

/// Believes what the authorities vouch for, and the authorities' own certificates.
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
        let facts = Facts::read(shown).map_err(|_| CertificateError::BadEncoding)?;
        match facts.age(SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs())) {
            Age::Over(_) => Err(CertificateError::Expired.into()),
            Age::TooYoung(_) => Err(CertificateError::NotValidYet.into()),
            Age::Ending(_) | Age::Good => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    use rustls::RootCertStore;

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
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider()));
        let verifier = Named::new(named, authorities.build().unwrap());
        let judge = |shown: &CertificateDer<'_>, name: &'static str, year: u64| {
            let now = UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_556_952 + 86_400));
            verifier.verify_server_cert(shown, &[], &ServerName::try_from(name).unwrap(), &[], now).map(drop)
        };
        for certificate in [&authority, &plain] {
            assert_eq!(judge(certificate, "a.test", 2025), Ok(()));
            assert!(judge(certificate, "b.test", 2025).unwrap_err().to_string().contains("not valid for name"));
            assert_eq!(judge(certificate, "a.test", 2019), Err(CertificateError::NotValidYet.into()));
            assert_eq!(judge(certificate, "a.test", 2031), Err(CertificateError::Expired.into()));
        }
        assert!(judge(&stranger, "a.test", 2025).is_err());
    }
}
