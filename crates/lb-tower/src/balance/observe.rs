//! What an answer was, and when it is over.
//!
//! An attempt has two moments that matter: the response head, which says how fast and how well the endpoint answered,
//! and the end of both bodies, until when the endpoint has work to do. Where the second one lies only the response's
//! type can tell, so an [`Observe`] puts the [`Guard`](crate::Guard) into the response, to live there until then.

use std::sync::Arc;

use lb_core::{Class, End};
use lb_policy::Uid;

/// Classifies answers, and keeps the guard until they are over.
///
/// `G` is the guard, [`Guard<S, C, V>`](crate::Guard): name it where your response type holds it, leave it open where
/// it does not matter.
pub trait Observe<Res, Err, G> {
    /// The response with whatever keeps the guard.
    type Output;

    /// How the attempt fared up to its response head. [`Class::Cancelled`] says nothing about the endpoint.
    fn class(&self, result: &Result<Res, Err>) -> Class;

    /// Decides where the guard lives until both bodies have ended. Drop it there, or better, end it with what happened:
    /// a bare drop reports [`End::Cancelled`].
    fn attach(&self, response: Res, guard: G) -> Self::Output;
}

/// Something that is held until a response is over, such as a slot or a permit.
pub trait Finish {
    /// The response has ended like this: give back what was held.
    fn finish(self, end: End);
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

/// For protocols whose response is complete with its head: the attempt ends there.
///
/// Every `Ok` is a success and counts as status 200; what an error means `K` says.
#[derive(Clone, Copy, Debug)]
pub struct Immediate<K = AsReset> {
    errors: K,
}

impl Immediate {
    /// Takes every error for a connection that broke.
    #[must_use]
    pub const fn new() -> Self {
        Self { errors: AsReset }
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

/// Says what the errors of endpoints' services mean. Closures from `&Err` to [`Class`] do.
///
/// Tell [`Class::ConnectError`] from the rest if you can: nothing was sent then, so that a retry is always safe and
/// draws on no budget. And tell apart what your own machine lacked, such as descriptors (`EMFILE`): as
/// [`Class::Cancelled`] it counts against no endpoint.
pub trait ClassifyError<Err> {
    /// Which class this error is of.
    fn class(&self, error: &Err) -> Class;
}

impl<F, Err> ClassifyError<Err> for F
where
    F: Fn(&Err) -> Class,
{
    fn class(&self, error: &Err) -> Class {
        self(error)
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
