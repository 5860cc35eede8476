//! The `Authorization` header of a name and a password (RFC 7617).

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::message::{RequestHead, name};

/// Longest credentials that are looked at, bytes: the work of some hashes grows with the square of the password's length.
const LONGEST: usize = 512;

/// What people leave out at the end is not worth a refusal.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    text: String,
    colon: usize,
}

impl Credentials {
    /// Those of a request; `None` where it has none of this kind, ones that are malformed, longer than 512 bytes or with control
    /// characters, or more than one `Authorization`.
    #[must_use]
    pub fn of(head: &RequestHead) -> Option<Self> {
        let mut lines = head.headers(name::AUTHORIZATION);
        let line = lines.next()?;
        if lines.next().is_some() {
            return None;
        }
        Self::parse(line)
    }

    /// Reads the value of an `Authorization` header.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (scheme, rest) = value.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return None;
        }
        let encoded = rest.trim_ascii();
        // Four characters hold three octets.
        if encoded.len() > LONGEST.div_ceil(3) * 4 {
            return None;
        }
        let text = String::from_utf8(BASE64.decode(encoded).ok()?).ok()?;
        let colon = text.find(':')?;
        (text.len() <= LONGEST && !text.chars().any(char::is_control)).then_some(Self { text, colon })
    }

    /// The name: what stands before the first colon.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.text[..self.colon]
    }

    /// The password.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.text[self.colon + 1..]
    }
}

/// The name alone.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("name", &self.name()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::head;

    fn read(value: &str) -> Option<(String, String)> {
        Credentials::parse(value.as_bytes()).map(|it| (it.name().to_owned(), it.password().to_owned()))
    }

    fn pair(name: &str, password: &str) -> Option<(String, String)> {
        Some((name.to_owned(), password.to_owned()))
    }

    #[test]
    fn a_pair_is_read_as_browsers_write_it() {
        // The examples of RFC 7617 §2 and §2.1.
        assert_eq!(read("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), pair("Aladdin", "open sesame"));
        assert_eq!(read("basic dGVzdDoxMjPCow=="), pair("test", "123\u{a3}"));
        assert_eq!(read("BASIC   QWxhZGRpbjpvcGVuIHNlc2FtZQ "), pair("Aladdin", "open sesame"));
        assert_eq!(read("Basic YTpiOmM="), pair("a", "b:c"));
        assert_eq!(read("Basic Og=="), pair("", ""));
    }

    #[test]
    fn what_is_no_pair_is_none() {
        for value in [
            "",
            "Basic",
            "Basic ",
            "Basic QWxhZGRpbg==",
            "Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "BasicQTpi",
            "Basic Q!==",
            "Basic QQpiOmM=",
            "Basic /zph",
            "Basic QTpi Yzpk",
        ] {
            assert_eq!(read(value), None, "{value}");
        }
        let long = |length: usize| format!("Basic {}", BASE64.encode(format!("a:{}", "x".repeat(length))));
        assert!(
            read(&long(LONGEST - 2)).is_some() && read(&long(LONGEST - 1)).is_none() && read(&long(1 << 20)).is_none()
        );
    }

    #[test]
    fn two_of_them_are_none() {
        let one = "GET / HTTP/1.1\nHost: a\nAuthorization: Basic YTpi";
        assert!(Credentials::of(&head(one)).is_some());
        assert!(Credentials::of(&head(&format!("{one}\nauthorization: Basic YTpi"))).is_none());
        assert!(Credentials::of(&head("GET / HTTP/1.1\nHost: a")).is_none());
        assert_eq!(format!("{:?}", Credentials::parse(b"Basic YTpi")), "Some(Credentials { name: \"a\", .. })");
    }
}
