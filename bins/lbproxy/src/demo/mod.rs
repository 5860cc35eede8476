//! `lbproxy demo`: the whole at work on one screen, with nothing to set up.
//!
//! Three endpoints, the proxy and its clients live in this process. The proxy is the real one, on its own threads; the
//! rest shares the main thread. The configuration is written as a user would write it.

mod app;
mod events;
mod load;
mod screen;
mod sight;
mod table;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use lb_config::{Config, ListenAddress};
use lb_proxy::{Engine, EngineError};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::args::Demo;
use crate::exit::Exit;
use crate::signals::{Order, Signals};
use crate::{complain, serve};

use app::{APPS, HEALTH, Mood};
use events::Events;
use screen::Screen;
use sight::Sight;

/// How often the table is drawn.
const FRAME: Duration = Duration::from_millis(500);
/// Ports that are easy to type, and then whatever is free.
const PORTS: [(u16, u16); 2] = [(8080, 9900), (0, 0)];

/// Runs the demo until a signal, or for the duration given.
pub(crate) fn demo(arguments: &Demo) -> Exit {
    run(arguments).unwrap_or_else(|error| {
        complain(&format!("cannot start: {error}\n"));
        Exit::Start
    })
}

fn run(arguments: &Demo) -> io::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let began = Instant::now();
    let (mut signals, addresses) = {
        let _inside = runtime.enter();
        let mut addresses = [SocketAddr::from(([127, 0, 0, 1], 0)); APPS.len()];
        for (address, app) in addresses.iter_mut().zip(APPS) {
            *address = app::start(app, began)?;
        }
        (Signals::new(false)?, addresses)
    };
    let events = Events::collect();
    let engine = start(&arguments.policy, addresses)?;
    let proxy = match engine.listeners().first() {
        Some((_, ListenAddress::Tcp(address))) => *address,
        _ => return Err(io::Error::other("the proxy has no address")),
    };
    let mut screen = Screen::stdout();
    screen.say(&introduction(arguments, addresses, proxy, engine.admin()));
    let watching = Watching { began, sight: Sight::new(addresses, began), events };
    runtime.block_on(watch(arguments, &mut screen, &mut signals, engine, proxy, watching))
}

/// What is remembered while it runs.
struct Watching {
    began: Instant,
    sight: Sight,
    events: Events,
}

async fn watch(
    arguments: &Demo,
    screen: &mut Screen<io::Stdout>,
    signals: &mut Signals,
    engine: Engine,
    proxy: SocketAddr,
    mut watching: Watching,
) -> io::Result<Exit> {
    let (samples, mut seen) = mpsc::unbounded_channel();
    let load = tokio::spawn(load::drive(proxy, arguments.rate, samples));
    let mut frame = tokio::time::interval(FRAME);
    let end = arguments.seconds.map(|seconds| watching.began + Duration::from_secs(u64::from(seconds)));
    let mut mood = Mood::Well;
    loop {
        let is_last = tokio::select! {
            order = signals.next() => order == Order::Stop,
            () = until(end) => true,
            why = engine.worker_failed() => return Err(io::Error::other(why)),
            Some(sample) = seen.recv() => {
                watching.sight.on_sample(sample);
                continue;
            }
            _ = frame.tick() => false,
        };
        let elapsed = watching.began.elapsed();
        let now = Mood::at(elapsed);
        if std::mem::replace(&mut mood, now) != now {
            screen.on_event(elapsed, now.begins());
        }
        draw(screen, &mut watching, &engine, is_last);
        if is_last {
            break;
        }
    }
    load.abort();
    // What the endpoints still answer is let through: they live on this runtime, which goes on until the proxy has ended.
    let ended = serve::finish(signals, engine).await?;
    screen.say("\nstopped\n");
    Ok(if ended.cut == Some(0) { Exit::Fine } else { Exit::Cut })
}

fn draw(screen: &mut Screen<io::Stdout>, watching: &mut Watching, engine: &Engine, is_last: bool) {
    let elapsed = watching.began.elapsed();
    for event in watching.events.take() {
        let line = watching.sight.on_event(&event);
        screen.on_event(elapsed, &line);
    }
    let status = engine.status();
    let metrics = engine.metrics().encode(&status);
    let view = watching.sight.view(Instant::now(), &status, &metrics);
    screen.show(elapsed, &view, is_last);
}

/// Starts the proxy on ports that are easy to type, or on others if those are in use.
fn start(policy: &str, endpoints: [SocketAddr; APPS.len()]) -> io::Result<Engine> {
    let mut last = None;
    for (port, admin) in PORTS {
        let text = configuration(policy, endpoints, port, admin);
        let loaded = Config::parse(&text, &|_| None).map_err(io::Error::other)?;
        match Engine::start(loaded.config) {
            Ok(engine) => return Ok(engine),
            Err(error @ EngineError::Bind { .. }) => last = Some(error),
            Err(error) => return Err(io::Error::other(error)),
        }
    }
    Err(last.map_or_else(|| io::Error::other("no ports"), io::Error::other))
}

fn configuration(policy: &str, [fast, slow, flaky]: [SocketAddr; APPS.len()], port: u16, admin: u16) -> String {
    format!(
        r#"
grace = "3s"
log.access = "off"

[admin]
address = "127.0.0.1:{admin}"

[[listener]]
name = "web"
address = "127.0.0.1:{port}"

[[route]]
cluster = "demo"
retry = {{ on = ["connect_error", "reset", "5xx"], attempts = 3 }}

[cluster.demo]
policy = "{policy}"
endpoints = ["{fast}", "{slow}", "{flaky}"]
health.active = {{ path = "{HEALTH}", interval = "1s", timeout = "500ms", rise = 2, fall = 2 }}
health.passive = {{ failures = 3, window = "10s", eject_for = "4s" }}
"#
    )
}

fn introduction(
    arguments: &Demo,
    addresses: [SocketAddr; APPS.len()],
    proxy: SocketAddr,
    admin: Option<ListenAddress>,
) -> String {
    let Demo { policy, rate, seconds } = arguments;
    let mut text = format!("lbproxy demo: {rate} requests a second to three endpoints, policy {policy}\n\n");
    for (app, address) in APPS.iter().zip(addresses) {
        text += &format!("  {:<6} {address}  {}\n", app.name, app.manner);
    }
    text += "\nIn another terminal:\n";
    let mut hint = |command: String, what: &str| text += &format!("  {command:<37} {what}\n");
    hint(format!("curl -i http://{proxy}/"), "a response; Served-By names the endpoint");
    if let Some(admin) = admin {
        let admin = lb_proxy::show(&admin);
        hint(format!("curl http://{admin}/status"), "every endpoint, what it does and why");
        hint(format!("curl http://{admin}/metrics"), "the same and more, for Prometheus");
    }
    text += &match seconds {
        Some(seconds) => format!("\nIt ends after {seconds} s, or with Ctrl-C.\n\n"),
        None => "\nCtrl-C ends it.\n\n".to_owned(),
    };
    text
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_one_that_check_would_not_complain_about() {
        let endpoints = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        for (port, admin) in PORTS {
            let loaded = Config::parse(&configuration("least_request", endpoints, port, admin), &|_| None).unwrap();
            assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
            assert!(lb_proxy::validate(&loaded.config).is_ok());
        }
    }
}
