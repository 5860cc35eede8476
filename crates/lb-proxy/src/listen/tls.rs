//! Tls: the handshake, in the connection's own task.
//!
//! It shares `limits.head_timeout` with the first request's head: a client that has said nothing useful by then is not
//! worth its socket, whichever layer it is silent on. A failed handshake is logged at debug level only, because anybody
//! can fail one; the metrics count them by result.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::AsyncWrite;

use crate::downstream::TlsFacts;
use crate::net::{PlainHttp, Stream, Timer, TlsStream};
use crate::observe::metrics::Handshake;
use crate::runtime::snapshot::ListenerRuntime;
use crate::tls::Terminator;
use crate::worker::shutdown::Shutdown;

/// Why there is no TLS.
enum Failure {
    Refused(io::Error),
    PlainHttp,
    TimedOut,
    Stopping,
}

/// Makes the handshake; `None` if it failed, which has been counted and logged. `timer` runs on: what it counts is the
/// time to the first request's head.
pub(crate) async fn handshake(
    stream: Stream,
    terminator: &Arc<Terminator>,
    listener: &ListenerRuntime,
    peer: Option<SocketAddr>,
    timer: &mut Timer,
    limit: Duration,
    stop: &Shutdown,
) -> Option<(Stream, TlsFacts)> {
    let made = terminator.settings().and_then(|settings| TlsStream::server(stream, settings));
    let stream = match made {
        Ok(stream) => stream,
        Err(error) => {
            tracing::error!("listener {} cannot speak TLS: {error}", listener.name);
            return None;
        }
    };
    match complete(stream, timer, limit, stop).await {
        Ok(stream) => {
            listener.metrics.on_handshake(if stream.is_resumed() { Handshake::Resumed } else { Handshake::Full });
            let facts = TlsFacts::new(Arc::clone(terminator), &stream);
            Some((Stream::Tls(Box::new(stream)), facts))
        }
        Err(failure) => {
            let (result, why) = match &failure {
                Failure::Refused(error) if is_gone(error) => (Handshake::Gone, "the client went away".to_owned()),
                Failure::Refused(error) => (Handshake::Failed, error.to_string()),
                Failure::PlainHttp => (Handshake::Failed, PlainHttp.to_string()),
                Failure::TimedOut => (Handshake::TimedOut, format!("not done within {limit:?}")),
                Failure::Stopping => (Handshake::Gone, "shutting down".to_owned()),
            };
            listener.metrics.on_handshake(result);
            let client = peer.map_or_else(|| "unix".to_owned(), |peer| peer.to_string());
            tracing::debug!("TLS handshake failed client={client} listener={}: {why}", listener.name);
            None
        }
    }
}

async fn complete(
    mut stream: TlsStream,
    timer: &mut Timer,
    limit: Duration,
    stop: &Shutdown,
) -> Result<TlsStream, Failure> {
    /// How long a shutdown waits for it: as for a first request.
    const GRACE: Duration = Duration::from_secs(1);
    let mut stopping = pin!(stop.triggered());
    let mut is_hurried = false;
    let done = poll_fn(|cx| {
        if let Poll::Ready(done) = stream.poll_handshake(cx) {
            return Poll::Ready(done.map_err(Failure::Refused));
        }
        if !is_hurried && stopping.as_mut().poll(cx).is_ready() {
            is_hurried = true;
            timer.clear();
        }
        let limit = if is_hurried { limit.min(GRACE) } else { limit };
        timer.poll_after(cx, limit).map(|()| Err(if is_hurried { Failure::Stopping } else { Failure::TimedOut }))
    })
    .await;
    match done {
        Err(Failure::Refused(error)) if is_plain_http(&error) => {
            refuse_plain(stream.under_mut());
            Err(Failure::PlainHttp)
        }
        done => done.map(|()| stream),
    }
}

/// Tells a client that came without TLS what it would otherwise have to guess. Nobody waits for it to read that.
fn refuse_plain(stream: &mut Stream) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 28\r\n\
        Connection: close\r\n\r\nthis port speaks HTTPS only\n";
    let cx = &mut Context::from_waker(Waker::noop());
    let mut stream = Pin::new(stream);
    if stream.as_mut().poll_write(cx, ANSWER).is_ready() {
        let _ = stream.poll_shutdown(cx);
    }
}

fn is_plain_http(error: &io::Error) -> bool {
    let Some(inner) = error.get_ref() else { return false };
    inner.is::<PlainHttp>()
}

/// Whether the client left, which probes of the port do, and not TLS that failed.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}
