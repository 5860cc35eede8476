//! Express and Socket.IO, in three instances each, behind the proxy, with the clients that people use, of Node and of
//! Python.
//!
//! The applications and clients are in `tests/node`. Where Node or its packages cannot be had the tests say so and
//! pass; with `LBPROXY_REQUIRE_PEERS=1` they fail.

#[path = "node/program.rs"]
mod program;
#[path = "node/python.rs"]
mod python;
#[path = "node/setup.rs"]
mod setup;
#[path = "support/tls.rs"]
#[allow(dead_code, reason = "it serves several test targets")]
mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use program::{Look, Program};
use python::python;
use setup::{Instance, node, proxy};

/// Where the programs in Python are, below `tests`.
const PYTHON_PROGRAMS: &str = "node";

/// What a list of endpoints looks like in a configuration.
fn endpoints(instances: &[Instance]) -> String {
    let quoted: Vec<_> = instances.iter().map(|instance| format!("\"{}\"", instance.address)).collect();
    format!("[{}]", quoted.join(", "))
}

/// Runs a client to its end; returns its output.
#[track_caller]
fn succeed(client: Program) -> Vec<String> {
    let (said, status) = client.finish();
    assert!(status.success(), "{status}:\n{}", said.join("\n"));
    said
}

#[test]
fn an_express_application_loses_nothing_behind_the_proxy() {
    let Some(node) = node() else { return };
    let instances = node.three("express-instance.mjs");
    let config = |trusted: &str| {
        format!(
            r#"
            workers = 2
            log.access = "off"
            [[listener]]
            address = "127.0.0.1:0"
            trusted_proxies = [{trusted}]
            [[route]]
            path = "/"
            cluster = "three"
            [[route]]
            path = "/one/"
            cluster = "one"
            [cluster.three]
            endpoints = {}
            [cluster.one]
            endpoints = ["{}"]
            "#,
            endpoints(&instances),
            instances[0].address,
        )
    };
    let (_proxy, url) = proxy("express", &config(""));
    let (_trusting, url_trusting) = proxy("express-trusting", &config("\"127.0.0.0/8\""));
    let mut client = node.program("express-client.mjs");
    let said = succeed(Program::start(client.args([url, url_trusting])));
    assert!(said.contains(&"# fail 0".to_owned()), "the client ran its checks: {said:#?}");
}

/// A listener with TLS for `localhost`, and the file of the authority that a client has to believe.
struct Secure {
    listener: String,
    authority: std::path::PathBuf,
    _directory: tempfile::TempDir,
}

impl Secure {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = tls::Authority::new();
        let (cert, key) = authority.issue(&["localhost", "127.0.0.1"]).write(directory.path(), "localhost");
        let ca = directory.path().join("ca.pem");
        std::fs::write(&ca, authority.pem()).expect("a file");
        let listener = format!("tls.certificates = [{{ cert = {cert:?}, key = {key:?} }}]");
        Self { listener, authority: ca, _directory: directory }
    }
}

/// A program of the client's that believes this authority.
fn believing(node: &setup::Node, file: &str, authority: &Path) -> std::process::Command {
    let mut command = node.program(file);
    command.env("NODE_EXTRA_CA_CERTS", authority);
    command
}

/// Everything goes to one instance; an idle connection, or an exchange, lasts two seconds, a tunnel
/// an hour, one below `/impatient/` a second.
fn impatient(instance: &Instance, listener: &str) -> String {
    format!(
        r#"
        workers = 2
        log.access = "off"
        limits.idle_timeout = "2s"
        [[listener]]
        address = "127.0.0.1:0"
        {listener}
        [[route]]
        cluster = "one"
        timeout.idle = "2s"
        [[route]]
        path = "/impatient/"
        cluster = "one"
        timeout.tunnel = "1s"
        [cluster.one]
        endpoints = ["{}"]
        "#,
        instance.address
    )
}

#[test]
fn websockets_of_two_libraries_pass() {
    let Some(node) = node() else { return };
    in_the_clear_and_secured(node, "sockets", |url, secure| {
        let said = succeed(Program::start(believing(node, "ws-client.mjs", &secure.authority).arg(url)));
        assert!(said.contains(&"# fail 0".to_owned()), "the client ran its checks: {said:#?}");
    });
}

#[test]
fn websockets_of_python_pass() {
    let (Some(node), Some(python)) = (node(), python()) else { return };
    in_the_clear_and_secured(node, "python", |url, secure| {
        let mut client = python.program("websockets-client.py");
        client.arg(url);
        if url.starts_with("https:") {
            client.arg(&secure.authority);
        }
        let said = succeed(Program::start(&mut client));
        assert!(said.contains(&"all is well".to_owned()), "the client ran its checks: {said:#?}");
    });
}

/// Gives the URL of an impatient proxy to a client, once without TLS and once with.
#[track_caller]
fn in_the_clear_and_secured(node: &setup::Node, name: &str, client: impl Fn(&str, &Secure)) {
    let instances = node.three("express-instance.mjs");
    let secure = Secure::new();
    let (_proxy, url) = proxy(name, &impatient(&instances[0], ""));
    client(&url, &secure);
    let (_secured, url) = proxy(&format!("{name}-tls"), &impatient(&instances[0], &secure.listener));
    client(&url.replace("http:", "https:"), &secure);
}

#[test]
fn undici_gets_its_answers_by_every_protocol_it_speaks() {
    passes_in_the_clear_and_secured("undici-client.mjs");
}

#[test]
fn the_http2_of_node_gets_its_answers() {
    passes_in_the_clear_and_secured("http2-client.mjs");
}

/// Runs a client with the addresses of the proxy without TLS and with.
#[track_caller]
fn passes_in_the_clear_and_secured(client: &str) {
    let Some(node) = node() else { return };
    let instances = node.three("express-instance.mjs");
    let secure = Secure::new();
    let config = |listener: &str| {
        let instance = instances[0].address;
        format!(
            "workers = 2\nlog.access = \"off\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n{listener}\n\
             [[route]]\ncluster = \"one\"\n[cluster.one]\nendpoints = [\"{instance}\"]\n"
        )
    };
    let (_proxy, url) = proxy(client, &config(""));
    let (_secured, secured) = proxy(&format!("{client}-tls"), &config(&secure.listener));
    let secured = secured.replace("http:", "https:");
    let said = succeed(Program::start(believing(node, client, &secure.authority).args([url, secured])));
    assert!(said.contains(&"# fail 0".to_owned()), "the client ran its checks: {said:#?}");
}

/// A configuration with chat instances, and further keys of their route.
fn chat(instances: &[Instance], route: &str) -> String {
    format!(
        r#"
        workers = 2
        log.access = "off"
        [[listener]]
        address = "127.0.0.1:0"
        [[route]]
        path = "/"
        cluster = "chat"
        {route}
        [cluster.chat]
        endpoints = {}
        health.active = {{ path = "/healthz", interval = "100ms", timeout = "1s", rise = 1, fall = 1 }}
        health.passive = {{ failures = 3, window = "10s", eject_for = "1s" }}
        "#,
        endpoints(instances)
    )
}

const STICKY: &str = r#"sticky = { cookie = "affinity", secret = "a secret that is long enough to be one" }"#;

/// Which instance each client is on.
type Places = BTreeMap<String, String>;

/// Reads the client's events until `count` of this kind have come; the place that each names.
#[track_caller]
fn wait_events(client: &mut Program, kind: &str, count: usize) -> Places {
    let mut places = Places::new();
    if count == 0 {
        return places;
    }
    client.take_until(&format!("{count} × {kind}"), |line| {
        let mut words = line.split(' ');
        if words.next() != Some(kind) {
            return Look::Leave;
        }
        let id = words.next().unwrap_or_default().to_owned();
        places.insert(id, words.collect::<Vec<_>>().join(" "));
        if places.len() == count { Look::Done(()) } else { Look::Take }
    });
    places
}

/// Splits `INSTANCE TRANSPORT` and requires the transport.
#[track_caller]
fn all_over(transport: &str, connected: Places) -> Places {
    let split = |(id, place): (String, String)| {
        let (instance, over) = place.split_once(' ').expect("the transport follows");
        assert_eq!(over, transport, "client {id}");
        (id, instance.to_owned())
    };
    connected.into_iter().map(split).collect()
}

fn instances_of(places: &Places) -> BTreeSet<&str> {
    places.values().map(String::as_str).collect()
}

#[test]
fn polling_and_its_upgrade_stay_on_one_instance() {
    let Some(node) = node() else { return };
    let instances = node.three("chat-instance.mjs");
    let (_proxy, url) = proxy("polling", &chat(&instances, STICKY));
    let mut client = Program::start(node.program("chat-client.mjs").arg(&url));

    client.tell("open 9 polling,websocket");
    let mut places = all_over("websocket", wait_events(&mut client, "connected", 9));
    client.tell("open 6 polling");
    places.extend(all_over("polling", wait_events(&mut client, "connected", 6)));
    client.tell("open 3 websocket");
    places.extend(all_over("websocket", wait_events(&mut client, "connected", 3)));
    assert_eq!(instances_of(&places), BTreeSet::from(["a", "b", "c"]), "every instance has clients");

    for _ in 0..5 {
        client.tell("say");
        assert_eq!(wait_events(&mut client, "said", 18), places);
        client.wait_line("all-said");
    }
    let said = succeed(client);
    assert!(!said.iter().any(|line| line.starts_with("lost") || line.starts_with("failed")), "{said:#?}");
}

/// Shows that the test above can fail: the same clients without affinity.
#[test]
fn polling_without_affinity_is_refused_by_the_instances() {
    let Some(node) = node() else { return };
    let instances = node.three("chat-instance.mjs");
    let (_proxy, url) = proxy("plain", &chat(&instances, ""));
    let mut client = Program::start(node.program("chat-client.mjs").arg(&url));
    client.tell("open 1 polling");
    client.wait_for("a refusal", |line| (line.starts_with("failed 0") || line.starts_with("lost 0")).then_some(()));
}

#[test]
fn a_stopped_instance_loses_its_clients_to_the_others_and_gets_new_ones_when_it_is_back() {
    let Some(node) = node() else { return };
    let mut instances = node.three("chat-instance.mjs");
    let (mut proxy, url) = proxy("stopped", &chat(&instances, STICKY));
    let mut client = Program::start(node.program("chat-client.mjs").arg(&url));
    client.tell("open 12 polling,websocket");
    let before = all_over("websocket", wait_events(&mut client, "connected", 12));
    assert_eq!(instances_of(&before), BTreeSet::from(["a", "b", "c"]));

    let stopped = &mut instances[1];
    let was_there: Vec<_> = before.iter().filter(|(_, place)| *place == stopped.name()).map(|(id, _)| id).collect();
    stopped.stop();
    // Clients of that instance report it, reconnect elsewhere, and are the only ones affected.
    let moved = all_over("websocket", wait_events(&mut client, "connected", was_there.len()));
    assert_eq!(moved.keys().collect::<Vec<_>>(), was_there);
    assert!(instances_of(&moved).is_subset(&BTreeSet::from(["a", "c"])), "{moved:?}");
    let mut after = before.clone();
    after.extend(moved);
    client.tell("say");
    assert_eq!(wait_events(&mut client, "said", 12), after);
    client.wait_line("all-said");

    stopped.start(node);
    proxy.wait_line(&format!("{} is up", stopped.address));
    // An ejection may last a second longer than the check's verdict: new clients come until one is there.
    for open in 1.. {
        assert!(open <= 200, "no client came back to {}", stopped.address);
        client.tell("open 1 polling,websocket");
        if wait_events(&mut client, "connected", 1)
            .values()
            .any(|place| *place == format!("{} websocket", stopped.name()))
        {
            break;
        }
    }
    // Clients that moved stay where they are.
    client.tell("say");
    let mut now = Places::new();
    client.take_until("all-said", |line| match line.split(' ').collect::<Vec<_>>()[..] {
        ["said", id, instance] => {
            now.insert(id.to_owned(), instance.to_owned());
            Look::Take
        }
        ["all-said"] => Look::Done(()),
        _ => Look::Leave,
    });
    assert!(after.iter().all(|(id, place)| now.get(id) == Some(place)), "before {after:?}\nnow {now:?}");
}

/// Pauses of `from` to `to` ms in `step`s between requests to an instance, each through a pool of its own; for each
/// pause, how many connections four requests took.
#[track_caller]
fn pauses(name: &str, keep_alive: &str, [from, to, step]: [u32; 3], node_keeps_ms: Option<&str>) -> BTreeMap<u32, u32> {
    let Some(node) = node() else { return BTreeMap::new() };
    let mut instances = node.three("express-instance.mjs");
    if let Some(ms) = node_keeps_ms {
        instances[0].stop();
        instances[0].start_with(node, "KEEP_ALIVE_MS", ms);
    }
    // Each worker has pools of its own, and a request may come to either.
    let mut config = "workers = 1\nlog.access = \"off\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n".to_owned();
    for ms in (from..=to).step_by(step as usize) {
        config += &format!(
            "[[route]]\npath = \"/pause/{ms}/\"\ncluster = \"pause-{ms}\"\n\
             [cluster.pause-{ms}]\nendpoints = [\"{}\"]\n{keep_alive}\n",
            instances[0].address
        );
    }
    let (_proxy, url) = proxy(name, &config);
    let mut command = node.program("keep-alive-client.mjs");
    command.arg(&url).args([from, to, step, 4].map(|number| number.to_string()));
    let said = succeed(Program::start(&mut command));
    let counts = said.iter().map(|line| {
        let words: Vec<_> = line.split([' ', ':']).filter(|word| !word.is_empty()).collect();
        let ["pause", ms, "4", "requests", "on", connections, "connections"] = words[..] else { panic!("{line}") };
        (ms.parse().expect("a number"), connections.parse().expect("a number"))
    });
    counts.collect()
}

/// A connection is used again well before Node closes it, and never when it may have.
#[track_caller]
fn assert_reused_until(counts: &BTreeMap<u32, u32>, safe_ms: u32, too_late_ms: u32) {
    for (&ms, &connections) in counts {
        if ms <= safe_ms {
            assert_eq!(connections, 1, "after {ms} ms: {counts:?}");
        }
        if ms >= too_late_ms {
            assert_eq!(connections, 4, "after {ms} ms: {counts:?}");
        }
    }
}

#[test]
fn no_request_meets_a_connection_that_node_is_closing_by_default() {
    let counts = pauses("race", "", [3000, 5400, 100], None);
    assert_reused_until(&counts, 3000, 4100);
}

#[test]
fn the_keep_alive_timeout_of_node_takes_precedence() {
    // Ours is a minute; Node announces `Keep-Alive: timeout=5`.
    let counts = pauses("patient", "keep_alive = { timeout = \"60s\" }", [3000, 5400, 100], None);
    assert_reused_until(&counts, 3000, 4100);
}

#[test]
fn an_instance_with_a_short_keep_alive_loses_no_request() {
    let counts = pauses("impatient", "", [300, 2400, 100], Some("2000"));
    assert_reused_until(&counts, 300, 1100);
}

#[test]
fn a_wait_leaves_the_lines_of_other_waits() {
    let mut program = Program::start(std::process::Command::new("printf").arg("late\nfirst 1\nother\nfirst 2\n"));
    program.wait_line("first 2");
    program.wait_line("late");
    assert_eq!(program.wait_line("first"), "first 1");
    assert_eq!(program.wait_line("other"), "other");
    assert_eq!(program.finish().0.len(), 4);
}
