//! gRPC by its own library, as client and as endpoint.

use std::time::Instant;

use rustix::process::Signal;

use super::program::Program;
use super::python::{Python, python};
use super::support::{Proxy, Refusing, wait_until};
use super::{Certificates, configured};

/// An instance of the service.
struct Instance {
    program: Program,
    at: String,
}

impl Instance {
    fn start(python: &Python, name: &str, secured: Option<&Certificates>) -> Self {
        let mut command = python.program("grpc_instance.py");
        command.args([name, "127.0.0.1:0"]);
        if let Some(certificates) = secured {
            command.args([certificates.path("endpoint.pem"), certificates.path("endpoint.key")]);
        }
        let mut program = Program::start(&mut command);
        let at = program.wait_for("listening", |line| Some(line.strip_prefix("listening ")?.to_owned()));
        Self { program, at }
    }
}

/// A client that does this through the proxy.
fn client(python: &Python, what: &str, proxy: &Proxy, secured: Option<&Certificates>) -> Program {
    let mut command = python.program("grpc_client.py");
    command.arg(what).arg(proxy.web().to_string());
    if let Some(certificates) = secured {
        command.arg(certificates.path("ca.pem"));
    }
    Program::start(&mut command)
}

#[track_caller]
fn succeed(client: Program) -> Vec<String> {
    let (said, status) = client.finish();
    assert!(status.success(), "{status}:\n{}", said.join("\n"));
    said
}

fn everything_works(secured: Option<&Certificates>) {
    let Some(python) = python() else { return };
    let (mut a, b) = (Instance::start(python, "a", secured), Instance::start(python, "b", secured));
    let refusing = Refusing::new();
    let tls = secured.map_or_else(String::new, |with| format!("tls.ca = \"{}\"", with.path("ca.pem").display()));
    let rest = format!(
        r#"
        [[route]]
        path = "/test.Service/"
        cluster = "one"
        [[route]]
        path = "/hurried.Service/"
        cluster = "one"
        timeout = {{ total = "2s" }}
        [[route]]
        path = "/small.Service/"
        cluster = "one"
        body_limit = "1KiB"
        [[route]]
        path = "/busy.Service/"
        cluster = "both"
        retry = {{ on = ["503"], unsafe_methods = true, budget = "100%" }}
        [[route]]
        path = "/dead.Service/"
        cluster = "dead"
        [cluster.one]
        protocol = "h2"
        endpoints = ["{0}"]
        {tls}
        [cluster.both]
        protocol = "h2"
        endpoints = ["{0}", "{1}"]
        {tls}
        [cluster.dead]
        protocol = "h2"
        endpoints = ["{2}"]
        "#,
        a.at, b.at, refusing.address
    );
    let proxy = Proxy::start(&configured(&rest, secured));
    let mut client = client(python, "everything", &proxy, secured);
    let cancelled = a.program.wait_line("hanging cancelled");
    assert!(!cancelled.ends_with("True"), "how long the client waits: {cancelled}");
    client.tell("cancel");
    let said = succeed(client);
    assert_eq!(said.iter().filter(|line| line.starts_with("ok ")).count(), 8, "{said:#?}");
    // The instance was notified of every call that the client cancelled or that timed out.
    for call in ["deadline", "route", "cancelled", "stream"] {
        if matches!(call, "deadline" | "route") {
            let hanging = a.program.wait_line(&format!("hanging {call}"));
            assert!(hanging.ends_with("True"), "how long the client waits: {hanging}");
        }
        a.program.wait_line(&format!("released {call}"));
    }
    assert_eq!(proxy.access_of("/test.Service/Unary")["grpc_status"], 0);
    wait_until("no call to be in flight", || proxy.endpoint("one", &a.at)["in_flight"] == 0);
}

#[test]
fn everything_works_in_the_clear() {
    everything_works(None);
}

#[test]
fn everything_works_over_tls_on_both_sides() {
    everything_works(Some(&Certificates::new()));
}

#[test]
fn instances_that_stop_or_are_killed_cost_no_call() {
    let Some(python) = python() else { return };
    let [a, b, c] = ["a", "b", "c"].map(|name| Instance::start(python, name, None));
    let rest = format!(
        r#"
        [[route]]
        cluster = "app"
        # An instance that stops says CANCELLED to calls that it had queued.
        retry = {{ on = ["connect_error", "reset", "503", "499"], unsafe_methods = true, budget = "100%" }}
        [cluster.app]
        protocol = "h2"
        endpoints = ["{}", "{}", "{}"]
        "#,
        a.at, b.at, c.at
    );
    let proxy = Proxy::start(&configured(&rest, None));
    let mut client = client(python, "load", &proxy, None);
    client.wait_line("going");
    let (said, status) = a.program.finish();
    assert!(status.success(), "{said:#?}");
    client.tell("without a");
    client.wait_line("went on without a");
    drop(b);
    client.tell("without b");
    client.wait_line("went on without b");
    assert!(succeed(client).contains(&"ok True".to_owned()));
    drop(c);
}

#[test]
fn a_stream_outlives_the_stop_of_the_proxy() {
    let Some(python) = python() else { return };
    for secured in [None, Some(&Certificates::new())] {
        let instance = Instance::start(python, "a", None);
        let rest = format!(
            "[[route]]\ncluster = \"app\"\n[cluster.app]\nprotocol = \"h2\"\nendpoints = [\"{}\"]\n",
            instance.at
        );
        let proxy = Proxy::start(&configured(&rest, secured));
        let mut client = client(python, "conversation", &proxy, secured);
        client.tell("before");
        client.wait_line("heard before");
        proxy.signal(Signal::TERM);
        proxy.wait_log("stopping");
        client.tell("after");
        client.wait_line("heard after");
        assert!(succeed(client).contains(&"ok conversation".to_owned()));
        let exit = proxy.ended(Instant::now());
        assert_eq!(exit.code, Some(0), "{:#?}", exit.log);
    }
}
