//! One byte stream, whatever carries it.

mod tls;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use lb_config::ListenAddress;
use rustix::net::SendFlags;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

pub(crate) use self::tls::{PlainHttp, TlsStream};
use crate::tls::UpstreamTls;

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// Either of them, behind TLS.
    Tls(Box<TlsStream>),
}

impl Stream {
    /// Reads once into the spare room of `buf`; `Ok(0)` is the end of the stream (or a full buffer: reserve first).
    pub(crate) fn poll_read_into(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => poll_receive(stream, cx, buf),
            Self::Unix(stream) => tokio_util::io::poll_read_buf(Pin::new(stream), cx, buf),
            Self::Tls(stream) => stream.poll_read_into(cx, buf),
        }
    }

    /// Makes the handshake with an endpoint.
    ///
    /// # Errors
    /// The connection broke, or the two could not agree; see [`crate::tls::cause`].
    pub(crate) async fn to_tls(under: Self, tls: &UpstreamTls) -> io::Result<Self> {
        let stream = TlsStream::client(under, Arc::clone(&tls.config), tls.name.clone());
        let mut stream = Box::new(stream.map_err(io::Error::other)?);
        poll_fn(|cx| stream.poll_handshake(cx)).await.map_err(|error| match error.get_ref() {
            Some(_) => error,
            None if super::Shortage::of(&error).is_some() => error,
            // The connection broke under the handshake, which is how some refuse one.
            None => io::Error::new(error.kind(), rustls::Error::General(error.to_string())),
        })?;
        Ok(Self::Tls(stream))
    }

    /// What is behind TLS.
    pub(crate) fn tls(&self) -> Option<&TlsStream> {
        match self {
            Self::Tls(stream) => Some(stream),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }

    /// The protocol that a TLS handshake agreed on.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.tls()?.alpn()
    }

    /// Bytes that left us after they were accepted: where this moves, the other side still reads. 0 without TLS, where
    /// what is accepted has left.
    pub(crate) fn pushed(&self) -> u64 {
        self.tls().map_or(0, TlsStream::pushed)
    }

    /// Sends TLS's close_notify ahead of an orderly close that is not waited for. Without TLS the close itself is enough.
    pub(crate) fn notify_close(&mut self) {
        if let Self::Tls(stream) = self {
            stream.notify_close();
        }
    }

    /// Whether something (data, the end or an error) is readable, as far as the reactor knows. No system call.
    pub(crate) fn is_readable(&self) -> bool {
        // The closure does nothing with a ready socket: this only checks readiness.
        let looked = match self {
            Self::Tcp(stream) => stream.try_io(Interest::READABLE, || Ok(())),
            Self::Unix(stream) => stream.try_io(Interest::READABLE, || Ok(())),
            Self::Tls(stream) => return stream.is_readable(),
        };
        !matches!(looked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether nothing waits to be read, by a system call: the reactor may not know of the latest data.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        let peeked = match self {
            Self::Tcp(stream) => SockRef::from(stream).peek(&mut byte),
            Self::Unix(stream) => SockRef::from(stream).peek(&mut byte),
            Self::Tls(stream) => return stream.is_quiet(),
        };
        matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Ready when something is readable, as far as the reactor knows. No system call, but for what waits to be
    /// written behind TLS.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
            Self::Tls(stream) => stream.poll_readable(cx),
        }
    }

    /// Makes the coming close a reset, so that the other side cannot take a cut message for a whole one.
    pub(crate) fn reset_on_close(&self) {
        let sock = match self {
            Self::Tcp(stream) => SockRef::from(stream),
            // A Unix socket has no reset; the peer sees the end.
            Self::Unix(_) => return,
            // Nor is a last word said.
            Self::Tls(stream) => return stream.under().reset_on_close(),
        };
        // Failing to linger leaves an ordinary close, which the framing still gives away.
        let _ = sock.set_linger(Some(std::time::Duration::ZERO));
    }

    /// Takes that back: the coming close says that nothing more comes.
    pub(crate) fn close_in_order(&self) {
        match self {
            // As it was made.
            Self::Tcp(stream) => drop(SockRef::from(stream).set_linger(None)),
            Self::Unix(_) => {}
            Self::Tls(stream) => stream.under().close_in_order(),
        }
    }

    /// Where the other side connected, which came by this listener; `None` on a Unix socket.
    pub(crate) fn local_addr_of(&self, listener: &ListenAddress) -> Option<SocketAddr> {
        match listener {
            // Nowhere else can it have come to.
            ListenAddress::Tcp(address) if !address.ip().is_unspecified() && address.port() != 0 => Some(*address),
            _ => self.local_addr(),
        }
    }

    /// The address of our side; `None` on a Unix socket.
    fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok(),
            Self::Unix(_) => None,
            Self::Tls(stream) => stream.under().local_addr(),
        }
    }

    /// The address of the other side; `None` on a Unix socket.
    pub(crate) fn peer_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Unix(_) => None,
            Self::Tls(stream) => stream.under().peer_addr(),
        }
    }
}

/// Reads once. The runtime's own way would ask once more whether there is something to read, which the caller has.
fn poll_receive(stream: &TcpStream, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
    let room = buf.capacity() - buf.len();
    loop {
        match stream.try_read_buf(buf) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(stream.poll_read_ready(cx))?,
            Ok(n) if n > 0 && n < room => {
                // A socket that gave less than was asked for is empty. To say so now saves the call that would find out.
                let _ = stream.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
                return Poll::Ready(Ok(n));
            }
            read => return Poll::Ready(read),
        }
    }
}

/// Writes once, past the C library, whose `send` lets other threads cancel this one at a cost that a small request feels.
fn poll_send(stream: &TcpStream, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
    loop {
        let mut sent = 0;
        let tried = stream.try_io(Interest::WRITABLE, || {
            sent = rustix::net::send(stream, data, SendFlags::NOSIGNAL)?;
            // A socket that took a part is full. To say so now saves the call that would find out.
            if sent < data.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match tried {
            Err(error) if sent == 0 && error.kind() == io::ErrorKind::WouldBlock => {
                ready!(stream.poll_write_ready(cx))?;
            }
            Err(error) if sent == 0 => return Poll::Ready(Err(error)),
            _ => return Poll::Ready(Ok(sent)),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => stream.poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => poll_send(stream, cx, data),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, data),
            Self::Tls(stream) => stream.poll_write(cx, &[io::IoSlice::new(data)]),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, data),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, data),
            Self::Tls(stream) => stream.poll_write(cx, data),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            // What is written to a socket has left.
            Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => stream.poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => stream.poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::{Duration, Instant};

    use super::*;

    #[tokio::test]
    async fn quiet_is_what_the_kernel_says_not_what_the_reactor_has_heard() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut theirs, _) = listener.accept().unwrap();
        let stream = Stream::Tcp(ours);
        assert!(stream.is_quiet());
        theirs.write_all(b"!").unwrap();
        // Nothing is awaited here, so the reactor does not run.
        let start = Instant::now();
        while stream.is_quiet() {
            assert!(start.elapsed() < Duration::from_secs(20));
            std::thread::yield_now();
        }
        assert!(!stream.is_readable());
    }

    #[tokio::test]
    async fn a_stream_that_was_closed_is_not_quiet() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let stream = Stream::Unix(ours);
        assert!(stream.is_quiet());
        drop(theirs);
        assert!(!stream.is_quiet());
    }
}
