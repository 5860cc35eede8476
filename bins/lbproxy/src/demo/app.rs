//! The three endpoints of the demonstration: small HTTP services in this process, on loopback.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::time::Instant;

/// Names itself in every response.
pub(crate) const SERVED_BY: HeaderName = HeaderName::from_static("served-by");
/// Where the proxy asks how an endpoint is.
pub(crate) const HEALTH: &str = "/healthz";

/// One of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct App {
    /// What the table calls it.
    pub(crate) name: &'static str,
    /// Shortest and longest time to an answer, milliseconds.
    takes_ms: (u64, u64),
    /// Its line in the introduction.
    pub(crate) manner: &'static str,
    is_flaky: bool,
}

/// All of them.
pub(crate) const APPS: [App; 3] = [
    App { name: "fast", takes_ms: (2, 6), manner: "answers in 2 to 6 ms", is_flaky: false },
    App { name: "slow", takes_ms: (60, 120), manner: "in 60 to 120 ms", is_flaky: false },
    App { name: "flaky", takes_ms: (2, 6), manner: "as fast, but turns bad now and then", is_flaky: true },
];

/// How the flaky one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// As the others.
    Well,
    /// Its health check passes, but requests are answered with 500: only real traffic shows it.
    AnswersErrors,
    /// Its health check fails, though requests would still be answered, as before a deploy.
    FailsChecks,
}

impl Mood {
    /// The mood so long after the start: well for 3 s, since few watch for longer before something happens; errors for
    /// 6 s, well for 10 s, failing checks for 6 s, well for 5 s, and again.
    pub(crate) fn at(elapsed: Duration) -> Self {
        match elapsed.as_secs() % 30 {
            3..9 => Self::AnswersErrors,
            19..25 => Self::FailsChecks,
            _ => Self::Well,
        }
    }

    /// The change for the better or worse, in words.
    pub(crate) fn begins(self) -> &'static str {
        match self {
            Self::Well => "flaky is well again",
            Self::AnswersErrors => "flaky begins to answer 500, while its health check still passes",
            Self::FailsChecks => "flaky begins to fail its health check, as before a deploy",
        }
    }
}

/// Serves on a port of its own from now to the end of the runtime; must be called inside one.
///
/// # Errors
/// Loopback cannot be bound.
pub(crate) fn start(app: App, began: Instant) -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(async move {
                        let answer = service_fn(move |request| answer(app, began, request));
                        let serving = hyper::server::conn::http1::Builder::new()
                            .timer(TokioTimer::new())
                            .serve_connection(TokioIo::new(stream), answer);
                        // A connection that broke is the proxy's to notice.
                        let _ = serving.await;
                    });
                }
                // Too many open files, for example: transient.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    });
    Ok(address)
}

async fn answer(app: App, began: Instant, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mood = if app.is_flaky { Mood::at(began.elapsed()) } else { Mood::Well };
    let (status, text) = if request.uri().path() == HEALTH {
        let is_well = mood != Mood::FailsChecks;
        if is_well { (StatusCode::OK, "well") } else { (StatusCode::SERVICE_UNAVAILABLE, "not well") }
    } else {
        let (least, most) = app.takes_ms;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(least..=most))).await;
        let is_well = mood != Mood::AnswersErrors;
        if is_well { (StatusCode::OK, "hello") } else { (StatusCode::INTERNAL_SERVER_ERROR, "something broke") }
    };
    let mut response = Response::new(Full::from(format!("{}: {text}\n", app.name)));
    *response.status_mut() = status;
    response.headers_mut().insert(SERVED_BY, HeaderValue::from_static(app.name));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flaky_one_is_bad_in_both_ways_and_recovers() {
        let moods: Vec<_> =
            [0, 2, 3, 8, 9, 18, 19, 24, 25, 29, 30, 33].map(|s| Mood::at(Duration::from_secs(s))).into();
        use Mood::{AnswersErrors as E, FailsChecks as F, Well as W};
        assert_eq!(moods, [W, W, E, E, W, W, F, F, W, W, W, E]);
    }
}
