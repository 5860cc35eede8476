//! An answer that no endpoint gives.

use bytes::Bytes;

use crate::message::{Framing, InvalidField, Method, ResponseBuilder, ResponseHead, name};

/// A response of our own: head, body, and how to frame it.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The head. It states the length that the body has or, to HEAD, would have.
    pub head: ResponseHead,
    /// The body; empty for HEAD and for statuses that have none.
    pub body: Bytes,
    /// How the body that is sent ends.
    pub framing: Framing,
}

impl Reply {
    /// Joins head and body. The answer to HEAD has the head of the answer to GET and no body (RFC 9110 §9.3.2); 1xx,
    /// 204 and 304 have neither a body nor a length. An empty body has `Content-Length: 0` and no type.
    ///
    /// # Errors
    ///
    /// The first header of `head` that was no header.
    pub fn new(
        head: ResponseBuilder,
        status: u16,
        content_type: &str,
        body: Bytes,
        method: Method<'_>,
    ) -> Result<Self, InvalidField> {
        if matches!(status, 100..=199 | 204 | 304) {
            return Ok(Self { head: head.finish()?, body: Bytes::new(), framing: Framing::None });
        }
        let head = if body.is_empty() { head } else { head.header(name::CONTENT_TYPE, content_type) };
        let length = body.len() as u64;
        let head = head.length(length).finish()?;
        if method == Method::Head {
            Ok(Self { head, body: Bytes::new(), framing: Framing::None })
        } else {
            Ok(Self { head, body, framing: Framing::Length(length) })
        }
    }

    /// An answer with nothing but a status, for when all else fails. Never fails itself.
    pub(super) fn bare(status: u16, method: Method<'_>) -> Self {
        Self::new(ResponseHead::build(status), status, "", Bytes::new(), method)
            .expect("a head without headers has no invalid one")
    }
}
