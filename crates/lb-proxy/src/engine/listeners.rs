//! Sockets of listeners, from their binding to the worker that accepts on them.

use std::collections::HashMap;

use lb_config::{Config, ListenAddress, Listener};

use crate::error::EngineError;
use crate::net::bind;
use crate::net::socket::Socket;

/// Listeners that are bound and do not serve yet. What comes to nothing leaves no socket files behind.
pub(super) struct NewListeners {
    /// Each as configured, as bound, and a socket for each worker.
    pub(super) listeners: Vec<(ListenAddress, ListenAddress, Vec<Socket>)>,
}

impl NewListeners {
    pub(super) fn bind<'a>(listeners: impl Iterator<Item = &'a Listener>, workers: usize) -> Result<Self, EngineError> {
        let mut new = Self { listeners: Vec::new() };
        for listener in listeners {
            let (actual, sockets) = bind_listener(listener, workers)?;
            new.listeners.push((listener.address.clone(), actual, sockets));
        }
        Ok(new)
    }
}

impl Drop for NewListeners {
    fn drop(&mut self) {
        for (address, _, _) in &self.listeners {
            remove_socket_file(address);
        }
    }
}

/// Where `redirect = "https"` sends clients: to 443 if a listener with TLS has it, or none has TLS, in which case
/// something in front does; else to the first one's port, as bound.
pub(super) fn https_port(
    config: &Config,
    bound: &HashMap<ListenAddress, ListenAddress>,
    bound_now: &NewListeners,
) -> u16 {
    let port = |listener: &Listener| {
        let mut new = bound_now.listeners.iter();
        let new = new.find(|(address, _, _)| *address == listener.address).map(|(_, actual, _)| actual);
        match new.or_else(|| bound.get(&listener.address)).unwrap_or(&listener.address) {
            ListenAddress::Tcp(address) => Some(address.port()),
            ListenAddress::Unix(_) => None,
        }
    };
    let ports: Vec<u16> = config.listeners.iter().filter(|listener| listener.tls.is_some()).filter_map(port).collect();
    match ports.first() {
        Some(&first) if !ports.contains(&443) => first,
        _ => 443,
    }
}

fn bind_listener(listener: &Listener, workers: usize) -> Result<(ListenAddress, Vec<Socket>), EngineError> {
    let bound = bind::bind(&listener.address, workers, listener.backlog, listener.mode);
    bound.map_err(|source| EngineError::Bind { address: crate::show(&listener.address), source })
}

pub(super) fn remove_socket_file(address: &ListenAddress) {
    if let ListenAddress::Unix(path) = address {
        // It may be gone already; the next start replaces a stale one anyway.
        let _ = std::fs::remove_file(path);
    }
}
