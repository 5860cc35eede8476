//! What an `http` response says about its attempt: the status, that of gRPC, and when to come back.

use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderMap, Response};
use lb_core::{Class, grpc};

use crate::result_class::{ByResult, ClassifyResult};
use crate::retry::Pushback;

const GRPC_STATUS: &str = "grpc-status";
const GRPC_PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Classifies results of any service of `http`, for a [`Breaker`](crate::Breaker) or an [`Adaptive`](crate::Adaptive) limit: by status and gRPC code, and
/// errors as [`ByResult`] does.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByStatus;

impl<B, Err: 'static> ClassifyResult<Response<B>, Err> for ByStatus {
    fn class(&self, result: &Result<Response<B>, Err>) -> Class {
        match result {
            Ok(response) => class_of(response),
            Err(_) => ByResult.class(result),
        }
    }
}

/// The class of a response, by its HTTP status and, if it is gRPC's, by the code in its head.
pub(super) fn class_of<B>(response: &Response<B>) -> Class {
    let status = response.status().as_u16();
    let code = if status == 200 && is_grpc(response.headers()) { grpc_code(response.headers()) } else { None };
    let says_when = response.headers().contains_key(RETRY_AFTER) || response.headers().contains_key(GRPC_PUSHBACK);
    Class::of_response(code.map_or(status, grpc::http_status_of), says_when)
}

/// Whether the head is that of a gRPC call whose result is still to come.
pub(super) fn is_undecided_grpc<B>(response: &Response<B>) -> bool {
    response.status().as_u16() == 200 && is_grpc(response.headers()) && grpc_code(response.headers()).is_none()
}

/// Whether a head is gRPC's.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| grpc::is_content_type(kind.as_bytes()))
}

/// The code in a head or in trailers.
pub(super) fn grpc_code(headers: &HeaderMap) -> Option<u8> {
    headers.get(GRPC_STATUS).map(|code| grpc::code(code.as_bytes()))
}

/// When to come back: of gRPC its push-back, else `Retry-After`, in seconds or as a date.
pub(super) fn pushback<B>(response: &Response<B>) -> Pushback {
    pushback_in(response.headers())
}

/// The same, by the headers alone.
pub(crate) fn pushback_in(headers: &HeaderMap) -> Pushback {
    if let Some(millis) = headers.get(GRPC_PUSHBACK) {
        // Negative or unreadable is no (gRPC A6).
        let millis = millis.to_str().ok().and_then(|text| text.parse().ok());
        return millis.map_or(Pushback::Never, |millis| Pushback::After(Duration::from_millis(millis)));
    }
    let after = headers.get(RETRY_AFTER).and_then(|value| {
        let text = value.to_str().ok()?.trim();
        text.parse().map(Duration::from_secs).ok().or_else(|| until(headers, text))
    });
    after.map_or(Pushback::None, Pushback::After)
}

/// How long it is until this date, by the clock that wrote the response where it says what time it has, for clocks differ.
fn until(headers: &HeaderMap, date: &str) -> Option<Duration> {
    let date = httpdate::parse_http_date(date).ok()?;
    let written = headers.get(DATE).and_then(|value| httpdate::parse_http_date(value.to_str().ok()?).ok());
    let now = written.unwrap_or_else(SystemTime::now);
    // One that is past says nothing, and leaves the usual pause.
    date.duration_since(now).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: u16, headers: &[(&str, &str)]) -> Response<()> {
        let head = Response::builder().status(status);
        headers.iter().fold(head, |head, (name, value)| head.header(*name, *value)).body(()).unwrap()
    }

    #[test]
    fn a_grpc_code_in_the_head_counts_as_the_status_of_its_meaning() {
        let grpc = ("content-type", "application/grpc");
        for (status, headers, expected) in [
            (200, vec![grpc, (GRPC_STATUS, "14")], 503),
            (200, vec![("content-type", "application/grpc+proto"), (GRPC_STATUS, "4")], 504),
            (200, vec![grpc, (GRPC_STATUS, "0")], 200),
            (200, vec![grpc, (GRPC_STATUS, "5")], 404),
            (200, vec![grpc, (GRPC_STATUS, "nonsense")], 500),
            (200, vec![grpc], 200),
            (200, vec![("content-type", "text/plain"), (GRPC_STATUS, "14")], 200),
            (502, vec![grpc, (GRPC_STATUS, "0")], 502),
            (503, vec![], 503),
        ] {
            assert_eq!(class_of(&head(status, &headers)), Class::Status(expected), "{status} {headers:?}");
        }
        assert!(is_undecided_grpc(&head(200, &[grpc])));
        assert!(!is_undecided_grpc(&head(200, &[grpc, (GRPC_STATUS, "0")])));
        assert!(!is_undecided_grpc(&head(200, &[])));
    }

    #[test]
    fn an_answer_says_when_to_come_back() {
        for (name, value, expected) in [
            ("retry-after", "30", Pushback::After(Duration::from_secs(30))),
            ("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT", Pushback::None),
            ("retry-after", "-1", Pushback::None),
            (GRPC_PUSHBACK, "250", Pushback::After(Duration::from_millis(250))),
            (GRPC_PUSHBACK, "-1", Pushback::Never),
            (GRPC_PUSHBACK, "soon", Pushback::Never),
            ("x-other", "1", Pushback::None),
        ] {
            assert_eq!(pushback(&head(503, &[(name, value)])), expected, "{name}: {value}");
        }
    }

    #[test]
    fn a_date_to_come_back_is_read_by_the_clock_that_wrote_it() {
        let noon = "Sun, 06 Nov 1994 12:00:00 GMT";
        let after = |date, retry_after| pushback(&head(503, &[("date", date), ("retry-after", retry_after)]));
        let seconds = |seconds| Pushback::After(Duration::from_secs(seconds));
        assert_eq!(after(noon, "Sun, 06 Nov 1994 12:01:30 GMT"), seconds(90));
        assert_eq!(after(noon, "Sunday, 06-Nov-94 12:00:02 GMT"), seconds(2), "the obsolete form of RFC 850");
        assert_eq!(after(noon, "Sun, 06 Nov 1994 11:00:00 GMT"), Pushback::None, "past");
        assert_eq!(after(noon, "tomorrow"), Pushback::None);
        assert_eq!(after("no date", noon), Pushback::None, "long past by our own clock");
    }
}
