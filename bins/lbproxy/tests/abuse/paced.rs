//! Attacks that consist of many short connections.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::answers::failed;
use crate::trial::Target;

/// Threads that attack: so many connections are open at once, at most.
pub(crate) const THREADS: u32 = 2;

/// Acts at a fixed rate, however the target fares, so that the machine has the same to do in control and attack. What
/// cannot be kept up with is left out.
pub(crate) fn paced(
    a_second: u32,
    act: impl Fn(SocketAddr) -> io::Result<String> + Sync,
) -> impl Fn(&Target<'_>) + Sync {
    move |target| {
        let pause = Duration::from_secs(1) * THREADS / a_second;
        target.begin();
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let mut due = Instant::now();
                    while !target.is_over() {
                        due = due.max(Instant::now()) + pause;
                        target.answers.note(act(target.at).unwrap_or_else(|error| failed(&error)));
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    }
                });
            }
        });
    }
}

/// Connects, sends this as far as it is taken, says that there is no more, and reads to the end, be it in order or not.
pub(crate) fn sent(at: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    // Whoever has seen enough may have closed.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut read = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => read.extend_from_slice(&piece[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
            Err(_) => break,
        }
    }
    // No port of ours is left in TIME_WAIT.
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    Ok(read)
}
