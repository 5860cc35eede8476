//! Fixed answers.

use super::answering;
use crate::support::{Client, get};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(a_fixed_answer_is_as_written, what_a_client_wrote_is_escaped_by_the_type_of_the_body);

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

fn what_a_client_wrote_is_escaped_by_the_type_of_the_body(workers: usize) {
    let cases = [
        ("text/plain", "';alert(1)//<i>\"\\"),
        ("text/html", "&#39;;alert(1)//&lt;i&gt;&quot;\\"),
        ("application/xml", "&#39;;alert(1)//&lt;i&gt;&quot;\\"),
        ("application/json", "';alert(1)//<i>\\\"\\\\"),
        ("text/javascript; charset=utf-8", r"\u0027\u003balert\u00281\u0029\u002f\u002f\u003ci\u003e\u0022\u005c"),
        ("application/javascript", r"\u0027\u003balert\u00281\u0029\u002f\u002f\u003ci\u003e\u0022\u005c"),
    ];
    let routes = cases.iter().enumerate().map(|(at, (kind, _))| {
        format!("[[route]]\npath = \"/{at}\"\nrespond = {{ body = \"<'{{query}}'>\", content_type = \"{kind}\" }}\n")
    });
    let proxy = answering(workers, &routes.collect::<String>());
    let mut client = Client::connect(proxy.web());
    for (at, (kind, escaped)) in cases.into_iter().enumerate() {
        let answer = client.get(&format!("/{at}?';alert(1)//<i>\"\\"));
        assert_eq!((answer.status(), answer.text()), (200, format!("<'{escaped}'>")), "{kind}");
    }
}
