//! HAProxy in front of us and behind us: the PROXY protocol as its author writes it, and HTTP/2 in the clear.

use std::fs;

use crate::curl::{curl, has_curl};
use crate::programs::{Haproxy, Ports, has_haproxy};
use crate::support::{Authority, Client, Endpoint, Load, Message, Proxy, config, text};

/// Where clients come from.
const CLIENT: &str = "127.0.0.9";

/// Responds with the client address it received, and the body's length.
fn telling() -> Endpoint {
    Endpoint::answering(|Message { head, body }| {
        text(200, &format!("{} {}", head.all("X-Forwarded-For").join("+"), body.data.len()))
    })
}

#[track_caller]
fn behind(endpoint: &Endpoint, listener: &str) -> Proxy {
    let rest = format!("[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\"]\n", endpoint.at());
    Proxy::start(&(config(2, &rest) + listener + "\n"))
}

#[track_caller]
fn before(at: &str, cluster: &str) -> Proxy {
    let rest = format!("[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{at}\"]\n{cluster}\n");
    Proxy::start(&config(2, &rest))
}

#[test]
fn its_proxy_headers_name_the_client_in_every_form() {
    if !has_haproxy() || !has_curl() {
        return;
    }
    let endpoint = telling();
    let proxy = behind(&endpoint, "proxy_protocol = [\"127.0.0.0/8\"]");
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    let pem = directory.path().join("own.pem");
    fs::write(&pem, authority.issue(&["shop.test"]).combined()).unwrap();
    fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
    let ports = Ports::new(4);
    let mut sections = String::new();
    let secure = format!(" ssl crt {}", pem.display());
    // Version 2 with what else it can tell: a checksum, and of TLS.
    for (number, (bind, how)) in [
        ("", "send-proxy"),
        ("", "send-proxy-v2"),
        ("", "send-proxy-v2 proxy-v2-options crc32c"),
        (&*secure, "send-proxy-v2-ssl-cn proxy-v2-options ssl,cert-cn,crc32c,authority"),
    ]
    .into_iter()
    .enumerate()
    {
        // Its checks are connections of its own, without a client address.
        sections += &format!(
            "listen l{number}\n  mode tcp\n  bind PORT{number}{bind}\n  option httpchk GET /check\n  \
             server us {} {how} check check-send-proxy inter 50ms\n",
            proxy.web()
        );
    }
    let _haproxy = Haproxy::start(&sections, &ports);
    for number in 0..4 {
        let (scheme, port) = (if number == 3 { "https" } else { "http" }, ports.at(number).port());
        let (url, resolve) = (format!("{scheme}://shop.test:{port}/"), format!("shop.test:{port}:127.0.0.1"));
        let ca = directory.path().join("ca.pem");
        let ca = ca.to_str().unwrap();
        let said = curl(["--interface", CLIENT, "--resolve", &resolve, "--cacert", ca, "--http1.1", &url, &url], b"");
        assert_eq!(said.text(), format!("{CLIENT} 0").repeat(2), "{number}: {}", said.log);
    }
    let check = proxy.access_of("/check");
    assert_eq!((check["status"].as_u64(), check["client"].as_str()), (Some(200), Some("127.0.0.1")));
}

#[test]
fn it_speaks_both_versions_of_http_to_us() {
    if !has_haproxy() {
        return;
    }
    let endpoint = telling();
    let proxy = behind(&endpoint, "trusted_proxies = [\"127.0.0.0/8\"]");
    let ports = Ports::new(2);
    let sections: String = ["", " proto h2"].iter().enumerate().map(|(number, protocol)| {
        format!(
            "listen l{number}\n  mode http\n  bind PORT{number}\n  option forwardfor\n  http-reuse always\n  server us {}{protocol}\n",
            proxy.web()
        )
    }).collect();
    let _haproxy = Haproxy::start(&sections, &ports);
    for number in 0..2 {
        let mut client = Client::connect(ports.at(number));
        for length in [0, 1, 100_000, 8_000_000] {
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
            client.send(vec![b'x'; length]);
            assert_eq!(client.answer("POST").text(), format!("127.0.0.1, 127.0.0.1 {length}"), "{number}");
        }
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.write_chunk(vec![b'x'; 500_000]).unwrap();
        client.write_chunk("").unwrap();
        assert_eq!(client.answer("POST").text(), "127.0.0.1, 127.0.0.1 500000", "{number}");
        let load = Load::start(ports.at(number), 8);
        load.wait_for_more(1000);
        load.stop().expect_no_failure();
    }
    let protocol = |line: &serde_json::Value| line["protocol"] == "HTTP/2.0" && line["path"] == "/load";
    proxy.wait_access(protocol);
}

#[test]
fn it_is_an_endpoint_like_any_other() {
    if !has_haproxy() {
        return;
    }
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    let pem = directory.path().join("own.pem");
    fs::write(&pem, authority.issue(&["127.0.0.1"]).combined()).unwrap();
    let ca = directory.path().join("ca.pem");
    fs::write(&ca, authority.pem()).unwrap();
    let upload = Endpoint::answering(|Message { body, .. }| text(200, &body.data.len().to_string()));
    let ports = Ports::new(4);
    let binds = ["accept-proxy", "", "proto h2", &format!("ssl crt {} alpn h2,http/1.1", pem.display())];
    let sections: String = binds.iter().enumerate().map(|(number, bind)| {
        format!(
            "frontend f{number}\n  mode http\n  bind PORT{number} {bind}\n  \
             http-request return status 200 content-type text/plain lf-string \"%[src]:%[src_port] %[req.ver]\" if {{ path /who }}\n  \
             default_backend upload\n"
        )
    }).collect();
    let sections = sections + &format!("backend upload\n  mode http\n  server u {}\n", upload.at());
    let _haproxy = Haproxy::start(&sections, &ports);
    let at = |number: usize| ports.at(number).to_string();
    for version in ["v1", "v2"] {
        let proxy = before(&at(0), &format!("proxy_protocol = \"{version}\""));
        let mut client = Client::connect(proxy.web());
        let told = client.get("/who").text();
        assert_eq!(told, format!("127.0.0.1:{} 1.1", client.local_port()), "{version}");
    }
    let tls = format!("tls.ca = \"{}\"", ca.display());
    for (number, cluster, version) in [
        (1, "", "1.1"),
        (2, "protocol = \"h2\"", "2.0"),
        (3, &tls, "1.1"),
        (3, &format!("protocol = \"h2\"\n{tls}"), "2.0"),
    ] {
        let proxy = before(&at(number), cluster);
        let mut client = Client::connect(proxy.web());
        assert!(client.get("/who").text().ends_with(&format!(" {version}")), "{cluster}");
        for length in [1, 100_000, 8_000_000] {
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
            client.send(vec![b'x'; length]);
            assert_eq!(client.answer("POST").text(), length.to_string(), "{cluster}");
        }
        let load = Load::asking(proxy.web(), 8, "GET /who HTTP/1.1\r\nHost: a\r\n\r\n");
        load.wait_for_more(1000);
        load.stop().expect_no_failure();
    }
}
