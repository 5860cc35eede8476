//! What the kernel queues on a connection beyond what is on its way.
//!
//! Left alone, it takes megabytes from us for a peer that does not read, and because we are rid of them so fast, its
//! window towards the other side grows as well: one slow reader of a large answer held 3 MiB of the kernel's memory. A few
//! hundred of them exhaust what it has for TCP as a whole, and then every connection of the machine suffers. So what
//! waits and was not sent yet is limited. What is on its way is not: it has as much room as the path needs.

use socket2::SockRef;

/// Octets. The kernel asks for more when half of it is left: 64 KiB last 5 ms at 100 Mbit/s and 0.5 ms at 1 Gbit/s, in
/// which a worker comes round.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 * 1024;

/// Limits it, where the system can. Connections inherit it from their listener.
pub(crate) fn limit_unsent(socket: &SockRef<'_>) {
    // A system that cannot, which includes Linux as some sandboxes imitate it, does without.
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_notsent_lowat(UNSENT);
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_connection_inherits_it_from_its_listener() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        limit_unsent(&SockRef::from(&listener));
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(SockRef::from(&accepted).tcp_notsent_lowat().unwrap(), UNSENT);
    }
}
