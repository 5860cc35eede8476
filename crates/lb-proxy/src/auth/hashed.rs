//! Hashed passwords, in the forms that `htpasswd`, `openssl passwd`, `mkpasswd` and `argon2` write.

use std::str::FromStr;

use argon2::{Argon2, PasswordHash, PasswordVerifier};
use sha_crypt::ShaCrypt;
use subtle::ConstantTimeEq;

use super::apr1;

/// The largest bcrypt cost taken: some ten seconds for each password.
const MAX_BCRYPT_COST: u32 = 17;
/// The most memory that argon2 may take for a password, KiB.
const MAX_ARGON2_KIB: u32 = 1 << 20;
/// The most passes of argon2.
const MAX_ARGON2_PASSES: u32 = 100;
/// The most rounds of SHA-crypt, about ten seconds.
const MAX_SHA_ROUNDS: u32 = 10_000_000;
/// What `crypt(3)` takes for the rounds of SHA-crypt at least, and what holds where none are written.
const SHA_ROUNDS: (u32, u32) = (1_000, 5_000);

/// A hashed password.
pub(super) struct Hashed {
    kind: Kind,
    /// As it was written.
    text: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bcrypt,
    Argon2,
    Sha,
    Apr1,
}

impl Hashed {
    /// Reads a hash.
    ///
    /// # Errors
    /// What it is instead, without a part of it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let kind = match text {
            _ if text.starts_with("$2") => Kind::Bcrypt,
            _ if text.starts_with("$argon2") => Kind::Argon2,
            _ if text.starts_with("$5$") || text.starts_with("$6$") => Kind::Sha,
            _ if text.starts_with(apr1::MAGIC) => Kind::Apr1,
            _ => return Err(unknown(text).to_owned()),
        };
        match kind {
            Kind::Bcrypt => check_bcrypt(text)?,
            Kind::Argon2 => check_argon2(text)?,
            Kind::Sha => check_sha(text)?,
            Kind::Apr1 => drop(apr1::split(text).ok_or("is no whole apr1 hash")?),
        }
        Ok(Self { kind, text: text.into() })
    }

    /// Whether this is the password. Takes as long whether it is or not.
    pub(super) fn is(&self, password: &str) -> bool {
        let password = password.as_bytes();
        match self.kind {
            Kind::Bcrypt => bcrypt::verify(password, &self.text).unwrap_or(false),
            Kind::Argon2 => Argon2::default().verify_password(password, &*self.text).is_ok(),
            Kind::Sha => ShaCrypt::default().verify_password(password, &*self.text).is_ok(),
            Kind::Apr1 => apr1::split(&self.text)
                .is_some_and(|(salt, hash)| apr1::hash(password, salt).ct_eq(hash.as_bytes()).into()),
        }
    }
}

/// What a text is that is no hash we take.
fn unknown(text: &str) -> &'static str {
    if text.is_empty() {
        "has no password; write it with `htpasswd -B`"
    } else if text.starts_with("{SHA}") || text.starts_with("{SSHA}") {
        "has a password in SHA-1, which is no protection; write it with `htpasswd -B`"
    } else if text.starts_with("$1$") {
        "has a password in MD5-crypt, which is not taken; write it with `htpasswd -B`"
    } else if text.starts_with("$y$") || text.starts_with("$7$") {
        "has a password in yescrypt or scrypt, which are not taken; write it with `htpasswd -B`"
    } else if text.starts_with('$') {
        "has a hash of a kind that is not known; write it with `htpasswd -B`"
    } else {
        "has a password in the clear, or in DES; write it with `htpasswd -B`"
    }
}

fn check_bcrypt(text: &str) -> Result<(), String> {
    let parts = bcrypt::HashParts::from_str(text).map_err(|_| "is no whole bcrypt hash, which has 60 characters")?;
    match parts.get_cost() {
        4..=MAX_BCRYPT_COST => Ok(()),
        cost => Err(format!("has a bcrypt cost of {cost}; 4 to {MAX_BCRYPT_COST} are taken")),
    }
}

fn check_argon2(text: &str) -> Result<(), String> {
    const BROKEN: &str = "is no whole argon2 hash, `$argon2id$v=19$m=…,t=…,p=…$salt$hash`";
    let hash = PasswordHash::new(text).map_err(|_| BROKEN)?;
    argon2::Algorithm::try_from(hash.algorithm.as_str()).map_err(|_| BROKEN)?;
    let params = argon2::Params::try_from(&hash).map_err(|_| BROKEN)?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(BROKEN.to_owned());
    }
    if params.m_cost() > MAX_ARGON2_KIB || params.t_cost() > MAX_ARGON2_PASSES {
        return Err(format!("takes more than 1 GiB of memory or {MAX_ARGON2_PASSES} passes of argon2"));
    }
    Ok(())
}

fn check_sha(text: &str) -> Result<(), String> {
    const BROKEN: &str = "is no whole SHA-crypt hash, `$6$salt$hash` or `$6$rounds=N$salt$hash`";
    let (length, rest) = match (text.strip_prefix("$5$"), text.strip_prefix("$6$")) {
        (Some(rest), _) => (43, rest),
        (_, Some(rest)) => (86, rest),
        _ => return Err(BROKEN.to_owned()),
    };
    let (rounds, rest) = match rest.strip_prefix("rounds=") {
        None => (SHA_ROUNDS.1, rest),
        Some(rest) => {
            let (rounds, rest) = rest.split_once('$').ok_or(BROKEN)?;
            (rounds.parse().map_err(|_| BROKEN)?, rest)
        }
    };
    let (salt, hash) = rest.split_once('$').ok_or(BROKEN)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/');
    if salt.is_empty() || salt.len() > 16 || hash.len() != length || !salt.bytes().chain(hash.bytes()).all(is_plain) {
        return Err(BROKEN.to_owned());
    }
    match rounds {
        n if (SHA_ROUNDS.0..=MAX_SHA_ROUNDS).contains(&n) => Ok(()),
        n => Err(format!("has {n} rounds of SHA-crypt; {} to {MAX_SHA_ROUNDS} are taken", SHA_ROUNDS.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The password `secret`, by `crypt(3)`, `openssl passwd`, and `password` of the reference implementation of argon2.
    const GOOD: [(&str, &str); 9] = [
        ("secret", "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"),
        ("secret", "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"),
        ("secret", "$2a$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"),
        ("secret", "$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM."),
        (
            "secret",
            "$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM/O6IND4WQhG.",
        ),
        ("Hello world!", "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA"),
        (
            "Hello world!",
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
        ),
        ("open sesame", "$apr1$r31.....$F82NbYp0z5OJAIBItkz3D1"),
        ("password", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"),
    ];

    #[test]
    fn a_password_is_known_by_its_hash_of_every_kind() {
        for (password, hash) in GOOD {
            let hashed = Hashed::parse(hash).unwrap_or_else(|why| panic!("{hash} {why}"));
            assert!(hashed.is(password), "{hash}");
            for wrong in ["", "secre", "secret ", "Secret", "\u{0}"] {
                assert!(!hashed.is(wrong), "{hash}: {wrong}");
            }
        }
    }

    #[test]
    fn what_is_no_hash_or_too_dear_is_refused_without_being_repeated() {
        for (text, why) in [
            ("", "has no password"),
            ("hunter2", "in the clear"),
            ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "in SHA-1"),
            ("$1$abc$xyz", "MD5-crypt"),
            ("$y$j9T$abc$def", "yescrypt"),
            ("$3$abc", "not known"),
            ("$2b$04$short", "no whole bcrypt"),
            ("$2b$31$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW", "cost of 31"),
            ("$2b$03$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW", "cost of 3"),
            ("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ", "no whole argon2"),
            ("$argon2x$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "no whole argon2"),
            ("$argon2id$v=19$m=4000000,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "1 GiB"),
            ("$5$abcdefgh$short", "no whole SHA-crypt"),
            ("$5$rounds=99999999$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM.", "99999999 rounds"),
            ("$5$rounds=10$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM.", "10 rounds"),
            ("$apr1$ab$short", "no whole apr1"),
        ] {
            let Err(said) = Hashed::parse(text) else { panic!("{text} is taken") };
            assert!(said.contains(why), "{text}: {said}");
            assert!(text.len() < 8 || !said.contains(&text[3..]), "{said}");
        }
    }
}
