//! nginx as an endpoint, set up as people set it up: files, uploads, error pages, kept connections and not, TLS.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::programs::{Nginx, Ports, has_nginx};
use crate::support::{Authority, Client, Load, Message, Proxy, config, get};

/// nginx with these blocks of `http`, and the proxy in front of its first address.
struct Behind {
    nginx: Nginx,
    ports: Ports,
    proxy: Proxy,
}

impl Behind {
    #[track_caller]
    fn start(http: &str, route: &str) -> Option<Self> {
        if !has_nginx() {
            return None;
        }
        let ports = Ports::new(2);
        let nginx = Nginx::start("", http, &ports, files);
        let proxy = before(&ports.at(0).to_string(), route, "");
        Some(Self { nginx, ports, proxy })
    }

    fn client(&self) -> Client {
        Client::connect(self.proxy.web())
    }
}

/// A proxy in front of one endpoint, with further keys of its route and cluster.
#[track_caller]
fn before(at: &str, route: &str, cluster: &str) -> Proxy {
    let rest = format!("[[route]]\ncluster = \"app\"\n{route}\n[cluster.app]\nendpoints = [\"{at}\"]\n{cluster}\n");
    Proxy::start(&config(2, &rest))
}

/// What the file `large` holds.
fn large() -> Vec<u8> {
    (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn files(directory: &Path) {
    let www = directory.join("www");
    fs::create_dir_all(www.join("dav")).unwrap();
    fs::create_dir_all(www.join("sub")).unwrap();
    // nginx's worker may be another user.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(www.join("dav"), open).unwrap();
    for (name, text) in [
        ("a.txt", "0123456789".repeat(100)),
        ("short.txt", "short".to_owned()),
        ("empty.txt", String::new()),
        ("missing.html", "nothing here\n".to_owned()),
        ("sub/index.html", "the index\n".to_owned()),
        ("part.html", "a part".to_owned()),
        ("page.html", "<p><!--#include virtual=\"/part.html\" --></p>".to_owned()),
    ] {
        fs::write(www.join(name), text).unwrap();
    }
    fs::write(www.join("large"), large()).unwrap();
}

const SITE: &str = r#"
    types { text/plain txt; text/html html; }
    server {
      listen PORT0;
      root DIR/www;
      absolute_redirect off;
      error_page 404 /missing.html;
      location = /missing.html { internal; }
      location = /nothing { return 204; }
      location = /made { return 200 "made for $http_host $request_uri\n"; }
      location = /which { return 200 "$connection $connection_requests"; }
      location = /broken { return 500; }
      location = /closing { keepalive_timeout 0; return 200 "closing"; }
      location = /zipped/a.txt { alias DIR/www/a.txt; gzip on; gzip_types text/plain; gzip_proxied any; }
      location = /page.html { ssi on; }
      location /dav/ { dav_methods PUT DELETE; client_max_body_size 64m; }
      location /tiny/ { dav_methods PUT; client_max_body_size 1k; }
    }
"#;

#[test]
fn files_with_ranges_and_conditions_pass() {
    let Some(behind) = Behind::start(SITE, "") else { return };
    // All on one connection: what one answer leaves behind, the next would trip over.
    let mut client = behind.client();
    let whole = client.get("/large");
    assert!(whole.status() == 200 && whole.body.data == large());
    let (tag, since) = (whole.header("ETag").unwrap(), whole.header("Last-Modified").unwrap());

    let head = client.ask("HEAD /large HTTP/1.1");
    assert_eq!((head.status(), head.header("Content-Length")), (200, Some("4000000")));
    for condition in [format!("If-None-Match: {tag}"), format!("If-Modified-Since: {since}")] {
        let same = client.ask(&format!("GET /large HTTP/1.1\n{condition}"));
        assert_eq!((same.status(), same.body.data.len(), same.header("ETag")), (304, 0, Some(tag)), "{condition}");
    }
    let other = client.ask("GET /a.txt HTTP/1.1\nIf-Match: \"another\"");
    assert_eq!(other.status(), 412);

    let mut range = |range: &str| client.ask(&format!("GET /a.txt HTTP/1.1\nRange: bytes={range}"));
    for (asked, is, text) in
        [("2-5", "bytes 2-5/1000", "2345"), ("-3", "bytes 997-999/1000", "789"), ("999-", "bytes 999-999/1000", "9")]
    {
        let part = range(asked);
        assert_eq!((part.status(), part.header("Content-Range"), &*part.text()), (206, Some(is), text));
    }
    let parts = range("0-1,5-6");
    assert!(parts.header("Content-Type").unwrap().starts_with("multipart/byteranges; boundary="));
    assert!(parts.status() == 206 && parts.text().contains("Content-Range: bytes 5-6/1000\r\n\r\n56\r\n"));
    assert_eq!(range("2000-").status(), 416);
    let fresh = client.ask(&format!("GET /large HTTP/1.1\nRange: bytes=0-3\nIf-Range: {tag}"));
    assert_eq!((fresh.status(), &*fresh.body.data), (206, &[0_u8; 4][..]));
    let stale = client.ask("GET /large HTTP/1.1\nRange: bytes=0-3\nIf-Range: \"another\"");
    assert_eq!((stale.status(), stale.body.data.len()), (200, 4_000_000));

    let empty = client.get("/empty.txt");
    assert_eq!((empty.status(), empty.header("Content-Length"), &*empty.text()), (200, Some("0"), ""));
    assert_eq!(client.get("/sub").header("Location"), Some("/sub/"));
    assert_eq!(client.get("/sub/").text(), "the index\n");
}

#[test]
fn its_error_pages_and_empty_answers_are_its_own() {
    let Some(behind) = Behind::start(SITE, "") else { return };
    let mut client = behind.client();
    for (path, status, body) in [
        ("/nowhere", 404, "nothing here\n"),
        ("/nothing", 204, ""),
        ("/made?a=b%20c", 200, "made for shop.test:81 /made?a=b%20c\n"),
        ("/closing", 200, "closing"),
        ("/short.txt", 200, "short"),
    ] {
        let answer = client.ask(&format!("GET {path} HTTP/1.1\nHost: shop.test:81"));
        assert_eq!((answer.status(), &*answer.text()), (status, body), "{path}");
        assert!(!answer.head.says_close(), "what it says of its connection is not for the client");
    }
    let broken = client.get("/broken");
    assert!(broken.status() == 500 && broken.text().contains("<center>nginx"), "{}", broken.text());
    let refused = client.ask("DELETE /a.txt HTTP/1.1");
    assert_eq!(refused.status(), 405);
    assert_eq!(client.get("/short.txt").text(), "short");
}

#[test]
fn compressed_and_computed_answers_keep_their_form() {
    let Some(behind) = Behind::start(SITE, "") else { return };
    let mut client = behind.client();
    let plain = client.get("/zipped/a.txt");
    assert_eq!((plain.header("Content-Encoding"), plain.header("Content-Length")), (None, Some("1000")));
    let zipped = client.ask("GET /zipped/a.txt HTTP/1.1\nAccept-Encoding: gzip");
    assert_eq!(zipped.header("Content-Encoding"), Some("gzip"));
    assert_eq!(zipped.header("Transfer-Encoding"), Some("chunked"));
    assert!(zipped.body.is_whole && zipped.body.data.starts_with(&[0x1f, 0x8b]) && zipped.body.data.len() < 100);
    let page = client.get("/page.html");
    assert_eq!((page.header("Transfer-Encoding"), &*page.text()), (Some("chunked"), "<p>a part</p>"));
    // To a client that knows no chunks, until the connection ends.
    client.send("GET /page.html HTTP/1.0\r\nHost: a\r\n\r\n");
    assert!(String::from_utf8_lossy(&client.read_to_end().unwrap()).ends_with("\r\n\r\n<p>a part</p>"));
}

#[test]
fn uploads_arrive_complete_and_refusals_early() {
    let Some(behind) = Behind::start(SITE, "") else { return };
    let body: Vec<u8> = large().repeat(3);
    let mut client = behind.client();
    let stored = behind.nginx.directory.path().join("www/dav/up");
    for (framing, status) in [("Content-Length: 12000000", 201), ("Transfer-Encoding: chunked", 204)] {
        client.send(format!("PUT /dav/up HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
        if framing.starts_with('C') {
            client.send(&body);
        } else {
            body.chunks(70_001).for_each(|chunk| client.write_chunk(chunk).unwrap());
            client.write_chunk("").unwrap();
        }
        assert_eq!(client.answer("PUT").status(), status, "{framing}");
        assert!(fs::read(&stored).unwrap() == body, "{framing}");
        fs::write(&stored, "").unwrap();
    }
    assert_eq!(client.ask("DELETE /dav/up HTTP/1.1").status(), 204);
    assert!(!stored.exists());
    // Without having read it, and it closes its connection then. Whoever writes on finds out in its own time.
    for length in [2000, 20_000_000] {
        let mut client = behind.client();
        client.send(format!("PUT /tiny/up HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
        let _ = client.write(vec![b'x'; length]);
        assert_eq!(client.answer("PUT").status(), 413, "{length}");
    }
    client.send("PUT /tiny/up HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n\r\n");
    assert_eq!(client.answer("PUT").status(), 413, "before the body was asked for");
}

#[test]
fn its_connections_are_kept_as_long_as_it_keeps_them() {
    let server = |number: usize, keys: &str| {
        format!("server {{ listen PORT{number}; {keys} location / {{ return 200 \"$connection\"; }} }}\n")
    };
    // Two requests a connection, or one: each time it says that the connection ends.
    for (keys, requests) in [("", usize::MAX), ("keepalive_requests 2;", 2), ("keepalive_timeout 0;", 1)] {
        let Some(behind) = Behind::start(&server(0, keys), "") else { return };
        let mut client = behind.client();
        let mut seen: Vec<String> = Vec::new();
        for i in 0..20 {
            let method = if i % 2 == 0 { "GET" } else { "POST" };
            let answer = client.ask(&format!("{method} / HTTP/1.1\nContent-Length: 0"));
            assert_eq!(answer.status(), 200, "{keys}");
            seen.push(answer.text());
        }
        seen.dedup();
        assert_eq!(seen.len(), 20_usize.div_ceil(requests), "{keys}: {seen:?}");
    }
}

#[test]
fn no_request_is_lost_while_it_reloads() {
    let Some(behind) = Behind::start(SITE, "") else { return };
    let load = Load::asking(behind.proxy.web(), 8, "GET /short.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    load.wait_for_more(100);
    for _ in 0..5 {
        behind.nginx.signal(Signal::HUP);
        load.wait_for_more(500);
    }
    load.stop().expect_no_failure();
}

#[test]
fn it_gets_the_client_address_by_header_and_by_proxy_protocol() {
    let http = "
        server { listen PORT0; set_real_ip_from 127.0.0.0/8; real_ip_header X-Forwarded-For;
          location / { return 200 \"$remote_addr $http_x_forwarded_proto $http_x_forwarded_host\"; } }
        server { listen PORT1 proxy_protocol;
          location / { return 200 \"$proxy_protocol_addr $proxy_protocol_port\"; } }";
    let Some(behind) = Behind::start(http, "") else { return };
    assert_eq!(behind.client().ask("GET / HTTP/1.1\nHost: shop.test").text(), "127.0.0.1 http shop.test");
    for version in ["v1", "v2"] {
        let cluster = format!("proxy_protocol = \"{version}\"");
        let proxy = before(&behind.ports.at(1).to_string(), "", &cluster);
        let mut client = Client::connect(proxy.web());
        let told = client.get("/").text();
        assert_eq!(told, format!("127.0.0.1 {}", client.local_port()), "{version}");
    }
}

/// nginx's first two addresses behind TLS, the first with HTTP/2; it tells of each connection. Its certificate is for
/// `localhost` and 127.0.0.1.
fn secured(authority: &Authority, directory: &Path, keys: &str) -> String {
    authority.issue(&["localhost", "127.0.0.1"]).write(directory, "own");
    authority.issue(&["lbproxy"]).write(directory, "client");
    fs::write(directory.join("ca.pem"), authority.pem()).unwrap();
    let told = "$ssl_protocol $ssl_session_reused $ssl_client_verify $server_protocol $ssl_server_name";
    format!(
        "server {{ listen PORT0 ssl http2; listen PORT1 ssl; {keys} ssl_verify_client optional; \
           ssl_certificate {own}/own.pem; ssl_certificate_key {own}/own.key; ssl_client_certificate {own}/ca.pem; \
           location / {{ return 200 \"{told}\"; }} }}\n",
        own = directory.display()
    )
}

#[test]
fn tls_to_it_is_resumed_in_both_versions() {
    if !has_nginx() {
        return;
    }
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    for (version, keys) in [
        ("TLSv1.3", ""),
        ("TLSv1.2", ""),
        // Without tickets it remembers sessions itself.
        ("TLSv1.2", "ssl_session_tickets off; ssl_session_cache shared:s:1m;"),
    ] {
        let ports = Ports::new(2);
        let keys = format!("ssl_protocols {version}; keepalive_timeout 0; {keys}");
        let _nginx = Nginx::start("", &secured(&authority, directory.path(), &keys), &ports, |_| {});
        let own = directory.path().display();
        let tls = format!(
            "tls = {{ ca = \"{own}/ca.pem\", client_cert = \"{own}/client.pem\", client_key = \"{own}/client.key\" }}"
        );
        let proxy = before(&format!("https://{}", ports.at(1)), "", &tls);
        let mut answers: Vec<String> = (0..10).map(|_| get(proxy.web(), "/").text()).collect();
        // One full handshake for each of the two workers at most, whose connections are their own.
        answers.sort_unstable();
        let resumed = format!("{version} r SUCCESS HTTP/1.1 ");
        let count = answers.iter().filter(|answer| **answer == resumed).count();
        assert!(count >= 8, "{keys}: {answers:#?}");
    }
}

#[test]
fn http_2_to_it_is_agreed_on_and_shared() {
    if !has_nginx() {
        return;
    }
    let (authority, ports) = (Authority::new(), Ports::new(3));
    let directory = tempfile::tempdir().unwrap();
    let http = secured(&authority, directory.path(), "ssl_protocols TLSv1.3;")
        + &SITE.replace("listen PORT0", "listen PORT2 http2");
    let _nginx = Nginx::start("", &http, &ports, files);
    let tls = format!("protocol = \"h2\"\ntls = {{ ca = \"{}/ca.pem\" }}", directory.path().display());
    let proxy = before(&format!("https://localhost:{}", ports.at(0).port()), "", &tls);
    let answer: Message = get(proxy.web(), "/");
    assert_eq!(answer.text(), "TLSv1.3 . NONE HTTP/2.0 localhost");
    // In the clear, by prior knowledge.
    let proxy = before(&ports.at(2).to_string(), "", "protocol = \"h2\"");
    let mut client = Client::connect(proxy.web());
    assert!(client.get("/large").body.data == large());
    assert_eq!(client.ask("GET /a.txt HTTP/1.1\nRange: bytes=2-5").text(), "2345");
    assert_eq!(client.get("/nothing").status(), 204);
    assert_eq!(client.ask("HEAD /large HTTP/1.1").header("Content-Length"), Some("4000000"));
    client.send("PUT /dav/up HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n");
    client.send(large());
    assert_eq!(client.answer("PUT").status(), 201);
    let load = Load::asking(proxy.web(), 8, "GET /short.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    // It ends a connection of HTTP/2 after a thousand requests.
    load.wait_for_more(5000);
    load.stop().expect_no_failure();
}
