//! How the result of any service fared, for layers that judge a whole service.

use lb_core::Class;

use crate::balance::ClassifyError;
use crate::cause::ByCause;
use crate::trail::LastAttempt;

/// Says how a result fared. Closures from `&Result<Res, Err>` to [`Class`] do.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot classify a `Result<{Res}, {Err}>`",
    note = "give a closure with a typed parameter: `.classify(|result: &Result<MyResponse, MyError>| …)`, or `http::ByStatus` for `http::Response`"
)]
pub trait ClassifyResult<Res, Err> {
    /// How it fared. [`Class::Cancelled`] says nothing about the service.
    fn class(&self, result: &Result<Res, Err>) -> Class;
}

impl<F, Res, Err> ClassifyResult<Res, Err> for F
where
    F: Fn(&Result<Res, Err>) -> Class,
{
    fn class(&self, result: &Result<Res, Err>) -> Class {
        self(result)
    }
}

/// By what a balancer below has found, else every `Ok` is a success, and errors are classified by [`ByCause`]. Over a service of `http` without a
/// balancer take `http::ByStatus`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByResult;

impl<Res, Err: 'static> ClassifyResult<Res, Err> for ByResult {
    fn class(&self, result: &Result<Res, Err>) -> Class {
        match (LastAttempt::read(), result) {
            // No endpoint: as bad as one that does not answer.
            (LastAttempt::NoEndpoint, _) => Class::ConnectError,
            (last, _) if last.class().is_some() => last.class().unwrap_or(Class::Cancelled),
            (_, Ok(_)) => Class::Status(200),
            (_, Err(error)) => ByCause.class(error),
        }
    }
}
