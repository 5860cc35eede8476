//! `lbproxy init`: a first configuration file.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use crate::exit::Exit;
use crate::{complain, say};

/// Small enough to be read whole, and valid as it stands.
const FIRST: &str = r#"# A configuration of lbproxy. `lbproxy check` validates it, `lbproxy print` shows every default,
# and docs/configuration.md explains every key.

[admin]
address = "127.0.0.1:9900"            # /healthz, /status and /metrics, for this machine

[[listener]]
address = "0.0.0.0:8080"
# tls   = { cert = "fullchain.pem", key = "privkey.pem" }

# Requests take the most specific route, wherever it stands. This one takes any host and path.
[[route]]
cluster = "app"
# hosts = ["example.com", "*.example.com"]
# path  = "/api/"

[cluster.app]
endpoints = ["127.0.0.1:3000", "127.0.0.1:3001"]
policy    = "least_request"
# health.active = { path = "/healthz" } # asks every endpoint, and leaves out those that fail
"#;

/// Writes it, unless there is something.
pub(crate) fn init(file: &Path) -> Exit {
    if file == Path::new("-") {
        return say(FIRST);
    }
    let written = OpenOptions::new().write(true).create_new(true).open(file).and_then(|mut new| {
        new.write_all(FIRST.as_bytes())?;
        new.sync_all()
    });
    let name = file.display();
    match written {
        Ok(()) => say(&format!(
            "{name}: written. Put your endpoints into it, then:\n  lbproxy check {name}\n  lbproxy run {name}\n"
        )),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            complain(&format!("error: {name} is there already, and was not changed\n"));
            Exit::Start
        }
        Err(error) => {
            complain(&format!("error: cannot write {name}: {error}\n"));
            Exit::Start
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_file_is_valid_and_so_is_what_is_commented_out() {
        for text in [
            FIRST.to_owned(),
            FIRST
                .replace("# tls ", "tls ")
                .replace("# hosts", "hosts")
                .replace("# path", "path")
                .replace("# health", "health"),
        ] {
            let loaded = lb_config::Config::parse(&text, &|_| None).unwrap_or_else(|wrong| panic!("{wrong}"));
            assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
        }
    }
}
