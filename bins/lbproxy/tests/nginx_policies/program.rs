//! nginx as a child process: upstreams that are written down here, and endpoints that say which one they are.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

/// Only a failure waits this long.
const DEADLINE: Duration = Duration::from_secs(60);

/// An endpoint of an upstream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server {
    pub(crate) weight: u16,
    pub(crate) role: Role,
}

/// What an endpoint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Serves,
    /// `down` in the configuration.
    IsDown,
    /// Nobody listens there.
    Refuses,
    /// Takes requests and never answers.
    Holds,
}

/// What nginx calls an upstream's endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// `127.0.0.1:PORT`.
    Ports,
    /// `unix:PATH`.
    Paths,
}

/// An upstream: a line such as `ip_hash;`, and its endpoints.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    pub(crate) method: &'static str,
    pub(crate) names: Names,
    pub(crate) servers: Vec<Server>,
}

impl Upstream {
    /// All of them serve.
    pub(crate) fn new(method: &'static str, weights: &[u16]) -> Self {
        let servers = weights.iter().map(|&weight| Server { weight, role: Role::Serves });
        Self { method, names: Names::Ports, servers: servers.collect() }
    }

    /// Names them by paths.
    pub(crate) fn by_path(mut self) -> Self {
        self.names = Names::Paths;
        self
    }

    /// Gives one of them another role.
    pub(crate) fn with(mut self, place: usize, role: Role) -> Self {
        self.servers[place].role = role;
        self
    }
}

/// A request that an endpoint holds.
#[derive(Debug)]
pub(crate) struct Held {
    place: usize,
    request_line: String,
    stream: TcpStream,
}

/// A running nginx with one worker; killed when dropped.
pub(crate) struct Nginx {
    child: Child,
    front: SocketAddr,
    /// The text of its configuration, to explain a difference.
    pub(crate) configuration: String,
    names: Vec<Vec<String>>,
    /// Every request that an endpoint holds.
    held: Receiver<Held>,
    /// Bound and not listening: the ports are ours, and no other process gets them. nginx sets SO_REUSEADDR as well, and so may listen there.
    _ports: Vec<Socket>,
    _directory: TempDir,
}

/// Whether there is an nginx.
pub(crate) fn is_there() -> bool {
    Command::new("nginx").arg("-v").output().is_ok_and(|output| output.status.success())
}

impl Nginx {
    /// Starts with these upstreams and waits until it listens.
    #[track_caller]
    pub(crate) fn start(upstreams: &[Upstream]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let at = directory.path().display().to_string();
        let (holding, held) = channel();
        let mut ports = vec![bound()];
        let front = address(&ports[0]);
        let (mut blocks, mut locations, mut endpoints, mut names) =
            (String::new(), String::new(), String::new(), Vec::new());
        for (number, upstream) in upstreams.iter().enumerate() {
            let mut lines = String::new();
            let own = upstream.servers.iter().enumerate().map(|(place, server)| {
                let name = match upstream.names {
                    Names::Paths => format!("unix:{at}/{number}-{place}.sock"),
                    Names::Ports => {
                        let port = bound();
                        let name = address(&port).to_string();
                        match server.role {
                            Role::Holds => hold(port, place, holding.clone()),
                            _ => ports.push(port),
                        }
                        name
                    }
                };
                let down = if server.role == Role::IsDown { " down" } else { "" };
                // Without a count of failures, a failing endpoint is tried again by the next request.
                let _ = writeln!(lines, "    server {name} weight={} max_fails=0{down};", server.weight);
                if server.role == Role::Serves {
                    let _ = writeln!(endpoints, "  server {{ listen {name}; return 200 \"{place}\"; }}");
                }
                name
            });
            names.push(own.collect::<Vec<_>>());
            let method = upstream.method;
            let _ = write!(blocks, "  upstream up{number} {{\n    {method}\n{lines}  }}\n");
            let _ = writeln!(locations, "    location =/{number} {{ proxy_pass http://up{number}; }}");
        }
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary: String = temporary.map(|what| format!("  {what}_temp_path {at}/{what};\n")).concat();
        let configuration = format!(
            "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log stderr notice;\nevents {{}}\nhttp {{\n  access_log off;\n  \
             keepalive_requests 1000000;\n{temporary}{blocks}{endpoints}  server {{\n    listen {front};\n{locations}  }}\n}}\n"
        );
        let file = directory.path().join("nginx.conf");
        std::fs::write(&file, &configuration).expect("a file");
        let mut child = Command::new("nginx")
            .args(["-e", "stderr", "-p"])
            .arg(directory.path())
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it was there");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let mut said = String::new();
        // It says on which system it runs once it listens.
        while !said.contains("OS: ") {
            if log.read_line(&mut said).is_ok_and(|read| read == 0) {
                panic!("nginx did not start: {said}\n{configuration}");
            }
        }
        // It may not be kept from writing more.
        std::thread::spawn(move || io::copy(&mut log, &mut io::sink()));
        Self { child, front, configuration, names, held, _ports: ports, _directory: directory }
    }

    /// What nginx calls the endpoints of this upstream.
    pub(crate) fn names(&self, upstream: usize) -> &[String] {
        &self.names[upstream]
    }

    /// The place of the endpoint that holds the request to this upstream with `arguments` as its query, and the connection on which it came.
    /// Requests from elsewhere are ignored: any program on the machine may connect to an endpoint's port.
    #[track_caller]
    pub(crate) fn held(&self, upstream: usize, arguments: &str) -> (usize, TcpStream) {
        let expected = format!("GET /{upstream}?{arguments} HTTP/1.0\r\n");
        loop {
            let held = self.held.recv_timeout(DEADLINE).expect("nginx forwards the request");
            if held.request_line == expected {
                return (held.place, held.stream);
            }
        }
    }

    /// A client at 127.0.0.1.
    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        self.client_from(Ipv4Addr::LOCALHOST)
    }

    /// A client at this address.
    #[track_caller]
    pub(crate) fn client_from(&self, from: Ipv4Addr) -> Client {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddrV4::new(from, 0).into()).expect("all of 127.0.0.0/8 is ours");
        socket.connect(&self.front.into()).expect("nginx listens");
        Client { stream: BufReader::new(socket.into()) }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection to nginx.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Sends a request to this upstream.
    #[track_caller]
    pub(crate) fn send(&mut self, upstream: usize, arguments: &str) {
        let request = format!("GET /{upstream}?{arguments} HTTP/1.1\r\nHost: a\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes()).expect("nginx reads");
    }

    /// The place of the endpoint that answers a request to this upstream, with `arguments` as its query.
    #[track_caller]
    pub(crate) fn ask(&mut self, upstream: usize, arguments: &str) -> usize {
        self.send(upstream, arguments);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.stream.read_line(&mut head).expect("nginx answers"), 0, "cut off: {head}");
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a short answer");
        let mut body = vec![0; length.parse().expect("a number")];
        self.stream.read_exact(&mut body).expect("nginx answers");
        String::from_utf8_lossy(&body).parse().expect("its place")
    }
}

/// Listens there until the test is over, and reports every request that comes.
fn hold(socket: Socket, place: usize, requests: Sender<Held>) {
    socket.listen(1_024).expect("a bound socket");
    let listener = TcpListener::from(socket);
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let requests = requests.clone();
            // A thread for each connection: one that sends nothing must not block the others.
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                let mut request_line = String::new();
                if reader.read_line(&mut request_line).is_ok() {
                    // The test may have ended.
                    let _ = requests.send(Held { place, request_line, stream: reader.into_inner() });
                }
            });
        }
    });
}

fn bound() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("a socket");
    socket.bind(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
    socket
}

fn address(socket: &Socket) -> SocketAddr {
    socket.local_addr().ok().and_then(|address| address.as_socket()).expect("a bound socket")
}
