//! Clients: one connection, or one request.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::DEADLINE;
use super::link::Link;
use super::message::Message;
use super::wire::Wire;

/// A connection to the proxy.
pub(crate) struct Client {
    wire: Wire,
}

impl Client {
    /// Connects.
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self { wire: Wire::new(TcpStream::connect(address).expect("the proxy listens")) }
    }

    /// Connects and makes a TLS handshake, asking for `name`; why it failed, otherwise. A client whose certificate the
    /// other side refuses gets the error with its first read.
    pub(crate) fn try_tls(address: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> io::Result<Self> {
        Self::try_tls_behind(address, b"", name, config)
    }

    /// As [`try_tls`](Self::try_tls), on a connection that begins with something else.
    pub(crate) fn try_tls_behind(
        address: SocketAddr,
        header: &[u8],
        name: &str,
        config: &Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        socket.write_all(header)?;
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let mut connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(Self { wire: Wire::new(Link::Client(Box::new(StreamOwned::new(connection, socket)))) })
    }

    /// As [`try_tls`](Self::try_tls), where it works.
    #[track_caller]
    pub(crate) fn tls(address: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> Self {
        Self::try_tls(address, name, config).expect("a handshake")
    }

    /// The connection, for another protocol.
    pub(crate) fn into_wire(self) -> Wire {
        self.wire
    }

    /// Writes all of it.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire.write(bytes).expect("the proxy takes it");
    }

    /// The final response to a request of this method.
    #[track_caller]
    pub(crate) fn answer(&mut self, method: &str) -> Message {
        match self.wire.read_response(method) {
            Ok(message) => message,
            Err(error) => panic!("no answer: {error}; so far {:?}", String::from_utf8_lossy(&self.wire.buffer)),
        }
    }

    /// Sends a request and reads the answer. The text is a request line and headers, lines ended by `\n`; `Host` is
    /// added where there is none, and the empty line always.
    #[track_caller]
    pub(crate) fn ask(&mut self, request: &str) -> Message {
        self.send(written(request));
        let method = request.split(' ').next().unwrap_or_default();
        self.answer(method)
    }

    /// Asks for a path.
    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Message {
        self.ask(&format!("GET {path} HTTP/1.1"))
    }
}

impl Deref for Client {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        &self.wire
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Wire {
        &mut self.wire
    }
}

/// A request as it goes over the wire, see [`Client::ask`].
fn written(request: &str) -> String {
    let mut text = request.trim_end().lines().collect::<Vec<_>>().join("\r\n");
    let has_host = request.lines().any(|line| line.to_ascii_lowercase().starts_with("host:"));
    if !has_host {
        text.push_str("\r\nHost: example.test");
    }
    text + "\r\n\r\n"
}

/// Asks for a path on a connection of its own.
#[track_caller]
pub(crate) fn get(address: SocketAddr, path: &str) -> Message {
    Client::connect(address).get(path)
}

/// Posts a body on a connection of its own.
#[track_caller]
pub(crate) fn post(address: SocketAddr, path: &str, body: &str) -> Message {
    let mut client = Client::connect(address);
    let length = body.len();
    client.send(format!("POST {path} HTTP/1.1\r\nHost: example.test\r\nContent-Length: {length}\r\n\r\n{body}"));
    client.answer("POST")
}

/// Sends bytes, says that there are no more, and reads to the end, whether it is in order or a reset.
#[track_caller]
pub(crate) fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut client = Client::connect(address);
    // A proxy that has seen enough may have closed before all of it was written.
    let _ = client.write(bytes);
    let read = client.read_to_end();
    let rest = std::mem::take(&mut client.buffer);
    String::from_utf8_lossy(&read.unwrap_or(rest)).into_owned()
}
