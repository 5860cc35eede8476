//! Starting, and not being able to.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use rustix::process::Signal;

use crate::support::{Endpoint, Proxy, config, failed_start, get};
use crate::{app, with_one_and_four_workers};

with_one_and_four_workers!(
    a_port_is_not_shared_with_another_process,
    a_wrong_configuration_binds_nothing,
    a_failed_start_leaves_nothing_behind,
    ipv6_is_served,
    the_log_has_the_networks_allowed_at_the_admin_listener,
    a_signal_to_upgrade_does_not_end_the_process,
    few_open_files_are_warned_of_once_where_the_file_leaves_the_number_open,
);

fn at(text: &str, address: &str) -> String {
    text.replace("name = \"web\"\naddress = \"127.0.0.1:0\"", &format!("name = \"web\"\naddress = \"{address}\""))
}

fn a_port_is_not_shared_with_another_process(workers: usize) {
    let endpoint = Endpoint::named("done");
    let text = config(workers, &app(&[&endpoint.at()], ""));
    let first = Proxy::start(&text);
    let web = first.web();
    for second in [at(&text, &web.to_string()), at(&text, &format!("0.0.0.0:{}", web.port()))] {
        let exit = failed_start(&second);
        assert_eq!(exit.code, Some(3), "{:#?}", exit.log);
        let said = exit.log.join("\n");
        assert!(said.contains("cannot start: cannot listen on ") && said.contains(&web.port().to_string()), "{said}");
        assert!(!said.contains("ready generation"), "{said}");
    }
    let exit = failed_start(
        &text.replace("admin.address = \"127.0.0.1:0\"", &format!("admin.address = \"{}\"", first.admin())),
    );
    assert_eq!(exit.code, Some(3), "{:#?}", exit.log);
    assert!(exit.log.join("\n").contains(&format!("cannot listen on {}", first.admin())), "{:#?}", exit.log);
    // Nor with a process that sets SO_REUSEPORT.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let exit = failed_start(&at(&text, &other.local_addr().unwrap().to_string()));
    assert_eq!(exit.code, Some(3), "{:#?}", exit.log);
    for _ in 0..20 {
        assert_eq!(get(web, "/").text(), "done", "the first one has every connection");
    }
}

fn a_wrong_configuration_binds_nothing(workers: usize) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("a.sock");
    let text = at(&config(workers, &app(&["127.0.0.1:1"], "policy = \"best\"")), &format!("unix:{}", socket.display()));
    let exit = failed_start(&text);
    assert_eq!(exit.code, Some(1), "{:#?}", exit.log);
    let said = exit.log.join("\n");
    let line = 1 + text.lines().position(|line| line.contains("\"best\"")).unwrap();
    assert!(said.contains(&format!("lbproxy.toml:{line}:")) && !said.contains("listening on"), "{said}");
    assert!(!socket.exists());
}

fn a_failed_start_leaves_nothing_behind(workers: usize) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("a.sock");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let good = at(&config(workers, &app(&["127.0.0.1:1"], "")), &format!("unix:{}", socket.display()));
    let address = taken.local_addr().unwrap();
    for text in [
        format!("{good}[[listener]]\nname = \"taken\"\naddress = \"{address}\"\n"),
        good.replace("admin.address = \"127.0.0.1:0\"", &format!("admin.address = \"{address}\"")),
        good.replace("{ format = \"json\" }", "{ format = \"json\", to = \"/nonexistent/access.log\" }"),
    ] {
        let exit = failed_start(&text);
        assert_eq!(exit.code, Some(3), "{:#?}", exit.log);
        assert!(!socket.exists());
    }
    // A file that is no socket blocks only our start, and is not touched.
    std::fs::write(&socket, "precious").unwrap();
    let exit = failed_start(&good);
    assert_eq!(exit.code, Some(3), "{:#?}", exit.log);
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "precious");
    std::fs::remove_file(&socket).unwrap();
    let _alive = UnixListener::bind(&socket).unwrap();
    let exit = failed_start(&good);
    assert_eq!(exit.code, Some(3), "{:#?}", exit.log);
    assert!(exit.log.join("\n").contains(&format!("cannot listen on unix:{}", socket.display())), "{:#?}", exit.log);
    assert!(socket.exists(), "the socket is in use");
}

#[allow(clippy::print_stderr, reason = "whoever reads the results should know that this was not tried")]
fn ipv6_is_served(workers: usize) {
    match TcpListener::bind("[::1]:0") {
        Ok(_) => {}
        Err(error) if matches!(error.kind(), ErrorKind::AddrNotAvailable | ErrorKind::Unsupported) => {
            eprintln!("not tried, this machine has no IPv6: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    }
    let endpoint = Endpoint::named("done");
    let proxy = Proxy::start(&at(&config(workers, &app(&[&endpoint.at()], "")), "[::1]:0"));
    assert!(proxy.web().is_ipv6());
    assert_eq!(get(proxy.web(), "/six").text(), "done");
    assert_eq!(endpoint.last().header("X-Forwarded-For"), Some("::1"));
    assert_eq!(proxy.access_of("/six")["client"], "::1");
}

fn the_log_has_the_networks_allowed_at_the_admin_listener(workers: usize) {
    let text = config(workers, &app(&["127.0.0.1:1"], ""));
    let mut proxy = Proxy::start(&text);
    proxy.wait_log(&format!("admin on {} allow=loopback", proxy.admin()));
    let open = "admin = { address = \"0.0.0.0:0\", allow = [\"10.0.0.0/8\", \"127.0.0.1\"] }";
    proxy.reload(&text.replace("admin.address = \"127.0.0.1:0\"", open));
    proxy.wait_log(" allow=10.0.0.0/8,127.0.0.1");
}

fn a_signal_to_upgrade_does_not_end_the_process(workers: usize) {
    let endpoint = Endpoint::named("done");
    let proxy = Proxy::start(&config(workers, &app(&[&endpoint.at()], "")));
    proxy.signal(Signal::USR2);
    proxy.wait_log("SIGUSR2 ignored");
    assert_eq!(get(proxy.web(), "/").text(), "done");
}

fn few_open_files_are_warned_of_once_where_the_file_leaves_the_number_open(workers: usize) {
    let with = |limits: &str| config(workers, &format!("{limits}\n{}", app(&["127.0.0.1:1"], "")));
    let mut proxy = Proxy::start_with_files(&with(""), 256);
    let number = proxy.metric("lbproxy_connections_limit", &[]);
    assert!((64.0..100.0).contains(&number), "{number}");
    proxy.reload(&with("limits.uri = \"4KiB\""));
    let log = proxy.log();
    let lines: Vec<_> = log.iter().filter(|line| line.contains("limits.connections")).collect();
    let [line] = lines[..] else { panic!("{log:#?}") };
    let beginning = format!("limits.connections = \"auto\" is {number} only, since this process may open 256 files");
    for part in ["WARN", &beginning, "`ulimit -n`", "`LimitNOFILE=`"] {
        assert!(line.contains(part), "{part}: {line}");
    }

    let proxy = Proxy::start_with_files(&with("limits.connections = 16"), 256);
    assert!(!proxy.log().iter().any(|line| line.contains("limits.connections")), "it is what was asked for");
}
