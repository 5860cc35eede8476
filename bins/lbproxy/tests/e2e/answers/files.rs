//! Files: what is found and what is not, conditions, ranges, forms, and a large file in little memory.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::answering;
use crate::http2::{Caller, run};
use crate::support::{Client, Proxy, config, failed_start, get};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    a_file_is_sent_with_its_type_its_tag_and_its_length,
    conditions_and_ranges_are_as_the_rfc_has_them,
    nothing_outside_of_the_root_and_nothing_hidden_is_there,
    directories_attempts_and_precompressed_files,
    a_large_file_takes_little_memory,
);

fn write(at: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let file = at.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
}

/// A proxy that serves this directory with these further keys.
#[track_caller]
fn serving(workers: usize, root: &Path, more: &str) -> Proxy {
    answering(workers, &format!("[[route]]\nfiles = {{ root = \"{}\"{more} }}\n", root.display()))
}

fn a_file_is_sent_with_its_type_its_tag_and_its_length(workers: usize) {
    let directory = tempfile::tempdir().unwrap();
    let large = "x".repeat(300_000);
    write(directory.path(), &[("a b.html", "<p>"), ("empty", ""), ("large.js", &large), ("ü.txt", "u")]);
    let proxy =
        serving(workers, directory.path(), ", cache_control = { \"/\" = \"no-cache\", \"/large\" = \"max-age=9\" }");
    let mut client = Client::connect(proxy.web());
    let answer = client.get("/a%20b.html?query");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "<p>"));
    assert_eq!(answer.header("Content-Type"), Some("text/html; charset=utf-8"));
    for (name, value) in [("Content-Length", "3"), ("Accept-Ranges", "bytes"), ("Cache-Control", "no-cache")] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert!(
        answer.header("ETag").unwrap().starts_with('"') && answer.head.has("Last-Modified") && answer.head.has("Date")
    );
    let answer = client.get("/large.js");
    assert!(answer.text() == large && answer.header("Cache-Control") == Some("max-age=9"));
    assert_eq!(client.ask("HEAD /large.js HTTP/1.1").header("Content-Length"), Some("300000"));
    assert_eq!(client.get("/empty").header("Content-Length"), Some("0"));
    assert_eq!(client.get("/%C3%BC.txt").text(), "u");
    for path in ["/none", "/empty/", "/large.js/x", "/a%2Fb"] {
        let answer = client.get(path);
        assert_eq!(answer.status(), 404, "{path}");
    }
    assert_eq!(proxy.access_of("/none")["cause"], "no_file");
    let answer = client.ask("POST /empty HTTP/1.1\nContent-Length: 0");
    assert_eq!((answer.status(), answer.header("Allow")), (405, Some("GET, HEAD")));
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let answer = caller.get("/large.js").await;
        assert_eq!((answer.status, answer.header("content-length")), (200, "300000"));
        assert!(answer.text() == large);
        let request = caller.request("HEAD", "/large.js").body(()).unwrap();
        let answer = caller.ask(request).await;
        assert_eq!((answer.header("content-length"), answer.body.len()), ("300000", 0));
        assert_eq!(caller.get("/none").await.status, 404);
    });
    // A missing root is told at the start, and by `check`.
    let exit = failed_start(&config(1, "[[route]]\nfiles = { root = \"/nonexistent/root\" }\n"));
    assert!(exit.log.iter().any(|line| line.contains("/nonexistent/root")), "{exit:?}");
}

fn conditions_and_ranges_are_as_the_rfc_has_them(workers: usize) {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &[("f.txt", "0123456789")]);
    let proxy = serving(workers, directory.path(), "");
    let mut client = Client::connect(proxy.web());
    let plain = client.get("/f.txt");
    let (tag, date) = (plain.header("ETag").unwrap().to_owned(), plain.header("Last-Modified").unwrap().to_owned());
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (condition, expected) in [
        (format!("If-None-Match: {tag}"), 304),
        (format!("If-None-Match: \"x\", W/{tag}"), 304),
        ("If-None-Match: *".to_owned(), 304),
        ("If-None-Match: \"x\"".to_owned(), 200),
        (format!("If-None-Match: \"x\"\nIf-Modified-Since: {date}"), 200),
        (format!("If-Modified-Since: {date}"), 304),
        (format!("If-Modified-Since: {old}"), 200),
        ("If-Modified-Since: nonsense".to_owned(), 200),
        (format!("If-Match: {tag}"), 200),
        (format!("If-Match: W/{tag}"), 412),
        ("If-Match: \"x\"".to_owned(), 412),
        (format!("If-Unmodified-Since: {old}"), 412),
        (format!("If-Unmodified-Since: {date}"), 200),
        ("Range: bytes=2-4".to_owned(), 206),
        (format!("Range: bytes=2-4\nIf-Range: {tag}"), 206),
        (format!("Range: bytes=2-4\nIf-Range: {date}"), 206),
        (format!("Range: bytes=2-4\nIf-Range: W/{tag}"), 200),
        (format!("Range: bytes=2-4\nIf-Range: {old}"), 200),
        (format!("Range: bytes=2-4\nIf-None-Match: {tag}"), 304),
        ("Range: bytes=10-".to_owned(), 416),
        ("Range: lines=1-2".to_owned(), 200),
    ] {
        let answer = client.ask(&format!("GET /f.txt HTTP/1.1\n{condition}"));
        assert_eq!(answer.status(), expected, "{condition}");
        if expected == 304 {
            assert_eq!((answer.header("ETag"), answer.header("Content-Length")), (Some(&*tag), None), "{condition}");
        }
    }
    for (range, body, content) in [
        ("0-0", "0", "bytes 0-0/10"),
        ("2-4", "234", "bytes 2-4/10"),
        ("7-", "789", "bytes 7-9/10"),
        ("-2", "89", "bytes 8-9/10"),
        ("8-99", "89", "bytes 8-9/10"),
    ] {
        let answer = client.ask(&format!("GET /f.txt HTTP/1.1\nRange: bytes={range}"));
        assert_eq!((answer.text().as_str(), answer.header("Content-Range")), (body, Some(content)), "{range}");
    }
    let answer = client.ask("GET /f.txt HTTP/1.1\nRange: bytes=20-30");
    assert_eq!((answer.status(), answer.header("Content-Range")), (416, Some("bytes */10")));
    let answer = client.ask("GET /f.txt HTTP/1.1\nRange: bytes=0-1,-1");
    let kind = answer.header("Content-Type").unwrap();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let part = |range: &str, text: &str| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {range}/10\r\n\r\n{text}"
        )
    };
    let expected = part("0-1", "01") + &part("9-9", "9") + &format!("\r\n--{boundary}--\r\n");
    assert_eq!((answer.status(), answer.text()), (206, expected));
    assert_eq!(client.ask("HEAD /f.txt HTTP/1.1\nRange: bytes=0-1").status(), 200, "ranges are for GET");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("GET", "/f.txt").header("range", "bytes=1-2,4-5").body(()).unwrap();
        let answer = caller.ask(request).await;
        assert_eq!((answer.status, answer.body.len().to_string().as_str()), (206, answer.header("content-length")));
        let request = caller.request("GET", "/f.txt").header("if-none-match", &tag).body(()).unwrap();
        assert_eq!(caller.ask(request).await.status, 304);
    });
}

fn nothing_outside_of_the_root_and_nothing_hidden_is_there(workers: usize) {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    write(
        at,
        &[
            ("secret", "secret"),
            ("root/in", "in"),
            ("root/.env", "secret"),
            ("root/.git/config", "secret"),
            ("root/.well-known/x", "known"),
            ("root/app.js.map", "secret"),
        ],
    );
    symlink("../secret", at.join("root/out")).unwrap();
    symlink(at.join("secret"), at.join("root/absolute")).unwrap();
    symlink("..", at.join("root/up")).unwrap();
    symlink("in", at.join("root/inside")).unwrap();
    let has_pipe = std::process::Command::new("mkfifo").arg(at.join("root/pipe")).status().is_ok_and(|it| it.success());
    let proxy = serving(workers, &at.join("root"), ", hide = [\"*.map\"], listing = true");
    for path in [
        "/../secret",
        "/%2e%2e/secret",
        "/in/..%2f..%2fsecret",
        "/..%5csecret",
        "/out",
        "/absolute",
        "/up/secret",
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/app.js.map",
        "/in%00",
    ] {
        let answer = get(proxy.web(), path);
        assert!(matches!(answer.status(), 400 | 404) && !answer.text().contains("secret"), "{path}: {answer:?}");
    }
    if has_pipe {
        assert_eq!(get(proxy.web(), "/pipe").status(), 404, "and nothing waits for it");
    }
    assert_eq!(get(proxy.web(), "/inside").text(), "in");
    assert_eq!(get(proxy.web(), "/.well-known/x").text(), "known");
    let listing = get(proxy.web(), "/").text();
    assert!(listing.contains(">in<") && !listing.contains(".env") && !listing.contains(".map"), "{listing}");
    let open = serving(workers, &at.join("root"), ", hidden = true");
    assert_eq!(get(open.web(), "/.env").text(), "secret");
}

fn directories_attempts_and_precompressed_files(workers: usize) {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    write(
        at,
        &[
            ("index.html", "home"),
            ("docs/index.html", "docs"),
            ("about.html", "about"),
            ("bare/file", "x"),
            ("app.js", "plain"),
            ("app.js.gz", "gzipped"),
            ("app.js.br", "brotli"),
        ],
    );
    let proxy = serving(
        workers,
        at,
        ", try = [\"{path}\", \"{path}.html\", \"/index.html\"], precompressed = [\"zstd\", \"br\", \"gzip\"]",
    );
    let mut client = Client::connect(proxy.web());
    for (path, body) in
        [("/", "home"), ("/docs/", "docs"), ("/about", "about"), ("/any/where", "home"), ("/bare/", "home")]
    {
        assert_eq!(client.get(path).text(), body, "{path}");
    }
    let answer = client.get("//docs?a=b");
    assert_eq!((answer.status(), answer.header("Location")), (301, Some("/docs/?a=b")));
    for (accept, body, encoding) in
        [("gzip", "gzipped", Some("gzip")), ("gzip, br, zstd", "brotli", Some("br")), ("deflate", "plain", None)]
    {
        let answer = client.ask(&format!("GET /app.js HTTP/1.1\nAccept-Encoding: {accept}"));
        assert_eq!((answer.text().as_str(), answer.header("Content-Encoding")), (body, encoding), "{accept}");
        assert_eq!(answer.header("Vary"), Some("Accept-Encoding"));
        assert_eq!(answer.header("Content-Type"), Some("text/javascript; charset=utf-8"));
    }
    let strict = serving(workers, at, "");
    assert_eq!(get(strict.web(), "/bare/").status(), 404, "a directory without an index");
    assert_eq!(get(strict.web(), "/about").status(), 404);
}

fn a_large_file_takes_little_memory(workers: usize) {
    let directory = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(directory.path().join("large")).unwrap();
    // Without blocks on the disk.
    file.set_len(1 << 30).unwrap();
    let mut end = &file;
    std::io::Seek::seek(&mut end, std::io::SeekFrom::Start((1 << 30) - 3)).unwrap();
    end.write_all(b"end").unwrap();
    let proxy = serving(workers, directory.path(), "");
    get(proxy.web(), "/none");
    let before = proxy.resident_bytes();
    let mut client = Client::connect(proxy.web());
    client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.read_head().unwrap().unwrap();
    assert_eq!(head.header("Content-Length"), Some("1073741824"));
    let mut most = 0;
    for _ in 0..64 {
        client.skip((1 << 24) - u64::from(most == 0) * 3).unwrap();
        most = most.max(proxy.resident_bytes());
    }
    assert_eq!(client.read_exactly(3).unwrap(), b"end");
    assert!(most.saturating_sub(before) < 32 << 20, "{before} before, {most} at most");
    assert_eq!(client.get("/none").status(), 404, "the connection goes on");
}
