//! What a certificate verifier that adds to another one leaves to that one.

/// The methods on signatures of a `ClientCertVerifier` or `ServerCertVerifier`, answered by the verifier in this field.
macro_rules! signatures_by {
    ($field:ident) => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &rustls::pki_types::CertificateDer<'_>,
            signed: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            self.$field.verify_tls12_signature(message, cert, signed)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &rustls::pki_types::CertificateDer<'_>,
            signed: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            self.$field.verify_tls13_signature(message, cert, signed)
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.$field.supported_verify_schemes()
        }
    };
}

/// All methods of a `ClientCertVerifier` but the verdict on a certificate, answered by the verifier in this field.
macro_rules! client_auth_by {
    ($field:ident) => {
        fn offer_client_auth(&self) -> bool {
            self.$field.offer_client_auth()
        }

        fn client_auth_mandatory(&self) -> bool {
            self.$field.client_auth_mandatory()
        }

        fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
            self.$field.root_hint_subjects()
        }

        $crate::tls::delegate::signatures_by!($field);
    };
}

pub(super) use {client_auth_by, signatures_by};
