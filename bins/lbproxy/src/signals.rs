//! The signals we listen to.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Requests to the process by signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// SIGTERM or SIGINT: finish what runs and end.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: open the log files again.
    ReopenLogs,
    /// SIGUSR2: hand over to a new binary, as nginx does. By default it would end the process.
    Upgrade,
}

/// The orders, as they come. Several of one kind that come while one is carried out are one.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Option<Signal>,
    user_1: Signal,
    user_2: Signal,
}

impl Signals {
    /// From now on these signals no longer end the process by themselves. Must be called inside a runtime.
    ///
    /// Where nothing `can_reload`, SIGHUP stays what it is elsewhere: the terminal has gone, and so does the process,
    /// unless it was started with `nohup`.
    ///
    /// # Errors
    /// The system refuses the handlers.
    pub(crate) fn new(can_reload: bool) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: can_reload.then(|| signal(SignalKind::hangup())).transpose()?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next order. Cancelling it loses none.
    pub(crate) async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.terminate.recv() => Order::Stop,
            _ = self.interrupt.recv() => Order::Stop,
            () = recv(self.hang_up.as_mut()) => Order::Reload,
            _ = self.user_1.recv() => Order::ReopenLogs,
            _ = self.user_2.recv() => Order::Upgrade,
        }
    }

    /// Waits for an order to stop; others are of no use any more.
    pub(crate) async fn stop(&mut self) {
        while self.next().await != Order::Stop {}
    }
}

/// The next signal; none ever comes of what is not listened to.
async fn recv(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}
