//! TLS over a socket.
//!
//! rustls does the cryptography and no input or output; this drives it. What the usual adapter leaves to luck and a
//! proxy cares for:
//!
//! - What is written goes out as few records in one system call: the tickets of a handshake, or our last message of it,
//!   wait for the first bytes of the answer unless we would sleep before.
//! - The socket is read in large pieces, which rustls is then fed with; an idle connection holds no buffer of ours.
//! - Plaintext that was decrypted and not yet taken counts as readable. A kept connection on which anything waits, be
//!   it no more than a ticket, is not idle.
//! - A stream ends either by `close_notify` or by truncation. A server that closes without it may have been cut off by
//!   an attacker, so that is an error. For a client it is harmless, since requests are self-delimiting.
//!
//! What was accepted by a write is encrypted at once and leaves with [`poll_push`](TlsStream::poll_push), which every
//! write, flush, read and wait for readability attempts.

use std::io::{self, BufRead, IoSlice, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, HandshakeKind, ServerConfig, ServerConnection};
use tokio::io::{AsyncWrite, ReadBuf};

use super::Stream;
use crate::net::buffers::ReadSize;

/// Ciphertext that may wait for the socket: a response of 64 KiB with its head is one system call.
const MAX_WAITING: usize = 128 * 1024;

/// A socket that speaks TLS.
pub(crate) struct TlsStream {
    under: Stream,
    connection: Connection,
    /// Read from the socket, not yet taken by `connection`.
    raw: BytesMut,
    raw_size: ReadSize,
    /// Bytes of plaintext that `connection` holds.
    plain: usize,
    /// The peer has sent its last byte.
    ended: bool,
    /// The received data was not valid TLS, or was tampered with.
    broken: bool,
    /// Our last byte was sent.
    finished: bool,
    /// Ciphertext handed to the kernel so far.
    pushed: u64,
    /// Nothing has been read yet.
    is_fresh: bool,
}

/// What came to a server begins like HTTP, in the clear.
#[derive(Debug, thiserror::Error)]
#[error("the client speaks HTTP without TLS")]
pub(crate) struct PlainHttp;

impl TlsStream {
    /// Our side of a connection that a client has opened; the handshake is still to come.
    pub(crate) fn server(under: Stream, config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self::new(under, ServerConnection::new(config)?.into()))
    }

    /// Our side of a connection to an endpoint; the handshake is still to come.
    pub(crate) fn client(
        under: Stream,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        Ok(Self::new(under, ClientConnection::new(config, name)?.into()))
    }

    fn new(under: Stream, mut connection: Connection) -> Self {
        connection.set_buffer_limit(Some(MAX_WAITING));
        Self {
            under,
            connection,
            raw: BytesMut::new(),
            raw_size: ReadSize::new(),
            plain: 0,
            ended: false,
            broken: false,
            finished: false,
            pushed: 0,
            is_fresh: true,
        }
    }

    /// The socket below.
    pub(crate) fn under(&self) -> &Stream {
        &self.under
    }

    /// As [`under`](Self::under), for use without TLS.
    pub(crate) fn under_mut(&mut self) -> &mut Stream {
        &mut self.under
    }

    /// Ready when the handshake is done. What we had to say last may still wait: it goes out with the first bytes.
    pub(crate) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.connection.is_handshaking() {
            if self.connection.wants_write() {
                ready!(self.poll_push(cx))?;
            }
            if self.raw.is_empty() && ready!(self.poll_fetch(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            if std::mem::take(&mut self.is_fresh) && self.is_plain_http() {
                // Before rustls answers with an alert, which such a client cannot read.
                return Poll::Ready(Err(io::Error::other(PlainHttp)));
            }
            self.feed(cx)?;
        }
        Poll::Ready(Ok(()))
    }

    /// The protocol that both sides agreed to speak above.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }

    /// The name that the client asked for, lower case; `None` if it asked for none, or is an endpoint.
    pub(crate) fn server_name(&self) -> Option<&str> {
        match &self.connection {
            Connection::Server(connection) => connection.server_name(),
            Connection::Client(_) => None,
        }
    }

    /// The certificate that the other side showed.
    pub(crate) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.connection.peer_certificates()?.first()
    }

    /// Whether the handshake took up an earlier session.
    pub(crate) fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Ciphertext that the kernel has taken, bytes: moves where plaintext that was accepted long ago still leaves.
    pub(crate) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Reads what there is into the spare room of `buf`; `Ok(0)` is the end of the stream, or no room.
    pub(crate) fn poll_read_into(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let room = buf.capacity() - buf.len();
        self.poll_read_with(cx, room, &mut |piece| buf.extend_from_slice(piece))
    }

    /// As [`poll_read_into`](Self::poll_read_into), into tokio's `ReadBuf`.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        self.poll_read_with(cx, room, &mut |piece| buf.put_slice(piece)).map_ok(drop)
    }

    /// Passes up to `room` bytes to `put`, as much as can be had without waiting once there is something.
    fn poll_read_with(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
        put: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        let mut got = 0;
        loop {
            got += self.take(room - got, put)?;
            if got == room || (got > 0 && self.raw.is_empty()) {
                break;
            }
            if self.broken && got == 0 {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            if self.broken || self.ended {
                break;
            }
            if !self.raw.is_empty() {
                match self.feed(cx) {
                    // What came before it is read first.
                    Err(_) if got > 0 => break,
                    fed => fed?,
                }
                continue;
            }
            let Poll::Ready(fetched) = self.poll_fetch(cx) else {
                // Before sleeping, everything is sent. An error will be seen by the next write.
                let _ = self.poll_push(cx);
                return Poll::Pending;
            };
            if fetched? == 0 {
                self.on_cut()?;
            }
        }
        if self.raw.is_empty() {
            self.raw_size.release(&mut self.raw);
        }
        Poll::Ready(Ok(got))
    }

    /// Whether a read would return at once, as far as the reactor knows.
    pub(crate) fn is_readable(&self) -> bool {
        self.holds_something() || self.under.is_readable()
    }

    /// Whether nothing has come, by asking the kernel.
    pub(crate) fn is_quiet(&self) -> bool {
        !self.holds_something() && self.under.is_quiet()
    }

    /// Ready when there may be something to read.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.holds_something() {
            return Poll::Ready(Ok(()));
        }
        let polled = self.under.poll_readable(cx);
        if polled.is_pending() && self.connection.wants_write() {
            // An error will be seen by the next read or write.
            let _ = self.poll_push(cx);
        }
        polled
    }

    /// Encrypts; ready when at least a part was accepted, most of which has left as well as a rule.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, data: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        loop {
            let accepted = match data {
                [one] => self.connection.writer().write(one)?,
                many => self.connection.writer().write_vectored(many)?,
            };
            let pushed = self.poll_push(cx)?;
            if accepted > 0 || data.iter().all(|slice| slice.is_empty()) {
                return Poll::Ready(Ok(accepted));
            }
            ready!(pushed);
        }
    }

    /// Ready when everything that was written has been taken by the kernel.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_push(cx)
    }

    /// Says that nothing more will come, and closes our direction.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        ready!(self.poll_push(cx))?;
        Pin::new(&mut self.under).poll_shutdown(cx)
    }

    /// As [`poll_shutdown`](Self::poll_shutdown), without waiting, right before the connection is closed: the
    /// peer learns that the end is intended.
    pub(crate) fn notify_close(&mut self) {
        if !self.connection.is_handshaking() {
            self.finish();
            // If the socket is full, the alert is lost.
            let _ = self.poll_push(&mut Context::from_waker(std::task::Waker::noop()));
        }
    }

    fn finish(&mut self) {
        if !std::mem::replace(&mut self.finished, true) {
            self.connection.send_close_notify();
        }
    }

    /// A method begins with a letter; a record of TLS begins with a small number.
    fn is_plain_http(&self) -> bool {
        matches!(self.connection, Connection::Server(_)) && self.raw.first().is_some_and(u8::is_ascii_uppercase)
    }

    fn holds_something(&self) -> bool {
        self.plain > 0 || !self.raw.is_empty() || self.ended || self.broken
    }

    /// Moves decrypted bytes.
    fn take(&mut self, max: usize, put: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
        let mut taken = 0;
        let mut reader = self.connection.reader();
        while self.plain > 0 && taken < max {
            let chunk = reader.fill_buf()?;
            let n = chunk.len().min(max - taken);
            put(&chunk[..n]);
            reader.consume(n);
            taken += n;
            self.plain = self.plain.saturating_sub(n);
        }
        Ok(taken)
    }

    /// Reads the socket once.
    fn poll_fetch(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // Asked first, so that no buffer is held while there is nothing to read.
        if self.under.poll_readable(cx)?.is_pending() {
            self.raw_size.release(&mut self.raw);
            return Poll::Pending;
        }
        let room = self.raw_size.make_room(&mut self.raw);
        let polled = self.under.poll_read_into(cx, &mut self.raw);
        if let Poll::Ready(Ok(n)) = polled {
            self.raw_size.on_read(n, room);
        }
        polled
    }

    /// Lets rustls take a piece of what was read. Only when it holds no plaintext.
    fn feed(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let n = self.connection.read_tls(&mut self.raw.as_ref())?;
        self.raw.advance(n);
        match self.connection.process_new_packets() {
            Ok(state) => {
                self.plain = state.plaintext_bytes_to_read();
                if state.peer_has_closed() {
                    self.ended = true;
                    // Whatever follows the last word is noise.
                    self.raw.clear();
                }
                Ok(())
            }
            Err(error) => {
                self.broken = true;
                // The alert has the reason, if the peer still reads.
                let _ = self.poll_push(cx);
                Err(io::Error::new(io::ErrorKind::InvalidData, error))
            }
        }
    }

    /// The socket ended without a last word.
    fn on_cut(&mut self) -> io::Result<()> {
        self.ended = true;
        match &self.connection {
            Connection::Server(_) => Ok(()),
            Connection::Client(_) => {
                self.broken = true;
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        }
    }

    /// Hands ciphertext to the kernel; ready when none waits.
    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.connection.wants_write() {
            let mut socket = Socket { stream: &mut self.under, cx };
            match self.connection.write_tls(&mut socket) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => self.pushed += n as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl std::fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsStream").field("under", &self.under).finish_non_exhaustive()
    }
}

/// A socket as rustls writes to it: `WouldBlock` instead of waiting.
struct Socket<'a, 'w> {
    stream: &'a mut Stream,
    cx: &'a mut Context<'w>,
}

impl Write for Socket<'_, '_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        or_would_block(Pin::new(&mut *self.stream).poll_write(self.cx, data))
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        if let [one] = data {
            // The cheaper system call.
            return self.write(one);
        }
        or_would_block(Pin::new(&mut *self.stream).poll_write_vectored(self.cx, data))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn or_would_block(polled: Poll<io::Result<usize>>) -> io::Result<usize> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use rustls::RootCertStore;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::net::UnixStream;

    use super::*;
    use crate::tls::provider;

    /// Both ends of a connection, before the handshake.
    fn pair() -> (TlsStream, TlsStream) {
        let made = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let server = ServerConfig::builder_with_provider(Arc::clone(provider())).with_safe_default_protocol_versions();
        let server = server.unwrap().with_no_client_auth();
        let server = server.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::clone(provider())).with_safe_default_protocol_versions();
        let client = client.unwrap().with_root_certificates(roots).with_no_client_auth();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let client = TlsStream::client(Stream::Unix(ours), Arc::new(client), "a.test".try_into().unwrap());
        (client.unwrap(), TlsStream::server(Stream::Unix(theirs), Arc::new(server)).unwrap())
    }

    /// Makes the handshake and has its last message leave, for which others wait with their first bytes.
    async fn shake(stream: &mut TlsStream) {
        let done = poll_fn(|cx| {
            ready!(stream.poll_handshake(cx))?;
            stream.poll_flush(cx)
        });
        done.await.unwrap();
    }

    async fn shaken() -> (TlsStream, TlsStream) {
        let (mut client, mut server) = pair();
        tokio::join!(shake(&mut client), shake(&mut server));
        (client, server)
    }

    async fn write(stream: &mut TlsStream, mut data: &[u8]) {
        while !data.is_empty() {
            let n = poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(data)])).await.unwrap();
            data = &data[n..];
        }
        poll_fn(|cx| stream.poll_flush(cx)).await.unwrap();
    }

    /// Reads once, at most so many bytes.
    async fn read(stream: &mut TlsStream, max: usize) -> io::Result<Vec<u8>> {
        let mut buf = BytesMut::with_capacity(max);
        poll_fn(|cx| stream.poll_read_into(cx, &mut buf)).await?;
        Ok(buf.to_vec())
    }

    #[tokio::test]
    async fn plaintext_that_was_decrypted_counts_as_readable_and_tickets_do_not_once_read() {
        let (mut client, mut server) = shaken().await;
        write(&mut client, b"request").await;
        assert_eq!(read(&mut server, 100).await.unwrap(), b"request");
        write(&mut server, b"response").await;
        assert_eq!(read(&mut client, 3).await.unwrap(), b"res");
        // The kernel has nothing any more.
        assert!(client.is_readable() && !client.is_quiet());
        assert_eq!(read(&mut client, 100).await.unwrap(), b"ponse");
        assert!(!client.is_readable() && client.is_quiet(), "the tickets came before the response and are gone");
        assert!(client.raw.is_empty() && client.raw.capacity() == 0, "an idle connection holds no buffer");
    }

    #[tokio::test]
    async fn large_bodies_arrive_whole_whatever_the_pieces() {
        let (mut client, mut server) = shaken().await;
        let body: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
        let sent = body.clone();
        let sending = tokio::spawn(async move {
            write(&mut client, &sent).await;
            client.notify_close();
        });
        let mut got = Vec::new();
        for max in [1, 17, 4096, 5000, 16_384, 300_000].into_iter().cycle() {
            match read(&mut server, max).await.unwrap() {
                piece if piece.is_empty() => break,
                piece => got.extend(piece),
            }
        }
        assert!(got == body);
        sending.await.unwrap();
    }

    #[tokio::test]
    async fn an_end_that_was_not_said_is_a_cut_for_us_as_a_client_only() {
        let (mut client, server) = shaken().await;
        drop(server);
        assert_eq!(read(&mut client, 10).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(read(&mut client, 10).await.is_err(), "and stays one");

        let (mut client, mut server) = shaken().await;
        server.notify_close();
        drop(server);
        assert_eq!(read(&mut client, 10).await.unwrap(), b"");
        assert!(client.is_readable() && !client.is_quiet());

        let (mut client, mut server) = shaken().await;
        write(&mut server, b"x").await;
        // Whoever leaves tickets unread resets the connection.
        assert_eq!(read(&mut client, 10).await.unwrap(), b"x");
        drop(client);
        assert_eq!(read(&mut server, 10).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn what_nobody_reads_is_not_accepted_for_ever() {
        let (_client, mut server) = shaken().await;
        let piece = vec![0; 256 * 1024];
        let mut accepted = 0;
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        while let Poll::Ready(n) = server.poll_write(cx, &[IoSlice::new(&piece)]) {
            accepted += n.unwrap();
            assert!(accepted < 16 << 20, "{accepted}");
        }
        assert!(server.poll_flush(cx).is_pending());
        assert!(server.pushed() > 0 && (accepted as u64) < server.pushed() + 2 * MAX_WAITING as u64);
    }
}
