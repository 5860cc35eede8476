//! nginx as a child process with a configuration of the test's.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Ports, is_there};

/// A running nginx, its master and one worker; ended when dropped.
pub(crate) struct Nginx {
    master: Child,
    /// Where it may keep files, and where `DIR` of its configuration is.
    pub(crate) directory: TempDir,
}

/// Whether there is an nginx; see [`is_there`].
#[track_caller]
pub(crate) fn has_nginx() -> bool {
    is_there("nginx", "-v")
}

/// nginx's stream module where it is one of its own, which a package of its own brings.
#[track_caller]
pub(crate) fn stream_module() -> Option<PathBuf> {
    let found = Path::new("/usr/lib/nginx/modules/ngx_stream_module.so");
    if found.is_file() {
        return Some(found.to_owned());
    }
    let required = std::env::var_os("LBPROXY_REQUIRE_PEERS").is_some_and(|it| it == "1");
    assert!(!required, "nginx's stream module is not installed");
    // Not by a macro, whose output is captured in passing tests.
    let _ = std::io::Write::write_fmt(
        &mut std::io::stderr(),
        format_args!("skipped: nginx's stream module is not installed\n"),
    );
    None
}

impl Nginx {
    /// Starts with these blocks, in which `DIR` is a directory of its own that `prepare` may put files into, and `PORT0`
    /// and so on are addresses of `ports`; waits until it serves.
    #[track_caller]
    pub(crate) fn start(main: &str, http: &str, ports: &Ports, prepare: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        prepare(directory.path());
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary: String = temporary.map(|what| format!("  {what}_temp_path DIR/{what};\n")).concat();
        let mut configuration = format!(
            "{main}\ndaemon off;\nuser root;\nworker_processes 1;\npid DIR/pid;\nerror_log stderr notice;\nevents {{ worker_connections 8192; }}\n\
             http {{\n  access_log off;\n{temporary}{http}\n}}\n"
        );
        if !rustix::process::geteuid().is_root() {
            configuration = configuration.replace("user root;\n", "");
        }
        for number in (0..ports.count()).rev() {
            configuration = configuration.replace(&format!("PORT{number}"), &ports.at(number).to_string());
        }
        let configuration = configuration.replace("DIR", &directory.path().display().to_string());
        let file = directory.path().join("nginx.conf");
        std::fs::write(&file, &configuration).expect("a file");
        let mut command = Command::new("nginx");
        command.args(["-e", "stderr", "-p"]).arg(directory.path()).arg("-c").arg(&file);
        let mut master =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it was there");
        let mut log = BufReader::new(master.stderr.take().expect("piped"));
        let mut said = String::new();
        // It says so once it listens and has told its worker to begin.
        while !said.contains("start worker process ") {
            if log.read_line(&mut said).is_ok_and(|read| read == 0) {
                panic!("nginx did not start: {said}\n{configuration}");
            }
        }
        // It may not be kept from writing more.
        std::thread::spawn(move || io::copy(&mut log, &mut io::sink()));
        Self { master, directory }
    }

    /// Sends its master a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.master.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, signal).expect("it runs");
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Killed, it would leave its worker.
        self.signal(Signal::TERM);
        let _ = self.master.wait();
    }
}
