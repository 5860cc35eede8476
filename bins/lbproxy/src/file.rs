//! What is done with a configuration file: run, check, print.

use lb_config::{Config, Diagnostic, Diagnostics, Loaded, Severity};
use lb_proxy::tls::Finding;

use crate::exit::Exit;
use crate::input::Input;
use crate::{complain, paint, say, serve};

/// Runs the proxy with the file. Its warnings go to the log, which may be JSON.
pub(crate) fn run(input: &Input) -> Exit {
    match load(input) {
        Ok(loaded) => serve::serve(loaded, Some(input)),
        Err(_) => Exit::Config,
    }
}

/// Reports every problem of the file, or how much is in it.
pub(crate) fn check(name: &Input) -> Exit {
    let loaded = match load(name) {
        Ok(loaded) => loaded,
        Err(found) => {
            complain(&format!("{name}: not valid, {}\n", found.summary()));
            return Exit::Config;
        }
    };
    paint::show(&loaded.warnings);
    let mut findings = lb_proxy::tls::inspect(&loaded.config);
    let users = lb_proxy::auth::inspect(&loaded.config);
    findings.extend(users.into_iter().map(|it| Finding {
        severity: Severity::Error,
        message: it.message,
        file: it.file,
    }));
    for Finding { severity, message, file } in &findings {
        paint::show_one(&Diagnostic::about_file(*severity, message.clone(), file, &loaded.sources));
    }
    let pages = lb_proxy::inspect_pages(&loaded.config);
    for error in &pages {
        let message = error.to_string();
        paint::show_one(&Diagnostic::about_file(Severity::Error, message, &error.file, &loaded.sources));
    }
    let mut found = found(&loaded.warnings);
    found.errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    found.warnings += findings.len() - found.errors;
    found.errors += pages.len();
    if found.errors > 0 {
        complain(&format!("{name}: not valid, {}\n", found.summary()));
        return Exit::Config;
    }
    let Config { listeners, routes, clusters, .. } = &loaded.config;
    let inside = [
        count(listeners.len(), "listener", "listeners"),
        count(routes.len(), "route", "routes"),
        count(clusters.len(), "cluster", "clusters"),
    ]
    .join(", ");
    match found.warnings {
        0 => say(&format!("{name}: valid, {inside}\n")),
        warnings => say(&format!("{name}: valid, {inside}; {}\n", count(warnings, "warning", "warnings"))),
    }
}

/// Prints what is in effect, or what of it is `changed` from the defaults.
pub(crate) fn print(input: &Input, changed: bool) -> Exit {
    match load(input) {
        Ok(loaded) => {
            paint::show(&loaded.warnings);
            let Loaded { config, sources, .. } = &loaded;
            say(&if changed { config.print_changed(sources) } else { config.print(sources) })
        }
        Err(_) => Exit::Config,
    }
}

/// How many things are wrong.
#[derive(Debug, Default)]
struct Found {
    errors: usize,
    warnings: usize,
}

impl Found {
    fn summary(&self) -> String {
        let errors = count(self.errors, "error", "errors");
        match self.warnings {
            0 => errors,
            warnings => format!("{errors} and {}", count(warnings, "warning", "warnings")),
        }
    }
}

/// Reads the file; if it is invalid, reports every problem on standard error.
fn load(input: &Input) -> Result<Loaded, Found> {
    let loaded = input.load().map_err(|diagnostics| {
        paint::show(&diagnostics);
        found(&diagnostics)
    })?;
    lb_proxy::validate(&loaded.config).map_err(|error| {
        paint::show(&loaded.warnings);
        complain(&format!("{input}: error: {error}\n"));
        Found { errors: 1, ..found(&loaded.warnings) }
    })?;
    Ok(loaded)
}

fn found(diagnostics: &Diagnostics) -> Found {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
    Found { errors, warnings: diagnostics.len() - errors }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_counts_in_words() {
        assert_eq!(Found { errors: 1, warnings: 0 }.summary(), "1 error");
        assert_eq!(Found { errors: 2, warnings: 1 }.summary(), "2 errors and 1 warning");
        assert_eq!(count(0, "route", "routes"), "0 routes");
    }
}
