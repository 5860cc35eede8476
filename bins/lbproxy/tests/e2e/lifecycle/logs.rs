//! Log rotation: logs are moved and reopened.

use rustix::process::Signal;

use crate::support::{Load, Proxy, config, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(a_rotated_log_is_reopened_without_losing_a_line);

fn a_rotated_log_is_reopened_without_losing_a_line(workers: usize) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let moved = directory.path().join("access.log.1");
    let text = config(workers, "[[route]]\nrespond = { body = \"ok\" }\n")
        .replace("{ format = \"json\" }", &format!("{{ to = \"{}\" }}", path.display()));
    let proxy = Proxy::start(&text);
    let load = Load::start(proxy.web(), 4);
    load.wait_for_more(100);
    std::fs::rename(&path, &moved).unwrap();
    proxy.signal(Signal::USR1);
    proxy.wait_log("logs reopened");
    // The thread that writes takes the new file up a moment later, and lines wait up to a second.
    wait_until("the new file to be written", || std::fs::metadata(&path).is_ok_and(|file| file.len() > 0));
    let report = load.stop();
    report.expect_no_failure();
    assert_eq!(proxy.terminate().code, Some(0));
    let lines = |path| std::fs::read_to_string(path).unwrap().lines().filter(|line| line.contains("GET /load")).count();
    // A request is logged a moment after its client has the answer.
    assert!(lines(&moved) >= 90, "{}", lines(&moved));
    assert_eq!(lines(&moved) + lines(&path), report.answered, "every request has its line");
}
