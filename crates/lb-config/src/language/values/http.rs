//! Words of HTTP: header names, methods, hosts, paths, cookies.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::ValueError;

/// A host pattern, lower case, without port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// This very host.
    Exact(Arc<str>),
    /// `*.example.org`: any host below it, at any depth; holds `.example.org`.
    Wildcard(Arc<str>),
}

/// A path pattern. Matched against the percent-decoded, dot-normalised path.
#[derive(Clone, Debug)]
pub enum PathPattern {
    /// Whole segments: `/api` matches `/api`, `/api/` and `/api/x`, not `/apix`. Without trailing slash; the root is empty.
    Prefix(Arc<str>),
    /// This very path.
    Exact(Arc<str>),
    /// A regular expression, found anywhere unless anchored.
    Regex(Regex),
}

/// How a header's value must look.
#[derive(Clone, Debug)]
pub enum ValuePattern {
    /// This very value.
    Exact(Arc<str>),
    /// A regular expression, found anywhere unless anchored.
    Regex(Regex),
}

impl Default for PathPattern {
    /// The root prefix: every path.
    fn default() -> Self {
        Self::Prefix(Arc::from(""))
    }
}

/// Regular expressions are equal if their text is.
impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Prefix(a), Self::Prefix(b)) | (Self::Exact(a), Self::Exact(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
}

/// Regular expressions are equal if their text is.
impl PartialEq for ValuePattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
}

pub(crate) const PATH: &str = "a prefix (\"/api/\"), an exact path (\"=/api\") or a regex (\"~^/v[0-9]+/\")";

/// Memory a compiled pattern may take, bytes: enough for any sane pattern, and `a{1000}{1000}` is refused.
const REGEX_SIZE: usize = 1 << 20;

/// RFC 9110 §5.6.2.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

pub(crate) fn header_name(text: &str) -> Result<Arc<str>, ValueError> {
    if is_token(text) {
        return Ok(text.into());
    }
    let wrong = ValueError::new("is not a header name", "letters, digits and `-`");
    Err(if text.ends_with(':') { wrong.help("leave the colon out") } else { wrong })
}

/// What stands in a header value: no control characters but the tab (RFC 9110 §5.5).
pub(crate) fn header_value(text: &str) -> Result<(), ValueError> {
    if text.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return Err(ValueError::new("has a line break or another control character in it", "one line of text"));
    }
    if text.trim_matches([' ', '\t']) != text {
        return Err(ValueError::new(
            "begins or ends with a space, which no header value does",
            "text without spaces around it",
        ));
    }
    Ok(())
}

pub(crate) fn method(text: &str) -> Result<Arc<str>, ValueError> {
    const EXPECTED: &str = "a method in capitals such as \"GET\"";
    if !is_token(text) {
        return Err(ValueError::new("is not a method", EXPECTED));
    }
    if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Err(
            ValueError::new("is not a method", EXPECTED).help(format!("write \"{}\"", text.to_ascii_uppercase()))
        );
    }
    Ok(text.into())
}

/// Whether a name may stand in the DNS or in a container network, which also allows `_`.
pub(crate) fn host_name(text: &str) -> Result<(), &'static str> {
    if !text.is_ascii() {
        return Err("has letters beyond ASCII (write the `xn--` form)");
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.len() <= 253 && text.split('.').all(label) { Ok(()) } else { Err("is not a host name") }
}

pub(crate) fn host_pattern(text: &str) -> Result<HostPattern, ValueError> {
    const EXPECTED: &str = "a host such as \"example.com\" or \"*.example.com\"";
    if text == "*" {
        return Err(ValueError::new("is every host", EXPECTED).help("leave `hosts` out to take every host"));
    }
    if let Some(literal) = text.strip_prefix('[') {
        let inner = literal.strip_suffix(']').filter(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
        return match inner {
            Some(_) => Ok(HostPattern::Exact(text.to_ascii_lowercase().into())),
            None => Err(ValueError::new("is not a host", EXPECTED)),
        };
    }
    if let Some((host, port)) = text.rsplit_once(':')
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && !host.contains(':')
    {
        return Err(
            ValueError::new("has a port", EXPECTED).help(format!("write \"{host}\": hosts match whatever the port"))
        );
    }
    let name = text.strip_prefix("*.").unwrap_or(text);
    if name.contains('*') {
        return Err(ValueError::new("has a `*` that is not its first label", EXPECTED));
    }
    host_name(name).map_err(|what| ValueError::new(what, EXPECTED))?;
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    Ok(if text.starts_with("*.") {
        HostPattern::Wildcard(format!(".{name}").into())
    } else {
        HostPattern::Exact(name.into())
    })
}

pub(crate) fn path_pattern(text: &str) -> Result<PathPattern, ValueError> {
    if let Some(pattern) = text.strip_prefix('~') {
        if let Some(rest) = pattern.strip_prefix('*') {
            let wrong = ValueError::new("is not a regular expression", PATH);
            return Err(wrong.help(format!("write '~(?i){}' to ignore case", rest.trim_start())));
        }
        return regex(pattern).map(PathPattern::Regex);
    }
    let exact = text.strip_prefix('=');
    let path = exact.unwrap_or(text);
    if !path.starts_with('/') {
        let wrong = ValueError::new("is not a path", PATH);
        return Err(if path.is_empty() { wrong } else { wrong.help(format!("a path begins with `/`: \"/{path}\"")) });
    }
    plain_path(path)?;
    if exact.is_some() {
        return Ok(PathPattern::Exact(path.into()));
    }
    if let Some(prefix) = path.strip_suffix('*') {
        let wrong = ValueError::new("ends with a `*`", PATH);
        return Err(wrong.help(format!("write \"{prefix}\": a prefix takes everything below it")));
    }
    Ok(PathPattern::Prefix(path.strip_suffix('/').unwrap_or(path).into()))
}

/// Refuses what no decoded, dot-normalised path can look like, since it would silently never match.
fn plain_path(path: &str) -> Result<(), ValueError> {
    const EXPECTED: &str = "a path as it is after decoding: no `?`, `#`, `%xx`, empty, `.` or `..` segments";
    if path.contains(['?', '#']) {
        return Err(ValueError::new("must not contain a query or fragment", EXPECTED));
    }
    let hex = |pair: &[u8]| pair.iter().all(u8::is_ascii_hexdigit);
    let mut escapes = path.as_bytes().windows(3).filter(|three| three[0] == b'%' && hex(&three[1..]));
    if escapes.next().is_some() {
        return Err(ValueError::new("is percent-encoded, and paths are matched decoded", EXPECTED));
    }
    if path.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(ValueError::new("has dot segments, and paths are matched without", EXPECTED));
    }
    if path.contains("//") {
        return Err(ValueError::new("has an empty segment, and runs of slashes are matched as one", EXPECTED));
    }
    if path.chars().any(char::is_control) {
        return Err(ValueError::new("has a control character in it", EXPECTED));
    }
    Ok(())
}

pub(crate) fn value_pattern(text: &str) -> Result<ValuePattern, ValueError> {
    match text.strip_prefix('~') {
        Some(pattern) => regex(pattern).map(ValuePattern::Regex),
        None => header_value(text).map(|()| ValuePattern::Exact(text.into())),
    }
}

pub(crate) fn regex(pattern: &str) -> Result<Regex, ValueError> {
    const EXPECTED: &str = "a regular expression without look-around or back-references";
    if pattern.is_empty() {
        return Err(ValueError::new("is an empty regular expression", EXPECTED));
    }
    RegexBuilder::new(pattern).size_limit(REGEX_SIZE).nest_limit(100).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            ValueError::new("is too large a regular expression", "one that compiles to less than a mebibyte")
        }
        // The parser's report ends with the reason; the excerpt above it repeats the pattern.
        error => {
            let text = error.to_string();
            let reason =
                text.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or("it does not parse");
            ValueError::new(format!("is not a regular expression: {reason}"), EXPECTED)
        }
    })
}

/// RFC 6265 §4.1.1: a cookie's name is a token.
pub(crate) fn cookie_name(text: &str) -> Result<Arc<str>, ValueError> {
    if is_token(text) {
        Ok(text.into())
    } else {
        Err(ValueError::new("is not a cookie name", "letters, digits, `-` and `_`"))
    }
}

/// What may stand in a request target or a cookie's `Path`.
pub(crate) fn target(text: &str) -> Result<Arc<str>, ValueError> {
    let visible = |byte: u8| byte.is_ascii_graphic() && byte != b'#' && byte != b';';
    if text.starts_with('/') && text.bytes().all(visible) {
        return Ok(text.into());
    }
    Err(ValueError::new("is not a path", "a path such as \"/healthz\", percent-encoded where need be"))
}

/// As it is read: `example.com`, `*.example.org`.
impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Wildcard(tail) => write!(f, "*{tail}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let exact = |text: &str| HostPattern::Exact(text.into());
        for (text, pattern) in [
            ("Example.COM", exact("example.com")),
            ("example.com.", exact("example.com")),
            ("*.example.org", HostPattern::Wildcard(".example.org".into())),
            ("10.0.0.1", exact("10.0.0.1")),
            ("[::1]", exact("[::1]")),
            ("my_app", exact("my_app")),
        ] {
            assert_eq!(host_pattern(text), Ok(pattern), "{text}");
        }
        for text in
            ["", "*", "*.", "a.*.b", "*a.b", "example.com:80", "[::1", "[x]", "a b", "bücher.de", "-a", "a..b", "~x"]
        {
            assert!(host_pattern(text).is_err(), "{text}");
        }
    }

    #[test]
    fn paths() {
        let prefix = |text: &str| PathPattern::Prefix(text.into());
        for (text, pattern) in [
            ("/", prefix("")),
            ("/api", prefix("/api")),
            ("/api/", prefix("/api")),
            ("/100%", prefix("/100%")),
            ("=/", PathPattern::Exact("/".into())),
            ("=/api/", PathPattern::Exact("/api/".into())),
            ("~^/v[0-9]+/", PathPattern::Regex(Regex::new("^/v[0-9]+/").unwrap())),
        ] {
            assert_eq!(path_pattern(text), Ok(pattern), "{text}");
        }
        for text in [
            "",
            "=",
            "~",
            "api",
            "=api",
            "/a?b",
            "/a%20b",
            "/a/../b",
            "/.",
            "//",
            "=/a//b",
            "/api/*",
            "~(",
            "~* \\.php$",
            "/a\n",
        ] {
            assert!(path_pattern(text).is_err(), "{text}");
        }
        assert_eq!(path_pattern("~* ^/x").unwrap_err().help.unwrap(), "write '~(?i)^/x' to ignore case");
        assert_eq!(path_pattern("~(").unwrap_err().what, "is not a regular expression: unclosed group");
        assert_eq!(path_pattern("~(a{1000}){1000}").unwrap_err().what, "is too large a regular expression");
    }

    #[test]
    fn words() {
        assert!(header_name("X-Env").is_ok());
        assert_eq!(header_name("X-Env:").unwrap_err().help.unwrap(), "leave the colon out");
        assert!(header_name("X Env").is_err());
        assert!(header_value("a b\tc").is_ok());
        assert!(header_value("").is_ok());
        assert!(header_value("a\r\nSet-Cookie: x").is_err());
        assert!(header_value(" a").is_err());
        assert!(method("PROPFIND").is_ok());
        assert_eq!(method("get").unwrap_err().help.unwrap(), "write \"GET\"");
        assert!(method("GE T").is_err());
        assert!(target("/a?b=c").is_ok());
        assert!(target("a").is_err());
        assert!(target("/a b").is_err());
        assert!(cookie_name("a=b").is_err());
    }
}
