//! An endpoint that speaks HTTP/2 by a library.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};

/// A request at an endpoint.
pub(crate) struct Asked {
    pub(crate) request: Request<RecvStream>,
    pub(crate) respond: SendResponse<Bytes>,
    /// Which connection it came over, from 0.
    pub(crate) connection: usize,
}

type Serving = Pin<Box<dyn Future<Output = ()>>>;

/// Ends with the value.
pub(crate) struct H2Endpoint {
    address: SocketAddr,
    seen: Arc<Seen>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    open: AtomicUsize,
    requests: AtomicUsize,
}

impl H2Endpoint {
    /// An endpoint that does this with each request, many at once.
    pub(crate) fn serving<F: Future<Output = ()> + 'static>(
        builder: h2::server::Builder,
        serve: impl Fn(Asked) -> F + Send + Sync + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let serve: Arc<dyn Fn(Asked) -> Serving + Send + Sync> = Arc::new(move |asked| Box::pin(serve(asked)));
        let thread = {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, async {
                    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                    let accepting = async {
                        loop {
                            let Ok((stream, _)) = listener.accept().await else { return };
                            let connection = seen.connections.fetch_add(1, Ordering::SeqCst);
                            let (seen, serve, builder) = (Arc::clone(&seen), Arc::clone(&serve), builder.clone());
                            tokio::task::spawn_local(async move {
                                seen.open.fetch_add(1, Ordering::SeqCst);
                                if let Ok(mut served) = builder.handshake::<_, Bytes>(stream).await {
                                    while let Some(Ok((request, respond))) = served.accept().await {
                                        seen.requests.fetch_add(1, Ordering::SeqCst);
                                        tokio::task::spawn_local(serve(Asked { request, respond, connection }));
                                    }
                                }
                                seen.open.fetch_sub(1, Ordering::SeqCst);
                            });
                        }
                    };
                    tokio::select! {
                        () = accepting => {}
                        _ = stopped => {}
                    }
                });
            })
        };
        Self { address, seen, stop: Some(stop), thread: Some(thread) }
    }

    /// An endpoint that reads each request whole and answers with what `respond` makes of it.
    pub(crate) fn answering(
        respond: impl Fn(&http::request::Parts, &Bytes, Option<&HeaderMap>) -> (Response<()>, Bytes, Option<HeaderMap>)
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let respond = Arc::new(respond);
        Self::serving(h2::server::Builder::new(), move |asked| {
            let respond = Arc::clone(&respond);
            async move {
                let Asked { request, respond: mut to, .. } = asked;
                let (parts, body) = request.into_parts();
                let Some((data, trailers)) = whole(body).await else { return };
                let (response, body, trailers) = respond(&parts, &data, trailers.as_ref());
                answer(&mut to, response, body, trailers).await;
            }
        })
    }

    pub(crate) fn at(&self) -> String {
        self.address.to_string()
    }

    /// Connections accepted so far, and open now; requests so far.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }
}

impl Drop for H2Endpoint {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its panic has been shown.
            let _ = thread.join();
        }
    }
}

/// Sends an answer as the windows allow. Fails silently if the stream was reset.
pub(crate) async fn answer(
    to: &mut SendResponse<Bytes>,
    response: Response<()>,
    body: Bytes,
    trailers: Option<HeaderMap>,
) {
    let ends = body.is_empty() && trailers.is_none();
    let Ok(mut send) = to.send_response(response, ends) else { return };
    if !body.is_empty() {
        let _ = super::peer::push(&mut send, body, trailers.is_none()).await;
    }
    if let Some(trailers) = trailers {
        let _ = send.send_trailers(trailers);
    }
}

/// A body whole, and its trailers; `None` where it was broken off.
pub(crate) async fn whole(mut body: RecvStream) -> Option<(Bytes, Option<HeaderMap>)> {
    let mut data = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece.ok()?;
        let _ = body.flow_control().release_capacity(piece.len());
        data.extend_from_slice(&piece);
    }
    Some((data.freeze(), body.trailers().await.ok()?))
}
