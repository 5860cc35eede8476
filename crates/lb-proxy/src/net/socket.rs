//! Sockets of listeners, and connections accepted on them, before and after a runtime has them.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;

#[cfg(target_os = "linux")]
use socket2::SockFilter;
use socket2::SockRef;
use tokio::net::{TcpListener, UnixListener};

use super::Stream;

/// A bound socket on its way to a worker.
pub(crate) enum Socket {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// A connection that is not registered with a runtime.
pub(crate) enum AcceptedSocket {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Socket {
    /// The same socket, owned once more.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => Self::Tcp(socket.try_clone()?),
            Self::Unix(socket) => Self::Unix(socket.try_clone()?),
        })
    }

    /// Changes the length of the kernel's queue by calling `listen` again; queued connections stay.
    pub(crate) fn set_backlog(&self, backlog: Option<NonZeroU32>) -> io::Result<()> {
        let length = self::backlog(backlog);
        match self {
            Self::Tcp(socket) => SockRef::from(socket).listen(length),
            Self::Unix(socket) => SockRef::from(socket).listen(length),
        }
    }

    /// Makes the kernel drop new SYNs, so the queue can be drained before the close: otherwise a connection established
    /// between the last accept and the close would be reset. A client whose SYN was dropped retransmits within a
    /// second, and finds the port closed or its next owner. Returns whether the kernel supports it; otherwise the race
    /// remains.
    #[cfg(target_os = "linux")]
    pub(crate) fn drop_new_syns(&self) -> bool {
        /// Byte 13 of a TCP header has the flags; SYN without ACK asks for a connection.
        const DROP_SYN: [SockFilter; 5] = [
            SockFilter::new(0x30, 0, 0, 13),       // load the flags
            SockFilter::new(0x54, 0, 0, 0x12),     // and with SYN and ACK
            SockFilter::new(0x15, 0, 1, 0x02),     // unless it is SYN alone, skip one
            SockFilter::new(0x06, 0, 0, 0),        // drop
            SockFilter::new(0x06, 0, 0, u32::MAX), // keep
        ];
        match self {
            Self::Tcp(listener) => SockRef::from(listener).attach_filter(&DROP_SYN).is_ok(),
            Self::Unix(_) => false,
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn drop_new_syns(&self) -> bool {
        false
    }

    /// The next connection that the kernel has queued, without waiting.
    pub(crate) fn queued(&self) -> io::Result<AcceptedSocket> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                AcceptedSocket::Tcp(stream)
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                AcceptedSocket::Unix(stream)
            }
        })
    }
}

/// A socket that accepts on a runtime.
pub(crate) enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listening {
    /// Registers a socket with the runtime of this thread.
    pub(crate) fn new(socket: Socket) -> io::Result<Self> {
        Ok(match socket {
            Socket::Tcp(socket) => Self::Tcp(TcpListener::from_std(socket)?),
            Socket::Unix(socket) => Self::Unix(UnixListener::from_std(socket)?),
        })
    }

    /// The next connection and its peer; a Unix socket has none.
    pub(crate) async fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                (Stream::Tcp(stream), Some(peer))
            }
            Self::Unix(listener) => (Stream::Unix(listener.accept().await?.0), None),
        })
    }

    /// Takes it from the runtime.
    pub(crate) fn into_std(self) -> io::Result<Socket> {
        Ok(match self {
            Self::Tcp(listener) => Socket::Tcp(listener.into_std()?),
            Self::Unix(listener) => Socket::Unix(listener.into_std()?),
        })
    }
}

/// The length of an accept queue as the kernel takes it; the kernel caps it at `net.core.somaxconn`.
pub(crate) fn backlog(length: Option<NonZeroU32>) -> i32 {
    length.map_or(MAX_BACKLOG, NonZeroU32::get).min(i32::MAX as u32) as i32
}

/// Asked for by default.
const MAX_BACKLOG: u32 = 65_535;
