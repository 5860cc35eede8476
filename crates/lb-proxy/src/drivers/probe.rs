//! One active check: a question to an endpoint, and whether the answer will do.
//!
//! Each check opens a connection of its own. A check over a kept connection would pass as long as that connection
//! lives, though nobody new can connect any more, which is the very thing to find out.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::BytesMut;
use lb_config::{ActiveCheck, Probe, TextPattern};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;

use super::ask::{self, Rest};
use super::programs::Programs;
use super::verdict::Verdict;
use super::{Address, Identity};
use crate::net::{Shortage, Stream, shortage};
use crate::rules::cause::Cause;
use crate::tls::{self, UpstreamTls};
use crate::wire::h1::HeadLimits;
use crate::wire::proxy_protocol::{self, ProxyHeader};

/// Makes one check.
pub trait Prober: Send + Sync + 'static {
    /// Asks the endpoint what the check says, within its timeout. Dropping the future gives the check up.
    fn probe<'a>(&'a self, question: Question<'a>) -> VerdictFuture<'a>;
}

/// Who is asked what, and how.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Who.
    pub endpoint: &'a Identity,
    /// What.
    pub check: &'a ActiveCheck,
    /// By TLS, where it is reached so.
    pub(crate) tls: Option<Arc<UpstreamTls>>,
}

/// The verdict to come.
pub type VerdictFuture<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// Checks over the network.
#[derive(Clone, Default)]
pub struct NetProber {
    programs: Programs,
    /// The limits on the head of an answer, as they are at the time; `None` is [`HeadLimits::response`].
    limits: Option<Arc<LookUpLimits>>,
}

type LookUpLimits = dyn Fn() -> HeadLimits + Send + Sync;

impl NetProber {
    /// Holds answers to the limits of those to requests.
    pub(crate) fn with_limits(limits: impl Fn() -> HeadLimits + Send + Sync + 'static) -> Self {
        Self { limits: Some(Arc::new(limits)), ..Self::default() }
    }

    /// Asks by the protocol that the endpoint speaks.
    async fn ask_by(
        &self,
        check: &ActiveCheck,
        stream: Stream,
        endpoint: &Identity,
    ) -> Result<(String, Option<Rest>), String> {
        let limits = self.limits.as_ref().map_or_else(HeadLimits::response, |limits| limits());
        let (path, expect, body) = match &check.probe {
            Probe::Http { path, expect, body, .. } => (path, expect, body),
            Probe::Grpc { .. } => return Ok((ask::by_grpc(stream, endpoint, &check.probe, &limits).await?, None)),
            Probe::Tcp { send, receive } => {
                return Ok((converse(stream, send.as_deref(), receive.as_ref()).await?, None));
            }
            // It needs no connection.
            Probe::Command { .. } => return Err("not a check by connection".to_owned()),
        };
        let answer = match check.http2 {
            true => ask::by_http2(stream, endpoint, &check.probe, &limits).await?,
            false => ask::by_http1(stream, endpoint, &check.probe, &limits).await?,
        };
        let detail = format!("status {} from {path}", answer.status);
        if !expect.iter().any(|&(from, to)| (from..=to).contains(&answer.status)) {
            return Err(detail);
        }
        let Some(wanted) = body else { return Ok((detail, answer.rest)) };
        let read = match answer.rest {
            Some(rest) => rest.read().await,
            None => Vec::new(),
        };
        // Not the text itself: it may be meant for the two of them alone, and the page is not.
        if wanted.is_in(&read) {
            Ok((detail, None))
        } else {
            Err(format!("{detail}, whose body does not match `body`"))
        }
    }
}

/// Sends a text, and waits for another.
async fn converse(mut stream: Stream, send: Option<&str>, receive: Option<&TextPattern>) -> Result<String, String> {
    if let Some(send) = send {
        stream.write_all(send.as_bytes()).await.map_err(|_| "reset while sending".to_owned())?;
    }
    let Some(receive) = receive else { return Ok("connected".to_owned()) };
    let mut read = Vec::new();
    while read.len() < ask::MAX_BODY {
        match stream.read_buf(&mut read).await {
            Ok(0) => break,
            Ok(_) if receive.is_in(&read) => return Ok("received what it should".to_owned()),
            Ok(_) => {}
            Err(_) => return Err("reset before what it should send".to_owned()),
        }
    }
    Err("it does not send what it should".to_owned())
}

impl Prober for NetProber {
    fn probe<'a>(&'a self, question: Question<'a>) -> VerdictFuture<'a> {
        Box::pin(async move {
            let Question { endpoint, check, tls } = question;
            if let Probe::Command { command } = &check.probe {
                return self.programs.run(command, endpoint, check.timeout).await;
            }
            let began = Instant::now();
            let found = tokio::time::timeout(check.timeout, self.ask(endpoint, check, tls)).await;
            let took = began.elapsed();
            match found {
                Ok(Ok((detail, rest))) => {
                    if let Some(rest) = rest {
                        rest.drain().await;
                    }
                    Verdict { ok: true, detail, took, is_void: false }
                }
                Ok(Err(Miss::Failed(detail))) => Verdict { ok: false, detail, took, is_void: false },
                Ok(Err(Miss::Short(lacked))) => Verdict { ok: false, detail: lacked.to_string(), took, is_void: true },
                Err(_) => {
                    let detail = format!("timeout after {:?}", check.timeout);
                    Verdict { ok: false, detail, took, is_void: false }
                }
            }
        })
    }
}

/// Why a check did not pass.
enum Miss {
    /// The endpoint did not do what was asked of it.
    Failed(String),
    /// This machine could not ask.
    Short(Shortage),
}

impl From<String> for Miss {
    fn from(detail: String) -> Self {
        Self::Failed(detail)
    }
}

impl Miss {
    fn connecting(error: &io::Error) -> Self {
        Shortage::of(error).map_or_else(|| Self::Failed(connect_cause(error)), Self::Short)
    }
}

impl NetProber {
    async fn ask(
        &self,
        endpoint: &Identity,
        check: &ActiveCheck,
        tls: Option<Arc<UpstreamTls>>,
    ) -> Result<(String, Option<Rest>), Miss> {
        let stream = match with_port(&endpoint.address, check.port) {
            Address::Ip(address) => {
                let connected = TcpStream::connect(address).await;
                connected.map(Stream::Tcp).map_err(|error| shortage::distinct(error, address))
            }
            Address::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
        };
        let stream = introduced(stream.map_err(|error| Miss::connecting(&error))?, check).await?;
        // A connection is enough for a TCP check that sends nothing; whose it is, TLS would have to tell.
        let Some(tls) = tls.filter(|_| check.probe != CONNECTION) else {
            return Ok(self.ask_by(check, stream, endpoint).await?);
        };
        let stream = Stream::to_tls(stream, &tls).await.map_err(|error| match tls::cause(&error) {
            Some((cause, why)) => format!("{cause}: {why}"),
            None => format!("{}: {error}", Cause::TlsHandshake),
        })?;
        Ok(self.ask_by(check, stream, endpoint).await?)
    }
}

/// Begins with the header that the endpoint expects of every connection. It names no client: we ask for ourselves.
async fn introduced<S: AsyncWrite + Unpin>(mut stream: S, check: &ActiveCheck) -> Result<S, String> {
    if let Some(version) = check.proxy_protocol {
        let mut header = BytesMut::new();
        let version = match version {
            lb_config::ProxyProtocol::V1 => proxy_protocol::Version::V1,
            lb_config::ProxyProtocol::V2 => proxy_protocol::Version::V2,
        };
        proxy_protocol::write(&mut header, version, ProxyHeader::Nothing);
        stream.write_all(&header).await.map_err(|error| connect_cause(&error))?;
    }
    Ok(stream)
}

/// The check that a connection passes.
const CONNECTION: Probe = Probe::Tcp { send: None, receive: None };

/// Another port means another TCP port; a Unix socket has none.
fn with_port(address: &Address, port: Option<u16>) -> Address {
    match (address.clone(), port) {
        (Address::Ip(mut address), Some(port)) => {
            address.set_port(port);
            Address::Ip(address)
        }
        (address, _) => address,
    }
}

fn connect_cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect_refused".to_owned(),
        io::ErrorKind::TimedOut => "connect_timeout".to_owned(),
        io::ErrorKind::HostUnreachable => "host_unreachable".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network_unreachable".to_owned(),
        _ => format!("connect_error: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::num::NonZeroU32;
    use std::path::Path;
    use std::time::Duration;

    use tokio::io::AsyncRead;
    use tokio::net::{TcpListener, UnixListener};

    use super::*;

    fn check(probe: Probe) -> ActiveCheck {
        ActiveCheck {
            probe,
            port: None,
            interval: Duration::from_secs(10),
            interval_down: None,
            jitter: 0.1,
            timeout: Duration::from_secs(5),
            rise: NonZeroU32::MIN,
            fall: NonZeroU32::MIN,
            initial_up: true,
            proxy_protocol: None,
            http2: false,
        }
    }

    fn http(path: &str, expect: &[(u16, u16)]) -> ActiveCheck {
        check(Probe::Http {
            path: path.into(),
            method: "GET".into(),
            host: None,
            expect: expect.to_vec(),
            headers: Vec::new(),
            body: None,
        })
    }

    fn at(address: Address) -> Identity {
        Identity { cluster: "c".into(), endpoint: "app-1:5678".into(), address }
    }

    async fn probe(endpoint: &Identity, check: &ActiveCheck) -> (bool, String) {
        let verdict = NetProber::default().probe(Question { endpoint, check, tls: None }).await;
        (verdict.ok, verdict.detail)
    }

    /// Answers one connection with `answer`, says nothing more, and returns what it was asked.
    async fn endpoint(answer: &'static str, keep_open: bool) -> (Identity, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            serve(stream, answer, keep_open).await
        });
        (at(Address::Ip(address)), serving)
    }

    async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str, keep_open: bool) -> String {
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") && stream.read_buf(&mut asked).await.unwrap_or(0) > 0 {}
        stream.write_all(answer.as_bytes()).await.ok();
        if keep_open {
            // Until the other side has gone.
            stream.read_to_end(&mut asked).await.ok();
        }
        String::from_utf8(asked).unwrap()
    }

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

    #[tokio::test]
    async fn it_asks_what_the_configuration_says() {
        let (one, serving) = endpoint(OK, false).await;
        assert_eq!(
            probe(&one, &http("/healthz?deep=1", &[(200, 299)])).await,
            (true, "status 200 from /healthz?deep=1".to_owned())
        );
        assert_eq!(
            serving.await.unwrap(),
            "GET /healthz?deep=1 HTTP/1.1\r\nhost: app-1:5678\r\nuser-agent: lbproxy-check\r\naccept: */*\r\nConnection: close\r\n\r\n"
        );
        let (one, serving) = endpoint("HTTP/1.1 204 No Content\r\n\r\n", true).await;
        let head = Probe::Http {
            path: "/".into(),
            method: "HEAD".into(),
            host: Some("site".into()),
            expect: vec![(204, 204)],
            headers: vec![("x-check".into(), "1".into()), ("user-agent".into(), "probe".into())],
            body: None,
        };
        assert_eq!(probe(&one, &check(head)).await, (true, "status 204 from /".to_owned()));
        assert!(
            serving
                .await
                .unwrap()
                .starts_with("HEAD / HTTP/1.1\r\nhost: site\r\naccept: */*\r\nx-check: 1\r\nuser-agent: probe\r\n")
        );
    }

    #[tokio::test]
    async fn a_status_passes_only_if_it_is_expected() {
        for (status, ok) in [(200, true), (299, true), (302, true), (399, true), (400, false), (503, false)] {
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").leak();
            let (one, _serving) = endpoint(answer, true).await;
            let found = probe(&one, &http("/", &[(200, 299), (300, 399)])).await;
            assert_eq!(found, (ok, format!("status {status} from /")));
        }
    }

    /// As the answers to requests are.
    #[tokio::test]
    async fn an_answer_that_is_written_badly_and_has_one_meaning_is_read() {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ] {
            let (one, _serving) = endpoint(answer, false).await;
            assert_eq!(
                probe(&one, &http("/", &[(200, 200)])).await,
                (true, "status 200 from /".to_owned()),
                "{answer}"
            );
        }
    }

    #[tokio::test]
    async fn nobody_there_and_nonsense_have_their_names() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone = at(Address::Ip(listener.local_addr().unwrap()));
        drop(listener);
        let ask = http("/", &[(200, 299)]);
        assert_eq!(probe(&gone, &ask).await, (false, "connect_refused".to_owned()));
        assert_eq!(probe(&gone, &check(CONNECTION)).await, (false, "connect_refused".to_owned()));
        let (one, _serving) = endpoint("SSH-2.0-OpenSSH_9.6\r\n\r\n", true).await;
        let found = probe(&one, &ask).await;
        assert!(!found.0 && found.1.starts_with("invalid_response"), "{found:?}");
        for (answer, detail) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
                "invalid_response: conflicting_length",
            ),
            ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", "invalid_response: obs_fold"),
        ] {
            let (one, _serving) = endpoint(answer, true).await;
            assert_eq!(probe(&one, &ask).await, (false, detail.to_owned()));
        }
        let large = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(128 * 1024)).leak();
        let (one, _serving) = endpoint(large, true).await;
        assert_eq!(probe(&one, &ask).await, (false, "response_too_large: head_too_large".to_owned()));
        let (one, _serving) = endpoint("", false).await;
        assert_eq!(probe(&one, &ask).await, (false, "reset before the response head".to_owned()));
        let (one, _serving) = endpoint(OK, false).await;
        let found = probe(&one, &http("no slash\u{7f}", &[(200, 299)])).await;
        assert!(!found.0 && found.1.starts_with("invalid request"), "{found:?}");
    }

    /// The clock is paused and jumps to the next timer when nothing else happens. Over a Unix socket, which delivers
    /// within the call that writes: on loopback a segment may still be on its way when the clock jumps.
    #[tokio::test(start_paused = true)]
    async fn silence_is_a_timeout_and_an_endless_body_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let one = at(Address::Unix(path));
        let ask = http("/", &[(200, 299)]);
        for (answer, expected) in [
            ("", (false, "timeout after 5s")),
            ("HTTP/1.1 100 Continue\r\n\r\n", (false, "timeout after 5s")),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", (true, "status 200 from /")),
        ] {
            let serving = async { serve(listener.accept().await.unwrap().0, answer, true).await };
            let (found, _) = tokio::join!(probe(&one, &ask), serving);
            assert_eq!(found, (expected.0, expected.1.to_owned()));
        }
    }

    #[tokio::test]
    async fn a_connection_is_enough_for_a_tcp_check_also_on_another_port() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let elsewhere = at(Address::Ip(SocketAddr::from(([127, 0, 0, 1], 1))));
        let check = ActiveCheck { port: Some(port), ..check(CONNECTION) };
        assert_eq!(probe(&elsewhere, &check).await, (true, "connected".to_owned()));
    }

    #[tokio::test]
    async fn a_unix_socket_is_asked_as_localhost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let serving = tokio::spawn(async move { serve(listener.accept().await.unwrap().0, OK, false).await });
        let ask = ActiveCheck { port: Some(1), ..http("/", &[(200, 200)]) };
        assert!(probe(&at(Address::Unix(path)), &ask).await.0);
        assert!(serving.await.unwrap().contains("host: localhost\r\n"));
        let found = probe(&at(Address::Unix(Path::new("/nonexistent/app.sock").into())), &ask).await;
        assert!(!found.0 && found.1.starts_with("connect_error"), "{found:?}");
    }
}
