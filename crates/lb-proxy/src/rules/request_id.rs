//! A name for each request, by which a log line here and one at the endpoint are found together.
//!
//! Our own ids are 20 characters of `0-9a-z`: 48 bits of time in milliseconds, then 52 random bits, five bits a
//! character in the alphabet of Crockford, which leaves out `i l o u`. They sort by time as text, fit in a URL, and two
//! of the same millisecond collide with probability 2⁻⁵².
//!
//! A trusted proxy's `X-Request-Id` is kept, so that one id goes through all hops, if it has 1 to 128 characters of
//! `A-Z a-z 0-9 . _ : + / = @ ~ -`; anything else could break a log line or a query for it. From other peers it is replaced:
//! a client could give a thousand requests the same id. The id is always sent on as `X-Request-Id`.

use std::fmt;

use super::forwarded::Origin;
use crate::message::{Edits, RequestHead, name};

/// The id of a request.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(Form);

#[derive(Clone, PartialEq, Eq)]
enum Form {
    Own([u8; LENGTH]),
    Given(Box<str>),
}

impl RequestId {
    /// The id of a request: that of a trusted proxy, or a new one of `unix_ms` (milliseconds since 1970) and `entropy`,
    /// of which the lower 52 bits are used.
    #[must_use]
    pub fn of(head: &RequestHead, origin: &Origin, unix_ms: u64, entropy: u64) -> Self {
        let given = if origin.is_trusted { head.header(name::X_REQUEST_ID).and_then(sane) } else { None };
        given.map_or_else(|| Self::new(unix_ms, entropy), |given| Self(Form::Given(given.into())))
    }

    /// A new id. Also for what cannot be read as a request and is answered all the same.
    #[must_use]
    pub fn new(unix_ms: u64, entropy: u64) -> Self {
        let mut bits = u128::from(unix_ms & ((1 << 48) - 1)) << 52 | u128::from(entropy & ((1 << 52) - 1));
        let mut text = [0; LENGTH];
        for digit in text.iter_mut().rev() {
            *digit = ALPHABET[(bits & 31) as usize];
            bits >>= 5;
        }
        Self(Form::Own(text))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Form::Own(text) => std::str::from_utf8(text).unwrap_or_default(),
            Form::Given(text) => text,
        }
    }

    /// The id as bytes, which costs no check.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Form::Own(text) => text,
            Form::Given(text) => text.as_bytes(),
        }
    }

    /// [`write`](Self::write) where nothing came that looks like one.
    pub(crate) fn write_new(&self, edits: &mut Edits) {
        let _ = edits.put_new(name::X_REQUEST_ID, self.as_bytes());
    }

    /// Sends it on as `X-Request-Id`, in the place of whatever came.
    pub fn write(&self, edits: &mut Edits) {
        // An id is made of characters that any value may hold.
        let _ = edits.put(name::X_REQUEST_ID, self.as_bytes());
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

fn sane(value: &[u8]) -> Option<&str> {
    let is_sane = |&byte: &u8| byte.is_ascii_alphanumeric() || b"._:+/=@~-".contains(&byte);
    let value = std::str::from_utf8(value).ok()?;
    (matches!(value.len(), 1..=LONGEST) && value.as_bytes().iter().all(is_sane)).then_some(value)
}

/// 48 + 52 bits, five a character.
const LENGTH: usize = 20;
const LONGEST: usize = 128;
const ALPHABET: [u8; 32] = *b"0123456789abcdefghjkmnpqrstvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_differ_by_entropy() {
        let id = |ms, entropy| RequestId::new(ms, entropy).as_str().to_owned();
        assert_eq!(id(0, 0), "00000000000000000000");
        assert_eq!(id(0, 33), "00000000000000000011");
        assert_eq!(id(u64::MAX, u64::MAX), "zzzzzzzzzzzzzzzzzzzz");
        assert!(id(1_700_000_000_000, u64::MAX) < id(1_700_000_000_001, 0));
        assert_ne!(id(5, 1), id(5, 2));
    }

    #[test]
    fn only_ids_that_fit_a_log_line_are_kept() {
        let longest = "a".repeat(128);
        for id in ["7b2c-1", "01H/x=:@~+._", longest.as_str()] {
            assert_eq!(sane(id.as_bytes()), Some(id));
        }
        for id in ["", "a b", "a\"b", "a,b", "a\u{e4}", "a".repeat(129).as_str()] {
            assert_eq!(sane(id.as_bytes()), None, "{id:?}");
        }
    }
}
