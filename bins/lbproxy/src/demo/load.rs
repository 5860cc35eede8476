//! The demonstration's own clients: so many requests a second, whatever the answers do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::header::HeaderValue;
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use super::app::{APPS, SERVED_BY};

/// Requests at once; beyond it the load waits, so that a proxy that hangs is not flooded.
const MOST: usize = 100;
/// When a client gives up.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one client saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// When its answer was there.
    pub(crate) at: Instant,
    /// The endpoint that answered, a position in [`APPS`]; `None` if none did.
    pub(crate) by: Option<usize>,
    /// From sending to the end of the body.
    pub(crate) took: Duration,
    /// Whether it got what it wanted.
    pub(crate) is_good: bool,
}

/// Sends until it is dropped.
pub(crate) async fn drive(proxy: SocketAddr, rate: u32, samples: mpsc::UnboundedSender<Sample>) {
    let Ok(uri) = format!("http://{proxy}/").parse::<Uri>() else { return };
    let Some(pause) = Duration::from_secs(1).checked_div(rate) else { return };
    let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let room = Arc::new(Semaphore::new(MOST));
    let mut turn = tokio::time::interval(pause);
    turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        turn.tick().await;
        // It is never closed.
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let (client, samples, uri) = (client.clone(), samples.clone(), uri.clone());
        tokio::spawn(async move {
            let began = Instant::now();
            let (by, is_good) = tokio::time::timeout(PATIENCE, ask(&client, uri)).await.unwrap_or((None, false));
            let at = Instant::now();
            // The receiver is gone once the demo ends.
            let _ = samples.send(Sample { at, by, took: at - began, is_good });
            drop(permit);
        });
    }
}

/// One request: which endpoint answered, and whether the response was good and complete.
async fn ask(client: &Client<HttpConnector, Empty<Bytes>>, uri: Uri) -> (Option<usize>, bool) {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = uri;
    let Ok(response) = client.request(request).await else { return (None, false) };
    let name = response.headers().get(SERVED_BY).map(HeaderValue::as_bytes);
    let by = APPS.iter().position(|app| Some(app.name.as_bytes()) == name);
    let is_good = response.status().is_success();
    (by, response.into_body().collect().await.is_ok() && is_good)
}
