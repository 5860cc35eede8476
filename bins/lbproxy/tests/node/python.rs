//! Python with the packages of a `requirements.txt`, in an environment of its own, made ready once.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use super::PYTHON_PROGRAMS;

/// Where the programs are and their packages are installed.
pub(crate) struct Python {
    environment: PathBuf,
}

/// Python, or `None`, after saying why, where it or its packages cannot be had.
///
/// # Panics
/// It cannot be had and `LBPROXY_REQUIRE_PEERS=1` says that it must.
#[track_caller]
pub(crate) fn python() -> Option<&'static Python> {
    static PYTHON: LazyLock<Result<Python, String>> =
        LazyLock::new(|| install().map_err(|error| format!("Python's packages cannot be installed: {error}")));
    match &*PYTHON {
        Ok(python) => Some(python),
        Err(why) if std::env::var_os("LBPROXY_REQUIRE_PEERS").is_some_and(|it| it == "1") => panic!("{why}"),
        Err(why) => {
            // Not by a macro, whose output is captured in passing tests.
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("skipped: {why}\n"));
            None
        }
    }
}

/// Makes the environment, unless it was made from these requirements.
fn install() -> io::Result<Python> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // Other test processes may be here at the same time; the lock ends with the file.
    let turn = File::create(directory.join("python-turn"))?;
    turn.lock()?;
    let requirements = programs().join("requirements.txt");
    let wanted = fs::read(&requirements)?;
    let environment = directory.join("python").join(PYTHON_PROGRAMS);
    let installed = environment.join("installed.txt");
    if fs::read(&installed).ok().as_ref() != Some(&wanted) {
        succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
        let mut pip = Command::new(environment.join("bin/python"));
        succeed(pip.args(["-m", "pip", "install", "--quiet", "--only-binary=:all:", "-r"]).arg(&requirements))?;
        fs::write(&installed, wanted)?;
    }
    Ok(Python { environment })
}

/// The directory of the programs and their requirements.
fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(PYTHON_PROGRAMS)
}

fn succeed(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(io::Error::other(String::from_utf8_lossy(&said).into_owned()))
}

impl Python {
    /// One of the programs.
    pub(crate) fn program(&self, file: &str) -> Command {
        let mut command = Command::new(self.environment.join("bin/python"));
        command.arg(programs().join(file)).env("PYTHONUNBUFFERED", "1");
        // Nobody's proxies are between us and our client.
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(name);
        }
        command
    }
}
