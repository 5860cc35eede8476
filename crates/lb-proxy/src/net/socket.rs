//! Sockets of listeners, and connections accepted on them, while no runtime has them.

use std::io;
use std::num::NonZeroU32;

#[cfg(target_os = "linux")]
use socket2::SockFilter;
use socket2::SockRef;

use super::bind;

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

    /// Changes the length of the kernel's queue, by listening anew; what is in it stays.
    pub(crate) fn set_backlog(&self, backlog: Option<NonZeroU32>) -> io::Result<()> {
        let length = bind::backlog(backlog);
        match self {
            Self::Tcp(socket) => SockRef::from(socket).listen(length),
            Self::Unix(socket) => SockRef::from(socket).listen(length),
        }
    }

    /// Has the kernel drop requests for new connections, so that what is queued when nothing more comes is all there
    /// is: between the last accept and the close another one could be established, and would be reset. Who was not
    /// heard asks again within a second, and finds the port closed, or its next owner. Tells whether it does; elsewhere
    /// the gap stays.
    #[cfg(target_os = "linux")]
    pub(crate) fn deafen(&self) -> bool {
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
    pub(crate) fn deafen(&self) -> bool {
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
