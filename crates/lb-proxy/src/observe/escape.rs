//! Bytes of clients, made safe for a log line.
//!
//! A path, a user agent or a request id is whatever a client sent. Written raw it could end the line and forge the
//! next one, break every JSON parser downstream, or send control sequences to the reader's terminal. Both forms here keep
//! printable ASCII as it is and never let a quote, a control character or a line end through.

/// Appends `bytes` as a JSON string with its quotes.
///
/// Valid UTF-8 keeps its meaning; every invalid sequence becomes U+FFFD. Control characters (C0, DEL, C1), line and
/// paragraph separators and the bidirectional overrides are written as `\uXXXX`: they parse back to themselves, but
/// cannot act on a terminal.
pub(crate) fn push_json(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    if bytes.iter().all(|&byte| is_plain(byte)) {
        out.extend_from_slice(bytes);
    } else {
        for chunk in bytes.utf8_chunks() {
            push_json_text(out, chunk.valid());
            if !chunk.invalid().is_empty() {
                out.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
    }
    out.push(b'"');
}

fn push_json_text(out: &mut Vec<u8>, text: &str) {
    let mut kept = 0;
    for (at, c) in text.char_indices().filter(|&(_, c)| must_escape(c)) {
        out.extend_from_slice(&text.as_bytes()[kept..at]);
        kept = at + c.len_utf8();
        match c {
            '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
            // All that is left lies in the basic plane, so that one unit is enough.
            _ => {
                out.extend_from_slice(b"\\u");
                for shift in [12, 8, 4, 0] {
                    out.push(LOWER_HEX[(c as usize >> shift) & 0xf]);
                }
            }
        }
    }
    out.extend_from_slice(&text.as_bytes()[kept..]);
}

/// Appends `bytes` as nginx writes a variable in its `combined` format: `"`, `\` and everything outside printable ASCII
/// as `\xHH`, and `-` for nothing at all.
pub(crate) fn push_combined(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.is_empty() {
        out.push(b'-');
    } else {
        push_combined_piece(out, bytes);
    }
}

/// As [`push_combined`], for a piece of a longer text: nothing stays nothing.
pub(crate) fn push_combined_piece(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.iter().all(|&byte| is_plain(byte)) {
        out.extend_from_slice(bytes);
        return;
    }
    for &byte in bytes {
        if is_plain(byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'\\', b'x', upper_hex(byte >> 4), upper_hex(byte & 0xf)]);
        }
    }
}

/// Printable ASCII but for the quote and the backslash.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\'
}

fn must_escape(c: char) -> bool {
    c.is_control()
        || matches!(c, '"' | '\\' | '\u{61c}' | '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

const fn upper_hex(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }
}

const LOWER_HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        push_json(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    fn combined(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        push_combined(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_keeps_text_and_disarms_the_rest() {
        assert_eq!(json(b""), r#""""#);
        assert_eq!(json(b"/a?b=c"), r#""/a?b=c""#);
        assert_eq!(json(br#"say "hi" \o/"#), r#""say \"hi\" \\o/""#);
        assert_eq!(json(b"a\r\nb\0\x1b[31m\x7f"), r#""a\u000d\u000ab\u0000\u001b[31m\u007f""#);
        assert_eq!(json("Füße 🦀".as_bytes()), "\"Füße 🦀\"");
        assert_eq!(json("\u{85}\u{2028}\u{202e}\u{61c}".as_bytes()), r#""\u0085\u2028\u202e\u061c""#);
    }

    #[test]
    fn json_replaces_what_is_not_utf8() {
        assert_eq!(json(b"a\xffb"), "\"a\u{fffd}b\"");
        assert_eq!(json(b"\xf0\x9f\xa6"), "\"\u{fffd}\"", "a character cut short");
        assert_eq!(json(b"\xed\xa0\x80").matches('\u{fffd}').count(), 3, "a surrogate");
    }

    /// By the rule of nginx's `ngx_http_log_escape`: two upper-case digits for the quote, the backslash, and all bytes
    /// below the space and above the tilde.
    #[test]
    fn combined_escapes_as_nginx_does() {
        assert_eq!(combined(b""), "-");
        assert_eq!(combined(b"-"), "-");
        assert_eq!(combined(b"curl/8.5.0"), "curl/8.5.0");
        assert_eq!(combined(b"a\"b\\c\n\x7f\xff \xc3\xa9"), r"a\x22b\x5Cc\x0A\x7F\xFF \xC3\xA9");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_bytes_parse_back_to_their_text(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = json(&bytes);
            let back: String = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(back, String::from_utf8_lossy(&bytes));
            prop_assert!(!text.chars().any(char::is_control));
        }

        #[test]
        fn any_bytes_stay_in_their_field(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = combined(&bytes);
            prop_assert!(text.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"'));
        }
    }
}
