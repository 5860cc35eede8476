//! The words of nginx, HAProxy, Caddy and Traefik, and what they are called here.
//!
//! People write what their last proxy taught them. An unknown key that another product knows is therefore answered
//! with our word for it, or with the reason why none is needed. `docs/migration.md` has the same words, and a test
//! compares the two.

use crate::keys::{Section, all_sections};

/// Words that stand for one key of ours, wherever a table has that key.
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

/// The table that one of [`ALIASES`] is written in: the first of those that people fill in that has the key.
pub(crate) fn home(ours: &str) -> Option<&'static Section> {
    let of_name = |name: &str| all_sections().into_iter().find(|section| section.name == name);
    ["listener", "cluster", "route", "endpoint", "root"]
        .into_iter()
        .filter_map(of_name)
        .find(|section| section.find(ours).is_some())
}

/// Words of other products, in groups of one meaning, and what to do here.
pub(crate) const WORDS: &[(&[&str], &str)] = &[
    // Health.
    (&["max_fails"], "write `health.passive.failures` in the cluster"),
    (&["fail_timeout"], "write `health.passive.window` and `health.passive.eject_for` in the cluster"),
    (
        &["health_check", "healthcheck", "health_uri", "healthCheck", "httpchk", "check"],
        "write health.active = { path = \"/healthz\" } in the cluster",
    ),
    (&["inter", "health_interval"], "write `health.active.interval` in the cluster"),
    (&["down", "disabled"], "write drain = true on the endpoint, or weight = 0"),
    // Balancing and affinity.
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
    // Headers, and who the client is.
    (
        &["proxy_set_header", "header_up", "customRequestHeaders", "request_header"],
        "write headers.request.set = { NAME = \"value\" } in the route",
    ),
    (
        &["add_header", "header_down", "customResponseHeaders", "response_header"],
        "write headers.response.set = { NAME = \"value\" } in the route",
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
    (
        &["proxy_buffering", "proxy_request_buffering", "flush_interval", "buffering"],
        "no key is needed: bodies are streamed in both directions",
    ),
    (&["sendfile", "tcp_nopush", "tcp_nodelay"], "no key is needed: connections are tuned already"),
    // Answers.
    (
        &["gzip", "brotli", "encode", "compression"],
        "compression is not built yet: let the application compress, which is passed on as it is",
    ),
    (&["error_page", "errorfile", "handle_errors"], "error pages are not built yet"),
    (
        &["root", "try_files", "file_server", "autoindex", "static"],
        "files are not served yet: forward to an endpoint that does",
    ),
    (&["proxy_cache", "proxy_cache_path"], "caching is not built yet"),
    (
        &["strip_prefix", "stripPrefix", "uri_strip_prefix", "handle_path", "rewrite"],
        "paths are passed on unchanged: the endpoint must know the prefix, or redirect = { to = \"/new/\" } the client",
    ),
    (
        &["basic_auth", "basicauth", "basicAuth", "auth_basic", "auth_request", "forward_auth", "forwardAuth"],
        "authentication is not built yet: leave it to the application",
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

/// What a word of another product is here.
pub(crate) fn ours(word: &str) -> Option<&'static str> {
    WORDS.iter().find(|(words, _)| words.contains(&word)).map(|(_, help)| *help)
}

/// What to do as long as a reserved key is not built.
pub(crate) fn until_built(section: &Section, key: &str) -> Option<&'static str> {
    Some(match (section.name, key) {
        ("route" | "site", "files") => "forward to an endpoint that serves the files",
        ("route" | "site", "allow" | "deny") => {
            "let a firewall or the application decide; `limits` and `rate_limit` hold for everybody"
        }
        ("route" | "site", "compress") => "let the application compress, which is passed on as it is",
        ("route" | "site", "cache") => "let the application or a cache behind lbproxy do it; responses pass unchanged",
        ("route" | "site", "errors") => "answers of endpoints pass unchanged; lbproxy's own have a short plain body",
        ("route" | "site", "concurrency") => "write `max_in_flight` on the endpoints and a `queue` in their cluster",
        ("listener_tls", "acme") => {
            "let certbot or another client fetch them into files, and send SIGHUP after a renewal"
        }
        ("active", "grpc" | "body" | "command") => "ask for a `path` that tells by its status, or write tcp = true",
        ("rate_limit", "delay" | "dry_run") => "`burst` lets short peaks pass at once",
        ("rate_limit", "redis") => "each proxy counts for itself: divide the `rate` by their number",
        _ => return None,
    })
}

/// How a table is written, for one who wrote something else.
pub(crate) fn example(section: &Section) -> Option<&'static str> {
    Some(match section.name {
        "admin" => "admin = { address = \"127.0.0.1:9900\" }",
        "log" => "log = { level = \"info\" }",
        "access" => "log.access = { format = \"json\" }",
        "limits" => "limits = { request_body = \"100MiB\" }",
        "timeout" => "timeout = { response = \"60s\" }",
        "retry" => "retry = { attempts = 3 }",
        "sticky" => "sticky = { cookie = \"lb\" }",
        "rate_limit" => "rate_limit = { rate = \"10/s\" }",
        "headers" | "header_edits" => "headers.response.set = { X-Frame-Options = \"DENY\" }",
        "redirect" => "redirect = { to = \"/new/\" }",
        "respond" => "respond = { status = 200, body = \"ok\\n\" }",
        "forwarded" => "forwarded = { headers = \"x-forwarded\" }",
        "health" => "health = { active = { path = \"/healthz\" } }",
        "active" => "health.active = { path = \"/healthz\" }",
        "passive" => "health.passive = { failures = 3 }",
        "keep_alive" => "keep_alive = { timeout = \"4s\" }",
        "queue" => "queue = { size = 100 }",
        "subset" => "subset = { size = 20, client = \"${HOSTNAME}\" }",
        "listener_tls" => "tls = { cert = \"fullchain.pem\", key = \"privkey.pem\" }",
        "cluster_tls" => "tls = { ca = \"ca.pem\" }, or tls = {} for the system's authorities",
        "certificate" => "certificates = [{ cert = \"fullchain.pem\", key = \"privkey.pem\" }]",
        "client_auth" => "client_auth = { ca = \"clients.pem\" }",
        _ => return None,
    })
}

/// Our name of a policy that other balancers call so.
pub(crate) fn policy(name: &str) -> Option<&'static str> {
    Some(match name {
        "roundrobin" | "rr" | "wrr" | "weighted_round_robin" | "static-rr" => "round_robin",
        "leastconn" | "least_conn" | "least_connections" => "least_request",
        "source" | "client_ip" => "ip_hash",
        "random_choose" | "power_of_two" => "p2c",
        "consistent" | "consistent_hash" | "ketama" => "ring_hash",
        "uri" | "hdr" | "cookie" => "hash",
        "hrw" | "uri_hash" | "header" => "rendezvous",
        "ewma" => "peak_ewma",
        _ => return None,
    })
}

/// Variables of nginx, without their `$`, and ours.
const NGINX: [(&str, &str); 22] = [
    ("host", "{host}"),
    ("http_host", "{host}"),
    ("server_name", "{host}"),
    ("request_uri", "{uri}"),
    ("uri", "{path}"),
    ("document_uri", "{path}"),
    ("args", "{query}"),
    ("query_string", "{query}"),
    ("is_args", "{uri}"),
    ("scheme", "{scheme}"),
    ("request_method", "{method}"),
    ("remote_addr", "{client_ip}"),
    ("realip_remote_addr", "{client_ip}"),
    ("server_port", "{listener_port}"),
    ("request_id", "{request_id}"),
    ("upstream_addr", "{endpoint}"),
    ("proxy_host", "{cluster}"),
    ("proxy_add_x_forwarded_for", ""),
    ("http_upgrade", ""),
    ("connection_upgrade", ""),
    ("remote_user", ""),
    ("status", ""),
];

/// Expressions of HAProxy, without `%[` and `]`, and ours.
const HAPROXY: [(&str, &str); 11] = [
    ("src", "{client_ip}"),
    ("path", "{path}"),
    ("query", "{query}"),
    ("url", "{uri}"),
    ("capture.req.uri", "{uri}"),
    ("method", "{method}"),
    ("dst_port", "{listener_port}"),
    ("unique-id", "{request_id}"),
    ("be_name", "{cluster}"),
    ("srv_name", "{endpoint}"),
    ("hdr(host)", "{host}"),
];

/// Placeholders of Caddy, without their braces, and ours.
const CADDY: [(&str, &str); 19] = [
    ("remote_host", "client_ip"),
    ("remote", "client_ip"),
    ("hostport", "host"),
    ("http.request.host", "host"),
    ("http.request.hostport", "host"),
    ("http.request.method", "method"),
    ("http.request.scheme", "scheme"),
    ("http.request.uri", "uri"),
    ("http.request.orig_uri", "uri"),
    ("http.request.uri.path", "path"),
    ("http.request.uri.query", "query"),
    ("http.request.remote.host", "client_ip"),
    ("http.vars.client_ip", "client_ip"),
    ("http.request.uuid", "request_id"),
    ("uuid", "request_id"),
    ("port", "listener_port"),
    ("http.request.port", "listener_port"),
    ("upstream_hostport", "endpoint"),
    ("http.reverse_proxy.upstream.hostport", "endpoint"),
];

/// Variables of nginx and HAProxy in a text, as they stand there, each with ours; empty where there is none.
pub(crate) fn variables(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut add = |theirs: &str, ours: String| {
        if !found.iter().any(|(known, _)| known == theirs) {
            found.push((theirs.to_owned(), ours));
        }
    };
    for (at, _) in text.match_indices('$') {
        let rest = &text[at + 1..];
        let end = rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(rest.len());
        if let Some(ours) = nginx(&rest[..end]) {
            add(&text[at..at + 1 + end], ours);
        }
    }
    for (at, _) in text.match_indices("%[") {
        let inner = &text[at + 2..];
        if let Some(end) = inner.find(']') {
            add(&text[at..at + end + 3], haproxy(&inner[..end]));
        }
    }
    found
}

/// What a variable of nginx, named without its `$`, is here; empty where there is none; `None` if nginx has none either.
pub(crate) fn nginx(name: &str) -> Option<String> {
    if let Some((_, ours)) = NGINX.iter().find(|(theirs, _)| *theirs == name) {
        return Some((*ours).to_owned());
    }
    let named = |prefix: &str| name.strip_prefix(prefix).filter(|rest| !rest.is_empty());
    if let Some(header) = named("http_") {
        return Some(format!("{{header:{}}}", header.replace('_', "-")));
    }
    if let Some(cookie) = named("cookie_") {
        return Some(format!("{{cookie:{cookie}}}"));
    }
    (named("arg_").is_some() || named("upstream_http_").is_some() || named("ssl_").is_some()).then(String::new)
}

fn haproxy(expression: &str) -> String {
    // What follows a comma converts the value.
    let (plain, _) = expression.split_once(',').unwrap_or((expression, ""));
    let plain = plain.trim();
    let known = |name: &str| HAPROXY.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| (*ours).to_owned());
    let argument = |function: &str| {
        let inside = plain.strip_prefix("req.").unwrap_or(plain).strip_prefix(function)?.strip_prefix('(')?;
        Some(inside.strip_suffix(')')?.to_owned())
    };
    known(plain.strip_prefix("req.").unwrap_or(plain))
        .or_else(|| argument("hdr").filter(|name| name.eq_ignore_ascii_case("host")).map(|_| "{host}".to_owned()))
        .or_else(|| argument("hdr").or_else(|| argument("fhdr")).map(|name| format!("{{header:{name}}}")))
        .or_else(|| argument("cook").map(|name| format!("{{cookie:{name}}}")))
        .unwrap_or_default()
}

/// What a word in braces that is no variable is to Caddy, in our words and without braces.
pub(crate) fn placeholder(word: &str) -> Option<String> {
    if let Some((_, ours)) = CADDY.iter().find(|(theirs, _)| *theirs == word) {
        return Some((*ours).to_owned());
    }
    let word = word.strip_prefix("http.request.").unwrap_or(word);
    let named = |kind: &str| word.strip_prefix(kind).filter(|rest| !rest.is_empty());
    named("header.")
        .map(|name| format!("header:{name}"))
        .or_else(|| named("cookie.").map(|name| format!("cookie:{name}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Default;

    #[test]
    fn no_word_of_others_hides_a_key_of_ours_and_each_stands_once() {
        let mut seen: Vec<&str> = Vec::new();
        for word in WORDS.iter().flat_map(|(words, _)| words.iter()) {
            assert!(!seen.contains(word), "{word} stands twice");
            seen.push(word);
        }
        for (word, ours) in ALIASES {
            assert!(!seen.contains(&word), "{word} is an alias and a word");
            assert!(home(ours).is_some(), "{ours} is no key");
        }
    }

    #[test]
    fn every_reserved_key_says_what_to_do_until_it_is_built() {
        for section in all_sections() {
            for key in section.keys.iter().filter(|key| key.default == Default::NotBuilt) {
                assert!(until_built(section, key.name).is_some(), "{}.{}", section.name, key.name);
            }
        }
    }

    #[test]
    fn the_page_for_those_who_come_from_another_proxy_has_every_word() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/migration.md");
        // A published crate comes without the pages of the whole.
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

    #[test]
    fn the_message_and_the_page_agree_on_policies() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/migration.md");
        let Ok(page) = std::fs::read_to_string(path) else { return };
        let table = page.split("## Policies").nth(1).unwrap_or_default();
        for row in table.lines().filter(|row| row.starts_with("| `")) {
            let ours = row.split('|').nth(1).unwrap_or_default();
            for theirs in row.split('`').skip(3).step_by(2) {
                if let Some(policy) = policy(theirs) {
                    assert!(ours.contains(&format!("`{policy}`")), "{theirs} is {policy} by the message: {row}");
                }
            }
        }
    }

    #[test]
    fn variables_of_others_are_found_and_prices_are_not() {
        let found = |text: &str| -> Vec<String> {
            variables(text).into_iter().map(|(theirs, ours)| format!("{theirs} {ours}")).collect()
        };
        assert_eq!(found("https://$host$request_uri"), ["$host {host}", "$request_uri {uri}"]);
        assert_eq!(
            found("$http_x_api_key $cookie_id $arg_q"),
            ["$http_x_api_key {header:x-api-key}", "$cookie_id {cookie:id}", "$arg_q "]
        );
        assert_eq!(
            found("%[src] %[req.hdr(Host),lower] %[hdr(X-A)] %[req.cook(id)] %[rand]"),
            [
                "%[src] {client_ip}",
                "%[req.hdr(Host),lower] {host}",
                "%[hdr(X-A)] {header:X-A}",
                "%[req.cook(id)] {cookie:id}",
                "%[rand] ",
            ]
        );
        for text in ["5 $", "$5", "$hostname", "100%", "{host}", "$$", "%20[", "^/x$"] {
            assert_eq!(found(text), [] as [String; 0], "{text}");
        }
    }
}
