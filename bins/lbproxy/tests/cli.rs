//! What every command says, where, and with which exit code.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const VALID: &str = r#"
[[listener]]
address = "127.0.0.1:0"

[[route]]
path = "/api/"
cluster = "app"
sticky = { cookie = "affinity", secret = "do not tell anybody about it" }
headers.request.set = { X-Token = "${TOKEN:-none}" }

[[route]]
respond = { status = 404, body = "no\n" }

[cluster.app]
endpoints = ["127.0.0.1:3000", "127.0.0.1:3001"]
"#;

fn lbproxy(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lbproxy"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Exit code, standard output, standard error.
fn ended(mut command: Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A configuration of this text; the directory goes with the first of the pair.
fn file(text: &str) -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("lbproxy.toml");
    std::fs::write(&path, text).unwrap();
    (directory, path)
}

fn with_file(command: &str, text: &str) -> (Option<i32>, String, String) {
    let (_directory, path) = file(text);
    let (code, out, err) = ended(lbproxy(&[command, path.to_str().unwrap()]));
    let name = path.display().to_string();
    (code, out.replace(&name, "FILE"), err.replace(&name, "FILE"))
}

#[test]
fn check_tells_what_is_in_a_valid_file() {
    let (code, out, err) = with_file("check", VALID);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "FILE: valid, 1 listener, 2 routes, 1 cluster\n", ""));
}

#[test]
fn check_shows_warnings_and_passes() {
    let one = VALID.replace(", \"127.0.0.1:3001\"", "");
    let (code, out, err) = with_file("check", &one);
    assert_eq!((code, out.as_str()), (Some(0), "FILE: valid, 1 listener, 2 routes, 1 cluster; 1 warning\n"));
    assert!(err.starts_with("FILE:15:1: warning: the cluster `app` has a single endpoint"), "{err}");
}

#[test]
fn check_tells_everything_that_is_wrong_at_once() {
    let wrong = VALID.replace("cluster = \"app\"", "clutser = \"app\"").replace("404", "4040").replace("app]", "app");
    let (code, out, err) = with_file("check", &wrong);
    assert_eq!((code, out.as_str()), (Some(1), ""), "not TOML: {err}");
    assert!(err.starts_with("FILE:14:"), "{err}");

    let wrong = VALID.replace("cluster = \"app\"", "clutser = \"app\"").replace("404", "4040");
    let (code, out, err) = with_file("check", &wrong);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    // Place, line, marks, suggestion.
    for part in ["FILE:7:1: error: ", "7 | clutser = \"***\"", "  | ^^^^^^^", "did you mean `cluster`?", "FILE:12:"] {
        assert!(err.contains(part), "{part} is not in\n{err}");
    }
    assert!(err.trim_end().lines().last().unwrap().starts_with("FILE: not valid, 2 errors"), "{err}");
    assert!(!err.contains('\x1b'), "no colours into a pipe");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    for command in ["check", "print", "run"] {
        let (code, out, err) = ended(lbproxy(&[command, "/nonexistent/lbproxy.toml"]));
        assert_eq!((code, out.as_str()), (Some(1), ""), "{command}");
        assert!(err.contains("error: cannot read /nonexistent/lbproxy.toml: No such file"), "{command}: {err}");
    }
}

#[test]
fn print_shows_defaults_and_no_secrets_and_can_be_read_again() {
    let (_directory, path) = file(VALID);
    let mut command = lbproxy(&["print", path.to_str().unwrap()]);
    command.env("TOKEN", "from the environment");
    let (code, out, err) = ended(command);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("grace = \"30s\"") && out.contains("request_head = \"32KiB\""), "{out}");
    assert!(out.contains("127.0.0.1:3001"), "as it was written: {out}");
    assert!(!out.contains("do not tell"), "{out}");

    let plain = VALID.replace("sticky", "#");
    let printed = with_file("print", &plain).1;
    let [once, twice] = [&plain, &printed].map(|text| lb_config::Config::parse(text, &|_| None).unwrap().config);
    assert_eq!(once, twice, "{printed}");
}

#[test]
fn print_can_leave_out_what_has_its_default() {
    let text = VALID.replace("sticky", "#") + "queue = { size = 9 }\nhealth.passive = \"off\"\n";
    let (_directory, path) = file(&text);
    let (code, printed, _) = ended(lbproxy(&["print", "--changed", path.to_str().unwrap()]));
    let expected = r#"
[[listener]]
address = "127.0.0.1:0"

[[route]]
name = "/api/"
path = "/api"
cluster = "app"
headers.request.set = { X-Token = "${TOKEN:-none}" }

[[route]]
name = "/"
respond = { status = 404, body = "no\n", content_type = "text/plain; charset=utf-8", headers = {} }

[cluster.app]
endpoints = [
  "127.0.0.1:3000",
  "127.0.0.1:3001",
]
queue = { size = 9 }
health.passive = "off"
"#;
    assert_eq!((code, printed.as_str()), (Some(0), expected.trim_start()));
    let [once, twice] = [&text, &printed].map(|text| lb_config::Config::parse(text, &|_| None).unwrap().config);
    assert_eq!(once, twice, "{printed}");
}

/// What a command says in a directory of its own, with this on its standard input.
fn inside(directory: &TempDir, arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = lbproxy(arguments);
    let command = command.current_dir(directory.path()).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that reads nothing may be gone already.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_hyphen_is_standard_input() {
    let directory = TempDir::new().unwrap();
    let (code, out, _) = inside(&directory, &["check", "-"], VALID);
    assert_eq!((code, out.as_str()), (Some(0), "<stdin>: valid, 1 listener, 2 routes, 1 cluster\n"));
    let (code, out, _) = inside(&directory, &["print", "-"], VALID);
    assert!(code == Some(0) && out.contains("127.0.0.1:3001"), "{out}");
    let (code, _, err) = inside(&directory, &["run", "-"], "workerz = 2\n");
    assert!(code == Some(1) && err.starts_with("<stdin>:1:1: error: unknown key `workerz`"), "{err}");
    // What it includes is relative to where we are.
    std::fs::write(directory.path().join("more.toml"), VALID).unwrap();
    let (code, out, err) = inside(&directory, &["check", "-"], "include = [\"more.toml\"]\n");
    assert!(code == Some(0) && out.starts_with("<stdin>: valid"), "{err}");
}

#[test]
fn without_a_file_it_is_looked_for_where_files_usually_are() {
    let directory = TempDir::new().unwrap();
    let usual = std::path::Path::new("/etc/lbproxy/lbproxy.toml");
    if !usual.exists() {
        let (code, out, err) = inside(&directory, &["check"], "");
        assert_eq!((code, out.as_str()), (Some(2), ""));
        assert!(err.contains("./lbproxy.toml nor /etc/lbproxy/lbproxy.toml") && err.contains("lbproxy init"), "{err}");
    }
    std::fs::write(directory.path().join("lbproxy.toml"), VALID).unwrap();
    for arguments in [&["check"][..], &["-t"], &["validate"]] {
        let (code, out, err) = inside(&directory, arguments, "");
        assert_eq!((code, out.as_str()), (Some(0), "lbproxy.toml: valid, 1 listener, 2 routes, 1 cluster\n"), "{err}");
    }
}

#[test]
fn a_first_file_is_written_and_never_over_another() {
    let directory = TempDir::new().unwrap();
    let (code, out, err) = inside(&directory, &["init"], "");
    assert!(code == Some(0) && out.contains("lbproxy run lbproxy.toml"), "{err}");
    let (code, _, err) = inside(&directory, &["check"], "");
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let path = directory.path().join("lbproxy.toml");
    std::fs::write(&path, "mine").unwrap();
    let (code, out, err) = inside(&directory, &["init"], "");
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (Some(3), "", "error: lbproxy.toml is there already, and was not changed\n")
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    let (code, out, _) = inside(&directory, &["init", "-"], "");
    assert!(code == Some(0) && lb_config::Config::parse(&out, &|_| None).is_ok(), "{out}");
}

#[test]
fn arguments_and_files_are_read_by_one_parser() {
    let said = |arguments: &[&str]| {
        let (code, _, err) = ended(lbproxy(arguments));
        assert_eq!(code, Some(2), "{err}");
        err
    };
    let err = said(&["proxy", "--to", "a:1", "--listen", ":8080"]);
    assert!(err.contains("write \"0.0.0.0:8080\" for IPv4"), "{err}");
    let err = said(&["proxy", "--to", "a:1", "--admin", "localhost:9900"]);
    assert!(err.contains("write \"127.0.0.1:9900\""), "{err}");
    let err = said(&["proxy", "--to", "a:1", "--policy", "leastconn"]);
    assert!(err.contains("did you mean `least_request`?"), "{err}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_fault() {
    let (_directory, path) = file(VALID);
    let mut child = lbproxy(&["print", path.to_str().unwrap()]);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn schema_is_json() {
    let (code, out, _) = ended(lbproxy(&["schema"]));
    let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, Some(0));
    assert!(schema["properties"]["listener"].is_object(), "{out}");
}

#[test]
fn shells_complete_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, out, _) = ended(lbproxy(&["completions", shell]));
        assert_eq!(code, Some(0));
        for command in ["run", "check", "print", "init", "schema", "proxy", "demo"] {
            assert!(out.contains(command), "{command} is not in the script for {shell}");
        }
    }
}

#[test]
fn wrong_arguments_are_2() {
    for arguments in [&[][..], &["serve"], &["proxy"], &["proxy", "--to", "a:1", "--policy", "fastest"]] {
        let (code, out, err) = ended(lbproxy(arguments));
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(err.contains("--help") || err.contains("Usage: lbproxy"), "{err}");
    }
    let (code, _, err) = ended(lbproxy(&["proxy", "--listen", "nowhere", "--to", "https://a/x"]));
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("nowhere") && err.contains("https://a/x"), "both are told: {err}");
}

#[test]
fn help_tells_every_exit_code() {
    let (code, out, _) = ended(lbproxy(&["--help"]));
    assert_eq!(code, Some(0));
    for line in ["0    fine", "1    the configuration", "2    wrong", "3    could not start", "4    requests were cut"]
    {
        assert!(out.contains(&format!("\n  {line}")), "{line} is not in\n{out}");
    }
}

#[test]
fn a_wrong_configuration_is_1_and_nothing_is_bound() {
    let (code, out, err) = with_file("run", &VALID.replace("cluster = \"app\"", "cluster = \"ap\""));
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("there is no cluster `ap`"), "{err}");
    assert!(!err.contains("listening on"), "{err}");
}

#[test]
fn an_address_in_use_is_3() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (code, _, err) = with_file("run", &VALID.replace("127.0.0.1:0", &address.to_string()));
    assert_eq!(code, Some(3), "{err}");
    assert!(err.contains(&format!("cannot listen on {address}")), "{err}");
    assert!(!err.contains("ready generation"), "{err}");

    let (code, _, err) = ended(lbproxy(&["proxy", "--listen", &address.to_string(), "--to", "127.0.0.1:1"]));
    assert_eq!(code, Some(3), "{err}");
}

#[test]
fn a_log_that_cannot_be_written_is_3() {
    let (code, _, err) = with_file("run", &format!("log.access.to = \"/nonexistent/access.log\"\n{VALID}"));
    assert_eq!(code, Some(3), "{err}");
    assert!(err.contains("cannot write the access log"), "{err}");
}

#[test]
fn the_demonstration_shows_where_requests_went() {
    let (code, out, err) = ended(lbproxy(&["demo", "--seconds", "1", "--rate", "100"]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("curl -i http://127.0.0.1:") && out.contains("/status"), "{out}");
    let clients = out.lines().rfind(|line| line.trim_start().starts_with("clients")).unwrap();
    let words: Vec<_> = clients.split_whitespace().collect();
    assert_eq!(words[1..3], ["0", "failed"], "{out}");
    let requests: u32 = clients.split("  ").filter_map(|cell| cell.trim().parse().ok()).max().unwrap();
    assert!((1..=101).contains(&requests), "at most one each hundredth of a second and one at once: {out}");
    assert!(out.ends_with("stopped\n") && !out.contains('\x1b'), "{out}");
}

#[test]
fn the_demonstration_shows_an_ejection_in_its_first_seconds() {
    let (code, out, err) = ended(lbproxy(&["demo", "--seconds", "5", "--rate", "100"]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("flaky begins to answer 500") && out.contains("flaky ejected for"), "{out}");
}

/// The README, and the text of its first block in this language.
fn readme(language: &str) -> (String, String) {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
    let block = text.split_once(&format!("```{language}\n")).unwrap().1.split_once("```").unwrap().0.to_owned();
    (text, block)
}

#[test]
fn the_file_in_the_readme_is_valid() {
    let (code, _, err) = with_file("check", &readme("toml").1);
    assert_eq!((code, err.as_str()), (Some(0), ""));
}

#[test]
fn the_rust_in_the_readme_is_what_lb_tower_compiles() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates/lb-tower/src/lib.rs")).unwrap();
    let doc = page.lines().map(|line| line.strip_prefix("//!").unwrap_or(line));
    let page: String = doc.map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned() + "\n").collect();
    let (_, example) = readme("rust");
    assert!(page.contains(&example), "README.md and crates/lb-tower/src/lib.rs differ");
}

#[test]
fn what_the_readme_says_is_not_built_is_refused() {
    let text = readme("toml").0;
    let listed = text.split_once("## What does not work yet").unwrap().1.split_once("\nNor are there keys").unwrap().0;
    let keys: Vec<_> = listed.split('`').skip(1).step_by(2).collect();
    assert!(keys.len() > 5, "{keys:?}");
    for key in keys {
        let (section, name) = key.split_once('.').unwrap();
        let line = format!("{name} = \"x\"");
        let part = |of: &str| if of == section { line.as_str() } else { "" };
        let file = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n{}\n[[route]]\ncluster = \"app\"\n{}\n\
             rate_limit = {{ rate = \"1/s\", {} }}\n[cluster.app]\n{}\nendpoints = [{{ address = \"a:1\", {} }}, \"b:1\"]\n\
             health.active = {{ {} }}\n",
            part("listener"),
            part("route"),
            part("rate_limit"),
            part("cluster"),
            part("endpoint"),
            part("active"),
        );
        let refused = lb_config::Config::parse(&file, &|_| None).expect_err(key).to_string();
        assert!(refused.contains("not built yet") && refused.contains(name), "{key}: {refused}");
    }
}

/// What `check` says of a TLS listener whose certificate is in these files, with the directory left out.
fn check_tls(files: &[(&str, &str)], tls: &str) -> (Option<i32>, String) {
    let text = format!("[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\nredirect = \"https\"\ntls = {tls}\n");
    let (directory, path) = file(&text);
    for (name, content) in files {
        private(&directory.path().join(name), content);
    }
    let (code, _, err) = ended(lbproxy(&["check", path.to_str().unwrap()]));
    (code, err.replace(&format!("{}/", directory.path().display()), ""))
}

/// Writes a file that only its owner can read, as that of a key should be.
fn private(path: &std::path::Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

#[test]
fn what_is_wrong_with_a_certificate_is_placed_where_it_is_named() {
    let (cert, key) = certificate(|_| {});
    let directory = TempDir::new().unwrap();
    let (etc, certs) = (directory.path().join("etc"), directory.path().join("certs"));
    for path in [&etc, &certs] {
        std::fs::create_dir(path).unwrap();
    }
    let file = etc.join("lbproxy.toml");
    let text = "[[listener]]\naddress = \"127.0.0.1:0\"\nredirect = \"https\"\n\
                tls = { cert = \"../certs/c.pem\", key = \"../certs/k.pem\" }\n";
    std::fs::write(&file, text).unwrap();
    let said = |arguments: &[&str]| {
        let mut command = lbproxy(arguments);
        command.current_dir(&directory);
        let (code, _, err) = ended(command);
        (code, err)
    };
    let certs = certs.canonicalize().unwrap();
    let (code, err) = said(&["check", "etc/lbproxy.toml"]);
    let expected = format!(
        "etc/lbproxy.toml:4:16: error: listener 127.0.0.1:0: {}/c.pem: cannot be read: No such file or directory (os error 2)\n  \
         |\n4 | tls = {{ cert = \"../certs/c.pem\", key = \"../certs/k.pem\" }}\n  |                ^^^^^^^^^^^^^^^^\n",
        certs.display()
    );
    assert!(code == Some(1) && err.starts_with(&expected), "{expected}\n{err}");
    let (code, err) = said(&["run", "etc/lbproxy.toml"]);
    assert_eq!(code, Some(3));
    assert!(
        err.contains(&format!("etc/lbproxy.toml:4:16: cannot start: TLS: {}/c.pem: cannot be", certs.display())),
        "{err}"
    );

    // A key readable by all is a warning, not an error.
    private(&certs.join("c.pem"), &cert);
    private(&certs.join("k.pem"), &key);
    assert_eq!(said(&["check", "etc/lbproxy.toml"]), (Some(0), String::new()));
    std::fs::set_permissions(certs.join("k.pem"), std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let (code, err) = said(&["check", "etc/lbproxy.toml"]);
    assert_eq!(code, Some(0));
    assert!(
        err.starts_with("etc/lbproxy.toml:4:40: warning: listener 127.0.0.1:0: ")
            && err.contains("every user of this machine (mode 0666)"),
        "{err}"
    );
}

fn certificate(change: impl FnOnce(&mut rcgen::CertificateParams)) -> (String, String) {
    let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
    change(&mut params);
    let key = rcgen::KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[test]
fn check_names_what_is_wrong_with_a_certificate() {
    let (cert, key) = certificate(|_| {});
    let (_, other) = certificate(|_| {});
    let pair = "{ certificates = [{ cert = \"c.pem\", key = \"k.pem\" }] }";
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let strange = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    for (files, what) in [
        (&[][..], "error: listener web: c.pem: cannot be read: No such file"),
        (
            &[("c.pem", &*cert), ("k.pem", &*other)],
            "error: listener web: k.pem: the private key does not belong to the certificate in c.pem",
        ),
        (&[("c.pem", ""), ("k.pem", &key)], "error: listener web: c.pem: has no PEM in it"),
        (
            &[("c.pem", &key), ("k.pem", &key)],
            "error: listener web: c.pem: has no certificate in it, only a private key",
        ),
        (
            &[("c.pem", &cert), ("k.pem", &cert)],
            "error: listener web: k.pem: has no private key in it, only certificates",
        ),
        (&[("c.pem", &cert), ("k.pem", encrypted)], "error: listener web: k.pem: has a private key that is encrypted"),
        (
            &[("c.pem", &cert), ("k.pem", strange)],
            "error: listener web: k.pem: has a private key that cannot be used: it",
        ),
    ] {
        let (code, err) = check_tls(files, pair);
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains(what), "{what:?} is not in\n{err}");
        assert!(err.ends_with("not valid, 1 error\n"), "{err}");
    }
    let (code, err) = check_tls(&[("c.pem", &cert), ("k.pem", &key)], pair);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let auth = "{ certificates = [{ pem = \"all.pem\" }], client_auth.ca = \"ca.pem\" }";
    let (code, err) = check_tls(&[("all.pem", &(key.clone() + &cert))], auth);
    assert_eq!(code, Some(1));
    assert!(err.contains("listener web: ca.pem: cannot be read"), "{err}");
}

#[test]
fn check_warns_of_certificates_that_expire() {
    let pair = "{ certificates = [{ cert = \"c.pem\", key = \"k.pem\" }] }";
    let day = 24 * 60 * 60;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    for (from, until, what) in [
        (-100 * day, -10 * day, Some("the certificate expired 10 days ago")),
        // A little more than ten days, so that the clock cannot make them nine.
        (-100 * day, 10 * day + 3600, Some("the certificate expires in 10 days")),
        (5 * day + 3600, 100 * day, Some("the certificate is not valid yet: it begins in 5 days")),
        (-100 * day, 15 * day, None),
    ] {
        let at =
            |seconds: i64| rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs((now + seconds) as u64);
        let (cert, key) = certificate(|params| (params.not_before, params.not_after) = (at(from), at(until)));
        let (code, err) = check_tls(&[("c.pem", &cert), ("k.pem", &key)], pair);
        assert_eq!(code, Some(0), "{err}");
        match what {
            Some(what) => assert!(err.contains(&format!("warning: listener web: c.pem: {what}")), "{err}"),
            None => assert_eq!(err, ""),
        }
    }
}

#[test]
fn check_reads_the_certificates_of_clusters() {
    let (cert, key) = certificate(|_| {});
    let (_, other) = certificate(|_| {});
    for (tls, expected) in [
        ("{ ca = \"none.pem\" }", "error: cluster app: none.pem: cannot be read: No such file"),
        ("{ ca = \"key.pem\" }", "error: cluster app: key.pem: has no certificate in it, only a private key"),
        (
            "{ ca = \"cert.pem\", client_cert = \"cert.pem\", client_key = \"other.pem\" }",
            "error: cluster app: other.pem: the private key does not belong to the certificate in cert.pem",
        ),
        ("{ ca = \"cert.pem\", client_cert = \"cert.pem\", client_key = \"key.pem\" }", ""),
    ] {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[[route]]\ncluster = \"app\"\n[cluster.app]\n\
             endpoints = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\ntls = {tls}\n"
        );
        let (directory, path) = file(&text);
        for (name, content) in [("cert.pem", &cert), ("key.pem", &key), ("other.pem", &other)] {
            private(&directory.path().join(name), content);
        }
        let (code, _, err) = ended(lbproxy(&["check", path.to_str().unwrap()]));
        let err = err.replace(&format!("{}/", directory.path().display()), "");
        assert_eq!((code, err.contains(expected)), (Some(i32::from(!expected.is_empty())), true), "{expected}: {err}");
    }
}

#[test]
fn check_names_the_suites_and_versions_that_there_are() {
    for (tls, expected) in [
        ("cipher_suites = [\"ECDHE-RSA-AES128-GCM-SHA265\"]", "ECDHE-RSA-AES128-GCM-SHA256"),
        ("cipher_suites = [\"TLS_AES_128_GCM\"]", "TLS_AES_128_GCM_SHA256"),
        ("min_version = \"1.1\"", "expected one of \"1.2\", \"1.3\""),
        ("alpn = [\"h3\"]", "h2"),
    ] {
        let (cert, key) = certificate(|_| {});
        let tls = format!("{{ certificates = [{{ pem = \"all.pem\" }}], {tls} }}");
        let (code, err) = check_tls(&[("all.pem", &(key + &cert))], &tls);
        assert_eq!((code, err.contains(expected)), (Some(1), true), "{expected}: {err}");
    }
}
