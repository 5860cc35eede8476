//! Which characters may stand where.

/// Eight bytes of 1, and the highest bit of each of eight bytes.
const ONES: u64 = u64::MAX / 255;
const HIGH: u64 = ONES * 0x80;

/// Whether a byte may be part of a token (RFC 9110 §5.6.2): methods, header names, list elements.
pub(crate) const fn is_tchar(byte: u8) -> bool {
    TCHAR[byte as usize]
}

/// Whether this is a token: not empty, and nothing but token characters.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&b| is_tchar(b))
}

/// How many token characters the text begins with.
#[inline]
pub(crate) fn token_len(text: &[u8]) -> usize {
    let mut len = 0;
    // Names are letters and hyphens, as a rule, which are checked eight at a time. Other characters are checked one by one.
    while let Some(eight) = text.get(len..).and_then(<[u8]>::first_chunk::<8>) {
        let usual = letters_and_hyphens(*eight);
        if usual < 8 {
            len += usual;
            break;
        }
        len += 8;
    }
    len + text.get(len..).unwrap_or_default().iter().take_while(|&&b| is_tchar(b)).count()
}

/// How many of eight bytes are ASCII letters or hyphens, before the first that is neither.
#[inline]
const fn letters_and_hyphens(eight: [u8; 8]) -> usize {
    let x = u64::from_le_bytes(eight);
    // Seven bits each, so that no sum below carries into the next byte; an eighth bit disqualifies at the end.
    let low = x & !HIGH;
    let lower = low | (ONES * 0x20);
    let letter = (lower + ONES * (0x80 - b'a' as u64)) & !(lower + ONES * (0x7f - b'z' as u64));
    let hyphen = !((low ^ (ONES * b'-' as u64)) + ONES * 0x7f);
    let other = !(letter | hyphen) | x;
    (other & HIGH).trailing_zeros() as usize / 8
}

/// Whether a header value holds a control character other than a tab. Bytes above 0x7F are none (obs-text).
#[inline]
pub(crate) fn has_control(value: &[u8]) -> bool {
    let Some(last) = value.last_chunk::<8>() else { return value.iter().any(|&b| is_control(b)) };
    // Eight bytes at a time, the last eight perhaps twice: values are too short for wider steps to pay. A tab is
    // suspected too; then each byte is looked at.
    let suspects = value.as_chunks::<8>().0.iter().fold(suspect(*last), |found, eight| found | suspect(*eight));
    suspects != 0 && value.iter().any(|&b| is_control(b))
}

/// Where the first control character stands, tabs among them.
#[inline]
pub(crate) fn first_control(text: &[u8]) -> Option<usize> {
    position(text, suspect, |b| b < b' ' || b == 0x7f)
}

/// Where this byte stands first. For the short texts that heads are made of: a library's search must first find out
/// what the processor can do, and has many bytes to make up for it.
#[inline]
pub(crate) fn find(byte: u8, text: &[u8]) -> Option<usize> {
    position(text, |eight| zero(u64::from_le_bytes(eight) ^ (ONES * u64::from(byte))), |b| b == byte)
}

/// The position of the first match. `among` gives a nonzero number if one of eight bytes matches, whose lowest set bit is in
/// the first that does; `is_it` checks one byte.
#[inline(always)]
fn position(text: &[u8], among: impl Fn([u8; 8]) -> u64, is_it: impl Fn(u8) -> bool) -> Option<usize> {
    let (eights, rest) = text.as_chunks::<8>();
    for (index, eight) in eights.iter().enumerate() {
        let found = among(*eight);
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|&b| is_it(b)).map(|at| eights.len() * 8 + at)
}

/// Nonzero if one of eight bytes is below 0x20 or is 0x7F; the lowest bit set is in the first of them.
#[inline]
const fn suspect(eight: [u8; 8]) -> u64 {
    let x = u64::from_le_bytes(eight);
    // A borrow can only spoil bytes above one that is below 0x20 itself, so the sum is zero exactly if there is none.
    x.wrapping_sub(ONES * 0x20) & !x & HIGH | zero(x ^ (ONES * 0x7f))
}

/// Nonzero if one of eight bytes is zero; the lowest bit set is in the first of them.
#[inline]
const fn zero(x: u64) -> u64 {
    x.wrapping_sub(ONES) & !x & HIGH
}

#[inline]
const fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}

/// The text without spaces and tabs at either end, and the number taken off its start.
pub(crate) fn trim_ows(text: &[u8]) -> (usize, &[u8]) {
    let is_ows = |b: &u8| matches!(b, b' ' | b'\t');
    let start = text.iter().position(|b| !is_ows(b)).unwrap_or(text.len());
    let end = text.iter().rposition(|b| !is_ows(b)).map_or(start, |last| last + 1);
    (start, text.get(start..end).unwrap_or_default())
}

static TCHAR: [bool; 256] = {
    let mut table = [false; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = matches!(i as u8,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z');
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_what_the_rfc_lists() {
        assert!(is_token(b"X-Forwarded-For") && is_token(b"!#$%&'*+-.^_`|~09azAZ"));
        for text in [&b""[..], b"a b", b"a:", b"\"a\"", b"a/b", b"a(b)", b"a\x7f", b"\xc3\xa9", b"a\0"] {
            assert!(!is_token(text), "{text:?}");
        }
    }

    #[test]
    fn a_token_ends_where_a_character_is_none() {
        for len in 0..20 {
            for at in 0..len {
                for b in 0..=255u8 {
                    let mut text = vec![b'-'; len];
                    text[at] = b;
                    let expected = if is_tchar(b) { len } else { at };
                    assert_eq!(token_len(&text), expected, "{b:#x} at {at} of {len}");
                    text[..at].fill(b'7');
                    assert_eq!(token_len(&text), expected, "{b:#x} at {at} of {len}, after digits");
                }
            }
        }
        assert_eq!(token_len(b"Content-Type: text/plain"), 12);
    }

    #[test]
    fn whitespace_is_trimmed_at_both_ends_only() {
        assert_eq!(trim_ows(b" \ta b\t "), (2, &b"a b"[..]));
        assert_eq!(trim_ows(b""), (0, &b""[..]));
        assert_eq!(trim_ows(b" \t "), (3, &b""[..]));
        assert_eq!(trim_ows(b"\x0ba"), (0, &b"\x0ba"[..]));
    }

    #[test]
    fn the_first_control_is_found_at_every_position() {
        assert_eq!(first_control(b""), None);
        for len in 0..40 {
            let clean = vec![0xff; len];
            assert_eq!(first_control(&clean), None);
            for at in 0..len {
                for b in (0..0x20).chain([0x7f]) {
                    let mut text = clean.clone();
                    text[at..].fill(b'\0');
                    text[at] = b;
                    assert_eq!(first_control(&text), Some(at), "{b:#x} at {at} of {len}");
                }
            }
        }
    }

    #[test]
    fn a_byte_is_found_at_its_first_position() {
        for byte in [0, 1, b'\n', b' ', 0x7f, 0x80, 0xff] {
            assert_eq!(find(byte, b""), None);
            for len in 0..30 {
                // What differs in one bit is the nearest miss.
                let without = vec![byte ^ 1; len];
                assert_eq!(find(byte, &without), None);
                for at in 0..len {
                    let mut text = without.clone();
                    text[at..].fill(byte);
                    assert_eq!(find(byte, &text), Some(at), "{byte:#x} at {at} of {len}");
                }
            }
        }
    }

    #[test]
    fn only_tabs_are_harmless_controls() {
        assert!(!has_control(b"a\tb \xff"));
        for b in (0..0x20u8).filter(|b| *b != b'\t').chain([0x7f]) {
            for len in 1..40 {
                for at in 0..len {
                    let mut value = vec![if at % 2 == 0 { 0x80 } else { b' ' }; len];
                    assert!(!has_control(&value));
                    value[at] = b'\t';
                    assert!(!has_control(&value));
                    value[at] = b;
                    assert!(has_control(&value), "{b:#x} at {at} of {len}");
                }
            }
        }
    }
}
