//! What could be read in two ways is refused, with the documented status, and nothing of it reaches an endpoint.

mod bodies;
mod heads;
mod limits;
mod slow;
mod stories;
mod targets;

use crate::support::{Client, Endpoint, Proxy, config};

/// A proxy with limits small enough to be met, before one endpoint.
pub(crate) fn guarded(workers: usize) -> (Proxy, Endpoint) {
    let endpoint = Endpoint::named("reached");
    let limits = "{ request_head = \"2KiB\", headers = 10, uri = \"512B\", head_timeout = \"2s\", \
                  request_body = \"1KiB\" }";
    let at = endpoint.at();
    let rest = format!("limits = {limits}\n[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{at}\"]\n");
    (Proxy::start(&config(workers, &rest)), endpoint)
}

/// Sends a request that must be refused: the status is this one, the connection closes, and a request that was
/// smuggled behind it is neither answered nor forwarded. No endpoint sees anything of it.
#[track_caller]
pub(crate) fn is_refused(proxy: &Proxy, endpoint: &Endpoint, name: &str, request: impl AsRef<[u8]>, status: u16) {
    let before = endpoint.connections();
    is_cut(proxy, endpoint, name, request, status);
    assert_eq!(endpoint.connections(), before, "{name}: it reached the endpoint");
}

/// As [`is_refused`], but found out only when the head was already on its way: the endpoint sees no whole request.
#[track_caller]
pub(crate) fn is_cut(proxy: &Proxy, endpoint: &Endpoint, name: &str, request: impl AsRef<[u8]>, status: u16) {
    let before = endpoint.requests();
    let mut client = Client::connect(proxy.web());
    // Whoever refuses may close while we are still writing.
    let _ = client.write(request);
    let _ = client.write("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.answer("GET");
    assert_eq!(answer.status(), status, "{name}: {answer:?}");
    assert!(answer.head.says_close(), "{name}: {answer:?}");
    assert!(answer.text().contains("request_id"), "{name}: {:?}", answer.text());
    client.finish();
    assert!(client.is_closed_silently(), "{name}: more than one answer");
    assert_eq!(endpoint.requests(), before, "{name}: it reached the endpoint");
}
