//! HAProxy as a child process with a configuration of the test's.

use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{Ports, is_there};
use crate::support::wait_until;

/// Whether there is a HAProxy; see [`is_there`].
#[track_caller]
pub(crate) fn has_haproxy() -> bool {
    is_there("haproxy", "-v")
}

/// A running HAProxy; killed when dropped.
pub(crate) struct Haproxy {
    child: Child,
    _directory: TempDir,
}

impl Haproxy {
    /// Starts with these sections, in which `PORT0` and so on are addresses of `ports`; waits until it serves.
    #[track_caller]
    pub(crate) fn start(sections: &str, ports: &Ports) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut configuration = format!(
            "global\n  nbthread 1\n  maxconn 500\n  tune.ssl.default-dh-param 2048\ndefaults\n  timeout connect 10s\n  \
             timeout client 30s\n  timeout server 30s\n{sections}\n"
        );
        for number in 0..ports.count() {
            configuration = configuration.replace(&format!("PORT{number}"), &ports.at(number).to_string());
        }
        let file = directory.path().join("haproxy.cfg");
        fs::write(&file, &configuration).expect("a file");
        let log = fs::File::create(directory.path().join("log")).expect("a file");
        let mut command = Command::new("haproxy");
        let command = command.args(["-db", "-f"]).arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut child = command.spawn().expect("it was there");
        wait_until("HAProxy to listen", || {
            if child.try_wait().expect("our child").is_some() {
                let said = fs::read_to_string(directory.path().join("log")).unwrap_or_default();
                panic!("HAProxy did not start: {said}\n{configuration}");
            }
            (0..ports.count()).all(|number| TcpStream::connect(ports.at(number)).is_ok())
        });
        Self { child, _directory: directory }
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
