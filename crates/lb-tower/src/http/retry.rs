//! When an `http` request may be sent again.

use http::{Request, Response};
use lb_core::Class;

use super::body::Served;
use super::idempotent::is_idempotent;
use super::keys::TriedEndpoints;
use crate::balance::{AsReset, ClassifyError, Error};
use crate::retry::{RetryPolicy, Verdict};

/// Retries what is safe to be sent twice, above a [`Balance`](crate::Balance) that observes with
/// [`HttpBody`](super::HttpBody) and inspects with [`SkipTried`](super::SkipTried).
///
/// | what happened | idempotent | any other method |
/// |---|---|---|
/// | no connection was made ([`Class::ConnectError`]) | retried, free of the budget | the same: nothing was sent |
/// | another class that `on` accepts | retried within the budget | returned, unless `unsafe_methods` |
/// | any other class, or nobody to be picked | returned | returned |
///
/// Requests are cloned before they are sent, so their bodies must be cheap to clone: whole in memory, such as
/// `Full<Bytes>`.
#[derive(Clone, Copy, Debug)]
pub struct RetryHttp<K = AsReset> {
    on: fn(Class) -> bool,
    unsafe_methods: bool,
    errors: K,
}

impl RetryHttp {
    /// Retries connections that could not be made and those that broke before the response head.
    #[must_use]
    pub const fn new() -> Self {
        Self { on: is_connection, unsafe_methods: false, errors: AsReset }
    }
}

impl Default for RetryHttp {
    fn default() -> Self {
        Self::new()
    }
}

impl<K> RetryHttp<K> {
    /// Retries the classes that this function accepts; default [`Class::ConnectError`] and [`Class::Reset`].
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

    /// Classifies errors like this; give it what [`HttpBody`](super::HttpBody) has.
    #[must_use]
    pub fn errors<L>(self, errors: L) -> RetryHttp<L> {
        RetryHttp { on: self.on, unsafe_methods: self.unsafe_methods, errors }
    }
}

impl<K, B, D, E> RetryPolicy<Request<B>, Response<D>, Error<E>> for RetryHttp<K>
where
    K: ClassifyError<E>,
    B: Clone,
{
    fn save(&self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }

    fn verdict(&self, saved: &mut Request<B>, result: &Result<Response<D>, Error<E>>) -> Verdict {
        let (class, uid) = match result {
            Ok(response) => {
                let served = response.extensions().get::<Served>().map(|served| served.uid);
                (Class::Status(response.status().as_u16()), served)
            }
            Err(Error::Endpoint { uid, source, .. }) => (self.errors.class(source), Some(*uid)),
            Err(Error::NoEndpoint(_) | Error::Queue(_)) => return Verdict::Return,
        };
        // Only this class promises that nothing was sent.
        let free = class == Class::ConnectError;
        if !(self.on)(class) || !(free || self.unsafe_methods || is_idempotent(saved.method())) {
            return Verdict::Return;
        }
        if let Some(uid) = uid {
            TriedEndpoints::push(saved, uid);
        }
        Verdict::Retry { free, class }
    }

    fn is_exhausted(&self, error: &Error<E>) -> bool {
        error.is_no_endpoint()
    }

    fn forget_tried(&self, saved: &mut Request<B>) {
        saved.extensions_mut().remove::<TriedEndpoints>();
    }
}

const fn is_connection(class: Class) -> bool {
    matches!(class, Class::ConnectError | Class::Reset)
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};

    use super::*;

    type Answer = Result<Response<()>, Error<Class>>;

    fn itself(class: &Class) -> Class {
        *class
    }

    fn verdict(policy: RetryHttp, method: Method, answer: &Answer) -> Verdict {
        let mut request = Request::builder().method(method).body(()).unwrap();
        policy.errors(itself).verdict(&mut request, answer)
    }

    fn failed(class: Class) -> Answer {
        Err(crate::testing::failed_endpoint(class))
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
    fn statuses_are_retried_only_if_asked_for() {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        let answer = Ok(response);
        assert_eq!(verdict(RetryHttp::new(), Method::GET, &answer), Verdict::Return);
        let on_502 = RetryHttp::new().on(|class| class == Class::Status(502));
        assert_eq!(verdict(on_502, Method::GET, &answer), Verdict::Retry { free: false, class: Class::Status(502) });
        assert_eq!(verdict(on_502, Method::GET, &failed(Class::ConnectError)), Verdict::Return, "not asked for");
        assert_eq!(verdict(on_502, Method::GET, &Ok(Response::new(()))), Verdict::Return);
    }
}
