//! The endpoint's end of a tunnel.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use h2::{RecvStream, SendStream};

use super::call::Progress;
use super::h1::Upload;
use super::{Connection, Lease};
use crate::net::queue::{Piece, Queue};
use crate::net::side::{Side, StreamSide};

/// The endpoint's end of a tunnel.
pub(crate) enum Tunnel {
    Connection(Box<ConnectionTunnel>),
    Stream(Box<StreamTunnel>),
}

/// A connection whose endpoint has agreed to another protocol.
pub(crate) struct ConnectionTunnel {
    pub(crate) connection: Box<Connection>,
    /// What is left of the request that asked for it. Until all of that was sent, the client cannot speak the other
    /// protocol (RFC 9110 §7.8), while the endpoint may already.
    pub(crate) upload: Option<Upload>,
}

/// A stream that an endpoint has opened for another protocol.
pub(crate) struct StreamTunnel {
    pub(crate) send: SendStream<Piece>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) receive: RecvStream,
    pub(crate) taken: usize,
    /// Its place on the connection.
    pub(crate) _lease: Lease,
}

impl Tunnel {
    /// What was read behind the 101.
    pub(crate) fn take_read(&mut self) -> BytesMut {
        match self {
            Self::Connection(tunnel) => std::mem::take(&mut tunnel.connection.read),
            Self::Stream(_) => BytesMut::new(),
        }
    }

    /// Sends what is left of the request. Ready once there is nothing left: whether it all went.
    pub(crate) fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Self::Connection(tunnel) = self else { return Poll::Ready(true) };
        let Some(upload) = &mut tunnel.upload else { return Poll::Ready(true) };
        let went = ready!(upload.poll(cx, &mut tunnel.connection.stream)).is_ok() && !upload.is_broken();
        tunnel.upload = None;
        Poll::Ready(went)
    }

    /// How much of the request was received and sent, while it is being sent.
    pub(crate) fn request_progress(&self) -> u64 {
        match self {
            Self::Connection(tunnel) => tunnel.upload.as_ref().map_or(0, |upload| {
                let Progress { sent, received, .. } = upload.progress();
                sent + received
            }),
            Self::Stream(_) => 0,
        }
    }

    pub(crate) fn side<T>(&mut self, with: impl FnOnce(&mut dyn Side) -> T) -> T {
        match self {
            Self::Connection(tunnel) => with(&mut tunnel.connection.stream),
            Self::Stream(stream) => {
                let StreamTunnel { send, queue, receive, taken, .. } = &mut **stream;
                with(&mut StreamSide { send, receive, taken, queue })
            }
        }
    }
}
