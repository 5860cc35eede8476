//! gRPC's status codes and deadlines, as far as balancing needs them.
//!
//! A call is answered with the HTTP status 200 whatever became of it; its result is in `grpc-status`, in the trailers or, if
//! there is no body, in the response head ("trailers-only"). A balancer that reads only HTTP statuses sees no failure, so
//! the proxy and the tower layers both translate codes, by this one table.
//!
//! `application/grpc-web` is not meant: its status is in the body.

use std::time::Duration;

/// The code of a call that ended without a readable one, as in gRPC's own libraries.
pub const UNKNOWN: u8 = 2;
/// The code of an endpoint that cannot serve now; such a call may be sent to another endpoint.
pub const UNAVAILABLE: u8 = 14;

/// Whether a `content-type` is that of gRPC.
#[must_use]
pub fn is_content_type(value: &[u8]) -> bool {
    const TYPE: &[u8] = b"application/grpc";
    let Some((kind, rest)) = value.split_at_checked(TYPE.len()) else { return false };
    kind.eq_ignore_ascii_case(TYPE) && matches!(rest.first(), None | Some(b'+' | b';'))
}

/// The code in a `grpc-status`; [`UNKNOWN`] for text that is none.
#[must_use]
pub fn code(text: &[u8]) -> u8 {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(UNKNOWN)
}

/// A code as the HTTP status of the same meaning, as in `google.rpc.Code`.
///
/// One exception: a method that a service does not have (12) becomes 404 and not 501, since asking for it is no failure of an
/// endpoint.
#[must_use]
pub const fn http_status_of(code: u8) -> u16 {
    match code {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 | 12 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

/// Whether a code is evidence against the endpoint, and not against the request.
#[must_use]
pub const fn is_failure(code: u8) -> bool {
    http_status_of(code) >= 500
}

/// The time in a `grpc-timeout`: up to eight digits and a unit. `None` for other text.
#[must_use]
pub fn parse_timeout(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// A time as a `grpc-timeout`: in the finest unit that has room for it in eight digits, rounded down so that a deadline never moves back.
#[must_use]
pub fn format_timeout(time: Duration) -> String {
    let units = [
        (time.as_nanos(), 'n'),
        (time.as_micros(), 'u'),
        (time.as_millis(), 'm'),
        (u128::from(time.as_secs()), 'S'),
        (u128::from(time.as_secs() / 60), 'M'),
    ];
    let fits = units.into_iter().find(|(number, _)| *number < MAX_NUMBER);
    let (number, unit) = fits.unwrap_or((u128::from(time.as_secs() / 3600).min(MAX_NUMBER - 1), 'H'));
    format!("{number}{unit}")
}

const MAX_DIGITS: usize = 8;
/// The first number that needs nine digits.
const MAX_NUMBER: u128 = 100_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_has_a_suffix_or_parameters_and_no_other_name() {
        for (kind, is) in [
            ("application/grpc", true),
            ("Application/GRPC+proto", true),
            ("application/grpc;charset=x", true),
            ("application/grpc-web", false),
            ("application/grpcx", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(is_content_type(kind.as_bytes()), is, "{kind}");
        }
    }

    #[test]
    fn failures_are_those_of_the_endpoint() {
        let failures: Vec<u8> = (0..=18).filter(|&code| is_failure(code)).collect();
        assert_eq!(failures, [2, 4, 13, 14, 15, 17, 18]);
        assert_eq!((code(b"14"), code(b"nonsense"), code(b"")), (14, UNKNOWN, UNKNOWN));
    }

    #[test]
    fn a_timeout_is_up_to_eight_digits_and_a_unit() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("0n", Some(Duration::ZERO)),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("999999999S", None),
            ("S", None),
            ("", None),
            ("1", None),
            ("-1S", None),
            ("1s", None),
        ] {
            assert_eq!(parse_timeout(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_written_timeout_is_never_longer_than_the_time() {
        for (time, expected) in [
            (Duration::ZERO, "0n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_millis(100), "100000u"),
            (Duration::new(100, 1_999_999), "100001m"),
            (Duration::from_secs(1_000_000), "1000000S"),
            (Duration::from_secs(100_000_000), "1666666M"),
            (Duration::MAX, "99999999H"),
        ] {
            let text = format_timeout(time);
            assert_eq!(text, expected);
            assert!(parse_timeout(text.as_bytes()).is_some_and(|parsed| parsed <= time), "{text}");
        }
    }
}
