//! What a pick is told about its request.

use lb_policy::{PickCx, Uid};

/// Reads from a request what its pick should know: the key a hash policy hashes, the endpoint it sticks to, the
/// endpoints it has tried, its zone.
///
/// It runs for every pick, on the request path, so it should only borrow: from the request, or from itself.
///
/// ```
/// use lb_policy::{PickCx, Tried};
/// use lb_tower::Inspect;
///
/// struct Query {
///     user: String,
///     tried: Tried,
/// }
///
/// #[derive(Clone)]
/// struct ByUser;
///
/// impl Inspect<Query> for ByUser {
///     fn inspect<'a>(&'a self, query: &'a Query, cx: &mut PickCx<'a>) {
///         cx.key = Some(query.user.as_bytes());
///         cx.tried = &query.tried;
///     }
/// }
/// ```
pub trait Inspect<Req> {
    /// Fills in what it knows; what it leaves alone counts as unknown.
    fn inspect<'a>(&'a self, request: &'a Req, cx: &mut PickCx<'a>);

    /// This endpoint was picked for the request, which goes there now: for copies of it that must go elsewhere. Default:
    /// does nothing.
    fn on_pick(&self, request: &Req, endpoint: Uid) {
        let _ = (request, endpoint);
    }
}

/// Knows nothing about requests: enough for every policy that hashes no key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl<Req> Inspect<Req> for Plain {
    fn inspect<'a>(&'a self, _request: &'a Req, _cx: &mut PickCx<'a>) {}
}

/// One after the other; what the second sets wins.
impl<A: Inspect<Req>, B: Inspect<Req>, Req> Inspect<Req> for (A, B) {
    fn inspect<'a>(&'a self, request: &'a Req, cx: &mut PickCx<'a>) {
        self.0.inspect(request, cx);
        self.1.inspect(request, cx);
    }

    fn on_pick(&self, request: &Req, endpoint: Uid) {
        self.0.on_pick(request, endpoint);
        self.1.on_pick(request, endpoint);
    }
}

/// None knows nothing.
impl<A: Inspect<Req>, Req> Inspect<Req> for Option<A> {
    fn inspect<'a>(&'a self, request: &'a Req, cx: &mut PickCx<'a>) {
        if let Some(inner) = self {
            inner.inspect(request, cx);
        }
    }

    fn on_pick(&self, request: &Req, endpoint: Uid) {
        if let Some(inner) = self {
            inner.on_pick(request, endpoint);
        }
    }
}
