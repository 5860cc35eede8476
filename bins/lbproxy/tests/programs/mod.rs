//! Programs of the distribution that scenarios run beside the proxy, and the ports they listen on.

mod haproxy;
mod nginx;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::{Command, Stdio};

use socket2::{Domain, Socket, Type};

pub(crate) use haproxy::{Haproxy, has_haproxy};
pub(crate) use nginx::{Nginx, has_nginx, stream_module};

/// Whether there is such a program; where not, says so, or fails where it must be there.
#[track_caller]
pub(crate) fn is_there(program: &str, version: &str) -> bool {
    let mut command = Command::new(program);
    let command = command.arg(version).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if command.status().is_ok_and(|status| status.success()) {
        return true;
    }
    let required = std::env::var_os("LBPROXY_REQUIRE_PEERS").is_some_and(|it| it == "1");
    assert!(!required, "{program} is not installed");
    // Not by a macro, whose output is captured in passing tests.
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("skipped: {program} is not installed\n"));
    false
}

/// Ports that are ours: bound and not listening, so that nobody else is given them. nginx and HAProxy set `SO_REUSEADDR`
/// as well, and so may listen there.
pub(crate) struct Ports {
    sockets: Vec<Socket>,
}

impl Ports {
    /// So many of them.
    pub(crate) fn new(count: usize) -> Self {
        Self { sockets: (0..count).map(|_| bound()).collect() }
    }

    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.sockets.len()
    }

    /// The address that `PORT0`, `PORT1`, … of a configuration stand for.
    #[track_caller]
    pub(crate) fn at(&self, number: usize) -> SocketAddr {
        self.sockets[number].local_addr().ok().and_then(|address| address.as_socket()).expect("a bound socket")
    }
}

fn bound() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("a socket");
    socket.bind(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
    socket
}
