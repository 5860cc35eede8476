//! What an answer was, and when it is over.
//!
//! An attempt has two moments that matter: the response head, which says how fast and how well the endpoint answered,
//! and the end of both bodies, until when the endpoint has work to do. Where the second one lies only the response's
//! type can tell, so an [`Observe`] puts the [`Guard`](crate::Guard) into the response, to live there until then.

use std::sync::Arc;

use lb_core::{Class, End};
use lb_policy::Uid;

use crate::cause::{ByCause, ClassifyError};

/// Classifies answers, and keeps the guard until they are over.
///
/// `G` is the guard, [`Guard<S, C, V>`](crate::Guard): name it where your response type holds it, leave it open where
/// it does not matter.
///
/// ```
/// use lb_core::{Class, End};
/// use lb_tower::{Finish, Observe};
///
/// /// An answer of some protocol, complete when it is there.
/// struct Answer {
///     is_overloaded: bool,
/// }
///
/// #[derive(Clone, Copy)]
/// struct ByFlag;
///
/// impl<G: Finish> Observe<Answer, std::io::Error, G> for ByFlag {
///     type Output = Answer;
///
///     fn class(&self, result: &Result<Answer, std::io::Error>) -> Class {
///         match result {
///             Ok(answer) if answer.is_overloaded => Class::Status(503),
///             Ok(_) => Class::Status(200),
///             Err(_) => Class::Reset,
///         }
///     }
///
///     fn attach(&self, answer: Answer, guard: G) -> Answer {
///         guard.finish(End::Completed);
///         answer
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot classify the answers of this service",
    label = "whether `{Res}` is a success or a failure is not known",
    note = "a balancer that takes every answer for a success sends the traffic to the endpoint that fails fastest",
    note = "say `.observe(Immediate::new())` if every `Ok` is a success and complete, or write an `Observe` for this response",
    note = "`http::Response` needs the feature `http` of lb-tower, `reqwest::Response` the feature `reqwest`"
)]
pub trait Observe<Res, Err, G> {
    /// The response with whatever keeps the guard.
    type Output;

    /// How the attempt fared up to its response head. [`Class::Cancelled`] says nothing about the endpoint.
    fn class(&self, result: &Result<Res, Err>) -> Class;

    /// Whether the head of this response says how the attempt fared. If not, [`class`](Self::class) is provisional, and what
    /// keeps the guard reports later ([`Finish::on_head`]). Default: it does.
    fn is_decided(&self, response: &Res) -> bool {
        let _ = response;
        true
    }

    /// Decides where the guard lives until both bodies have ended. Drop it there, or better, end it with what happened:
    /// a bare drop reports [`End::Cancelled`].
    fn attach(&self, response: Res, guard: G) -> Self::Output;
}

/// Something that is held until a response is over, such as a slot or a permit.
pub trait Finish {
    /// The response has ended like this: give back what was held.
    fn finish(self, end: End);

    /// The response fares like this. For responses whose head was not decisive ([`Observe::is_decided`]); reported once, later
    /// calls change nothing. Default: does nothing.
    fn on_head(&mut self, class: Class) {
        let _ = class;
    }
}

/// An attempt that is under way. Implemented by [`Guard`](crate::Guard), so that what holds one need not name all its
/// parameters.
pub trait Attempt: Finish {
    /// Which endpoint it is at.
    fn uid(&self) -> Uid;

    /// The address of that endpoint as it was configured.
    fn name(&self) -> &Arc<str>;

    /// By which sticky requests find that endpoint.
    fn affinity(&self) -> u64;
}

/// Classifies responses that say themselves how they fared, such as `http` responses by their status and that of gRPC; the
/// default of a [`Balance`](crate::Balance). `K` classifies errors, by default [`ByCause`].
///
/// A response type without an [`Classified`] does not compile, see there.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByResponse<K = ByCause> {
    errors: K,
}

impl ByResponse {
    /// Classifies errors by their causes.
    #[must_use]
    pub const fn new() -> Self {
        Self { errors: ByCause }
    }
}

impl<K> ByResponse<K> {
    /// Classifies errors like this.
    #[must_use]
    pub fn errors<L>(self, errors: L) -> ByResponse<L> {
        ByResponse { errors }
    }
}

impl<K, Res, Err, G> Observe<Res, Err, G> for ByResponse<K>
where
    K: ClassifyError<Err>,
    Res: Classified<G>,
    G: Attempt,
{
    type Output = Res::Guarded;

    fn class(&self, result: &Result<Res, Err>) -> Class {
        match result {
            Ok(response) => response.class(),
            Err(error) => self.errors.class(error),
        }
    }

    fn is_decided(&self, response: &Res) -> bool {
        response.is_decided()
    }

    fn attach(&self, response: Res, guard: G) -> Self::Output {
        response.guard(guard)
    }
}

/// A response that says how it fared, and can hold its attempt until it is over.
///
/// Implemented for `http::Response` (feature `http`) and `reqwest::Response` (feature `reqwest`). Implement it for a response
/// type of your own, or give the balance an [`Observe`].
#[diagnostic::on_unimplemented(
    message = "a balancer cannot tell whether `{Self}` is a success or a failure",
    label = "this response does not say how it fared",
    note = "a balancer that takes every answer for a success sends the traffic to the endpoint that fails fastest",
    note = "say `.observe(Immediate::new())` if every `Ok` is a success and complete, or give an `Observe` of your own",
    note = "`http::Response` needs the feature `http` of lb-tower, `reqwest::Response` the feature `reqwest`"
)]
pub trait Classified<G>: Sized {
    /// The response with whatever keeps the guard.
    type Guarded;

    /// How the attempt fared up to this response's head.
    fn class(&self) -> Class;

    /// See [`Observe::is_decided`]. Default: it is.
    fn is_decided(&self) -> bool {
        true
    }

    /// See [`Observe::attach`].
    fn guard(self, guard: G) -> Self::Guarded;
}

/// For protocols whose every `Ok` is a success, and complete with its head: the attempt ends there.
///
/// An `Ok` counts as status 200; what an error means `K` says. Over HTTP or gRPC it is wrong: it takes a 503 for a success.
#[derive(Clone, Copy, Debug)]
pub struct Immediate<K = ByCause> {
    errors: K,
}

impl Immediate {
    /// Classifies errors by their causes.
    #[must_use]
    pub const fn new() -> Self {
        Self { errors: ByCause }
    }
}

impl Default for Immediate {
    fn default() -> Self {
        Self::new()
    }
}

impl<K> Immediate<K> {
    /// Classifies errors like this.
    #[must_use]
    pub fn errors<L>(self, errors: L) -> Immediate<L> {
        Immediate { errors }
    }
}

impl<K, Res, Err, G> Observe<Res, Err, G> for Immediate<K>
where
    K: ClassifyError<Err>,
    G: Attempt,
{
    type Output = Res;

    fn class(&self, result: &Result<Res, Err>) -> Class {
        result.as_ref().map_or_else(|error| self.errors.class(error), |_| Class::Status(200))
    }

    fn attach(&self, response: Res, guard: G) -> Res {
        guard.finish(End::Completed);
        response
    }
}

/// Takes every error for a connection that broke.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsReset;

impl<Err> ClassifyError<Err> for AsReset {
    fn class(&self, _error: &Err) -> Class {
        Class::Reset
    }
}
