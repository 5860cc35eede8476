//! `$apr1$`: Apache's variant of MD5-crypt, which `htpasswd` wrote by default until 2.4 and `openssl passwd -apr1` writes still.
//!
//! A thousand rounds of MD5: weak by today's measure, and in too many files to be refused. No kept crate has it alone; the
//! algorithm is Poul-Henning Kamp's of 1994 with another magic, as in Apache's `apr_md5.c`.

use md5::{Digest, Md5};

/// The prefix of such hashes.
pub(super) const MAGIC: &str = "$apr1$";
/// Characters of a salt that count.
const SALT: usize = 8;
/// Characters of a hash.
pub(super) const LENGTH: usize = 22;
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Salt and hash of a text behind [`MAGIC`]; `None` if it is not of that form.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let (salt, hash) = text.strip_prefix(MAGIC)?.split_once('$')?;
    let is_of = |text: &str| text.bytes().all(|byte| ALPHABET.contains(&byte));
    ((1..=SALT).contains(&salt.len()) && hash.len() == LENGTH && is_of(salt) && is_of(hash)).then_some((salt, hash))
}

/// The hash of a password with this salt.
pub(super) fn hash(password: &[u8], salt: &str) -> [u8; LENGTH] {
    let salt = &salt.as_bytes()[..salt.len().min(SALT)];
    let inner = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut context = Md5::new().chain_update(password).chain_update(MAGIC).chain_update(salt);
    let mut left = password.len();
    while left > 0 {
        let take = left.min(inner.len());
        context.update(&inner[..take]);
        left -= take;
    }
    // The length's bits: a zero octet for each one, the password's first for each zero.
    let mut bits = password.len();
    while bits > 0 {
        context.update(if bits & 1 == 1 { &[0][..] } else { &password[..1] });
        bits >>= 1;
    }
    let mut digest = context.finalize();
    for round in 0..1000 {
        let mut context = Md5::new();
        if round % 2 == 1 {
            context.update(password);
        } else {
            context.update(digest);
        }
        if round % 3 != 0 {
            context.update(salt);
        }
        if round % 7 != 0 {
            context.update(password);
        }
        if round % 2 == 1 {
            context.update(digest);
        } else {
            context.update(password);
        }
        digest = context.finalize();
    }
    let mut out = [0; LENGTH];
    let mut at = 0;
    let mut push = |mut value: u32, count: usize| {
        for _ in 0..count {
            out[at] = ALPHABET[(value & 0x3f) as usize];
            value >>= 6;
            at += 1;
        }
    };
    let octet = |at: usize| u32::from(digest[at]);
    for [a, b, c] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        push(octet(a) << 16 | octet(b) << 8 | octet(c), 4);
    }
    push(octet(11), 2);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl passwd -apr1 -salt SALT PASSWORD`.
    const MADE: [(&str, &str); 5] = [
        ("", "$apr1$ab$S8K6Sgp3W8c9Jb6LxgywZ."),
        ("a", "$apr1$abcdefgh$G8IsPsylW5ROvIKsQMRG61"),
        ("open sesame", "$apr1$r31.....$F82NbYp0z5OJAIBItkz3D1"),
        ("0123456789abcdef", "$apr1$x$7smHx4qPUie9g3UogSau.0"),
        ("a much longer password, of more than 32 octets in all", "$apr1$......./$McVLvC11Oxb6vynoWJGxX."),
    ];

    #[test]
    fn hashes_are_those_of_openssl() {
        for (password, made) in MADE {
            let (salt, expected) = split(made).unwrap();
            assert_eq!(String::from_utf8_lossy(&hash(password.as_bytes(), salt)), expected, "{password}");
        }
    }

    #[test]
    fn what_has_another_form_is_none() {
        for text in [
            "",
            "$apr1$",
            "$apr1$salt",
            "$1$ab$P/XMlrTlXoyWsF5MOHo7c.",
            "$apr1$$P/XMlrTlXoyWsF5MOHo7c.",
            "$apr1$ab$short",
        ] {
            assert_eq!(split(text), None, "{text}");
        }
        assert_eq!(split("$apr1$123456789$P/XMlrTlXoyWsF5MOHo7c."), None);
        assert_eq!(split("$apr1$a:$P/XMlrTlXoyWsF5MOHo7c."), None);
    }
}
