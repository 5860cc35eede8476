//! A socket, or TLS over it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::ops::Deref;

use rustls::{ClientConnection, ServerConnection, StreamOwned};

/// What bytes go over.
pub(crate) enum Link {
    /// The socket itself.
    Plain(TcpStream),
    /// TLS, on the side of the client.
    Client(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// TLS, on the side of the endpoint.
    Server(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Link {
    /// Says in TLS that nothing more will be written; nothing without TLS.
    pub(crate) fn say_goodbye(&mut self) {
        match self {
            Self::Plain(_) => {}
            Self::Client(stream) => stream.conn.send_close_notify(),
            Self::Server(stream) => stream.conn.send_close_notify(),
        }
        // The other side may have gone first.
        let _ = self.flush();
    }

    /// The endpoint's side of TLS.
    #[track_caller]
    pub(crate) fn server(&mut self) -> &mut ServerConnection {
        match self {
            Self::Server(stream) => &mut stream.conn,
            _ => panic!("no TLS here"),
        }
    }

    /// The client's side of TLS.
    #[track_caller]
    pub(crate) fn tls(&mut self) -> &mut ClientConnection {
        match self {
            Self::Client(stream) => &mut stream.conn,
            _ => panic!("no TLS here"),
        }
    }
}

impl From<TcpStream> for Link {
    fn from(stream: TcpStream) -> Self {
        Self::Plain(stream)
    }
}

impl Deref for Link {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Client(stream) => &stream.sock,
            Self::Server(stream) => &stream.sock,
        }
    }
}

impl Read for Link {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buf),
            Self::Client(stream) => stream.read(buf),
            Self::Server(stream) => stream.read(buf),
        }
    }
}

impl Write for Link {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(data),
            Self::Client(stream) => stream.write(data),
            Self::Server(stream) => stream.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Client(stream) => stream.flush(),
            Self::Server(stream) => stream.flush(),
        }
    }
}
