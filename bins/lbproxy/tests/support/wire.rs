//! One TCP connection, from either end.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use super::DEADLINE;
use super::link::Link;
use super::message::{Body, Head, Message};

/// A connection and what was read from it but not used.
pub(crate) struct Wire {
    /// The socket, or TLS over it.
    pub(crate) stream: Link,
    /// Read, not yet used.
    pub(crate) buffer: Vec<u8>,
}

impl Wire {
    /// Over a connected socket. No read or write on it waits longer than the deadline.
    pub(crate) fn new(stream: impl Into<Link>) -> Self {
        let stream = stream.into();
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        stream.set_write_timeout(Some(DEADLINE)).expect("a socket");
        Self { stream, buffer: Vec::new() }
    }

    /// Writes all of it.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Writes a chunk of a chunked body; an empty one ends it.
    pub(crate) fn write_chunk(&mut self, data: impl AsRef<[u8]>) -> io::Result<()> {
        let data = data.as_ref();
        let framed = [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat();
        self.write(framed)
    }

    /// Reads once; the number of bytes that came, 0 at the end.
    pub(crate) fn fill(&mut self) -> io::Result<usize> {
        let mut piece = [0; 64 * 1024];
        let n = self.stream.read(&mut piece)?;
        self.buffer.extend_from_slice(&piece[..n]);
        Ok(n)
    }

    fn fill_or_fail(&mut self) -> io::Result<()> {
        if self.fill()? == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// Takes everything up to and with `mark`.
    pub(crate) fn read_through(&mut self, mark: &[u8]) -> io::Result<Vec<u8>> {
        let mut from = 0;
        loop {
            if let Some(at) = find(&self.buffer[from..], mark) {
                return Ok(self.buffer.drain(..from + at + mark.len()).collect());
            }
            from = self.buffer.len().saturating_sub(mark.len());
            self.fill_or_fail()?;
        }
    }

    /// Takes exactly `n` bytes.
    pub(crate) fn read_exactly(&mut self, n: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < n {
            self.fill_or_fail()?;
        }
        Ok(self.buffer.drain(..n).collect())
    }

    /// Everything up to the end of the stream.
    pub(crate) fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? > 0 {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Reads `n` bytes and forgets them.
    pub(crate) fn skip(&mut self, mut n: u64) -> io::Result<()> {
        let buffered = n.min(self.buffer.len() as u64);
        self.buffer.drain(..buffered as usize);
        n -= buffered;
        let mut piece = vec![0; 256 * 1024];
        while n > 0 {
            let most = n.min(piece.len() as u64) as usize;
            match self.stream.read(&mut piece[..most])? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                got => n -= got as u64,
            }
        }
        Ok(())
    }

    /// The next head; `None` where the stream ends before one begins.
    pub(crate) fn read_head(&mut self) -> io::Result<Option<Head>> {
        while self.buffer.is_empty() {
            if self.fill()? == 0 {
                return Ok(None);
            }
        }
        Ok(Some(Head::parse(&self.read_through(b"\r\n\r\n")?)))
    }

    /// The body that follows this head of a request.
    pub(crate) fn read_request_body(&mut self, head: &Head) -> io::Result<Body> {
        if head.has("transfer-encoding") {
            return self.read_chunked();
        }
        match head.header("content-length") {
            Some(length) => self.read_sized(length),
            None => Ok(Body { is_whole: true, ..Body::default() }),
        }
    }

    /// The body that follows this head of a response to `method`. An end of the stream before its end is no error
    /// here: the body is then not whole.
    pub(crate) fn read_response_body(&mut self, head: &Head, method: &str) -> io::Result<Body> {
        if method == "HEAD" || matches!(head.status(), 100..=199 | 204 | 304) {
            return Ok(Body { is_whole: true, ..Body::default() });
        }
        if head.has("transfer-encoding") {
            return self.read_chunked();
        }
        if let Some(length) = head.header("content-length") {
            return self.read_sized(length);
        }
        let mut body = Body { is_whole: true, ..Body::default() };
        match self.read_to_end() {
            Ok(data) => body.data = data,
            Err(error) if is_broken(&error) => {
                body.data = std::mem::take(&mut self.buffer);
                body.is_whole = false;
            }
            Err(error) => return Err(error),
        }
        Ok(body)
    }

    /// The final response to a request with this method, interim ones left out.
    pub(crate) fn read_response(&mut self, method: &str) -> io::Result<Message> {
        loop {
            let head = self.read_head()?.ok_or(ErrorKind::UnexpectedEof)?;
            if matches!(head.status(), 100 | 102..=199) {
                continue;
            }
            let body = self.read_response_body(&head, method)?;
            return Ok(Message { head, body });
        }
    }

    fn read_sized(&mut self, length: &str) -> io::Result<Body> {
        let length = length.parse().map_err(|_| ErrorKind::InvalidData)?;
        Ok(match self.read_exactly(length) {
            Ok(data) => Body { data, is_whole: true, ..Body::default() },
            Err(error) if is_broken(&error) => Body { data: std::mem::take(&mut self.buffer), ..Body::default() },
            Err(error) => return Err(error),
        })
    }

    fn read_chunked(&mut self) -> io::Result<Body> {
        let mut body = Body::default();
        match self.read_chunks(&mut body) {
            Ok(()) => body.is_whole = true,
            Err(error) if is_broken(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(body)
    }

    fn read_chunks(&mut self, body: &mut Body) -> io::Result<()> {
        while let Some(data) = self.read_chunk()? {
            body.data.extend(data);
        }
        loop {
            let line = self.read_through(b"\r\n")?;
            let line = String::from_utf8_lossy(&line);
            match line.trim_end().split_once(':') {
                Some((name, value)) => body.trailers.push((name.to_owned(), value.trim().to_owned())),
                None => return Ok(()),
            }
        }
    }

    /// The next chunk; `None` for the last, whose trailers and empty line are left where they are.
    pub(crate) fn read_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.read_through(b"\r\n")?;
        let size = String::from_utf8_lossy(&line);
        let size = usize::from_str_radix(size.trim_end(), 16).map_err(|_| ErrorKind::InvalidData)?;
        if size == 0 {
            return Ok(None);
        }
        let data = self.read_exactly(size)?;
        if self.read_exactly(2)? != b"\r\n" {
            return Err(ErrorKind::InvalidData.into());
        }
        Ok(Some(data))
    }

    /// Whether the other side closes without sending anything more, in order or by a reset.
    pub(crate) fn is_closed_silently(&mut self) -> bool {
        match self.read_to_end() {
            Ok(rest) => rest.is_empty(),
            Err(error) => is_broken(&error) && self.buffer.is_empty(),
        }
    }

    /// Whether nothing comes within this time. Only for what must not happen.
    pub(crate) fn is_silent_for(&mut self, span: Duration) -> bool {
        self.stream.set_read_timeout(Some(span)).expect("a socket");
        let read = self.fill();
        self.stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        matches!(read, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    /// Says that nothing more will be written.
    pub(crate) fn finish(&mut self) {
        self.stream.say_goodbye();
        // The other side may have gone first.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The port of this side.
    pub(crate) fn local_port(&self) -> u16 {
        self.stream.local_addr().expect("a socket").port()
    }

    /// Makes the coming close a reset.
    pub(crate) fn reset_on_close(&self) {
        socket2::SockRef::from(&*self.stream).set_linger(Some(Duration::ZERO)).expect("a socket");
    }
}

/// Whether an error means that the other side broke the connection.
fn is_broken(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

fn find(text: &[u8], mark: &[u8]) -> Option<usize> {
    text.windows(mark.len()).position(|window| window == mark)
}
