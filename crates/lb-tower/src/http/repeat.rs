//! Bodies that can be sent twice.

use bytes::Bytes;
use http::Request;
use http_body_util::{Empty, Full};

/// A body that can be sent again, as a whole.
///
/// Implemented for bodies in memory and for [`ReplayBody`](super::ReplayBody), into which a [`ReplayLayer`](super::ReplayLayer) turns any other.
#[diagnostic::on_unimplemented(
    message = "a body of type `{Self}` cannot be sent twice",
    label = "no retry or hedge can send it again",
    note = "put a `ReplayLayer` above the retry: it keeps what was sent, up to a limit",
    note = "or implement `Repeat` for a body of your own that is cheap to clone"
)]
pub trait Repeat: Sized {
    /// The same body from its start; `None` if that is not possible (any more).
    fn repeat(&self) -> Option<Self>;
}

macro_rules! repeat_by_clone {
    ($($body:ty),*) => {$(
        impl Repeat for $body {
            fn repeat(&self) -> Option<Self> {
                Some(self.clone())
            }
        }
    )*};
}

repeat_by_clone!((), Bytes, String, &'static str, Vec<u8>);

impl<D: Clone> Repeat for Full<D> {
    fn repeat(&self) -> Option<Self> {
        Some(self.clone())
    }
}

impl<D> Repeat for Empty<D> {
    fn repeat(&self) -> Option<Self> {
        Some(*self)
    }
}

/// The same request with the same body, from its start.
pub(super) fn repeat<B: Repeat>(request: &Request<B>) -> Option<Request<B>> {
    let mut copy = Request::new(request.body().repeat()?);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy.extensions_mut().clone_from(request.extensions());
    Some(copy)
}
