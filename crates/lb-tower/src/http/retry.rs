//! When an `http` request may be sent again.

use http::{Request, Response};
use lb_core::Class;

use super::idempotent::is_idempotent;
use super::outcome;
use super::repeat::{Repeat, repeat};
use crate::balance::ClassifyError;
use crate::cause::ByCause;
use crate::retry::{Pushback, RetryPolicy, Verdict};
use crate::trail::LastAttempt;

/// Retries what is safe to be sent twice, over any service of `http`.
///
/// | what happened | idempotent | any other method |
/// |---|---|---|
/// | no connection was made ([`Class::ConnectError`]) | retried, free of the budget | the same: nothing was sent |
/// | another class that `on` accepts | retried within the budget | returned, unless `unsafe_methods` |
/// | any other class, or no endpoint | returned | returned |
///
/// Over a [`Balance`](crate::Balance) it goes by the class that the balance found, whatever layers and errors are between; else by status, and by
/// [`ByCause`] or the classifier it was given. `Retry-After` is honoured, as is `grpc-retry-pushback-ms`.
///
/// Bodies must be such that they can be sent twice ([`Repeat`]): whole in memory, or made so by a
/// [`ReplayLayer`](super::ReplayLayer). For gRPC, whose calls are all POST, there is [`RetryGrpc`](super::RetryGrpc).
#[derive(Clone, Copy, Debug)]
pub struct RetryHttp<K = ByCause> {
    on: fn(Class) -> bool,
    unsafe_methods: bool,
    errors: K,
}

impl RetryHttp {
    /// Retries what found no connection, broke or timed out before the response head, and the statuses 502, 503 and 504, which
    /// say that the endpoint has not served the request.
    #[must_use]
    pub const fn new() -> Self {
        Self { on: is_transient, unsafe_methods: false, errors: ByCause }
    }
}

impl Default for RetryHttp {
    fn default() -> Self {
        Self::new()
    }
}

impl<K> RetryHttp<K> {
    /// Retries the classes that this function accepts, in place of the default ones.
    #[must_use]
    pub fn on(mut self, on: fn(Class) -> bool) -> Self {
        self.on = on;
        self
    }

    /// Whether requests of other methods than the idempotent ones may be sent twice, though they may take effect twice;
    /// default no.
    #[must_use]
    pub fn unsafe_methods(mut self, allowed: bool) -> Self {
        self.unsafe_methods = allowed;
        self
    }

    /// Classifies errors like this, where no balance below has; default [`ByCause`].
    #[must_use]
    pub fn errors<L>(self, errors: L) -> RetryHttp<L> {
        RetryHttp { on: self.on, unsafe_methods: self.unsafe_methods, errors }
    }
}

impl<K, B, D, E> RetryPolicy<Request<B>, Response<D>, E> for RetryHttp<K>
where
    K: ClassifyError<E>,
    B: Repeat,
{
    fn save(&self, request: &Request<B>) -> Option<Request<B>> {
        repeat(request)
    }

    fn verdict(&self, saved: &mut Request<B>, result: &Result<Response<D>, E>) -> Verdict {
        let class = || attempt_class(result, &self.errors);
        self.verdict_of(is_idempotent(saved.method()), class)
    }

    fn pushback(&self, result: &Result<Response<D>, E>) -> Pushback {
        result.as_ref().map_or(Pushback::None, outcome::pushback)
    }
}

impl<K> RetryHttp<K> {
    /// The verdict on an attempt: by what the balance below found, else by the class that this finds.
    pub(crate) fn verdict_of(&self, is_idempotent: bool, class: impl FnOnce() -> Class) -> Verdict {
        let last = LastAttempt::read();
        if last.is_no_endpoint() {
            return Verdict::Return;
        }
        let class = last.class().unwrap_or_else(class);
        // Only this class promises that nothing was sent.
        let free = class == Class::ConnectError;
        if !(self.on)(class) || !(free || self.unsafe_methods || is_idempotent) {
            return Verdict::Return;
        }
        Verdict::Retry { free, class }
    }

    #[cfg(feature = "reqwest")]
    pub(crate) fn class_of_error<E>(&self, error: &E) -> Class
    where
        K: ClassifyError<E>,
    {
        self.errors.class(error)
    }
}

/// The class of a result by status or error.
pub(super) fn attempt_class<D, E>(result: &Result<Response<D>, E>, errors: &impl ClassifyError<E>) -> Class {
    match result {
        Ok(response) => outcome::class_of(response),
        Err(error) => errors.class(error),
    }
}

const fn is_transient(class: Class) -> bool {
    matches!(class, Class::ConnectError | Class::Reset | Class::Timeout | Class::Status(502..=504) | Class::Busy(503))
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};

    use super::*;

    type Answer = Result<Response<()>, Class>;

    fn verdict(policy: RetryHttp, method: Method, answer: &Answer) -> Verdict {
        LastAttempt::clear();
        let mut request = Request::builder().method(method).body(()).unwrap();
        policy.verdict(&mut request, answer)
    }

    fn failed(class: Class) -> Answer {
        Err(class)
    }

    #[test]
    fn what_was_never_sent_is_retried_free_whatever_its_method() {
        for method in [Method::GET, Method::POST, Method::PATCH] {
            let verdict = verdict(RetryHttp::new(), method, &failed(Class::ConnectError));
            assert_eq!(verdict, Verdict::Retry { free: true, class: Class::ConnectError });
        }
    }

    #[test]
    fn what_may_have_been_sent_is_retried_only_if_that_is_safe_or_ordered() {
        let reset = failed(Class::Reset);
        let retried = Verdict::Retry { free: false, class: Class::Reset };
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE] {
            assert_eq!(verdict(RetryHttp::new(), method, &reset), retried);
        }
        for method in [Method::POST, Method::PATCH, Method::CONNECT] {
            assert_eq!(verdict(RetryHttp::new(), method.clone(), &reset), Verdict::Return, "{method}");
            assert_eq!(verdict(RetryHttp::new().unsafe_methods(true), method, &reset), retried);
        }
    }

    #[test]
    fn statuses_that_say_that_it_was_not_served_are_retried() {
        let answered = |status| {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            Ok(response)
        };
        for status in [502, 503, 504] {
            let retried = Verdict::Retry { free: false, class: Class::Status(status) };
            assert_eq!(verdict(RetryHttp::new(), Method::GET, &answered(status)), retried);
            assert_eq!(verdict(RetryHttp::new(), Method::POST, &answered(status)), Verdict::Return, "{status}");
        }
        for status in [200, 404, 429, 500, 501] {
            assert_eq!(verdict(RetryHttp::new(), Method::GET, &answered(status)), Verdict::Return, "{status}");
        }
        let on_500 = RetryHttp::new().on(|class| class == Class::Status(500));
        assert_eq!(verdict(on_500, Method::GET, &failed(Class::ConnectError)), Verdict::Return, "not asked for");
        assert!(matches!(verdict(on_500, Method::GET, &answered(500)), Verdict::Retry { .. }));
    }

    #[test]
    fn what_the_balance_below_has_found_counts_whatever_the_error_has_become() {
        let boxed: Result<Response<()>, String> = Err("opaque".into());
        let of = |last: LastAttempt| {
            last.note();
            RetryHttp::new().verdict(&mut Request::post("/").body(()).unwrap(), &boxed)
        };
        let uid = crate::testing::uids(&crate::testing::cluster_of([()]))[0];
        let class = Class::ConnectError;
        assert_eq!(of(LastAttempt::At { uid, class }), Verdict::Retry { free: true, class });
        assert_eq!(of(LastAttempt::NoEndpoint), Verdict::Return);
        assert_eq!(of(LastAttempt::Unknown), Verdict::Return, "it may have been sent");
    }
}
