//! `lbproxy run FILE`.

use std::io::{self, Write};
use std::path::Path;

use lb_config::Config;

use crate::exit::Exit;
use crate::serve::serve;

/// Serves as `file` says.
pub(crate) fn run(file: &Path) -> Exit {
    match Config::load(file) {
        Ok(loaded) => {
            if !loaded.warnings.is_empty() {
                // Whoever closed stderr does not want to know.
                let _ = writeln!(io::stderr(), "{}", loaded.warnings);
            }
            serve(loaded.config, Some(file))
        }
        Err(diagnostics) => {
            let _ = writeln!(io::stderr(), "{diagnostics}");
            Exit::Config
        }
    }
}
