//! Binding: one port, a socket for each worker.
//!
//! Workers share a port by `SO_REUSEPORT`, which would also let a second lbproxy bind it unnoticed and take half of the
//! traffic. So the address is first bound without it: if another process has the address, that is an error.

use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use lb_config::ListenAddress;
use socket2::{Domain, Protocol, SockRef, Type};

use super::socket::{self, Socket};

/// Binds `address` once for each worker; returns what was bound, with the port that the kernel chose for port 0.
pub(crate) fn bind(
    address: &ListenAddress,
    workers: usize,
    backlog: Option<NonZeroU32>,
    mode: Option<u32>,
) -> io::Result<(ListenAddress, Vec<Socket>)> {
    let backlog = socket::backlog(backlog);
    match address {
        ListenAddress::Tcp(address) => bind_tcp(*address, workers, backlog),
        ListenAddress::Unix(path) => Ok((address.clone(), bind_unix(path, workers, backlog, mode)?)),
    }
}

fn bind_tcp(address: SocketAddr, workers: usize, backlog: i32) -> io::Result<(ListenAddress, Vec<Socket>)> {
    let probe = tcp_socket(address, false)?;
    let address = probe.local_addr()?.as_socket().unwrap_or(address);
    drop(probe);
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = tcp_socket(address, true)?;
        socket.listen(backlog)?;
        sockets.push(Socket::Tcp(socket.into()));
    }
    Ok((ListenAddress::Tcp(address), sockets))
}

fn tcp_socket(address: SocketAddr, share: bool) -> io::Result<socket2::Socket> {
    let socket =
        socket2::Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if share {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        // What is bound is what is written: `[::]:80` and `0.0.0.0:80` are two listeners (nginx: `ipv6only=on`).
        socket.set_only_v6(true)?;
    }
    if share {
        // Connections inherit all of it, at no cost of their own. Heads and small bodies leave in one write; waiting for
        // more would only add delay.
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_keepalive(&super::keep_alive())?;
        super::limit_unsent(&SockRef::from(&socket));
    }
    socket.bind(&address.into())?;
    if !share {
        // Two sockets with SO_REUSEADDR may share a bound address until one of them listens.
        socket.listen(1)?;
    }
    Ok(socket)
}

fn bind_unix(path: &Path, workers: usize, backlog: i32, mode: Option<u32>) -> io::Result<Vec<Socket>> {
    remove_stale_socket(path)?;
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    // No client can connect before it listens, so none can use the umask's permissions.
    set_mode(path, mode)?;
    socket.listen(backlog)?;
    let first = Socket::Unix(socket.into());
    let mut sockets = Vec::with_capacity(workers);
    for _ in 1..workers {
        sockets.push(first.try_clone()?);
    }
    sockets.push(first);
    Ok(sockets)
}

/// Gives a socket's file these permissions; none leaves what it has.
pub(crate) fn set_mode(path: &Path, mode: Option<u32>) -> io::Result<()> {
    mode.map_or(Ok(()), |mode| std::fs::set_permissions(path, Permissions::from_mode(mode)))
}

/// A socket file that refuses connections is left over from a dead process; one that accepts them is in use.
fn remove_stale_socket(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => Err(io::Error::from(io::ErrorKind::AddrInUse)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
            Err(error) => Err(error),
        },
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is not a socket is in the way")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback() -> ListenAddress {
        ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    fn tcp(socket: &Socket) -> &std::net::TcpListener {
        let Socket::Tcp(socket) = socket else { panic!("tcp") };
        socket
    }

    #[test]
    fn workers_share_one_port_and_a_stranger_is_refused() {
        let (address, sockets) = bind(&loopback(), 4, None, None).unwrap();
        assert_eq!(sockets.len(), 4);
        assert!(sockets.iter().all(|socket| ListenAddress::Tcp(tcp(socket).local_addr().unwrap()) == address));
        let error = bind(&address, 2, None, None).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(sockets);
        bind(&address, 1, None, None).unwrap();
    }

    #[test]
    fn connections_inherit_what_their_listener_has() {
        let (_, sockets) = bind(&loopback(), 1, None, None).unwrap();
        let _client = std::net::TcpStream::connect(tcp(&sockets[0]).local_addr().unwrap()).unwrap();
        // Non-blocking, but the loopback interface has the connection in the queue before `connect` returns.
        let (connection, _) = tcp(&sockets[0]).accept().unwrap();
        assert!(connection.nodelay().unwrap());
        let socket = socket2::SockRef::from(&connection);
        assert!(socket.keepalive().unwrap());
        let machine = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap();
        assert!(socket.tcp_congestion().unwrap().starts_with(machine.trim().as_bytes()));
    }

    #[test]
    fn a_socket_file_left_behind_is_replaced_and_a_live_one_is_not() {
        let dir = std::env::temp_dir().join(format!("lbproxy-bind-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("a.sock");
        let address = ListenAddress::Unix(path.clone());
        let live = bind(&address, 2, None, None).unwrap();
        assert_eq!(bind(&address, 1, None, None).err().unwrap().kind(), io::ErrorKind::AddrInUse);
        drop(live);
        drop(bind(&address, 1, None, None).unwrap());
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "data").unwrap();
        assert_eq!(bind(&address, 1, None, None).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn accepted_connections_are_probed_when_nothing_moves() {
        let (_, sockets) = bind(&loopback(), 1, None, None).unwrap();
        let _client = std::net::TcpStream::connect(tcp(&sockets[0]).local_addr().unwrap()).unwrap();
        let (stream, _) = tcp(&sockets[0]).accept().unwrap();
        let socket = socket2::SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap().as_secs(), 60);
        assert_eq!(
            (socket.tcp_keepalive_interval().unwrap().as_secs(), socket.tcp_keepalive_retries().unwrap()),
            (15, 4)
        );
    }

    #[test]
    fn a_unix_socket_has_the_permissions_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let address = ListenAddress::Unix(path.clone());
        for mode in [0o600, 0o666] {
            let _bound = bind(&address, 2, None, Some(mode)).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        }
    }
}
