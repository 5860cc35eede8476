//! nginx in front of lbproxy, as in existing deployments.

use std::path::Path;

use rustix::process::Signal;

use crate::curl::{curl, has_curl};
use crate::programs::{Nginx, Ports, has_nginx, stream_module};
use crate::support::{Authority, Client, Endpoint, Load, Message, Proxy, SWITCHED, WEBSOCKET, Wire, config, text};

/// Where clients come from, and nginx: addresses that tell the two apart.
const CLIENT: &str = "127.0.0.9";
const NGINX: &str = "127.0.0.8";

/// Responds with the headers about the client that it received, and the body's length.
fn telling() -> Endpoint {
    Endpoint::answering(|Message { head, body }| {
        let told =
            ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Host"].map(|name| head.all(name).join("+"));
        text(200, &format!("{} {}", told.join(" "), body.data.len()))
    })
}

/// A proxy in front of it, with further keys of its listener.
#[track_caller]
fn behind(endpoint: &Endpoint, listener: &str) -> Proxy {
    let rest = format!("[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\"]\n", endpoint.at());
    Proxy::start(&(config(2, &rest) + listener + "\n"))
}

/// A `server` that passes everything on to us, in the usual way.
fn site(proxy: &Proxy, keys: &str) -> String {
    format!(
        "upstream us {{ server {}; keepalive 8; }}
         map $http_upgrade $upgrade {{ default upgrade; '' ''; }}
         server {{ listen PORT0; location / {{
           proxy_pass http://us; proxy_bind {NGINX}; proxy_set_header Host $http_host;
           proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto https;
           client_max_body_size 100m; {keys} }} }}",
        proxy.web()
    )
}

const KEPT: &str =
    "proxy_http_version 1.1; proxy_set_header Connection $upgrade; proxy_set_header Upgrade $http_upgrade;";

fn nginx(main: &str, http: &str, ports: &Ports) -> Nginx {
    Nginx::start(main, http, ports, |_: &Path| {})
}

#[test]
fn its_forwarding_headers_are_used_if_it_is_trusted() {
    if !has_nginx() || !has_curl() {
        return;
    }
    let endpoint = telling();
    let trusting = format!("trusted_proxies = [\"{NGINX}/32\"]");
    for (listener, expected) in [
        (&*trusting, "1.2.3.4, 127.0.0.9, 127.0.0.8 https shop.test:82 shop.test:82 0"),
        ("", "127.0.0.8 http shop.test:82 shop.test:82 0"),
    ] {
        let (proxy, ports) = (behind(&endpoint, listener), Ports::new(1));
        let _nginx = nginx("", &site(&proxy, KEPT), &ports);
        let url = format!("http://{}/", ports.at(0));
        let claim = ["--interface", CLIENT, "-H", "Host: shop.test:82", "-H", "X-Forwarded-For: 1.2.3.4", &url];
        assert_eq!(curl(claim, b"").text(), expected);
        // Who asks, as limits and logs see it: the last that is not a trusted proxy. What it says of others is its own.
        let client = if listener.is_empty() { NGINX } else { CLIENT };
        assert_eq!(proxy.access_of("/")["client"], client);
        // Clients that bypass nginx are not trusted.
        let url = format!("http://{}/", proxy.web());
        let claim = ["--interface", CLIENT, "-H", "X-Forwarded-For: 1.2.3.4", "-H", "X-Forwarded-Proto: https", &url];
        assert!(curl(claim, b"").text().starts_with("127.0.0.9 http "));
    }
}

#[test]
fn requests_and_bodies_pass_through_both_by_old_and_new_connections() {
    if !has_nginx() {
        return;
    }
    let endpoint = telling();
    // Its default is HTTP/1.0 and a connection for each request; as people set it up, HTTP/1.1 and kept ones.
    for keys in ["", KEPT, &format!("{KEPT} proxy_request_buffering off; proxy_buffering off;")] {
        let (proxy, ports) = (behind(&endpoint, ""), Ports::new(1));
        let nginx = nginx("", &site(&proxy, keys), &ports);
        let mut client = Client::connect(ports.at(0));
        for length in [0, 1, 100_000, 8_000_000] {
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
            client.send(vec![b'x'; length]);
            let answer = client.answer("POST");
            assert!(answer.text().ends_with(&format!(" {length}")), "{keys}: {}", answer.text());
        }
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.write_chunk(vec![b'x'; 500_000]).unwrap();
        client.write_chunk("").unwrap();
        assert!(client.answer("POST").text().ends_with(" 500000"), "{keys}");
        let load = Load::start(ports.at(0), 4);
        load.wait_for_more(500);
        // New workers, new connections to us.
        nginx.signal(Signal::HUP);
        load.wait_for_more(500);
        load.stop();
    }
}

#[test]
fn our_reloads_lose_none_of_its_requests() {
    if !has_nginx() {
        return;
    }
    let endpoint = telling();
    let (mut proxy, ports) = (behind(&endpoint, ""), Ports::new(1));
    // It tries again what it may, as it does by default, but there is no other endpoint.
    let _nginx = nginx("", &site(&proxy, KEPT), &ports);
    let rest = format!("[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\"]\n", endpoint.at());
    let load = Load::start(ports.at(0), 8);
    load.wait_for_more(200);
    for i in 0..5 {
        proxy.reload(&config(2, &rest.replace("app", &format!("app{i}"))));
        load.wait_for_more(200);
    }
    load.stop().expect_no_failure();
}

#[test]
fn a_websocket_goes_through_both() {
    if !has_nginx() {
        return;
    }
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        assert_eq!(head.header("Upgrade"), Some("websocket"));
        wire.write(format!("{SWITCHED}hello"))?;
        let said = wire.read_exactly(100_000)?;
        wire.write(said)
    });
    let (proxy, ports) = (behind(&endpoint, ""), Ports::new(1));
    let _nginx = nginx("", &site(&proxy, KEPT), &ports);
    let mut client = Client::connect(ports.at(0));
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{WEBSOCKET}\r\n"));
    assert_eq!(client.read_head().unwrap().unwrap().status(), 101);
    assert_eq!(client.read_exactly(5).unwrap(), b"hello");
    client.send(vec![b'x'; 100_000]);
    assert_eq!(client.read_exactly(100_000).unwrap(), vec![b'x'; 100_000]);
}

#[test]
fn its_stream_module_sends_the_client_address_by_proxy_protocol() {
    if !has_nginx() || !has_curl() {
        return;
    }
    let Some(module) = stream_module() else { return };
    let endpoint = telling();
    let proxy = behind(&endpoint, &format!("proxy_protocol = [\"{NGINX}/32\"]"));
    let ports = Ports::new(1);
    let main = format!(
        "load_module {}; stream {{ server {{ listen PORT0; proxy_pass {}; proxy_protocol on; proxy_bind {NGINX}; }} }}",
        module.display(),
        proxy.web()
    );
    let _nginx = nginx(&main, "", &ports);
    let url = format!("http://{}/", ports.at(0));
    let said = curl(["--interface", CLIENT, "-H", "Host: a", "-H", "X-Forwarded-For: 1.2.3.4", &url, &url], b"");
    assert_eq!(said.text(), "127.0.0.9 http a a 0".repeat(2));
    assert_eq!(proxy.access_of("/")["client"], CLIENT);
}

#[test]
fn it_takes_up_its_tls_sessions_with_us() {
    if !has_nginx() {
        return;
    }
    let endpoint = telling();
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    let (cert, key) = authority.issue(&["shop.test"]).write(directory.path(), "own");
    std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
    let tls = format!("tls.certificates = [{{ cert = {cert:?}, key = {key:?} }}]");
    // In TLS 1.2 rustls gives a new ticket with each resumption, for which OpenSSL throws the session away; nginx keeps
    // none that came in this way.
    for (version, resumed) in [("TLSv1.2", 5.0), ("TLSv1.3", 9.0)] {
        let (proxy, ports) = (behind(&endpoint, &tls), Ports::new(1));
        let verified = format!(
            "proxy_ssl_protocols {version}; proxy_ssl_verify on; proxy_ssl_name shop.test; proxy_ssl_server_name on; \
             proxy_ssl_trusted_certificate {}/ca.pem;",
            directory.path().display()
        );
        // Without kept connections each request has a handshake.
        let site = site(&proxy, &verified).replace("http://us", "https://us").replace("keepalive 8;", "");
        let _nginx = nginx("", &site, &ports);
        let mut client = Client::connect(ports.at(0));
        for _ in 0..10 {
            assert_eq!(client.ask("GET / HTTP/1.1\nHost: a").text(), "127.0.0.8 https a a 0");
        }
        let count = |result: &str| proxy.metric("lbproxy_tls_handshakes_total", &[result]);
        assert_eq!((count("\"full\""), count("\"resumed\"")), (10.0 - resumed, resumed), "{version}");
    }
}
