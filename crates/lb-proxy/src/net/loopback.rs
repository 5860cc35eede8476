//! Connections that never leave the machine.
//!
//! Congestion control measures a path and paces what is sent on it. The loopback interface has neither a bottleneck nor a
//! queue to spare, and an algorithm that models them (BBR, which many set for the whole machine) costs there what it
//! saves elsewhere: some four per cent of a small request's whole processing. Reno does the least, and every kernel has it.

use std::net::SocketAddr;

use socket2::SockRef;

/// Spares a socket the machine's congestion control if what it sends stays on the machine. Only before it is connected:
/// a connection that was BBR's once goes on being paced, which costs more than is gained.
pub(crate) fn spare_congestion_control(socket: &SockRef<'_>, address: &SocketAddr) {
    if address.ip().to_canonical().is_loopback() {
        // Where it cannot be had, all that is lost is time.
        let _ = socket.set_tcp_congestion(b"reno");
    }
}
