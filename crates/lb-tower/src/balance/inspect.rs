//! What a pick is told about its request.

use lb_policy::PickCx;

/// Reads from a request what its pick should know: the key a hash policy hashes, the endpoint it sticks to, its zone. The endpoints that a
/// [`Retry`](crate::Retry) or [`Hedge`](crate::Hedge) above has tried for it are known without.
///
/// It runs for every pick, on the request path, so it should only borrow: from the request, or from itself.
///
/// ```
/// use lb_policy::PickCx;
/// use lb_tower::Inspect;
///
/// struct Query {
///     user: String,
/// }
///
/// #[derive(Clone)]
/// struct ByUser;
///
/// impl Inspect<Query> for ByUser {
///     fn inspect<'a>(&'a self, query: &'a Query, cx: &mut PickCx<'a>) {
///         cx.key = Some(query.user.as_bytes());
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot read a `{Req}` for a pick",
    note = "give a key with `by_key(|request: &MyRequest| …)`, or implement `Inspect<{Req}>`; `Plain` reads nothing"
)]
pub trait Inspect<Req> {
    /// Fills in what it knows; what it leaves alone counts as unknown.
    fn inspect<'a>(&'a self, request: &'a Req, cx: &mut PickCx<'a>);
}

/// Knows nothing about requests: enough for every policy that hashes no key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl<Req> Inspect<Req> for Plain {
    fn inspect<'a>(&'a self, _request: &'a Req, _cx: &mut PickCx<'a>) {}
}

/// Hashes what a closure reads from a request, for policies that hash a key; [`by_key`] makes it.
#[derive(Clone, Copy, Debug)]
pub struct KeyFn<F>(F);

/// Hashes what this closure borrows from a request.
///
/// ```
/// # struct Query { user: String }
/// let by_user = lb_tower::by_key(|query: &Query| Some(query.user.as_bytes()));
/// ```
pub const fn by_key<Req, F>(key: F) -> KeyFn<F>
where
    F: Fn(&Req) -> Option<&[u8]>,
{
    KeyFn(key)
}

impl<F, Req> Inspect<Req> for KeyFn<F>
where
    F: Fn(&Req) -> Option<&[u8]>,
{
    fn inspect<'a>(&'a self, request: &'a Req, cx: &mut PickCx<'a>) {
        cx.key = (self.0)(request);
    }
}

/// One after the other; what the second sets wins.
impl<A: Inspect<Req>, B: Inspect<Req>, Req> Inspect<Req> for (A, B) {
    fn inspect<'a>(&'a self, request: &'a Req, cx: &mut PickCx<'a>) {
        self.0.inspect(request, cx);
        self.1.inspect(request, cx);
    }
}

/// None knows nothing.
impl<A: Inspect<Req>, Req> Inspect<Req> for Option<A> {
    fn inspect<'a>(&'a self, request: &'a Req, cx: &mut PickCx<'a>) {
        if let Some(inner) = self {
            inner.inspect(request, cx);
        }
    }
}
