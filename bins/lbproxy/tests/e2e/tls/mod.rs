//! TLS towards clients.

mod cipher;
mod clients;
mod http;
mod names;
mod peers;
mod proxied;
mod renewal;
mod resumption;
mod shutdown;
mod start;
mod upstream;
mod websocket;

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use tempfile::TempDir;

use crate::support::{Authority, Issued, Proxy, config, wait_until};

/// A proxy with TLS, and its authority.
pub(crate) struct Secure {
    pub(crate) proxy: Proxy,
    pub(crate) authority: Authority,
    pub(crate) directory: TempDir,
    pub(crate) config: String,
}

impl Secure {
    /// A listener `web` for `a.test`. `rest` is what else the configuration has, `tls` further keys of `listener.tls`.
    #[track_caller]
    pub(crate) fn start(workers: usize, rest: &str, tls: &str) -> Self {
        let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
        authority.issue(&["a.test"]).write(directory.path(), "a");
        std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
        let config = secured(workers, rest, directory.path(), tls);
        Self { proxy: Proxy::start(&config), authority, directory, config }
    }

    /// A client that believes its authority.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        Arc::new(self.authority.client())
    }

    /// Waits until so many handshakes were counted under these labels. A client may know how its own ended first.
    #[track_caller]
    pub(crate) fn count_handshakes(&self, labels: &[&str], expected: f64) {
        wait_until("a count of handshakes", || self.proxy.metric("lbproxy_tls_handshakes_total", labels) == expected);
    }

    /// Puts another certificate in the place of the first.
    pub(crate) fn renew(&self, issued: &Issued) {
        issued.write(self.directory.path(), "a");
    }
}

/// A configuration whose listener `web` has TLS with `a.pem` and `a.key` of a directory; `DIR` in `tls` is that one.
pub(crate) fn secured(workers: usize, rest: &str, directory: &Path, tls: &str) -> String {
    let directory = directory.display().to_string();
    let mine = format!("tls.certificates = [{{ cert = \"{directory}/a.pem\", key = \"{directory}/a.key\" }}]\n");
    let mine = if tls.contains("tls.certificates") || tls.starts_with("tls = ") { String::new() } else { mine };
    config(workers, rest) + &mine + &tls.replace("DIR", &directory) + "\n"
}

/// A route to one endpoint.
pub(crate) fn to(at: &str, route: &str) -> String {
    format!("[[route]]\ncluster = \"app\"\n{route}\n[cluster.app]\nendpoints = [\"{at}\"]\n")
}
