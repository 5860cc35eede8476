//! A connection that this machine does not permit is no endpoint's fault.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use crate::support::{Client, Endpoint, Proxy, config};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(a_socket_that_may_not_be_opened_blames_no_endpoint);

/// What runs a program for which the modes of files hold, as they do not for root: its capabilities to pass over them are
/// taken away. `None` where that is neither needed nor can be had.
fn bound_by_modes(closed: &Path) -> Option<&'static [&'static str]> {
    if UnixStream::connect(closed).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied) {
        return Some(&[]);
    }
    let by: &[_] = &["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
    let works = Command::new(by[0]).args(&by[1..]).arg("true").status().is_ok_and(|status| status.success());
    if works {
        return Some(by);
    }
    let required = std::env::var_os("LBPROXY_REQUIRE_PEERS").is_some_and(|it| it == "1");
    assert!(!required, "setpriv cannot be had, or may not take capabilities away");
    // Past the capture of the test harness.
    let _ = writeln!(std::io::stderr(), "skipped: root, and no setpriv that takes capabilities away");
    None
}

fn a_socket_that_may_not_be_opened_blames_no_endpoint(workers: usize) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    let Some(by) = bound_by_modes(&path) else { return };
    let well = Endpoint::named("well");
    let closed = format!("unix:{}", path.display());
    // One failure would do for an ejection or a verdict.
    let rest = format!(
        "[[route]]\ncluster = \"both\"\n[[route]]\npath = \"/closed\"\ncluster = \"closed\"\n\
         [cluster.both]\nendpoints = [\"{closed}\", \"{}\"]\nhealth.passive.failures = 1\n\
         [cluster.closed]\nendpoints = [\"{closed}\"]\nhealth.passive.failures = 1\n\
         health.active = {{ tcp = true, interval = \"50ms\", fall = 1 }}\n",
        well.at()
    );
    let proxy = Proxy::start_by(&config(workers, &rest), by);
    let mut client = Client::connect(proxy.web());
    for turn in 0..10 {
        assert_eq!(client.get("/").text(), "well", "turn {turn}");
    }
    let answer = client.get("/closed");
    assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("1")), "{answer:?}");
    let line = proxy.access_of("/closed");
    let cause = line["cause"].as_str().unwrap_or_default();
    assert!(
        cause.starts_with("local_permission: the system does not permit it to this process; see the owner"),
        "{line}"
    );
    proxy.wait_log(&format!("endpoint {closed} cannot be checked and stays as it is: the system does not permit it"));
    for cluster in ["both", "closed"] {
        let status = proxy.endpoint(cluster, &closed);
        assert_eq!((&status["state"], &status["failures"]), (&"up".into(), &0.into()), "{cluster}: {status}");
    }
    let log = proxy.log();
    assert!(!log.iter().any(|line| line.contains("ejected for") || line.contains("is down")), "{log:#?}");
}
