//! When a gRPC call may be sent again.

use http::{Request, Response};
use lb_core::{Class, grpc};

use super::outcome;
use super::repeat::{Repeat, repeat};
use super::retry::attempt_class;
use crate::cause::ByCause;
use crate::retry::{Pushback, RetryPolicy, Verdict};
use crate::trail::LastAttempt;

/// Retries gRPC calls, over any service that takes them as `http` requests.
///
/// | what happened | |
/// |---|---|
/// | no connection was made | retried, free of the budget: nothing was sent |
/// | a code of [`codes`](Self::codes) in the response head, before any message; default `UNAVAILABLE` | retried within the budget |
/// | the connection broke, or time ran out, before the response head | returned, unless the calls are [`idempotent`](Self::idempotent) |
/// | anything else, and everything after the first message | returned |
///
/// `grpc-retry-pushback-ms` is honoured (gRPC A6). Streams are sent again as far as the [`ReplayLayer`](super::ReplayLayer) above keeps them.
#[derive(Clone, Copy, Debug)]
pub struct RetryGrpc {
    /// One bit for each code.
    codes: u32,
    is_idempotent: bool,
}

impl RetryGrpc {
    /// Retries `UNAVAILABLE`, which says that the endpoint cannot serve now.
    #[must_use]
    pub const fn new() -> Self {
        Self { codes: 1 << grpc::UNAVAILABLE, is_idempotent: false }
    }

    /// Retries these codes, in place of the default one; numbers above 31 are ignored.
    #[must_use]
    pub fn codes(mut self, codes: &[u8]) -> Self {
        self.codes = codes.iter().filter_map(|&code| 1_u32.checked_shl(u32::from(code))).fold(0, |all, bit| all | bit);
        self
    }

    /// Whether calls may take effect twice without harm, so that those whose fate is not known may be sent again; default no.
    #[must_use]
    pub const fn idempotent(mut self, are: bool) -> Self {
        self.is_idempotent = are;
        self
    }

    fn is_listed(&self, code: u8) -> bool {
        1_u32.checked_shl(u32::from(code)).is_some_and(|bit| self.codes & bit != 0)
    }
}

impl Default for RetryGrpc {
    fn default() -> Self {
        Self::new()
    }
}

impl<B, D, E> RetryPolicy<Request<B>, Response<D>, E> for RetryGrpc
where
    B: Repeat,
    E: 'static,
{
    fn save(&self, request: &Request<B>) -> Option<Request<B>> {
        repeat(request)
    }

    fn verdict(&self, _saved: &mut Request<B>, result: &Result<Response<D>, E>) -> Verdict {
        let last = LastAttempt::read();
        if last.is_no_endpoint() {
            return Verdict::Return;
        }
        let class = last.class().unwrap_or_else(|| attempt_class(result, &ByCause));
        let may_repeat = match (result, class) {
            (Ok(response), _) => outcome::grpc_code(response.headers()).is_some_and(|code| self.is_listed(code)),
            (Err(_), Class::ConnectError) => true,
            (Err(_), Class::Reset | Class::Timeout) => self.is_idempotent,
            // An error that is a status, such as a client library makes of one.
            (Err(_), Class::Status(503)) => self.is_listed(grpc::UNAVAILABLE),
            (Err(_), _) => false,
        };
        let free = class == Class::ConnectError;
        if may_repeat { Verdict::Retry { free, class } } else { Verdict::Return }
    }

    fn pushback(&self, result: &Result<Response<D>, E>) -> Pushback {
        result.as_ref().map_or(Pushback::None, outcome::pushback)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(policy: RetryGrpc, result: Result<&str, Class>) -> Verdict {
        LastAttempt::clear();
        let answer = result.map(|code| {
            let head = Response::builder().header("content-type", "application/grpc");
            if code.is_empty() { head } else { head.header("grpc-status", code) }.body(()).unwrap()
        });
        policy.verdict(&mut Request::new(()), &answer)
    }

    #[test]
    fn what_the_endpoint_has_not_served_is_retried() {
        let unavailable = Verdict::Retry { free: false, class: Class::Status(503) };
        assert_eq!(verdict(RetryGrpc::new(), Ok("14")), unavailable);
        let unsent = Verdict::Retry { free: true, class: Class::ConnectError };
        assert_eq!(verdict(RetryGrpc::new(), Err(Class::ConnectError)), unsent);
        for result in [Ok(""), Ok("0"), Ok("4"), Ok("13"), Ok("200"), Err(Class::Reset), Err(Class::Timeout)] {
            assert_eq!(verdict(RetryGrpc::new(), result), Verdict::Return, "{result:?}");
        }
        let listed = Verdict::Retry { free: false, class: Class::Busy(429) };
        assert_eq!(verdict(RetryGrpc::new().codes(&[8, 99]), Ok("8")), listed);
        assert_eq!(verdict(RetryGrpc::new().codes(&[8, 99]), Ok("14")), Verdict::Return);
        let broken = Verdict::Retry { free: false, class: Class::Reset };
        assert_eq!(verdict(RetryGrpc::new().idempotent(true), Err(Class::Reset)), broken);
    }
}
