//! From a configuration to the end of the process: start, log the addresses, handle signals, shut down.
//!
//! Calls of the engine block (a shutdown for the whole grace period), so the loop steps out of the runtime for each.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lb_config::{Config, Diagnostic, Diagnostics, ListenAddress, Loaded, Severity, Sources};
use lb_proxy::observe::app_log::AppLog;
use lb_proxy::{Engine, EngineError, show};
use tokio::runtime::Runtime;

use crate::exit::Exit;
use crate::input::Input;
use crate::signals::{Order, Signals};

/// How long the log may take to write its last lines.
const LAST_LINES: Duration = Duration::from_secs(2);
/// How long "at once" may take: the access log has two seconds for its last lines.
const FORCED_STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// What the requests of other workers get to finish when one worker has died.
const WORKER_FAILURE_GRACE: Duration = Duration::from_secs(5);

/// Serves a configuration until a signal stops it. `input` is what a reload reads again.
pub(crate) fn serve(loaded: Loaded, input: Option<&Input>) -> Exit {
    let Loaded { config, sources, warnings, .. } = loaded;
    let log = match AppLog::start(&config.log) {
        Ok(log) => log,
        // Not reported: it is stderr that does not work.
        Err(_) => return Exit::Start,
    };
    warn(&warnings);
    let exit = logged(config, &sources, input, &log).unwrap_or_else(|error| {
        tracing::error!("{error}");
        Exit::Start
    });
    // Lines that stderr did not take cannot be reported.
    let _ = log.close(LAST_LINES);
    exit
}

fn logged(config: Config, sources: &Sources, input: Option<&Input>, log: &AppLog) -> io::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before the engine, so that no signal kills a process that has begun to serve.
    let mut signals = {
        let _inside = runtime.enter();
        Signals::new(input.is_some())?
    };
    raise_open_files();
    let engine = match Engine::start(config) {
        Ok(engine) => engine,
        Err(error) => {
            tracing::error!("{}cannot start: {error}", place_of(&error, sources));
            return Ok(if matches!(error, EngineError::Header(_)) { Exit::Config } else { Exit::Start });
        }
    };
    tell_addresses(&[], &engine.listeners());
    tell_admin(None, &engine);
    tracing::info!("ready generation={}", engine.status().generation);
    loop {
        let order = runtime.block_on(async {
            tokio::select! {
                order = signals.next() => Ok(order),
                why = engine.worker_failed() => Err(why),
            }
        });
        match (order, input.and_then(Input::file)) {
            (Ok(Order::Stop), _) => return stop(&runtime, &mut signals, engine),
            (Ok(Order::Reload), Some(file)) => reload(&engine, file, log),
            (Ok(Order::Reload), None) => {
                tracing::warn!("nothing to reload: the configuration came from no file that could be read again");
            }
            (Ok(Order::Upgrade), _) => {
                tracing::warn!(
                    "SIGUSR2 ignored: handing over to a new binary is not built; start it and stop this one"
                );
            }
            (Ok(Order::ReopenLogs), _) => reopen_logs(&engine),
            (Err(why), _) => {
                tracing::error!("{why}; shutting down");
                engine.shutdown(WORKER_FAILURE_GRACE);
                return Ok(Exit::Bug);
            }
        }
    }
}

/// How a shutdown ended.
pub(crate) struct Ended {
    /// Requests that were cut; not known where the shutdown hangs.
    pub(crate) cut: Option<usize>,
    /// A second order to stop came.
    pub(crate) hurried: bool,
}

/// Lets requests finish, until a second order to stop comes. What the logs still hold is written in either case.
pub(crate) async fn finish(signals: &mut Signals, engine: Engine) -> io::Result<Ended> {
    let (grace, force) = (engine.config().grace, engine.force_shutdown());
    let (done, mut ended) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("shutdown".to_owned()).spawn(move || {
        // The receiver is gone if the flush timed out.
        let _ = done.send(engine.shutdown(grace));
    })?;
    let panicked = |_| io::Error::other("the shutdown panicked");
    tokio::select! {
        cut = &mut ended => return Ok(Ended { cut: Some(cut.map_err(panicked)?), hurried: false }),
        () = signals.stop() => force.trigger(),
    }
    let cut = tokio::time::timeout(FORCED_STOP_TIMEOUT, ended).await.ok().transpose().map_err(panicked)?;
    Ok(Ended { cut, hurried: true })
}

fn stop(runtime: &Runtime, signals: &mut Signals, engine: Engine) -> io::Result<Exit> {
    let grace = engine.config().grace;
    tracing::info!("stopping: no new connections; requests have {grace:?} to finish, a second signal ends at once");
    Ok(match runtime.block_on(finish(signals, engine))? {
        Ended { cut: Some(0), .. } => {
            tracing::info!("stopped: every request was finished");
            Exit::Fine
        }
        Ended { cut: Some(cut), hurried: false } => {
            tracing::warn!("stopped: the grace period of {grace:?} is over; requests cut: {cut}");
            Exit::Cut
        }
        Ended { cut: Some(cut), hurried: true } => {
            tracing::warn!("stopped at once by a second signal; requests cut: {cut}");
            Exit::Cut
        }
        Ended { cut: None, .. } => {
            tracing::error!("stopped at once by a second signal; the shutdown hangs, what still ran was cut");
            Exit::Cut
        }
    })
}

/// Puts the current file in force, or logs why not.
fn reload(engine: &Engine, file: &Path, log: &AppLog) {
    let generation = engine.status().generation;
    let refused = |why: String| tracing::error!("reload refused, generation {generation} stays in force: {why}");
    let loaded = match Config::load(file) {
        Ok(loaded) => loaded,
        Err(diagnostics) => {
            let others = diagnostics.iter().filter(|it| it.severity == Severity::Error).count().saturating_sub(1);
            let mut lines = diagnostics.iter().filter(|it| it.severity == Severity::Error).map(one_line);
            let first = lines.next().unwrap_or_default();
            refused(if others == 0 { first } else { format!("{first} (and {others} more)") });
            lines.for_each(|line| tracing::error!("{line}"));
            return;
        }
    };
    let (before, listeners, admin) = (engine.config(), engine.listeners(), engine.admin());
    let changes = Config::diff(&before, &loaded.config);
    let new_log = loaded.config.log.clone();
    if let Err(error) = engine.reload(loaded.config) {
        refused(format!("{}{error}", place_of(&error, &loaded.sources)));
        return;
    }
    log.apply(&new_log);
    warn(&loaded.warnings);
    changes.iter().for_each(|change| tracing::info!("changed: {change}"));
    tell_addresses(&listeners, &engine.listeners());
    tell_admin(admin.as_ref(), engine);
    let summary = match changes.len() {
        0 => "nothing changed".to_owned(),
        1 => "1 change".to_owned(),
        many => format!("{many} changes"),
    };
    tracing::info!("reloaded generation={}: {summary}", engine.status().generation);
}

/// `lbproxy.toml:4:11: ` of a certificate that cannot be used; nothing where the configuration names no file.
fn place_of(error: &EngineError, sources: &Sources) -> String {
    let place = match error {
        EngineError::Certificate(error) => sources.place_of(&error.file),
        _ => None,
    };
    place.map_or_else(String::new, |place| format!("{}:{}:{}: ", place.file.display(), place.line, place.column))
}

fn reopen_logs(engine: &Engine) {
    match engine.reopen_logs() {
        Ok(()) => tracing::info!("logs reopened"),
        Err(error) => tracing::error!("logs cannot be reopened: {error}; lines go on to the old ones"),
    }
}

/// A line for each listener that was not there before, or has gone.
fn tell_addresses(before: &[(Arc<str>, ListenAddress)], now: &[(Arc<str>, ListenAddress)]) {
    for (name, address) in before.iter().filter(|listener| !now.contains(listener)) {
        tracing::info!("no longer listening on {} listener={name}", show(address));
    }
    for (name, address) in now.iter().filter(|listener| !before.contains(listener)) {
        tracing::info!("listening on {} listener={name}", show(address));
    }
}

/// The admin listener's address and the allowed networks: a wildcard address is often taken for unrestricted access.
fn tell_admin(before: Option<&ListenAddress>, engine: &Engine) {
    let (now, config) = (engine.admin(), engine.config());
    let allow = config.admin.as_ref().map(|admin| admin.allow.as_slice()).unwrap_or_default();
    match &now {
        Some(address @ ListenAddress::Unix(_)) if before != now.as_ref() => {
            tracing::info!("admin on {}", show(address));
        }
        Some(address) if before != now.as_ref() => {
            let allow: Vec<String> = allow.iter().map(ToString::to_string).collect();
            let allow = if allow.is_empty() { "loopback".to_owned() } else { allow.join(",") };
            tracing::info!("admin on {} allow={allow}", show(address));
        }
        None if before.is_some() => tracing::info!("admin is off"),
        _ => {}
    }
}

fn warn(warnings: &Diagnostics) {
    warnings.iter().for_each(|warning| tracing::warn!("{}", one_line(warning)));
}

/// A diagnostic as one log line, at the level of its severity.
fn one_line(diagnostic: &Diagnostic) -> String {
    let mut line = String::new();
    if let Some(place) = &diagnostic.place {
        line += &format!("{}:{}:{}: ", place.file.display(), place.line, place.column);
    }
    line += &diagnostic.message;
    if let Some(expected) = &diagnostic.expected {
        line += &format!("; expected {expected}");
    }
    if let Some(suggestion) = &diagnostic.suggestion {
        line += &format!("; {suggestion}");
    }
    line
}

/// Every connection is an open file. The soft limit, often 1024, is there for programs that use `select`; ours is raised to
/// the hard one, and the engine shares out what that is.
fn raise_open_files() {
    if let Err(error) = rlimit::increase_nofile_limit(rlimit::INFINITY) {
        tracing::warn!("the limit of open files cannot be raised: {error}");
    }
}
