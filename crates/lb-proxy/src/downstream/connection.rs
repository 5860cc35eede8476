//! A client's connection, as its requests see it: what is known from its beginning, and the same to its end.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use atomic_refcell::AtomicRefCell;
use lb_config::ListenAddress;

use crate::message::Line;
use crate::net::TlsStream;
use crate::rules::forwarded::ConnectionFacts;
use crate::tls::{ClientIdentity, Terminator};

/// What is known of a client's connection.
pub(crate) struct ClientConnection {
    /// Its listener's address, as configured.
    pub(crate) address: ListenAddress,
    /// The client's address, from the PROXY header if there is one; `None` on a Unix socket.
    pub(crate) peer: Option<SocketAddr>,
    /// The address that the client connected to; `None` on a Unix socket.
    pub(crate) local: Option<SocketAddr>,
    /// What the TLS handshake made known, if there was one.
    pub(crate) tls: Option<TlsFacts>,
    /// The index of the worker that serves it.
    pub(crate) worker: usize,
    /// What is kept for this client alone, and ends with its connection.
    pub(crate) slot: Slot,
}

/// Room for what the endpoints' side keeps for one client: only that side knows its type.
pub(crate) type Slot = AtomicRefCell<Option<Box<dyn Any + Send + Sync>>>;

impl ClientConnection {
    /// The client's IP address; `None` on a Unix socket.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.ip())
    }

    /// The way by which requests arrive on it.
    pub(crate) fn facts(&self) -> ConnectionFacts {
        ConnectionFacts {
            peer: self.ip(),
            is_tls: self.tls.is_some(),
            port: self.local.map_or(0, |local| local.port()),
        }
    }

    /// Whether it is for other hosts than this one, which is looked for only where clients are asked for certificates.
    pub(crate) fn is_misdirected<'h>(&self, host: impl FnOnce() -> Option<&'h str>) -> bool {
        let Some(tls) = self.tls.as_ref().filter(|tls| tls.terminator.asks_clients()) else { return false };
        host().is_some_and(|host| tls.terminator.is_misdirected(tls.server_name.as_deref(), host))
    }

    /// Headers about the client's certificate; `None` where no client is asked for one.
    pub(crate) fn certificate_lines(&self) -> Option<&[Line]> {
        self.tls.as_ref()?.client.as_ref().map(ClientIdentity::lines)
    }
}

/// What a TLS handshake made known.
pub(crate) struct TlsFacts {
    terminator: Arc<Terminator>,
    /// The name that the client asked for.
    server_name: Option<Box<str>>,
    /// The client's certificate, where clients are asked for one.
    client: Option<ClientIdentity>,
}

impl TlsFacts {
    /// Of a stream whose handshake is done.
    pub(crate) fn new(terminator: Arc<Terminator>, stream: &TlsStream) -> Self {
        Self {
            server_name: stream.server_name().map(Box::from),
            client: terminator.asks_clients().then(|| ClientIdentity::new(stream.certificate())),
            terminator,
        }
    }
}
