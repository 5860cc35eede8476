//! Header names, and how to find one quickly.
//!
//! A message has some fifteen headers and is asked for five or six. Hashing all of them costs more than it saves, and
//! comparing every name ignoring case costs more than a number does. So each name has a tag: its length and its first,
//! middle and last byte, folded, in 32 bits. A lookup compares tags along the index and confirms the rare hit.
//!
//! The fold also maps `_` to `-`. Programs behind a CGI-like interface cannot distinguish the two, so that an edit that
//! removes `X-Forwarded-For` must remove `X_Forwarded_For` too; exact lookups distinguish them in the confirmation.

/// A header name to look for or to write, with its tag worked out. Any bytes may be looked for; what is no token is
/// simply never found, and is refused where it would be written.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    text: &'a [u8],
    tag: u32,
}

impl<'a> Name<'a> {
    /// A name known when compiling: `const X: Name<'static> = Name::new("X-Request-Id")`.
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self::from_bytes(text.as_bytes())
    }

    /// A name from bytes.
    #[must_use]
    pub const fn from_bytes(text: &'a [u8]) -> Self {
        Self { text, tag: tag(text) }
    }

    /// The name as it was given.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.text
    }

    pub(crate) const fn tag(&self) -> u32 {
        self.tag
    }

    /// Whether `other` is this name, ignoring case.
    #[must_use]
    pub fn is(&self, other: &[u8]) -> bool {
        // Most names come in one spelling, and comparing bytes is cheaper than comparing letters.
        self.text == other || self.text.eq_ignore_ascii_case(other)
    }

    /// Whether `other` is this name, ignoring case and taking `_` for `-`.
    #[must_use]
    pub fn looks_like(&self, other: &[u8]) -> bool {
        self.text.len() == other.len() && self.text.iter().zip(other).all(|(&a, &b)| fold(a) == fold(b))
    }
}

impl<'a> From<&'a str> for Name<'a> {
    fn from(text: &'a str) -> Self {
        Self::new(text)
    }
}

impl<'a> From<&'a [u8]> for Name<'a> {
    fn from(text: &'a [u8]) -> Self {
        Self::from_bytes(text)
    }
}

impl<'a> From<&'a http::HeaderName> for Name<'a> {
    fn from(name: &'a http::HeaderName) -> Self {
        Self::new(name.as_str())
    }
}

/// Length, first, middle and last byte, folded. Equal names have equal tags; unequal ones rarely do.
pub(crate) const fn tag(name: &[u8]) -> u32 {
    let n = name.len();
    if n == 0 {
        return 0;
    }
    // A length past 255 wraps; the confirmation compares the whole name anyway.
    u32::from_be_bytes([(n & 0xff) as u8, fold(name[0]), fold(name[n / 2]), fold(name[n - 1])])
}

const fn fold(byte: u8) -> u8 {
    FOLD[byte as usize]
}

static FOLD: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let byte = i as u8;
        table[i] = if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
        i += 1;
    }
    table
};

macro_rules! names {
    ($($(#[$doc:meta])* $id:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $id: Name<'static> = Name::new($text);)*
    };
}

names! {
    /// `Accept-Encoding`
    ACCEPT_ENCODING = "Accept-Encoding";
    /// `Authorization`
    AUTHORIZATION = "Authorization";
    /// `Connection`
    CONNECTION = "Connection";
    /// `Content-Encoding`
    CONTENT_ENCODING = "Content-Encoding";
    /// `Content-Length`
    CONTENT_LENGTH = "Content-Length";
    /// `Content-Type`
    CONTENT_TYPE = "Content-Type";
    /// `Cookie`
    COOKIE = "Cookie";
    /// `Date`
    DATE = "Date";
    /// `Expect`
    EXPECT = "Expect";
    /// `Forwarded` (RFC 7239)
    FORWARDED = "Forwarded";
    /// `Host`
    HOST = "Host";
    /// `Keep-Alive`
    KEEP_ALIVE = "Keep-Alive";
    /// `Location`
    LOCATION = "Location";
    /// `Proxy-Authenticate`
    PROXY_AUTHENTICATE = "Proxy-Authenticate";
    /// `Proxy-Authorization`
    PROXY_AUTHORIZATION = "Proxy-Authorization";
    /// `Proxy-Connection`
    PROXY_CONNECTION = "Proxy-Connection";
    /// `Retry-After`
    RETRY_AFTER = "Retry-After";
    /// `Sec-WebSocket-Accept` (RFC 6455)
    SEC_WEBSOCKET_ACCEPT = "Sec-WebSocket-Accept";
    /// `Sec-WebSocket-Key` (RFC 6455)
    SEC_WEBSOCKET_KEY = "Sec-WebSocket-Key";
    /// `Set-Cookie`
    SET_COOKIE = "Set-Cookie";
    /// `TE`
    TE = "TE";
    /// `Trailer`
    TRAILER = "Trailer";
    /// `Transfer-Encoding`
    TRANSFER_ENCODING = "Transfer-Encoding";
    /// `Upgrade`
    UPGRADE = "Upgrade";
    /// `User-Agent`
    USER_AGENT = "User-Agent";
    /// `Vary`
    VARY = "Vary";
    /// `WWW-Authenticate`
    WWW_AUTHENTICATE = "WWW-Authenticate";
    /// `X-Forwarded-For`
    X_FORWARDED_FOR = "X-Forwarded-For";
    /// `X-Forwarded-Host`
    X_FORWARDED_HOST = "X-Forwarded-Host";
    /// `X-Forwarded-Port`
    X_FORWARDED_PORT = "X-Forwarded-Port";
    /// `X-Forwarded-Proto`
    X_FORWARDED_PROTO = "X-Forwarded-Proto";
    /// `X-Real-IP`
    X_REAL_IP = "X-Real-IP";
    /// `X-Request-Id`
    X_REQUEST_ID = "X-Request-Id";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_does_not_change_the_tag() {
        assert_eq!(tag(b"Content-Length"), tag(b"cONTENT-lENGTH"));
        assert_eq!(tag(b"X-Forwarded-For"), tag(b"x_forwarded_for"));
        assert_ne!(tag(b"Content-Type"), tag(b"Content-Length"));
    }

    #[test]
    fn empty_and_single_names_have_a_tag() {
        assert_eq!(tag(b""), 0);
        assert_eq!(tag(b"X"), u32::from_be_bytes([1, b'x', b'x', b'x']));
    }

    #[test]
    fn underscores_look_like_hyphens_but_are_not_the_same_name() {
        assert!(X_REAL_IP.looks_like(b"x_real-ip"));
        assert!(!X_REAL_IP.is(b"x_real-ip"));
        assert!(!X_REAL_IP.looks_like(b"x-real-i"));
    }
}
