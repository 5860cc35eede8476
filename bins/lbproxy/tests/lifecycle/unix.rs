//! Unix sockets, on either side of the proxy.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Instant;

use rustix::process::Signal;

use crate::support::{Client, DEADLINE, Endpoint, Proxy, config, failed_start, get, wait_until};
use crate::{Held, app, with_one_and_four_workers};

with_one_and_four_workers!(
    a_unix_socket_is_listened_on_and_taken_away_again,
    a_socket_left_by_a_dead_process_is_replaced,
    a_successor_keeps_its_socket_when_the_predecessor_ends,
    an_endpoint_may_be_a_unix_socket,
    a_reload_changes_how_many_connections_the_kernel_queues,
    a_reload_changes_the_socket_mode,
);

fn beside(text: &str, socket: &Path) -> String {
    format!("{text}[[listener]]\nname = \"unix\"\naddress = \"unix:{}\"\n", socket.display())
}

/// The body of the answer on a connection of its own.
fn ask(socket: &Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(b"GET /unix HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

fn a_unix_socket_is_listened_on_and_taken_away_again(workers: usize) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("a.sock");
    let endpoint = Endpoint::named("done");
    let one = config(workers, &app(&[&endpoint.at()], ""));
    let two = beside(&one, &socket);
    let mut proxy = Proxy::start(&two);
    for _ in 0..10 {
        assert_eq!(ask(&socket).unwrap(), "done");
    }
    let exit = failed_start(&two);
    assert_eq!(exit.code, Some(3), "{:#?}", exit.log);
    assert_eq!(ask(&socket).unwrap(), "done", "the second one has changed nothing");
    proxy.reload(&one);
    assert!(!socket.exists());
    proxy.reload(&two);
    assert_eq!(ask(&socket).unwrap(), "done");
    assert_eq!(proxy.terminate().code, Some(0));
    assert!(!socket.exists());
}

fn a_socket_left_by_a_dead_process_is_replaced(workers: usize) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("a.sock");
    let endpoint = Endpoint::named("done");
    let text = beside(&config(workers, &app(&[&endpoint.at()], "")), &socket);
    let first = Proxy::start(&text);
    let start = Instant::now();
    first.signal(Signal::KILL);
    assert_eq!(first.ended(start).code, None);
    assert_eq!(ask(&socket).unwrap_err().kind(), ErrorKind::ConnectionRefused, "the file is still there");
    let _second = Proxy::start(&text);
    assert_eq!(ask(&socket).unwrap(), "done");
}

fn a_successor_keeps_its_socket_when_the_predecessor_ends(workers: usize) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("a.sock");
    let (held, new) = (Held::named("old"), Endpoint::named("new"));
    let old = Proxy::start(&beside(&config(workers, &app(&[&held.at()], "")), &socket));
    let mut running = held.ask(Client::connect(old.web()), "/held");
    let start = Instant::now();
    old.signal(Signal::TERM);
    wait_until("the socket to be free", || ask(&socket).is_err());
    let _successor = Proxy::start(&beside(&config(workers, &app(&[&new.at()], "")), &socket));
    held.gate.open();
    assert_eq!(running.answer("GET").text(), "old");
    drop(running);
    assert_eq!(old.ended(start).code, Some(0));
    assert_eq!(ask(&socket).unwrap(), "new");
}

fn an_endpoint_may_be_a_unix_socket(workers: usize) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("endpoint.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = stream;
            let mut seen = Vec::new();
            let mut piece = [0; 1024];
            while !seen.ends_with(b"\r\n\r\n") {
                match stream.read(&mut piece) {
                    Ok(n @ 1..) => seen.extend_from_slice(&piece[..n]),
                    _ => break,
                }
            }
            // A client that has gone is no business of this endpoint.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nunix");
        }
    });
    let address = format!("unix:{}", socket.display());
    let proxy = Proxy::start(&config(workers, &app(&[&address], "")));
    for _ in 0..3 {
        assert_eq!(get(proxy.web(), "/over").text(), "unix");
    }
    assert_eq!(proxy.access_of("/over")["endpoint"], address);
    assert_eq!(proxy.endpoint("app", &address)["eligible"], true);
}

/// How many connections the kernel queues for a process that accepts none.
fn queued_by_the_kernel(proxy: &Proxy, socket: &Path) -> usize {
    let is_stopped = || {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", proxy.id())).unwrap();
        status.rsplit(')').next().unwrap().trim_start().starts_with('T')
    };
    proxy.signal(Signal::STOP);
    wait_until("it to stop", is_stopped);
    let mut queued = Vec::new();
    loop {
        let client = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        match client.connect(&socket2::SockAddr::unix(socket).unwrap()) {
            Ok(()) => queued.push(client),
            Err(error) => break assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    proxy.signal(Signal::CONT);
    queued.len()
}

fn a_reload_changes_how_many_connections_the_kernel_queues(workers: usize) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("a.sock");
    let endpoint = Endpoint::named("done");
    let with = |backlog: usize| {
        beside(&config(workers, &app(&[&endpoint.at()], "")), &socket) + &format!("backlog = {backlog}\n")
    };
    let mut proxy = Proxy::start(&with(3));
    // Of Unix sockets the kernel queues one more than `backlog`.
    assert_eq!(queued_by_the_kernel(&proxy, &socket), 4);
    proxy.reload(&with(9));
    assert_eq!(ask(&socket).unwrap(), "done", "the socket is the same");
    wait_until("the kernel to be told", || queued_by_the_kernel(&proxy, &socket) == 10);
    proxy.reload(&with(1));
    wait_until("the kernel to be told", || queued_by_the_kernel(&proxy, &socket) == 2);
    assert_eq!(ask(&socket).unwrap(), "done");
}

fn a_reload_changes_the_socket_mode(workers: usize) {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("a.sock");
    let endpoint = Endpoint::named("done");
    let with =
        |mode: &str| beside(&config(workers, &app(&[&endpoint.at()], "")), &socket) + &format!("mode = \"{mode}\"\n");
    let mode = || socket.metadata().unwrap().permissions().mode() & 0o777;
    let mut proxy = Proxy::start(&with("0600"));
    assert_eq!(mode(), 0o600);
    proxy.reload(&with("666"));
    assert_eq!((mode(), ask(&socket).unwrap().as_str()), (0o666, "done"));
}
