//! Probes of connections on which nothing moves, on both sides of the proxy.
//!
//! A tunnel or an event stream may rest for an hour, and a peer that lost its power or its network says nothing. The system's own
//! default finds that out after two hours. Every idle minute we ask, and after four questions without an answer, 15 s apart, the
//! connection is gone: two minutes. It keeps the entries of stateful firewalls alive as well.
//!
//! Buffer sizes are left to the kernel, which tunes them per connection unless they are set; see
//! [`limit_unsent`](super::limit_unsent) for what waits in them.

use std::time::Duration;

use socket2::TcpKeepalive;

/// The probes.
pub(crate) fn keep_alive() -> TcpKeepalive {
    const IDLE: Duration = Duration::from_secs(60);
    const INTERVAL: Duration = Duration::from_secs(15);
    const PROBES: u32 = 4;
    TcpKeepalive::new().with_time(IDLE).with_interval(INTERVAL).with_retries(PROBES)
}
