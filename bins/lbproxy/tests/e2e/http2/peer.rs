//! A client that speaks HTTP/2 by a library.

use std::future::Future;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, StatusCode};
use tokio::net::TcpStream;

use crate::support::DEADLINE;

/// Runs a scenario to its end, on this thread.
#[track_caller]
pub(crate) fn run<T>(scenario: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(3 * DEADLINE, scenario).await.expect("the scenario ends in time") })
}

/// Waits for something that the scenario's own connections may have to do with.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}

/// The final value of a count: once it is nonzero and unchanged for a while.
pub(crate) async fn settled(count: impl Fn() -> usize) -> usize {
    until(|| count() > 0).await;
    let mut last = count();
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let now = count();
        if now == last {
            return now;
        }
        last = now;
    }
}

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    /// Why the stream was reset before its end.
    pub(crate) reset: Option<Reason>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(crate) fn trailer(&self, name: &str) -> &str {
        let trailers = self.trailers.as_ref();
        trailers.and_then(|trailers| trailers.get(name)?.to_str().ok()).unwrap_or_default()
    }
}

/// A connection to the proxy.
pub(crate) struct Caller {
    pub(crate) send: SendRequest<Bytes>,
    /// Ends with the connection: how.
    pub(crate) connection: tokio::task::JoinHandle<Result<(), h2::Error>>,
    at: SocketAddr,
}

impl Caller {
    pub(crate) async fn connect(at: SocketAddr) -> Self {
        Self::built(at, &h2::client::Builder::new()).await
    }

    pub(crate) async fn built(at: SocketAddr, builder: &h2::client::Builder) -> Self {
        let stream = TcpStream::connect(at).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (send, connection) = builder.handshake(stream).await.unwrap();
        Self { send, connection: tokio::spawn(connection), at }
    }

    /// A request for a path of the host `a`.
    pub(crate) fn request(&self, method: &str, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(format!("http://a:{}{path}", self.at.port()))
    }

    /// Begins a request.
    pub(crate) async fn begin(&mut self, request: Request<()>, ends: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let mut ready = self.send.clone().ready().await.unwrap();
        ready.send_request(request, ends).unwrap()
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        let request = self.request("GET", path).body(()).unwrap();
        self.ask(request).await
    }

    /// Asks without a body.
    pub(crate) async fn ask(&mut self, request: Request<()>) -> Answer {
        let (response, _) = self.begin(request, true).await;
        read(response).await
    }

    /// Asks with a body of these pieces, and perhaps trailers.
    pub(crate) async fn send(&mut self, request: Request<()>, pieces: &[&[u8]], trailers: Option<HeaderMap>) -> Answer {
        let (response, mut body) = self.begin(request, false).await;
        for (index, piece) in pieces.iter().enumerate() {
            let is_last = trailers.is_none() && index + 1 == pieces.len();
            push(&mut body, Bytes::copy_from_slice(piece), is_last).await.unwrap();
        }
        if let Some(trailers) = trailers {
            body.send_trailers(trailers).unwrap();
        }
        read(response).await
    }
}

/// Sends a piece of a body as the windows allow.
pub(crate) async fn push(to: &mut SendStream<Bytes>, mut piece: Bytes, ends: bool) -> Result<(), h2::Error> {
    if piece.is_empty() {
        return to.send_data(piece, ends);
    }
    while !piece.is_empty() {
        to.reserve_capacity(piece.len());
        let mut room = to.capacity();
        if room == 0 {
            room = match std::future::poll_fn(|cx| to.poll_capacity(cx)).await {
                Some(room) => room?,
                None => return Err(Reason::STREAM_CLOSED.into()),
            };
        }
        let part = piece.split_to(room.min(piece.len()));
        to.send_data(part, ends && piece.is_empty())?;
    }
    Ok(())
}

/// Reads an answer to its end, or to where it was broken off.
pub(crate) async fn read(response: ResponseFuture) -> Answer {
    match response.await {
        Ok(response) => read_body(response).await,
        Err(error) => Answer { reset: Some(error.reason().unwrap_or(Reason::INTERNAL_ERROR)), ..Answer::default() },
    }
}

pub(crate) async fn read_body(response: http::Response<RecvStream>) -> Answer {
    let (parts, mut body) = response.into_parts();
    let status: StatusCode = parts.status;
    let mut answer = Answer { status: status.as_u16(), headers: parts.headers, ..Answer::default() };
    let mut data = BytesMut::new();
    while let Some(piece) = body.data().await {
        match piece {
            Ok(piece) => {
                body.flow_control().release_capacity(piece.len()).unwrap();
                data.extend_from_slice(&piece);
            }
            Err(error) => {
                answer.reset = Some(error.reason().unwrap_or(Reason::INTERNAL_ERROR));
                break;
            }
        }
    }
    if answer.reset.is_none() {
        match body.trailers().await {
            Ok(trailers) => answer.trailers = trailers,
            Err(error) => answer.reset = Some(error.reason().unwrap_or(Reason::INTERNAL_ERROR)),
        }
    }
    answer.body = data.freeze();
    answer
}
