//! Which methods may be repeated.

use http::Method;

/// Whether sending a request of this method twice has the effect of sending it once (RFC 9110 §9.2.2).
#[must_use]
pub fn is_idempotent(method: &Method) -> bool {
    method.is_safe() || *method == Method::PUT || *method == Method::DELETE
}
