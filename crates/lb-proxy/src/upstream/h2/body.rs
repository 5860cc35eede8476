//! A response body on an HTTP/2 stream.

use std::task::{Context, Poll, ready};

use h2::RecvStream;

use super::Lease;
use super::upload::Upload;
use crate::downstream::Frame;
use crate::message::Trailers;
use crate::rules::cause::Cause;
use crate::upstream::AttemptError;
use crate::upstream::call::BodySource;

/// A body being received from an endpoint.
pub(super) struct StreamBody {
    receive: RecvStream,
    /// The rest of a request body that the endpoint answered before it had all of it.
    upload: Option<Upload>,
    /// `None` once all of it was received, or it has failed.
    lease: Option<Lease>,
    has_failed: bool,
    is_past_data: bool,
    /// What was wrong with it.
    broken: Option<String>,
}

impl StreamBody {
    pub(super) fn new(receive: RecvStream, upload: Option<Upload>, lease: Lease) -> Self {
        Self { receive, upload, lease: Some(lease), has_failed: false, is_past_data: false, broken: None }
    }

    fn failed(&mut self, error: &h2::Error) -> Cause {
        self.broken = error.reason().map(|reason| reason.description().to_owned());
        self.fail(if error.is_library() && error.is_reset() { Cause::InvalidResponse } else { Cause::UpstreamAborted })
    }

    fn fail(&mut self, cause: Cause) -> Cause {
        self.lease = None;
        self.has_failed = true;
        cause
    }
}

impl BodySource for StreamBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>, _: usize) -> Poll<Option<Result<Frame, Cause>>> {
        while self.lease.is_some() && !self.is_past_data {
            match ready!(self.receive.poll_data(cx)) {
                Some(Ok(piece)) => {
                    // Fails for a stream that has ended, whose window no longer matters.
                    let _ = self.receive.flow_control().release_capacity(piece.len());
                    // Lets the writer mark this piece as the last one.
                    if self.receive.is_end_stream() {
                        self.lease = None;
                    }
                    if !piece.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::Data(piece))));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(self.failed(&error)))),
                None => self.is_past_data = true,
            }
        }
        if self.lease.is_none() {
            return Poll::Ready(None);
        }
        let trailers = match ready!(self.receive.poll_trailers(cx)) {
            Ok(trailers) => trailers.as_ref().map(Trailers::from_headers).transpose(),
            Err(error) => return Poll::Ready(Some(Err(self.failed(&error)))),
        };
        Poll::Ready(match trailers {
            Ok(trailers) => {
                self.lease = None;
                trailers.flatten().map(|trailers| Ok(Frame::Trailers(trailers)))
            }
            Err(_) => {
                self.broken = Some("bad_trailers".to_owned());
                Some(Err(self.fail(Cause::InvalidResponse)))
            }
        })
    }

    fn unread(&self) -> usize {
        0
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
        let Some(upload) = &mut self.upload else { return Ok(false) };
        let before = upload.progress();
        match upload.poll(cx) {
            Poll::Pending => return Ok(upload.progress() != before),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(failure)) => return Err(self.fail(AttemptError::from(failure).cause)),
        }
        self.upload = None;
        Ok(true)
    }

    fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    fn is_complete(&self) -> bool {
        self.lease.is_none() && !self.has_failed
    }
}
