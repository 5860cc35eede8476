//! The same directory served by nginx and by us: the same statuses, lengths, ranges and bodies.

use std::os::unix::fs::symlink;

use crate::programs::{Nginx, Ports, has_nginx};
use crate::support::{Client, Message, Proxy, config};

/// What is compared of a response.
fn told(answer: &Message) -> (u16, Option<String>, Option<String>, Vec<u8>) {
    let header = |name: &str| answer.header(name).map(str::to_owned);
    let is_error = answer.status() >= 300;
    let body = if is_error { Vec::new() } else { answer.body.data.clone() };
    (answer.status(), header("Content-Range"), header("Content-Length").filter(|_| !is_error), body)
}

#[test]
fn files_are_served_as_nginx_serves_them() {
    if !has_nginx() {
        return;
    }
    let ports = Ports::new(1);
    let site = "server { listen PORT0; root DIR/root; disable_symlinks if_not_owner from=DIR/root; }";
    let nginx = Nginx::start("", site, &ports, |at| {
        std::fs::create_dir_all(at.join("root/sub")).unwrap();
        std::fs::create_dir_all(at.join("root/bare")).unwrap();
        std::fs::write(at.join("root/f.txt"), "0123456789").unwrap();
        std::fs::write(at.join("root/large"), "abcdefghij".repeat(100_000)).unwrap();
        std::fs::write(at.join("root/sub/index.html"), "<p>").unwrap();
        std::fs::write(at.join("root/empty"), "").unwrap();
        symlink("f.txt", at.join("root/link")).unwrap();
    });
    let root = nginx.directory.path().join("root");
    let proxy = Proxy::start(&config(2, &format!("[[route]]\nfiles = {{ root = \"{}\" }}\n", root.display())));
    let mut ours = Client::connect(proxy.web());
    // It closes after some errors.
    let theirs = |request: &str| Client::connect(ports.at(0)).ask(request);
    let date = theirs("GET /f.txt HTTP/1.1").header("Last-Modified").unwrap().to_owned();
    assert_eq!(ours.get("/f.txt").header("Last-Modified"), Some(&*date));
    for (path, headers) in [
        ("/f.txt", String::new()),
        ("/empty", String::new()),
        ("/link", String::new()),
        ("/large", String::new()),
        ("/sub/", String::new()),
        ("/sub", String::new()),
        ("/none", String::new()),
        ("/f.txt/", String::new()),
        ("/sub/../f.txt", String::new()),
        ("/sub/%2e%2e/f.txt", String::new()),
        ("//f.txt", String::new()),
        ("/%66.txt", String::new()),
        ("/f.txt", "Range: bytes=0-0".into()),
        ("/f.txt", "Range: bytes=3-5".into()),
        ("/f.txt", "Range: bytes=-4".into()),
        ("/f.txt", "Range: bytes=4-".into()),
        ("/f.txt", "Range: bytes=8-100".into()),
        ("/f.txt", "Range: bytes=10-".into()),
        ("/f.txt", "Range: bytes=-0".into()),
        ("/large", "Range: bytes=500000-500999".into()),
        ("/large", "Range: bytes=999990-".into()),
        ("/f.txt", format!("If-Modified-Since: {date}")),
        ("/f.txt", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT".into()),
        ("/f.txt", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT".into()),
        ("/f.txt", "If-None-Match: \"x\"".into()),
        ("/f.txt", "If-None-Match: *".into()),
        ("/f.txt", "If-Match: \"x\"".into()),
        ("/f.txt", format!("Range: bytes=1-2\nIf-Range: {date}")),
        ("/f.txt", "Range: bytes=1-2\nIf-Range: \"x\"".into()),
    ] {
        for method in ["GET", "HEAD"] {
            if method == "HEAD" && headers.starts_with("Range") {
                // Ranges are for GET alone (RFC 9110 §14.2); nginx has them for HEAD too.
                continue;
            }
            let request = format!("{method} {path} HTTP/1.1\n{headers}");
            let (their, our) = (theirs(&request), ours.ask(&request));
            assert_eq!(told(&our), told(&their), "{request}");
        }
    }
    // Several ranges: the same parts, with boundaries and types of our own.
    let request = "GET /f.txt HTTP/1.1\nRange: bytes=0-1,4-5";
    let parts = |answer: &Message| {
        let text = answer.text();
        let lines = text.lines().filter(|line| !line.starts_with("--") && !line.starts_with("Content-Type"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let (their, our) = (theirs(request), ours.ask(request));
    assert_eq!((our.status(), parts(&our)), (their.status(), parts(&their)));
}
