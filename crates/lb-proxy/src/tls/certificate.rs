//! A certificate with its chain and key: loaded, checked against each other, and read for names and dates.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lb_config::CertificateFiles;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{InconsistentKeys, RootCertStore};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::exposure;
use super::pem::{CertificateError, Problem, Sections};
use super::provider;

/// A certificate that can be shown.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) certified: Arc<CertifiedKey>,
    pub(crate) facts: Facts,
}

/// What a certificate says of itself.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The DNS names it is for, lower case; wildcards as written.
    pub(crate) names: Vec<Box<str>>,
    /// From when it holds.
    not_before: SystemTime,
    /// Until when it holds.
    not_after: SystemTime,
}

/// A certificate whose time is over, has not come, or is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    Good,
    /// It began to hold this much later.
    TooYoung(Duration),
    /// It expires this soon.
    Ending(Duration),
    /// It expired this long ago.
    Over(Duration),
}

/// A certificate with less than this left is worth a warning.
const SOON: Duration = Duration::from_secs(14 * 86_400);

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// A file cannot be read or used, or the two are not a pair.
    pub(crate) fn load(files: &CertificateFiles) -> Result<Self, CertificateError> {
        let mut sections = Sections::read(&files.cert)?;
        let key = if files.key == files.cert {
            sections.key(&files.key)?
        } else {
            Sections::read(&files.key)?.key(&files.key)?
        };
        let certificates = sections.certificates(&files.cert)?;
        let signing = provider()
            .key_provider
            .load_private_key(key)
            .map_err(|_| CertificateError::new(&files.key, Problem::BadKey))?;
        let own = position_of(&signing, &certificates, files)?;
        let chain = in_order(certificates, own);
        let facts = chain
            .first()
            .map(Facts::read)
            .transpose()
            .map_err(|what| CertificateError::new(&files.cert, Problem::BadCertificate(what)))?;
        let Some(facts) = facts else { return Err(CertificateError::new(&files.cert, Problem::NoCertificate(false))) };
        let certified = CertifiedKey::new(chain, signing);
        Ok(Self { certified: Arc::new(certified), facts })
    }
}

impl Certificate {
    /// What an operator should know of the files it was read from, each with the file.
    pub(super) fn warnings<'f>(&self, files: &'f CertificateFiles, now: SystemTime) -> Vec<(&'f Path, String)> {
        let age = self.facts.age(now).warning().map(|warning| (files.cert.as_path(), warning));
        let exposed = exposure::warning(&files.key).map(|warning| (files.key.as_path(), warning));
        age.into_iter().chain(exposed).collect()
    }
}

/// Which of the certificates the key belongs to.
fn position_of(
    key: &Arc<dyn SigningKey>,
    certificates: &[CertificateDer<'static>],
    files: &CertificateFiles,
) -> Result<usize, CertificateError> {
    for (at, certificate) in certificates.iter().enumerate() {
        match CertifiedKey::new(vec![certificate.clone()], Arc::clone(key)).keys_match() {
            // A key that cannot say what its public half is could still be the right one.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => return Ok(at),
            Err(rustls::Error::InconsistentKeys(_)) => {}
            Err(error) => {
                return Err(CertificateError::new(&files.cert, Problem::BadCertificate(error.to_string())));
            }
        }
    }
    Err(CertificateError::new(&files.key, Problem::Mismatch(files.cert.clone())))
}

/// Our own certificate, then each time the one that vouches for it, as TLS wants them (RFC 5246 §7.4.2); what else there
/// is follows as it stood.
fn in_order(mut certificates: Vec<CertificateDer<'static>>, own: usize) -> Vec<CertificateDer<'static>> {
    let parsed = |der: &CertificateDer<'_>, of: fn(&X509Certificate<'_>) -> Vec<u8>| {
        X509Certificate::from_der(der).ok().map(|(_, parsed)| of(&parsed))
    };
    let mut ordered = vec![certificates.remove(own)];
    while let Some(issuer) = ordered.last().and_then(|last| parsed(last, |it| it.issuer().as_raw().to_vec()))
        && let Some(at) = certificates
            .iter()
            .position(|der| parsed(der, |it| it.subject().as_raw().to_vec()).is_some_and(|subject| subject == issuer))
    {
        ordered.push(certificates.remove(at));
    }
    ordered.append(&mut certificates);
    ordered
}

impl Facts {
    /// Reads a certificate.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(crate) fn read(der: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|error| format!("it is not X.509 ({error})"))?;
        let validity = parsed.validity();
        Ok(Self {
            names: names(&parsed),
            not_before: time(validity.not_before.timestamp()),
            not_after: time(validity.not_after.timestamp()),
        })
    }

    /// Until when it holds.
    pub(crate) fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// How it stands at this time.
    pub(crate) fn age(&self, now: SystemTime) -> Age {
        if let Ok(ago) = now.duration_since(self.not_after) {
            return Age::Over(ago);
        }
        if let Ok(wait) = self.not_before.duration_since(now)
            && !wait.is_zero()
        {
            return Age::TooYoung(wait);
        }
        match self.not_after.duration_since(now) {
            Ok(left) if left < SOON => Age::Ending(left),
            _ => Age::Good,
        }
    }
}

impl Age {
    /// A sentence about it, after the name of the file; `None` if all is well.
    pub(crate) fn warning(self) -> Option<String> {
        Some(match self {
            Self::Good => return None,
            Self::TooYoung(wait) => format!("the certificate is not valid yet: it begins in {}", span(wait)),
            Self::Ending(left) => format!("the certificate expires in {}", span(left)),
            Self::Over(ago) => format!("the certificate expired {} ago", span(ago)),
        })
    }
}

/// "3 days", "5 hours".
fn span(span: Duration) -> String {
    let hours = span.as_secs() / 3600;
    let (number, unit) = if hours >= 48 { (hours / 24, "day") } else { (hours, "hour") };
    match number {
        0 => "less than an hour".to_owned(),
        1 => format!("1 {unit}"),
        many => format!("{many} {unit}s"),
    }
}

/// The names of the extension; without the extension, the common name, as clients of old took it.
fn names(parsed: &X509Certificate<'_>) -> Vec<Box<str>> {
    let lower = |name: &str| Box::from(name.trim_end_matches('.').to_ascii_lowercase());
    if let Ok(Some(alternatives)) = parsed.subject_alternative_name() {
        let names = alternatives.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(lower(name)),
            _ => None,
        });
        return names.collect();
    }
    let common = parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    common.filter(|name| !name.contains(' ')).map(lower).collect()
}

fn time(seconds: i64) -> SystemTime {
    match u64::try_from(seconds) {
        Ok(seconds) => {
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(SystemTime::UNIX_EPOCH)
        }
        Err(_) => SystemTime::UNIX_EPOCH,
    }
}

/// Authorities from a file.
pub(super) fn roots(
    file: &Path,
    certificates: Vec<CertificateDer<'static>>,
) -> Result<RootCertStore, CertificateError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots
            .add(certificate)
            .map_err(|error| CertificateError::new(file, Problem::BadCertificate(error.to_string())))?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    use rustls::pki_types::pem::PemObject;

    use super::*;

    fn made(names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn files(directory: &std::path::Path, cert: &str, key: &str) -> CertificateFiles {
        let (at, to) = (directory.join("cert.pem"), directory.join("key.pem"));
        std::fs::write(&at, cert).unwrap();
        std::fs::write(&to, key).unwrap();
        CertificateFiles { cert: at, key: to }
    }

    #[test]
    fn a_pair_loads_with_its_names_and_a_stranger_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let (cert, key) = made(&["A.test", "*.b.test"]);
        let loaded = Certificate::load(&files(directory.path(), &cert, &key)).unwrap();
        assert_eq!(loaded.facts.names, ["a.test".into(), "*.b.test".into()]);
        let (_, other) = made(&["a.test"]);
        let error = Certificate::load(&files(directory.path(), &cert, &other)).unwrap_err();
        assert!(matches!(error.problem, Problem::Mismatch(_)), "{error}");
        assert!(error.to_string().contains("key.pem") && error.to_string().contains("cert.pem"), "{error}");
    }

    #[test]
    fn a_chain_is_shown_in_its_order_whatever_the_file_has() {
        let authority = |name: &str| {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(DnType::CommonName, name);
            params
        };
        let (root_key, middle_key, key) =
            (KeyPair::generate().unwrap(), KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let root = CertifiedIssuer::self_signed(authority("root"), root_key).unwrap();
        let middle = CertifiedIssuer::signed_by(authority("middle"), middle_key, &root).unwrap();
        let own = CertificateParams::new(vec!["a.test".to_owned()]).unwrap().signed_by(&key, &middle).unwrap();
        let (root, middle, own, key) = (root.pem(), middle.pem(), own.pem(), key.serialize_pem());
        let (other, _) = made(&["b.test"]);
        let directory = tempfile::tempdir().unwrap();
        let ordered = format!("{own}{middle}{root}{other}");
        let expected = CertificateDer::pem_slice_iter(ordered.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap();
        for text in [&ordered, &format!("{root}{other}{own}{middle}"), &format!("{other}{middle}{root}{own}")] {
            let loaded = Certificate::load(&files(directory.path(), text, &key)).unwrap();
            assert_eq!(loaded.certified.cert, expected);
            assert_eq!(loaded.facts.names, ["a.test".into()]);
        }
    }

    #[test]
    fn an_age_is_told_in_days() {
        let day = Duration::from_secs(86_400);
        let start = SystemTime::UNIX_EPOCH + 1000 * day;
        let facts = Facts { names: Vec::new(), not_before: start, not_after: start + 90 * day };
        assert_eq!(facts.age(start), Age::Good);
        assert_eq!(facts.age(start + 76 * day), Age::Good);
        assert_eq!(facts.age(start + 80 * day).warning().unwrap(), "the certificate expires in 10 days");
        assert_eq!(facts.age(start + 91 * day).warning().unwrap(), "the certificate expired 24 hours ago");
        assert_eq!(facts.age(start + 90 * day), Age::Over(Duration::ZERO));
        assert_eq!(
            facts.age(start - 3 * day).warning().unwrap(),
            "the certificate is not valid yet: it begins in 3 days"
        );
    }
}
