//! What a client would rather have: `Accept` (RFC 9110 §12.5.1), as far as the choice is between JSON and anything else.

use super::encoding::quality;
use crate::message::RequestHead;

/// Whether a client would rather have JSON than HTML: it gives JSON a higher weight, or the same and names JSON more precisely, as
/// programs do (`application/json, text/plain, */*`). A client that says nothing, or only `*/*`, has no preference.
///
/// Cost: one pass over `Accept`, no allocation.
#[must_use]
pub fn prefers_json(head: &RequestHead) -> bool {
    let (mut json, mut html) = (Weight::NONE, Weight::NONE);
    for range in head.headers("Accept").flat_map(|line| line.split(|&byte| byte == b',')) {
        let mut parts = range.split(|&byte| byte == b';');
        let essence = parts.next().unwrap_or_default().trim_ascii();
        let quality = parts.find_map(quality).unwrap_or(1000);
        let Some(slash) = essence.iter().position(|&byte| byte == b'/') else { continue };
        let (kind, subtype) = (&essence[..slash], &essence[slash + 1..]);
        if is_json(kind, subtype) {
            json.offer(2, quality);
        } else if kind.eq_ignore_ascii_case(b"text") && subtype.eq_ignore_ascii_case(b"html")
            || subtype.eq_ignore_ascii_case(b"xhtml+xml")
        {
            html.offer(2, quality);
        } else if subtype == b"*" && kind.eq_ignore_ascii_case(b"application") {
            json.offer(1, quality);
        } else if subtype == b"*" && kind.eq_ignore_ascii_case(b"text") {
            html.offer(1, quality);
        } else if essence == b"*/*" {
            json.offer(0, quality);
            html.offer(0, quality);
        }
    }
    json.quality > 0 && (json.quality, json.precision) > (html.quality, html.precision)
}

fn is_json(kind: &[u8], subtype: &[u8]) -> bool {
    kind.eq_ignore_ascii_case(b"application")
        && (subtype.eq_ignore_ascii_case(b"json")
            || subtype.len() > 5 && subtype[subtype.len() - 5..].eq_ignore_ascii_case(b"+json"))
}

/// A weight, and how precisely the type was named: the most precise range counts.
struct Weight {
    precision: i8,
    quality: u16,
}

impl Weight {
    const NONE: Self = Self { precision: -1, quality: 0 };

    fn offer(&mut self, precision: i8, quality: u16) {
        if precision > self.precision || (precision == self.precision && quality > self.quality) {
            *self = Self { precision, quality };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::head;

    #[test]
    fn programs_prefer_json_and_browsers_do_not() {
        for (accept, expected) in [
            ("application/json", true),
            ("application/json, text/plain, */*", true),
            ("application/problem+json", true),
            ("Application/JSON;charset=utf-8", true),
            ("application/json;q=0.9, text/html;q=0.8", true),
            ("application/json;q=0.8, text/html;q=0.9", false),
            ("application/json, text/html", false),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false),
            ("application/json;q=0", false),
            ("application/json;q=0, application/*", false),
            ("application/json;q=bad", false),
            ("*/*", false),
            ("application/*", true),
            ("image/png", false),
            ("", false),
            (",;/", false),
        ] {
            let head = head(&format!("GET / HTTP/1.1\nHost: a\nAccept: {accept}"));
            assert_eq!(prefers_json(&head), expected, "{accept}");
        }
        assert!(!prefers_json(&head("GET / HTTP/1.1\nHost: a")));
        assert!(prefers_json(&head("GET / HTTP/1.1\nHost: a\nAccept: text/html;q=0.1\nAccept: application/json")));
    }
}
