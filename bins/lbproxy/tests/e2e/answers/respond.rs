//! Fixed answers.

use super::answering;
use crate::support::{Client, get};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(a_fixed_answer_is_as_written);

fn a_fixed_answer_is_as_written(workers: usize) {
    let proxy = answering(
        workers,
        "[[route]]\npath = \"=/healthz\"\naccess_log = \"off\"\n\
         respond = { status = 200, body = \"healthy\\n\", content_type = \"text/plain\" }\n\
         [[route]]\npath = \"/you\"\nname = \"you\"\n\
         respond = { body = \"{client_ip} {method} {path} {query} {route} {header:x-a}\", headers = { X-Host = \"{host}\" } }\n\
         [[route]]\npath = \"/empty\"\nrespond = { status = 204 }\n",
    );
    let answer = get(proxy.web(), "/healthz");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "healthy\n"));
    assert_eq!(answer.header("Content-Type"), Some("text/plain"));
    assert_eq!(answer.header("Content-Length"), Some("8"));
    assert!(answer.head.has("Date"), "an origin says when: {answer:?}");
    assert_eq!(get(proxy.web(), "/healthz/").status(), 404, "exact is exact");

    let mut client = Client::connect(proxy.web());
    let answer = client.ask("GET /you/there?a=b HTTP/1.1\nHost: Me.test\nX-A: it");
    assert_eq!(answer.text(), "127.0.0.1 GET /you/there a=b you it");
    assert_eq!(answer.header("X-Host"), Some("me.test"));
    let answer = client.ask("HEAD /healthz HTTP/1.1");
    assert_eq!((answer.status(), answer.header("Content-Length")), (200, Some("8")));
    let answer = client.get("/empty");
    assert_eq!((answer.status(), answer.header("Content-Length")), (204, None));
    // A body that comes along is read over.
    client.send("POST /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n");
    assert_eq!(client.answer("POST").text(), "healthy\n");
    assert_eq!(client.get("/healthz").text(), "healthy\n");
}
