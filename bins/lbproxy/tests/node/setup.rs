//! Node, its packages, and the applications in `tests/node`, made ready once.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use super::program::Program;

/// Where the applications are and their packages are installed.
pub(crate) struct Node {
    directory: PathBuf,
}

/// One instance of an application, whose port stays its own when it is stopped and started again.
pub(crate) struct Instance {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    name: &'static str,
    file: &'static str,
    program: Option<Program>,
}

/// Node with the packages of `tests/node/package-lock.json`, or `None`, after saying why, where it cannot be had.
///
/// # Panics
/// It cannot be had and `LBPROXY_REQUIRE_PEERS=1` says that it must.
#[track_caller]
pub(crate) fn node() -> Option<&'static Node> {
    static NODE: LazyLock<Result<Node, String>> = LazyLock::new(|| {
        for program in ["node", "npm"] {
            let found = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
            if !found {
                return Err(format!("{program} is not installed"));
            }
        }
        install().map_err(|error| format!("the packages cannot be installed: {error}"))
    });
    match &*NODE {
        Ok(node) => Some(node),
        Err(why) if std::env::var_os("LBPROXY_REQUIRE_PEERS").is_some_and(|it| it == "1") => panic!("{why}"),
        Err(why) => {
            // Not by a macro, whose output is captured in passing tests.
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("skipped: {why}\n"));
            None
        }
    }
}

/// Copies the applications beside their packages, which are installed unless the lock file is the one they came by.
fn install() -> io::Result<Node> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node");
    fs::create_dir_all(&directory)?;
    // Other test processes may be here at the same time; the lock ends with the file.
    let turn = File::create(directory.join("turn"))?;
    turn.lock()?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node");
    for entry in fs::read_dir(&source)? {
        let from = entry?.path();
        let to = directory.join(from.file_name().expect("it is in a directory"));
        let text = fs::read(&from)?;
        // A file that another process runs at the moment stays as it is.
        if fs::read(&to).ok().as_ref() != Some(&text) {
            fs::write(&to, text)?;
        }
    }
    let lock = fs::read(source.join("package-lock.json"))?;
    let installed = directory.join("installed.json");
    if fs::read(&installed).ok().as_ref() != Some(&lock) {
        let npm = Command::new("npm").args(["ci", "--ignore-scripts"]).current_dir(&directory).output()?;
        if !npm.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&npm.stderr).into_owned()));
        }
        fs::write(&installed, lock)?;
    }
    Ok(Node { directory })
}

impl Node {
    /// A program of `tests/node`.
    pub(crate) fn program(&self, file: &str) -> Command {
        let mut command = Command::new("node");
        // The report that needs no terminal, in every version of Node.
        command
            .arg("--test-reporter=tap")
            .arg(self.directory.join(file))
            .env_remove("NODE_OPTIONS")
            .env_remove("NODE_ENV");
        command
    }

    /// Three instances of an application: a, b and c.
    pub(crate) fn three(&self, file: &'static str) -> [Instance; 3] {
        [("a", 2), ("b", 3), ("c", 4)].map(|(name, last)| {
            // On an address of its own nobody else is given its port while it is stopped.
            let host = if cfg!(target_os = "linux") { [127, 0, 0, last] } else { [127, 0, 0, 1] };
            let mut instance = Instance { address: SocketAddr::from((host, 0)), name, file, program: None };
            instance.start(self);
            instance
        })
    }
}

impl Instance {
    /// Starts it, where it was if it ran before.
    #[track_caller]
    pub(crate) fn start(&mut self, node: &Node) {
        self.start_with(node, "", "");
    }

    /// Starts it with a variable of the environment.
    #[track_caller]
    pub(crate) fn start_with(&mut self, node: &Node, variable: &str, value: &str) {
        let mut command = node.program(self.file);
        command.args([self.name, &self.address.ip().to_string(), &self.address.port().to_string()]);
        if !variable.is_empty() {
            command.env(variable, value);
        }
        let mut program = Program::start(&mut command);
        self.address = program.wait_for("listening", |line| line.strip_prefix("listening ")?.parse().ok());
        self.program = Some(program);
    }

    /// Kills it, as a crash would.
    pub(crate) fn stop(&mut self) {
        self.program = None;
    }

    /// Its name.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }
}

/// The proxy with this configuration, which has one listener, and its URL.
#[track_caller]
pub(crate) fn proxy(name: &str, config: &str) -> (Program, String) {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.toml", std::process::id()));
    fs::write(&file, config).expect("cargo gave us the directory");
    let mut program =
        Program::start(Command::new(env!("CARGO_BIN_EXE_lbproxy")).arg("run").arg(&file).env_remove("RUST_LOG"));
    let url = program.wait_for("listening on", |line| {
        let (_, rest) = line.split_once("listening on ")?;
        Some(format!("http://{}", rest.split(' ').next()?))
    });
    program.wait_line("ready generation=1");
    let _ = fs::remove_file(file);
    (program, url)
}
