//! Requests of our own, sent to endpoints on loopback as a filter sends them.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::tests::Proxy;
use crate::forward::sub_request::{SubFailure, SubRequest, SubResponse};
use crate::message::{Edits, RequestHead};
use crate::rules::cause::Cause;
use crate::rules::testing::head;

const TIME: Duration = Duration::from_secs(20);

/// A cluster of these endpoints, as HTTP/1 or HTTP/2.
fn proxy(listeners: &[&TcpListener], more: &str) -> Proxy {
    let addresses = listeners.iter().map(|listener| format!("\"{}\"", listener.local_addr().unwrap()));
    let addresses = addresses.collect::<Vec<_>>().join(", ");
    Proxy::with_cluster("[[route]]\ncluster = \"app\"", &format!("endpoints = [{addresses}]\n{more}"))
}

/// Sends a request of our own with this body.
async fn send(proxy: &Proxy, body: &'static str, within: Duration, limit: usize) -> Result<SubResponse, SubFailure> {
    let client = proxy.exchange(head("GET /page HTTP/1.1\nHost: a"));
    let (method, length) = if body.is_empty() { ("GET", None) } else { ("POST", Some(body.len() as u64)) };
    let fields = [(&b"X-Sub"[..], &b"1"[..])];
    let composed = RequestHead::compose(method, b"/verify?a=b", b"auth.test", fields, length).unwrap();
    let body = Bytes::from_static(body.as_bytes());
    SubRequest::new(&client, 0, (composed, Edits::new(), &body), within, limit).send().await
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Reads up to the end of a request with this body, and writes a response.
async fn answer(stream: &mut TcpStream, body: &str, response: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).ends_with(&format!("\r\n\r\n{body}")) {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "{}", String::from_utf8_lossy(&read));
    }
    stream.write_all(response.as_bytes()).await.unwrap();
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn a_request_of_our_own_has_a_head_and_a_body_and_gets_both() {
    let listener = listener().await;
    let proxy = proxy(&[&listener], "");
    let endpoint = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let response = "HTTP/1.1 403 No\r\nSet-Cookie: a=b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n";
        let first = answer(&mut stream, "hello", response).await;
        // The connection is kept.
        let second = answer(&mut stream, "", "HTTP/1.1 204 Yes\r\n\r\n").await;
        (first, second)
    };
    let client = async {
        let first = send(&proxy, "hello", TIME, 2).await.unwrap();
        assert_eq!((first.head.status(), &*first.body), (403, &b"no"[..]), "as long as it may be");
        assert_eq!(first.head.header("Set-Cookie"), Some(&b"a=b"[..]));
        let second = send(&proxy, "", TIME, 0).await.unwrap();
        assert_eq!((second.head.status(), second.body.len()), (204, 0));
    };
    let ((first, second), ()) = tokio::join!(endpoint, client);
    assert_eq!(first, "POST /verify?a=b HTTP/1.1\r\nHost: auth.test\r\nX-Sub: 1\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(second, "GET /verify?a=b HTTP/1.1\r\nHost: auth.test\r\nX-Sub: 1\r\n\r\n");
}

#[tokio::test]
async fn a_request_of_our_own_goes_over_http2_as_well() {
    let listener = listener().await;
    let proxy = proxy(&[&listener], "protocol = \"h2\"");
    let endpoint = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (mut request, mut respond) = connection.accept().await.unwrap().unwrap();
        let serve = async {
            let mut body = Vec::new();
            while let Some(data) = request.body_mut().data().await {
                body.extend_from_slice(&data.unwrap());
            }
            assert_eq!(body, b"hello");
            assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/verify"));
            let mut stream =
                respond.send_response(http::Response::builder().status(200).body(()).unwrap(), false).unwrap();
            stream.send_data(Bytes::from_static(b"fine"), true).unwrap();
        };
        tokio::join!(serve, std::future::poll_fn(|cx| connection.poll_closed(cx))).1.ok();
    };
    let client = async {
        let response = send(&proxy, "hello", TIME, 100).await.unwrap();
        assert_eq!((response.head.status(), &*response.body), (200, &b"fine"[..]));
    };
    tokio::select! { () = client => {}, () = endpoint => panic!("the connection stays") }
}

#[tokio::test]
async fn the_next_endpoint_answers_where_one_breaks_off() {
    let (breaks, answers) = (listener().await, listener().await);
    let proxy = proxy(&[&breaks, &answers], "policy = \"round_robin\"");
    let endpoints = async {
        let (stream, _) = breaks.accept().await.unwrap();
        drop(stream);
        let (mut stream, _) = answers.accept().await.unwrap();
        answer(&mut stream, "", "HTTP/1.1 200 Yes\r\nContent-Length: 2\r\n\r\nok").await;
    };
    let (response, ()) = tokio::join!(send(&proxy, "", TIME, 100), endpoints);
    assert_eq!(&*response.unwrap().body, b"ok");
}

#[tokio::test]
async fn half_an_answer_is_none() {
    let listener = listener().await;
    let at = listener.local_addr().unwrap();
    let proxy = proxy(&[&listener], "");
    let serve = async |response: &str| {
        let (mut stream, _) = listener.accept().await.unwrap();
        answer(&mut stream, "", response).await;
    };
    let fails = |cause, detail: &str| Err::<(), _>(SubFailure { cause, detail: Some(detail.to_owned()) });
    for (response, limit, cause, why) in [
        ("HTTP/1.1 200 Yes\r\nContent-Length: 9\r\n\r\nok", 100, Cause::UpstreamAborted, ""),
        ("HTTP/1.1 200 Yes\r\n\r\nokay", 3, Cause::ResponseTooLarge, ": its body is longer than 3 bytes"),
        ("no HTTP\r\n\r\n", 3, Cause::InvalidResponse, ": bad_status_line"),
        (
            "HTTP/1.1 101 Switched\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            3,
            Cause::InvalidResponse,
            ": unexpected_switch",
        ),
    ] {
        let (answered, ()) = tokio::join!(send(&proxy, "", TIME, limit), serve(response));
        assert_eq!(answered.map(drop), fails(cause, &format!("{at}{why}")), "{response}");
    }
    // One that accepts and says nothing, and one that begins and says no more.
    let short = Duration::from_millis(50);
    let silent = async {
        let held = listener.accept().await.unwrap();
        std::future::pending::<()>().await;
        drop(held);
    };
    tokio::select! {
        answered = send(&proxy, "", short, 100) => assert_eq!(answered.map(drop), fails(Cause::TotalTimeout, &at.to_string())),
        () = silent => {},
    }
    let begins = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        answer(&mut stream, "", "HTTP/1.1 200 Yes\r\nContent-Length: 9\r\n\r\nok").await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answered = send(&proxy, "", Duration::from_secs(1), 100) =>
            assert_eq!(answered.map(drop), fails(Cause::TotalTimeout, &at.to_string())),
        () = begins => {},
    }
    drop(listener);
    assert_eq!(send(&proxy, "", TIME, 100).await.map(drop), fails(Cause::ConnectRefused, &at.to_string()));
}

#[tokio::test]
async fn only_clusters_that_are_named_for_it_get_requests_of_our_own() {
    let proxy = Proxy::new("[[route]]\ncluster = \"app\"");
    let client = proxy.exchange(head("GET / HTTP/1.1\nHost: a"));
    let composed = RequestHead::compose("GET", b"/", b"a", [], None).unwrap();
    let request = SubRequest::new(&client, 1, (composed, Edits::new(), &Bytes::new()), TIME, 100);
    assert_eq!(request.send().await.unwrap_err().cause, Cause::Internal);
}
