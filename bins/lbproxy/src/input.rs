//! Which configuration is read: a file that was named, the first one found where files usually are, or standard input.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use lb_config::{Config, Diagnostics, Disk, Files, Loaded};

use crate::args::{FIRST_FILE, File};
use crate::complain;
use crate::exit::Exit;

/// Where a file is looked for that was not named, in this order.
const USUAL: [&str; 2] = [FIRST_FILE, "/etc/lbproxy/lbproxy.toml"];

/// What standard input is called in messages.
const STDIN: &str = "<stdin>";

/// Where a configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    File(PathBuf),
    /// Once: a reload has nothing to read again.
    Stdin,
}

impl Input {
    /// Calls `then` with what was named or found.
    pub(crate) fn found(named: File, then: impl FnOnce(&Self) -> Exit) -> Exit {
        let input = match named.named() {
            Some(path) if path == Path::new("-") => Self::Stdin,
            Some(path) => Self::File(path),
            None => match USUAL.into_iter().map(Path::new).find(|path| path.exists()) {
                Some(path) => Self::File(path.to_owned()),
                None => {
                    let [here, there] = USUAL;
                    complain(&format!(
                        "error: no file was named, and there is neither ./{here} nor {there}\n\
                         \x20= help: `lbproxy init` writes a first one; see `lbproxy run --help`\n"
                    ));
                    return Exit::Usage;
                }
            },
        };
        then(&input)
    }

    /// The file to read again on a reload.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Stdin => None,
        }
    }

    /// Reads it, and what it includes; files that standard input names are relative to the current directory.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn load(&self) -> Result<Loaded, Diagnostics> {
        match self {
            Self::File(path) => Config::load(path),
            Self::Stdin => Config::load_with(STDIN, &|name| std::env::var(name).ok(), &WithStdin),
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Stdin => f.write_str(STDIN),
        }
    }
}

/// The file system, and standard input by its name.
struct WithStdin;

impl Files for WithStdin {
    fn read(&self, path: &Path) -> io::Result<String> {
        if path == Path::new(STDIN) { lb_config::read_text(io::stdin().lock()) } else { Disk.read(path) }
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        Disk.list(directory)
    }

    fn identity(&self, path: &Path) -> PathBuf {
        Disk.identity(path)
    }
}
