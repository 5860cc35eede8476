//! Keys of nginx, HAProxy, Caddy and Traefik, and their equivalents.
//!
//! Users write the keys of their previous proxy. For an unknown key that another product has, the error names
//! the equivalent key, or the reason why none is needed. `docs/migration.md` has the same table, and a test
//! compares the two.

/// Keys with one equivalent, in every table that has that key.
pub(crate) const ALIASES: [(&str, &str); 26] = [
    ("acl", "path"),
    ("backend", "cluster"),
    ("backends", "endpoints"),
    ("balance", "policy"),
    ("bind", "address"),
    ("host", "hosts"),
    ("keepalive", "keep_alive"),
    ("lb_policy", "policy"),
    ("listen", "address"),
    ("location", "path"),
    ("match", "path"),
    ("max_conns", "max_in_flight"),
    ("maxconn", "max_in_flight"),
    ("method", "methods"),
    ("nbthread", "workers"),
    ("nodes", "endpoints"),
    ("prefix", "path"),
    ("proxy_pass", "cluster"),
    ("return", "respond"),
    ("server", "endpoints"),
    ("server_name", "hosts"),
    ("servers", "endpoints"),
    ("threads", "workers"),
    ("upstream", "cluster"),
    ("upstreams", "endpoints"),
    ("worker_processes", "workers"),
];

/// Words of other products, in groups of one meaning, and what to do here.
pub(crate) const WORDS: &[(&[&str], &str)] = &[
    // Health.
    (&["max_fails"], "write `health.passive.failures` in the cluster"),
    (&["fail_timeout"], "write `health.passive.window` and `health.passive.eject_for` in the cluster"),
    (
        &["health_check", "healthcheck", "health_uri", "healthCheck", "httpchk", "check"],
        "write health.active = { path = \"/healthz\" } in the cluster",
    ),
    (
        &["passive_health", "passive_health_check", "outlier_detection", "circuit_breaker", "circuitBreaker"],
        "write health.passive = { failures = 3 } in the cluster",
    ),
    (&["active_health", "active_health_check"], "write `health.active` in the cluster"),
    (&["inter", "health_interval"], "write `health.active.interval` in the cluster"),
    (&["down", "disabled"], "write drain = true on the endpoint, or weight = 0"),
    // Balancing and affinity.
    (
        &["loadBalancer", "load_balancer", "load_balancing", "loadbalancer"],
        "write [cluster.NAME] with its `endpoints` and its `policy`",
    ),
    (&["ip_hash", "least_conn", "random", "leastconn", "roundrobin"], "write policy = \"NAME\" in the cluster"),
    (&["hash", "hash-type"], "write policy = { name = \"ring_hash\", key = \"{uri}\" } in the cluster"),
    (&["stickiness", "sticky_cookie", "sticky_session"], "write sticky = { cookie = \"NAME\" } in the route"),
    (&["resolver", "resolvers"], "names are resolved by the system's resolver every `dns_interval` of the cluster"),
    // Limits and timeouts.
    (&["client_max_body_size"], "write `body_limit` in the route, or `limits.request_body`"),
    (&["worker_connections"], "write `limits.connections`"),
    (&["worker_rlimit_nofile", "nofile", "ulimit"], "no key is needed: the limit of open files is raised at the start"),
    (
        &["proxy_connect_timeout", "timeout_connect", "dial_timeout", "dialTimeout"],
        "write `timeout.connect` in the route",
    ),
    (
        &["proxy_read_timeout", "timeout_server", "responseHeaderTimeout", "read_timeout"],
        "write `timeout.response` and `timeout.idle` in the route",
    ),
    (&["proxy_send_timeout", "timeout_client", "write_timeout"], "write `timeout.idle` in the route"),
    (
        &["keepalive_timeout", "timeout_http_keep_alive", "idleTimeout"],
        "write `limits.idle_timeout` for clients, `keep_alive.timeout` in the cluster for endpoints",
    ),
    (
        &["limit_req", "limit_req_zone", "rateLimit", "ratelimit", "stick-table"],
        "write rate_limit = { rate = \"10/s\" } in the route",
    ),
    (&["limit_conn", "limit_conn_zone"], "write `limits.connections_per_client`"),
    (
        &["proxy_next_upstream", "redispatch", "retries", "retry_on", "lb_try_duration"],
        "write retry = { attempts = 3 } in the route",
    ),
    (&["grace_period", "hard-stop-after", "worker_shutdown_timeout", "graceTimeOut"], "write `grace` at the top level"),
    // Headers and the client's address.
    (
        &["proxy_set_header", "header_up", "customRequestHeaders", "request_header"],
        "write headers.request.set = { NAME = \"value\" } in the route",
    ),
    (
        &["add_header", "header_down", "customResponseHeaders", "response_header"],
        "write headers.response.set = { NAME = \"value\" } in the route",
    ),
    (
        &["hsts", "stsSeconds", "strict_transport_security"],
        "write headers.response.set = { Strict-Transport-Security = \"max-age=31536000\" } in the route",
    ),
    (
        &["accessControlAllowOriginList"],
        "there is no key for CORS yet: leave it to the application, or set its headers with `headers.response.set`",
    ),
    (&["proxy_hide_header"], "write headers.response.remove = [\"NAME\"] in the route"),
    (
        &["real_ip_header", "set_real_ip_from", "forwardedHeaders", "trustedIPs"],
        "write trusted_proxies = [\"10.0.0.0/8\"] at the listener",
    ),
    (&["forwardfor"], "`X-Forwarded-For` is written already; see `forwarded` in the route"),
    (&["passHostHeader"], "the client's `Host` is passed on; forwarded.host = \"endpoint\" changes that"),
    (
        &["send_proxy", "send-proxy", "send-proxy-v2", "proxyProtocol", "accept-proxy"],
        "write `proxy_protocol`: networks at the listener, \"v1\" or \"v2\" in the cluster",
    ),
    // TLS.
    (
        &["ssl", "ssl_certificate", "ssl_certificate_key", "crt", "certFile", "keyFile"],
        "write tls = { cert = \"fullchain.pem\", key = \"privkey.pem\" } at the listener",
    ),
    (&["ssl_protocols", "ssl-min-ver", "minVersion"], "write `tls.min_version` at the listener"),
    (&["ssl_ciphers", "cipherSuites", "ciphers"], "write `tls.cipher_suites` at the listener"),
    (
        &["insecureSkipVerify", "ssl_verify", "proxy_ssl_verify", "tls_insecure_skip_verify"],
        "write tls = { verify = false } in the cluster",
    ),
    (
        &["certResolver", "certificatesResolvers", "letsencrypt", "auto_https"],
        "certificates are not fetched yet: let certbot do it, with a route for its webroot",
    ),
    // What is on without a key.
    (
        &["websocket", "websockets", "proxy_http_version"],
        "no key is needed: WebSocket and HTTP/1.1 work on every route",
    ),
    (
        &["http2", "h2"],
        "no key is needed at a listener: HTTP/2 is on; towards endpoints it is protocol = \"h2\" in the cluster",
    ),
    (&["http3", "h3", "quic"], "HTTP/3 is not built yet: clients get HTTP/2, which is on at every listener with `tls`"),
    (
        &["proxy_buffering", "proxy_request_buffering", "flush_interval", "buffering"],
        "no key is needed: bodies are streamed in both directions",
    ),
    (&["sendfile", "tcp_nopush", "tcp_nodelay"], "no key is needed: connections are tuned already"),
    // Answers.
    (
        &["gzip", "brotli", "encode", "compression"],
        "write compress = \"on\" in the route, or in [defaults.route] for all",
    ),
    (
        &["error_page", "errorfile", "handle_errors"],
        "write errors = { \"5xx\" = \"pages/5xx.html\" } in the route, in the listener or at the top level",
    ),
    (&["root", "try_files", "file_server", "autoindex", "static"], "write files = { root = \"public\" } in the route"),
    (&["mirror", "mirroring", "shadow", "request_mirror"], "mirroring of requests is not built yet"),
    (&["proxy_cache", "proxy_cache_path"], "caching is not built yet"),
    (
        &["strip_prefix", "stripPrefix", "uri_strip_prefix", "handle_path", "rewrite"],
        "paths are passed on unchanged: the endpoint must know the prefix, or redirect = { to = \"/new/\" } the client",
    ),
    (
        &["basic_auth", "basicauth", "basicAuth", "auth_basic", "auth_request", "forward_auth", "forwardAuth"],
        "write auth = { basic = { users = \"users.htpasswd\" } } in the route, or auth = { forward = { cluster = \"NAME\", path = \"/…\" } }",
    ),
    // The process and its surroundings.
    (
        &["daemon", "nbproc", "pid", "pidfile", "master-worker"],
        "lbproxy stays in the foreground: let systemd or a container run it",
    ),
    (
        &["user", "group", "chroot", "uid", "gid"],
        "let systemd start it as that user: `User=`, and `AmbientCapabilities=CAP_NET_BIND_SERVICE` for ports below 1024",
    ),
    (
        &["metrics", "stats", "prometheus", "api", "dashboard", "stub_status"],
        "write admin = { address = \"127.0.0.1:9900\" }: it serves /metrics and /status",
    ),
    (&["error_log"], "write log = { level = \"info\" }; the log goes to standard error"),
    (&["log_format", "accessLog"], "write log.access = { format = \"json\" }"),
    // Blocks.
    (
        &["http", "global", "events"],
        "there is no such block: its keys stand at the top level, in `limits` and in `log`",
    ),
    (&["stream", "tcp", "udp"], "lbproxy forwards HTTP; TCP and UDP are not built yet"),
    (&["frontend", "frontends", "entryPoints", "entrypoints"], "write [[listener]] with its `address`, and [[route]]"),
    (&["routers", "services", "middlewares"], "write [[route]] with its options, and [cluster.NAME]"),
    (&["rule"], "write `hosts`, `path`, `methods` and `headers_match`"),
    (&["use_backend", "default_backend"], "write cluster = \"NAME\" in a [[route]]"),
];

/// The help for a key of another product.
pub(crate) fn ours(word: &str) -> Option<&'static str> {
    WORDS.iter().find(|(words, _)| words.contains(&word)).map(|(_, help)| *help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_migration_page_has_every_foreign_key() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/migration.md");
        // A published crate does not include the repository's documentation.
        let Ok(page) = std::fs::read_to_string(path) else { return };
        for (words, help) in WORDS {
            let row =
                format!("| {} | {help} |", words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "));
            assert!(page.contains(&row), "docs/migration.md should have\n{row}");
        }
        for (theirs, ours) in ALIASES {
            let row = format!("| `{theirs}` | `{ours}` |");
            assert!(page.contains(&row), "docs/migration.md should have\n{row}");
        }
    }
}
