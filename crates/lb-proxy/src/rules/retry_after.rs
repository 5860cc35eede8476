//! When an endpoint that asks for less wants to be asked again: `Retry-After` (RFC 9110 §10.2.3), and gRPC's push-back.

use std::time::{Duration, SystemTime};

use crate::message::{ResponseHead, name};

/// Milliseconds; gRPC clients do not retry where it is negative.
const PUSH_BACK: &str = "grpc-retry-pushback-ms";

/// Whether it says so.
#[must_use]
pub(crate) fn is_said(head: &ResponseHead) -> bool {
    head.header(name::RETRY_AFTER).is_some() || head.header(PUSH_BACK).is_some()
}

/// How long to wait from `now` on; `None` if that cannot be read. A date that is past is no time at all.
#[must_use]
pub(crate) fn of(head: &ResponseHead, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| std::str::from_utf8(head.header(name)?).ok().map(str::trim);
    if let Some(millis) = text(PUSH_BACK).and_then(|text| text.parse().ok()) {
        return Some(Duration::from_millis(millis));
    }
    let text = std::str::from_utf8(head.header(name::RETRY_AFTER)?).ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(field: &str, value: &str) -> Option<Duration> {
        // 1994-11-06 08:49:37, the date of RFC 9110's examples.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let head = ResponseHead::build(503).header(field, value).finish().expect("valid");
        assert!(is_said(&head));
        of(&head, now)
    }

    #[test]
    fn seconds_dates_and_push_back() {
        let seconds = |count| Some(Duration::from_secs(count));
        assert_eq!(said("Retry-After", "120"), seconds(120));
        assert_eq!(said("Retry-After", "Sun, 06 Nov 1994 08:50:37 GMT"), seconds(60));
        assert_eq!(said("Retry-After", "Sun, 06 Nov 1994 08:00:00 GMT"), seconds(0), "it is past");
        assert_eq!(said("grpc-retry-pushback-ms", "1500"), Some(Duration::from_millis(1_500)));
        for odd in ["", "-1", "soon", "1.5", "99999999999999999999999"] {
            assert_eq!(said("Retry-After", odd), None, "{odd}");
        }
        assert_eq!(said("grpc-retry-pushback-ms", "-1"), None, "do not ask again: the base counts");
        assert!(!is_said(&ResponseHead::build(503).finish().expect("valid")));
    }
}
