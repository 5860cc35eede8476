//! Ranges of a file (RFC 9110 §14).

/// What a `Range` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// Everything: no range, one that cannot be read, or more than is sensible.
    All,
    /// These, first and last octet included, at least one.
    Some(Vec<(u64, u64)>),
    /// None that the file has: 416.
    Unsatisfiable,
}

/// The most ranges that one request gets. Readers of PDF files and players ask for a few; whoever asks for more has us do more work than the
/// file is worth.
const MAX: usize = 32;

/// Reads a `Range` for a file of this length. Ranges that together are longer than the file are answered by the whole of it.
#[must_use]
pub fn read(value: &[u8], length: u64) -> Ranges {
    let Some(list) = value.get(..6).filter(|unit| unit.eq_ignore_ascii_case(b"bytes=")).and_then(|_| value.get(6..))
    else {
        return Ranges::All;
    };
    let mut found = Vec::new();
    let (mut items, mut total) = (0, 0u64);
    for item in list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|item| !item.is_empty()) {
        items += 1;
        let Some(range) = range(item, length) else { return Ranges::All };
        if items > MAX {
            return Ranges::All;
        }
        if let Some((first, last)) = range {
            total = total.saturating_add(last - first + 1);
            found.push((first, last));
        }
    }
    match (items, found.is_empty()) {
        (0, _) => Ranges::All,
        (_, true) => Ranges::Unsatisfiable,
        _ if total > length => Ranges::All,
        _ => Ranges::Some(found),
    }
}

/// `None` is no range at all, `Some(None)` one that the file has not.
fn range(item: &[u8], length: u64) -> Option<Option<(u64, u64)>> {
    let dash = item.iter().position(|&byte| byte == b'-')?;
    let (first, last) = (number(&item[..dash]), number(&item[dash + 1..]));
    match (first?, last?) {
        (None, None) => None,
        (None, Some(0)) => Some(None),
        (None, Some(_)) if length == 0 => Some(None),
        (None, Some(suffix)) => Some(Some((length.saturating_sub(suffix), length - 1))),
        (Some(first), Some(last)) if last < first => None,
        (Some(first), _) if first >= length => Some(None),
        (Some(first), last) => Some(Some((first, last.map_or(length - 1, |last| last.min(length - 1))))),
    }
}

/// A number, or nothing; `None` for anything else. What is too large to count is larger than any file.
fn number(text: &[u8]) -> Option<Option<u64>> {
    if text.is_empty() {
        return Some(None);
    }
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(Some(text.iter().fold(0, digit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_has_them() {
        let some = |ranges: &[(u64, u64)]| Ranges::Some(ranges.to_vec());
        for (text, expected) in [
            ("bytes=0-0", some(&[(0, 0)])),
            ("Bytes=0-99", some(&[(0, 9)])),
            ("bytes=5-", some(&[(5, 9)])),
            ("bytes=-3", some(&[(7, 9)])),
            ("bytes=-30", some(&[(0, 9)])),
            ("bytes=0-1, 4-5 ,", some(&[(0, 1), (4, 5)])),
            ("bytes=0-1,20-30", some(&[(0, 1)])),
            ("bytes=9-99999999999999999999999", some(&[(9, 9)])),
            ("bytes=10-", Ranges::Unsatisfiable),
            ("bytes=-0", Ranges::Unsatisfiable),
            ("bytes=99999999999999999999999-", Ranges::Unsatisfiable),
            ("bytes=0-9,0-0", Ranges::All),
            ("bytes=3-2", Ranges::All),
            ("bytes=a-b", Ranges::All),
            ("bytes=-", Ranges::All),
            ("bytes=", Ranges::All),
            ("items=0-1", Ranges::All),
            ("bytes=0-1;2", Ranges::All),
            ("", Ranges::All),
        ] {
            assert_eq!(read(text.as_bytes(), 10), expected, "{text}");
        }
        assert_eq!(read(b"bytes=-1", 0), Ranges::Unsatisfiable);
        assert_eq!(read(b"bytes=0-", 0), Ranges::Unsatisfiable);
        let many = format!("bytes={}", (0..33).map(|at| format!("{at}-{at}")).collect::<Vec<_>>().join(","));
        assert_eq!(read(many.as_bytes(), 1000), Ranges::All);
    }
}
