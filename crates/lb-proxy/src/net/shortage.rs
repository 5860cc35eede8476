//! Whose fault it is that a socket cannot be had: this machine's, or that of where it was to lead.
//!
//! `connect` fails for three kinds of reasons. The endpoint refused; the way to it is barred; or this machine has run
//! out of something. The first two mean that this endpoint cannot be used from here, and another may well be: they count
//! against it. The third says nothing about any endpoint. If it did count, one busy minute of ours would eject them all,
//! one after the other, and every attempt would be followed by another one that needs a descriptor just the same. So
//! traffic, active checks and name resolution all ask here.
//!
//! A permission that this process lacks is of the third kind, though another endpoint may do better: `EACCES` and `EPERM`
//! come from the mode of a Unix socket's file, from this machine's firewall or from its security module. To IPv6
//! destinations, a router or the endpoint's own firewall can cause `EACCES` as well, by ICMPv6 ("administratively
//! prohibited"), so that it says nothing certain about this machine there; [`distinct`] tells that apart.
//!
//! Local, and yet no shortage, since another endpoint may do better:
//!
//! - `ENETUNREACH` and `EHOSTUNREACH`, no route to this destination;
//! - `EADDRNOTAVAIL` where this machine has no address of the destination's family at all, such as IPv6 in a container;
//!   [`distinct`] tells it from having no port left;
//! - `EAGAIN` on a Unix socket, whose listener's queue is full.

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};

/// What this machine has run out of, or does not permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// File descriptors of this process.
    ProcessFiles,
    /// Open files of the whole system.
    SystemFiles,
    /// Memory, or buffers for sockets.
    Memory,
    /// Local ports for connections to one destination.
    Ports,
    /// Leave to connect to one destination.
    Permission,
}

impl Shortage {
    /// What an error says that this machine lacked; `None` for one that says something about the other side.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        Some(match Errno::from_io_error(error)? {
            Errno::MFILE => Self::ProcessFiles,
            Errno::NFILE => Self::SystemFiles,
            // Registering a socket with the runtime fails with ENOSPC beyond `fs.epoll.max_user_watches`.
            Errno::NOMEM | Errno::NOBUFS | Errno::NOSPC => Self::Memory,
            Errno::ADDRNOTAVAIL => Self::Ports,
            Errno::ACCESS | Errno::PERM => Self::Permission,
            _ => return None,
        })
    }

    /// What this machine lacks right now, for errors that have lost their number on the way: the C library's resolver
    /// says "temporary failure" where it can open no socket.
    pub(crate) fn now() -> Option<Self> {
        Self::of(&rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None).err()?.into())
    }

    /// Whether a connection elsewhere may succeed all the same: ports are counted, and permissions given, for each
    /// destination.
    pub(crate) fn is_of_one_destination(self) -> bool {
        matches!(self, Self::Ports | Self::Permission)
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ProcessFiles => "this process may open no more files; raise its limit (`ulimit -n`, `LimitNOFILE=`)",
            Self::SystemFiles => "the system has no more open files; raise `fs.file-max`",
            Self::Memory => "the system has no memory for another socket",
            Self::Ports => {
                "no local port is left for this address; widen `net.ipv4.ip_local_port_range` or keep more connections"
            }
            Self::Permission => {
                "the system does not permit it to this process; see the owner and mode of the socket's file and of its \
                 directories, or the rules of the firewall and of SELinux or AppArmor"
            }
        })
    }
}

/// The error of a connection to `to`, so that [`Shortage::of`] tells a lack of ports from a lack of any address that
/// could be connected from, and a permission of this machine's from a refusal on the way: the kernel has one number for
/// both. A datagram socket takes the same way and needs none of the ports that connections do.
pub(crate) fn distinct(error: io::Error, to: SocketAddr) -> io::Error {
    match Errno::from_io_error(&error) {
        Some(Errno::ADDRNOTAVAIL) => {}
        Some(Errno::ACCESS) if to.ip().to_canonical().is_ipv6() => {
            let why = "administratively prohibited, by a firewall on the way or of this machine";
            return io::Error::new(io::ErrorKind::PermissionDenied, why);
        }
        _ => return error,
    }
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    match UdpSocket::bind(any).and_then(|socket| socket.connect(to)) {
        Err(other) if Shortage::of(&other).is_none_or(|shortage| shortage == Shortage::Ports) => {
            io::Error::new(io::ErrorKind::AddrNotAvailable, "this machine has no address to reach it from")
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_machine_lacks_is_told_from_what_an_endpoint_does() {
        for (errno, lacked) in [
            (Errno::MFILE, Some(Shortage::ProcessFiles)),
            (Errno::NFILE, Some(Shortage::SystemFiles)),
            (Errno::NOMEM, Some(Shortage::Memory)),
            (Errno::NOBUFS, Some(Shortage::Memory)),
            (Errno::ADDRNOTAVAIL, Some(Shortage::Ports)),
            (Errno::CONNREFUSED, None),
            (Errno::CONNRESET, None),
            (Errno::TIMEDOUT, None),
            (Errno::NETUNREACH, None),
            (Errno::HOSTUNREACH, None),
            (Errno::ACCESS, Some(Shortage::Permission)),
            (Errno::PERM, Some(Shortage::Permission)),
            (Errno::NOENT, None),
            (Errno::AGAIN, None),
        ] {
            assert_eq!(Shortage::of(&errno.into()), lacked, "{errno:?}");
        }
        assert_eq!(Shortage::of(&io::ErrorKind::TimedOut.into()), None, "an error of our own has no number");
        assert_eq!(Shortage::now(), None);
    }

    #[test]
    fn no_port_is_not_no_address() {
        let none: io::Error = Errno::ADDRNOTAVAIL.into();
        let there = distinct(none, "127.0.0.1:9".parse().unwrap());
        assert_eq!(Shortage::of(&there), Some(Shortage::Ports), "loopback can be reached");
        let refused = distinct(Errno::CONNREFUSED.into(), "127.0.0.1:9".parse().unwrap());
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn what_a_router_may_have_prohibited_is_not_put_down_to_this_machine() {
        for (errno, to, lacked) in [
            (Errno::ACCESS, "192.0.2.1:9", Some(Shortage::Permission)),
            (Errno::ACCESS, "[::ffff:192.0.2.1]:9", Some(Shortage::Permission)),
            (Errno::ACCESS, "[2001:db8::1]:9", None),
            (Errno::PERM, "[2001:db8::1]:9", Some(Shortage::Permission)),
        ] {
            assert_eq!(Shortage::of(&distinct(errno.into(), to.parse().unwrap())), lacked, "{errno:?} {to}");
        }
    }

    #[test]
    fn the_kernel_says_of_a_destination_that_is_not_permitted_what_is_ours() {
        let broadcast: SocketAddr = "255.255.255.255:9".parse().unwrap();
        // Not permitted without SO_BROADCAST, even to root.
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        let error = socket.connect(broadcast).unwrap_err();
        assert_eq!(Shortage::of(&distinct(error, broadcast)), Some(Shortage::Permission));
    }
}
