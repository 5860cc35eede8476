//! Ports that connections have left behind.

use std::net::SocketAddr;

/// TIME_WAIT, as the kernel's table of sockets has it.
const TIME_WAIT: &str = "06";

/// Ports of connections to this IPv4 address that are closed and not free yet, since the connecting side closed first. None
/// where the kernel does not say. A port that was another scenario's a moment ago may begin with some.
pub(crate) fn left_waiting(to: SocketAddr) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let port = format!(":{:04X}", to.port());
    let is_left = |line: &&str| {
        let mut columns = line.split_whitespace().skip(2);
        columns.next().is_some_and(|remote| remote.ends_with(&port)) && columns.next() == Some(TIME_WAIT)
    };
    table.lines().skip(1).filter(is_left).count()
}
