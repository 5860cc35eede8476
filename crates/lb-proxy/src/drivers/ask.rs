//! The request of an active check, and its answer, by the protocol that the endpoint speaks.
//!
//! The answer is read by the parser that reads the answers to clients' requests. With another one, an endpoint could be
//! up by its checks and answer every request with what we refuse, or the other way round.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request};
use lb_config::Probe;
use lb_core::grpc;
use lb_health::ServingStatus;
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
                let coming = Box::new(Coming { stream, read, decoder });
                return Ok(Answer { status: head.status(), rest: Some(Rest::Coming(coming)) });
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
    let request = request(endpoint, probe, Some(scheme_of(&stream)))?;
    let wants_body = matches!(probe, Probe::Http { body: Some(_), .. });
    let (head, body, _) = call(stream, request, None, wants_body, limits).await?;
    Ok(Answer { status: head.status(), rest: Some(Rest::Whole(body)).filter(|_| wants_body) })
}

/// Asks gRPC's health service. What passes is told with the status.
pub(super) async fn by_grpc(
    stream: Stream,
    endpoint: &Identity,
    probe: &Probe,
    limits: &HeadLimits,
) -> Result<String, String> {
    let Probe::Grpc { service, .. } = probe else { return Err("not a gRPC check".to_owned()) };
    let request = request(endpoint, probe, Some(scheme_of(&stream)))?;
    let question = Bytes::from(ServingStatus::question(service));
    let (head, body, trailers) = call(stream, request, Some(question), true, limits).await?;
    if head.status() != 200 {
        return Err(format!("status {} from {}", head.status(), ServingStatus::PATH));
    }
    let in_head = head.iter().find(|(name, _)| name.eq_ignore_ascii_case(b"grpc-status"));
    let in_trailers = trailers.as_ref().and_then(|trailers| trailers.get("grpc-status"));
    let code = match in_trailers.map(HeaderValue::as_bytes).or(in_head.map(|(_, value)| value)) {
        Some(text) => grpc::code(text),
        None => return Err("the response has no grpc-status".to_owned()),
    };
    let whose = if service.is_empty() { String::new() } else { format!(" for {service}") };
    if code != 0 {
        return Err(format!("grpc_status {code}{whose}"));
    }
    match ServingStatus::parse(&body)? {
        ServingStatus::Serving => Ok(format!("SERVING{whose}")),
        other => Err(format!("{}{whose}", other.name())),
    }
}

fn scheme_of(stream: &Stream) -> &'static str {
    if stream.tls().is_some() { "https" } else { "http" }
}

/// One exchange on a connection of HTTP/2: its head, and where that is wanted the beginning of its body, and its trailers.
async fn call(
    stream: Stream,
    request: Request<()>,
    message: Option<Bytes>,
    wants_body: bool,
    limits: &HeadLimits,
) -> Result<(ResponseHead, Vec<u8>, Option<HeaderMap>), String> {
    let refused = |error: h2::Error| format!("{}: {error}", Cause::InvalidResponse);
    if stream.tls().is_some() && stream.alpn() != Some(b"h2") {
        return Err(format!("{}: it did not agree to HTTP/2", Cause::TlsHandshake));
    }
    let (mut sender, connection) = h2::client::handshake(stream).await.map_err(refused)?;
    let (answer, mut sending) = sender.send_request(request, message.is_none()).map_err(refused)?;
    if let Some(message) = message {
        sending.send_data(message, true).map_err(refused)?;
    }
    let exchange = async {
        let (parts, mut body) = answer.await?.into_parts();
        let (mut read, mut trailers) = (Vec::new(), None);
        while wants_body && read.len() < MAX_BODY {
            let Some(data) = body.data().await else {
                trailers = body.trailers().await?;
                break;
            };
            let data = data?;
            // Whatever it counts as: there is room for one more, or the connection ends.
            let _ = body.flow_control().release_capacity(data.len());
            read.extend_from_slice(&data);
        }
        read.truncate(MAX_BODY);
        Ok::<_, h2::Error>((parts, read, trailers))
    };
    let (mut connection, mut exchange) = (pin!(connection), pin!(exchange));
    let mut is_over = false;
    let found = poll_fn(|cx| {
        if !is_over {
            is_over = connection.as_mut().poll(cx).is_ready();
        }
        exchange.as_mut().poll(cx)
    });
    let (parts, read, trailers) = found.await.map_err(refused)?;
    let head = ResponseHead::from_parts_within(&parts, Framing::None, limits);
    Ok((head.map_err(|error| invalid(&error))?, read, trailers))
}

/// The request. With a scheme it is one of HTTP/2.
fn request(endpoint: &Identity, probe: &Probe, scheme: Option<&str>) -> Result<Request<()>, String> {
    let (path, method, host, headers) = match probe {
        Probe::Http { path, method, host, headers, .. } => (&**path, &**method, host, headers),
        Probe::Grpc { host, headers, .. } => (ServingStatus::PATH, "POST", host, headers),
        Probe::Tcp { .. } | Probe::Command { .. } => return Err("not an HTTP check".to_owned()),
    };
    let host = match (host, &endpoint.address) {
        (Some(host), _) => host,
        (None, Address::Ip(_)) => match endpoint.endpoint.strip_prefix("https://") {
            Some(host) => host.strip_suffix(":443").unwrap_or(host),
            None => &*endpoint.endpoint,
        },
        (None, Address::Unix(_)) => "localhost",
    };
    let invalid = |error: http::Error| format!("invalid request: {error}");
    let mut uri = http::Uri::builder().path_and_query(path);
    if let Some(scheme) = scheme {
        uri = uri.scheme(scheme).authority(host);
    }
    let mut request = Request::builder().method(method).uri(uri.build().map_err(invalid)?);
    if scheme.is_none() {
        request = request.header(HOST, host);
    }
    let is_given = |name: &str| headers.iter().any(|(given, _)| **given == *name);
    for (name, value) in [(USER_AGENT, "lbproxy-check"), (ACCEPT, "*/*")] {
        if !is_given(name.as_str()) {
            request = request.header(name, HeaderValue::from_static(value));
        }
    }
    if let Probe::Grpc { .. } = probe {
        request = request.header(CONTENT_TYPE, "application/grpc").header(TE, "trailers");
    }
    headers.iter().fold(request, |request, (name, value)| request.header(&**name, &**value)).body(()).map_err(invalid)
}

/// A body: as far as it was wanted, or still coming.
pub(super) enum Rest {
    /// Read already.
    Whole(Vec<u8>),
    /// Still coming.
    Coming(Box<Coming>),
}

/// A body that is still coming.
pub(super) struct Coming {
    stream: Stream,
    read: BytesMut,
    decoder: BodyDecoder,
}

impl Rest {
    /// Takes a short body whole, so that an endpoint that is still writing is not cut off with a reset in its log. A long
    /// or a slow one is not worth it.
    pub(super) async fn drain(self) {
        let Self::Coming(coming) = self else { return };
        // Either way the connection closes.
        let _ = tokio::time::timeout(DRAIN_TIME, coming.take(|_| {})).await;
    }

    /// The body, as far as [`MAX_BODY`].
    pub(super) async fn read(self) -> Vec<u8> {
        match self {
            Self::Whole(body) => body,
            Self::Coming(coming) => {
                let mut body = Vec::new();
                coming.take(|data| body.extend_from_slice(data)).await;
                body.truncate(MAX_BODY);
                body
            }
        }
    }
}

impl Coming {
    async fn take(mut self, mut each: impl FnMut(&[u8])) {
        let mut taken = 0;
        loop {
            match self.decoder.decode(&mut self.read) {
                Ok(Step::Data(data)) => {
                    taken += Bytes::len(&data);
                    each(&data);
                }
                Ok(Step::Trailers(_)) => {}
                Ok(Step::NeedMore) if taken <= MAX_BODY => match self.stream.read_buf(&mut self.read).await {
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

/// So much of a body is looked at.
pub(super) const MAX_BODY: usize = 64 * 1024;

const DRAIN_TIME: Duration = Duration::from_secs(1);
