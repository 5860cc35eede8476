//! The request of an active check, and its answer, by the protocol that the endpoint speaks.
//!
//! The answer is read by the parser that reads the answers to clients' requests. With another one, an endpoint could be
//! up by its checks and answer every request with what we refuse, or the other way round.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{HeaderValue, Request};
use lb_config::Probe;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Address, Identity};
use crate::message::{Edits, Framing, RequestHead, ResponseHead};
use crate::net::Stream;
use crate::rules::cause::Cause;
use crate::wire::h1::{self, Answering, BodyDecoder, Connection, HeadError, HeadLimits, ResponseParser, Step};

/// An answer: its status, and what of its body is still to come.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) rest: Option<Rest>,
}

/// Asks by HTTP/1.1.
pub(super) async fn by_http1(
    mut stream: Stream,
    endpoint: &Identity,
    probe: &Probe,
    limits: &HeadLimits,
) -> Result<Answer, String> {
    let (head, _) = request(endpoint, probe, None)?.into_parts();
    let head = RequestHead::from_parts(&head, Framing::None).map_err(|error| format!("invalid request: {error}"))?;
    let mut text = BytesMut::new();
    h1::encode_request(&mut text, &head, &Edits::new(), Framing::None, Connection::Close);
    stream.write_all(&text).await.map_err(|_| RESET.to_owned())?;
    let (mut parser, mut read, mut interim) = (ResponseParser::new(), BytesMut::new(), 0);
    loop {
        match parser.parse(&mut read, Answering::from(&head), limits).map_err(|error| invalid(&error))? {
            Some(head) if head.is_interim() => {
                interim += 1;
                if interim > MAX_INTERIM {
                    return Err(format!("{}: too_many_interim", Cause::InvalidResponse));
                }
            }
            Some(head) => {
                let decoder = BodyDecoder::of_response(head.framing());
                return Ok(Answer { status: head.status(), rest: Some(Rest { stream, read, decoder }) });
            }
            None => match stream.read_buf(&mut read).await {
                Ok(n) if n > 0 => {}
                _ => return Err(RESET.to_owned()),
            },
        }
    }
}

/// Asks by HTTP/2. Dropping the stream tells the endpoint that no more is wanted.
pub(super) async fn by_http2(
    stream: Stream,
    endpoint: &Identity,
    probe: &Probe,
    limits: &HeadLimits,
) -> Result<Answer, String> {
    let refused = |error: h2::Error| format!("{}: {error}", Cause::InvalidResponse);
    let scheme = if stream.tls().is_some() { "https" } else { "http" };
    if stream.tls().is_some() && stream.alpn() != Some(b"h2") {
        return Err(format!("{}: it did not agree to HTTP/2", Cause::TlsHandshake));
    }
    let request = request(endpoint, probe, Some(scheme))?;
    let (mut sender, connection) = h2::client::handshake(stream).await.map_err(refused)?;
    let (answer, _) = sender.send_request(request, true).map_err(refused)?;
    let (mut connection, mut answer) = (pin!(connection), pin!(answer));
    let mut is_over = false;
    let response = poll_fn(|cx| {
        if !is_over {
            is_over = connection.as_mut().poll(cx).is_ready();
        }
        answer.as_mut().poll(cx)
    });
    let (parts, _) = response.await.map_err(refused)?.into_parts();
    let head = ResponseHead::from_parts_within(&parts, Framing::None, limits);
    Ok(Answer { status: head.map_err(|error| invalid(&error))?.status(), rest: None })
}

/// The request. With a scheme it is one of HTTP/2.
fn request(endpoint: &Identity, probe: &Probe, scheme: Option<&str>) -> Result<Request<()>, String> {
    let Probe::Http { path, method, host, .. } = probe else { return Err("not an HTTP check".to_owned()) };
    let host = match (host, &endpoint.address) {
        (Some(host), _) => host,
        (None, Address::Ip(_)) => match endpoint.endpoint.strip_prefix("https://") {
            Some(host) => host.strip_suffix(":443").unwrap_or(host),
            None => &*endpoint.endpoint,
        },
        (None, Address::Unix(_)) => "localhost",
    };
    let invalid = |error: http::Error| format!("invalid request: {error}");
    let mut uri = http::Uri::builder().path_and_query(&**path);
    if let Some(scheme) = scheme {
        uri = uri.scheme(scheme).authority(host);
    }
    let mut request = Request::builder().method(&**method).uri(uri.build().map_err(invalid)?);
    if scheme.is_none() {
        request = request.header(HOST, host);
    }
    request
        .header(USER_AGENT, HeaderValue::from_static("lbproxy-check"))
        .header(ACCEPT, HeaderValue::from_static("*/*"))
        .body(())
        .map_err(invalid)
}

/// A body that is still coming.
pub(super) struct Rest {
    stream: Stream,
    read: BytesMut,
    decoder: BodyDecoder,
}

impl Rest {
    /// Takes a short body whole, so that an endpoint that is still writing is not cut off with a reset in its log. A long
    /// or a slow one is not worth it.
    pub(super) async fn drain(self) {
        // Either way the connection closes.
        let _ = tokio::time::timeout(DRAIN_TIME, self.take()).await;
    }

    async fn take(mut self) {
        let mut taken = 0;
        loop {
            match self.decoder.decode(&mut self.read) {
                Ok(Step::Data(data)) => taken += Bytes::len(&data),
                Ok(Step::Trailers(_)) => {}
                Ok(Step::NeedMore) if taken <= DRAIN_BYTES => match self.stream.read_buf(&mut self.read).await {
                    Ok(n) if n > 0 => {}
                    _ => return,
                },
                Ok(Step::NeedMore | Step::End) | Err(_) => return,
            }
        }
    }
}

fn invalid(error: &HeadError) -> String {
    format!("{}: {}", Cause::of_response(error.cause()), error.name())
}

const RESET: &str = "reset before the response head";

/// Interim responses before the final one.
const MAX_INTERIM: u32 = 64;

const DRAIN_BYTES: usize = 64 * 1024;

const DRAIN_TIME: Duration = Duration::from_secs(1);
