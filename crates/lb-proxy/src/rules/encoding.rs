//! Which content coding a response gets: `Accept-Encoding` (RFC 9110 §12.5.3) against what the configuration offers.

use lb_config::Encoding;

/// The name of a coding in `Content-Encoding`.
#[must_use]
pub const fn name(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Zstd => "zstd",
        Encoding::Brotli => "br",
        Encoding::Gzip => "gzip",
    }
}

/// The coding of the highest weight, and of several the first that is offered; `None` if the client takes none of them, or would
/// rather have none. `lines` are the values of `Accept-Encoding`; without any, nothing is encoded, since clients that know no coding
/// do not send it.
///
/// Cost: one pass, no allocation.
#[must_use]
pub fn choose<'a>(lines: impl Iterator<Item = &'a [u8]>, offered: &[Encoding]) -> Option<Encoding> {
    // By zstd, br, gzip, identity and `*`: the weight that was given.
    let mut weights = [None; 5];
    for item in lines.flat_map(|line| line.split(|&byte| byte == b',')) {
        let mut parts = item.split(|&byte| byte == b';');
        let coding = parts.next().unwrap_or_default().trim_ascii();
        let place = match coding {
            b"*" => 4,
            _ if coding.eq_ignore_ascii_case(b"zstd") => 0,
            _ if coding.eq_ignore_ascii_case(b"br") => 1,
            _ if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") => 2,
            _ if coding.eq_ignore_ascii_case(b"identity") => 3,
            _ => continue,
        };
        let weight = parts.find_map(quality).unwrap_or(1000);
        if let Some(known) = weights.get_mut(place) {
            *known = (*known).max(Some(weight));
        }
    }
    let [zstd, br, gzip, identity, any] = weights;
    let of = |encoding: &Encoding| match encoding {
        Encoding::Zstd => zstd,
        Encoding::Brotli => br,
        Encoding::Gzip => gzip,
    };
    let mut best: Option<(Encoding, u16)> = None;
    for encoding in offered {
        let weight = of(encoding).or(any).unwrap_or(0);
        if weight > 0 && best.is_none_or(|(_, known)| weight > known) {
            best = Some((*encoding, weight));
        }
    }
    // A client that prefers no coding has said so by name.
    best.filter(|(_, weight)| identity.is_none_or(|identity| identity <= *weight)).map(|(encoding, _)| encoding)
}

/// Whether a content type is one of these: `text/html`, `text/*`, `*/*+json`, in lower case.
#[must_use]
pub fn is_of(content_type: &[u8], patterns: &[impl AsRef<str>]) -> bool {
    let essence = content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let Some(slash) = essence.iter().position(|&byte| byte == b'/') else { return false };
    let (kind, subtype) = (&essence[..slash], &essence[slash + 1..]);
    patterns.iter().any(|pattern| {
        let Some((of_kind, of_subtype)) = pattern.as_ref().split_once('/') else { return false };
        let fits = |part: &[u8], pattern: &str| match pattern.strip_prefix('*') {
            Some(suffix) => {
                part.len() >= suffix.len() && part[part.len() - suffix.len()..].eq_ignore_ascii_case(suffix.as_bytes())
            }
            None => part.eq_ignore_ascii_case(pattern.as_bytes()),
        };
        fits(kind, of_kind) && fits(subtype, of_subtype)
    })
}

/// The weight of a parameter `q=0.5`, in thousandths; `None` for another parameter. What is no weight counts as none at all.
#[must_use]
pub fn quality(parameter: &[u8]) -> Option<u16> {
    let parameter = parameter.trim_ascii();
    let value = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="))?;
    let (whole, fraction) = match value {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return Some(0),
    };
    let mut thousandths = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return Some(0),
    };
    for (digit, scale) in fraction.iter().zip([100, 10, 1]) {
        if !digit.is_ascii_digit() {
            return Some(0);
        }
        thousandths += u16::from(digit - b'0') * scale;
    }
    Some(thousandths.min(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Encoding; 3] = [Encoding::Zstd, Encoding::Brotli, Encoding::Gzip];

    #[test]
    fn the_clients_weights_come_first_and_then_our_order() {
        for (accept, expected) in [
            ("gzip, deflate, br, zstd", Some(Encoding::Zstd)),
            ("gzip, deflate, br", Some(Encoding::Brotli)),
            ("GZIP", Some(Encoding::Gzip)),
            ("x-gzip", Some(Encoding::Gzip)),
            ("gzip;q=1.0, br;q=0.5, zstd;q=0", Some(Encoding::Gzip)),
            ("*", Some(Encoding::Zstd)),
            ("*;q=0.5, gzip", Some(Encoding::Gzip)),
            ("*, zstd;q=0", Some(Encoding::Brotli)),
            ("*;q=0", None),
            ("*;q=0, gzip;q=0.001", Some(Encoding::Gzip)),
            ("identity", None),
            ("identity;q=1, gzip;q=0.5", None),
            ("identity;q=0.5, gzip;q=0.5", Some(Encoding::Gzip)),
            ("identity;q=0", None),
            ("identity;q=0, *", Some(Encoding::Zstd)),
            ("deflate, compress", None),
            ("gzip;q=nonsense", None),
            ("gzip;q=0", None),
            ("gzipped", None),
            ("", None),
            (" , ;q=1,,", None),
        ] {
            assert_eq!(choose([accept.as_bytes()].into_iter(), &ALL), expected, "{accept}");
        }
        assert_eq!(choose(std::iter::empty(), &ALL), None);
        assert_eq!(
            choose([&b"br;q=0.5"[..], b"gzip"].into_iter(), &ALL),
            Some(Encoding::Gzip),
            "two lines are one list"
        );
        assert_eq!(choose([&b"zstd, br"[..]].into_iter(), &[Encoding::Gzip]), None);
        assert_eq!(choose([&b"zstd, gzip"[..]].into_iter(), &[Encoding::Gzip, Encoding::Zstd]), Some(Encoding::Gzip));
    }

    #[test]
    fn types_are_matched_whole_by_kind_or_by_suffix() {
        let patterns = ["text/*", "application/json", "*/*+json"];
        for (content_type, expected) in [
            ("text/html; charset=utf-8", true),
            ("Text/Plain", true),
            ("application/json;x", true),
            ("application/problem+json", true),
            ("application/jsonp", false),
            ("application/octet-stream", false),
            ("text", false),
            ("", false),
        ] {
            assert_eq!(is_of(content_type.as_bytes(), &patterns), expected, "{content_type}");
        }
        assert!(!is_of(b"text/html", &[] as &[&str]));
        assert!(is_of(b"image/png", &["*/*"]));
    }

    #[test]
    fn weights_are_read_as_the_grammar_has_them() {
        for (text, expected) in [
            ("q=1", Some(1000)),
            ("q=1.000", Some(1000)),
            ("q=1.5", Some(1000)),
            ("q=0", Some(0)),
            (" Q=0.25 ", Some(250)),
            ("q=0.", Some(0)),
            ("q=0.1234", Some(0)),
            ("q=-1", Some(0)),
            ("q=", Some(0)),
            ("level=1", None),
        ] {
            assert_eq!(quality(text.as_bytes()), expected, "{text}");
        }
    }
}
