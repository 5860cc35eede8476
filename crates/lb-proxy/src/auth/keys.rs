//! Keys of signed tokens, and whether a token is signed by one of them.
//!
//! What goes wrong with tokens is nearly always that the token says how it is to be checked: `none`, a public key taken for a shared
//! secret, a key of the token's own. So here each key has its algorithms, the token's header only chooses among the keys that are
//! there, and nothing in it is fetched or believed.

use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, crypto, decode, decode_header};

use super::error::AuthFileError;

/// Longest token that is looked at, bytes.
const LONGEST: usize = 16 * 1024;
/// How far clocks may be apart, seconds.
const LEEWAY: u64 = 60;

/// The claims of a token.
pub(crate) type Claims = serde_json::Map<String, serde_json::Value>;

/// Keys that may have signed a token.
pub(crate) struct KeySet {
    keys: Vec<Key>,
    /// What the file held.
    digest: Option<blake3::Hash>,
}

struct Key {
    id: Option<String>,
    algorithms: &'static [Algorithm],
    key: DecodingKey,
}

/// What a token has to keep to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenRules {
    pub(crate) issuer: Option<Arc<str>>,
    pub(crate) audience: Option<Arc<str>>,
    /// Whether a token without an end is none.
    pub(crate) must_expire: bool,
}

const RSA: &[Algorithm] =
    &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

impl KeySet {
    /// Reads a JSON Web Key Set (RFC 7517). Keys for encryption are left out, and so are those of kinds that are not known.
    ///
    /// # Errors
    /// It is none, or no key in it can check a signature; a shared secret is in it.
    pub(super) fn parse(file: &Path, text: &[u8]) -> Result<Self, AuthFileError> {
        provide();
        let wrong = |what: String| AuthFileError::new(file, what);
        // The message would repeat the text.
        let set: JwkSet = serde_json::from_slice(text).map_err(|error| {
            wrong(format!("is no JSON Web Key Set (line {}, column {})", error.line(), error.column()))
        })?;
        let mut keys = Vec::new();
        for (at, jwk) in set.keys.iter().enumerate() {
            if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
                return Err(wrong(format!("key {} is a shared secret, which belongs in `secret`", at + 1)));
            }
            if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)) {
                continue;
            }
            if let (Some(algorithms), Ok(key)) = (algorithms(jwk), DecodingKey::from_jwk(jwk)) {
                keys.push(Key { id: jwk.common.key_id.clone(), algorithms, key });
            }
        }
        if keys.is_empty() {
            return Err(wrong("has no key that could check a signature: RSA, EC (P-256, P-384) or Ed25519".to_owned()));
        }
        Ok(Self { keys, digest: Some(blake3::hash(text)) })
    }

    /// A shared secret; `None` if it is empty.
    pub(crate) fn secret(secret: &[u8]) -> Option<Self> {
        provide();
        let key = DecodingKey::from_secret(secret).ok()?;
        Some(Self { keys: vec![Key { id: None, algorithms: HMAC, key }], digest: None })
    }

    /// Whether the file held the same.
    pub(super) fn is_of(&self, text: &[u8]) -> bool {
        self.digest == Some(blake3::hash(text))
    }

    /// The claims of a token that one of the keys has signed and that keeps to the rules.
    ///
    /// # Errors
    /// Why not, for the log: without a part of the token.
    pub(crate) fn check(&self, token: &str, rules: &TokenRules) -> Result<Claims, &'static str> {
        if token.len() > LONGEST {
            return Err("too long");
        }
        let header = decode_header(token).map_err(|_| "malformed, or of an algorithm that is not taken")?;
        // There is no extension that we know (RFC 7515 §4.1.11).
        if header.crit.is_some() {
            return Err("an extension that is critical");
        }
        let by_id = |key: &&Key| header.kid.is_none() || key.id == header.kid || self.digest.is_none();
        let mut why = "no key of this name and algorithm";
        for key in self.keys.iter().filter(by_id).filter(|key| key.algorithms.contains(&header.alg)) {
            match decode::<Claims>(token, &key.key, &rules.validation(header.alg)) {
                Ok(token) => return Ok(token.claims),
                Err(error) => why = reason(error.kind()),
            }
        }
        Err(why)
    }
}

impl TokenRules {
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut all = Validation::new(algorithm);
        (all.leeway, all.validate_nbf) = (LEEWAY, true);
        all.required_spec_claims.clear();
        if self.must_expire {
            all.required_spec_claims.insert("exp".to_owned());
        }
        if let Some(issuer) = &self.issuer {
            all.set_issuer(&[issuer]);
            all.required_spec_claims.insert("iss".to_owned());
        }
        match &self.audience {
            None => all.validate_aud = false,
            Some(audience) => {
                all.set_audience(&[audience]);
                all.required_spec_claims.insert("aud".to_owned());
            }
        }
        all
    }
}

/// What a key may be used with: its own algorithm, or those of its kind.
fn algorithms(jwk: &Jwk) -> Option<&'static [Algorithm]> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let of_kind: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => RSA,
        AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
            EllipticCurve::P256 => &[ES256],
            EllipticCurve::P384 => &[ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => &[EdDSA],
        _ => return None,
    };
    let own: &[Algorithm] = match jwk.common.key_algorithm {
        None => return Some(of_kind),
        Some(KeyAlgorithm::RS256) => &[RS256],
        Some(KeyAlgorithm::RS384) => &[RS384],
        Some(KeyAlgorithm::RS512) => &[RS512],
        Some(KeyAlgorithm::PS256) => &[PS256],
        Some(KeyAlgorithm::PS384) => &[PS384],
        Some(KeyAlgorithm::PS512) => &[PS512],
        Some(KeyAlgorithm::ES256) => &[ES256],
        Some(KeyAlgorithm::ES384) => &[ES384],
        Some(KeyAlgorithm::EdDSA) => &[EdDSA],
        Some(_) => return None,
    };
    own.iter().all(|algorithm| of_kind.contains(algorithm)).then_some(own)
}

fn reason(kind: &jsonwebtoken::errors::ErrorKind) -> &'static str {
    use jsonwebtoken::errors::ErrorKind;
    match kind {
        ErrorKind::InvalidSignature => "a signature that is none of ours",
        ErrorKind::ExpiredSignature => "expired",
        ErrorKind::ImmatureSignature => "not yet valid",
        ErrorKind::InvalidIssuer => "another issuer",
        ErrorKind::InvalidAudience => "another audience",
        ErrorKind::MissingRequiredClaim(_) => "a claim is missing",
        _ => "malformed",
    }
}

/// The cryptography is the one that TLS has. Another library may have installed it already.
fn provide() {
    static PROVIDED: OnceLock<()> = OnceLock::new();
    PROVIDED.get_or_init(|| {
        let _ = crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    });
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    use super::*;

    fn now() -> u64 {
        jsonwebtoken::get_current_timestamp()
    }

    fn rules() -> TokenRules {
        TokenRules { must_expire: true, ..TokenRules::default() }
    }

    /// Someone who signs, and the key to check it by.
    struct Signer {
        key: EncodingKey,
        algorithm: Algorithm,
        jwk: serde_json::Value,
    }

    impl Signer {
        fn new(algorithm: Algorithm, id: &str) -> Self {
            provide();
            let key = match algorithm {
                Algorithm::ES384 => EncodingKey::from_ec_der(
                    &rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_der(),
                ),
                _ => EncodingKey::from_ec_der(
                    &rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().serialize_der(),
                ),
            };
            let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&key, algorithm).unwrap()).unwrap();
            jwk["kid"] = id.into();
            Self { key, algorithm, jwk }
        }

        fn sign(&self, id: Option<&str>, claims: &serde_json::Value) -> String {
            let header = Header { kid: id.map(str::to_owned), ..Header::new(self.algorithm) };
            encode(&header, claims, &self.key).unwrap()
        }
    }

    fn set(jwks: &[&serde_json::Value]) -> Result<KeySet, String> {
        let text = json!({ "keys": jwks }).to_string();
        KeySet::parse(Path::new("f"), text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_token_is_known_by_the_key_that_signed_it() {
        let signers = [Algorithm::ES256, Algorithm::ES384].map(|algorithm| Signer::new(algorithm, "a"));
        let all = set(&signers.each_ref().map(|signer| &signer.jwk)).unwrap();
        for signer in &signers {
            let claims = json!({ "sub": "ann", "exp": now() + 60 });
            for id in [Some("a"), None] {
                assert_eq!(
                    all.check(&signer.sign(id, &claims), &rules()).unwrap()["sub"],
                    "ann",
                    "{:?}",
                    signer.algorithm
                );
            }
            assert_eq!(all.check(&signer.sign(Some("b"), &claims), &rules()), Err("no key of this name and algorithm"));
            let stranger = Signer::new(signer.algorithm, "a").sign(Some("a"), &claims);
            assert_eq!(all.check(&stranger, &rules()), Err("a signature that is none of ours"));
        }
    }

    #[test]
    fn ed25519_is_read_as_another_implementation_writes_it() {
        // By Node's `crypto`; the token ends in 2100.
        let jwk =
            json!({ "kty": "OKP", "crv": "Ed25519", "kid": "e", "x": "GVEOhxkSkk-8hkfQM7tE5nuuyXFtJwROuGQe89P9Kd8" });
        let token = "eyJhbGciOiJFZERTQSIsImtpZCI6ImUifQ.eyJzdWIiOiJhbm4iLCJleHAiOjQxMDI0NDQ4MDB9.GXIOW56XTwWR2g0mM9tyvMwjmvyUVTSxVIIQO8YqPHBPs6c6iPf6W00ranUAzfmAm7yyn2V2AegO59YMIDlPAw";
        let keys = set(&[&jwk]).unwrap();
        assert_eq!(keys.check(token, &rules()).unwrap()["sub"], "ann");
        assert!(keys.check(&token.replace("eyJzdWIi", "eyJzdWJi"), &rules()).is_err());
    }

    #[test]
    fn a_token_says_nothing_of_how_it_is_checked() {
        let signer = Signer::new(Algorithm::ES256, "a");
        let keys = set(&[&signer.jwk]).unwrap();
        let claims = json!({ "sub": "root", "exp": now() + 60 });
        let good = signer.sign(None, &claims);
        assert!(keys.check(&good, &rules()).is_ok());
        let parts: Vec<&str> = good.split('.').collect();
        let encode_part = |text: &str| base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, text);
        let with = |header: &str| format!("{}.{}.{}", encode_part(header), parts[1], parts[2]);
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"None"}"#,
            r#"{"alg":"NONE","typ":"JWT"}"#,
            r#"{"typ":"JWT"}"#,
            r#"{"alg":"HS256"}"#,
            "{}",
            "x",
        ] {
            assert!(keys.check(&with(header), &rules()).is_err(), "{header}");
            assert!(keys.check(&format!("{}.{}.", encode_part(header), parts[1]), &rules()).is_err(), "{header}");
        }
        // The public key as a secret, and a key of the token's own.
        let public = keys.keys[0].key.try_get_as_bytes().unwrap().to_vec();
        let swapped =
            encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(&public).unwrap()).unwrap();
        assert_eq!(keys.check(&swapped, &rules()), Err("no key of this name and algorithm"));
        let stranger = Signer::new(Algorithm::ES256, "a");
        let own = Header {
            jwk: serde_json::from_value(stranger.jwk.clone()).unwrap(),
            jku: Some("https://evil.test".into()),
            ..Header::new(Algorithm::ES256)
        };
        assert!(keys.check(&encode(&own, &claims, &stranger.key).unwrap(), &rules()).is_err());
        for id in ["../../dev/null", "a' OR 1=1", "", "A"] {
            assert!(keys.check(&signer.sign(Some(id), &claims), &rules()).is_err(), "{id}");
        }
        let critical = Header { crit: Some(vec!["exp".into()]), ..Header::new(Algorithm::ES256) };
        assert_eq!(
            keys.check(&encode(&critical, &claims, &signer.key).unwrap(), &rules()),
            Err("an extension that is critical")
        );
        for token in ["", ".", "..", "a.b.c", &good[1..], &format!("{good}x"), &format!("{good}.x")] {
            assert!(keys.check(token, &rules()).is_err(), "{token}");
        }
        let huge = signer.sign(None, &json!({ "exp": now() + 60, "x": "y".repeat(LONGEST) }));
        assert_eq!(keys.check(&huge, &rules()), Err("too long"));
    }

    #[test]
    fn times_issuer_and_audience_are_as_the_rules_say() {
        let keys = KeySet::secret(b"0123456789abcdef0123456789abcdef").unwrap();
        let sign = |claims: serde_json::Value| {
            encode(&Header::default(), &claims, &EncodingKey::from_secret(b"0123456789abcdef0123456789abcdef").unwrap())
                .unwrap()
        };
        let strict = TokenRules { issuer: Some("i".into()), audience: Some("a".into()), must_expire: true };
        let lax = TokenRules::default();
        let (past, soon) = (now() - 3600, now() + 3600);
        for (claims, by_strict, by_lax) in [
            (json!({ "exp": soon, "iss": "i", "aud": "a" }), true, true),
            (json!({ "exp": soon, "iss": "i", "aud": ["b", "a"] }), true, true),
            (json!({ "exp": soon, "iss": "j", "aud": "a" }), false, true),
            (json!({ "exp": soon, "iss": "i", "aud": "b" }), false, true),
            (json!({ "exp": soon, "iss": "i" }), false, true),
            (json!({ "exp": soon, "aud": "a" }), false, true),
            (json!({ "iss": "i", "aud": "a" }), false, true),
            (json!({ "exp": past, "iss": "i", "aud": "a" }), false, false),
            (json!({ "exp": now() - 30, "iss": "i", "aud": "a" }), true, true),
            (json!({ "exp": "soon", "iss": "i", "aud": "a" }), false, false),
            (json!({ "exp": soon, "nbf": soon, "iss": "i", "aud": "a" }), false, false),
            (json!({ "exp": soon, "nbf": now() + 30, "iss": "i", "aud": "a" }), true, true),
        ] {
            let token = sign(claims.clone());
            assert_eq!(
                (keys.check(&token, &strict).is_ok(), keys.check(&token, &lax).is_ok()),
                (by_strict, by_lax),
                "{claims}"
            );
        }
        assert!(KeySet::secret(b"").is_none());
    }

    #[test]
    fn what_is_no_set_of_public_keys_is_refused_without_being_repeated() {
        let signer = Signer::new(Algorithm::ES256, "a");
        let mut encrypts = signer.jwk.clone();
        encrypts["use"] = "enc".into();
        let mut swapped = signer.jwk.clone();
        swapped["alg"] = "HS256".into();
        for jwks in [&[&encrypts][..], &[&swapped], &[]] {
            assert!(set(jwks).err().unwrap().contains("no key that could check"));
        }
        let shared = json!({ "kty": "oct", "k": "aHVudGVyMg", "alg": "HS256" });
        let said = set(&[&shared]).err().unwrap();
        assert!(said.contains("key 1 is a shared secret") && !said.contains("aHVudGVyMg"));
        let said = KeySet::parse(Path::new("f"), b"hunter2").err().unwrap().to_string();
        assert_eq!(said, "f: is no JSON Web Key Set (line 1, column 1)");
    }
}
