//! The body of a response, wherever it comes from.

use std::task::{Context, Poll};

use bytes::Bytes;

use crate::downstream::Frame;
use crate::rules::cause::Cause;
pub(crate) use crate::upstream::BodySource;
use crate::upstream::Tunnel;

/// The body of a response.
pub(crate) enum Body {
    Empty,
    /// One of our own.
    Full(Bytes),
    /// Streamed from an endpoint.
    Source(Box<dyn BodySource>),
    /// Not a body: the endpoint agreed to another protocol.
    Tunnel(Tunnel),
}

impl Body {
    /// The next part; `None` is the end. After an error there is nothing more.
    ///
    /// At most about `room` bytes are read at once from a connection that carries one request at a time.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<Option<Result<Frame, Cause>>> {
        match self {
            Self::Empty | Self::Tunnel(_) => Poll::Ready(None),
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::Data(std::mem::take(bytes))))),
            Self::Source(source) => source.poll_frame(cx, room),
        }
    }

    /// Bytes read that [`poll_frame`](Self::poll_frame) has not returned yet.
    pub(crate) fn unread(&self) -> usize {
        match self {
            Self::Empty | Self::Tunnel(_) | Self::Full(_) => 0,
            Self::Source(source) => source.unread(),
        }
    }

    /// Sends on what the client still uploads to the endpoint that answers; whether any of it moved.
    ///
    /// # Errors
    /// The upload failed on the client's side, so that the endpoint would wait for the rest in vain.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
        match self {
            Self::Empty | Self::Tunnel(_) | Self::Full(_) => Ok(false),
            Self::Source(source) => source.poll_upload(cx),
        }
    }

    /// What was wrong with the body, once [`poll_frame`](Self::poll_frame) has failed; `None` if the cause says everything.
    pub(crate) fn broken(&self) -> Option<&str> {
        match self {
            Self::Empty | Self::Tunnel(_) | Self::Full(_) => None,
            Self::Source(source) => source.broken(),
        }
    }

    /// Whether nothing is left of it.
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Self::Empty | Self::Tunnel(_) => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Source(source) => source.is_complete(),
        }
    }
}
