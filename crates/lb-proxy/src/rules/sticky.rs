//! Affinity by a cookie that names an endpoint and cannot be forged.
//!
//! The cookie must survive what a table of sessions does not: a restart, a reload, a second proxy beside this one. So
//! it carries the endpoint itself, and no state is kept here. Written plainly, it would tell every client the names of
//! our endpoints and let it choose one, the drained one among them. So it is encrypted and signed:
//!
//! ```text
//! base64url( 1 | key id: 1 byte | affinity ^ pad: 8 | expiry: 4 | tag: 16 )         30 bytes, 40 characters
//! tag = BLAKE3-keyed(signing key, 1 | key id | affinity | expiry)[..16]
//! pad = BLAKE3-keyed(masking key, tag)[..8]
//! ```
//!
//! That is a synthetic initialisation vector in the manner of RFC 5297: nothing random is needed, and equal content
//! makes equal cookies, which tells no more than that two clients share an endpoint. The key's id is derived from the configured
//! secret, so that its length and shape do not matter; both keys from the secret, the cookie's name and the cluster's, each behind
//! its length. One secret may serve many routes, and a cookie is good only where it was made: not as another cookie, and not for
//! another cluster, in which the same endpoint may drain. BLAKE3 rather than SipHash-128,
//! since it comes with a key derivation and an undisputed security margin, and costs some 100 ns once a request;
//! HMAC-SHA-256 would do as well at four times that.
//!
//! The affinity is [`lb_policy::affinity_of`] the configured address, so that a container that comes back with another
//! IP keeps its clients, and all addresses of one name are one.
//!
//! Keys rotate by putting a new secret in front of the old one: cookies are signed with the first and accepted from
//! any, and one that an older key signed is renewed at once. Whatever is forged, cut, expired or signed by a key that
//! is gone is as if it were not there; the check takes the same time wherever a tag differs.
//!
//! A cookie is a bearer token: any client that has it selects its endpoint. Without a `max_age` it is valid as long as its secret.
//!
//! Not done here: whether the endpoint still exists and may take a request is decided by the policy. If it picks
//! another one, the cookie is replaced.

use std::fmt::Write as _;

use lb_config::{SameSite, Sticky};
use subtle::ConstantTimeEq;

use super::headers::HeaderError;
use crate::message::{Edits, Line, RequestHead, name};

/// A route's affinity by cookie, compiled.
pub struct StickyCookie {
    name: Box<str>,
    /// What follows the value, from the first semicolon on.
    attributes: String,
    /// Seconds; `None` is a session cookie.
    max_age: Option<u32>,
    /// The first signs, all are accepted. Never empty.
    keys: Vec<Key>,
}

/// The content of a valid cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AffinityHint {
    /// The endpoint's affinity, for the policy's `preferred`.
    pub affinity: u64,
    /// Whether the cookie is due for renewal whichever endpoint answers: past half of its life, or signed by an older
    /// key.
    pub is_stale: bool,
}

impl StickyCookie {
    /// Compiles `sticky` for a route to this cluster. `made_at_start` is a secret that lives as long as the process, used if the configuration has
    /// none; the caller warns about that, keeps it over reloads, and takes it from the system's generator.
    ///
    /// # Errors
    ///
    /// A cookie whose name, path or domain cannot stand in a header.
    pub fn new(sticky: &Sticky, cluster: &str, made_at_start: &[u8; 32]) -> Result<Self, HeaderError> {
        let max_age = sticky.max_age.map(|age| u32::try_from(age.as_secs()).unwrap_or(u32::MAX).max(1));
        let derive = |secret| Key::derive(secret, sticky.cookie.as_bytes(), cluster.as_bytes());
        let mut keys: Vec<_> = sticky.secrets.iter().map(|secret| derive(secret.as_bytes())).collect();
        if keys.is_empty() {
            keys.push(derive(made_at_start));
        }
        let cookie = Self { name: Box::from(&*sticky.cookie), attributes: attributes(sticky, max_age), max_age, keys };
        Line::new(name::SET_COOKIE, cookie.render(0, 0))
            .map_err(|reason| HeaderError { name: name_of_header(), reason })?;
        Ok(cookie)
    }

    /// Reads the cookie of a request at `now`, seconds since 1970. Of several cookies of this name (set for different
    /// paths or domains) the first valid one of the first eight counts.
    #[must_use]
    pub fn read(&self, head: &RequestHead, now: u64) -> Option<AffinityHint> {
        head.headers(name::COOKIE)
            .flat_map(|line| line.split(|&byte| byte == b';'))
            .filter_map(|pair| {
                let value = pair.trim_ascii().strip_prefix(self.name.as_bytes())?.strip_prefix(b"=")?;
                Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
            })
            .take(MAX_TRIED)
            .find_map(|value| self.verify(value, now))
    }

    /// Whether the response must set the cookie, given what the request had and the affinity of the endpoint that
    /// answered.
    #[must_use]
    pub fn is_due(&self, came: Option<AffinityHint>, answered: u64) -> bool {
        came.is_none_or(|stuck| stuck.is_stale || stuck.affinity != answered)
    }

    /// Adds the `Set-Cookie` for the endpoint that answered, valid from `now`, seconds since 1970.
    pub fn write(&self, answered: u64, now: u64, edits: &mut Edits) {
        // Name and attributes were checked by `new`; the token is made of letters, digits, `-` and `_`.
        let _ = edits.append(name::SET_COOKIE, self.render(answered, now));
    }

    fn render(&self, affinity: u64, now: u64) -> String {
        let Some(key) = self.keys.first() else { return String::new() };
        let token = key.seal(affinity, self.max_age.map_or(NEVER, |age| expiry(now, age)));
        let mut line = String::with_capacity(self.name.len() + 1 + TOKEN_CHARS + self.attributes.len());
        line.push_str(&self.name);
        line.push('=');
        line.push_str(std::str::from_utf8(&encode(&token)).unwrap_or_default());
        line.push_str(&self.attributes);
        line
    }

    fn verify(&self, value: &[u8], now: u64) -> Option<AffinityHint> {
        let token = decode(value)?;
        let (at, affinity, expiry) = self.keys.iter().enumerate().find_map(|(at, key)| {
            let (affinity, expiry) = key.open(&token)?;
            Some((at, affinity, expiry))
        })?;
        let left = match expiry {
            NEVER => u64::MAX,
            expiry => u64::from(expiry).checked_sub(now).filter(|&left| left > 0)?,
        };
        // One that was made for a session is renewed once the route has an age, and the other way round.
        let is_stale = at > 0
            || match self.max_age {
                Some(age) => expiry == NEVER || left < u64::from(age).div_ceil(2),
                None => expiry != NEVER,
            };
        Some(AffinityHint { affinity, is_stale })
    }
}

/// Shows the cookie's name and attributes, and how many keys there are, never the keys.
impl std::fmt::Debug for StickyCookie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StickyCookie")
            .field("name", &self.name)
            .field("attributes", &self.attributes)
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

/// What one secret becomes for one cookie of one cluster.
struct Key {
    id: u8,
    signing: [u8; 32],
    masking: [u8; 32],
}

impl Key {
    fn derive(secret: &[u8], cookie: &[u8], cluster: &[u8]) -> Self {
        let [id, ..] = blake3::derive_key("lbproxy sticky cookie v1 key id", secret);
        let mut material = Vec::new();
        for part in [secret, cookie, cluster] {
            material.extend_from_slice(&(part.len() as u64).to_be_bytes());
            material.extend_from_slice(part);
        }
        Self {
            id,
            signing: blake3::derive_key("lbproxy sticky cookie v1 signing", &material),
            masking: blake3::derive_key("lbproxy sticky cookie v1 masking", &material),
        }
    }

    fn seal(&self, affinity: u64, expiry: u32) -> Token {
        let tag = self.tag(affinity, expiry);
        let mut token = [0; TOKEN_BYTES];
        token[0] = VERSION;
        token[1] = self.id;
        token[2..10].copy_from_slice(&(affinity ^ self.pad(&tag)).to_be_bytes());
        token[10..14].copy_from_slice(&expiry.to_be_bytes());
        token[14..].copy_from_slice(&tag);
        token
    }

    fn open(&self, token: &Token) -> Option<(u64, u32)> {
        let [version, id, a, b, c, d, e, f, g, h, i, j, k, l, tag @ ..] = *token;
        if version != VERSION || id != self.id {
            return None;
        }
        let affinity = u64::from_be_bytes([a, b, c, d, e, f, g, h]) ^ self.pad(&tag);
        let expiry = u32::from_be_bytes([i, j, k, l]);
        bool::from(self.tag(affinity, expiry).ct_eq(&tag)).then_some((affinity, expiry))
    }

    fn tag(&self, affinity: u64, expiry: u32) -> [u8; TAG_BYTES] {
        let mut text = [0; 14];
        text[0] = VERSION;
        text[1] = self.id;
        text[2..10].copy_from_slice(&affinity.to_be_bytes());
        text[10..].copy_from_slice(&expiry.to_be_bytes());
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&blake3::keyed_hash(&self.signing, &text).as_bytes()[..TAG_BYTES]);
        tag
    }

    fn pad(&self, tag: &[u8; TAG_BYTES]) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = *blake3::keyed_hash(&self.masking, tag).as_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

fn attributes(sticky: &Sticky, max_age: Option<u32>) -> String {
    let mut text = format!("; Path={}", sticky.path);
    if let Some(domain) = &sticky.domain {
        let _ = write!(text, "; Domain={domain}");
    }
    if let Some(age) = max_age {
        let _ = write!(text, "; Max-Age={age}");
    }
    if sticky.secure {
        text.push_str("; Secure");
    }
    if sticky.http_only {
        text.push_str("; HttpOnly");
    }
    match sticky.same_site {
        Some(SameSite::Strict) => text.push_str("; SameSite=Strict"),
        Some(SameSite::Lax) => text.push_str("; SameSite=Lax"),
        Some(SameSite::None) => text.push_str("; SameSite=None"),
        None => {}
    }
    text
}

fn name_of_header() -> String {
    "Set-Cookie".to_owned()
}

/// The last second a cookie is good for; never the mark of one without an end.
fn expiry(now: u64, age: u32) -> u32 {
    u32::try_from(now.saturating_add(u64::from(age))).unwrap_or(u32::MAX).max(1)
}

/// 30 bytes are 40 characters exactly: no padding, and no text that decodes to the same bytes in another spelling.
fn encode(token: &Token) -> [u8; TOKEN_CHARS] {
    let mut text = [0; TOKEN_CHARS];
    for (to, from) in text.chunks_exact_mut(4).zip(token.chunks_exact(3)) {
        if let ([a, b, c, d], &[x, y, z]) = (to, from) {
            let bits = u32::from_be_bytes([0, x, y, z]);
            *a = DIGITS[(bits >> 18) as usize & 63];
            *b = DIGITS[(bits >> 12) as usize & 63];
            *c = DIGITS[(bits >> 6) as usize & 63];
            *d = DIGITS[bits as usize & 63];
        }
    }
    text
}

fn decode(text: &[u8]) -> Option<Token> {
    let text: &[u8; TOKEN_CHARS] = text.try_into().ok()?;
    let mut token = [0; TOKEN_BYTES];
    for (to, from) in token.chunks_exact_mut(3).zip(text.chunks_exact(4)) {
        let mut bits = 0u32;
        for &character in from {
            let digit = match character {
                b'A'..=b'Z' => character - b'A',
                b'a'..=b'z' => character - b'a' + 26,
                b'0'..=b'9' => character - b'0' + 52,
                b'-' => 62,
                b'_' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(digit);
        }
        to.copy_from_slice(&bits.to_be_bytes()[1..]);
    }
    Some(token)
}

type Token = [u8; TOKEN_BYTES];

const VERSION: u8 = 1;
const TAG_BYTES: usize = 16;
const TOKEN_BYTES: usize = 1 + 1 + 8 + 4 + TAG_BYTES;
const TOKEN_CHARS: usize = TOKEN_BYTES / 3 * 4;
/// The expiry of a session cookie.
const NEVER: u32 = 0;
/// Cookies of our name that are checked: enough for every path and domain, and a bound if a client sends a thousand.
const MAX_TRIED: usize = 8;
const DIGITS: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rules::testing::{head, sent};

    const NOW: u64 = 1_800_000_000;

    fn config(max_age: Option<u64>, secrets: &[&str]) -> Sticky {
        Sticky {
            cookie: "affinity".into(),
            secure: false,
            http_only: false,
            same_site: None,
            path: "/".into(),
            domain: None,
            max_age: max_age.map(Duration::from_secs),
            secrets: secrets.iter().map(|secret| (*secret).into()).collect(),
        }
    }

    fn cookie(max_age: Option<u64>, secrets: &[&str]) -> StickyCookie {
        StickyCookie::new(&config(max_age, secrets), "app", &[7; 32]).unwrap()
    }

    fn value(line: &str) -> &str {
        line.strip_prefix("affinity=").and_then(|rest| rest.split(';').next()).unwrap()
    }

    fn read(cookie: &StickyCookie, value: &str, now: u64) -> Option<AffinityHint> {
        cookie.read(&head(&format!("GET / HTTP/1.1\nHost: a\nCookie: affinity={value}")), now)
    }

    #[test]
    fn a_cookie_says_what_it_was_made_for() {
        let cookie = cookie(None, &["s"]);
        for affinity in [0, 1, u64::MAX, lb_policy::affinity_of("app-1:80")] {
            let line = cookie.render(affinity, NOW);
            assert_eq!(value(&line).len(), 40);
            assert_eq!(read(&cookie, value(&line), NOW), Some(AffinityHint { affinity, is_stale: false }));
            assert_eq!(read(&cookie, &format!("\"{}\"", value(&line)), u64::MAX).map(|s| s.affinity), Some(affinity));
        }
    }

    #[test]
    fn any_change_to_it_makes_it_as_if_it_were_not_there() {
        let cookie = cookie(Some(60), &["s"]);
        let line = cookie.render(5, NOW);
        let good = decode(value(&line).as_bytes()).unwrap();
        for bit in 0..TOKEN_BYTES * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            let text = encode(&bad);
            assert_eq!(read(&cookie, std::str::from_utf8(&text).unwrap(), NOW), None, "bit {bit}");
        }
        for bad in ["", "x", &value(&line)[1..], &format!("{}A", value(&line)), &"*".repeat(40)] {
            assert_eq!(read(&cookie, bad, NOW), None, "{bad}");
        }
    }

    #[test]
    fn another_secret_knows_nothing_of_it() {
        let line = cookie(None, &["s"]).render(5, NOW);
        assert_eq!(read(&cookie(None, &["t"]), value(&line), NOW), None);
        assert_eq!(read(&cookie(None, &[]), value(&line), NOW), None);
    }

    #[test]
    fn another_cluster_or_another_cookie_of_the_same_secret_knows_nothing_of_it() {
        let line = cookie(None, &["s"]).render(5, NOW);
        let other = StickyCookie::new(&config(None, &["s"]), "two", &[7; 32]).unwrap();
        assert_eq!(read(&other, value(&line), NOW), None);
        let other =
            StickyCookie::new(&Sticky { cookie: "other".into(), ..config(None, &["s"]) }, "app", &[7; 32]).unwrap();
        let request = head(&format!("GET / HTTP/1.1\nHost: a\nCookie: other={}", value(&line)));
        assert_eq!(other.read(&request, NOW), None);
        let made_at_start = cookie(None, &[]).render(5, NOW);
        let other = StickyCookie::new(&config(None, &[]), "two", &[7; 32]).unwrap();
        assert_eq!(read(&other, value(&made_at_start), NOW), None);
    }

    #[test]
    fn without_a_secret_the_one_made_at_start_is_used() {
        let line = cookie(None, &[]).render(5, NOW);
        assert_eq!(read(&cookie(None, &[]), value(&line), NOW).map(|s| s.affinity), Some(5));
        let other = StickyCookie::new(&config(None, &[]), "app", &[8; 32]).unwrap();
        assert_eq!(read(&other, value(&line), NOW), None);
    }

    #[test]
    fn it_expires_and_is_renewed_in_the_second_half_of_its_life() {
        let cookie = cookie(Some(100), &["s"]);
        let line = cookie.render(5, NOW);
        let stale_at = |now| read(&cookie, value(&line), now).map(|stuck| stuck.is_stale);
        assert_eq!(stale_at(NOW), Some(false));
        assert_eq!(stale_at(NOW + 50), Some(false));
        assert_eq!(stale_at(NOW + 51), Some(true));
        assert_eq!(stale_at(NOW + 99), Some(true));
        assert_eq!(stale_at(NOW + 100), None);
        assert_eq!(stale_at(u64::MAX), None);
        assert_eq!(stale_at(0), Some(false), "a clock that went back does no harm");
    }

    #[test]
    fn a_new_secret_in_front_renews_what_the_old_one_signed() {
        let line = cookie(None, &["old"]).render(5, NOW);
        let both = cookie(None, &["new", "old"]);
        assert_eq!(read(&both, value(&line), NOW), Some(AffinityHint { affinity: 5, is_stale: true }));
        let renewed = both.render(5, NOW);
        assert_eq!(
            read(&cookie(None, &["new"]), value(&renewed), NOW),
            Some(AffinityHint { affinity: 5, is_stale: false })
        );
    }

    #[test]
    fn a_change_between_session_and_age_renews() {
        let session = cookie(None, &["s"]).render(5, NOW);
        assert_eq!(read(&cookie(Some(100), &["s"]), value(&session), NOW).map(|s| s.is_stale), Some(true));
        let aged = cookie(Some(100), &["s"]).render(5, NOW);
        assert_eq!(read(&cookie(None, &["s"]), value(&aged), NOW).map(|s| s.is_stale), Some(true));
    }

    #[test]
    fn it_is_due_when_there_is_none_or_another_endpoint_answered() {
        let cookie = cookie(None, &["s"]);
        let fresh = Some(AffinityHint { affinity: 5, is_stale: false });
        assert!(!cookie.is_due(fresh, 5));
        assert!(cookie.is_due(fresh, 6) && cookie.is_due(None, 5));
        assert!(cookie.is_due(Some(AffinityHint { affinity: 5, is_stale: true }), 5));
    }

    #[test]
    fn among_several_of_its_name_the_first_valid_one_counts() {
        let cookie = cookie(None, &["s"]);
        let good = cookie.render(5, NOW);
        let with = |bad: usize| {
            let bad = "affinity=forged; ".repeat(bad);
            let lines =
                format!("GET / HTTP/1.1\nHost: a\nCookie: x=1; {bad}affinityx=1\nCookie: affinity={}", value(&good));
            cookie.read(&head(&lines), NOW).map(|stuck| stuck.affinity)
        };
        assert_eq!(with(0), Some(5));
        assert_eq!(with(7), Some(5));
        assert_eq!(with(8), None, "a bound on the work a client can ask for");
    }

    #[test]
    fn its_attributes_are_as_configured() {
        let full = Sticky {
            secure: true,
            http_only: true,
            same_site: Some(SameSite::Lax),
            path: "/app".into(),
            domain: Some("example.com".into()),
            ..config(Some(3600), &["s"])
        };
        let cookie = StickyCookie::new(&full, "app", &[0; 32]).unwrap();
        let mut edits = Edits::new();
        cookie.write(5, NOW, &mut edits);
        let request = head("GET / HTTP/1.1\nHost: a");
        let line = sent(&request, &edits).into_iter().find(|line| line.starts_with("Set-Cookie: ")).unwrap();
        assert!(
            line.ends_with("; Path=/app; Domain=example.com; Max-Age=3600; Secure; HttpOnly; SameSite=Lax"),
            "{line}"
        );
        assert!(self::cookie(None, &["s"]).render(5, NOW).ends_with("; Path=/"));
    }

    #[test]
    fn what_cannot_stand_in_a_header_is_refused_and_secrets_are_not_shown() {
        let bad = Sticky { path: "/\r\nx: y".into(), ..config(None, &["s"]) };
        assert_eq!(StickyCookie::new(&bad, "app", &[0; 32]).expect_err("refused").name, "Set-Cookie");
        let shown = format!("{:?}", cookie(None, &["hunter2"]));
        assert!(shown.contains("keys: 1") && !shown.contains("hunter2"), "{shown}");
    }

    /// A token must be readable by another version of this program. Worked out with the Python package `blake3` from
    /// the layout in the module's text.
    #[test]
    fn the_format_is_fixed() {
        let key = Key::derive(b"secret", b"affinity", b"app");
        assert_eq!(key.open(&key.seal(0x0102_0304_0506_0708, 9)), Some((0x0102_0304_0506_0708, 9)));
        assert_eq!(
            std::str::from_utf8(&encode(&key.seal(0x0102_0304_0506_0708, 9))),
            Ok("Aa0X05TOnhNTLwAAAAkxuQl1FPrAx2qv0YzdWrtn")
        );
    }
}
