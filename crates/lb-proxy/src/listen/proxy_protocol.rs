//! Proxied: a connection that begins with a PROXY header, and whose client that header names.
//!
//! It comes before everything else, TLS included, so nothing behind it may be read here: what comes is looked at first, and
//! of it only the header is taken out of the socket.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lb_config::ListenAddress;
use rustix::net::RecvFlags;
use tokio::io::Interest;

use crate::net::Stream;
use crate::runtime::snapshot::{ListenerRuntime, Snapshot};
use crate::wire::proxy_protocol::{self, MAX_BYTES, ProxyHeader};
use crate::worker::shared::{Refusal, Shared};
use crate::worker::shutdown::Shutdown;

/// How long a shutdown waits for a header, as it waits for the first request.
const GRACE: Duration = Duration::from_secs(1);

/// Whether a connection of this peer begins with a header. Who may open a Unix socket may also name its client.
pub(crate) fn is_expected(listener: &ListenerRuntime, peer: Option<SocketAddr>) -> bool {
    let Some(networks) = &listener.proxied else { return false };
    peer.is_none_or(|peer| networks.contains(peer.ip()))
}

/// Takes the header off; who the client is. `None` if there is none, or it did not come in time.
pub(crate) async fn identify(
    mut stream: Stream,
    address: &ListenAddress,
    snapshot: &Snapshot,
    shared: &Arc<Shared>,
    stop: &Shutdown,
) -> Option<(Stream, Option<SocketAddr>)> {
    let peer = stream.peer_addr();
    let limit = snapshot.config.limits.head_timeout;
    let hurried = async {
        stop.triggered().await;
        tokio::time::sleep(GRACE).await;
    };
    let why = tokio::select! {
        biased;
        said = take(&mut stream) => match said {
            Ok(ProxyHeader::Client { from, .. }) => return Some((stream, Some(from))),
            Ok(ProxyHeader::Nothing) => return Some((stream, peer)),
            Err(Failure::Gone) => return None,
            Err(Failure::Wrong(error)) => error.to_string(),
        },
        () = tokio::time::sleep(limit) => format!("no PROXY header within {limit:?}"),
        () = hurried => return None,
    };
    shared.on_refused(address, snapshot, &Refusal::Unproxied { peer, why });
    None
}

/// Why there is no header.
enum Failure {
    /// The other side has closed. Checks that only connect do so.
    Gone,
    Wrong(proxy_protocol::Error),
}

/// Takes the header, and nothing else, out of the socket.
async fn take(stream: &mut Stream) -> Result<ProxyHeader, Failure> {
    let mut taken = Vec::new();
    loop {
        poll_fn(|cx| stream.poll_readable(cx)).await.map_err(|_| Failure::Gone)?;
        let had = taken.len();
        let mut room = [0; MAX_BYTES];
        let seen = match look(stream, &mut room) {
            Ok(0) => return Err(Failure::Gone),
            Ok(seen) => seen,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => return Err(Failure::Gone),
        };
        taken.extend_from_slice(room.get(..seen).unwrap_or_default());
        let (header, length) = match proxy_protocol::parse(&taken).map_err(Failure::Wrong)? {
            Some((header, length)) => (Some(header), length),
            // All of it belongs to the header.
            None => (None, had + seen),
        };
        taken.truncate(length);
        // What was seen is there; a header that ends within what was taken before would have been found then.
        let Some(new) = taken.get_mut(had..) else { return Err(Failure::Wrong(proxy_protocol::Error::Malformed)) };
        match try_read(stream, new) {
            Ok(n) if n == new.len() => {}
            _ => return Err(Failure::Gone),
        }
        if let Some(header) = header {
            return Ok(header);
        }
    }
}

/// Reads what waits in the socket, without taking it.
fn look(stream: &Stream, room: &mut [u8]) -> io::Result<usize> {
    let seen = match stream {
        Stream::Tcp(stream) => {
            stream.try_io(Interest::READABLE, || Ok(rustix::net::recv(stream, room, RecvFlags::PEEK)?))
        }
        Stream::Unix(stream) => {
            stream.try_io(Interest::READABLE, || Ok(rustix::net::recv(stream, room, RecvFlags::PEEK)?))
        }
        // The header comes before TLS.
        Stream::Tls(_) => return Err(io::ErrorKind::Unsupported.into()),
    };
    seen.map(|(_, seen)| seen)
}

fn try_read(stream: &Stream, buffer: &mut [u8]) -> io::Result<usize> {
    match stream {
        Stream::Tcp(stream) => stream.try_read(buffer),
        Stream::Unix(stream) => stream.try_read(buffer),
        Stream::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}
